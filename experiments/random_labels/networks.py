"""The networks of all arms as one table, and what is asked of them by what they were shown.

stored tables ──> measure ──> one row a network and arm ──> values by seed ──> (estimate, note)
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from memo.commands.evidence import Evidence
from memo.networks.status import DIVERGED
from memo.statistics import over_seeds
from memo.statistics.curve_summary import SHAPE_COLUMNS, outcomes, training_images
from memo.statistics.intervals import Estimate, mean_interval
from memo.statistics.over_seeds import Answer

ZHANG = "Zhang et al. 2017"

# Levels of training accuracy by the names of their times.
TIMES = {"t50": 0.5, "t90": 0.9, "t99": 0.99, "t999": 0.999}
OUTCOMES = ("epochs", "steps", "train_accuracy", "train_loss", "test_error", "best_test_error", "best_epoch", "start",
            *TIMES, *SHAPE_COLUMNS)  # fmt: skip

# What a network was shown, as a condition on the table.
Conditions = dict[str, Any]
TRUE: Conditions = {"arm": "one_true"}
RANDOM: Conditions = {"arm": "one_corrupted", "fraction": 1.0}
TRUE_DEEP: Conditions = {"arm": "three_true"}
RANDOM_DEEP: Conditions = {"arm": "three_corrupted", "fraction": 1.0}
PIXELS: dict[str, Conditions] = {
    kind: {"arm": f"one_{kind}"} for kind in ("shuffled_pixels", "random_pixels", "gaussian")
}


def network_name(widths: list[int]) -> str:
    """Return "1×512" for one layer of 512 units, "3×512" for three, and all widths where they differ."""
    widths = list(widths)
    return f"{len(widths)}×{widths[0]}" if len(set(widths)) == 1 else "×".join(map(str, widths)) or "linear"


def measure(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each row of `trials`: what the network was, what it was shown, and what came of it (memo.statistics.curve_summary).

    Errors and accuracies are shares.
    """
    rows = [
        {
            "arm": trial["arm"],
            "trial": trial["trial"],
            "seed": trial["seed"],
            "network": network_name(trial["model.widths"]),
            "width": trial["model.widths"][0],
            "parameters": trial["parameters"],
            "n": training_images(trial),
            "labels": trial["labels.kind"],
            "fraction": trial["labels.fraction"],
            "inputs": trial["inputs.kind"],
            "weight_decay": trial["optimizer.weight_decay"],
            "dropout": trial["regularization.dropout"],
            "changed": trial["labels.changed"],
            "status": trial["status"],
        }
        for trial in trials.to_dict("records")
    ]
    found = outcomes(trials, curves, TIMES)
    found = found.assign(test_error=1 - found["test_accuracy"], best_test_error=1 - found["best_test_accuracy"])
    return pd.DataFrame(rows, index=trials.index).join(found[list(OUTCOMES)])


class Networks:
    """The table of all networks, and answers from it: an estimate over seeds, or None, and a note on what is missing."""

    def __init__(self, evidence: Evidence):
        self._evidence = evidence

    @property
    def trials(self) -> pd.DataFrame:
        """The stored table of trials, with every recipe key."""
        return self._evidence.tables.trials

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a network and arm, the diverged ones among them; see `measure`."""
        tables = self._evidence.tables
        return measure(tables.arms.merge(tables.trials, on="trial"), tables.curves)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The learning curves of all networks that did not diverge, with the columns of `frame`, by arm."""
        facts = self.frame[self.frame["status"] != DIVERGED]
        facts = facts[["arm", "trial", "network", "labels", "fraction", "width", "n"]]
        curves = self._evidence.tables.curves.drop(columns="n", errors="ignore")
        return curves.merge(facts, on="trial").sort_values("step")

    def where(self, **conditions: Any) -> pd.DataFrame:
        """Return the rows that meet all conditions, column=value."""
        return over_seeds.where(self.frame, **conditions)

    def curves_of(self, **conditions: Any) -> pd.DataFrame:
        """Return the rows of learning curves that meet all conditions."""
        return over_seeds.where(self.curves, **conditions)

    def values(self, column: str, conditions: dict[str, Any]) -> pd.Series:
        """Return a column by seed, NaN where a network has no value."""
        own = self.where(**conditions).set_index("seed")[column].sort_index()
        if not own.index.is_unique:
            raise ValueError(f"Several networks a seed meet {conditions}.")
        return own

    def mean(self, column: str, conditions: dict[str, Any], change: Callable = lambda values: values) -> Answer:
        """Return the mean over seeds of a column, of `change(values)` where that is given."""
        return self.answer(change(self.values(column, conditions)), conditions)

    def difference(self, column: str, left: dict[str, Any], right: dict[str, Any], right_column: str = "") -> Answer:
        """Return the mean over seeds of one column of `left` minus one of `right`, within pairs."""
        one, other = self.values(column, left), self.values(right_column or column, right)
        return over_seeds.over_pairs(one, other, "no value", diverged=len(self._diverged(left, right)))

    def answer(self, values: pd.Series, *conditions: dict[str, Any]) -> Answer:
        """Return the mean of values by seed, NaN left out and counted in the note."""
        return over_seeds.over_seeds(values, "no value", diverged=len(self._diverged(*conditions)))

    def longer(self, time: str, slow: dict[str, Any], fast: dict[str, Any], words: tuple[str, str]) -> Answer:
        """Return how many times as many epochs `slow` takes to a level as `fast`, pairs with a diverged one left out."""
        one, other = (self.values(time, kind).astype(float) for kind in (slow, fast))
        one, other = one.align(other, join="inner")
        lost = self._diverged(slow, fast)
        return over_seeds.times_longer(one, other, self.values("epochs", slow), words[0], words[1], lost)

    def _diverged(self, *conditions: dict[str, Any]) -> set[int]:
        """Return the seeds of which a network that meets one of the conditions diverged."""
        statuses = [self.values("status", kind) for kind in conditions]
        return {seed for status in statuses for seed in status.index[status == DIVERGED]}


def times_reached(networks: Networks, time: str, conditions: dict[str, Any]) -> Estimate | None:
    """Return the mean time to a level over seeds, None unless every network that did not diverge gets there."""
    own = networks.where(**conditions)
    values = own[own["status"] != DIVERGED][time]
    return mean_interval(values) if len(values) and np.isfinite(values).all() else None
