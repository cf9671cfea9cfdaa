"""Estimates with intervals: means over seeds, paired comparisons, and the band of an observed share.

    values, one a seed ──> Estimate(value, low, high, n) ──> memo.reporting.claims

Numbers that are not finite (a threshold not reached, a diverged trial) raise ValueError everywhere: only the caller
knows whether such a trial is counted apart or turns the estimate into a bound.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

# At n = 5 the expanded level lies near 1/1000: 10,000 resamples keep about ten of them beyond it.
RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A number, its interval in the same unit (NaN bounds: no interval), and how many seeds or pairs it stands on."""

    value: float
    low: float
    high: float
    n: int


def expanded_confidence(confidence: float, n: int) -> float:
    """Return the nominal confidence at which a percentile bootstrap of n values covers about `confidence`.

    Each tail alpha/2 becomes Phi(sqrt(n/(n-1)) t_{alpha/2, n-1}), so that on symmetric data the interval matches
    Student's. Source: the expanded percentile interval of Hesterberg (2015), The American Statistician 69:371-386,
    arXiv:1411.5279; the same rule is `ExpandProbs` in his R package resample.
    """
    tail = stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf((1 - confidence) / 2, n - 1))
    return float(1 - 2 * tail)


def mean_interval(values: ArrayLike, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean of values (n,), one a seed, with its expanded percentile bootstrap interval.

    Coverage of the nominal 95 % on normal data, measured on 20,000 samples each (standard error below 0.4 points):

        n                     2      3      4      5     10     20
        expanded (this)    50.0   75.0   87.5   91.8   94.7   95.0
        plain percentile   50.0   75.0   80.1   83.1   90.3   92.8

    No resample leaves the range of the data, so on such data no percentile interval covers more than 1 - 2^(1-n):
    75 % at n = 3, 93.75 % at n = 5. One seed has no interval (NaN bounds); equal values have one of no width.
    Takes about 1 ms at n = 5, 7 ms at n = 50, 23 ms at n = 200.
    Raises ValueError for no values, values that are not finite, or a confidence outside (0, 1).
    """
    values = _finite(values)
    if not 0 < confidence < 1:
        raise ValueError(f"A confidence lies between 0 and 1, not {confidence}.")
    n = len(values)
    if n == 1:
        return Estimate(float(values[0]), math.nan, math.nan, n)
    if np.all(values == values[0]):
        only = float(values[0])
        return Estimate(only, only, only, n)
    interval = stats.bootstrap(
        (values,),
        np.mean,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        confidence_level=expanded_confidence(confidence, n),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(float(values.mean()), float(interval.low), float(interval.high), n)


def paired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean of a - b, each (n,), where a[i] and b[i] belong to the same seed; n counts pairs.

    Raises ValueError as `mean_interval` does, and for unequal lengths.
    """
    a, b = _pairs(a, b)
    return mean_interval(a - b, confidence, seed)


def paired_ratio(a: ArrayLike, b: ArrayLike, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the geometric mean of a / b, each (n,), where a[i] and b[i] belong to the same seed; n counts pairs.

    The interval is that of the mean of log(a / b), so b / a has the reciprocal interval. Raises ValueError as
    `mean_interval` does, for unequal lengths, and for numbers not above 0.
    """
    a, b = _pairs(a, b)
    if min(a.min(), b.min()) <= 0:
        raise ValueError("A ratio on the log scale needs numbers above 0.")
    # Dividing first makes equal ratios exactly equal, whatever their logs round to.
    logs = mean_interval(np.log(a / b), confidence, seed)
    return Estimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.n)


def binomial_band(p: float, n: int, confidence: float = 0.99) -> tuple[float, float]:
    """Return the central band (low, high) of the share of n images that are right, each with probability p.

    Exact, both ends included: a share falls below `low`, or above `high`, with probability at most
    (1 - confidence) / 2. Raises ValueError for p outside [0, 1], n below 1, or a confidence outside (0, 1).
    """
    if not (0 <= p <= 1 and n >= 1 and 0 < confidence < 1):
        raise ValueError(f"A band needs 0 <= p <= 1, n >= 1, 0 < confidence < 1, not {p}, {n}, {confidence}.")
    low, high = stats.binom.interval(confidence, n, p)
    return float(low / n), float(high / n)


def _finite(values):
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Values come as one row of at least one number, not in the shape {values.shape}.")
    if not np.isfinite(values).all():
        missing = np.count_nonzero(~np.isfinite(values))
        raise ValueError(f"{missing} of {len(values)} values are not finite: count those seeds apart before averaging.")
    return values


def _pairs(a, b):
    a, b = _finite(a), _finite(b)
    if len(a) != len(b):
        raise ValueError(f"Pairs need two rows of equal length, not {len(a)} and {len(b)} values.")
    return a, b
