"""What do networks that learned, and networks that memorised, say about inputs that are nothing?

    python -m experiments.noise_confidence                 about 12 minutes on two cores
    python -m experiments.noise_confidence scale=quick     under a minute: the pipeline, not the finding
    python -m experiments.noise_confidence scale=paper     all 60,000 images throughout: a GPU

Does memorising shuffled labels make a network more or less sure of noise than learning true ones, at the same training
accuracy? Nobody seems to have measured it. The chapters: that question, by width, depth, activation and loss; inputs of
ten kinds that are no digits; noise far from the data (Hein et al. 2019); the MNIST row of Hendrycks and Gimpel 2017;
calibration (Guo et al. 2017); and images grown to fool (Nguyen et al. 2015).
"""
