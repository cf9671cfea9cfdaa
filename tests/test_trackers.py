"""Trackers hold what the tables hold, once; and no tracker is worth a finished run."""

import contextlib
import importlib.util
import json
import logging
import math
import os
import sqlite3
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

import memo
from memo.commands import experiment
from memo.config import Config, Experiment, Tracking, flatten, make_trials, run_name
from memo.data import datasets
from memo.errors import Refusal
from memo.storage import sweep, trackers
from tests import builders

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
INSTALLED = {name: importlib.util.find_spec(each.package) is not None for name, each in trackers.TRACKERS.items()}
CURVES = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


def needs(name):
    return pytest.mark.skipif(not INSTALLED[name], reason=f"{name} is in the extra [{trackers.TRACKERS[name].extra}]")


each_tracker = pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in trackers.TRACKERS])


@pytest.fixture(scope="module")
def wanted(tmp_path_factory, tiny, small_mnist):
    """Two run folders, three networks that trained and two that diverged, with their trials."""
    root = tmp_path_factory.mktemp("runs")
    recipes = {"sound": {"seeds": 3}, "diverged": {"seeds": 2, "optimizer.learning_rate": 1e30}}
    wanted = {root / name: make_trials(tiny(settings)) for name, settings in recipes.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
        sweep.complete(wanted, ["weights"])
    return wanted


@pytest.fixture(scope="module")
def uris(tmp_path_factory):
    # One for all tests: trackio knows one folder a process.
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", f"{folder}/trackio")  # whoever imports it first
        yield {"mlflow": f"sqlite:///{folder}/mlflow.db", "trackio": f"{folder}/trackio", "wandb": f"{folder}/wandb"}


def read_mlflow(uri, project):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    place = client.get_experiment_by_name(project).experiment_id
    for run in client.search_runs([place]):
        last = run.data.metrics
        histories = {key: client.get_metric_history(run.info.run_id, key) for key in CURVES if key in last}
        curve = pd.DataFrame({key: {point.step: point.value for point in held} for key, held in histories.items()})
        known = {**run.data.params, **run.data.tags, **{key: last[key] for key in last if key not in CURVES}}
        yield run.info.run_name, known, curve
        assert run.info.status == "FINISHED"


def read_trackio(uri, project):
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    for run in trackio.Api().runs(project):
        logs = pd.DataFrame(SQLiteStorage.get_logs(project, run.name, run_id=run.id))
        assert run.config["_Group"] == run.config["group"]
        yield run.name, run.config, logs.set_index("step")[CURVES]


def records(path):
    """Yield the records of an offline run: a log of blocks of 32 kB, with records in pieces of CRC (4 bytes), length (2), kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, pieces = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if (left := -at % 2**15) < 7 and left:  # no room for a header: the next block
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        assert zlib.crc32(content[at + 7 : at + 7 + length], zlib.crc32(bytes([kind]))) == crc(content, at)
        pieces += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(pieces)
            pieces = b""


def crc(content, at):
    return int.from_bytes(content[at : at + 4], "little")


def read_wandb(uri, project):
    for path in Path(uri).glob("wandb/offline-run-*/*.wandb"):
        every = {}
        for record in records(path):
            every.setdefault(record.WhichOneof("record_type"), []).append(record)
        assert every["exit"][-1].exit.exit_code == 0
        run = every["run"][0].run
        if run.project != project:
            continue
        known = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in run.config.update}
        for record in every.get("summary", []):
            known |= {item.key: json.loads(item.value_json) for item in record.summary.update}
        points = [
            {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for record in every["history"]
        ]
        assert run.run_group == known["group"]
        yield run.display_name, known, pd.DataFrame(points).set_index("_step")[CURVES].rename_axis("step")


READERS = {"mlflow": read_mlflow, "trackio": read_trackio, "wandb": read_wandb}


def read(name, uris, project):
    """Return the runs that a tracker holds, by trial: name, what is known of it, its curve by step."""
    held = list(READERS[name](uris[name], project))
    found = {known["trial"]: (run, known, curve) for run, known, curve in held}
    assert len(found) == len(held)
    return found


@pytest.mark.slow
@each_tracker
def test_a_tracker_holds_what_is_stored(name, wanted, uris):
    assert trackers.send(Tracking(name, uri=uris[name]), "stored", wanted, {wanted_trial(wanted).id: "plain, small"})
    assert_holds(read(name, uris, "stored"), wanted)


def assert_holds(held, wanted):
    """Assert that runs by trial are those of the run folders, the first of them of two arms."""
    tables = memo.load(next(iter(wanted)).parent)
    recipes = {trial.id: trial.recipe for trials in wanted.values() for trial in trials}
    assert set(held) == set(recipes) == set(tables.trials["trial"])
    assert tables.trials["status"].value_counts().to_dict() == {"completed": 3, "diverged": 2}
    for row in tables.trials.to_dict("records"):
        run, known, curve = held[row["trial"]]
        group = run_name(recipes[row["trial"]])
        assert (run, known["group"], known["status"]) == (f"{group}-seed{row['seed']}", group, row["status"])
        assert known.get("arms") == ("plain, small" if row["trial"] == wanted_trial(wanted).id else None)
        assert known["folder"] in map(str, wanted)
        for key, value in (flatten(recipes[row["trial"]]) | {"seed": row["seed"]}).items():
            assert known[key] in (value, trackers._as_written(value)), key
        for key in trackers.OUTCOME:
            assert known.get(key, math.nan) == pytest.approx(row[key], nan_ok=True), key
        stored = tables.curves[tables.curves["trial"] == row["trial"]].set_index("step")[CURVES]
        assert len(stored) > 0
        # A diverged network's last evaluations may have an infinite test loss, which is left out.
        np.testing.assert_array_equal(curve.sort_index(), stored.astype(float).where(np.isfinite(stored)).sort_index())


def wanted_trial(wanted):
    return next(iter(wanted.values()))[0]


@pytest.mark.slow
@each_tracker
def test_nothing_is_sent_twice(name, wanted, uris, caplog):
    caplog.set_level(logging.INFO)
    folder, trials = next(iter(wanted.items()))
    chosen = Tracking(name, "twice", uris[name])
    for part, sent in ((trials[:2], "2 networks (0"), (trials, "1 networks (2"), (trials, "0 networks (3")):
        assert trackers.send(chosen, "another", {folder: part})
        assert caplog.messages[-1] == f"Sent to {name}, project twice: {sent} were there)."
    assert set(read(name, uris, "twice")) == {trial.id for trial in trials}


@pytest.mark.slow
@each_tracker
def test_what_an_interrupted_command_left_is_sent_anew(name, wanted, uris, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    folder, trials = next(iter(wanted.items()))
    chosen = Tracking(name, "interrupted", uris[name])
    if name == "mlflow":
        from mlflow import MlflowClient as kind

        last = "set_terminated"
    elif name == "wandb":
        from wandb import Run as kind

        last = "finish"
    else:
        from trackio.sqlite_storage import SQLiteStorage as kind

        last = "bulk_log"
    finish, finished = getattr(kind, last), []

    def finish_one(*arguments, **keys):
        if finished:
            raise KeyboardInterrupt
        finished.append(finish(*arguments, **keys))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(kind, last, finish_one)
        trackers.send(chosen, "", {folder: trials})
    assert trackers.send(chosen, "", {folder: trials})
    assert caplog.messages[-1] == f"Sent to {name}, project interrupted: 2 networks (1 were there)."
    held = read(name, uris, "interrupted")
    assert set(held) == {trial.id for trial in trials}
    curves = memo.load(folder).curves
    assert {trial: len(curve) for trial, (_, _, curve) in held.items()} == curves.groupby("trial").size().to_dict()


@pytest.mark.slow
def test_long_curves_go_in_several_requests(monkeypatch, uris):
    pytest.importorskip("mlflow", reason="mlflow is in the extra [tracking]")
    monkeypatch.setattr(trackers, "METRICS_PER_REQUEST", 7)
    curve = [(step, dict.fromkeys(CURVES, step / 8)) for step in range(5)]
    tags = {"trial": "long", "group": "long", "status": "completed", "folder": "somewhere"}
    run = trackers.Run("long-seed0", {"seed": 0}, tags, {"steps": 4.0}, curve)
    assert trackers.to_mlflow([run], "long", uris["mlflow"]) == 1
    ((_, _, held),) = read("mlflow", uris, "long").values()
    assert held.to_dict("index") == dict(curve)


@pytest.mark.slow
def test_a_tracker_that_fails_costs_one_sentence(monkeypatch, wanted, caplog):
    def fail(runs, project, uri):
        raise ConnectionError("nobody\nanswers")

    monkeypatch.setitem(trackers.TRACKERS, "failing", trackers.Tracker("json", fail))
    assert not trackers.send(Tracking("failing"), "any", wanted)
    assert caplog.messages == [
        "failing has not taken all curves (nobody answers); the results are stored, and the same command sends what is "
        "missing."
    ]


def job(tmp_path, **keys):
    """Return a composed configuration as Hydra hands it to callbacks."""
    config = OmegaConf.structured(Config(**keys))
    OmegaConf.set_struct(config, False)
    config.hydra = {"overrides": {"task": []}, "runtime": {"output_dir": str(tmp_path)}}
    return config


@pytest.fixture
def calls(monkeypatch):
    """What reaches a tracker named fake: a list of lists of runs; it fails while `calls.failing`."""

    class Calls(list):
        failing = False

        def send(self, runs, project, uri):
            self.append((project, uri, runs))
            if self.failing:
                raise ConnectionError("nobody answers")
            return len(runs)

    calls = Calls()
    monkeypatch.setitem(trackers.TRACKERS, "fake", trackers.Tracker("json", calls.send))
    return calls


def ended(status=JobStatus.COMPLETED):
    return JobReturn(status=status)


@pytest.mark.slow
def test_jobs_send_what_they_asked_for_with_its_arms(tmp_path, tiny, small_mnist, monkeypatch, calls):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    arms = {"plain": {"seeds": 2}, "again": {"seed": 1}, "faster": {"optimizer": {"learning_rate": 0.3}}}
    config = tiny({"experiment": Experiment(name="unlike", arms=arms), "tracking": Tracking("fake", uri="there")})
    for runs, probes, _, _ in experiment.requests(config, tmp_path):
        sweep.complete(runs, probes)
    composed = job(tmp_path, **{key: getattr(config, key) for key in Config.__dataclass_fields__})
    experiment.TrackAfterJob().on_job_end(composed, ended())
    assert {(project, uri) for project, uri, _ in calls} == {("unlike", "there")}
    found = {(run.tags["arms"], run.recipe["seed"]) for _, _, runs in calls for run in runs}
    assert found == {("plain", 0), ("plain, again", 1), ("faster", 0)}


def test_failed_jobs_and_those_without_a_tracker_send_nothing(tmp_path, calls):
    after = experiment.TrackAfterJob()
    after.on_job_end(job(tmp_path), ended())
    after.on_job_end(job(tmp_path, tracking=Tracking("fake"), plan=True), ended())
    after.on_job_end(job(tmp_path, tracking=Tracking("fake")), ended(JobStatus.FAILED))
    assert calls == []


def test_a_failing_tracker_is_left_alone_for_the_rest_of_a_sweep(tmp_path, tiny, small_mnist, monkeypatch, calls):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    config = tiny({"tracking": Tracking("fake")})
    sweep.complete({tmp_path: make_trials(config)}, config.probes)
    composed = job(tmp_path, **{key: getattr(config, key) for key in Config.__dataclass_fields__})
    calls.failing, after = True, experiment.TrackAfterJob()
    for _ in range(3):
        after.on_job_end(composed, ended())
    assert [project for project, _, _ in calls] == ["train"]


def test_trackers_are_checked_before_anything_trains(tmp_path, monkeypatch):
    with pytest.raises(Refusal, match=r"^tracking.to is neptune; allowed is null, mlflow, trackio, wandb\.$"):
        experiment.admitted(job(tmp_path, tracking=Tracking("neptune")), [])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    sentence = (
        r"^tracking.to is trackio, and the package trackio is missing: python -m pip install -e '\.\[tracking\]'$"
    )
    with pytest.raises(Refusal, match=sentence):
        experiment.admitted(job(tmp_path, tracking=Tracking("trackio")), [])
    experiment.admitted(job(tmp_path), [])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    for name in ("trackio", "wandb"):
        with pytest.raises(Refusal, match=f"^tracking.uri is garbage://x; allowed is a folder, for {name}"):
            experiment.admitted(job(tmp_path, tracking=Tracking(name, uri="garbage://x")), [])
    experiment.admitted(job(tmp_path, tracking=Tracking("mlflow", uri="sqlite:///x.db")), [])


def test_tracking_is_no_part_of_a_recipe(tiny):
    config = tiny({})
    sent = replace(config, tracking=Tracking("mlflow", "project", "uri"))
    assert [trial.id for trial in make_trials(sent)] == [trial.id for trial in make_trials(config)]


@pytest.mark.slow
@needs("mlflow")
def test_a_server_that_does_not_answer_costs_one_sentence(monkeypatch, wanted, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert not trackers.send(Tracking("mlflow", uri="http://127.0.0.1:9"), "any", wanted)
    (sentence,) = caplog.messages
    assert sentence.startswith("mlflow has not taken all curves (API request to http://127.0.0.1:9/")


SERVER = """
import sys
from mlflow.server import app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def server(tmp_path):
    """Yield the address of an MLflow server that is a process of its own; its parts are not in the extra [tracking]."""
    if absent := [name for name in ("mlflow", "flask", "flask_cors", "graphene") if not importlib.util.find_spec(name)]:
        assert os.environ.get("MEMO_EXTRAS") != "required", absent
        pytest.skip(f"MLflow's server needs {', '.join(absent)}")
    place = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{tmp_path}/server.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": f"{tmp_path}",
    }
    command = [sys.executable, "-W", "ignore", "-c", SERVER]
    with subprocess.Popen(
        command, env=os.environ | place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.mark.slow
def test_a_server_of_mlflow_holds_what_is_stored(server, wanted, caplog):
    caplog.set_level(logging.INFO)
    sending = Tracking("mlflow", "stored", server)
    for sent in ("5 networks (0", "0 networks (5"):
        assert trackers.send(sending, "", wanted, {wanted_trial(wanted).id: "plain, small"})
        assert caplog.messages[-1] == f"Sent to mlflow, project stored: {sent} were there)."
    assert_holds(read("mlflow", {"mlflow": server}, "stored"), wanted)


@pytest.mark.slow
@needs("trackio")
def test_a_sweep_by_its_command_outlives_its_tracker_and_is_sent_later(tmp_path):
    tiny = "dataset.n_train=128 dataset.n_test=200 model.widths=[4] batch_size=32 evaluations=4 epochs=2 seeds=2"
    sweep = f"--multirun hydra/launcher=population hydra.sweep.dir={tmp_path}/sweep labels.kind=true,shuffled {tiny}"
    folder = tmp_path / "tracked"
    command = ["-m", "experiments.train", *sweep.split(), "tracking.to=trackio", f"tracking.uri={folder}"]

    folder.touch()  # a file: trackio cannot write below it
    done = builders.python(*command, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("trackio has not taken all curves (") == 1
    stored = memo.load(tmp_path / "sweep").trials["trial"]
    assert len(stored) == 4

    folder.unlink()
    done = builders.python(*command, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Sent to trackio, project train: 2 networks (0 were there).") == 2
    assert "nothing to train" in done.stdout
    with contextlib.closing(sqlite3.connect(folder / "train.db")) as database:
        assert {trial for (trial,) in database.execute("SELECT run_id FROM configs")} == set(stored)
