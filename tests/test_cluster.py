"""Tasks of Slurm, as far as they need no Slurm; test_slurm has the rest."""

import math
import os
import shutil
import sys

import pandas as pd
import pytest
from omegaconf import OmegaConf

import memo
from memo.cluster import head, planning
from memo.cluster.cutting import Pack
from memo.cluster.planning import Assignment
from memo.cluster.settings import Settings, as_bytes, as_minutes, in_words
from memo.commands import hydra_app
from memo.config import Config, Execution
from memo.data import datasets
from memo.errors import Refusal
from memo.storage import checkpoints, sweep, throughput
from memo.storage.sweep import Request
from memo.training import population
from tests import builders
from tests.test_sweep import TINY


@pytest.mark.parametrize(
    ("size", "expected"),
    [("1K", 1024), ("500M", 500 * 2**20), ("32G", 2**35), ("32GB", 2**35), ("2t", 2**41), ("4000", 4000 * 2**20)]
    + [(word, 0) for word in ("", "0", "G", "1.5G", "-1G", "lots")],
)
def test_sizes(size, expected):
    assert as_bytes(size) == expected


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("60", 60), ("90:30", 91), ("1:30:00", 90), ("1-0", 1440), ("2-12:30", 3630), ("0:0:1", 1), ("1-00:00:30", 1441)]
    + [(word, 0) for word in ("", "0", "1h", "-5", "1:2:3:4", "²")],
)
def test_durations(duration, expected):
    assert as_minutes(duration) == expected
    assert not expected or as_minutes(in_words(expected)) == expected


# What follows from the type is refused by OmegaConf before.
NUMBERS = ("min_minutes", "gpu_memory_gb", "gflops", "poll_seconds")
COUNTS = (
    "gpus_per_node",
    "cpus_per_task",
    "array_parallelism",
    "max_tasks",
    "max_num_timeout",
    "attempts",
    "signal_delay_s",
)


@pytest.mark.parametrize(
    ("key", "value"),
    [("mem", "much"), ("mem", "100000000T"), ("time", "never"), ("time", "9" * 20)]
    + [(key, value) for key in NUMBERS for value in (0.0, -1.0, math.inf, math.nan)]
    + [(key, value) for key in COUNTS for value in (-1, 10**9)]
    + [("signal_delay_s", 60 * 60)],
)
def test_a_key_out_of_range_is_refused_by_name(key, value):
    with pytest.raises(Refusal, match=f"^hydra.launcher.{key} is {value}; allowed is"):
        planning.admit(Settings(**{key: value}))


def test_what_a_yaml_file_says_is_taken_as_it_is_written(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(
        "time: 2:00:00\nadditional_parameters: {time-min: 1:30, nice: 100}\nmin_minutes: 1.5\ncpus_per_task: 4"
    )
    with hydra_app.as_written():
        read = OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.load(file))
    assert (read.time, read.min_minutes, read.cpus_per_task) == ("2:00:00", 1.5, 4)
    assert read.additional_parameters == {"time-min": "1:30", "nice": 100}
    assert OmegaConf.load(file).time == 7200  # as elsewhere
    file.write_text("account: 0123\npartition: on\nqos: No\ncpus_per_task: 010\nmin_minutes: 0.5")
    with hydra_app.as_written():
        read = OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.load(file))
        switched = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.create("plan: yes\nreport: off\nseeds: 0"))
    assert (read.account, read.partition, read.qos) == ("0123", "on", "No")
    assert (read.cpus_per_task, read.min_minutes) == (10, 0.5)
    assert (switched.plan, switched.report, switched.seeds) == (True, False, 0)


