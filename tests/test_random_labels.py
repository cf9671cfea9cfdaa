"""Random labels: exact checks, every statistic against known answers, the report from made-up tables, the command once."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from experiments.random_labels import capacity, corruption, kernel_fits
from experiments.random_labels.analysis import analyse
from experiments.random_labels.networks import measure, network_name
from memo.commands import arms, experiment
from memo.config import flatten, make_trials
from memo.data import treatments
from memo.data.randomness import generator
from memo.measures import kernels, nearest_neighbours
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.program import as_pixels
from memo.reporting import claims, report
from memo.statistics import trends
from memo.statistics.intervals import binomial_band
from memo.storage.run_folders import Tables
from memo.training.population import signature
from tests import builders
from tests.pages import NO_NUMBER, visible

ROOT = Path(__file__).resolve().parent.parent


def compose(*overrides):
    return builders.compose("random_labels", *overrides)


# Exact checks


def test_shuffled_pixels_are_true_labels_for_an_mlp(small_mnist):
    """Renamed pixels with first-layer weights renamed alike give the same training; initial weights have no order."""
    order = generator(0, "inputs").permutation(784)
    images = as_pixels(jnp.asarray(small_mnist.train_images[:128]))
    labels = jnp.asarray(small_mnist.train_labels[:128])
    loss = LOSSES["cross_entropy"]

    def cost(layers, images):
        return jnp.mean(loss.per_example(mlp.apply(layers, images, "relu"), labels))

    @jax.jit
    def step(layers, images):
        return jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, layers, jax.grad(cost)(layers, images))

    one = mlp.initialise(jax.random.key(0), (784, 16, 10), "he")
    other = (one[0]._replace(weights=one[0].weights[order]), one[1])
    renamed = images[:, order]
    for _ in range(20):
        one, other = step(one, images), step(other, renamed)
    np.testing.assert_allclose(one[0].weights[order], other[0].weights, atol=1e-5)
    np.testing.assert_allclose(cost(one, images), cost(other, renamed), rtol=1e-4)
    train, test = treatments.INPUTS["shuffled_pixels"](
        generator(0, "inputs"), small_mnist.train_images, small_mnist.test_images, None
    )
    np.testing.assert_array_equal(train, small_mnist.train_images[:, order])
    np.testing.assert_array_equal(test, small_mnist.test_images[:, order])


@pytest.mark.parametrize("fraction", [0.2, 0.6, 1.0])
def test_nine_tenths_of_redrawn_labels_change(fraction):
    true = np.tile(np.arange(10, dtype=np.uint8), 20_000)
    given = treatments.LABELS["random"](generator(0, "labels"), true, fraction, 10)
    low, high = binomial_band(0.9 * fraction, len(true), 0.9999)
    assert low <= np.mean(given != true) <= high


def test_chance_is_chance(small_mnist):
    """Random labels say nothing about test images, whoever remembers them."""
    labels = generator(0, "labels").integers(0, 10, len(small_mnist.train_labels)).astype(np.uint8)
    called = nearest_neighbours.classify(small_mnist.test_images, small_mnist.train_images, labels)
    low, high = binomial_band(0.1, len(called), 0.9999)
    assert low <= np.mean(called == small_mnist.test_labels) <= high


# Statistics


def test_networks_are_named_by_layers_and_units():
    assert [network_name(w) for w in ([512], [512] * 3, [8, 4], [])] == ["1×512", "3×512", "8×4", "linear"]


def test_measure_reads_times_and_ends_off_a_curve():
    steps = np.arange(0, 11)
    curve = pd.DataFrame(
        {
            "trial": "a",
            "seed": 0,
            "step": steps * 10,
            "epoch": steps.astype(float),
            "train_loss": 2.0 - 0.2 * steps,
            "train_accuracy": 0.1 * steps,
            "test_accuracy": [0.1, 0.2, 0.3, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4],
        }
    )
    trial = {
        "arm": "x", "trial": "a", "seed": 0, "model.widths": (4,), "parameters": 3, "dataset.n_train": 7.0,
        "labels.kind": "true", "labels.fraction": 0.0, "inputs.kind": "natural", "optimizer.weight_decay": 0.0,
        "regularization.dropout": 0.0, "labels.changed": 0.0, "status": "completed",
    }  # fmt: skip
    trials = pd.DataFrame([trial, trial | {"trial": "b", "status": "diverged"}])
    row, lost = measure(trials, curve).to_dict("records")
    times = row["t50"], row["t90"], row["t99"], row["t999"]
    assert times == pytest.approx((5, 9, 9.9, 9.99))
    assert (row["start"], row["steps"], row["best_epoch"]) == pytest.approx((1, 100, 3))
    assert (row["test_error"], row["best_test_error"]) == pytest.approx((0.6, 0.3))
    assert row["loss_linearity"] == pytest.approx(1)
    assert lost["status"] == "diverged"
    assert np.isnan(lost["test_error"])


def test_boundary_is_interpolated_between_widths_on_a_log_axis():
    accuracy = pd.DataFrame({4: [0.5, 1.0, 0.2], 8: [0.98, 1.0, 0.3], 16: [1.0, 1.0, 0.9]})
    found = capacity.boundary(accuracy)
    assert found.tolist() == pytest.approx([8 * 2**0.5, 4, np.nan], nan_ok=True)
    # A diverged network below the boundary: the first width that is known to suffice.
    assert capacity.boundary(pd.DataFrame({4: [np.nan], 8: [1.0]})).tolist() == pytest.approx([8])


def test_parameters_grow_with_labels_as_a_power():
    assert capacity.parameters(np.array([1, 512])).tolist() == [mlp.count_parameters((784, w, 10)) for w in (1, 512)]
    counts = np.array([500, 1000, 4000])
    widths = (3.0 * counts - 10) / 795  # three parameters a label
    seeds = pd.DataFrame([widths, np.where(counts > 500, widths, np.nan)], columns=counts)
    slope = trends.log_slope(capacity.parameters(seeds))
    assert slope.tolist() == pytest.approx([1, np.nan], nan_ok=True)


def test_the_largest_fit_has_no_failure_before_it():
    residuals = pd.DataFrame(
        [(s, n, r) for s, row in enumerate([(1e-9, 1e-3, 1e-9), (1e-9, 1e-8, 1e-7), (np.inf, 1e-9, 1e-9)])
         for n, r in zip((10, 20, 30), row)],
        columns=["seed", "n", "residual"],
    )  # fmt: skip
    assert capacity.largest_n(residuals).tolist() == [10, 30, 0]


def test_theorem_1_on_digits(small_mnist):
    found = capacity.solve(small_mnist, [20, 50], 2)
    wide = found[found["dtype"] == "float64"]
    assert len(found) == 2 * 2 * 2 * 2
    assert (wide["residual"] < 1e-9).all()


def test_kernel_fits_of_true_and_random_labels(small_mnist):
    sizes = {"counts": [60, 800], "ridges": [0.01], "held_out": 200, "scan": 100, "bandwidths": [4.0, 30.0]}
    rows = pd.DataFrame(kernel_fits.fit(small_mnist, sizes, 0, 5.0, np.dtype("float64")))
    assert rows["residual"].max() < 1e-6
    assert (rows["kernel"] < 0.6).all()
    assert ((rows["kernel_random"] > 0.8) & (rows["kernel_random"] < 1)).all()
    assert rows["linear_train_random"].iloc[0] == 0  # fewer images than pixels
    assert rows["linear_train_random"].iloc[1] > 0
    assert (rows["norm_random"] > rows["norm"]).all()
    chosen, held, _ = kernel_fits.drawn(small_mnist, 0, 60, 200)
    images = kernel_fits.as_floats(small_mnist.train_images[chosen], np.dtype("float64"))
    exact = kernels.interpolate(images, kernels.one_hot(small_mnist.train_labels[chosen], float), 5.0)
    assert rows["norm"].iloc[0] == pytest.approx(exact.norm)
    assert not (held[:, None] == small_mnist.train_images[chosen][None]).all(-1).any()
    scanned = kernel_fits.scan(small_mnist, sizes, np.dtype("float64"))
    assert scanned["bandwidth"].tolist() == [4, 30]
    with_test = kernel_fits.drawn(small_mnist, 0, 2000, 200)[1]  # nothing is left to hold out
    assert with_test is small_mnist.test_images


# The recipes


def test_arms_are_the_papers():
    built = arms.arms(compose())
    one, three, literal = (built[name] for name in ("one_true", "three_true", "literal"))
    assert (one[0].model.widths, three[0].model.widths) == ([512], [512] * 3)
    assert [c.labels.fraction for c in built["one_corrupted"]] == [0.2, 0.4, 0.6, 0.8, 1.0]
    for config in literal:
        assert (config.optimizer.learning_rate, config.optimizer.decay, config.optimizer.momentum) == (0.01, 0.95, 0.9)
    # Z3: one rate for all levels, no decay.
    rates = {c.optimizer.learning_rate for name in ("one_true", "one_corrupted") for c in built[name]}
    assert len(rates) == 1
    assert {c.optimizer.schedule for name in ("one_true", "one_corrupted") for c in built[name]} == {"constant"}
    # The same decay by steps: 0.95 every 390.
    steps = one[0].dataset.n_train // one[0].batch_size
    assert built["literal_steps"][0].optimizer.decay == pytest.approx(0.95 ** (steps / 390), abs=1e-5)
    assert {c.optimizer.weight_decay for c in (*built["one_decay"], *built["three_decay"])} == {1e-4}
    cells = {
        c.dataset.n_train: c.epochs * (c.dataset.n_train // c.batch_size) for n in built if "map" in n for c in built[n]
    }
    assert max(cells.values()) / min(cells.values()) < 1.01


# The report


def make_tables(config, slow=3.0):
    """Return tables as training would give them: an epoch for a tenth of true labels, `slow` times that for random ones."""
    trials, curves = [], []
    members = experiment.members(config)
    seen = set()
    for each in arms.arms(config).values():
        for one in each:
            for trial in make_trials(one):
                if trial.id in seen:
                    continue
                seen.add(trial.id)
                recipe, common = trial.recipe, signature(trial)
                random = recipe.labels.fraction if recipe.labels.kind == "random" else 0.0
                draw = np.random.default_rng([trial.seed, round(10 * random)])  # steps differ between seeds
                end = 2 * (1 + (slow - 1) * random) * (1 + 0.1 * draw.random())
                steps = common.evaluation_steps
                epochs = steps / common.static.steps_per_epoch
                share = np.minimum(epochs / end, 1)
                last = int(np.argmax(share >= 1)) + 1 if (share >= 1).any() else len(share)
                accuracy, test = 0.1 + 0.9 * share, 0.1 + 0.8 * (1 - random) * share + 0.002 * draw.random()
                loss = np.maximum(2.3 * (1 - share), 0.05)
                curves.append(
                    pd.DataFrame(
                        {
                            "trial": trial.id, "seed": trial.seed, "step": steps, "epoch": epochs, "train_loss": loss,
                            "train_accuracy": accuracy, "test_loss": 2.3 - 2 * test, "test_accuracy": test,
                        }
                    )[:last]
                )  # fmt: skip
                trials.append(
                    {
                        "trial": trial.id, "seed": trial.seed, **flatten(recipe), "labels.changed": 0.9 * random,
                        "parameters": mlp.count_parameters(common.static.sizes),
                        "status": "memorised" if share[last - 1] >= 1 else "completed",
                    }
                )  # fmt: skip
    return Tables(trials=pd.DataFrame(trials), curves=pd.concat(curves, ignore_index=True), arms=members)


@pytest.fixture(scope="module")
def small():
    """The experiment at its smallest, with five seeds, which verdicts need."""
    config = compose("scale=quick", "seeds=5", "experiment.arms.one_true.epochs=40")
    own = config.experiment.settings | {"expressivity": {"counts": [20, 40], "seeds": 5}}
    own["kernels"] = own["kernels"] | {"counts": [50], "scan": 50, "held_out": 50, "bandwidths": [5], "seeds": 5}
    return replace(config, experiment=replace(config.experiment, settings=own))


@pytest.fixture(scope="module")
def made_up(small):
    return make_tables(small)


SESSION = {
    "finished": "2000-01-01", "networks": 1, "prepare_seconds": 0.0, "compile_seconds": 0.0, "train_seconds": 0.0,
    "probe_seconds": 0.0, "program_seconds": 0.0, "device": {"count": 1, "kind": "cpu", "processor": "any"}, "git": None,
    "versions": {}, "data": {},
}  # fmt: skip


@pytest.fixture
def written(small, made_up, small_mnist, tmp_path, monkeypatch):
    """Return `written(change) -> (report, text of its page)` of made-up tables after `change(tables)`."""
    from memo.data import datasets

    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    monkeypatch.setattr(
        corruption.Evidence, "test_images", lambda self, arm: (small_mnist.test_images, small_mnist.test_labels)
    )

    def call(change=lambda tables: None):
        tables = Tables({name: frame.copy() for name, frame in made_up.items()})
        change(tables)
        made = analyse(tables, small, tmp_path)
        report.write(made, tmp_path, [SESSION], "python -m experiments.random_labels")
        assert plt.get_fignums() == []
        return made, visible((tmp_path / "report.html").read_text())

    return call


@pytest.mark.slow
def test_the_report_of_networks_that_behave(written, tmp_path):
    made, text = written()
    ledger = made.ledger.set_index("claim")
    assert ledger.loc["Z3-factor-t99-1", "measured"] == pytest.approx(3, rel=0.1)
    assert ledger.loc["Z3-factor-t99-1", "verdict"] == claims.REPRODUCED
    # Evaluations lie further apart than the times of neighbouring levels.
    assert ledger.loc["Z3-monotone-t99", "verdict"] == claims.UNDECIDED
    assert ledger.loc["Z1-fits-1", "verdict"] == claims.UNDECIDED  # all seeds fit every label: no interval
    assert ledger.loc["Z4-t99-gaussian", "measured"] == pytest.approx(3, rel=0.1)
    assert ledger.loc["Z2-rises", "verdict"] == claims.REPRODUCED
    assert ledger.loc["Z2-begins", "verdict"] == claims.NOT_APPLICABLE
    assert ledger.loc["Z7-error", "verdict"] == claims.NOT_APPLICABLE
    for name in ("Z1", "Z2", "Z3", "Z4", "Z5", "Z6", "Z7"):
        assert ledger.index.str.startswith(name).any()
    for name in set(ledger["figure"]):
        assert (tmp_path / "figures" / f"{name}.svg").exists()
    assert not re.search(NO_NUMBER, text)
    assert "53.35" in text  # the paper's rows stand beside ours
    assert "None of the" in text


def diverge(tables, chosen):
    bad = tables.trials.loc[chosen, "trial"]
    tables.trials.loc[chosen, "status"] = "diverged"
    curves = tables.curves
    tables["curves"] = curves[~curves["trial"].isin(bad) | (curves["step"] == 0)].reset_index(drop=True)


def one_diverged(tables):
    trials = tables.trials
    deep = trials["model.widths"].map(len) == 3
    diverge(tables, deep & (trials["seed"] == 0) & (trials["labels.kind"] == "random"))


def all_diverged(tables):
    diverge(tables, tables.trials["seed"] >= 0)


def random_labels_stall(tables):
    random = tables.trials[tables.trials["labels.kind"] == "random"]["trial"]
    stalled = tables.curves["trial"].isin(random)
    for part in ("train_accuracy", "test_accuracy"):
        tables.curves.loc[stalled, part] = 0.1 + 0.01 * tables.curves.loc[stalled, "seed"]
    tables.curves.loc[tables.curves["trial"].isin(random), "train_loss"] = 2.3


def nothing_learned(tables):
    tables.curves[["train_accuracy", "test_accuracy"]] = 0.1
    tables.curves["train_loss"] = 2.3


@pytest.mark.slow
@pytest.mark.parametrize("change", [one_diverged, all_diverged, random_labels_stall, nothing_learned])
def test_poor_runs_make_a_report(written, change):
    made, text = written(change)
    ledger = made.ledger.set_index("claim")
    assert not re.search(NO_NUMBER, text)
    if change is one_diverged:
        assert ledger.loc["Z1-fits-3", "n"] == 4
        assert "1 with a diverged network" in ledger.loc["Z1-fits-3", "note"]
        assert "1 of 5 pairs have a diverged network" in ledger.loc["Z3-factor-t99-3", "note"]
    if change is all_diverged:
        assert ledger.loc["Z1-fits-1", "verdict"] == claims.NOT_APPLICABLE
        assert ledger.loc["Z3-factor-t99-1", "verdict"] == claims.NOT_APPLICABLE
    if change is random_labels_stall:
        assert ledger.loc["Z3-factor-t99-1", "high"] == np.inf
        assert "a lower bound: 5 of 5" in ledger.loc["Z3-factor-t99-1", "note"]
        assert ledger.loc["Z1-fits-1", "verdict"] == claims.NOT_REPRODUCED
    if change is nothing_learned:
        assert ledger.loc["Z3-factor-t99-1", "verdict"] == claims.NOT_APPLICABLE


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    command = [
        sys.executable,
        "-m",
        "experiments.random_labels",
        "scale=quick",
        f"hydra.run.dir={folder}/random_labels",
    ]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    return folder / "random_labels", done


@pytest.mark.slow
def test_the_command(finished):
    folder, done = finished
    assert (done.returncode, done.stderr) == (0, "")
    ledger = pd.read_csv(folder / "claims.csv")
    assert tuple(ledger.columns) == claims.COLUMNS
    assert set(ledger["verdict"]) <= {"undecided", "not applicable"}  # two seeds decide nothing
    page = (folder / "report.html").read_text()
    assert not re.search(NO_NUMBER, visible(page))
    assert page.count("<img ") == page.count('src="data:image/') == 11
    for name in ("networks", "corruption", "regularisers", "map", "expressivity", "kernels", "bandwidths"):
        assert len(pd.read_csv(folder / "tables" / f"{name}.csv"))
