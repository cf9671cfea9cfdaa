"""How far the networks of a population lie apart, what their values have to do with each other, and how rare some are.

Here a network is what is resampled: statistics such as a standard deviation are of the whole population, not one a seed.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from memo.statistics.intervals import Estimate, expanded_confidence

RESAMPLES = 4000


def sd(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of values [..., n], [...]."""
    return np.std(values, axis=-1, ddof=1)


def relative_sd(values: np.ndarray) -> np.ndarray:
    """Return sd / mean of values [..., n], [...]; NaN where the mean is 0."""
    mean = np.mean(values, axis=-1)
    return np.divide(sd(values), mean, out=np.full(np.shape(mean), np.nan), where=mean != 0)[()]


def correlation(pairs: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of pairs [2, ..., n], [...]; NaN where one of the two does not vary."""
    left, right = pairs - np.mean(pairs, axis=-1, keepdims=True)
    below = np.sqrt(np.sum(left**2, axis=-1) * np.sum(right**2, axis=-1))
    return np.divide(np.sum(left * right, axis=-1), below, out=np.full(np.shape(below), np.nan), where=below > 0)[()]


def bootstrap(
    statistic: Callable[..., np.ndarray], *groups: ArrayLike, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Return `statistic(*groups)` with its expanded percentile interval (memo.statistics.intervals), each group resampled by itself.

    A group is [..., n], its last axis the networks; what stands before it (say, two values of each) stays together. The
    statistic takes groups [..., R, n] as well and gives [R]. n of the estimate is that of the smallest group. No interval
    from fewer than 3 networks, nor where more than 1 in 100 resamples have no finite value; a value that is NaN has none.
    """
    values = [np.asarray(group, float) for group in groups]
    n = min(group.shape[-1] for group in values)
    nothing = Estimate(np.nan, np.nan, np.nan, n)
    if n < 2 or not np.isfinite(value := float(statistic(*values))):
        return nothing
    if n < 3:
        return nothing._replace(value=value)
    rng = np.random.default_rng(seed)
    drawn = [group[..., rng.integers(0, group.shape[-1], (RESAMPLES, group.shape[-1]))] for group in values]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = statistic(*drawn)
    known = found[np.isfinite(found)]
    if len(known) < 0.99 * RESAMPLES:
        return nothing._replace(value=value)
    tail = (1 - expanded_confidence(confidence, n)) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), n)


def share(which: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the share of networks [n] for which `which` is true, with its exact binomial interval (Clopper and Pearson)."""
    which = np.asarray(which, bool)
    if not len(which):
        return Estimate(np.nan, np.nan, np.nan, 0)
    interval = stats.binomtest(int(which.sum()), len(which)).proportion_ci(confidence, method="exact")
    return Estimate(float(which.mean()), float(interval.low), float(interval.high), len(which))


def share_difference(one: ArrayLike, other: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the share in one population [n] less that in another [m], with Newcombe's interval; n is the smaller number.

    From the two Wilson intervals, so that shares of 0 or 1 do not give an interval without width, as resampling would.
    Source: Newcombe 1998, Statistics in Medicine 17:873-890, method 10.
    """
    groups = [np.asarray(group, bool) for group in (one, other)]
    n = min(len(group) for group in groups)
    if not n:
        return Estimate(np.nan, np.nan, np.nan, 0)
    (p, p_low, p_high), (q, q_low, q_high) = (
        (group.mean(), *stats.binomtest(int(group.sum()), len(group)).proportion_ci(confidence, method="wilson"))
        for group in groups
    )
    low = p - q - np.hypot(p - p_low, q_high - q)
    high = p - q + np.hypot(p_high - p, q - q_low)
    return Estimate(float(p - q), float(low), float(high), n)
