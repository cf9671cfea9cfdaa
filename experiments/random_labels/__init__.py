"""Do networks that generalise also fit random labels, and what changes when they do? Zhang et al. 2017 on MLPs and MNIST.

    python -m experiments.random_labels                 about 8 minutes on two cores
    python -m experiments.random_labels scale=quick     under a minute: the pipeline, not the finding
    python -m experiments.random_labels scale=paper     all 60,000 images: a GPU, or days

Zhang, Bengio, Hardt, Recht and Vinyals, Understanding deep learning requires rethinking generalization, trained networks
on CIFAR-10 and ImageNet. Here their MLPs of one and three layers of 512 read MNIST: with true, partly and wholly random
labels and with treated inputs; by their own schedule and by a tuned one; with and without regularisers. Beside them
stand what needs no training: Theorem 1 built and solved, and kernels that interpolate. The arms of
conf/experiment/random_labels.yaml are shared by all chapters.
"""
