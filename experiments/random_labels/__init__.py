"""Do networks that generalise also fit random labels, and what changes when they do? Zhang et al. 2017 on MLPs, MNIST and CIFAR-10.

    python -m experiments.random_labels                    about 15 minutes on two cores
    python -m experiments.random_labels scale=quick        under a minute: the pipeline, not the finding
    python -m experiments.random_labels scale=reference    all images of both data sets, the paper's networks: hours
    python -m experiments.random_labels scale=paper        the same for everything, with five seeds: a GPU, or days

Zhang, Bengio, Hardt, Recht and Vinyals, Understanding deep learning requires rethinking generalization, trained networks
on CIFAR-10 and ImageNet. Here MLPs of one and three hidden layers are trained on MNIST, and by the paper's schedule on CIFAR-10 too:
with true, partly and wholly random labels and with treated inputs; with images whitened and not; by their own schedule and by a
tuned one; with and without regularisers; beside softmax regression on the same labels. Further chapters need no training:
Theorem 1, constructed, and kernels that interpolate. `standard` has 10,000 images and 5 seeds, and networks narrower than the
paper's 512 units per layer.
"""
