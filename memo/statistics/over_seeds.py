"""Seeds and twins compared: what a condition answers, from frames with a column `seed`; twins have `labels` and `width`.

An answer is an estimate, or None where no seed gives one, and a note on what is missing from it: the two go into the
ledger beside their claim.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from memo.networks.status import DIVERGED
from memo.statistics.intervals import Estimate, mean_interval, paired_difference, paired_ratio

KINDS = ("true", "shuffled")

Answer = tuple[Estimate | None, str]

# What most often becomes of a seed without a value.
NEVER = "a curve that never gets there, or a diverged network"


def where(frame: pd.DataFrame, **conditions: Any) -> pd.DataFrame:
    """Return the rows that meet all conditions, column=value."""
    for column, value in conditions.items():
        frame = frame[frame[column] == value]
    return frame


def width_name(widths: Sequence[int]) -> str:
    """Return "64" for two layers of 64, "1×64" for one, "3×64" for three, and all layers where they are not equal."""
    if len(set(widths)) != 1:
        return "×".join(map(str, widths)) or "0"
    return str(widths[0]) if len(widths) == 2 else f"{len(widths)}×{widths[0]}"


def over_seeds(values: ArrayLike, why: str = NEVER) -> Answer:
    """Return the mean of values [seeds], those that are not finite left out and counted in the note with the reason `why`."""
    known = np.asarray(values, float)
    count = len(known)
    known = known[np.isfinite(known)]
    return (mean_interval(known) if len(known) else None), _absent(count - len(known), count, why)


def over_pairs(one: pd.Series, other: pd.Series, why: str = NEVER) -> Answer:
    """Return the mean of one − other over the seeds that have both, each by seed; others are counted as in `over_seeds`."""
    pairs = pd.DataFrame({"one": one, "other": other})
    whole = pairs.dropna()
    note = _absent(len(pairs) - len(whole), len(pairs), why)
    return (paired_difference(whole["one"], whole["other"]) if len(whole) else None), note


def _absent(missing, count, why):
    if not count:
        return "no such network was trained"
    return f"{missing} of {count} seeds have no value: {why}" if missing else ""


def twins(frame: pd.DataFrame, column: str, width: str) -> pd.DataFrame:
    """Return one column of one width as a row a seed, columns true and shuffled; NaN where a trial has no value."""
    own = frame[frame["width"] == width]
    return own.pivot(index="seed", columns="labels", values=column).reindex(columns=KINDS)


def answer(values: pd.DataFrame, estimate: Callable[[pd.DataFrame], Estimate], seeds: int, note: str = "") -> Answer:
    """Return the estimate over the rows that are complete, and a note where they are fewer than `seeds`."""
    whole = values.dropna()
    missing = _absent(seeds - len(whole), seeds, NEVER)
    return (estimate(whole) if len(whole) else None), "; ".join(filter(None, (note, missing)))


def mean(frame: pd.DataFrame, column: str, labels: str, width: str, seeds: int) -> Answer:
    """Return the mean over seeds of one kind of labels."""
    return answer(twins(frame, column, width)[[labels]], lambda values: mean_interval(values[labels]), seeds)


def difference(frame: pd.DataFrame, column: str, width: str, seeds: int) -> Answer:
    """Return the mean of shuffled minus true within pairs."""
    pairs = twins(frame, column, width)
    return answer(pairs, lambda values: paired_difference(values["shuffled"], values["true"]), seeds)


def ratio(frame: pd.DataFrame, column: str, width: str, seeds: int, *, inverse: bool = False) -> Answer:
    """Return the geometric mean of shuffled over true within pairs, or of its inverse."""
    above, below = KINDS if inverse else KINDS[::-1]
    pairs = twins(frame, column, width)
    return answer(pairs, lambda values: paired_ratio(values[above], values[below]), seeds)


def slowdown(shapes: pd.DataFrame, trials: pd.DataFrame, column: str, width: str) -> Answer:
    """Return how many times longer the shuffled twin takes to get somewhere, times in epochs.

    A curve that never gets there counts with the epochs that it was trained for (`epochs_trained` of the trials), which
    makes the answer a lower bound. Pairs with a diverged network are left out and counted in the note.
    """
    sound = (twins(trials, "status", width) != DIVERGED).all(axis=1)
    pairs = twins(shapes, column, width).reindex(sound.index)[sound]
    given = twins(trials, "epochs_trained", width)["shuffled"]
    estimate, note = times_longer(pairs["shuffled"], pairs["true"], given, "shuffled", "curve on true labels")
    diverged = f"{(~sound).sum()} of {len(sound)} pairs have a diverged network" if not sound.all() else ""
    if estimate is None:
        return None, diverged or note
    return estimate, "; ".join(filter(None, (note, diverged)))


def by_level(frame: pd.DataFrame, column: str, axis: str = "level") -> pd.DataFrame:
    """Return a column with a row a seed and a column a level (of `axis`), ascending, float64."""
    return frame.pivot(index="seed", columns=axis, values=column).sort_index(axis=1).astype(float)


def least_rise(levels: pd.DataFrame) -> pd.Series:
    """Return by seed the smallest step from one level [seeds, levels] to the next; NaN where a level is missing."""
    return levels.diff(axis=1).iloc[:, 1:].min(axis=1, skipna=False)


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


def times_longer(slow: pd.Series, fast: pd.Series, given: pd.Series, slow_name: str, fast_name: str) -> Answer:
    """Return how many times longer one twin takes than the other, times by seed, NaN for never; without diverged ones.

    A slow one that never gets there counts with the time that it was `given`, which makes the answer a lower bound.
    There is no answer where a fast one never does. The names are for the notes.
    """
    fast = fast.reindex(slow.index)
    if fast.isna().any() or not len(slow):
        return None, f"not every {fast_name} gets there"
    never = slow.isna()
    estimate = paired_ratio(slow.fillna(given), fast)
    if not never.any():
        return estimate, ""
    bound = f"a lower bound: {never.sum()} of {len(slow)} {slow_name} curves never get there"
    return estimate._replace(high=np.inf), bound


def summarise(long: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each width, labels and quantity of a long frame: mean, interval, n, and values missing."""
    rows = []
    for (width, labels, quantity), group in long.groupby(["width", "labels", "quantity"], sort=False):
        values = group["value"].dropna()
        estimate = mean_interval(values) if len(values) else Estimate(np.nan, np.nan, np.nan, 0)
        missing = len(group) - len(values)
        rows.append((width, labels, quantity, *estimate, missing))
    return pd.DataFrame(rows, columns=["width", "labels", "quantity", "mean", "low", "high", "n", "missing"])
