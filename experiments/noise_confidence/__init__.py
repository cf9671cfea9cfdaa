"""How confident are networks that learned, and networks that memorised, on inputs that show no digit?

    python -m experiments.noise_confidence                 about 13 minutes on two cores
    python -m experiments.noise_confidence scale=quick     about a minute: the pipeline, not the finding
    python -m experiments.noise_confidence scale=reference     60,000 images
    python -m experiments.noise_confidence scale=paper     all 60,000 images throughout: a GPU

Is a network that memorised shuffled labels more or less confident on noise than one that learned true labels, at the same training
accuracy, at the same loss, after as many steps? Then: other depths, activations and losses; ten kinds of inputs; noise far
from the data (Hein et al. 2019); the MNIST row of Hendrycks and Gimpel 2017; calibration (Guo et al. 2017); fooling images (Nguyen et al. 2015). Expected at `standard` (10,000 images, 5 seeds): at 100 % training accuracy networks that memorised are more confident on uniform noise
by 0.08 (width 128) and 0.11 (512), of which 0.02 remains after as many steps (128).
"""
