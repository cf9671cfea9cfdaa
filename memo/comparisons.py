"""Twins compared: what a condition answers, from frames with columns `seed`, `labels` and `width`.

An answer is an estimate, or None where no seed gives one, and a note on what is missing from it: the two go into the
ledger beside their claim.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from memo.statistics import Estimate, mean_interval, paired_difference, paired_ratio

KINDS = ("true", "shuffled")

Answer = tuple[Estimate | None, str]


def twins(frame: pd.DataFrame, column: str, width: str) -> pd.DataFrame:
    """Return one column of one width as a row a seed, columns true and shuffled; NaN where a trial has no value."""
    own = frame[frame["width"] == width]
    return own.pivot(index="seed", columns="labels", values=column).reindex(columns=KINDS)


def answer(values: pd.DataFrame, estimate: Callable[[pd.DataFrame], Estimate], seeds: int, note: str = "") -> Answer:
    """Return the estimate over the rows that are complete, and a note where they are fewer than `seeds`."""
    whole = values.dropna()
    absent = seeds - len(whole)
    missing = f"{absent} of {seeds} seeds have no value: a curve that never gets there, or a diverged network"
    return (estimate(whole) if len(whole) else None), "; ".join(filter(None, (note, missing if absent else "")))


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
    sound = (twins(trials, "status", width) != "diverged").all(axis=1)
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
