"""progress.json: what it says while a command trains, and that it is gone at the end."""

import json

import numpy as np
import pytest

import memo
from memo.config import Execution
from memo.data import datasets
from memo.storage import progress_bar, progress_file, sweep
from memo.storage.progress_bar import ProgressBar
from memo.storage.progress_file import ProgressFile
from memo.storage.sweep import Request
from memo.training.population import Layout, plan


@pytest.fixture
def request_of(tmp_path, small_mnist, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    settings = {"dataset.n_train": 64, "dataset.n_test": 32, "batch_size": 16, "epochs": 3, "model.widths": [4]}
    trials = [memo.Trial(memo.make_recipe(settings), seed) for seed in range(3)]
    return Request({tmp_path / "run": trials}, ["confidence"], None, Execution())


@pytest.mark.slow
def test_it_counts_what_is_stored_and_says_how_long_the_rest_takes(tmp_path, request_of, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_file.time, "monotonic", lambda: now[0])
    progress = ProgressFile(tmp_path, [request_of])
    note, whole = progress.of(0), sum(progress._left)
    assert whole == 3 * 12 * (784 * 4 + 4 + 4 * 10 + 10)  # networks, steps, parameters: the units of the progress bar
    note(whole, 0.0)
    stated = json.loads((tmp_path / "progress.json").read_text())
    assert (stated["networks"], stated["stored"], stated["hours_left_at_most"]) == (3, 0, None)
    now[0] += 3600
    note(whole / 4, whole / 2)  # half in an hour, and a quarter that a checkpoint had; a quarter is left
    assert json.loads((tmp_path / "progress.json").read_text())["hours_left_at_most"] is None  # too long ago
    now[0] += 60
    note(whole / 8, whole / 8)
    stated = json.loads((tmp_path / "progress.json").read_text())
    assert stated["hours_left_at_most"] == pytest.approx(60 / 3600, abs=0.01)
    sweep.complete(*request_of)
    assert progress.state()["stored"] == 3
    progress.remove()
    assert not (tmp_path / "progress.json").exists()


def test_steps_that_a_checkpoint_had_are_not_steps_taken(request_of, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: now[0])
    told = []
    (group,) = plan(request_of.trials[:1])
    bar = ProgressBar([group], 0, lambda *report: told.append(report))
    bar.start(group, Layout(packs=1, pack_size=1, workers=1))
    for step in (7, 9, 10):  # 7 of 12 steps restored, 3 taken; the last 2 are saved by stopping early
        now[0] += 2
        bar.advanced(0, step, np.empty(0))
    now[0] += 2
    bar.finish()
    cost = progress_bar.step_cost(group)
    assert told == [(5 * cost, 0), (3 * cost, 2 * cost), (2 * cost, cost), (0, 0)]
