"""A closer look: its statistics against known answers, claims from made-up tables, the command once."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiments.closer_look import (
    capacity,
    early_learning,
    easy_examples,
    networks,
    noise,
    regularisers,
    sensitivity,
    talk,
)
from experiments.closer_look.analysis import analyse
from memo.commands import arms, experiment, mislabelled
from memo.config import make_recipe
from memo.reporting import claims, declarations, figures
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.statistics.intervals import Estimate
from memo.storage import run_folders
from memo.storage.run_folders import Tables
from tests import builders, reports
from tests.builders import ROOT
from tests.pages import NO_NUMBER


def answers():
    return Answers(declarations.read(ROOT / "experiments" / "closer_look" / "claims.yaml"))


def easy(errors, classes=None):
    """Return the ratio of errors [networks, examples] with its interval."""
    without = pd.Series(easy_examples.leave_one_out(errors, classes))
    return easy_examples.jackknife(easy_examples.ratio(errors.mean(axis=0), len(errors), classes), without)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_errors_by_chance_alone_have_the_binomial_spread(p):
    found = easy(np.random.default_rng(0).random((100, 1000)) < p)
    assert found.value == pytest.approx(1, abs=0.1)
    assert found.low < 1 < found.high and found.n == 100


def test_easy_examples_have_the_spread_that_their_rates_imply():
    """Half of the examples are wrong with 0.2, half with 0.6: variance of the rate 0.04 + mean binomial variance / N."""
    rng, p = np.random.default_rng(0), np.repeat([0.2, 0.6], 1000)
    expected = np.sqrt((0.04 + (0.16 + 0.24) / 2 / 100) / (0.4 * 0.6 / 100))
    for count in (20, 100):  # whatever the number of networks
        found = easy(rng.random((count, 2000)) < p)
        assert found.value == pytest.approx(expected, rel=0.04)
        assert found.low < expected < found.high


def test_the_interval_of_a_ratio_is_the_jackknifes():
    without = pd.Series([1.0, 1.2, 1.4])
    found = easy_examples.jackknife(1.2, without)
    assert found.high - 1.2 == pytest.approx(4.302653 * np.sqrt(2 / 3 * 0.08))
    assert easy_examples.jackknife(1.2, without[:2]) is None
    assert np.isnan(easy_examples.jackknife(1.2, without * 0).low)


def test_examples_as_hard_as_their_class_have_a_binomial_spread_within_classes():
    rng, classes = np.random.default_rng(0), np.repeat([3, 7], 1000)
    errors = rng.random((100, 2000)) < np.where(classes == 3, 0.2, 0.6)
    assert easy(errors).low > 3
    assert easy(errors, classes).low < 1 < easy(errors, classes).high


def test_all_networks_alike_and_none_at_all():
    alike = np.tile(np.arange(50) % 2 == 0, (10, 1))
    assert easy(alike).value == pytest.approx(10, rel=0.02)  # rho = 1: sqrt(100)
    assert easy(np.ones((10, 50), bool)) is None


def test_a_mean_rate_is_matched_where_all_networks_train_on():
    half, tenth = (pd.DataFrame(np.arange(20).reshape(2, 10) % k == 0) for k in (2, 10))
    errors = {0.5: ~tenth, 1.0: half, 2.0: tenth, 3.0: half[:1]}
    assert easy_examples.at_mean(errors, 0.5)[0] == 1
    assert easy_examples.at_mean({0.5: ~tenth, 2.0: tenth}, 0.5) is None
    assert easy_examples.at_mean({}, 0.5) is None
    assert easy_examples.after_an_epoch(errors)[1] is half
    assert easy_examples.after_an_epoch({2.0: half}) is None
    assert easy_examples.after_an_epoch({0.5: None, 1.008: half, 2.0: None}) == (
        1.008,
        half,
    )  # it ends inside a minibatch


def test_draws_are_told_apart_by_what_was_replaced():
    rng, rows, trials = np.random.default_rng(0), [], []
    kinds = [(inputs, labels) for inputs in ("natural", "gaussian") for labels in ("true", "random")]
    labels = np.zeros(1000, np.uint8)
    for kind, (seen, given) in enumerate(kinds):
        for seed in range(20):
            wrong = rng.random(1000) < np.where(
                np.arange(1000) < 500, 0.2, 0.2 + 0.2 * (kind == 0)
            )  # only real data has easy ones
            trial = f"{kind}-{seed}"
            trials.append({"trial": trial, "seed": seed, "inputs.kind": seen, "labels.kind": given})
            rows.append(
                {"trial": trial, "seed": seed, "epoch": 1.008, "training_answers": wrong.astype(np.uint8).tobytes()}
            )
    tables = {"trials": pd.DataFrame(trials), "training_answers_along": pd.DataFrame(rows)}
    evidence = SimpleNamespace(
        tables=SimpleNamespace(arms=pd.DataFrame({"arm": ["draw_0", "easy_real"]})),
        of=lambda arm, table="trials": tables[table],
        training_sets=lambda arm: {row["trial"]: (None, labels) for row in trials},
    )
    found = easy_examples.of_draws(evidence).set_index("kind")["ratio"]
    assert set(found.index) == {*easy_examples.ARMS, "both"}
    assert found["easy_real"] > 2 and found.drop("easy_real").max() < 1.3


@pytest.mark.parametrize("count", [9, 10])
def test_ten_draws_decide(count):
    ratios = {"easy_real": 5.0, "easy_random_labels": 3.0, "easy_random_inputs": 1.5, "both": 1.0}
    rows = [(f"draw_{n}", kind, 100, value + 0.01 * n) for n in range(count) for kind, value in ratios.items()]
    examples = pd.DataFrame(columns=["moment", "arm", "epoch", "networks", "example", "label", "errors"])
    tables = Tables(
        networks=pd.DataFrame(columns=["arm", "seed", "images"]), easy_examples=examples,
        easy_draws=pd.DataFrame(rows, columns=["arm", "kind", "networks", "ratio"]),
    )  # fmt: skip
    found = answers()
    easy_examples.answer(tables, found)
    assert ("A1-labels-draws-below" in found) == (count == 10)
    if count == 10:
        assert found["A1-labels-draws-above"].value == pytest.approx(1.5) and found["A1-labels-draws-above"].n == 10


def test_arms_differ_by_networks_of_the_same_seed():
    examples = pd.DataFrame({"example": range(4), "label": 0, "networks": 4, "epoch": 1.0, "moment": "epoch"})
    rates = {"easy_real": [0, 0, 4, 4], "easy_random_labels": [1, 2, 3, 2]}
    table = pd.concat([examples.assign(arm=arm, errors=errors) for arm, errors in rates.items()])
    own = pd.DataFrame({"seed": [0, 1, 2, 3], "without_epoch": [9.0, 10, 11, 10]})
    own = pd.concat(
        [own.assign(arm="easy_real"), own.assign(arm="easy_random_labels", without_epoch=own["without_epoch"] - 3)]
    )
    tables = Tables(networks=own, easy_examples=table)
    (real, _), _ = easy_examples.spread(tables, "easy_real", "epoch")
    (labels, _), _ = easy_examples.spread(tables, "easy_random_labels", "epoch")
    gap, _ = easy_examples.difference(tables, "easy_real", "easy_random_labels", "epoch")
    assert gap.value == pytest.approx(real.value - labels.value)
    assert real.high > real.value and np.isnan(gap.high)  # what all networks share takes nothing from the difference
    missing, note = easy_examples.difference(tables, "easy_real", "easy_random_inputs", "epoch")
    assert missing is None and "never lies there" in note


def test_networks_are_read_with_their_noise_the_diverged_among_them():
    recipe = {
        "model.widths": [4, 4],
        "dataset.n_test": None,
        "optimizer.learning_rate": 0.1,
        "labels.changed": 0.0,
        "inputs.fraction": 0.3,
        "labels.fraction": 0.4,
        "dataset.name": "mnist",
    }
    kinds = {"inputs.kind": ["natural", "gaussian", "natural"], "labels.kind": ["true", "true", "random"]}
    trials = pd.DataFrame({"trial": list("abc"), "seed": 0, **kinds, "status": ["completed", "completed", "diverged"]})
    trials = trials.assign(**{name: [value] * 3 for name, value in recipe.items()})
    curve = {
        "step": [0, 1, 2],
        "epoch": [0, 0.5, 1],
        "train_loss": [2.3, 1, 0.1],
        "train_accuracy": [0.1, 0.5, 1],
        "test_accuracy": [0.1, 0.6, 0.4],
    }
    curves = pd.concat([pd.DataFrame(curve).assign(trial=trial) for trial in "ab"])
    tables = Tables(arms=pd.DataFrame({"trial": list("abc"), "arm": "x"}), trials=trials, curves=curves)
    found = networks.treated(SimpleNamespace(tables=tables), ["x"])
    assert found["noise"].tolist() == ["none", "inputs", "labels"] and found["level"].tolist() == [0, 0.3, 0.4]
    assert found["best_test_accuracy"].tolist()[:2] == [0.6, 0.6] and found["train_accuracy_at_best"][0] == 0.5
    assert np.isnan(found["best_test_accuracy"][2])
    assert networks.with_levels(found, "labels", ["x"])["trial"].tolist() == ["a", "c"]
    assert found["tested"].tolist() == [10_000] * 3 and found["best_by_validation_epoch"].isna().all()
    assert networks.present(SimpleNamespace(tables=tables), ["y", "x"]) == ["x"]


def made_up_noise(memorised=0.0, rise=0.1, tested=5000):
    """Return tables of five seeds and three levels of noise, whose best accuracy and critical samples follow the level."""
    rows, ratios, fine = [], [], []
    draw = np.random.default_rng(0)
    for seed in range(5):
        for kind, level in (("none", 0.0), ("inputs", 0.4), ("inputs", 0.8), ("labels", 0.4), ("labels", 0.8)):
            trial, wrong = f"{kind}{level}{seed}", 0.9 * level if kind == "labels" else 0.0
            near, best = 0.01 * draw.random(), 0.9 - 0.3 * level
            rows.append(
                {"trial": trial, "arm": "noise_inputs", "seed": seed, "noise": kind, "level": level, "changed": wrong, "images": 2000,
                 "best_test_accuracy": best + near, "final_test_accuracy": best - 0.3 * level, "best_step": 9,
                 "train_accuracy_at_best": 1 - wrong - 0.05 + near + memorised, "final_train_accuracy": 1.0,
                 "best_by_validation_test_accuracy": best + near / 2}
            )  # fmt: skip
            own = {"trial": trial, "seed": seed, "radius": [0.3, 1.0, 5.0], "n": tested}
            fine.append(pd.DataFrame(own | {"critical_sample_ratio": [near, 0.1 * level + near, 0.5 * level + near]}))
            for radius in (0.3, 3.0, 10.0):
                ends = [0.0, 0.2 * level, 0.2 * level + rise * level + near]
                own = {"trial": trial, "seed": seed, "step": [0, 9, 99], "inputs": "test", "radius": radius}
                ratios.append(pd.DataFrame(own | {"critical_sample_ratio": ends}))
        for kind in ("inputs", "labels"):
            fit = {"final_train_accuracy": 0.3 + 0.01 * draw.random(), "level": 0.8, "noise": kind, "images": 2000}
            rows.append({"trial": f"linear_{kind}{seed}", "arm": f"linear_{kind}", "seed": seed, **fit})
    return Tables(
        networks=pd.DataFrame(rows),
        critical_samples=pd.concat(ratios, ignore_index=True),
        critical_samples_fine=pd.concat(fine, ignore_index=True),
    )


def test_noise_that_is_memorised_after_the_peak_is_what_the_paper_says():
    found = answers()
    noise.answer(made_up_noise(), found)
    for claim in ("A3-before-40", "A3-falls-80", "A3-order-best-labels", "A4-more-inputs-3", "A4-rises-80-0.3"):
        assert found.verdict(claim) == claims.REPRODUCED, claim
    assert found["A3-before-80"].value == pytest.approx(-0.045, abs=0.005)
    assert found["A4-more-labels-10"].value == pytest.approx(
        0.3 * 0.4, abs=0.005
    )  # a step is from one level to the next
    assert found["A4-rises-40-3"].value == pytest.approx(0.1 * 0.4 + 0.005, abs=0.005)
    assert found["A3-falls-validation-80"].value == pytest.approx(0.3 * 0.8, abs=0.005)
    assert found["A4-more-fine-labels-5"].value == pytest.approx(0.5 * 0.4, abs=0.005)
    assert found["linear-baseline-labels"].value == pytest.approx(0.305, abs=0.005)


def test_claims_of_more_images_wait_where_there_are_fewer():
    found = answers()
    noise.answer(made_up_noise(tested=500), found)
    assert "A4-more-fine-labels-5" not in found and "A4-more-labels-3" in found


def test_noise_that_is_memorised_before_the_peak_is_not():
    found = answers()
    noise.answer(made_up_noise(memorised=0.2, rise=-0.1), found)
    assert found.verdict("A3-before-40") == claims.NOT_REPRODUCED
    assert found.verdict("A4-rises-80-3") == claims.NOT_REPRODUCED


def test_a_diverged_network_is_counted_and_not_averaged():
    tables, found = made_up_noise(), answers()
    lost = tables.networks["trial"] == "labels0.40"
    tables.networks.loc[
        lost,
        [
            "best_test_accuracy",
            "final_test_accuracy",
            "best_step",
            "train_accuracy_at_best",
            "final_train_accuracy",
            "best_by_validation_test_accuracy",
        ],
    ] = np.nan
    ratios = tables.critical_samples
    tables["critical_samples"] = ratios[ratios["trial"] != "labels0.40"]
    noise.answer(tables, found)
    assert found["A3-falls-40"].n == found["A4-rises-40-3"].n == found["A4-more-labels-3"].n == 4
    assert found["sanity-fitted"].value == 0.9
    ledger = {claim: given[1][1] for claim, given in found._given.items()}
    assert ledger["A3-falls-40"] == ledger["A4-rises-40-3"] == "1 of 5 seeds have no value: a diverged network"


def test_a_rise_is_from_the_best_test_accuracy_to_the_end():
    ratios = pd.DataFrame(
        {"trial": "a", "step": [0, 9, 99], "critical_sample_ratio": [0.0, 0.2, 0.6], "inputs": "test", "radius": 3.0}
    )
    own = pd.DataFrame({"trial": ["a"], "seed": 0, "level": 0.4, "best_step": 9})
    (row,) = noise.critical(ratios.assign(seed=0), own[["trial", "level", "best_step"]]).to_dict("records")
    assert (row["end"], row["rise"]) == pytest.approx((0.6, 0.4))
    between = noise.critical(
        ratios.assign(seed=0), own.assign(best_step=int(10**1.5) - 1)[["trial", "level", "best_step"]]
    )
    assert between["rise"].tolist() == pytest.approx([0.2], abs=0.01)  # one decade of 1 + step apart


def test_shares_of_wrong_labels():
    true, given = np.array([0, 1, 2, 3]), np.array([0, 5, 6, 3])
    found = mislabelled.shares(np.array([[9, 1, 2, 9], [0, 5, 2, 3], [0, 5, 6, 3]]), given, true)
    assert found["true_class"].tolist() == [1, 0.5, 0]
    assert found["given_label"].tolist() == [0, 0.5, 1]
    assert np.isnan(mislabelled.shares(np.zeros((2, 4)), true, true)["true_class"]).all()
    along = pd.DataFrame(
        {
            "arm": "noise_labels",
            "trial": "a",
            "step": [0, 5, 9],
            "test_accuracy": 0.9,
            "true_class": [0.2, 0.8, 0.1],
            "given_label": [0, 0.3, 1],
        }
    )
    trained = pd.DataFrame(
        {"trial": ["a", "lost", "other"], "arm": "noise_labels", "level": [0.4, 0.4, 0.8], "images": 2000}
    )
    points = early_learning.turning_points(Tables(early_learning=along, networks=trained))
    assert points["trial"].tolist() == ["a", "lost"]
    assert points.loc[0, ["step", "true_class", "given_label", "gap"]].tolist() == pytest.approx([5, 0.8, 0.3, -0.1])
    assert points.loc[1].isna()[["true_class", "gap"]].all()


@pytest.mark.parametrize("images", [10_000, 60_000])
def test_the_claim_of_all_images_is_answered_by_all_images(images):
    along = {
        "step": [0, 5],
        "epoch": [0, 1],
        "true_class": [0.1, 0.9],
        "given_label": 0.1,
        "test_accuracy": 0.9,
        "level": 0.4,
    }
    trials = {"a": "noise_labels", "b": "early_full"}
    rows = [pd.DataFrame(along | {"trial": trial, "arm": arm, "seed": 0}) for trial, arm in trials.items()]
    trained = pd.DataFrame(
        {"trial": list("ab"), "arm": trials.values(), "level": 0.4, "images": [2000, images], "seed": 0}
    )
    found = answers()
    early_learning.answer(Tables(early_learning=pd.concat(rows), networks=trained), found)
    assert ("early-peak-full" in found) == (images == 60_000)


def made_up_capacity():
    """Return networks whose passes grow as n^(0.2 + level) and fall as width^-(0.5 + level), on a grid as in the recipes."""
    rows = []
    for seed in range(5):
        for level in (0.0, 0.8):
            for arm, width, n in [("widths", w, 2000) for w in (16, 64, 256)] + [
                ("counts", 256, n) for n in (500, 4000)
            ]:
                passes = (1 + 0.01 * seed * (-1) ** (width + n)) * n ** (0.2 + level) * width ** -(0.5 + level)
                kind = "inputs" if level else "none"
                row = {
                    "arm": arm,
                    "seed": seed,
                    "noise": kind,
                    "level": level,
                    "width": width,
                    "images": n,
                    "tested": 10_000,
                }
                row["best_by_validation_test_accuracy"] = (
                    0.9 + level * (width >= 256) * 0.02 + 0.001 * seed * level * width / 64
                )
                rows.append(
                    row
                    | {
                        "trial": f"{arm}{seed}{level}{width}{n}",
                        "passes": np.nan if (width, level, seed) == (16, 0.8, 3) else passes,
                        "passes_99": passes**0.5,
                    }
                )
    return pd.DataFrame(rows)


def test_exponents_of_times_to_fit():
    table, found = made_up_capacity(), answers()
    assert capacity.whole_widths(networks.with_levels(table, "inputs", capacity.WIDTHS)) == [64, 256]
    assert capacity.by_count(table)["images"].unique().tolist() == [500, 2000, 4000] or set(
        capacity.by_count(table)["images"]
    ) == {500, 2000, 4000}
    capacity.answer(Tables(networks=table), found)
    values = {"A5-slows-80": 1.0, "A5-steeper-80": 0.8, "A5-width-0": -0.5, "A5-saturates-80": -0.8}
    assert {claim: found[claim].value for claim in values} == pytest.approx(values, abs=0.03)
    slope = capacity.slopes(table[table["width"] == 16], "images")  # one seed lacks a time, and one number has no slope
    assert slope[0.8].isna().all()


def test_claims_of_widths_and_numbers_wait_for_runs_that_have_them(monkeypatch):
    table, found = made_up_capacity(), answers()
    capacity.answer(Tables(networks=table), found)
    assert "A5-slows-dense-80" not in found and "A5-needs-inputs-80" not in found
    monkeypatch.setattr(capacity, "DENSE", {500, 4000})
    monkeypatch.setattr(capacity, "NEEDED", (64, 256))
    found = answers()
    capacity.answer(Tables(networks=table), found)
    assert found["A5-slows-dense-80"].value == pytest.approx(0.5, abs=0.02)  # half the exponent of all labels
    assert found["A5-needs-inputs-80"].value == pytest.approx(0.8 * 0.02 + 0.001 * 2 * 0.8 * 3, abs=1e-6)
    assert "A5-needs-inputs-0" not in found
    assert capacity.gain(table.assign(tested=5000), "inputs") == {}


def test_the_width_that_is_needed():
    accuracy = pd.DataFrame({16: [0.8, 0.8], 64: [0.896, 0.9], 256: [0.901, 0.901]})
    assert capacity.needed(accuracy) == 64
    assert np.isnan(capacity.needed(pd.DataFrame({16: [np.nan]})))


def test_harmless_settings_and_the_one_that_remembers_least():
    settings = [
        ("free", 0.0, 0.9, 1.0),
        ("dropout", 0.2, 0.902, 0.9),
        ("dropout", 0.8, 0.8, 0.2),
        ("decay", 0.01, 0.896, 0.95),
    ]
    rows = [
        {
            "arm": arm,
            "strength": strength,
            "seed": seed,
            "labels": labels,
            "best_validation_accuracy": accuracy,
            "best_by_validation_test_accuracy": accuracy + 0.01,
            "final_train_accuracy": memory,
            "late_gain": 0.0,
        }
        for arm, strength, accuracy, memory in settings
        for seed in (0, 1)
        for labels in ("true", "random")
    ]
    pairs = regularisers.by_setting(pd.DataFrame(rows))
    assert regularisers.means(pairs)["harmless"].to_dict() == {
        ("free", 0.0): True, ("dropout", 0.2): True, ("dropout", 0.8): False, ("decay", 0.01): True
    }  # fmt: skip
    assert regularisers.least_memory(pairs, ["dropout"]).tolist() == [0.9, 0.9]
    assert regularisers.least_memory(pairs, ["free", "decay"]).tolist() == [0.95, 0.95]
    assert regularisers.least_memory(pairs, ["attack"]).empty
    assert regularisers.least_memory(pairs, ["decay"], cost=0).empty  # it costs 0.4 points
    assert regularisers.converged(pairs) == ""
    going = pairs["arm"] == "dropout"
    assert regularisers.converged(pairs.assign(late_gain=0.02 * going)) == "trained too briefly: dropout 0.2"
    pairs.loc[pairs["arm"] == "decay", "memory"] = [0.1, np.nan]
    assert not regularisers.means(pairs)["harmless"]["decay"].any()


def test_the_gain_of_the_last_fifth_of_training():
    curve = pd.DataFrame({"epoch": [0, 60, 100], "train_accuracy": [0.1, 0.5, 0.9]})
    assert regularisers.gained(curve) == pytest.approx(0.9 - 0.7)
    assert regularisers.gained(curve.assign(train_accuracy=[0.1, 0.5, 1])) == 0


@pytest.mark.parametrize("linear", [0.5, 0.999])
def test_the_papers_claim_on_dropout_waits_for_labels_that_a_linear_model_does_not_fit(linear):
    settings = {"free": (0.9, 1.0), "dropout": (0.91, 0.6), "dropout_attack": (0.91, 0.5)}
    rows = [
        {"arm": arm, "strength": 0.0, "seed": seed, "labels": labels, "best_validation_accuracy": accuracy, "images": 4000,
         "best_by_validation_test_accuracy": accuracy, "final_train_accuracy": memory - 0.001 * seed * (memory < 1), "late_gain": 0.0}
        for arm, (accuracy, memory) in settings.items() for seed in range(5) for labels in ("true", "random")
    ]  # fmt: skip
    rows += [
        {"arm": "linear_free", "seed": seed, "labels": "random", "final_train_accuracy": linear} for seed in range(5)
    ]
    found = answers()
    regularisers.answer(Tables(networks=pd.DataFrame(rows)), found)
    assert ("A6-dropout" in found) == (linear == 0.5)
    if linear == 0.5:
        assert found["A6-dropout"].value == pytest.approx(0.402)
        assert found["A6-adversarial"].value == pytest.approx(0.1)


def test_sensitivity_statistics():
    images = pd.DataFrame(
        [(kind, 0, t, t / 2, i, value, 0.5) for kind, values in (("real", [0, 4]), ("random", [1, 3])) for t in (1, 2)
         for i, value in enumerate(values)],
        columns=["inputs", "seed", "update", "epoch", "image", "sensitivity", "train_accuracy"],
    )  # fmt: skip
    by_time = sensitivity.ginis(images)
    assert set(by_time[by_time["inputs"] == "real"]["gini"]) == {0.5}
    assert set(by_time[by_time["inputs"] == "random"]["gini"]) == {0.25}
    assert sensitivity.share_higher(by_time).tolist() == [1]
    classes = pd.DataFrame({"inputs": "real", "seed": 0, "loss_of": [0, 0, 1, 1], "image_of": [0, 1, 0, 1]})
    assert sensitivity.off_diagonal(classes.assign(sensitivity=[4.0, 1.0, 1.0, 4.0])).tolist() == [0.25]


def test_sensitivities_are_compared_where_both_inputs_are_fitted_as_well():
    times = {"seed": 0, "update": [1, 2, 3]}
    real = pd.DataFrame({"inputs": "real", **times, "train_accuracy": [0.4, 0.8, 1.0], "gini": [0.3, 0.5, 0.9]})
    random = pd.DataFrame({"inputs": "random", **times, "train_accuracy": [0.1, 0.3, 0.6], "gini": [0.1, 0.1, 0.2]})
    assert sensitivity.matched(pd.concat([real, random]))[0] == pytest.approx(0.4 - 0.2)
    assert sensitivity.matched(pd.concat([real, random.assign(train_accuracy=0.2)]))[0] == pytest.approx(0.3 - 0.2)


def cell(n, slow):
    """Return two pairs of twins whose times to 90 % are 1 and 2 on true labels, and `slow` times as long on shuffled ones."""
    times = [1, slow, 2, 2 * slow]
    frame = pd.DataFrame(
        {"seed": [0, 0, 1, 1], "width": 8, "labels": ["true", "shuffled"] * 2, "t90": times, "images": n}
    )
    return frame.assign(loss_steepness=[4, 1, 8, 4], loss_start=0.5, status="completed", epochs_trained=50)


def test_a_setting_of_the_talk():
    own = cell(500, 3)
    assert talk.measured(own, "slower")[0].value == pytest.approx(3)
    assert talk.measured(own, "steeper")[0].value == pytest.approx(8**0.5)
    assert talk.measured(own, "fiddles")[0].value == 0.5
    estimate, note = talk.measured(own.assign(t90=[1, 3, 2, np.nan]), "slower")
    assert estimate.value == pytest.approx((3 * 50 / 2) ** 0.5) and estimate.high == np.inf
    assert note == "a lower bound: 1 of 2 shuffled curves never reach the level"
    assert talk.exponent({500: cell(500, 3), 2000: cell(2000, 6)})[0].value == pytest.approx(0.5)


@pytest.mark.slow
def test_arms_are_those_of_the_claims():
    built = arms.arms(builders.compose("closer_look"))
    for name in easy_examples.ARMS:  # one data set for all networks
        (one,) = built[name]
        assert one.seeds == easy_examples.NETWORKS
        assert one.dataset.subset_seed == 0
        assert one.inputs.kind == "natural" or one.inputs.seed == 0
        assert one.labels.kind == "true" or one.labels.seed == 0
        assert one.model == built["easy_real"][0].model
    assert [one.inputs.fraction for one in built["noise_inputs"]] == [0, 0.2, 0.4, 0.6, 0.8]
    assert [one.labels.fraction for one in built["noise_labels"]] == [0.2, 0.4, 0.6, 0.8]
    assert {one.inputs.kind for one in built["noise_labels"]} == {"natural"}
    for name in regularisers.ARMS:
        assert {one.epochs for one in built[name]} == {built["free"][0].epochs}
        assert {one.labels.kind for one in built[name]} == {"true", "random"}
        assert {one.stop_at_train_accuracy for one in built[name]} == {1.0}
        assert all(one.dataset.n_validation for one in built[name])
    for noisy, linear in (
        ("noise_inputs", "linear_inputs"),
        ("noise_labels", "linear_labels"),
    ):  # the same images and labels
        for one, other in zip(built[noisy], built[linear], strict=True):
            assert (one.dataset, one.inputs, one.labels) == (other.dataset, other.inputs, other.labels)
            assert other.model.widths == []
    for scale in ("paper", "reference"):
        for each in arms.arms(builders.compose("closer_look", f"scale={scale}")).values():
            for one in each:
                make_recipe(one)


@pytest.mark.slow
def test_reference_has_the_sizes_of_the_claims():
    built = arms.arms(builders.compose("closer_look", "scale=reference"))
    assert {one.dataset.n_train for name in easy_examples.FULL.values() for one in built[name]} == {50_000}
    draws = [each for name, each in built.items() if name.startswith(easy_examples.DRAW)]
    assert len(draws) == easy_examples.DRAWN
    assert (
        len({(one.dataset.subset_seed, one.inputs.seed, one.labels.seed, one.seed) for each in draws for one in each})
        == 10
    )
    assert {one.seeds for each in draws for one in each} == {easy_examples.NETWORKS}
    assert {one.dataset.n_train for one in built["counts"]} >= capacity.DENSE
    for name in capacity.WIDTHS:
        assert {one.model.widths[0] for one in built[name]} >= set(capacity.NEEDED)
        assert all(one.dataset.n_test is None and one.dataset.n_validation for one in built[name])
    assert make_recipe(built["early_full"][0]).dataset.n_train is None and built["early_full"][0].labels.fraction == 0.4


ABOVE, BELOW, BOTH = Estimate(2.0, 1.5, 2.5, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0.1, -0.2, 0.4, 5)


def steps(inputs, labels):
    return {"more": {"inputs": {"3": inputs, "0.3": inputs}, "labels": {"3": labels, "0.3": labels}}}


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        (
            "easy_examples",
            "finding",
            {"spread": {"epoch": {"easy_real": None, "easy_random_inputs": None}}},
            "is not known",
        ),
        (
            "easy_examples",
            "finding",
            {"spread": {"epoch": {"easy_real": BOTH, "easy_random_inputs": BELOW}}},
            "do not detectably differ",
        ),
        (
            "easy_examples",
            "finding",
            {"spread": {"epoch": {"easy_real": ABOVE, "easy_random_inputs": BOTH}}},
            "they vary about as much as",
        ),
        ("sensitivity", "finding", {"mean": None, "classes": None}, "is not known"),
        ("sensitivity", "finding", {"mean": BELOW, "classes": None}, "more evenly than with random ones"),
        ("sensitivity", "finding", {"mean": ABOVE, "classes": BOTH}, "more unevenly"),
        ("noise", "finding_peak", {"falls": {"20": None, "80": None}}, "is not known"),
        ("noise", "finding_peak", {"falls": {"20": None, "80": ABOVE}}, "peaks early and falls"),
        ("noise", "finding_peak", {"falls": {"20": BELOW, "80": ABOVE}}, "does not detectably fall at every level"),
        ("noise", "finding_critical", steps(None, ABOVE), "is not known"),
        ("noise", "finding_critical", steps(ABOVE, BOTH), "does not detectably make more test images critical"),
        ("noise", "finding_critical", steps(ABOVE, ABOVE), "The more noise, the more test images are critical"),
        ("early_learning", "finding", {"peak": None, "memorised": BELOW}, "is not known"),
        (
            "early_learning",
            "finding",
            {"peak": BOTH, "memorised": BELOW},
            "are not detectably classified correctly at first",
        ),
        ("early_learning", "finding", {"peak": ABOVE, "memorised": BELOW}, "are first classified correctly"),
        ("capacity", "finding", {"slows": {"0": None, "80": None}}, "that is not known"),
        ("capacity", "finding", {"slows": {"0": None, "80": ABOVE}}, "noise inputs they increase it"),
        ("talk", "finding", {"exponents": []}, "is not known"),
        ("talk", "finding", {"exponents": [BOTH]}, "does not detectably grow"),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = {"images": 500, "paper": "0.3", "labels": None, "matched": None, "level": 0.4, "asked": 1, "settings": 1}
    facts |= {"upper": {"0": None, "80": None}, "held": {"linear-loss": 0, "linear-accuracy": 0}}
    text = Text("experiments.closer_look", chapter).block(block, **facts | found)
    assert said in text and text.endswith((".", ")")) and "n/a" not in text and ".." not in text


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("holds", "peaks early"), ("undecided", "does not detectably fall"), ("not tested", "not known")],
)
def test_the_short_answer_is_that_of_the_verdict(verdict, said):
    text = Text("experiments.closer_look", "in_short")
    assert said in text.block("early_peak", answers={}, verdict=verdict)
    unknown = dict.fromkeys(("early-peak", "early-memorised"))
    assert "is not known" in text.block("true_class_first", answers=unknown)
    for reached, later in ((1.0, True), (0.7, False)):
        networks = pd.DataFrame({"arm": ["noise_labels"], "level": [0.4], "final_train_accuracy": [reached]})
        first = text.block(
            "true_class_first", answers={"early-peak": ABOVE, "early-memorised": BELOW}, networks=networks
        )
        assert ("memorise the wrong label later" in first) == later


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closer_look")
    builders.python("-m", "experiments.closer_look", "scale=quick", f"hydra.run.dir={folder}", check=True)
    return folder


@pytest.mark.slow
def test_the_report_is_whole_and_can_be_audited(finished):
    assert reports.check(finished, "closer_look").numbers > 30  # two seeds leave most claims without a number


def one_diverged(tables):
    trials = tables.trials
    builders.diverge(tables, set(trials["trial"][(trials["seed"] == 200) & (trials["labels.kind"] == "random")]))


def all_diverged(tables):
    builders.diverge(tables, set(tables.trials["trial"]))


def nothing_learned(tables):
    tables.curves[["train_accuracy", "test_accuracy"]] = 0.1
    tables.curves["train_loss"] = 2.3
    tables.trials[["final_train_accuracy", "final_test_accuracy"]] = 0.1
    tables.critical_samples_along["critical_sample_ratio"] = 0.0


@pytest.mark.slow
@pytest.mark.parametrize("change", [one_diverged, all_diverged, nothing_learned])
def test_poor_runs_make_a_report(finished, change, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda figure, folder, name, **_: f"figures/{name}.svg")
    config, tables = builders.compose("closer_look", "scale=quick"), run_folders.load(finished)
    tables["arms"] = experiment.members(config)
    change(tables)
    made = analyse(tables, config, finished)
    texts = [*made.findings, *made.methods, *(figure.caption for figure in made.figures), *made.in_short.values()]
    assert not re.search(NO_NUMBER, " ".join(texts))
    assert "n/a" not in " ".join(texts)
    if change is all_diverged:
        trained = made.ledger[~made.ledger["claim"].str.startswith("A2-")]
        assert set(trained["judged"]) == {claims.NOT_APPLICABLE, claims.NOT_YET_MEASURED, claims.UNDECIDED}
        assert trained[trained["judged"] == claims.UNDECIDED]["claim"].tolist() == ["sanity-fitted"]
