"""The shape of one learning curve, in numbers that do not depend on the duration of learning.

A curve is `steps` [E], ascending from 0 in any unit (optimiser steps, epochs) and at any spacing, and `values` [E].
Between evaluations it is linear. Non-finite values at the end (the trial had ended) are dropped.

The values that the functions take are those of a rising curve: a training accuracy as it is, or the progress of a
loss (`loss_progress`). The *rise* goes from `chance` (1 / classes for accuracy, 0 for progress) at step 0 to the first
time the curve reaches `level`; this stretch of time is the *span*. So T90 is the first time that the raw accuracy is
0.9, or that 90 % of the initial loss is lost. The time to a level that a curve does not reach is NaN, never extrapolated; a caller who
wants the shape of an unfinished rise asks for a lower `level`, and compares only curves measured to the same one.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

KINDS = ("accuracy", "loss")
WINDOW = 1 / 20  # of the span

# Accuracies are stored as float32, which has 0.9 as 0.89999998; one image in 60 000 is an accuracy of 17e-6.
_ROUNDING = 1e-6


def _observed(steps: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    if steps.ndim != 1 or steps.shape != values.shape:
        raise ValueError(f"A curve needs one value per step, but steps are {steps.shape} and values {values.shape}.")
    finite = np.isfinite(values)
    end = int(np.count_nonzero(finite))
    if end < 2:
        raise ValueError(f"A curve needs at least two finite values, but has {end}.")
    if not finite[:end].all():
        raise ValueError(f"A curve may lack values only at its end, but value {finite.argmin()} is not finite.")
    if steps[0] != 0 or not (steps[1:end] > steps[: end - 1]).all():
        raise ValueError("The steps of a curve must ascend strictly from 0.")
    return steps[:end], values[:end]


def _first_crossing(steps: np.ndarray, values: np.ndarray, level: float) -> float:
    reached = values >= level - _ROUNDING
    if not reached.any():
        return math.nan
    first = reached.argmax()
    if first == 0:
        return float(steps[0])
    return float(np.interp(level, values[first - 1 : first + 1], steps[first - 1 : first + 1]))


def _span(steps: ArrayLike, values: ArrayLike, level: float, chance: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return time x and height y of the curve over its span, scaled to end at (1, 1), or None without a span."""
    if not level > chance:
        raise ValueError(f"The level of a rise must lie above chance ({chance}), but is {level}.")
    steps, values = _observed(steps, values)
    end = _first_crossing(steps, values, level)
    if not end > 0:
        return None
    before = steps < end
    return np.append(steps[before] / end, 1.0), np.append((values[before] - chance) / (level - chance), 1.0)


def loss_progress(values: ArrayLike) -> np.ndarray:
    """Share of the initial loss that is lost: (L0 - L) / L0, [E], 0 at step 0, at most 1, negative above L0."""
    values = np.asarray(values, float)
    if not (values.size and values[0] > 0):
        raise ValueError("The progress of a loss needs an initial loss above 0.")
    return (values[0] - values) / values[0]


def rising(values: ArrayLike) -> np.ndarray:
    """Non-decreasing curve that is closest to the values [E] in squares, [E]; NaN at the end stays.

    Accuracies of a network trained by minibatches rise and fall by a percentage point from one step to the next, so the
    first time at which one of them reaches a level is the earlier, the more often one looks. That of the fitted curve is
    not: where values fall, it has their mean (isotonic regression, Barlow et al. 1972). A rising curve stays as it is.
    """
    values = np.asarray(values, float)
    found, known = values.copy(), np.isfinite(values)
    if known.any():
        found[known] = isotonic_regression(values[known]).x
    return found


def time_to(steps: ArrayLike, values: ArrayLike, level: float) -> float:
    """First time at which the curve reaches `level`, in the unit of `steps`.

    0 if the curve starts there, NaN if it never reaches it. A straight line from 0 to 1 in time T gives level * T.
    """
    steps, values = _observed(steps, values)
    return _first_crossing(steps, values, level)


