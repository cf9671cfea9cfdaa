"""Real sweeps that are killed, run out of disk, or meet another: nothing is lost, nothing half-written."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import memo
from memo.storage.checkpoints import FOLDER

KILLS = 20
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
KEYS = {
    "trials": ["trial"],
    "curves": ["trial", "step"],
    "confidence": ["trial", "inputs"],
    "confidence_along": ["trial", "step", "inputs"],
}


def command(folder, *overrides):
    return [sys.executable, "-m", "experiments.train", "--multirun", f"hydra.sweep.dir={folder}", *SWEEP, *overrides]


def assert_identical(folder, other):
    """Assert that the tables below two folders are equal bit for bit."""
    tables, expected = memo.load(folder), memo.load(other)
    assert tables.keys() == expected.keys() == KEYS.keys()
    for name, keys in KEYS.items():
        one, two = (frame[name].sort_values(keys, ignore_index=True) for frame in (tables, expected))
        pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a sweep that nobody interrupts, and the seconds that it takes with compiled programs."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(command(folder), check=True, capture_output=True)
    shutil.rmtree(folder)
    started = time.monotonic()
    subprocess.run(command(folder), check=True, capture_output=True)
    return folder, time.monotonic() - started


def test_killed_at_random_moments_a_sweep_goes_on_to_the_same_bits(whole, tmp_path):
    reference, seconds = whole
    moments = random.Random(0)
    kills, sweeps, gone_on = 0, 0, 0
    while kills < KILLS:
        folder = tmp_path / str(sweeps)
        while True:
            gone_on += bool(list(folder.glob(f"{FOLDER}/*/*/*")))
            process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                # A third of it is Python's start, in which there is nothing to lose.
                process.wait(timeout=moments.uniform(0.3, 1.1) * seconds if kills < KILLS else None)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
        assert process.returncode == 0, process.communicate()[1].decode()
        process.communicate()
        assert_identical(folder, reference)
        assert not (folder / FOLDER).exists()
        sweeps += 1
    assert gone_on > 0


def test_a_full_disk_is_one_sentence_and_loses_nothing(whole, tmp_path):
    stored = subprocess.run(command(tmp_path, "model.widths=[8]"), capture_output=True)
    assert stored.returncode == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    assert before
    # A limit on the size of files stands for the full disk: to a writer it is the same, and it needs no rights.
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 6; exec "$@"', "--", *command(tmp_path)],  # blocks of 1,024 bytes
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
    )
    assert limited.returncode == 1
    assert "cannot be written: " in limited.stderr
    assert "Traceback" not in limited.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert not [path for path in tmp_path.rglob("*.parquet") if path not in before and FOLDER not in path.parts]
    after = subprocess.run(command(tmp_path), capture_output=True)
    assert after.returncode == 0
    assert_identical(tmp_path, whole[0])


def test_two_processes_share_one_sweep(whole, tmp_path):
    both = [subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
    outputs = [process.communicate()[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert_identical(tmp_path, whole[0])
    assert not (tmp_path / FOLDER).exists()


def test_interrupted_by_the_keyboard_it_says_how_to_go_on(tmp_path):
    # Far longer than the test: what is interrupted must not have finished meanwhile, and so left nothing to go on from.
    long = command(tmp_path, "epochs=200000", "evaluations=40", "stop_at_train_accuracy=null")
    process = subprocess.Popen(long, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(f"{FOLDER}/*/slabs/*")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    message = process.communicate()[1]
    assert process.returncode == 1
    assert "Interrupted" in message and "Traceback" not in message
    assert list(tmp_path.glob(f"{FOLDER}/*/slabs/*"))
