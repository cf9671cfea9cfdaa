"""Several devices in one machine, simulated: eight XLA CPU devices stand for eight GPUs."""

import pytest

from memo.storage import run_folders
from tests import builders

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

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folders = {}
    for devices in (1, 8):
        folders[devices] = tmp_path_factory.mktemp(f"devices{devices}")
        command = ["-m", "experiments.train", "--multirun", f"hydra.sweep.dir={folders[devices]}"]
        environment = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
        builders.python(*command, *SWEEP, check=True, **environment)
    return folders


def test_eight_devices_each_train_their_slabs(swept):
    for devices, folder in swept.items():
        for session in run_folders.provenance(folder):
            assert session["device"]["count"] == devices
    assert {session["layout"]["workers"] for session in run_folders.provenance(swept[8])} == {8}


def test_eight_devices_give_the_tables_of_one(swept):
    builders.assert_identical(swept[8], swept[1])
