"""Label noise: what happens when only some labels are wrong?

    python -m experiments.label_noise                  about 12 minutes on two cores
    python -m experiments.label_noise scale=quick      under a minute: the pipeline, not the finding
    python -m experiments.label_noise scale=reference  an estimated 2 hours on two cores: 30,000 images, 8 seeds

Early learning with cross-entropy, with the early-learning regulariser, with generalised cross-entropy and without hidden layers; massive
noise, redrawn at every presentation or once; double descent in width and in epochs; and which wrong label is given.

Expected at `standard`: mislabelled images are answered with their true class at first and with their wrong label later; the
regulariser keeps the former at a weight of 10, not at 3; test loss with wrong labels has its peak near 200 hidden units, beyond the 50
where there are as many parameters as images times classes.
"""
