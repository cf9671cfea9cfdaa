"""What several test modules build: programs' statics, composed configs, commands with a time limit, tables to compare."""

import atexit
import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import memo
from memo.commands import hydra_app
from memo.networks.program import Static

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 1200  # many times what any process takes here on two idle cores: one that takes longer hangs
TABLE_KEYS = {
    "trials": ["trial"],
    "curves": ["trial", "step"],
    "confidence": ["trial", "inputs"],
    "confidence_along": ["trial", "step", "inputs"],
}


# A process that has imported what all commands import, and in which JAX has not started: commands are forks of it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["memo.commands.analysis", "memo.commands.audit", "memo.reporting.panels", __name__])


def python(*words, folder=ROOT, check=False, **environment):
    """Run Python in a folder, where it finds the suite; return the ended process with what it has printed.

    A module (-m) is run by `module` where its environment is this one: that saves the seconds of its imports.
    """
    words = [str(word) for word in words]
    if words[0] == "-m" and not environment:
        with tempfile.TemporaryDirectory() as place:
            printed = [Path(place) / name for name in ("output", "errors")]
            status = left(module(words[1:], *printed, folder=folder))
            done = subprocess.CompletedProcess(words, status, *(file.read_text() for file in printed))
    else:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert not check or done.returncode == 0, done.stderr
    return done


def module(words, output, errors, folder=ROOT):
    """Return the process, just started, of `python -m` with these words, which prints into two files (or into one)."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = FORKS.Process(target=_become, args=(words, folder, environment, output, errors), daemon=True)
    with contextlib.chdir(ROOT):  # where the process that forks finds what it imports
        process.start()
    return process


def left(process, seconds=SECONDS):
    """Return the exit status of a module's process when it ends; one that hangs is killed, and its test fails."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired(process.name, seconds)
    return process.exitcode


def _become(words, folder, environment, *printed):
    for number, file in enumerate(printed, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = [str(folder), str(ROOT)]
    sys.argv = ["-m", *words[1:]]
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out


def ended(process, seconds=SECONDS):
    """Return what a process has printed when it ends; one that hangs is killed, and its test fails."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    finally:
        process.wait()


def compose(experiment, *overrides):
    """Return the config of an experiment as its command has it."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(hydra_app.CONF), version_base=None):
        return hydra_app.read(compose("config", [f"experiment={experiment}", *overrides]))


def static(sizes, activation="relu", init="he", loss="cross_entropy", **changes):
    """Return what a program fixes for networks of these sizes, by default of plain SGD at a constant learning rate."""
    common = {"optimizer": "sgd", "schedule": "constant", "decay": 1.0, "batch_size": 64}
    return Static(sizes, activation, init, loss, **common | {"steps_per_epoch": 4, "steps": 4} | changes)


def assert_identical(folder, other):
    """Assert that the tables below two folders are equal bit for bit, and are those of TABLE_KEYS that the other has."""
    tables, expected = memo.load(folder), memo.load(other)
    assert {"trials", "curves", "confidence"} <= tables.keys() == expected.keys() <= TABLE_KEYS.keys()
    for name, frame in expected.items():
        one, two = (table.sort_values(TABLE_KEYS[name], ignore_index=True) for table in (tables[name], frame))
        pd.testing.assert_frame_equal(one, two, check_exact=True)


def diverge(tables, bad):
    """Turn stored tables into those of the same networks, some of which (trials) have diverged after their first step."""
    lost = {name: frame["trial"].isin(bad) for name, frame in tables.items() if name != "arms"}
    trials, curves = tables.trials, tables.curves
    trials.loc[lost["trials"], [name for name in trials if name.startswith("final_")]] = np.nan
    trials.loc[lost["trials"], "status"] = "diverged"
    tables["curves"] = curves[~lost["curves"] | (curves["step"] == 0)].reset_index(drop=True)
    for name in lost.keys() - {"trials", "curves"}:
        tables[name].loc[lost[name], tables[name].select_dtypes("float").columns] = np.nan
