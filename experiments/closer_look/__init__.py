"""What is different when a network memorises? Arpit et al. 2017 on MLPs and MNIST, claim by claim, and the talk on it.

    python -m experiments.closer_look                 about 10 minutes on two cores
    python -m experiments.closer_look scale=quick     under a minute: the pipeline, not the finding
    python -m experiments.closer_look scale=paper     the paper's sizes: weeks of a GPU

Arpit and others, A Closer Look at Memorization in Deep Networks. Networks read MNIST with true labels (real data), with
inputs replaced by Gaussian noise (randX) and with random labels (randY), wholly or in part. Which examples are easy, how
sensitive the loss is to single images, how accuracy and critical samples go along training, what capacity and regularisers
do. All but the sensitivity (memo/measures/sensitivity.py, which trains its own) reads the arms of conf/experiment/closer_look.yaml.
"""
