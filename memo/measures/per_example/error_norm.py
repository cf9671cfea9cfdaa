"""EL2N, the norm of the error early in training: Paul, Ganguli and Dziugaite 2021, arXiv:2107.07075."""

import numpy as np


def el2n(errors: np.ndarray) -> np.ndarray:
    """Return the mean over S networks of the norm [S, N] of (softmax - one-hot label) at one early evaluation, [N]."""
    return errors.mean(axis=0)
