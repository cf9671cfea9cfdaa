"""What lies outside a command: signals, settings of other libraries, locales, containers, values of NumPy and pandas."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax.errors import JaxRuntimeError
from omegaconf import OmegaConf

import memo
from memo.commands import hydra_app, starting
from memo.config import Execution, Trial, flatten
from memo.data import files
from memo.errors import Refusal
from memo.storage import provenance
from memo.training import machine
from tests import builders
from tests.builders import ROOT

TINY = (
    "dataset.n_train=128 dataset.n_test=200 epochs=2 evaluations=6 model.widths=[4] batch_size=32 probes=[confidence]"
)
SWEEP = ["--multirun", "hydra/launcher=population", *TINY.split(), "optimizer.learning_rate=0.1,1e30", "report=true"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the folder of a sweep in which one network diverges, with its page, by a command in plain surroundings."""
    folder = tmp_path_factory.mktemp("plain")
    builders.python("-m", "experiments.train", *SWEEP, "hydra.sweep.dir=sweep", folder=folder, check=True)
    return folder / "sweep"


@pytest.mark.parametrize(("given", "meant"), [("~/x", "HOME/x"), ("x", "HERE/x"), ("/x/../y", "/y")])
def test_the_cache_is_one_folder_to_a_command_and_to_python(tmp_path, monkeypatch, given, meant):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    meant = Path(meant.replace("HOME", str(tmp_path / "home")).replace("HERE", str(tmp_path)))
    monkeypatch.setenv("MEMO_CACHE", given)
    assert files.cache_folder().resolve() == meant
    hydra_app.settle_cache()
    assert (os.environ["MEMO_CACHE"], files.cache_folder()) == (str(meant), meant)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["experiments.headline", "plan=true", "scale=quick"],
        ["experiments.train", "--help"],
        ["experiments.train", "--multirun", "hydra/launcher=population", "plan=true", "seeds=1,2"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_command_whose_output_nobody_reads_ends_without_a_word(tmp_path, command):
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", *command]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writer)
    assert (done.returncode, done.stderr) == (starting.UNREAD, "")


def test_another_broken_pipe_is_an_error():
    with pytest.raises(BrokenPipeError), starting.quiet_when_unread():
        raise BrokenPipeError


@pytest.mark.slow
def test_nothing_around_a_command_changes_what_it_does(plain, tmp_path):
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: true\nfigure.autolayout: true\naxes.grid: false\nbackend: nothing"
    )
    strange = {
        "JAX_ENABLE_X64": "1",
        "JAX_DEBUG_NANS": "1",
        "MPLBACKEND": "nothing",
        "LC_ALL": "POSIX",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONOPTIMIZE": "2",
        "GIT_DIR": str(tmp_path / "none"),
    }
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "experiments.train", *SWEEP, "hydra.sweep.dir=sweep"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment | strange, capture_output=True, text=True, timeout=builders.SECONDS
    )
    assert (done.returncode, done.stderr) == (0, "")
    builders.assert_identical(tmp_path / "sweep", plain)
    assert sorted(memo.load(plain).trials["status"]) == ["completed", "diverged"]
    drawn = sorted(path.name for path in (plain / "figures").iterdir())
    assert drawn
    for name in drawn:
        assert (tmp_path / "sweep" / "figures" / name).read_bytes() == (plain / "figures" / name).read_bytes(), name