def at_level(values: ArrayLike, others: ArrayLike, level: float) -> float:
    """Return the value of `others` [E] at which `values` [E] first reach `level`, interpolated linearly between evaluations; NaN if never.

    To compare networks at the same accuracy instead of the same time. At a level passed before the first evaluation it is
    that of the first.
    """
    values, others = np.asarray(values, float), np.asarray(others, float)
    reached = np.flatnonzero(values >= level - _ROUNDING)
    if not len(reached):
        return math.nan
    first = reached[0]
    between = slice(max(first - 1, 0), first + 1)
    return float(np.interp(min(level, values[first]), values[between], others[between]))


def area(steps: ArrayLike, values: ArrayLike, level: float = 0.99, chance: float = 0.1) -> float:
    """Area under the rise: integral of (value - chance) / (level - chance) over time / span.

    A straight line gives 0.5, a fast start more, a slow start less; below 1, and 0..1 for a curve that stays above
    chance. Values below chance count as negative: clipping them would lift the noise around chance. NaN without a
    span: `level` never reached, or reached at step 0.
    """
    span = _span(steps, values, level, chance)
    return math.nan if span is None else float(np.trapezoid(span[1], span[0]))


def linearity(steps: ArrayLike, values: ArrayLike, level: float = 0.99, chance: float = 0.1) -> float:
    """R^2 of the least-squares straight line over the span, in 0..1; 1 for a straight line.

    Taken at 1001 times at equal distances, so that the spacing of the evaluations does not weigh. NaN without a span.
    A high R^2 does not show a straight line: t^2 has 0.94. Compare it between populations.
    """
    span = _span(steps, values, level, chance)
    if span is None:
        return math.nan
    times = np.linspace(0, 1, 1001)
    return float(np.corrcoef(times, np.interp(times, *span))[0, 1] ** 2)


def steepness(steps: ArrayLike, values: ArrayLike, level: float = 0.99, chance: float = 0.1) -> float:
    """Largest slope over a window of a twentieth of the span, divided by the mean slope of the span.

    At least 1, which a straight line gives; at most 20 for a monotone curve. A window, because the slope between two
    near evaluations is mostly noise. NaN without a span.
    """
    span = _span(steps, values, level, chance)
    if span is None:
        return math.nan
    x, y = span
    # The gain in a sliding window is linear but where one of its ends passes an evaluation: its maximum is at one.
    starts = np.clip(np.concatenate([x, x - WINDOW]), 0, 1 - WINDOW)
    gains = np.interp(starts + WINDOW, x, y) - np.interp(starts, x, y)
    return float(gains.max() / WINDOW / (1 - y[0]))


def early_share(steps: ArrayLike, values: ArrayLike, level: float = 0.99, chance: float = 0.1) -> float:
    """Share of the span that passes before the first tenth of the rise, chance + 0.1 (level - chance), is reached.

    In 0..1: 0.1 for a straight line, large for a curve that stays near chance at first, 0 where the curve starts
    above the first tenth. NaN without a span.
    """
    span = _span(steps, values, level, chance)
    return math.nan if span is None else _first_crossing(span[0], span[1], 0.1)


def start(steps: ArrayLike, values: ArrayLike, level: float = 0.99, chance: float = 0.1) -> float:
    """Time to a tenth of the rise over the time from there to half of it: 0.25 for a straight line, more for a slow start.

    NaN if the curve never reaches `level`, or is at half of the rise from the beginning.
    """
    steps, values = _observed(steps, values)
    tenth, half, end = (_first_crossing(steps, values, chance + share * (level - chance)) for share in (0.1, 0.5, 1))
    return tenth / (half - tenth) if end > 0 and half > tenth else math.nan


def shape(
    steps: ArrayLike, values: ArrayLike, kind: str = "accuracy", level: float = 0.99, chance: float = 0.1
) -> dict[str, float]:
    """All statistics of one curve: t50, t90, t99 in the unit of `steps`, the rest dimensionless.

    `kind` is "accuracy", or "loss" (its progress, with a chance of 0). `level` ends the span of area, linearity,
    steepness and early_share; t50, t90 and t99 do not depend on it.
    """
    if kind not in KINDS:
        raise ValueError(f"A curve's kind is one of {', '.join(KINDS)}, not {kind!r}.")
    steps, values = _observed(steps, values)
    if kind == "loss":
        values, chance = loss_progress(values), 0.0
    times = {f"t{percent}": time_to(steps, values, percent / 100) for percent in (50, 90, 99)}
    return times | {f.__name__: f(steps, values, level, chance) for f in (area, linearity, steepness, early_share)}
