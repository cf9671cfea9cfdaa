"""Are the minima that training finds of equal quality, and is it structure in the data that makes them so?

    python -m experiments.local_minima                 about 8 minutes on two cores
    python -m experiments.local_minima scale=quick     under a minute: the pipeline, not the finding

Choromanska, Henaff, Mathieu, Ben Arous and LeCun (2015) trained a thousand networks of one hidden layer at each of five
widths on MNIST of 10 x 10 pixels and found their test losses more alike with increasing width. The talk concludes: 'if
your data set is structured, you should be able to find that more easily'. Here the same networks, and twins on shuffled
labels: the spread of minima, the type of critical points, the time to reach them, and the barriers between them.
"""
