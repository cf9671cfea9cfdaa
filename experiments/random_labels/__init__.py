"""Do networks that generalise also fit random labels, and what changes when they do? Zhang et al. 2017 on MLPs and MNIST.

    python -m experiments.random_labels                 about 8 minutes on two cores
    python -m experiments.random_labels scale=quick     under a minute: the pipeline, not the finding
    python -m experiments.random_labels scale=paper     all 60,000 images: a GPU, or days

Zhang, Bengio, Hardt, Recht and Vinyals, Understanding deep learning requires rethinking generalization, trained networks
on CIFAR-10 and ImageNet. Here their MLPs of one and three layers of 512 are trained on MNIST: with true, partly and wholly random
labels and with treated inputs; by their own schedule and by a tuned one; with and without regularisers. Further chapters
need no training: Theorem 1, constructed, and kernels that interpolate. Expected at `standard` (2,000
images, 5 seeds): every label fitted at every level of corruption, test error rising from 0.09 to 0.90, random labels
four times as long as true ones; by the paper's own schedule 42 % of the random labels, as its epochs are short here.
"""
