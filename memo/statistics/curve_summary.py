"""Outcomes of training per network: final and best evaluations, times, and the shape of learning curves.

trials, curves ──> outcomes ──> one row per network, including diverged ones ──> claims, tables
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from memo.data import datasets
from memo.networks.status import DIVERGED
from memo.statistics.curve_shape import loss_progress, rising, shape, start, time_to

Curve = Mapping[str, np.ndarray]  # the columns READ of one network's learning curve
READ = ("step", "epoch", "train_loss", "train_accuracy", "test_accuracy", "validation_accuracy")

# The stretch over which a curve's shape is measured: until 90 % of the initial loss is lost, and from chance to 99 %
# accuracy. A network stops when its accuracy is perfect, and by then not every one has lost 99 % of its loss.
LEVELS = {"loss": 0.9, "accuracy": 0.99}
# By statistic of a shape: its name, and its value for a straight line.
SHAPES = {
    "area": ("area under the curve", 0.5),
    "linearity": ("R² of a straight line", 1),
    "steepness": ("steepest / mean slope", 1),
    "early_share": ("time in first tenth of rise", 0.1),
}
# Of the evaluation after step 0 that is best on validation images.
BY_VALIDATION = (
    "best_validation_accuracy",
    "best_by_validation_test_accuracy",
    "best_by_validation_epoch",
    "best_by_validation_step",
)
SHAPE_COLUMNS = tuple(f"{kind}_{name}" for kind in LEVELS for name in (*SHAPES, "start"))
COLUMNS = (
    "epochs",
    "steps",
    "train_loss",
    "train_accuracy",
    "test_accuracy",
    "best_test_accuracy",
    "best_epoch",
    "best_step",
    "train_accuracy_at_best",
    "validation_accuracy",
    *BY_VALIDATION,
    "start",
    *SHAPE_COLUMNS,
)


def outcomes(trials: pd.DataFrame, curves: pd.DataFrame, times: Mapping[str, float]) -> pd.DataFrame:
    """Return one row for each row of `trials`, with its index: COLUMNS, and `times`, levels of training accuracy by name.

    Times are epochs at which the rise first crosses a level, between evaluations; NaN if it never does. `start` is the
    time at which a tenth of the initial loss is lost, where fitting starts. `best` is the evaluation after step 0 with the best test
    accuracy, `best_by_validation` the one with the best validation accuracy (the first of them, where several are), NaN where no
    image was held out. A network that is finished before its first step has its final evaluation and nothing else, but 0 as the time
    to a level that it begins with. Everything is NaN for diverged networks.
    """
    sound = trials[trials["status"] != DIVERGED]["trial"].unique()
    by_trial = _by_trial(curves[curves["trial"].isin(sound)])
    classes = _classes(trials)
    rows = [_of_curve(by_trial[trial], times, classes.get(trial)) for trial in sound]
    frame = pd.DataFrame(rows, index=sound, columns=[*COLUMNS, *times])
    return frame.reindex(trials["trial"]).set_axis(trials.index)


def _classes(trials: pd.DataFrame) -> dict[str, int]:
    """Return by trial the classes of its data set, without those of a set that is not registered here."""
    known = {name: entry.shape.classes for name, entry in datasets.REGISTRY.items()}
    own = trials.drop_duplicates("trial").set_index("trial")["dataset.name"].map(known).dropna()
    return own.astype(int).to_dict()


def _by_trial(curves: pd.DataFrame) -> dict[str, Curve]:
    """Return the columns of each trial's curve, ascending by step, as arrays: pandas would take longer than the statistics."""
    # Tables of versions before there were validation images lack their columns.
    curves = curves.sort_values(["trial", "step"]).reindex(columns=["trial", *READ])
    trials = curves["trial"].to_numpy()
    starts = np.flatnonzero(np.append(len(trials) > 0, trials[1:] != trials[:-1]))
    columns = {name: np.split(curves[name].to_numpy(), starts[1:]) for name in READ}
    return {
        trials[start]: {name: parts[place] for name, parts in columns.items()} for place, start in enumerate(starts)
    }


def _of_curve(curve: Curve, times: Mapping[str, float], classes: int | None) -> dict[str, Any]:
    epochs, first = curve["epoch"], int(curve["step"][0] == 0)
    found = {
        "epochs": epochs[-1],
        "steps": curve["step"][-1],
        "train_loss": curve["train_loss"][-1],
        "train_accuracy": curve["train_accuracy"][-1],
        "test_accuracy": curve["test_accuracy"][-1],
    }
    if len(epochs) < 2:
        return found | {name: 0.0 for name, level in times.items() if curve["train_accuracy"][0] >= level}
    rising, best = rises(curve), first + np.nanargmax(curve["test_accuracy"][first:])
    found |= {
        "best_test_accuracy": curve["test_accuracy"][best],
        "best_epoch": epochs[best],
        "best_step": curve["step"][best],
        "train_accuracy_at_best": curve["train_accuracy"][best],
        "start": time_to(epochs, rising["loss"], 0.1),
    }
    found |= {name: time_to(epochs, rising["accuracy"], level) for name, level in times.items()}
    return found | _by_validation(curve, first) | shapes(curve, classes)


def _by_validation(curve: Curve, first: int) -> dict[str, float]:
    """Return the final validation accuracy and BY_VALIDATION, from the evaluation `first` on."""
    accuracies = curve["validation_accuracy"]
    if not np.isfinite(accuracies[first:]).any():
        return {}
    best = first + np.nanargmax(accuracies[first:])
    chosen = accuracies[best], curve["test_accuracy"][best], curve["epoch"][best], curve["step"][best]
    return {"validation_accuracy": accuracies[-1], **dict(zip(BY_VALIDATION, chosen))}


def rises(curve: pd.DataFrame | Curve) -> dict[str, np.ndarray]:
    """Return the rise of each kind of LEVELS: the share of the initial loss that is lost, and training accuracy."""
    progress = loss_progress(curve["train_loss"])
    return {
        "loss": rising(progress),
        "accuracy": rising(curve["train_accuracy"]),
    }


def shapes(curve: pd.DataFrame | Curve, classes: int | None) -> dict[str, float]:
    """Return SHAPE_COLUMNS, the statistics of memo.statistics.curve_shape of the rise of a network's training loss and accuracy.

    Those of accuracy, which rises from that of guessing one of the classes, are left out where the number of classes is not known;
    all of them where the network was finished before its first step.
    """
    found: dict[str, float] = {}
    if len(curve["epoch"]) < 2:
        return found
    for kind, rise in rises(curve).items():
        if kind == "accuracy" and classes is None:
            continue
        level, chance = LEVELS[kind], 0.0 if kind == "loss" else 1 / (classes or 1)
        measured = shape(curve["epoch"], rise, "accuracy", level, chance)
        found |= {f"{kind}_{name}": measured[name] for name in SHAPES}
        found[f"{kind}_start"] = start(curve["epoch"], rise, level, chance)
    return found
