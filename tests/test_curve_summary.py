"""What came of training, read off made-up curves."""

import numpy as np
import pandas as pd
import pytest

from memo.statistics import curve_summary


def made_up():
    """Return trials a (in two arms), b, which diverged, and the curve of a: its loss falls in a straight line."""
    curve = {
        "trial": "a", "step": 10 * np.arange(6), "epoch": np.arange(6.0), "train_loss": 2.0 - 0.4 * np.arange(6),
        "train_accuracy": [0.1, 0.3, 0.5, 0.7, 0.9, 1.0], "test_accuracy": [0.95, 0.3, 0.6, 0.5, 0.4, 0.4],
    }  # fmt: skip
    trials = pd.DataFrame({"trial": ["a", "b", "a"], "status": ["memorised", "diverged", "memorised"]}, index=[5, 6, 7])
    trials["dataset.name"] = "mnist"
    return trials, pd.DataFrame(curve).sample(frac=1, random_state=0)


def test_ends_bests_times_and_shapes():
    found = curve_summary.outcomes(*made_up(), {"t50": 0.5, "t99": 0.99})
    assert found.index.tolist() == [5, 6, 7]
    assert list(found.columns) == [*curve_summary.COLUMNS, "t50", "t99"]
    first = found.loc[5]
    assert (first["steps"], first["epochs"], first["test_accuracy"]) == (50, 5, 0.4)
    # Before training the network was right by luck: that is no best evaluation.
    assert (first["best_test_accuracy"], first["best_epoch"], first["best_step"]) == (0.6, 2, 20)
    assert first["train_accuracy_at_best"] == 0.5
    assert first[["start", "t50", "t99"]].tolist() == pytest.approx([0.5, 2, 4.9])
    assert first[["loss_area", "loss_linearity"]].tolist() == pytest.approx([0.5, 1])
    # From 0.1, the accuracy of guessing one of ten, to 0.99 at epoch 4.9.
    area = np.trapezoid((np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.99]) - 0.1) / 0.89, np.array([0, 1, 2, 3, 4, 4.9]) / 4.9)
    assert first["accuracy_area"] == pytest.approx(area)
    assert found.loc[6].isna().all()
    assert found.loc[7].equals(first)


def test_a_network_that_was_finished_before_its_first_step_has_an_end_and_no_shape():
    trials, curves = made_up()
    found = curve_summary.outcomes(trials, curves[curves["step"] == 0], {"t5": 0.05, "t99": 0.99}).loc[5]
    known = found[["steps", "epochs", "train_loss", "train_accuracy", "test_accuracy", "t5"]]
    assert known.tolist() == [0, 0, 2.0, 0.1, 0.95, 0]
    assert found.drop(known.index).isna().all()


def test_accuracies_of_a_set_that_is_not_known_here_have_no_shape():
    trials, curves = made_up()
    found = curve_summary.outcomes(trials.assign(**{"dataset.name": "elsewhere"}), curves, {}).loc[5]
    assert found.filter(like="accuracy_").drop("train_accuracy_at_best", errors="ignore").isna().all()
    assert found["loss_area"] == pytest.approx(0.5)


def test_the_best_evaluation_on_validation_images():
    trials, curves = made_up()
    held_out = curves["step"].map(
        dict(zip(range(0, 60, 10), [0.99, 0.3, 0.5, 0.7, 0.7, 0.6]))
    )  # before training by luck
    found = curve_summary.outcomes(trials, curves.assign(validation_accuracy=held_out), {}).loc[5]
    assert found["validation_accuracy"] == 0.6
    assert found[list(curve_summary.BY_VALIDATION)].tolist() == [0.7, 0.5, 3, 30]  # the first of two equal ones
    # Tables that were stored before there were validation images, and those without any.
    for without in (curves, curves.assign(validation_accuracy=np.nan)):
        found = curve_summary.outcomes(trials, without, {}).loc[5]
        assert found[["validation_accuracy", *curve_summary.BY_VALIDATION]].isna().all()


def test_where_every_network_diverged_the_columns_are_there():
    trials, curves = made_up()
    assert curve_summary.outcomes(trials.assign(status="diverged"), curves, {"t50": 0.5}).isna().all(axis=None)
