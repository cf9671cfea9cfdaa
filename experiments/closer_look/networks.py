"""The networks of the noise, capacity, regulariser and talk arms as one table, and answers from values by seed."""

from typing import Any

import numpy as np
import pandas as pd

from memo.commands.evidence import Evidence
from memo.reporting import palette
from memo.statistics.curve_summary import SHAPE_COLUMNS, outcomes, training_images
from memo.statistics.over_seeds import where

ARPIT = "Arpit et al. 2017"
COLORS = {"true": palette.BLUE, "inputs": palette.PURPLE, "labels": palette.VERMILION}
# Levels of noise, light to dark.
SHADES = {"inputs": "RdPu", "labels": "YlOrBr"}


# Of `memo.statistics.curve_summary.COLUMNS`, what the chapters read; times to 50, 90, 99 and 100 % training accuracy.
TIMES = {f"t{percent}": percent / 100 for percent in (50, 90, 99, 100)}
OUTCOMES = ("epochs", "train_accuracy", "test_accuracy", "best_test_accuracy", "best_epoch", "best_step",
            "train_accuracy_at_best", *TIMES, *SHAPE_COLUMNS)  # fmt: skip
STRENGTHS = (
    "dropout",
    "input_dropout",
    "input_noise",
    "hidden_noise",
    "adversarial",
    "adversarial_radius",
)


def noise_of(trial: dict[str, Any]) -> dict[str, Any]:
    """Return what of a trial's training set is replaced, and the share of it."""
    if trial["inputs.kind"] != "natural":
        return {"noise": "inputs", "level": trial["inputs.fraction"]}
    if trial["labels.kind"] != "true":
        return {"noise": "labels", "level": trial["labels.fraction"]}
    return {"noise": "none", "level": 0.0}


def measure(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each row of `trials`: the treatment of a network and what came of its training (memo.statistics.curve_summary).

    `noise` is what is replaced (none, inputs, labels) and `level` its share.
    """
    rows = [
        {
            "arm": trial["arm"],
            "trial": trial["trial"],
            "seed": trial["seed"],
            "width": trial["model.widths"][0],
            "n": training_images(trial),
            **noise_of(trial),
            "labels": trial["labels.kind"],
            "rate": trial["optimizer.learning_rate"],
            "weight_decay": trial["optimizer.weight_decay"],
            **{name: trial[f"regularization.{name}"] for name in STRENGTHS},
            "status": trial["status"],
        }
        for trial in trials.to_dict("records")
    ]
    return pd.DataFrame(rows, index=trials.index).join(outcomes(trials, curves, TIMES)[list(OUTCOMES)])


def table(evidence: Evidence) -> pd.DataFrame:
    """Return `measure` of all arms, the diverged networks among them."""
    tables = evidence.tables
    return measure(tables.arms.merge(tables.trials, on="trial"), tables.curves)


def with_levels(frame: pd.DataFrame, noise: str, **conditions: Any) -> pd.DataFrame:
    """Return the networks of one kind of noise together with those without any, which are its level 0, once each."""
    own = where(frame[frame["noise"].isin(["none", noise])], **conditions)
    return own.drop_duplicates("trial").sort_values(["level", "seed"], ignore_index=True)


def rank_correlation(levels: pd.DataFrame) -> pd.Series:
    """Return by seed Spearman's correlation of a value with its level [seeds, levels]; NaN where one is missing or all equal."""

    def of_seed(values):
        if values.isna().any() or values.nunique() < 2 or len(values) < 3:
            return np.nan
        return values.rank().corr(pd.Series(values.index, values.index).rank())

    return levels.apply(of_seed, axis=1).astype(float)


def percent(level: float) -> str:
    """Return a share as "40 %"."""
    return f"{100 * level:g} %"
