"""The area under the margin (AUM) along training: Pleiss, Zhang, Elenberg and Weinberger 2020, arXiv:2001.10528."""

import numpy as np


def area_under_the_margin(margins: np.ndarray) -> np.ndarray:
    """Return the mean over E evaluations of margins [..., E, N], [..., N]: output of the given label minus the largest other one.

    Small, and below 0, for labels that the rest of the data speaks against.
    """
    return margins.mean(axis=-2)