@pytest.mark.parametrize("account", [None, "mine"])
def test_tasks_do_not_inherit_what_another_job_or_a_default_says(monkeypatch, account):
    for name in ("SLURM_MEM_PER_CPU", "SLURM_JOB_ID", "SBATCH_TIMELIMIT", "SRUN_CPUS_PER_TASK", "SQUEUE_STATES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "there")
    monkeypatch.setenv("SBATCH_ACCOUNT", "a_sites")
    own = head.environment(Settings(account=account))
    assert {name for name in os.environ if name not in own} == {
        "SLURM_MEM_PER_CPU",
        "SLURM_JOB_ID",
        "SBATCH_TIMELIMIT",
        "SRUN_CPUS_PER_TASK",
        "SQUEUE_STATES",
    } | ({"SBATCH_ACCOUNT"} if account else set())
    assert own["SLURM_CONF"] == "there"


def test_why_tasks_wait_is_said_once_unless_they_will_start(caplog):
    said, states = (
        set(),
        [("7_0", "PartitionConfig"), ("7_1", "PartitionConfig"), ("8", "Priority"), ("9", "JobHeldUser")],
    )
    for _ in range(2):
        head._say_why([*((job, head._State("PENDING", why)) for job, why in states), ("10", None)], said)
    assert caplog.messages == [
        "2 tasks wait, and may never start: Slurm says PartitionConfig. scancel 7 ends them.",
        "1 tasks wait, and may never start: Slurm says JobHeldUser. scancel 9 ends them.",
    ]


def test_a_task_trains_on_what_it_asks_for():
    how = planning.execution_of(Settings(cpus_per_task=3, mem="4G"), Execution())
    assert (how.cores, how.memory_gb) == (3, pytest.approx(2**31 / 1e9))
    own = Execution(cores=1, memory_gb=1)
    assert planning.execution_of(Settings(cpus_per_task=3), own) == own
    assert planning.execution_of(Settings(gpus_per_node=2), Execution()) == Execution()
    assert planning.machine_of(Settings(gpus_per_node=2, gpu_memory_gb=10)) == ("gpu", 2, 16_000_000_000)


@pytest.fixture(scope="module")
def wanted(trials, mnist, tmp_path_factory):
    """Return `wanted(folder) -> a request` for two recipes with two seeds each."""

    def make(folder):
        recipes = {"true": {}, "shuffled": {"labels.kind": "shuffled"}}
        runs = {folder / name: trials(TINY | {"seeds": 2} | own) for name, own in recipes.items()}
        return Request(runs, ["confidence"], None, Execution(pack_size=1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", lambda name, folder=None: mnist)
        yield make


def tables(folder):
    keys = {"trials": ["trial"], "curves": ["trial", "step"], "confidence": ["trial", "inputs"]}
    return {name: memo.load(folder)[name].sort_values(key, ignore_index=True) for name, key in keys.items()}


def planned(request, settings, folder):
    """Return the assignments of the tasks into which what a request lacks is cut."""
    lacking = request.lacking()
    packs = planning.packs_of(request, lacking, settings)
    (cut,) = planning.cut([packs], settings, settings.array_parallelism)
    return [planning.assignment_of(task, request, lacking, settings, folder) for task in cut]


@pytest.mark.slow
def test_what_tasks_train_is_what_one_command_trains(wanted, tmp_path):
    whole, cut = wanted(tmp_path / "whole"), wanted(tmp_path / "cut")
    sweep.complete(*whole)
    settings = Settings(min_minutes=1e-9, array_parallelism=3)
    assignments = planned(cut, settings, tmp_path)
    assert len(assignments) == 3
    for assignment in assignments:
        assert assignment.root == checkpoints.root_of(list(cut.runs))
        assert (assignment.lacking(), assignment.done()) == (len(assignment.trials), 0)
        assignment()
        assert (assignment.lacking(), assignment.done()) == (0, assignment.cost)
    for name, frame in tables(tmp_path / "cut").items():
        pd.testing.assert_frame_equal(frame, tables(tmp_path / "whole")[name], check_exact=True)
    assert not planned(cut, settings, tmp_path)


def test_what_was_left_unfinished_stays_in_one_task(wanted, tmp_path):
    request = wanted(tmp_path)
    (group,) = population.plan(request.trials)
    runs = {trial.id: run for run, trials in request.runs.items() for trial in trials}
    layout = population.lay_out(group, planning.machine_of(Settings()), Execution())
    part = population.Population(group.signature, group.trials[1:3])
    checkpoints.Unfinished(checkpoints.root_of(list(request.runs)), part, layout, runs, request.probes, 1).begin()
    assignments = planned(request, Settings(min_minutes=1e-9, array_parallelism=4), tmp_path)
    assert len(assignments) == 3
    assert {trial.id for trial in part.trials} in [
        {trial.id for trial in assignment.trials} for assignment in assignments
    ]


@pytest.mark.parametrize(("most", "expected"), [(1000, [24, 8, 0]), (10, [7, 3, 0]), (2, [1, 1, 0])])
def test_all_requests_of_a_sweep_are_one_array_of_at_most_max_tasks(most, expected):
    long, short = ([Pack(None, (number,), seconds) for number in range(32)] for seconds in (30.0, 10.0))
    settings = Settings(min_minutes=1e-9, max_tasks=most)
    cut = planning.cut([long, short, []], settings, 32)
    assert [len(tasks) for tasks in cut] == expected
    for packs, tasks in zip((long, short), cut):
        assert sum(task.seconds for task in tasks) == sum(pack.seconds for pack in packs)


def test_fewer_tasks_than_lists_of_probes_are_refused(wanted, tmp_path):
    one = wanted(tmp_path)
    other = one._replace(runs={tmp_path / "other": next(iter(one.runs.values()))}, probes=[])
    with pytest.raises(Refusal, match=r"hydra\.launcher\.max_tasks is 1; allowed is at least 2 here"):
        planning.show_plan([one, other], Settings(max_tasks=1))


def test_memory_that_cannot_do_is_refused(wanted, tmp_path):
    with pytest.raises(Refusal, match=r"hydra.launcher.mem is 500M; a task that trains 784-4-10 needs 1.\d GB"):
        planning.show_plan([wanted(tmp_path)], Settings(mem="500M"))


def test_the_plan_says_where_hours_come_from(wanted, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEMO_CACHE", str(tmp_path))
    monkeypatch.setattr(throughput, "BENCHMARK", tmp_path / "none")
    planning.show_plan([wanted(tmp_path)], Settings())
    said = capsys.readouterr().out
    assert "4 networks: 0 stored, 4 to train in 1 task," in said
    assert "Hours are unknown: no training on a core has been measured here." in said
    planning.show_plan([wanted(tmp_path)], Settings(gflops=1e-5, time="10-0", gpus_per_node=1))
    said = capsys.readouterr().out
    assert "by 1e-05 GFLOP/s per GPU, from hydra.launcher.gflops" in said
    rows = [line.split() for line in said.splitlines() if line.split()[:1] in (["1"], ["8"], ["64"])]
    assert [row[1] for row in rows] == ["1", "4", "4"]  # packs of one network
    assert float(rows[1][-1]) == pytest.approx(float(rows[0][-1]) / 4, abs=0.02)


def test_without_submitit_or_slurm_it_is_one_sentence(wanted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(Refusal, match=r"pip install -e '.\[cluster\]'"):
        head.complete([wanted(tmp_path)], Settings(), tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", type(sys)("submitit"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Refusal, match="sbatch and srun are not found"):
        head.complete([wanted(tmp_path)], Settings(), tmp_path)
    assert not list(tmp_path.glob("*/*.parquet"))


@pytest.mark.slow
def test_stored_sweeps_need_no_cluster(wanted, tmp_path):
    request = wanted(tmp_path)
    sweep.complete(*request)
    assert head.complete([request], Settings(), tmp_path) == 0


@pytest.mark.slow
def test_the_command_plans(tmp_path):
    arguments = ["hydra/launcher=population_slurm", "plan=true", "labels.kind=true,shuffled", "seeds=2"]
    arguments += [
        "hydra.launcher.gpus_per_node=1",
        "hydra.launcher.time=2:00:00",
        "hydra.launcher.setup=['module load x']",
    ]
    command = ["-m", "experiments.train", "--multirun", f"hydra.sweep.dir={tmp_path}", *arguments]
    done = builders.python(*command, MEMO_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "4 networks: 0 stored, 4 to train in 1 task," in done.stdout
    assert "A task has 1 GPU, 2 cores, 8G of memory, 2:00:00 of time." in done.stdout
    refused = builders.python(*command, "hydra.launcher.mem=much")
    assert refused.returncode == 1
    assert "hydra.launcher.mem is much; allowed is a size such as 500M or 32G, at most 1024T." in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_assignment_is_requeued_as_it_is(wanted, tmp_path):
    pytest.importorskip("submitit")
    assignment = Assignment((wanted(tmp_path),), tmp_path, tmp_path / "x.json")
    assert assignment.checkpoint().function is assignment