def catches(process, number):
    """Return whether a process has a handler of its own for a signal, and 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return False
    (mask,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(mask >> (number - 1) & 1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("later", [0, 1.0])
def test_a_command_ends_in_a_sentence_from_its_first_moment_on(tmp_path, number, later):
    command = [sys.executable, "-m", "experiments.train", *TINY.split(), f"hydra.run.dir={tmp_path}/run"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # SIGHUP has no handler of Python's: who has one has imported `experiments`.
    while not catches(process, signal.SIGHUP):
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(later)  # in the imports
    process.send_signal(number)
    assert builders.ended(process).splitlines()[-1:] == [starting.INTERRUPTED]
    assert process.returncode == 1


def test_a_variable_that_jax_cannot_read_is_one_sentence():
    command, around = [sys.executable, "-m", "experiments.train"], os.environ | {"JAX_ENABLE_X64": "nonsense"}
    run = subprocess.run(command, cwd=ROOT, env=around, capture_output=True, text=True, check=False)
    assert run.returncode == 1 and run.stdout == ""
    said = "Refused: invalid truth value 'nonsense' for environment 'JAX_ENABLE_X64'; allowed are true and false.\n"
    assert run.stderr == said


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ["A file cannot be used", "No space left"]),
        (OSError(errno.ENOLCK, "No locks available", "x/.lock"), ["x/.lock", "No locks available"]),
        (MemoryError(), ["too little memory"]),
        (JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), ["too little memory", "9 bytes"]),
        (Refusal("Because."), ["Because."]),
    ],
)
def test_what_lies_outside_is_one_sentence_and_a_fault_is_none(error, parts):
    said = hydra_app.explain(_raised(error))
    assert [part for part in parts if part not in said] == [] and len(said.splitlines()) == 1
    log = _raised(
        ValueError("Unable to configure handler 'file'"), OSError(errno.EROFS, "Read-only file system", "x.log")
    )
    assert hydra_app.explain(log) == "x.log cannot be used: Read-only file system."
    for fault in (KeyError("x"), ValueError("shapes"), JaxRuntimeError("INTERNAL: x"), AssertionError()):
        assert hydra_app.explain(_raised(fault)) is None
    assert hydra_app.explain(_raised(RuntimeError("a layer above"), Refusal("Because."))) == "Because."


def _raised(error, cause=None):
    try:
        raise error from cause
    except Exception as found:
        return found


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ({"job": {"chdir": True}}, "hydra.job.chdir is true"),
        ({"job": {"env_set": {"JAX_ENABLE_X64": "1"}}}, "hydra.job.env_set has JAX_ENABLE_X64"),
        ({"run": {"dir": ""}}, "hydra.run.dir is empty"),
        ({"sweep": {"dir": " "}}, "hydra.sweep.dir is empty"),
    ],
)
def test_settings_of_hydra_that_cannot_be_honoured_are_refused(setting, part):
    plain = {"job": {"chdir": None, "env_set": {"GREETING": "hello"}}, "run": {"dir": "a"}, "sweep": {"dir": "b"}}
    hydra_app.require_hydra(OmegaConf.create(plain))
    with pytest.raises(Refusal, match=part):
        hydra_app.require_hydra(OmegaConf.merge(plain, setting))


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize\nbackend 'x'")])
def test_a_platform_that_is_not_there_is_refused(monkeypatch, error):
    def devices():
        raise error

    monkeypatch.setattr(jax, "local_devices", devices)
    with pytest.raises(Refusal, match=r"^JAX_PLATFORMS is .*; JAX finds no device there \(.*\)\.$"):
        machine.worker_devices()


def test_products_are_in_float32_on_every_device():
    # A GPU rounds the factors of a product to 10 bits unless the program says otherwise.
    with machine.own_modes():
        program = jax.jit(lambda values: values @ values).lower(jnp.ones((2, 2))).as_text()
    assert program.count("precision = [HIGHEST, HIGHEST]") == program.count("dot_general") == 1


@pytest.mark.slow
def test_trained_networks_do_not_depend_on_modes_of_jax(trials, small_mnist):
    group = memo.plan(trials({"seeds": 1, "epochs": 1, "optimizer.learning_rate": 1e30}))[0]
    expected = memo.train(group, small_mnist)
    jax.config.update("jax_enable_x64", True)  # of this process, as in a person's notebook; also of its threads
    jax.config.update("jax_debug_nans", True)
    jax.config.update("jax_threefry_partitionable", False)
    jax.config.update("jax_default_prng_impl", "rbg")
    jax.config.update("jax_disable_jit", True)
    jax.config.update("jax_transfer_guard", "disallow")
    try:
        with machine.own_modes():
            assert jnp.ones(1).dtype == jnp.float32 and jnp.isnan(jnp.zeros(1) / 0.0).all()
        trained = memo.train(group, small_mnist)
        measured = memo.measure(trained, ["confidence"])
        assert jax.config.jax_enable_x64 and jax.config.jax_debug_nans
    finally:
        jax.config.update("jax_enable_x64", False)
        jax.config.update("jax_debug_nans", False)
        jax.config.update("jax_threefry_partitionable", True)
        jax.config.update("jax_default_prng_impl", "threefry2x32")
        jax.config.update("jax_disable_jit", False)
        jax.config.update("jax_transfer_guard", "allow")
    assert trained.status == expected.status == ["diverged"]
    assert set(measured) == set(memo.measure(trained, "confidence")) == {"confidence"}
    with pytest.raises(Refusal, match="The data set is fashion_mnist; allowed is what the recipes name: mnist"):
        memo.train(group, replace(small_mnist, name="fashion_mnist"))
    np.testing.assert_array_equal(trained.curves.train_loss, expected.curves.train_loss)


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Return the folder of the control groups of a process that is in the group /a/b of version 2, or /a of version 1."""
    write(tmp_path / "self", cgroup="0::/a/b\n5:memory:/a\n6:cpu,cpuacct:/a\n")
    monkeypatch.setattr(machine, "PROCESS", tmp_path / "self")
    monkeypatch.setattr(machine, "CONTROL_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    return tmp_path / "groups"


@pytest.mark.parametrize(
    ("place", "files", "cores"),
    [
        ("a/b", {"cpu__max": "250000 100000"}, 2),
        ("a", {"cpu__max": "100000 100000"}, 1),  # of a group above
        (".", {"cpu__max": "50000 100000"}, 1),  # as a container sees it, whose own group is the root
        ("a/b", {"cpu__max": "max 100000"}, 8),
        ("cpu,cpuacct/a", {"cpu__cfs_quota_us": "300000", "cpu__cfs_period_us": "100000"}, 3),
        ("cpu,cpuacct/a", {"cpu__cfs_quota_us": "-1", "cpu__cfs_period_us": "100000"}, 8),
        ("elsewhere", {"cpu__max": "100000 100000"}, 8),
    ],
)
def test_as_many_cores_as_a_container_gives(container, place, files, cores):
    write(container / place, **files)
    assert machine._cores() == cores


@pytest.mark.parametrize(
    ("place", "file"),
    [("a/b", "memory__max"), ("a", "memory__max"), ("memory/a", "memory__limit_in_bytes"), (".", "memory__max")],
)
def test_as_much_memory_as_a_container_gives(container, place, file):
    whole = machine._host_memory()
    assert whole == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    write(container / place, **{file: "1000000000\n"})
    assert machine._host_memory() == 1_000_000_000
    assert machine.this_machine(Execution(cores=1)).memory == 500_000_000


def test_provenance_is_of_this_code_whatever_git_is_told(monkeypatch, tmp_path):
    expected = provenance.git_state()
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert provenance.git_state() == expected


def test_recipes_of_values_of_numpy_and_pandas():
    plain = {
        "dataset.n_train": 500,
        "dataset.subset_seed": None,
        "model.widths": [16, 8],
        "labels.kind": "shuffled",
        "labels.stratified": True,
        "optimizer.learning_rate": 0.5,
        "epochs": 3,
    }
    values = {
        "dataset.n_train": np.int64(500),
        "dataset.subset_seed": pd.NA,
        "model.widths": np.array([16, 8]),
        "labels.kind": np.str_("shuffled"),
        "labels.stratified": np.bool_(True),
        "optimizer.learning_rate": np.float32(0.5),
        "epochs": np.array(3),
    }
    recipe = memo.make_recipe(plain)
    assert memo.make_recipe(values | {"model.widths": [np.int64(16), 8]}) == recipe
    assert memo.make_recipe(values) == memo.make_recipe(pd.Series(values, dtype=object)) == recipe
    assert Trial(recipe, np.int64(4)).id == Trial(recipe, 4).id
    row = pd.DataFrame([flatten(recipe) | {"trial": "x", "seed": 1, "status": "completed"}]).iloc[0]
    assert memo.make_recipe(row) == recipe
    for seed in (-1, 1.5, 2**31, "1", None):
        with pytest.raises(Refusal, match="seed is"):
            Trial(recipe, seed)
