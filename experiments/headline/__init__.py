"""What differs between learning true labels and memorising shuffled ones?

    python -m experiments.headline                 about 10 minutes on two cores
    python -m experiments.headline scale=quick     about a minute: the pipeline, not the finding
    python -m experiments.headline scale=reference all 60,000 images: hours on two cores, resumable

MLPs with two hidden layers of 16 to 512 units, each trained on true labels and, as its twin with the same initial
weights, images and minibatches, on shuffled ones; beside them softmax regression, stratified shuffles, and several numbers of
images. Expected at `standard` (10,000 images, 5 seeds): widths of 256 and more memorise every shuffled label, at a test
accuracy of 0.10; they take 7 times as many epochs to 99 % as their twins, along a loss curve that is almost a straight line;
that factor grows with the number of images.
"""
