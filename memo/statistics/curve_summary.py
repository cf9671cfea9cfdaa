"""What came of training, network by network: ends, best evaluations, times and the shape of learning curves.

trials, curves ──> outcomes ──> one row a network, the diverged ones among them ──> claims, tables
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from memo.data.mnist import MNIST
from memo.networks.status import DIVERGED
from memo.statistics.curve_shape import loss_progress, shape, start, time_to

CHANCE = 1 / MNIST.classes  # accuracy of guessing, and the confidence of an even answer
# The stretch over which a curve's shape is measured: until 90 % of the initial loss is lost, and from chance to 99 %
# accuracy. A network stops when its accuracy is perfect, and by then not every one has lost 99 % of its loss.
LEVELS = {"loss": 0.9, "accuracy": 0.99}
# By statistic of a shape: what it is called, and what it is for a straight line.
SHAPES = {
    "area": ("area under the curve", 0.5),
    "linearity": ("R² of a straight line", 1),
    "steepness": ("steepest / mean slope", 1),
    "early_share": ("time in first tenth of rise", 0.1),
}
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
    "start",
    *SHAPE_COLUMNS,
)


def outcomes(trials: pd.DataFrame, curves: pd.DataFrame, times: Mapping[str, float]) -> pd.DataFrame:
    """Return one row for each row of `trials`, with its index: COLUMNS, and `times`, levels of training accuracy by name.

    Times are epochs, first crossings between evaluations; NaN where a curve never gets there. `start` is the time at which
    a tenth of the initial loss is lost, where fitting starts. `best` is the evaluation after step 0 with the best test
    accuracy. Everything is NaN for diverged networks.
    """
    sound = trials[trials["status"] != DIVERGED]["trial"].unique()
    by_trial = dict(list(curves[curves["trial"].isin(sound)].groupby("trial")))
    rows = [_of_curve(by_trial[trial].sort_values("step"), times) for trial in sound]
    frame = pd.DataFrame(rows, index=sound, columns=[*COLUMNS, *times])
    return frame.reindex(trials["trial"]).set_axis(trials.index)


def _of_curve(curve: pd.DataFrame, times: Mapping[str, float]) -> dict[str, Any]:
    last, trained = curve.iloc[-1], curve[curve["step"] > 0]
    best = trained.loc[trained["test_accuracy"].idxmax()]
    epochs = curve["epoch"]
    found = {
        "epochs": last["epoch"],
        "steps": last["step"],
        "train_loss": last["train_loss"],
        "train_accuracy": last["train_accuracy"],
        "test_accuracy": last["test_accuracy"],
        "best_test_accuracy": best["test_accuracy"],
        "best_epoch": best["epoch"],
        "best_step": best["step"],
        "train_accuracy_at_best": best["train_accuracy"],
        "start": time_to(epochs, 1 - curve["train_loss"] / curve["train_loss"].iloc[0], 0.1),
    }
    found |= {name: time_to(epochs, curve["train_accuracy"], level) for name, level in times.items()}
    return found | shapes(curve)


def shapes(curve: pd.DataFrame) -> dict[str, float]:
    """Return SHAPE_COLUMNS, the statistics of memo.statistics.curve_shape of a network's training loss and accuracy."""
    found: dict[str, float] = {}
    for kind, level in LEVELS.items():
        values = curve[f"train_{kind}"]
        measured = shape(curve["epoch"], values, kind, level)
        rise, chance = (loss_progress(values), 0.0) if kind == "loss" else (values, CHANCE)
        found |= {f"{kind}_{name}": measured[name] for name in SHAPES}
        found[f"{kind}_start"] = start(curve["epoch"], rise, level, chance)
    return found
