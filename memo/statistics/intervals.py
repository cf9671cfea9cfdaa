"""Estimates with intervals: means over seeds, paired comparisons, shares of networks, and accuracies.

    values, one per seed ──> Estimate(value, low, high, n) ──> memo.reporting.claims

Numbers that are not finite (a threshold not reached, a diverged trial) raise ValueError everywhere: only the caller
knows whether such a trial is counted apart or turns the estimate into a bound (`memo.statistics.over_seeds`).

**Coverage** of the nominal 95 %, in per cent, from 20,000 simulated samples of each kind (a standard error of 0.2; brackets:
more than 1.5 short). `python -m tests.test_coverage` prints the table, and a test compares it with new samples.

| values                                     |  n = 5 |    8   |   10   |   20   |   32   |
|--------------------------------------------|--------|--------|--------|--------|--------|
| mean, normal                               |   94.7 |   95.2 |   94.9 |   94.8 |   94.9 |
| mean, two modes                            |  (91.1)|   95.8 |   94.3 |   94.0 |   94.8 |
| mean, near 1 (beta 20, 1)                  |  (89.4)|  (90.2)|  (91.0)|  (92.2)|  (93.2)|
| mean, three in five exactly 1              |  (83.4)|  (82.6)|  (83.1)|  (87.7)|  (89.7)|
| mean, exponential                          |  (88.7)|  (89.4)|  (90.0)|  (91.8)|  (93.0)|
| mean, log-normal (σ = 1)                   |  (81.7)|  (83.5)|  (84.3)|  (86.9)|  (88.5)|
| geometric mean, log-normal                 |   94.7 |   95.2 |   94.9 |   94.8 |   94.9 |
| geometric mean, exponential                |   93.5 |  (93.2)|   93.7 |   94.3 |   94.7 |
| geometric mean, ratio of two exponentials  |   95.4 |   95.2 |   95.4 |   95.1 |   95.2 |
| accuracy by image, errors shared           |   94.6 |   94.5 |   94.7 |   94.6 |   94.7 |
| accuracy by image, seeds differ            |   94.8 |   94.8 |   95.0 |   94.7 |   95.2 |
| accuracy by image, at chance               |   94.3 |   94.4 |   94.9 |   95.1 |   94.9 |
| accuracy, errors shared                    |   97.1 |   97.1 |   97.1 |   97.2 |   97.1 |
| accuracy, errors hardly shared             |   99.9 |  100.0 |  100.0 |  100.0 |  100.0 |
| accuracy, at chance                        |  100.0 |  100.0 |  100.0 |  100.0 |  100.0 |

Five seeds are enough for a mean of values that are near to normal. If they are skewed, its interval covers 82 to 89 %, and
misses on one side: it lies too near to the many, too far from the tail. A skewed positive number is better measured by its
geometric mean, and one that is often at its bound by the share of networks that reach it. Accuracies were simulated on 400
images.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

LINEAR, LOG, FISHER, BINOMIAL = "linear", "log", "fisher", "binomial"
Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-math.inf, math.inf)

# Differences of float64 numbers that are equal on paper differ in the last of their 16 digits.
_ROUNDING = 1e-12


class Spread(NamedTuple):
    """The sampling distribution of an estimate: what a p-value needs beside the interval.

    Student's t with `freedom` degrees of freedom and the standard `errors`, downward and upward, on a `scale`: LINEAR, LOG
    or FISHER (artanh). BINOMIAL: a count out of n, rescaled from (0, 1) to `bounds`. The number cannot lie outside of `bounds`.
    """

    errors: tuple[float, float]
    freedom: float
    scale: str = LINEAR
    bounds: Bounds = UNBOUNDED


class Estimate(NamedTuple):
    """A number, its interval in the same unit (NaN bounds: no interval), and the number n of seeds, pairs or networks behind it.

    An interval with an infinite high end is a lower bound. `spread` is None where there is no interval to test.
    """

    value: float
    low: float
    high: float
    n: int
    spread: Spread | None = None


def mean_interval(values: ArrayLike, confidence: float = 0.95, *, bounds: Bounds = UNBOUNDED) -> Estimate:
    """Return the mean of values [n], one per seed, with Student's t interval.

    `bounds` are those that no value can pass, such as (0, 1) for a share: the interval is cut there, which takes nothing
    from its coverage. Equal values do not show that the next one is equal too, and there is no interval without width:

    * all at one of the `bounds`, they are n of n: the interval is `share`'s, stretched from (0, 1) to the bounds. It
      covers whatever the distribution, as a mean is at least (at most) what it would be with all others at the other end.
    * otherwise there is no interval (NaN bounds), as from one value.

    Raises ValueError for no values, values that are not finite or outside the bounds, or a confidence outside (0, 1).
    """
    values = _finite(values)
    n = len(values)
    if values.min() < bounds[0] - _ROUNDING or values.max() > bounds[1] + _ROUNDING:
        raise ValueError(f"Values from {values.min():g} to {values.max():g} lie outside of their bounds {bounds}.")
    if _differ(values):
        error = float(values.std(ddof=1)) / math.sqrt(n)
        return student(float(values.mean()), error, n - 1, n, confidence, bounds=bounds)
    for successes, end in zip((0, n), bounds):
        if abs(values[0] - end) <= _ROUNDING and all(map(math.isfinite, bounds)):
            return _binomial(successes, n, confidence, bounds)
    _check(confidence)
    return Estimate(float(values[0]), math.nan, math.nan, n)


def mean_share(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return `mean_interval` of shares [n], one per seed, which lie between 0 and 1."""
    return mean_interval(values, confidence, bounds=(0, 1))


