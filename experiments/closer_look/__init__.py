"""What is different when a network memorises? Arpit et al. 2017 on MLPs and MNIST, sentence by sentence.

    python -m experiments.closer_look                 about 14 minutes on two cores
    python -m experiments.closer_look scale=quick     under a minute: the pipeline, not the finding
    python -m experiments.closer_look scale=paper     the paper's sizes: weeks of a GPU

Networks are trained on MNIST with true labels (real data), with inputs replaced by Gaussian noise (randX) and with random
labels (randY), wholly or in part: which examples are easy, how much the loss depends on single images, how accuracy and
critical samples change along training, what capacity and regularisers do. Expected at `standard`: with 40 % of the labels
redrawn, test accuracy ends about 0.19 below its best, and nine in ten mislabelled images are first classified as their
true class. The sensitivity (memo/measures/sensitivity.py) trains its own networks.
"""
