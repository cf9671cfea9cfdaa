"""Real sweeps that are killed, run out of disk, or meet another: nothing is lost, nothing half-written."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from memo.storage.checkpoints import FOLDER
from tests import builders
from tests.builders import ROOT, assert_identical

KILLS = 10
SWEEP = [
    "hydra/launcher=population",
    "labels.kind=true,shuffled",
    "model.widths=[8],[6,6]",
    "seeds=3",
    "dataset.n_train=512",
    "dataset.n_test=200",
    "batch_size=32",
    "epochs=40",
    "evaluations=12",
    "probes=[confidence,confidence@4]",
    "execution.checkpoint_seconds=0.2",
]

pytestmark = pytest.mark.slow


def command(folder, *overrides):
    return ["-m", "experiments.train", "--multirun", f"hydra.sweep.dir={folder}", *SWEEP, *overrides]


def said(folder):
    return folder.with_suffix(".out")


def start(folder, *overrides):
    return builders.module(command(folder, *overrides)[1:], said(folder), said(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a sweep that nobody interrupts, and the seconds that it takes with compiled programs."""
    folder = tmp_path_factory.mktemp("whole")
    builders.python(*command(folder), check=True)
    shutil.rmtree(folder)
    started = time.monotonic()
    builders.python(*command(folder), check=True)
    return folder, time.monotonic() - started


def test_killed_at_random_moments_a_sweep_goes_on_to_the_same_bits(whole, tmp_path):
    reference, seconds = whole
    # One in each tenth of its life, and a little later, in no order.
    moments = itertools.cycle(random.Random(0).sample([1.1 * (k + 0.5) / KILLS * seconds for k in range(KILLS)], KILLS))
    kills, sweeps, gone_on = 0, 0, 0
    while kills < KILLS:
        folder = tmp_path / str(sweeps)
        while True:
            gone_on += bool(list(folder.glob(f"{FOLDER}/*/*/*")))
            process = start(folder)
            process.join(next(moments) if kills < KILLS else builders.SECONDS)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            assert kills < KILLS, "hangs"
            kills += 1
        assert process.exitcode == 0, said(folder).read_text()
        assert_identical(folder, reference)
        assert not (folder / FOLDER).exists()
        sweeps += 1
    assert gone_on > 0


def test_a_full_disk_is_one_sentence_and_loses_nothing(whole, tmp_path):
    stored = builders.python(*command(tmp_path, "model.widths=[8]"))
    assert stored.returncode == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    assert before
    # A limit on the size of files stands for the full disk: to a writer it is the same, and it needs no rights.
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 6; exec "$@"', "--", sys.executable, *command(tmp_path)],  # blocks of 1,024 bytes
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
        timeout=builders.SECONDS,
    )
    assert limited.returncode == 1
    assert "cannot be written: " in limited.stderr
    assert "Traceback" not in limited.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in tmp_path.rglob("*.parquet") if path not in before and FOLDER not in path.parts]
    after = builders.python(*command(tmp_path))
    assert after.returncode == 0
    assert_identical(tmp_path, whole[0])


def test_two_processes_share_one_sweep(whole, tmp_path):
    both = [start(tmp_path) for _ in range(2)]
    assert [builders.left(process) for process in both] == [0, 0], said(tmp_path).read_text()
    assert_identical(tmp_path, whole[0])
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("signals", [1, 3])
def test_interrupted_by_the_keyboard_it_says_how_to_go_on(tmp_path, signals):
    # Far longer than the test: what is interrupted must not have finished meanwhile, and so left nothing to go on from.
    long = command(tmp_path, "epochs=200000", "evaluations=40", "stop_at_train_accuracy=null")
    process = subprocess.Popen(
        [sys.executable, *long], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + builders.SECONDS
    while not list(tmp_path.glob(f"{FOLDER}/*/slabs/*")):
        assert process.poll() is None and time.monotonic() < until, builders.ended(process, seconds=0)
        time.sleep(0.02)
    for _ in range(signals):  # by an impatient person
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    message = builders.ended(process)
    assert process.returncode == 1
    assert message.count("Interrupted") == 1 and "Traceback" not in message and "FATAL" not in message
    assert list(tmp_path.glob(f"{FOLDER}/*/slabs/*"))
