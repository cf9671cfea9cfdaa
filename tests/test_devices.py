"""Several devices in one machine, simulated: eight XLA CPU devices stand for eight GPUs."""

import os
import subprocess
import sys

import pandas as pd
import pytest

import memo
from memo.storage import run_folders

SWEEP = [
    "hydra/launcher=population",
    "labels.kind=true,shuffled",
    "model.widths=[8]",
    "seeds=9",
    "dataset.n_train=512",
    "dataset.n_test=200",
    "batch_size=32",
    "epochs=6",
    "evaluations=6",
    "execution.pack_size=2",
    "execution.packs=1",
]
KEYS = {"trials": ["trial"], "curves": ["trial", "step"], "confidence": ["trial", "inputs"]}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folders = {}
    for devices in (1, 8):
        folders[devices] = tmp_path_factory.mktemp(f"devices{devices}")
        command = [sys.executable, "-m", "experiments.train", "--multirun", f"hydra.sweep.dir={folders[devices]}"]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
        done = subprocess.run([*command, *SWEEP], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
    return folders


def test_eight_devices_each_train_their_slabs(swept):
    for devices, folder in swept.items():
        for session in run_folders.provenance(folder):
            assert session["device"]["count"] == devices
    assert {session["layout"]["workers"] for session in run_folders.provenance(swept[8])} == {8}


def test_eight_devices_give_the_tables_of_one(swept):
    tables = {devices: memo.load(folder) for devices, folder in swept.items()}
    for name, keys in KEYS.items():
        one, eight = (tables[devices][name].sort_values(keys, ignore_index=True) for devices in (1, 8))
        pd.testing.assert_frame_equal(one, eight, check_exact=True)
