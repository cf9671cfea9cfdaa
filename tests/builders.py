"""What several test modules build: programs' statics, composed configs, commands with a time limit, tables to compare."""

import os
import subprocess
import sys
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


def python(*words, folder=ROOT, check=False, **environment):
    """Run Python in a folder, where it finds the suite; return the ended process with what it has printed."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


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
