"""Real sweeps on a real Slurm of one node: cancelled, killed, interrupted, requeued, the tables are a local run's.

Skipped where Slurm is not installed, unless MEMO_SLURM=required.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import memo
from memo.storage import run_folders
from memo.storage.checkpoints import FOLDER
from tests import builders, slurm
from tests.builders import assert_identical, ended
from tests.test_extending import FILES as PACKAGE
from tests.test_extending import ROOT

SWEEP = [
    "labels.kind=true,shuffled",
    "model.widths=[8],[6,6]",
    "seeds=2",
    "dataset.n_train=512",
    "dataset.n_test=200",
    "batch_size=32",
    "epochs=60",
    "evaluations=12",
    "stop_at_train_accuracy=null",
    "probes=[confidence,confidence@4]",
    "execution.checkpoint_seconds=0.2",
    "execution.pack_size=1",  # what a network trains beside is then the same in a task: equal to the last bit
]
# Tasks that are still in training when a command has been started again beside them.
LONG = ["epochs=8000", "evaluations=60"]
TASKS = [
    "hydra/launcher=population_slurm",
    "hydra.launcher.min_minutes=1e-6",
    "hydra.launcher.array_parallelism=2",
    "hydra.launcher.mem=4G",
    "hydra.launcher.poll_seconds=0.5",
    "hydra.launcher.gflops=10",  # not what a busy machine has just reached, of which the number of tasks would depend
]

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster():
    """Return the environment in which commands reach a cluster."""
    if absent := slurm.absent():
        message = f"Slurm tests need {', '.join(absent)} (Debian: slurm-wlm, munge; Python: the extra [cluster])"
        assert os.environ.get("MEMO_SLURM") != "required", message
        pytest.skip(message)
    with slurm.cluster() as environment:
        yield environment


def command(folder, *overrides):
    return [sys.executable, "-m", "experiments.train", "--multirun", f"hydra.sweep.dir={folder}", *SWEEP, *overrides]


def start(environment, folder, *overrides):
    arguments = command(folder, *TASKS, *overrides)
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, bufsize=1
    )


def ask(environment, *words):
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=True, timeout=60).stdout


def until(true, process, seconds=600):
    """Wait for a moment in the life of a command."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert process.poll() is None and time.monotonic() < end, ended(process)
        time.sleep(0.05)
    return found


def jobs(folder):
    """Return the jobs of the tasks that have not ended."""
    return sorted(path.name.removesuffix("_submitted.pkl") for path in folder.glob(".slurm/*_submitted.pkl"))


