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
    diverged = f"{(~sound).sum()} of {len(sound)} pairs have a diverged network" if not sound.all() else ""
    if pairs["true"].isna().any() or not len(pairs):
        return None, diverged or "not every curve on true labels gets there"
    never = pairs["shuffled"].isna()
    given = twins(trials, "epochs_trained", width)["shuffled"]
    estimate = paired_ratio(pairs["shuffled"].fillna(given), pairs["true"])
    if not never.any():
        return estimate, diverged
    bound = f"a lower bound: {never.sum()} of {len(pairs)} shuffled curves never get there"
    return estimate._replace(high=np.inf), "; ".join(filter(None, (bound, diverged)))


def summarise(long: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each width, labels and quantity of a long frame: mean, interval, n, and values missing."""
    rows = []
    for (width, labels, quantity), group in long.groupby(["width", "labels", "quantity"], sort=False):
        values = group["value"].dropna()
        estimate = mean_interval(values) if len(values) else Estimate(np.nan, np.nan, np.nan, 0)
        missing = len(group) - len(values)
        rows.append((width, labels, quantity, *estimate, missing))
    return pd.DataFrame(rows, columns=["width", "labels", "quantity", "mean", "low", "high", "n", "missing"])
