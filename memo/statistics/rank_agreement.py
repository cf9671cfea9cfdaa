"""Agreement of two scores in rank, and separation of two groups by a score, with intervals over the examples scored."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from memo.measures.ranking import auroc
from memo.statistics.intervals import FISHER, Estimate, share, student


def spearman(one: ArrayLike, other: ArrayLike) -> Estimate:
    """Return Spearman's correlation of two scores [n] with an interval; ties share their mean rank.

    On Fisher's scale, with the standard error of Bonett and Wright 2000; Student's t with n - 3 degrees of freedom, where they
    have a normal quantile, makes it a little wider. No interval (NaN bounds) from fewer than 4 examples or where the ranks
    are the same; NaN where one score is constant.
    """
    a, b = np.asarray(one, float), np.asarray(other, float)
    n = len(a)
    if n < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Estimate(math.nan, math.nan, math.nan, n)
    return spearman_interval(float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1]), n)


def spearman_interval(value: float, n: int) -> Estimate:
    """Return a correlation of ranks, of n examples, with the interval that `spearman` gives it."""
    value, n = float(value), int(n)  # of a table
    if n < 4 or abs(value) > 1 - 1e-12:
        return Estimate(value, math.nan, math.nan, n)
    return student(value, math.sqrt((1 + value**2 / 2) / (n - 3)), n - 3, n, scale=FISHER, bounds=(-1, 1))


def separation(positives: ArrayLike, negatives: ArrayLike) -> Estimate:
    """Return the AUROC of a score for `positives` [P] against `negatives` [N], with the interval of DeLong et al. 1988.

    n is the smaller number. Complete separation, in either direction, has the exact binomial interval of n pairs without a
    common member; NaN where either group is empty.
    """
    high, low = np.asarray(positives, float), np.asarray(negatives, float)
    value, n = auroc(high, low), min(len(high), len(low))
    if n == 0:
        return Estimate(value, math.nan, math.nan, n)
    if value in (0, 1):
        return share(np.full(n, value == 1))
    placements = [_placements(high, low), _placements(-low, -high)]
    variance = sum(float(np.var(each, ddof=1)) / len(each) for each in placements) if n > 1 else 0.0
    if not variance > 0:
        return Estimate(value, math.nan, math.nan, n)
    return student(value, math.sqrt(variance), n - 1, n, bounds=(0, 1))


def _placements(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each score the share of others below it, ties counting half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(others))