def workers(folder, job):
    """Return the processes of a task."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            surroundings = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        array, index = job.encode().split(b"_")
        mine = {b"SLURM_ARRAY_JOB_ID=" + array, b"SLURM_ARRAY_TASK_ID=" + index} <= set(surroundings)
        if (
            mine
            and b"submitit.core._submit" in words
            and b"srun" not in words[0]
            and str(folder / ".slurm").encode() in words
        ):
            found.append(int(path.name))
    return found


def in_training(folder, count):
    """Return a function that tells whether so many populations have checkpoints."""
    return lambda: len({path.parent for path in folder.glob(f"{FOLDER}/*/slabs/*")}) >= count


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """Return `local(*overrides) -> the folder of the sweep that one machine runs`, once for each."""
    folders = {}

    def run(*overrides):
        if overrides not in folders:
            folders[overrides] = tmp_path_factory.mktemp("local")
            here = command(folders[overrides], "hydra/launcher=population", *overrides)
            builders.python(*here[1:], check=True)
        return folders[overrides]

    return run


def test_a_sweep_gives_the_tables_and_folders_of_a_local_one(cluster, local, tmp_path):
    process = start(cluster, tmp_path)
    said = ended(process)
    assert process.returncode == 0, said
    assert "Submitted 2 tasks for 8 networks" in said
    assert_identical(tmp_path, local())
    assert len(list(tmp_path.glob("*/.hydra"))) == len(list(local().glob("*/.hydra"))) == 4
    assert not (tmp_path / FOLDER).exists()
    assert {path.suffix for path in tmp_path.glob(".slurm/[!.]*")} == {".out", ".err", ".sh"}
    again = start(cluster, tmp_path)
    said = ended(again)
    assert again.returncode == 0, said
    assert "nothing to train" in said and "Submitted" not in said


def test_what_a_person_registers_reaches_the_tasks(cluster, tmp_path):
    """A treatment and a probe of the page on extending, in a package beside the command and nowhere else."""
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    surroundings = cluster | {"PYTHONPATH": str(ROOT)}
    for folder, *how in (("here", "hydra/launcher=population"), ("tasks", *TASKS)):
        words = ["--multirun", f"hydra.sweep.dir={folder}", *SWEEP, *how]
        own = ["labels.kind=true,shifted", "model.widths=[8]", "seeds=1", "probes=[margin]"]
        done = subprocess.run(
            [sys.executable, "-m", "mine.train", *words, *own],
            cwd=tmp_path,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    here, tasks = (memo.load(tmp_path / folder) for folder in ("here", "tasks"))
    assert set(tasks.trials["labels.kind"]) == {"true", "shifted"} and len(tasks.margin)
    for name in ("curves", "margin"):
        assert tasks[name].equals(here[name])


def test_cancelled_and_killed_tasks_go_on_to_the_same_bits(cluster, local, tmp_path):
    process = start(cluster, tmp_path, *LONG)
    # At the first checkpoint of either: the other may start later, and none is to finish before.
    until(in_training(tmp_path, 1), process)
    first, second = jobs(tmp_path)
    ask(cluster, "scancel", first)
    for worker in until(lambda: workers(tmp_path, second), process):
        os.kill(worker, signal.SIGKILL)
    said = ended(process)
    assert process.returncode == 0, said
    for job in (first, second):
        assert f"Task {job} ended with" in said
    assert_identical(tmp_path, local(*LONG))


def test_interrupted_and_started_again_it_watches_also_what_is_requeued(cluster, local, tmp_path):
    process = start(cluster, tmp_path, *LONG)
    until(in_training(tmp_path, 2), process)
    first, second = jobs(tmp_path)
    process.send_signal(signal.SIGINT)
    said = ended(process)
    assert process.returncode == 1
    assert f"scancel {first.partition('_')[0]} ends them" in said and "Traceback" not in said
    ask(cluster, "scancel", "--signal=USR2", first)  # what Slurm sends before a time limit, and on preemption
    again = start(cluster, tmp_path, *LONG)
    # Slurm lets a requeued job wait for two minutes.
    until(lambda: "BeginTime" in ask(cluster, "squeue", "--noheader", "--array", "--format=%i %r"), again)
    ask(cluster, "scontrol", "update", f"JobId={first}", "StartTime=now")
    said = ended(again)
    assert again.returncode == 0, said
    assert "Watching 2 tasks that an earlier command submitted." in said
    assert "Submitted" not in said and "is submitted again" not in said
    logs = {job: "".join(path.read_text() for path in tmp_path.glob(f".slurm/{job}_*log*")) for job in (first, second)}
    assert {job: log.count("Starting with JobEnvironment") for job, log in logs.items()} == {first: 2, second: 1}
    assert "Requeued job" in logs[first] and "Resuming" in logs[first]
    assert_identical(tmp_path, local(*LONG))
    # A session stands in each of its run folders.
    sessions = {(one["finished"], one["train_seconds"]): one["networks"] for one in run_folders.provenance(tmp_path)}
    assert sum(sessions.values()) == 8


def test_started_inside_of_another_job_it_is_the_same(cluster, local, tmp_path):
    # As an interactive job leaves them: limits of its own, and defaults of a person.
    outer = {"SLURM_MEM_PER_CPU": "1024", "SLURM_MEM_PER_NODE": "100", "SLURM_CPUS_PER_TASK": "1", "SLURM_NTASKS": "1"}
    outer |= {"SBATCH_TIMELIMIT": "x", "SBATCH_ARRAY_INX": "0-9", "SLURM_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "3"}
    process = start(cluster | outer | {"SQUEUE_STATES": "FAILED", "SLURM_EXPORT_ENV": "NONE"}, tmp_path)
    said = ended(process)
    assert process.returncode == 0, said
    assert "Submitted 2 tasks for 8 networks" in said
    assert_identical(tmp_path, local())


def test_why_a_task_never_starts_is_said_within_a_minute(cluster, tmp_path):
    process = start(cluster, tmp_path, "hydra.launcher.cpus_per_task=500")
    next(line for line in process.stdout if "Submitted" in line)
    submitted = time.monotonic()
    said = next(line for line in process.stdout if "may never start" in line)
    assert time.monotonic() < submitted + 60
    process.send_signal(signal.SIGINT)
    ended(process)
    ask(cluster, "scancel", re.search(r"Slurm says PartitionConfig\. scancel (\d+) ends them", said)[1])
    assert process.returncode == 1


def test_tasks_of_a_drained_node_wait_with_the_reason_and_go_on_when_it_is_back(cluster, local, tmp_path):
    node = ask(cluster, "sinfo", "-h", "-o", "%N").strip()
    ask(cluster, "scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=maintenance")
    process = start(cluster, tmp_path)
    try:
        next(line for line in process.stdout if "Submitted" in line)
        submitted = time.monotonic()
        said = next(line for line in process.stdout if "may never start" in line)
        assert time.monotonic() < submitted + 60
    finally:
        ask(cluster, "scontrol", "update", f"NodeName={node}", "State=RESUME")
    rest = ended(process)
    assert process.returncode == 0, rest
    # Which of its two schedulers looked at the tasks first decides how Slurm says it.
    reasons = [f"ReqNodeNotAvail, UnavailableNodes:{node}", "Nodes required for job are DOWN, DRAINED or reserved"]
    assert any(f"Slurm says {reason}" in said for reason in reasons), said
    assert_identical(tmp_path, local())


def test_what_fails_in_a_task_is_said_in_a_sentence(cluster, tmp_path):
    process = start(cluster, tmp_path, "hydra.launcher.partition=nowhere")
    said = ended(process)
    assert process.returncode == 1
    assert "Refused: Slurm takes no tasks: " in said and "invalid partition" in said and "Traceback" not in said
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_task_that_raises_is_not_submitted_again(cluster, tmp_path):
    process = start(cluster, tmp_path, "hydra.launcher.setup=['export JAX_PLATFORMS=none']")
    said = ended(process)
    assert process.returncode == 1
    assert "Refused: 2 of 2 tasks failed and 8 networks are missing; task" in said
    assert "is submitted again" not in said and "Traceback" not in said
