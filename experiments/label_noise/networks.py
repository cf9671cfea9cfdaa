"""The networks of all chapters: their arms, and what each answers where it would be stopped by validation images, and at its end."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pandas as pd

from memo.commands import mislabelled
from memo.commands.evidence import Evidence
from memo.statistics.intervals import paired_difference
from memo.statistics.over_seeds import LOST, Answer, over_pairs, over_seeds

CLEAN, NOISY, ELR, ELR_STRONG, GCE = "clean", "noisy", "elr", "elr_strong", "gce"
LINEAR, LINEAR_FEW = "linear", "linear_few"
FRESH, FRESH_100, FIXED, BATCHES, RATES = "fresh", "fresh_100", "fixed", "batches", "rates"
WIDTHS, WIDTHS_NOISY = "widths", "widths_noisy"
SYMMETRIC, PAIR, SIMILAR = "symmetric", "pair", "similar"
share_gap = partial(paired_difference, bounds=(-1, 1))
ANSWERED = ("test_accuracy", "true_class", "given_label")


def answered(evidence: Evidence, arms: Iterable[str]) -> pd.DataFrame:
    """Return `mislabelled.along` of some arms with the accuracies on test and validation images at the same steps."""
    parts = [mislabelled.along(evidence, arm) for arm in arms]
    found = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    curves = evidence.tables.curves[["trial", "step", "test_accuracy", "validation_accuracy"]]
    return found.merge(curves.drop_duplicates(["trial", "step"]), on=["trial", "step"])


def stopped_and_last(along: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network of `answered`: trial, arm, seed, and ANSWERED as `stopped_` and as `last_` columns.

    Stopped: at the evaluation after step 0 that is best on validation images, the first of several (`stopped_epoch`).
    """
    ordered = along.astype({"validation_accuracy": float}).sort_values(["trial", "step"])
    after = ordered[ordered["step"] > 0].dropna(subset="validation_accuracy")
    best = after.loc[after.groupby("trial")["validation_accuracy"].idxmax()].set_index("trial")
    last = ordered.drop_duplicates("trial", keep="last").set_index("trial")
    found = best[["arm", "seed"]].assign(stopped_epoch=best["epoch"])
    for name in ANSWERED:
        found[f"stopped_{name}"], found[f"last_{name}"] = best[name], last[name]
    return found.reset_index()


def by_seed(networks: pd.DataFrame, arm: str, column: str) -> pd.Series:
    """Return a column of an arm's networks by seed, the diverged included (NaN); none where the column is missing."""
    own = networks[networks["arm"] == arm].set_index("seed")
    return own[column].astype(float) if column in own else pd.Series(dtype=float)


def difference(networks: pd.DataFrame, one: tuple[str, str], other: tuple[str, str]) -> Answer:
    """Return the mean over seeds of one (arm, column) of shares minus another."""
    return over_pairs(by_seed(networks, *one), by_seed(networks, *other), LOST, estimate=share_gap)


def mean(networks: pd.DataFrame, arm: str, column: str, **options: Any) -> Answer:
    """Return the mean over seeds of a column of an arm."""
    return over_seeds(by_seed(networks, arm, column), LOST, **options)
