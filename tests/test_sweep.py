import json
import time

import numpy as np
import pandas as pd
import pytest

import memo
from memo.config import flatten
from memo.data import datasets
from memo.errors import DataError, Refusal
from memo.storage import checkpoints, run_folders, sweep
from memo.training import execution

TINY = {
    "dataset.n_train": 128,
    "dataset.n_test": 200,
    "model.widths": [4],
    "batch_size": 32,
    "epochs": 2,
    "evaluations": 6,
}
PROBES = ["confidence"]
FINALS = ["final_train_loss", "final_train_accuracy", "final_test_loss", "final_test_accuracy"]
KINDS = ["test", "uniform", "gaussian", "random_pixels"]


@pytest.fixture(scope="module", autouse=True)
def _data(mnist):
    """Read the files once and not in each call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", lambda name, folder=None: mnist)
        yield


@pytest.fixture(scope="module")
def make(trials):
    """Return `make(settings) -> trials` of two seeds of a tiny recipe."""
    return lambda settings=None: trials(TINY | {"seeds": 2}, settings or {})


@pytest.fixture(scope="module")
def stored(make, tmp_path_factory):
    """Twins of two seeds, each kind of labels in its run folder."""
    folder = tmp_path_factory.mktemp("runs")
    requests = {folder / "true": make(), folder / "shuffled": make({"labels.kind": "shuffled"})}
    assert sweep.complete(requests, PROBES) == 4
    return requests


def root(requests):
    return next(iter(requests)).parent


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def same(one, other):
    assert set(one) == set(other)
    for name in one:
        pd.testing.assert_frame_equal(one[name], other[name], check_exact=True)


@pytest.mark.slow
def test_the_speed_of_training_is_recorded_without_its_probes(make, tmp_path, monkeypatch):
    recorded, took = [], sweep.measure
    monkeypatch.setattr(sweep.throughput, "record", lambda *read: recorded.append(read[-1]))

    def measured_slowly(trained, probes):
        time.sleep(1)
        return took(trained, probes)

    monkeypatch.setattr(sweep, "measure", measured_slowly)
    sweep.complete({tmp_path: make()}, PROBES)
    (session,) = run_folders.provenance(tmp_path)
    assert recorded == [pytest.approx(session["train_seconds"], abs=1e-3)]
    assert session["probe_seconds"] >= 0.5  # of one or two workers
    assert session["train_seconds"] + session["probe_seconds"] <= session["program_seconds"]


def test_tables_have_their_documented_columns(stored):
    tables = memo.load(root(stored))
    assert set(tables) == {"trials", "curves", "confidence"}
    recipe = flatten(next(iter(stored.values()))[0].recipe)
    due = {"trial", "seed", *recipe, "labels.changed", "parameters", "status", "steps", *FINALS}
    assert due <= set(tables.trials)
    assert {"dataset.n_train", "labels.kind", "model.widths", "optimizer.learning_rate", "loss", "epochs"} <= set(
        recipe
    )
    measured = {"train_loss", "train_accuracy", "test_loss", "test_accuracy"}
    assert {"trial", "seed", "step", "epoch"} | measured <= set(tables.curves)
    summary = {"mean_confidence", "share_above_0.9", "entropy", "auroc_vs_test", "q05", "q50", "q95"}
    assert {"trial", "seed", "inputs"} | summary <= set(tables.confidence)


def test_rows(stored):
    tables = memo.load(root(stored))
    asked = [trial for trials in stored.values() for trial in trials]
    assert sorted(tables.trials["trial"]) == sorted(trial.id for trial in asked)
    for trial in asked:
        row = tables.trials.set_index("trial").loc[trial.id]
        recipe = flatten(trial.recipe)
        assert {name: None if row[name] is pd.NA else row[name] for name in recipe} == recipe | {"model.widths": (4,)}
        assert row["seed"] == trial.seed
        assert row["status"] == "completed"
        assert row["parameters"] == 785 * 4 + 5 * 10
        curve = tables.curves[tables.curves["trial"] == trial.id]
        assert (curve["seed"] == trial.seed).all()
        assert curve["step"].iloc[0] == 0
        assert curve["step"].is_monotonic_increasing
        assert curve["step"].iloc[-1] == row["steps"] == 8
        np.testing.assert_allclose(curve["epoch"], curve["step"] / 4)
        for name in FINALS:
            assert curve[name.removeprefix("final_")].iloc[-1] == row[name]
        sure = tables.confidence[tables.confidence["trial"] == trial.id]
        assert sure["inputs"].tolist() == KINDS
        assert (sure["seed"] == trial.seed).all()
        assert (sure["n"] == 200).all()
    held_out = ["validation_loss", "validation_accuracy"]  # of no image here
    assert tables.curves[held_out].isna().all(axis=None)
    assert not tables.curves.drop(columns=held_out).isna().any(axis=None)


def test_each_run_folder_holds_its_own(stored):
    for folder, trials in stored.items():
        for frame in memo.load(folder).values():
            assert set(frame["trial"]) == {trial.id for trial in trials}


def test_share_of_labels_that_changed(stored):
    trials = memo.load(root(stored)).trials.set_index("labels.kind")
    assert (trials.loc["true", "labels.changed"] == 0).all()
    # 128 labels: one standard deviation is 0.027.
    assert np.abs(trials.loc["shuffled", "labels.changed"] - 0.9).max() < 0.1


def test_twins_start_together(stored):
    first = memo.load(root(stored)).curves.groupby("trial").first()
    assert first.groupby("seed")["test_loss"].nunique().eq(1).all()
    assert first["test_loss"].nunique() == 2


def test_provenance(stored, mnist):
    sessions = run_folders.provenance(root(stored))
    assert len(sessions) == 2
    for session in sessions:
        assert {"python", "jax", "jaxlib", "optax", "numpy"} <= set(session["versions"])
        assert session["device"]["kind"]
        assert session["device"]["count"] >= 1
        assert session["git"] is None or len(session["git"]["commit"]) == 40
        assert session["data"] == {"mnist": mnist.sha256}
        assert session["networks"] == 4
        parts = [session[f"{name}_seconds"] for name in ("wait", "train", "probe")]
        # What was prepared and compiled before it was waited for is no part of it.
        assert min(*parts, session["prepare_seconds"], session["compile_seconds"]) >= 0
        # The program includes its parts; each is rounded to a millisecond.
        assert session["program_seconds"] >= sum(parts) - 0.005


def test_the_same_call_trains_nothing(stored, monkeypatch):
    monkeypatch.setattr(execution, "train_slabs", None)
    before = contents(root(stored))
    assert sweep.complete(stored, PROBES) == 0
    assert sweep.complete({folder: trials[:1] for folder, trials in stored.items()}, []) == 0
    assert contents(root(stored)) == before


@pytest.mark.slow
def test_the_same_trials_elsewhere_give_the_same_tables(stored, tmp_path):
    assert sweep.complete({tmp_path / folder.name: trials for folder, trials in stored.items()}, PROBES) == 4
    same(memo.load(tmp_path), memo.load(root(stored)))


@pytest.mark.slow
def test_extending_trains_what_is_missing(trials, tmp_path):
    two, three = trials(TINY | {"seeds": 2}), trials(TINY | {"seeds": 3})
    assert sweep.complete({tmp_path: two}, PROBES) == 2
    before = memo.load(tmp_path)
    assert sweep.complete({tmp_path: three}, PROBES) == 1
    after = memo.load(tmp_path)
    assert after.trials["seed"].tolist() == [0, 1, 2]
    same({name: frame[frame["seed"] < 2] for name, frame in after.items()}, before)
    assert [session["networks"] for session in run_folders.provenance(tmp_path)] == [1, 2]


@pytest.mark.slow
def test_a_probe_that_is_missing_is_measured(trials, tmp_path):
    asked = trials(TINY)
    assert sweep.complete({tmp_path: asked}, []) == 1
    before = memo.load(tmp_path)
    assert set(before) == {"trials", "curves"}
    assert sweep.complete({tmp_path: asked}, PROBES) == 1
    after = memo.load(tmp_path)
    same({"curves": after.curves}, {"curves": before.curves})
    assert len(after.trials) == 1
    assert after.confidence["inputs"].tolist() == KINDS


@pytest.mark.slow
def test_an_interruption_loses_nothing_that_had_finished(make, tmp_path, monkeypatch):
    requests = {tmp_path / "wide": make({"model.widths": [8, 8]}), tmp_path / "narrow": make()}
    train, begun = execution.train_slabs, []

    def interrupted(group, *arguments, **named):
        begun.append(group)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return train(group, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(execution, "train_slabs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep.complete(requests, PROBES)
    stored = memo.load(tmp_path)
    assert stored.trials["model.widths"].tolist() == [(4,), (4,)]
    assert not (tmp_path / "wide").exists()

    monkeypatch.setattr(
        execution, "train_slabs", lambda group, *rest, **named: begun.append(group) or train(group, *rest, **named)
    )
    assert sweep.complete(requests, PROBES) == 2
    assert [group.signature.static.sizes[1] for group in begun] == [4, 8, 8]
    same(memo.load(tmp_path / "narrow"), stored)
    assert len(memo.load(tmp_path).trials) == 4
    assert not (tmp_path / checkpoints.FOLDER).exists()


def test_a_lost_done_marker_is_restored(stored, tmp_path, monkeypatch):
    """An interruption can fall between the last table and the marker."""
    (folder, trials), *_ = stored.items()
    copy = tmp_path / "run"
    copy.mkdir()
    for path in folder.glob("*.*"):
        if path.name != "done.json":
            (copy / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(execution, "train_slabs", None)
    assert sweep.complete({copy: trials}, PROBES) == 0
    same(memo.load(copy), memo.load(folder))
    assert json.loads((copy / "done.json").read_text())["trials"] == 2


@pytest.fixture(scope="module")
def diverged(trials, tmp_path_factory):
    """Two seeds at a learning rate at which they diverge beside the same two at a sound one, in one population."""
    folder = tmp_path_factory.mktemp("diverged")
    both = trials(TINY | {"seeds": 2, "model.widths": [8, 8]}, {"optimizer.learning_rate": 1e6}, {})
    assert sweep.complete({folder: both}, PROBES) == 4
    tables = memo.load(folder)
    tables["trials"]["mad"] = tables.trials["optimizer.learning_rate"] == 1e6
    mad = set(tables.trials[tables.trials["mad"]]["trial"])
    return tables, mad


@pytest.mark.slow
def test_a_diverged_trial_is_counted(diverged):
    tables, _ = diverged
    mad, sound = (own for _, own in sorted(tables.trials.groupby("mad"), reverse=True))
    assert mad["status"].tolist() == ["diverged"] * 2
    assert mad[FINALS].isna().all(axis=None)
    assert (mad["steps"] < 8).all()
    assert sound["status"].tolist() == ["completed"] * 2
    assert np.isfinite(sound[FINALS]).all(axis=None)
    assert (sound["steps"] == 8).all()


@pytest.mark.slow
def test_the_curve_of_a_diverged_trial_ends_before_it(diverged):
    tables, mad = diverged
    assert np.isfinite(tables.curves[["train_loss", "test_loss", "train_accuracy", "test_accuracy"]]).all(axis=None)
    last = tables.curves.groupby("trial")["step"].max()
    for row in tables.trials.itertuples():
        assert last[row.trial] < row.steps if row.trial in mad else last[row.trial] == row.steps


@pytest.mark.slow
def test_a_diverged_trial_does_not_lose_its_twin(diverged, trials, tmp_path):
    tables, mad = diverged
    alone = trials(TINY | {"seeds": 2, "model.widths": [8, 8]})
    sweep.complete({tmp_path: alone}, PROBES)
    beside = tables.curves[~tables.curves["trial"].isin(mad)].reset_index(drop=True)
    # float32 sums in another order, as in test_population.
    pd.testing.assert_frame_equal(beside, memo.load(tmp_path).curves, check_exact=False, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_nothing_is_measured_on_a_diverged_network(diverged):
    """Numbers of a network of NaNs would be averaged with those of sound ones."""
    tables, mad = diverged
    rows = tables.confidence[tables.confidence["trial"].isin(mad)]
    assert rows.groupby("trial")["inputs"].agg(list).tolist() == [KINDS] * 2
    shares = [name for name in rows if name.startswith("share_")]
    assert rows[["mean_confidence", "q05", "q50", "q95", "entropy", "auroc_vs_test", *shares]].isna().all(axis=None)


def test_a_run_folder_that_cannot_be_written_is_refused_before_training(make, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(execution, "train_slabs", None)
    with pytest.raises(Refusal, match=f"{tmp_path}/file/run cannot be written"):
        sweep.complete({tmp_path / "sound": make(), tmp_path / "file" / "run": make({"model.widths": [8]})}, PROBES)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_data_that_cannot_be_had_is_refused_before_training(make, tmp_path, monkeypatch):
    def refuse(name, folder):
        raise DataError(f"{name} in {folder} is refused")

    monkeypatch.setattr(datasets, "load", refuse)
    monkeypatch.setattr(execution, "train_slabs", None)
    with pytest.raises(Refusal, match="mnist in elsewhere is refused"):
        sweep.complete({tmp_path: make()}, PROBES, "elsewhere")
    assert not list(tmp_path.iterdir())


def test_where_time_went_adds_up():
    session = {"networks": 4, "wait_seconds": 1.0, "train_seconds": 5.0, "evaluate_seconds": 2.0, "probe_seconds": 0.5}
    assert sweep.where_time_went([session, session], 15.0) == (
        "Trained 8 networks in 15.0 s: waiting for data and compiled programs 2.0 s, steps 6.0 s, evaluations 4.0 s, "
        "probes 1.0 s, loading and writing 2.0 s."
    )
