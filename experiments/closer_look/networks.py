"""The networks of the noise, capacity, regulariser and talk arms as one table, and answers from values by seed."""

from typing import Any

import numpy as np
import pandas as pd

from memo import datasets
from memo.comparisons import Answer
from memo.curves import shape, time_to
from memo.evidence import Evidence
from memo.statistics import mean_interval

ARPIT = "Arpit et al. 2017"
# Shape statistics, over the stretch of a curve that the headline experiment takes.
LEVELS = {"loss": 0.9, "accuracy": 0.99}
SHAPE = ("area", "linearity", "steepness", "early_share")
COLORS = {"true": "#0072B2", "inputs": "#CC79A7", "labels": "#D55E00"}
# Levels of noise, light to dark.
SHADES = {"inputs": "RdPu", "labels": "YlOrBr"}


def measure(trials: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each row of `trials`: the treatment of a network and what came of its training.

    `noise` is what is replaced (none, inputs, labels) and `level` its share; times are epochs, NaN where never reached, and
    all that training gives is NaN for diverged networks. `best` is the evaluation after step 0 with the best test accuracy.
    """
    by_trial = {trial: own.sort_values("step") for trial, own in curves.groupby("trial")}
    rows = []
    for trial in trials.to_dict("records"):
        images = trial["dataset.n_train"]
        row = {
            "arm": trial["arm"],
            "trial": trial["trial"],
            "seed": trial["seed"],
            "width": trial["model.widths"][0],
            "n": datasets.TRAIN_IMAGES if pd.isna(images) else int(images),
            **noise_of(trial),
            "labels": trial["labels.kind"],
            "rate": trial["optimizer.learning_rate"],
            "weight_decay": trial["optimizer.weight_decay"],
            **{name: trial[f"regularization.{name}"] for name in STRENGTHS},
            "status": trial["status"],
        }
        rows.append(row | (_outcome(by_trial[trial["trial"]]) if trial["status"] != "diverged" else {}))
    found = ["epochs", "train_accuracy", "test_accuracy", "best_test_accuracy", "best_epoch", "best_step",
             "train_accuracy_at_best", "t50", "t90", "t99", "t100"]  # fmt: skip
    shapes = [f"{kind}_{name}" for kind in LEVELS for name in SHAPE]
    return pd.DataFrame(rows).reindex(columns=list(dict.fromkeys([*rows[0], *found, *shapes])))


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


def _outcome(curve):
    last, trained = curve.iloc[-1], curve[curve["step"] > 0]
    best = trained.loc[trained["test_accuracy"].idxmax()]
    found = {
        "epochs": last["epoch"],
        "train_accuracy": last["train_accuracy"],
        "test_accuracy": last["test_accuracy"],
        "best_test_accuracy": best["test_accuracy"],
        "best_epoch": best["epoch"],
        "best_step": best["step"],
        "train_accuracy_at_best": best["train_accuracy"],
    }
    for percent in (50, 90, 99, 100):
        found[f"t{percent}"] = time_to(curve["epoch"], curve["train_accuracy"], percent / 100)
    for kind, level in LEVELS.items():
        measured = shape(curve["epoch"], curve[f"train_{kind}"], kind, level)
        found |= {f"{kind}_{name}": measured[name] for name in SHAPE}
    return found


def table(evidence: Evidence) -> pd.DataFrame:
    """Return `measure` of all arms, the diverged networks among them."""
    tables = evidence.tables
    return measure(tables.arms.merge(tables.trials, on="trial"), tables.curves)


def with_levels(frame: pd.DataFrame, noise: str, **conditions: Any) -> pd.DataFrame:
    """Return the networks of one kind of noise together with those without any, which are its level 0, once each."""
    own = where(frame[frame["noise"].isin(["none", noise])], **conditions)
    return own.drop_duplicates("trial").sort_values(["level", "seed"], ignore_index=True)


def where(frame: pd.DataFrame, **conditions: Any) -> pd.DataFrame:
    """Return the rows that meet all conditions, column=value."""
    for column, value in conditions.items():
        frame = frame[frame[column] == value]
    return frame


def answer(values: pd.Series | np.ndarray, why: str = "never reached, or a diverged network") -> Answer:
    """Return the mean over seeds with its interval, or None, and a note on the seeds without a value."""
    values = np.asarray(values, float)
    known = values[np.isfinite(values)]
    absent = len(values) - len(known)
    note = f"{absent} of {len(values)} seeds have no value: {why}" if absent else ""
    if not len(known):
        return None, note or "no such network was trained"
    return mean_interval(known), note


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
