"""Means over seeds, with a note on which seeds are missing and why; twins are pairs of networks with the same seed.

    values by seed, NaN where missing ──> over_seeds ──> (Estimate | None, note) ──> the ledger, beside the claim

An answer is an estimate, or None where no seed gives one, and the note. Frames have a column `seed`; those of twins
`labels` and `width` too.
"""

from collections.abc import Callable, Collection, Hashable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from memo.networks.status import DIVERGED
from memo.statistics.intervals import UNBOUNDED, Bounds, Estimate, mean_interval, paired_difference, paired_ratio

KINDS = ("true", "shuffled")

Answer = tuple[Estimate | None, str]

# The most frequent reasons for a seed without a value.
LOST = "a diverged network"
NEVER = f"a curve that never reaches the level, or {LOST}"


def noted(*parts: str) -> str:
    """Return the parts of a note that say something, each once."""
    return "; ".join(dict.fromkeys(filter(None, parts)))


def where(frame: pd.DataFrame, **conditions: Any) -> pd.DataFrame:
    """Return the rows that meet all conditions, column=value."""
    for column, value in conditions.items():
        frame = frame[frame[column] == value]
    return frame


def over_seeds(
    values: ArrayLike | pd.DataFrame,
    why: str = NEVER,
    *,
    estimate: Callable[..., Estimate] = mean_interval,
    asked: int | None = None,
    diverged: int = 0,
    unit: str = "seeds",
) -> Answer:
    """Return the estimate over the seeds that have a finite value, and a note that counts the others with the reason.

    `values` are [seeds], or a frame [seeds, parts] whose complete rows the estimate takes column by column: pairs for
    `paired_ratio`, levels for `trends.smallest_step`. `asked` is how many seeds were trained, where `values` lacks the
    rows of some. `diverged` of the missing ones have a diverged network; `why` is said of the others: "2 of 5 seeds have
    no value: 1 with a diverged network, 1 with {why}".
    """
    frame = values if isinstance(values, pd.DataFrame) else pd.DataFrame({"value": np.asarray(values, float)})
    frame = frame.astype(float)
    whole = frame[np.isfinite(frame.to_numpy()).all(axis=1)]
    note = missing(len(frame) if asked is None else asked, len(whole), why, diverged, unit)
    return (estimate(*(whole[name].to_numpy() for name in whole)) if len(whole) else None), note


def over_pairs(
    one: pd.Series,
    other: pd.Series,
    why: str = NEVER,
    *,
    estimate: Callable[..., Estimate] = paired_difference,
    diverged: int = 0,
) -> Answer:
    """Return the mean of one − other, or another `estimate(one, other)`, over the seeds that have both, each by seed.

    A seed that only one of them has, or has a value for, is missing, and counted as in `over_seeds`.
    """
    return over_seeds(pd.DataFrame({"one": one, "other": other}), why, estimate=estimate, diverged=diverged)


def missing(asked: int, known: int, why: str, diverged: int = 0, unit: str = "seeds") -> str:
    """Return the note on the seeds (or networks) without a value, "" where all have one; see `over_seeds`."""
    if not asked:
        return "no such network was trained"
    if known >= asked:
        return ""
    others = asked - known - diverged
    reasons = [f"{diverged} with {LOST}"] if diverged else []
    if others > 0:
        reasons.append(f"{others} with {why}" if diverged else why)
    return f"{asked - known} of {asked} {unit} have no value: {', '.join(reasons)}"


def twins(frame: pd.DataFrame, column: str, width: str) -> pd.DataFrame:
    """Return one column of one width as one row per seed, columns true and shuffled; NaN where a trial has no value."""
    own = frame[frame["width"] == width]
    return own.pivot(index="seed", columns="labels", values=column).reindex(columns=KINDS)


def mean(frame: pd.DataFrame, column: str, labels: str, width: str, seeds: int, bounds: Bounds = UNBOUNDED) -> Answer:
    """Return the mean over seeds of one kind of labels; `bounds` are those that no value can pass."""
    own = twins(frame, column, width)[[labels]]
    return over_seeds(own, asked=seeds, estimate=partial(mean_interval, bounds=bounds))


def difference(frame: pd.DataFrame, column: str, width: str, seeds: int, bounds: Bounds = UNBOUNDED) -> Answer:
    """Return the mean of shuffled minus true within pairs; `bounds` are those that no difference can pass."""
    pairs = twins(frame, column, width)
    return over_seeds(pairs[["shuffled", "true"]], asked=seeds, estimate=partial(paired_difference, bounds=bounds))


def ratio(frame: pd.DataFrame, column: str, width: str, seeds: int, *, inverse: bool = False) -> Answer:
    """Return the geometric mean of shuffled over true within pairs, or of its inverse."""
    pairs = twins(frame, column, width)[list(KINDS if inverse else KINDS[::-1])]
    return over_seeds(pairs, asked=seeds, estimate=paired_ratio)


def slowdown(shapes: pd.DataFrame, trials: pd.DataFrame, column: str, width: str) -> Answer:
    """Return the ratio of times that the shuffled and the true twin take to reach a level, in epochs; see `times_longer`.

    A curve that never reaches it is assigned the epochs for which it was trained (`epochs_trained` of the trials).
    """
    lost = (twins(trials, "status", width) == DIVERGED).any(axis=1)
    pairs = twins(shapes, column, width).reindex(lost.index)
    given = twins(trials, "epochs_trained", width)["shuffled"]
    words = "shuffled", "curve on true labels"
    return times_longer(pairs["shuffled"], pairs["true"], given, words[0], words[1], lost.index[lost])


def times_longer(
    slow: pd.Series,
    fast: pd.Series,
    given: pd.Series,
    slow_name: str,
    fast_name: str,
    diverged: Collection[Hashable] = (),
) -> Answer:
    """Return the ratio of the times that two twins take, by seed, NaN for never.

    A slow one that never reaches the level is assigned the time that it was `given`, which makes the answer a lower bound: the low
    end of the interval with those times, and no high end. There is no answer if a fast one never reaches it, or if one of them took
    no time. Pairs of the `diverged` seeds are left out and counted in the note. The names are for the notes.
    """
    pairs = pd.DataFrame({"slow": slow, "fast": fast, "given": given.reindex(slow.index.union(fast.index))})
    whole = pairs.drop(index=[seed for seed in diverged if seed in pairs.index])
    lost = len(pairs) - len(whole)
    note = f"{lost} of {len(pairs)} pairs have {LOST}" if lost else ""
    return ratio_of_times(whole["slow"], whole["fast"], whole["given"], slow_name, fast_name, paired_ratio, note)


def ratio_of_times(
    slow: pd.Series,
    fast: pd.Series,
    given: pd.Series,
    slow_name: str,
    fast_name: str,
    estimate: Callable[[pd.Series, pd.Series], Estimate | None],
    note: str = "",
) -> Answer:
    """Return `times_longer` by any `estimate(slow, fast)` of a ratio, of networks that have not diverged; `note` comes last."""
    never, slow = int(slow.isna().sum()), slow.fillna(given)
    if not len(slow) or not len(fast):
        return None, note
    if fast.isna().any():
        return None, noted(f"not every {fast_name} reaches the level", note)
    if min(slow.min(), fast.min()) <= 0:
        return None, noted("a network was finished before its first step", note)
    found = estimate(slow, fast)
    if found is None or not never:
        return found, note
    words = f"a lower bound: {never} of {len(slow)} {slow_name} curves never reach the level"
    return found._replace(high=np.inf), noted(words, note)
