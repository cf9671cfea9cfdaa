"""The change of a value along the levels of a condition (a share of random labels, a number of images), within seeds.

A frame of levels is [seeds, levels], columns ascending (`by_level`). Trends are read from steps within seeds or from slopes by
seed, never from the smallest of several noisy steps of a seed: its mean lies below the smallest true step
(`tests/test_trends.py` shows by how much).
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from memo.statistics.intervals import LOG, Estimate, mean_interval, p_outside
from memo.statistics.multiplicity import holm


class Step(NamedTuple):
    """A change from one level to the next: its mean with interval, and the p-value of no rise, by Holm over the steps."""

    rise: Estimate
    p: float


def by_level(frame: pd.DataFrame, column: str, axis: str = "level") -> pd.DataFrame:
    """Return a column of a frame as one row per seed and one column per level (of `axis`), ascending, float64."""
    return frame.pivot(index="seed", columns=axis, values=column).sort_index(axis=1).astype(float)


def log_slope(levels: pd.DataFrame) -> pd.Series:
    """Return by seed the least-squares slope of log(value) against log(level), for values [seeds, levels].

    The exponent of a power law. NaN for a seed whose values are not all above 0, and for fewer than two levels.
    """
    if levels.shape[1] < 2:
        return pd.Series(np.nan, levels.index)
    values = levels.to_numpy(float)
    logs, x = np.log(np.where(values > 0, values, np.nan)), np.log(levels.columns.to_numpy(float))
    centred = x - x.mean()
    return pd.Series(logs @ centred / (centred @ centred), levels.index)


def paired_steps(*levels: ArrayLike, confidence: float = 0.95) -> list[Step]:
    """Return the steps from each level, values [n] by seed, to the next; of logarithms, for ratios.

    Intervals are of one step each; the p-values, one-sided, are adjusted for the number of steps. NaN where all seeds
    step by the same. Raises ValueError for fewer than two levels, and as `mean_interval` does.
    """
    rises = [mean_interval(difference, confidence) for difference in _differences(levels)]
    return [Step(rise, p) for rise, p in zip(rises, holm([p_outside(rise, (0, math.inf)) for rise in rises]))]


def smallest_step(*levels: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the smallest mean step from each level, values [n] by seed, to the next, with an interval for the smallest true one.

    For claims that a value rises from every level to the next: above 0 where every step is, below 0 where one of them falls.
    The low end is the lowest of the steps' intervals (every step has to rise, so none needs a correction). The high end is the
    lowest of the high ends with their part of the error divided among the steps (Bonferroni; any one of them may fall).
    The value itself is biased downward, the interval is not. It covers at least its confidence; `spread` is that of the step
    whose interval begins lowest. No interval where all seeds step by the same. Use with `over_seeds(levels, estimate=...)`.
    Raises ValueError as `paired_steps` does.
    """
    differences = _differences(levels)
    rises = [mean_interval(difference, confidence) for difference in differences]
    strict = 1 - (1 - confidence) / len(differences)
    highs = [mean_interval(difference, strict).high for difference in differences]
    value = min(rise.value for rise in rises)
    if any(math.isnan(rise.low) for rise in rises):
        return Estimate(value, math.nan, math.nan, rises[0].n)
    lowest = min(rises, key=lambda rise: rise.low)
    return Estimate(value, lowest.low, min(highs), lowest.n, lowest.spread)


def smallest_ratio(*levels: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the smallest geometric mean ratio of a level, values [n] above 0 by seed, to the one before; see `smallest_step`."""
    values = np.array(levels, float)
    if (values <= 0).any():
        raise ValueError("A ratio on the log scale needs numbers above 0.")
    step = smallest_step(*np.log(values), confidence=confidence)
    spread = step.spread and step.spread._replace(scale=LOG, bounds=(0, math.inf))
    return Estimate(math.exp(step.value), math.exp(step.low), math.exp(step.high), step.n, spread)


def page_trend(levels: pd.DataFrame) -> float:
    """Return the p-value of no trend against a rise along the levels [seeds, levels], by ranks within seeds; seeds complete.

    Source: Page (1963), Journal of the American Statistical Association 58:216-230. Exact for few seeds and levels
    (`scipy.stats.page_trend_test`). It needs three levels and two seeds: NaN for fewer.
    """
    whole = levels.dropna()
    if whole.shape[0] < 2 or whole.shape[1] < 3:
        return math.nan
    return float(stats.page_trend_test(whole.to_numpy(float)).pvalue)


def _differences(levels: tuple[ArrayLike, ...]) -> list[np.ndarray]:
    if len(levels) < 2:
        raise ValueError(f"Steps need at least two levels, not {len(levels)}.")
    return list(np.diff(np.array(levels, float), axis=0))
