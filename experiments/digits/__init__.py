"""What does the digit network of the talk learn, and what has it no idea of?

    python -m experiments.digits                 about 10 minutes on two cores
    python -m experiments.digits scale=quick     under a minute: the pipeline, not the finding

The talk (3Blue1Brown on neural networks and gradient descent) trains a 784-16-16-10 network of sigmoids on MNIST and
makes some thirty statements about it, in words and pictures. Each chapter here takes some of them, in the talk's order, and
turns them into claims and figures. The networks (the arms of conf/experiment/digits.yaml) are shared by all chapters.
"""
