"""A closer look: every statistic against known answers, the report from made-up tables, the command once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from experiments.closer_look import capacity, early_learning, easy_examples, noise, regularisers, sensitivity, talk
from experiments.closer_look.analysis import analyse
from experiments.closer_look.networks import measure, noise_of, rank_correlation
from memo.commands import arms, experiment
from memo.config import flatten, make_recipe, make_trials
from memo.networks import mlp
from memo.probes.critical_samples import RADII
from memo.probes.training_answers import WATCHED
from memo.reporting import claims, report
from memo.storage.run_folders import Tables
from memo.training.inputs import TrainingData
from memo.training.population import signature
from tests import builders
from tests.pages import NO_NUMBER, visible

ROOT = Path(__file__).resolve().parent.parent


def compose(*overrides):
    return builders.compose("closer_look", *overrides)


# Statistics


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_errors_by_chance_alone_have_the_binomial_spread(p):
    errors = np.random.default_rng(0).random((100, 1000)) < p
    assert easy_examples.ratio(errors) == pytest.approx(1, abs=0.1)
    found = easy_examples.dispersion(errors)
    assert found.low < 1 < found.high
    assert found.n == 100


def test_easy_examples_have_the_spread_that_their_rates_imply():
    """Half of the examples are wrong with 0.2, half with 0.6: variance of the rate 0.04 + mean binomial variance / N."""
    rng, p = np.random.default_rng(0), np.repeat([0.2, 0.6], 1000)
    expected = np.sqrt((0.04 + (0.16 + 0.24) / 2 / 100) / (0.4 * 0.6 / 100))
    for count in (20, 100):  # whatever the number of networks
        errors = rng.random((count, 2000)) < p
        assert easy_examples.ratio(errors) == pytest.approx(expected, rel=0.04)
    found = easy_examples.dispersion(errors)
    assert found.value == pytest.approx(easy_examples.ratio(errors))
    assert found.low < expected < found.high
    without = [easy_examples.ratio(np.delete(errors, place, 0)) for place in range(100)]
    error = np.sqrt(99 / 100 * np.sum((without - np.mean(without)) ** 2))
    assert (found.high - found.value) / 1.984217 == pytest.approx(error, rel=1e-3)


def test_examples_as_hard_as_their_class_have_a_binomial_spread_within_classes():
    rng, classes = np.random.default_rng(0), np.repeat([3, 7], 1000)
    errors = rng.random((100, 2000)) < np.where(classes == 3, 0.2, 0.6)
    assert easy_examples.ratio(errors) > 3
    assert easy_examples.ratio(errors, classes) == pytest.approx(1, abs=0.1)
    found = easy_examples.dispersion(errors, classes)
    assert found.low < 1 < found.high


def test_all_networks_alike_and_none_at_all():
    alike = np.tile(np.arange(50) % 2 == 0, (10, 1))
    assert easy_examples.ratio(alike) == pytest.approx(10, rel=0.02)  # rho = 1: sqrt(100)
    assert np.isnan(easy_examples.ratio(np.ones((10, 50), bool)))
    assert easy_examples.dispersion(np.ones((10, 50), bool)) is None
    assert easy_examples.dispersion(alike[:2]) is None


def test_a_mean_rate_is_matched_where_all_networks_train_on():
    half, tenth = np.arange(20).reshape(2, 10) % 2 == 0, np.arange(20).reshape(2, 10) % 10 == 0
    errors = {0.5: ~tenth, 1.0: half, 2.0: tenth, 3.0: half[:1]}
    assert easy_examples.at_mean(errors, 0.5)[0] == 1
    assert easy_examples.at_mean({0.5: ~tenth, 2.0: tenth}, 0.5) is None
    assert easy_examples.at_mean({}, 0.5) is None
    assert easy_examples.after_an_epoch(errors)[1] is half
    assert easy_examples.after_an_epoch({2.0: half}) is None


def test_ranks_along_levels():
    levels = pd.DataFrame({0.0: [1.0, 5.0, 2.0, 1.0], 0.4: [2.0, 4.0, np.nan, 1.0], 0.8: [4.0, 1.0, 3.0, 1.0]})
    assert rank_correlation(levels).tolist() == pytest.approx([1, -1, np.nan, np.nan], nan_ok=True)
    assert rank_correlation(levels[[0.0, 0.8]]).isna().all()  # two levels are no order


def test_measure_reads_peaks_and_times_off_a_curve():
    curve = pd.DataFrame(
        {
            "trial": "a", "step": np.arange(6) * 10, "epoch": np.arange(6.0), "train_loss": 2.0 - 0.4 * np.arange(6),
            "train_accuracy": [0.1, 0.3, 0.5, 0.7, 0.9, 1.0], "test_accuracy": [0.95, 0.3, 0.6, 0.5, 0.4, 0.4],
        }
    )  # fmt: skip
    trial = {
        "arm": "x", "trial": "a", "seed": 0, "model.widths": (4,), "dataset.name": "mnist", "dataset.n_train": None, "inputs.kind": "natural",
        "inputs.fraction": 1.0, "labels.kind": "random", "labels.fraction": 0.4, "optimizer.learning_rate": 0.1,
        "optimizer.weight_decay": 0.0, "status": "completed",
        **{f"regularization.{name}": 0.0 for name in ("dropout", "input_dropout", "input_noise", "hidden_noise", "adversarial", "adversarial_radius")},
    }  # fmt: skip
    row, lost = measure(pd.DataFrame([trial, trial | {"trial": "b", "status": "diverged"}]), curve).to_dict("records")
    assert (row["noise"], row["level"], row["n"]) == ("labels", 0.4, 60_000)
    assert (row["best_test_accuracy"], row["best_epoch"], row["train_accuracy_at_best"]) == (0.6, 2, 0.5)
    assert (row["test_accuracy"], row["t50"], row["t100"]) == pytest.approx((0.4, 2, 5))
    assert np.isnan(lost["best_test_accuracy"])
    assert noise_of(trial | {"inputs.kind": "gaussian", "inputs.fraction": 0.3}) == {"noise": "inputs", "level": 0.3}
    assert noise_of(trial | {"labels.kind": "true"}) == {"noise": "none", "level": 0.0}


def test_a_rise_is_from_the_best_test_accuracy_to_the_end():
    steps = np.array([0, 9, 99])  # one decade of 1 + step apart
    ratios = pd.DataFrame({"step": steps, "critical_sample_ratio": [0.0, 0.2, 0.6], "best_step": 9, "trial": "a"})
    ratios = ratios.assign(noise="labels", level=0.4, seed=0, inputs="test", radius=3.0)
    assert noise.rise_after_peak(ratios)["rise"].tolist() == pytest.approx([0.4])
    between = ratios.assign(best_step=int(10**1.5) - 1)
    assert noise.rise_after_peak(between)["rise"].tolist() == pytest.approx([0.2], abs=0.01)
    assert noise.at_the_end(ratios)["critical_sample_ratio"].tolist() == [0.6]


def test_shares_of_wrong_labels():
    true, given = np.array([0, 1, 2, 3]), np.array([0, 5, 6, 3])
    found = early_learning.shares(np.array([[9, 1, 2, 9], [0, 5, 2, 3], [0, 5, 6, 3]]), given, true)
    assert found["true_class"].tolist() == [1, 0.5, 0]
    assert found["given_label"].tolist() == [0, 0.5, 1]
    assert np.isnan(early_learning.shares(np.zeros((2, 4)), true, true)["true_class"]).all()
    frame = pd.DataFrame(found).assign(
        trial="a", seed=0, step=[0, 5, 9], epoch=[0.0, 1.0, 2.0], test_accuracy=0.9, train_accuracy=[0, 0.5, 1.0]
    )
    (point,) = early_learning.turning_points(frame).to_dict("records")
    assert (point["peak"], point["epoch"], point["memorised_at_peak"], point["end"]) == (1, 0, 0, 0)
    assert point["gap"] == pytest.approx(0.1)


def test_slopes_are_powers_and_need_every_time():
    frame = pd.DataFrame(
        [(s, n, 0.3 * n**1.5 if (s, n) != (1, 800) else np.nan) for s in (0, 1) for n in (100, 400, 800)],
        columns=["seed", "n", "t100"],
    )
    assert capacity.slopes(frame, "n").tolist() == pytest.approx([1.5, np.nan], nan_ok=True)


def test_the_width_that_is_needed():
    accuracy = pd.DataFrame({16: [0.8, 0.8], 64: [0.896, 0.9], 256: [0.901, 0.901]})
    assert capacity.needed(accuracy) == 64
    assert np.isnan(capacity.needed(pd.DataFrame({16: [np.nan]})))


def test_near_settings_and_the_one_that_remembers_least():
    rows = [
        (arm, strength, seed, validation, memory)
        for arm, strength, validation, memory in [
            ("free", 0.0, 0.9, 1.0), ("dropout", 0.2, 0.902, 0.9), ("dropout", 0.8, 0.8, 0.2), ("decay", 0.01, 0.899, 0.95)
        ]
        for seed in (0, 1)
    ]  # fmt: skip
    pairs = pd.DataFrame(rows, columns=["regulariser", "strength", "seed", "validation", "memory"])
    summary = regularisers.means(pairs)
    assert summary["near"].tolist() == [True, True, False, True]
    assert regularisers.least_memory(pairs, summary, ["dropout"]).tolist() == [0.9, 0.9]
    assert regularisers.least_memory(pairs, summary, ["attack"]).empty
    # The best lies higher: within half a point of it is only itself, and of no regulariser all but the worst.
    pairs.loc[pairs["strength"] == 0.2, "validation"] = 0.93
    summary = regularisers.means(pairs)
    assert summary["near"].tolist() == [False, True, False, False]
    assert summary["harmless"].tolist() == [True, True, False, True]
    assert regularisers.least_memory(pairs, summary, ["free", "decay"], "harmless").tolist() == [0.95, 0.95]
    pairs.loc[pairs["regulariser"] == "decay", "memory"] = [0.1, np.nan]
    assert not regularisers.means(pairs)["near"]["decay"].any()


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


def test_a_setting_of_the_talk():
    cell = pd.DataFrame(
        {
            "seed": [0, 0, 1, 1],
            "width": 8,
            "labels": ["true", "shuffled"] * 2,
            "t90": [1, 3, 2, 6],
            "loss_steepness": [4, 1, 0, 0],
        }
    )
    assert talk.measured(cell, "t90", "slower")[0].value == pytest.approx(3)
    assert talk.measured(cell, "t90", "ratio")[0].value == pytest.approx(1 / 3)
    assert talk.measured(cell, "t90", "true")[0].value == 1.5
    assert talk.measured(cell, "loss_steepness", "ratio")[0] is None
    lost = cell.assign(t90=[1, 3, 2, np.nan])
    estimate, note = talk.measured(lost, "t90", "slower")
    assert estimate.n == 1
    assert "1 of 2 seeds" in note


# The recipes


def test_arms_are_those_of_the_claims():
    built = arms.arms(compose())
    assert {one.seeds for name in ("easy_real", "easy_random_inputs", "easy_random_labels") for one in built[name]} == {
        100
    }
    for name in ("easy_real", "easy_random_inputs", "easy_random_labels"):  # one data set for all networks
        (one,) = built[name]
        assert one.dataset.subset_seed == 0
        assert one.inputs.kind == "natural" or one.inputs.seed == 0
        assert one.labels.kind == "true" or one.labels.seed == 0
        # The rest of the images must not be noise of another seed's.
        assert one.model == built["easy_real"][0].model
    assert [one.inputs.fraction for one in built["noise_inputs"]] == [0, 0.2, 0.4, 0.6, 0.8]
    assert [one.labels.fraction for one in built["noise_labels"]] == [0.2, 0.4, 0.6, 0.8]
    assert {one.inputs.kind for one in built["noise_labels"]} == {"natural"}
    for name in ("free", "dropout", "attack", "decay"):
        assert {one.epochs for one in built[name]} == {built["free"][0].epochs}
        assert {one.labels.kind for one in built[name]} == {"true", "random"}
        assert {one.stop_at_train_accuracy for one in built[name]} == {None}
    for each in arms.arms(compose("scale=paper")).values():
        for one in each:
            make_recipe(one)


# The report


def made_up_tables(config, dataset):
    """Return tables as training might give them: noise is slower, right answers become given ones, ratios rise."""
    trials, curves, answers, ratios, seen = [], [], [], [], set()
    for each in arms.arms(config).values():
        for one in each:
            for trial in make_trials(one):
                if trial.id in seen:
                    continue
                seen.add(trial.id)
                recipe, common = trial.recipe, signature(trial)
                level = recipe.labels.fraction if recipe.labels.kind != "true" else 0.0
                level = max(level, recipe.inputs.fraction if recipe.inputs.kind != "natural" else 0.0)
                draw = np.random.default_rng(trial.seed + 1)
                steps = common.evaluation_steps
                epochs = steps / common.static.steps_per_epoch
                end = 0.5 * recipe.epochs * (0.2 + 0.8 * level) * (0.9 + 0.2 * draw.random())
                share = np.minimum(epochs / end, 1)
                accuracy, test = 0.1 + 0.9 * share, 0.1 + 0.8 * share * (1 - level * share) + 0.002 * draw.random()
                whole = {"trial": trial.id, "seed": trial.seed, "step": steps, "epoch": epochs}
                curves.append(
                    pd.DataFrame(
                        whole | {"train_loss": np.maximum(2.3 * (1 - share), 0.05), "train_accuracy": accuracy,
                                 "test_loss": 2.3 - 2 * test, "test_accuracy": test}
                    )
                )  # fmt: skip
                trials.append(
                    {"trial": trial.id, "seed": trial.seed, **flatten(recipe), "labels.changed": 0.9 * level,
                     "parameters": mlp.count_parameters(common.static.sizes), "status": "completed"}
                )  # fmt: skip
                if any(name.startswith("training_answers") for name in one.probes):
                    rows, given = TrainingData(common, dataset).given(trial)
                    given, true = given[:WATCHED], dataset.train_labels[rows][:WATCHED]
                    for step, epoch, knows in zip(steps, epochs, share):
                        own = np.where(draw.random(len(given)) < knows, np.where(knows < 0.6, true, given), 10)
                        row = {"trial": trial.id, "seed": trial.seed, "step": step, "epoch": epoch}
                        answers.append(row | {"training_answers": own.astype(np.uint8).tobytes()})
                if any(name.startswith("critical_samples") for name in one.probes):
                    for step, epoch, knows in zip(steps, epochs, share):
                        for inputs in ("test", "train"):
                            for radius in RADII:
                                ratio = (0.1 + level) * knows * radius / 60 * (0.9 + 0.2 * draw.random())
                                row = {
                                    "trial": trial.id,
                                    "seed": trial.seed,
                                    "step": step,
                                    "epoch": epoch,
                                    "inputs": inputs,
                                }
                                ratios.append(
                                    row | {"radius": radius, "n": 500, "critical_sample_ratio": ratio, "iterations": 3}
                                )
    return Tables(
        trials=pd.DataFrame(trials), curves=pd.concat(curves, ignore_index=True), arms=experiment.members(config),
        training_answers_along=pd.DataFrame(answers), critical_samples_along=pd.DataFrame(ratios),
    )  # fmt: skip


def made_up_sensitivity(evidence, asked, first):
    """Return the tables of loss sensitivity without training: as exponential with real inputs, nearly even with random ones."""
    draw, images, classes = np.random.default_rng(0), [], []
    for kind, spread in (("real", 1.0), ("random", 0.2)):
        for seed in range(first, first + asked["seeds"]):
            for update in (1, 2):
                n = asked["images"]
                values = 1 - spread + spread * draw.exponential(size=n)
                images.append(pd.DataFrame({"inputs": kind, "seed": seed, "update": update, "epoch": update / 2,
                                            "image": np.arange(n), "sensitivity": values, "train_loss": 1.0,
                                            "train_accuracy": 0.5}))  # fmt: skip
            towards, of = np.indices((10, 10))
            own = {"inputs": kind, "seed": seed, "loss_of": towards.ravel(), "image_of": of.ravel()}
            classes.append(pd.DataFrame(own | {"sensitivity": 0.1 * spread + (towards == of).ravel()}))
    return pd.concat(images, ignore_index=True), pd.concat(classes, ignore_index=True)


SESSION = {
    "finished": "2000-01-01", "networks": 1, "prepare_seconds": 0.0, "compile_seconds": 0.0, "train_seconds": 0.0,
    "probe_seconds": 0.0, "program_seconds": 0.0, "device": {"count": 1, "kind": "cpu", "processor": "any"}, "git": None,
    "versions": {}, "data": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def small():
    """The experiment at its smallest, with five seeds, which verdicts need, and three levels of noise, which orders need."""
    return compose(
        "scale=quick", "seeds=5", "experiment.arms.easy_real.seeds=6", "experiment.settings.sensitivity.seeds=5",
        "experiment.arms.noise_labels.sweep.labels.fraction=[0.4,0.8]",
    )  # fmt: skip


@pytest.fixture(scope="module")
def made_up(small, small_mnist):
    return made_up_tables(small, small_mnist)


@pytest.fixture
def written(small, made_up, small_mnist, tmp_path, monkeypatch):
    """Return `written(change) -> (report, text of its page)` of made-up tables after `change(tables)`."""
    from memo.data import datasets

    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    monkeypatch.setattr(sensitivity, "_measure", made_up_sensitivity)

    def write(change=lambda tables: None):
        tables = Tables({name: frame.copy() for name, frame in made_up.items()})
        change(tables)
        made = analyse(tables, small, tmp_path)
        assert not plt.get_fignums()
        report.write(made, tmp_path, [SESSION], "command")
        return made, visible((tmp_path / "report.html").read_text())

    return write


@pytest.mark.slow
def test_the_report_of_what_the_paper_claims(written):
    made, text = written()
    ledger = made.ledger.set_index("claim")
    assert not re.search(NO_NUMBER, text)
    # Equal values, one per seed, have no interval, and so decide nothing.
    assert ledger.loc["A2-checkpoints", "measured"] == 1 and ledger.loc["A2-checkpoints", "verdict"] == claims.UNDECIDED
    assert ledger.loc["A2-classes", "measured"] > 0  # five made-up seeds: too wide an interval for a verdict
    for claim in ("A2-mean", "A3-before-80", "A3-falls-80", "A4-more-labels-0.3",
                  "A4-rises-80-10", "sanity-fitted-40", "A3-order-best-labels"):  # fmt: skip
        assert ledger.loc[claim, "verdict"] == claims.REPRODUCED, ledger.loc[claim].to_string()
    assert ledger.loc["A1-random_inputs-epoch", "n"] == 6  # networks
    groups = ("A1-", "A2-", "A3-", "A4-", "A5-", "A6-", "early-", "talk-")
    assert all(ledger.index.str.startswith(group).any() for group in groups)
    assert len(made.figures) == 10
    for name, table in made.tables.items():
        assert len(table), name


def diverge(tables, chosen):
    lost = tables.trials["trial"][chosen]
    tables.trials.loc[chosen, "status"] = "diverged"
    for name in ("curves", "training_answers_along", "critical_samples_along"):
        gone = tables[name]["trial"].isin(lost) & (tables[name]["step"] > 0)
        tables[name] = tables[name][~gone].reset_index(drop=True)


def one_diverged(tables):
    trials = tables.trials
    diverge(tables, (trials["seed"] == 200) & (trials["labels.kind"] == "random"))


def all_diverged(tables):
    diverge(tables, tables.trials["seed"] >= 0)


def nothing_learned(tables):
    tables.curves[["train_accuracy", "test_accuracy"]] = 0.1
    tables.curves["train_loss"] = 2.3
    tables.critical_samples_along["critical_sample_ratio"] = 0.0
    wrong = np.full(300, 10, np.uint8).tobytes()
    tables.training_answers_along["training_answers"] = [wrong] * len(tables.training_answers_along)


@pytest.mark.slow
@pytest.mark.parametrize("change", [one_diverged, all_diverged, nothing_learned])
def test_poor_runs_make_a_report(written, change):
    made, text = written(change)
    ledger = made.ledger.set_index("claim")
    assert not re.search(NO_NUMBER, text)
    if change is one_diverged:
        assert ledger.loc["A3-falls-40", "n"] == 4
        assert "1 of 5 seeds have no value" in ledger.loc["A3-falls-40", "note"]
    if change is all_diverged:
        trained = ledger[~ledger.index.str.startswith("A2-")]
        assert set(trained["verdict"]) == {claims.NOT_APPLICABLE}, trained[
            trained["verdict"] != claims.NOT_APPLICABLE
        ].to_string()
    if change is nothing_learned:
        assert ledger.loc["A4-more-labels-0.3", "verdict"] == claims.NOT_APPLICABLE
        assert ledger.loc["A5-slows-0", "verdict"] == claims.NOT_APPLICABLE
        assert ledger.loc["sanity-fitted-40", "verdict"] != claims.REPRODUCED


@pytest.mark.slow
def test_a_kept_sensitivity_is_read_again(written, small, monkeypatch):
    first, _ = written()

    def never(*arguments):
        raise AssertionError("measured twice")

    monkeypatch.setattr(sensitivity, "_measure", never)
    again, _ = written()
    pd.testing.assert_frame_equal(first.ledger, again.ledger)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "experiments.closer_look", "scale=quick", f"hydra.run.dir={folder}/closer_look"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600
    )
    return folder / "closer_look", done


@pytest.mark.slow
def test_the_command(finished):
    folder, done = finished
    assert (done.returncode, done.stderr) == (0, "")
    ledger = pd.read_csv(folder / "claims.csv")
    assert tuple(ledger.columns) == claims.COLUMNS
    assert set(ledger["verdict"]) <= {"undecided", "not applicable"}  # two seeds (or four networks) decide nothing
    page = (folder / "report.html").read_text()
    assert not re.search(NO_NUMBER, visible(page))
    assert page.count("<img ") == page.count('src="data:image/') == 10