def geometric_mean(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the geometric mean of values [n] above 0, one per seed, with Student's t interval of their logarithms.

    For ratios and times, whose logarithms are nearer to normal than they are; it is of the geometric mean, or of the median
    of a log-normal distribution, and not of the arithmetic mean. The interval of 1 / values is the reciprocal one.
    Raises ValueError as `mean_interval` does, and for values not above 0.
    """
    values = _finite(values)
    if values.min() <= 0:
        raise ValueError("A geometric mean needs numbers above 0.")
    n, logs = len(values), np.log(values)
    if not _differ(values):
        _check(confidence)
        return Estimate(float(values[0]), math.nan, math.nan, n)
    error = float(logs.std(ddof=1)) / math.sqrt(n)
    return student(math.exp(logs.mean()), error, n - 1, n, confidence, LOG, (0, math.inf))


def paired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95, *, bounds: Bounds = UNBOUNDED) -> Estimate:
    """Return the mean of a − b, each [n], where a[i] and b[i] belong to the same seed; n counts pairs.

    `bounds` are those of the difference: (−1, 1) for shares. Raises ValueError as `mean_interval` does, and for unequal
    lengths.
    """
    a, b = _pairs(a, b)
    return mean_interval(a - b, confidence, bounds=bounds)


def paired_ratio(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the geometric mean of a / b, each [n], where a[i] and b[i] belong to the same seed; n counts pairs.

    The interval is `geometric_mean`'s, so b / a has the reciprocal one. Raises ValueError as `geometric_mean` does, and
    for unequal lengths.
    """
    a, b = _pairs(a, b)
    if min(a.min(), b.min()) <= 0:
        raise ValueError("A ratio on the log scale needs numbers above 0.")
    # Dividing first makes equal ratios exactly equal, whatever their logs round to.
    return geometric_mean(a / b, confidence)


def share(which: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the share of networks [n] for which `which` is true, with its exact binomial interval; NaN for none.

    It covers at least its confidence for every true share, mostly more. For all (or none) of n it is a one-sided bound at
    97.5 %: at least 0.025^(1/n), which is 0.478 of 5, 0.692 of 10, 0.832 of 20. The "rule of three", 0.05^(1/n),
    spends both tails on that side; an interval that does so only where all or none are covers as little as 92.7 % (n = 10).
    Source: Clopper and Pearson (1934), Biometrika 26:404-413.
    """
    which = np.asarray(which, bool)
    _check(confidence)
    if not len(which):
        return Estimate(math.nan, math.nan, math.nan, 0)
    return _binomial(int(which.sum()), len(which), confidence, (0, 1))


def share_from(level: float) -> Callable[[ArrayLike], Estimate]:
    """Return the estimate of the share of networks whose value is `level` or more, given values [n]."""
    return lambda values: share(np.asarray(values) >= level)


def share_difference(one: ArrayLike, other: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the share in one population [n] minus that in another [m], with Newcombe's interval; n is the smaller number.

    From the two Wilson intervals, so that shares of 0 or 1 do not give an interval without width, as resampling would.
    On average over the true shares it covers 95 %; at worst 88 % with 5 and 5 networks, 90 % with 20 and 20.
    Source: Newcombe (1998), Statistics in Medicine 17:873-890, method 10.
    """
    groups = [np.asarray(group, bool) for group in (one, other)]
    n = min(len(group) for group in groups)
    _check(confidence)
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    normal = float(special.ndtri((1 + confidence) / 2))
    (p, p_low, p_high), (q, q_low, q_high) = ((float(group.mean()), *_wilson(group, normal)) for group in groups)
    below, above = math.hypot(p - p_low, q_high - q), math.hypot(p_high - p, q - q_low)
    spread = Spread((below / normal, above / normal), math.inf, bounds=(-1, 1))
    return Estimate(p - q, p - q - below, p - q + above, n, spread)


def accuracy_interval(
    accuracies: ArrayLike, images: int, by_image: ArrayLike | None = None, confidence: float = 0.95
) -> Estimate:
    """Return the mean accuracy [n] of networks on the same `images` test images, for new networks and new images alike.

    `mean_interval` of accuracies is conditional on the test images: it covers other seeds on these images. Here the
    images are a sample too. Their part of the variance is at most p (1 − p) / images, if all networks err on the same ones;
    `by_image` [images], the share of the networks that is right about each, gives it exactly (crossed random effects, by
    the mean squares of a two-way analysis of variance). Without it the interval is too wide where errors are
    not shared: at chance, by far. The degrees of freedom are Satterthwaite's; n counts networks.
    Raises ValueError as `mean_interval` does with bounds (0, 1), for fewer than 2 images, and for another number of `by_image`.
    """
    accuracies = _finite(accuracies)
    _check(confidence)
    n, p = len(accuracies), float(accuracies.mean())
    if accuracies.min() < 0 or accuracies.max() > 1 or images < 2:
        raise ValueError(f"Accuracies lie between 0 and 1, on at least 2 images, not {images}.")
    if n == 1:
        return Estimate(p, math.nan, math.nan, n)
    seeds = float(accuracies.var(ddof=1)) / n
    among = p * (1 - p) / images
    if by_image is not None:
        right = _finite(by_image)
        if len(right) != images:
            raise ValueError(f"{images} images need as many shares of networks, not {len(right)}.")
        among = float(right.var(ddof=1)) / images
        # Answers are 0 or 1, so their whole variance is p (1 − p); what is left of it is in both of the other two.
        left = p * (1 - p) - accuracies.var() - right.var()
        among = max(among - left / ((n - 1) * (images - 1)), 0)
    variance = seeds + among
    if not variance:
        return mean_interval(accuracies, confidence, bounds=(0, 1))
    freedom = variance**2 / (seeds**2 / (n - 1) + among**2 / (images - 1))
    return student(p, math.sqrt(variance), freedom, n, confidence, bounds=(0, 1))


def p_outside(estimate: Estimate, accept: Bounds) -> float:
    """Return the p-value of the hypothesis that the true number lies outside of `accept`, or at its nearer end.

    One-sided, as only one end of the range can be the nearer. Small where a claim is reproduced: a 95 % interval inside
    `accept` has p <= 0.025. 1 − p is that of the hypothesis that the number lies inside, small where a claim is not
    reproduced. An end of `accept` at or beyond what the number can be cannot be passed. NaN without an interval.
    """
    if estimate.spread is None or math.isnan(estimate.low):
        return math.nan
    return max(_p_beyond(estimate, end, upward) for end, upward in zip(accept, (False, True)))


def student(
    value: float,
    error: float,
    freedom: float,
    n: int,
    confidence: float = 0.95,
    scale: str = LINEAR,
    bounds: Bounds = UNBOUNDED,
) -> Estimate:
    """Return a value with Student's t interval from its standard error on a scale, cut at the bounds of the value."""
    _check(confidence)
    there, back = _SCALES[scale]
    reach = error * float(special.stdtrit(freedom, (1 + confidence) / 2))
    low, high = (float(back(there(value) + side * reach)) for side in (-1, 1))
    return Estimate(value, max(low, bounds[0]), min(high, bounds[1]), n, Spread((error, error), freedom, scale, bounds))


_SCALES = {
    LINEAR: (lambda value: value, lambda value: value),
    LOG: (math.log, math.exp),
    FISHER: (math.atanh, math.tanh),
}


def _p_beyond(estimate: Estimate, end: float, upward: bool) -> float:
    """Return the p-value of the hypothesis that the true number is `end` or more (`upward`), or else `end` or less."""
    spread, n = estimate.spread, estimate.n
    assert spread is not None
    low, high = spread.bounds
    if not low < end < high:
        return float((end <= low) == upward)
    if upward and estimate.high == math.inf:
        return 1.0
    if spread.scale == BINOMIAL:
        successes, there = (round(n * (estimate.value - low) / (high - low)), (end - low) / (high - low))
        return float(stats.binom.cdf(successes, n, there) if upward else stats.binom.sf(successes - 1, n, there))
    change, _ = _SCALES[spread.scale]
    above = (change(estimate.value) - change(end)) / spread.errors[end > estimate.value]
    return float(special.stdtr(spread.freedom, above if upward else -above))


def _binomial(successes: int, n: int, confidence: float, bounds: Bounds) -> Estimate:
    """Return the interval of Clopper and Pearson, stretched from (0, 1) to `bounds`."""
    _check(confidence)
    tail, failures = (1 - confidence) / 2, n - successes
    least = special.betaincinv(successes, failures + 1, tail) if successes else 0
    most = special.betaincinv(successes + 1, failures, 1 - tail) if failures else 1
    low, high = bounds
    value, least, most = (float(low + part * (high - low)) for part in (successes / n, least, most))
    return Estimate(value, least, most, n, Spread((math.nan, math.nan), math.nan, BINOMIAL, bounds))


def _wilson(which: np.ndarray, normal: float) -> tuple[float, float]:
    """Return the interval of a share where its score test is `normal` standard errors from it."""
    n, p = len(which), float(which.mean())
    middle, reach = p + normal**2 / (2 * n), normal * math.sqrt(p * (1 - p) / n + normal**2 / (4 * n**2))
    return (middle - reach) / (1 + normal**2 / n), (middle + reach) / (1 + normal**2 / n)


def _differ(values: np.ndarray) -> bool:
    return bool(np.ptp(values) > _ROUNDING * np.abs(values).max())


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"A confidence lies between 0 and 1, not {confidence}.")


def _finite(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"Values come as one row of at least one number, not in the shape {values.shape}.")
    if not np.isfinite(values).all():
        missing = np.count_nonzero(~np.isfinite(values))
        raise ValueError(f"{missing} of {len(values)} values are not finite: count those seeds apart before averaging.")
    return values


def _pairs(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = _finite(a), _finite(b)
    if len(a) != len(b):
        raise ValueError(f"Pairs need two rows of equal length, not {len(a)} and {len(b)} values.")
    return a, b
