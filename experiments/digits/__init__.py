"""What does the digit network of 3Blue1Brown learn, and what does it not?

    python -m experiments.digits                 about 10 minutes on two cores
    python -m experiments.digits scale=quick     under a minute: the pipeline, not the finding

The talk (3Blue1Brown on neural networks and gradient descent) trains a 784-16-16-10 network of sigmoids on MNIST and
makes some thirty statements about it, in words and pictures. Each chapter takes some of them, in the talk's order, and
turns them into claims and figures. The networks (the arms of conf/experiment/digits.yaml) are shared by all chapters.
Expected at `standard` (32 seeds): 94 to 96 % of the test images correct, depending on the recipe; barriers of ten times
the networks' own cost between them; a confidence of 0.7 on uniform noise, and 0.94 on digits with the same predictions.
"""
