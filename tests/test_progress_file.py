"""progress.json: what it says while a command trains, and that it is gone at the end."""

import json

import pytest

import memo
from memo.config import Execution
from memo.data import datasets
from memo.storage import progress_file, sweep
from memo.storage.progress_file import ProgressFile
from memo.storage.sweep import Request


@pytest.fixture
def request_of(tmp_path, small_mnist, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    settings = {"dataset.n_train": 64, "dataset.n_test": 32, "batch_size": 16, "epochs": 3, "model.widths": [4]}
    trials = [memo.Trial(memo.make_recipe(settings), seed) for seed in range(3)]
    return Request({tmp_path / "run": trials}, ["confidence"], None, Execution())


def test_it_counts_what_is_stored_and_says_how_long_the_rest_takes(tmp_path, request_of, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_file.time, "monotonic", lambda: now[0])
    progress = ProgressFile(tmp_path, [request_of])
    note, whole = progress.of(0), sum(progress._left)
    assert whole == 3 * 12 * (784 * 4 + 4 + 4 * 10 + 10)  # networks, steps, parameters: the units of the progress bar
    note(whole)
    stated = json.loads((tmp_path / "progress.json").read_text())
    assert (stated["networks"], stated["stored"], stated["hours_left_at_most"]) == (3, 0, None)
    now[0] += 3600
    note(whole / 4)  # three quarters in an hour, a quarter is left
    assert json.loads((tmp_path / "progress.json").read_text())["hours_left_at_most"] is None  # too long ago
    now[0] += 60
    note(whole / 8)
    stated = json.loads((tmp_path / "progress.json").read_text())
    assert stated["hours_left_at_most"] == pytest.approx(60 / 3600, abs=0.01)
    sweep.complete(*request_of)
    assert progress.state()["stored"] == 3
    progress.remove()
    assert not (tmp_path / "progress.json").exists()
