"""What differs between learning true labels and memorising shuffled ones?

    python -m experiments.headline                 about 2 minutes on two cores
    python -m experiments.headline scale=quick     half a minute: the pipeline, not the finding
    python -m experiments.headline scale=paper     all 60,000 images: a GPU, or many hours

MLPs with two hidden layers of 16 to 512 units, each trained on true labels and, as its twin with the same initial
weights, images and minibatches, on shuffled ones. Expected at `standard` (3,000 images, 5 seeds): widths of 64 and more
memorise every shuffled label, at a test accuracy of 0.10; they take 4 to 6 times as many epochs to 99 % as their
twins, along a loss curve that is almost a straight line.
"""
