"""Probes along training: which evaluations they see, and that they see what a shorter training would have ended with."""

import itertools
from operator import itemgetter

import jax
import numpy as np
import pandas as pd
import pytest

import memo
from memo.config import Execution
from memo.data import datasets
from memo.data.randomness import purpose_key
from memo.networks import mlp, program
from memo.probes import PROBES, along, at_the_end, known, observed, places
from memo.probes.networks import Networks
from memo.storage import sweep
from memo.training import execution, slab
from memo.training.measurement import measure
from memo.training.population import plan, signature

TINY = {
    "dataset.n_train": 128,
    "dataset.n_test": 200,
    "model.widths": [4],
    "batch_size": 32,
    "epochs": 4,
    "evaluations": 8,
    "spacing": "epochs",
    "seeds": 2,
}
STEPS = [0, 4, 8, 12, 16]


@pytest.fixture(scope="module", autouse=True)
def _data(mnist):
    """Read the files once and not in each call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", lambda name, folder=None: mnist)
        yield


def test_what_is_asked_for():
    asked = ["confidence", "noise_samples@12", "confidence@5"]
    assert known(asked)
    assert at_the_end(asked) == ["confidence"]
    assert along(asked) == {"noise_samples": 12, "confidence": 5}
    assert (at_the_end([]), along([]), observed([], 9)) == ([], {}, [])
    assert known([])
    for unknown in (
        "confidence@1",
        "confidence@05",
        "confidence@5@6",
        "confidence @5",
        "Confidence@5",
        "confidence@-2",
    ):
        assert not known([unknown]), unknown


def test_places_reach_from_end_to_end_and_are_as_many_as_asked_for():
    for evaluations, count in itertools.product((2, 3, 5, 12, 65), (2, 3, 4, 7, 64, 999)):
        found = places(count, evaluations)
        assert (found[0], found[-1]) == (0, evaluations - 1)
        assert len(found) == min(count, evaluations)
        assert (np.diff(found) > 0).all() and np.ptp(np.diff(found)) <= 1
    assert places(3, 5).tolist() == [0, 2, 4]
    assert observed(["confidence@3", "noise_samples@2", "confidence"], 5) == [0, 2, 4]


@pytest.fixture(scope="module")
def stored(trials, tmp_path_factory):
    """Networks of two seeds, measured at the end and after each of four epochs: (folder, trials, tables)."""
    folder, asked = tmp_path_factory.mktemp("along"), trials(TINY)
    sweep.complete({folder: asked}, ["confidence", "confidence@5"])
    return folder, asked, memo.load(folder)


@pytest.mark.slow
def test_rows_stand_in_a_table_of_their_own(stored):
    _, asked, tables = stored
    assert set(tables) == {"trials", "curves", "confidence", "confidence_along"}
    assert tables.trials["probes"].tolist() == [("confidence", "confidence@5")] * 2
    rows = tables.confidence_along
    assert list(rows) == ["trial", "seed", "step", "epoch", *list(tables.confidence)[2:]]
    for trial in asked:
        own = rows[rows["trial"] == trial.id]
        assert own.groupby("step")["inputs"].agg(list).to_dict() == dict.fromkeys(
            STEPS, tables.confidence["inputs"].unique().tolist()
        )
        np.testing.assert_array_equal(own["epoch"], own["step"] / 4)
        assert (own["seed"] == trial.seed).all()


def numbers(rows):
    return np.column_stack([rows.select_dtypes("number").drop(columns=["seed", "step", "epoch"], errors="ignore")])


@pytest.mark.slow
def test_rows_are_those_of_networks_trained_for_so_long(stored, trials, tmp_path):
    _, _, tables = stored
    for epochs in (1, 2, 4):
        shorter = trials(TINY | {"epochs": epochs})
        sweep.complete({tmp_path / str(epochs): shorter}, ["confidence"])
        expected = memo.load(tmp_path / str(epochs)).confidence
        found = tables.confidence_along[tables.confidence_along["step"] == 4 * epochs]
        assert found[["seed", "inputs"]].to_numpy().tolist() == expected[["seed", "inputs"]].to_numpy().tolist()
        # Another program of the same sums; a quantile or a share may fall to the other side of a tie.
        np.testing.assert_allclose(numbers(found), numbers(expected), atol=1e-5)


@pytest.mark.slow
def test_the_first_rows_are_those_of_initial_networks(stored, mnist):
    _, asked, tables = stored
    static = signature(asked[0]).static
    layers = [mlp.initialise(purpose_key(trial.seed, "initialisation"), static.sizes, static.init) for trial in asked]
    (group,) = plan(asked)
    trained = execution.train(group, mnist)
    data = trained.sources, trained.images, trained.statistics, trained.rows, trained.labels, trained.hyper
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *layers)
    expected = PROBES["confidence"](Networks(static, stacked, np.array([0, 1]), *data, 0))
    found = tables.confidence_along[tables.confidence_along["step"] == 0]
    for name in ("mean_confidence", "entropy", "q50", "auroc_vs_test"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


@pytest.mark.slow
def test_what_a_network_was_trained_on_reaches_the_probe(trials, mnist, monkeypatch):
    given = []
    monkeypatch.setitem(PROBES, "confidence", lambda networks: given.append(networks) or {"network": np.arange(4)})
    (group,) = plan(trials(TINY, {}, {"labels.kind": "shuffled", "optimizer.learning_rate": 0.02}))
    trained = execution.train(group, mnist, observed=observed(["confidence@3"], 5))
    measure(trained, ["confidence", "confidence@3"])
    assert [networks.step for networks in given] == [None, 0, 8, 16]
    for networks in given:
        for place, trial in enumerate(group.trials):
            images = np.asarray(networks.images.train)[networks.sources[place], networks.rows[place]]
            outputs = mlp.apply(jax.tree.map(itemgetter(place), networks.layers), images / np.float32(255), "relu")
            losses = -np.log(np.asarray(jax.nn.softmax(outputs))[np.arange(128), networks.labels[place]])
            at = -1 if networks.step is None else STEPS.index(networks.step)
            assert losses.mean() == pytest.approx(trained.curves.train_loss[place, at], rel=1e-4)
            rate = trial.recipe.optimizer.learning_rate
            assert networks.hyper.learning_rate[place] == pytest.approx(rate)


@pytest.mark.slow
def test_a_network_that_ended_has_no_rows_after_its_end(trials, tmp_path):
    recipes = (
        {"stop_at_train_accuracy": 0.3},
        {"stop_at_train_accuracy": None},
        {"optimizer.learning_rate": 1e6},
    )
    asked = trials(TINY | {"model.widths": [8, 8], "epochs": 12, "evaluations": 12}, *recipes)
    sweep.complete({tmp_path: asked}, ["confidence@13", "noise_samples@4"])
    tables = memo.load(tmp_path)
    assert set(tables.trials["status"]) == {"memorised", "completed", "diverged"}
    curves = tables.curves.groupby("trial")["step"].agg(list)
    found = tables.confidence_along.groupby("trial")["step"].agg(lambda steps: sorted(set(steps)))
    assert found.to_dict() == curves.to_dict()
    assert not tables.confidence_along[["mean_confidence", "entropy"]].isna().any(axis=None)
    ends = tables.trials.set_index("trial")["steps"]
    for trial, steps in tables.noise_samples_along.groupby("trial")["step"]:
        assert set(steps) == {step for step in (0, 16, 32, 48) if step <= ends[trial]} - (
            {ends[trial]} if tables.trials.set_index("trial")["status"][trial] == "diverged" else set()
        )


@pytest.mark.slow
def test_no_probe_is_taken_after_the_last_network_ended(trials, mnist, monkeypatch):
    taken = []
    monkeypatch.setitem(PROBES, "confidence", lambda networks: taken.append(networks.step) or {"network": np.arange(2)})
    (group,) = plan(trials(TINY | {"epochs": 12, "evaluations": 12, "stop_at_train_accuracy": 0.15}))
    trained = execution.train(group, mnist, observed=range(13))
    assert len(trained.steps) < 13 == len(trained.snapshots)
    measure(trained, ["confidence@13"])
    assert taken == trained.steps.tolist()


@pytest.mark.slow
def test_stored_rows_are_not_measured_again_and_others_are(stored, trials, tmp_path, monkeypatch):
    folder, asked, before = stored
    with monkeypatch.context() as patch:
        patch.setattr(execution, "train_slabs", None)
        assert sweep.complete({folder: asked}, ["confidence@5"]) == 0
    one = trials(TINY | {"seeds": 1})
    for probes in (["confidence@2"], ["confidence@3"]):
        assert sweep.complete({tmp_path: one}, probes) == 1
    rows = memo.load(tmp_path).confidence_along
    assert sorted(set(rows["step"])) == [0, 8, 16]
    same = before.confidence_along[before.confidence_along["trial"].eq(one[0].id)]
    pd.testing.assert_frame_equal(
        rows.drop(columns="histogram"),
        same[same["step"].isin([0, 8, 16])].drop(columns="histogram").reset_index(drop=True),
        check_exact=False,
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.slow
def test_an_observed_network_is_that_of_its_evaluation(trials, small_mnist, monkeypatch):
    """However networks were packed, and after some were dropped."""
    monkeypatch.setitem(slab.RECOMPILE_FLOP, "cpu", 0)
    recipes = ({"stop_at_train_accuracy": 0.3}, {"labels.kind": "shuffled"}, {})
    (group,) = plan(trials({"seeds": 2, "stop_at_train_accuracy": None, "epochs": 12}, *recipes))
    trained = execution.train(group, small_mnist, Execution(pack_size=2), observed=[1, 4, 7])
    evaluate = jax.jit(program.make_evaluate(group.signature.static.activation, group.signature.static.loss))
    for at, layers in zip([1, 4, 7], trained.snapshots, strict=True):
        for place in range(len(group.trials)):
            if np.isfinite(trained.curves.test_loss[place, at]):
                one = jax.tree.map(itemgetter((None, None, place)), layers)
                count = trained.images.test.shape[1]
                loss, _ = evaluate(one, trained.images.test, None, np.arange(count), trained.images.test_labels)
                assert loss.item() == pytest.approx(trained.curves.test_loss[place, at], abs=1e-5)
