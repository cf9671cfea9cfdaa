"""Corrections for testing many claims at once: adjusted p-values, to be compared with one level for all."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Return p-values [m] adjusted so that among those at most α a share of at most α is expected to be false.

    NaN (a claim without a test) stays NaN and does not count towards m. The rate holds for independent and for positively
    dependent claims. Raises ValueError for p outside [0, 1]. Source: Benjamini and Hochberg (1995), Journal of the Royal
    Statistical Society B 57:289-300.
    """
    return _adjusted(p, lambda tested: stats.false_discovery_control(tested, method="bh"))


def holm(p: ArrayLike) -> np.ndarray:
    """Return p-values [m] adjusted so that those at most α contain even one false one with probability at most α.

    NaN stays NaN and does not count towards m. Holds whatever the dependence between the claims. Raises ValueError for p
    outside [0, 1]. Source: Holm (1979), Scandinavian Journal of Statistics 6:65-70.
    """
    return _adjusted(p, _step_down)


def _step_down(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p)
    rising = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(rising, 1)
    return adjusted


def _adjusted(p: ArrayLike, rule: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    p = np.asarray(p, float)
    tested = ~np.isnan(p)
    if ((p[tested] < 0) | (p[tested] > 1)).any():
        raise ValueError("P-values lie between 0 and 1.")
    adjusted = np.full(p.shape, np.nan)
    if tested.any():
        adjusted[tested] = rule(p[tested])
    return adjusted
