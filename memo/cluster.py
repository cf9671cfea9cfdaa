"""Populations as tasks of a Slurm cluster, through submitit: submitted, watched, and submitted again where they die.

    <sweep>/.slurm/<task>.json           under which job a task runs, and which trials it has
                   <task>.progress.json  how far it is, by its own word
                   <job>_*               submitit's script, pickles and logs

What is finished is what the run folders hold, and whether a task lives is what `squeue` says: no accounting is needed, and
a command that is started again watches the tasks that still live and submits the rest.
"""

import getpass
import hashlib
import json
import logging
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from memo import datasets, mlp, population, progress, store, sweep, tasks, throughput, unfinished
from memo.config import Execution, Trial
from memo.errors import Refusal
from memo.population import Machine, Population

logger = logging.getLogger(__name__)

FOLDER = ".slurm"
# Beside slabs and images: Python, JAX and the tables of the networks in training.
OWN_BYTES = 1_500_000_000
GPU_SHARE = 0.8  # of a GPU's memory, as memo.execution takes it
DEVICES = (1, 8, 64)  # tasks at once for which the plan gives hours


def _key(default: Any, allowed: str, check: Callable[[Any], bool]) -> Any:
    return field(default=default, metadata={"allowed": allowed, "check": check})


def _whole(default: int, low: int) -> Any:
    return _key(default, f"a whole number from {low}", lambda value: value >= low)


def _positive(default: float | None, words: str = "a number above 0") -> Any:
    return _key(default, words, lambda value: value is None and "null" in words or value is not None and value > 0)


def _any(default: str | None) -> Any:
    return _key(default, "a name, or null", lambda value: True)


@dataclass
class Settings:
    """What a task is given, by the names that Slurm has for it, and how many there are; checked when made."""

    partition: str | None = _any(None)
    account: str | None = _any(None)
    qos: str | None = _any(None)
    constraint: str | None = _any(None)
    gpus_per_node: int = _whole(0, 0)
    cpus_per_task: int = _whole(2, 1)
    mem: str = _key("8G", "a size such as 500M or 32G", lambda value: as_bytes(value) is not None)
    time: str = _key(
        "60", "minutes, or Slurm's days-hours:minutes:seconds", lambda value: as_minutes(value) is not None
    )
    array_parallelism: int = _whole(64, 1)
    max_tasks: int = _whole(1000, 1)
    min_minutes: float = _positive(5.0)
    max_num_timeout: int = _whole(20, 0)
    attempts: int = _whole(3, 1)
    signal_delay_s: int = _whole(90, 1)
    setup: list[str] = field(default_factory=list)
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    gpu_memory_gb: float = _positive(40.0)
    gflops: float | None = _positive(None, "a number above 0, or null for what was measured")
    poll_seconds: float = _positive(5.0)

    def __post_init__(self):
        """Raise Refusal for the first key that is out of range."""
        for key in fields(self):
            if "check" in key.metadata and not key.metadata["check"](getattr(self, key.name)):
                raise Refusal(
                    f"hydra.launcher.{key.name} is {getattr(self, key.name)}; allowed is {key.metadata['allowed']}."
                )

    @property
    def machine(self) -> Machine:
        """Return what a task trains on, as far as it is known before one has started."""
        if self.gpus_per_node:
            memory = int(self.gpus_per_node * GPU_SHARE * 1e9 * self.gpu_memory_gb)
            return Machine("gpu", self.gpus_per_node, memory)
        return Machine("cpu", self.cpus_per_task, as_bytes(self.mem) // 2)

    def execution(self, how: Execution) -> Execution:
        """Return how a task trains: on the cores and in the memory that it asks Slurm for, where these are its limit."""
        if self.gpus_per_node:
            return how
        memory = as_bytes(self.mem) / 2e9 if how.memory_gb is None else how.memory_gb
        return replace(how, cores=how.cores or self.cpus_per_task, memory_gb=memory)


def as_bytes(size: str) -> int | None:
    """Return the bytes of a size in Slurm's notation (megabytes without a unit), or None where it is none."""
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", str(size).upper())
    if match is None or int(match[1]) == 0:
        return None
    return int(match[1]) * 1024 ** ("KMGT".index(match[2] or "M") + 1)


def as_minutes(duration: str) -> int | None:
    """Return the minutes of a time limit in Slurm's notation, rounded up, or None where it is none."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", str(duration))
    if match is None:
        return None
    days, *numbers = (None if group is None else int(group) for group in match.groups())
    first, second, third = numbers
    if days is not None:  # days-hours[:minutes[:seconds]]
        seconds = 86400 * days + 3600 * first + 60 * (second or 0) + (third or 0)
    elif third is not None:  # hours:minutes:seconds
        seconds = 3600 * first + 60 * second + third
    else:  # minutes[:seconds]
        seconds = 60 * first + (second or 0)
    return -(-seconds // 60) or None


@dataclass(frozen=True)
class Work:
    """What one task does: completes some trials of some run folders, part by part; picklable, and resumes where it was."""

    parts: tuple[sweep.Batch, ...]
    root: Path  # of what is unfinished
    report: Path  # where it says how far it is

    @property
    def trials(self) -> list[str]:
        """Return the ids of its trials."""
        return [trial.id for part in self.parts for trials in part.requests.values() for trial in trials]

    @property
    def cost(self) -> float:
        """Return its arithmetic, as the bar counts it."""
        return sum(progress.total_cost(population.plan(part.trials)) for part in self.parts)

    def lacking(self) -> int:
        """Return how many of its trials their run folders lack."""
        return sum(len(sweep.missing(part.requests, part.probes)) for part in self.parts)

    def __call__(self) -> None:
        """Train what is missing; the same command goes on from checkpoints wherever it is started again."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        before, stored = 0.0, 0
        for part in self.parts:
            last = [progress.Report(0, 0, 0, 0, "")]

            def tell(report, before=before, stored=stored, last=last):
                last[0] = report
                self._tell(before + report.done, stored + report.stored, report.now)

            sweep.complete(part.requests, part.probes, part.folder, part.how, self.root, tell)
            before += last[0].total
            stored += len(part.trials)
        self._tell(before, stored, "")

    def _tell(self, done, stored, now):
        temporary = self.report.with_suffix(".new")
        with suppress(OSError):  # a word that is lost is no harm
            temporary.write_text(json.dumps({"done": done, "stored": stored, "now": now}))
            temporary.replace(self.report)

    def checkpoint(self):
        """Return what submitit is to requeue before a time-out or a preemption: the same, for all else is on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class _Planned(NamedTuple):
    work: list[Work]
    tasks: list[tasks.Task]
    wanted: int
    stored: int
    watched: int  # trials of tasks that live already


def _throughputs(populations: Sequence[Population], settings: Settings) -> dict[Any, throughput.Throughput]:
    found = {}
    for group in populations:
        if settings.gflops is not None:
            found[group.signature] = throughput.Throughput(1e9 * settings.gflops, "", "as set", 0)
        else:
            measured = throughput.expected(group.signature, settings.machine.platform, settings.partition)
            found[group.signature] = measured or tasks.assumed(settings.machine.platform)
    return found


def _cut(packs: Sequence[tasks.Pack], settings: Settings, at_once: int) -> list[tasks.Task]:
    """Return tasks for so many at once: all of them busy, none for less than min_minutes or more than half its limit."""
    total = sum(pack.seconds for pack in packs)
    aim = min(30 * as_minutes(settings.time), max(total / at_once, 60 * settings.min_minutes))
    return tasks.cut(packs, aim, settings.max_tasks)


def _packs(batch: sweep.Batch, root: Path, settings: Settings, watched: set[str]):
    """Return the packs of what a batch lacks and no living task has, with the run folder of each trial."""
    lacking = {
        name: found for name, found in sweep.missing(batch.requests, batch.probes).items() if name not in watched
    }
    machine, how = settings.machine, settings.execution(batch.how)

    def whole(group):
        rates = _throughputs([group], settings)
        return tasks.seconds(group, machine, rates[group.signature])

    packs = []
    # What was left unfinished stays whole, for its checkpoints are of the whole.
    for left in unfinished.find(root, how.checkpoint_seconds):
        trials = tuple(trial for trial in left.population.trials if trial.id in lacking)
        if trials and len(trials) == len(left.population.trials) and set(batch.probes) <= set(left.probes):
            group = Population(left.population.signature, trials)
            packs.append(tasks.Pack(group.signature, trials, whole(group)))
    covered = {trial.id for pack in packs for trial in pack.trials}
    for group in population.plan([trial for trial, _ in lacking.values() if trial.id not in covered]):
        _require_memory(group, machine, how, settings)
        packs += tasks.packs_of(group, machine, how, whole(group))
    return packs, {name: run for name, (_, run) in lacking.items()}


def _require_memory(group, machine, how, settings):
    held = population.held_bytes(group.signature, population.lay_out(group, machine, how))
    if machine.platform == "cpu" and held + OWN_BYTES > as_bytes(settings.mem):
        sizes = "-".join(map(str, group.signature.static.sizes))
        raise Refusal(
            f"hydra.launcher.mem is {settings.mem}; a task that trains {sizes} needs {(held + OWN_BYTES) / 1e9:.1f} GB."
        )


def _plan(batches, settings, folder, at_once, watched):
    work, cuts = [], []
    for batch in batches:
        root = unfinished.root_of(list(batch.requests))
        packs, runs = _packs(batch, root, settings, watched)
        for task in _cut(packs, settings, at_once):
            cuts.append(task)
            how = settings.execution(batch.how)
            parts = tuple(
                sweep.Batch(_by_run(group.trials, runs), batch.probes, batch.folder, how) for group in task.populations
            )
            name = hashlib.sha256(" ".join(sorted(t.id for part in parts for t in part.trials)).encode()).hexdigest()
            work.append(Work(parts, root, folder / f"{name[:12]}.progress.json"))
    wanted = sum(len(batch.trials) for batch in batches)
    lacking = sum(len(sweep.missing(batch.requests, batch.probes)) for batch in batches)
    to_train = sum(len(each.trials) for each in work)
    return _Planned(work, cuts, wanted, wanted - lacking, lacking - to_train)


def _by_run(trials: Sequence[Trial], runs: Mapping[str, Path]) -> dict[Path, list[Trial]]:
    found: dict[Path, list[Trial]] = {}
    for trial in trials:
        found.setdefault(runs[trial.id].absolute(), []).append(trial)
    return found


def show_plan(batches: Sequence[sweep.Batch], settings: Settings, folder: Path) -> None:
    """Print how the missing networks would be laid out by tasks, what these hold and how long they take; submit nothing."""
    planned = _plan(batches, settings, folder / FOLDER, settings.array_parallelism, set())
    machine, count = settings.machine, len(planned.work)
    print(
        f"{planned.wanted} networks: {planned.stored} stored, {planned.wanted - planned.stored} to train in {count} "
        f"{'task' if count == 1 else 'tasks'}, at most {settings.array_parallelism} at once."
    )
    if not count:
        return
    gpus = settings.gpus_per_node
    what = f"{gpus} {'GPU' if gpus == 1 else 'GPUs'}, " if gpus else ""
    print(f"A task has {what}{settings.cpus_per_task} cores, {settings.mem} of memory, {settings.time} of time.\n")
    groups = [group for task in planned.tasks for group in task.populations]
    rates = _throughputs(groups, settings)
    rows = []
    for common in dict.fromkeys(group.signature for group in groups):
        parts = [group for group in groups if group.signature == common]
        whole = Population(common, tuple(trial for part in parts for trial in part.trials))
        layout = population.lay_out(max(parts, key=lambda part: len(part.trials)), machine, batches[0].how)
        rate = rates[common]
        known = rate.readings or settings.gflops is not None
        rows.append(
            {
                "network": "-".join(map(str, common.static.sizes)),
                "networks": len(whole.trials),
                "parameters": mlp.count_parameters(common.static.sizes, common.static.receptive_field),
                "tasks": sum(any(part.signature == common for part in task.populations) for task in planned.tasks),
                "share minibatches": layout.pack_size,
                "train at once": layout.workers * layout.packs * layout.pack_size,
                "GB held": round(population.held_bytes(common, layout) / 1e9, 2),
                "TFLOP at most": round(population.most_flop(whole) / 1e12, 1),
                "measured for": rate.network or "?",
                "GFLOP/s": round(machine.workers * rate.flop / 1e9) if known else "?",
                "task hours": round(tasks.seconds(whole, machine, rate) / 3600, 2) if known else "?",
            }
        )
    print(pd.DataFrame(rows).to_string(index=False))
    known = all(rate.readings or settings.gflops is not None for rate in rates.values())
    print()
    print(pd.DataFrame(_hours(batches, settings, folder, known)).to_string(index=False))
    for line in dict.fromkeys(_source(rate, settings) for rate in rates.values()):
        print(f"\n{line}")


def _hours(batches, settings, folder, known):
    for at_once in sorted({*DEVICES, settings.array_parallelism}):
        cuts = _plan(batches, settings, folder / FOLDER, at_once, set()).tasks
        seconds = [task.seconds for task in cuts]
        yield {
            "tasks at once": at_once,
            "tasks": len(cuts),
            "networks a task": max(sum(len(part.trials) for part in task.populations) for task in cuts),
            "hours a task": round(max(seconds) / 3600, 2) if known else "?",
            "hours in all": round(tasks.makespan(seconds, at_once) / 3600, 2) if known else "?",
        }


def _source(rate, settings):
    kind = "GPU" if settings.gpus_per_node else "core"
    if settings.gflops is not None:
        return f"Hours are at most, by {settings.gflops:g} GFLOP/s a {kind}, as hydra.launcher.gflops says."
    if not rate.readings:
        return (
            f"Hours are unknown: no training on a {kind} has been measured. A first small sweep there of more than "
            f"{throughput.SECONDS:g} s measures it; until then tasks are cut by {rate.flop / 1e9:g} GFLOP/s a {kind}."
        )
    return f"Hours are at most, as if no network stopped early, by the speed of trainings on {rate.device}, from {rate.source}."


def complete(batches: Sequence[sweep.Batch], settings: Settings, folder: Path) -> int:
    """Train what the run folders lack on the cluster, and return how many networks that were.

    `folder` is the sweep's, on a file system that the nodes share. A KeyboardInterrupt leaves the tasks to the cluster.

    Raises:
        Refusal: no Slurm or submitit here, a data set that cannot be loaded, or tasks that died `attempts` times.
    """
    for batch in batches:
        for run in batch.requests:
            store.require_writable(run)
            if (run / store.TRIALS).exists() and not (run / store.DONE).exists():
                store.finish(run)
    lacking = sum(len(sweep.missing(batch.requests, batch.probes)) for batch in batches)
    if not lacking:
        logger.info(
            "Every trial asked for (%d) is already stored; nothing to train.", sum(len(b.trials) for b in batches)
        )
        return 0
    # Here, where there is a network more often than on a node, and before anything is submitted.
    for folder_of_data, name in {(b.folder, trial.recipe.dataset.name) for b in batches for trial in b.trials}:
        datasets.load(name, folder_of_data)
    _Head(batches, settings, folder.absolute() / FOLDER).run()
    return lacking


class _Task:
    """A submitted task: its work, its job, and how often it was submitted."""

    def __init__(self, work: Work, job: str, attempt: int):
        self.work, self.job, self.attempt = work, job, attempt
        self.cost, self.gone = work.cost, 0

    @property
    def record(self) -> Path:
        return self.work.report.with_name(self.work.report.name.replace(".progress", ""))


class _Head:
    """Submits and watches the tasks of a sweep."""

    def __init__(self, batches: Sequence[sweep.Batch], settings: Settings, folder: Path):
        self.batches, self.settings, self.folder = batches, settings, folder
        try:
            import submitit
        except ImportError:
            raise Refusal("A sweep on Slurm needs submitit: python -m pip install -e '.[cluster]'.") from None
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise Refusal("sbatch and srun are not found: this is no machine of a Slurm cluster.")
        folder.mkdir(parents=True, exist_ok=True)
        self.executor = submitit.SlurmExecutor(folder, max_num_timeout=settings.max_num_timeout)
        gpus = {"gpus_per_node": settings.gpus_per_node} if settings.gpus_per_node else {}
        names = {name: getattr(settings, name) for name in ("partition", "account", "qos", "constraint")}
        self.executor.update_parameters(
            job_name="memo",
            nodes=1,
            ntasks_per_node=1,
            cpus_per_task=settings.cpus_per_task,
            mem=settings.mem,
            time=as_minutes(settings.time),
            signal_delay_s=settings.signal_delay_s,
            array_parallelism=settings.array_parallelism,
            # A node takes the launcher's surroundings for granted: a job within a job would hand on its own limits.
            srun_args=[f"--cpus-per-task={settings.cpus_per_task}"],
            additional_parameters=dict(settings.additional_parameters),
            **gpus,
            **({"setup": list(settings.setup)} if settings.setup else {}),
            **{name: value for name, value in names.items() if value is not None},
        )

    def run(self) -> None:
        """Return when every trial is stored; raises Refusal."""
        living = self._living()
        if living is None:
            raise Refusal("Slurm does not answer squeue; nothing is submitted.")
        self.tasks = self._attach(living)
        if self.tasks:
            logger.info("Watching %d tasks that an earlier command submitted.", len(self.tasks))
        watched = {trial for task in self.tasks for trial in task.work.trials}
        planned = _plan(self.batches, self.settings, self.folder, self.settings.array_parallelism, watched)
        if planned.work:
            self.tasks += self._submit(planned.work, 1)
            logger.info(
                "Submitted %d tasks for %d networks; their logs are in %s.",
                len(planned.work),
                sum(len(work.trials) for work in planned.work),
                self.folder,
            )
        try:
            self._watch()
        except KeyboardInterrupt:
            jobs = sorted({task.job.partition("_")[0] for task in self.tasks})
            logger.warning(
                "The cluster goes on with %d tasks, and the same command watches them again; scancel %s ends them.",
                len(self.tasks),
                " ".join(jobs),
            )
            raise

    def _attach(self, living):
        """Return the tasks of earlier commands that live, and forget the others."""
        wanted = {trial.id for batch in self.batches for trial in batch.trials}
        found = []
        for path in sorted(self.folder.glob("*.json")):
            if path.name.endswith(".progress.json"):
                continue
            record = json.loads(path.read_text())
            if record["job"] not in living:
                path.unlink(missing_ok=True)
            elif wanted & set(record["trials"]):
                found.append(_Task(self._work(record), record["job"], record["attempt"]))
        return found

    def _work(self, record):
        """Return the work of a recorded task: those of its trials that are wanted now, to be watched."""
        ids = set(record["trials"])
        parts, roots = [], []
        for batch in self.batches:
            requests = {
                run.absolute(): [trial for trial in trials if trial.id in ids] for run, trials in batch.requests.items()
            }
            requests = {run: trials for run, trials in requests.items() if trials}
            if requests:
                how = self.settings.execution(batch.how)
                parts.append(sweep.Batch(requests, batch.probes, batch.folder, how))
                roots.append(unfinished.root_of(list(batch.requests)))
        return Work(tuple(parts), roots[0], self.folder / f"{record['name']}.progress.json")

    def _submit(self, works, attempt):
        try:
            with self.executor.batch():
                jobs = [self.executor.submit(work) for work in works]
        except Exception as error:
            # submitit quotes what sbatch said; anything else is a fault of ours.
            if type(error).__module__.startswith("submitit") or isinstance(error, subprocess.CalledProcessError):
                raise Refusal(f"Slurm takes no tasks: {_sentence(error)}") from error
            raise
        submitted = []
        for work, job in zip(works, jobs):
            task = _Task(work, job.job_id, attempt)
            name = task.record.stem
            record = {"name": name, "job": job.job_id, "attempt": attempt, "trials": work.trials}
            with store.replacing(task.record) as path:
                path.write_text(json.dumps(record))
            submitted.append(task)
        return submitted

    def _watch(self):
        waiting = list(self.tasks)
        failed: list[tuple[_Task, str]] = []
        self.done_cost = 0.0
        with progress.bar(sum(task.cost for task in waiting)) as bar:
            while waiting:
                living = self._living()
                for task in list(waiting) if living is not None else []:
                    if task.job in living:
                        task.gone = 0
                        continue
                    task.gone += 1
                    lacking = task.work.lacking()
                    # Twice, for what a node has written may reach this machine a little later.
                    if lacking and task.gone < 2:
                        continue
                    waiting.remove(task)
                    task.record.unlink(missing_ok=True)
                    if not lacking:
                        self.done_cost += task.cost
                        self._forget(task)
                        continue
                    fault = self._fault(task)
                    if fault is None and task.attempt < self.settings.attempts:
                        logger.warning(
                            "Task %s ended with %d of %d networks; it is submitted again and goes on from there.",
                            task.job,
                            len(task.work.trials) - lacking,
                            len(task.work.trials),
                        )
                        (again,) = self._submit([task.work], task.attempt + 1)
                        self.tasks[self.tasks.index(task)] = again
                        waiting.append(again)
                    else:
                        failed.append((task, fault or f"it ended {task.attempt} times"))
                self._show(bar, waiting, living or {}, failed)
                if waiting:
                    time.sleep(self.settings.poll_seconds)
        if failed:
            task, fault = failed[0]
            lacking = sum(task.work.lacking() for task, _ in failed)
            raise Refusal(
                f"{len(failed)} of {len(self.tasks)} tasks failed and {lacking} networks are missing; task {task.job}: "
                f"{fault}; its logs are {self.folder}/{task.job}_0_log.*"
            )

    def _show(self, bar, waiting, living, failed):
        done = self.done_cost
        for task in waiting:
            with suppress(OSError, ValueError, KeyError):
                done += min(task.cost, json.loads(task.work.report.read_text())["done"])
        bar.update(done - bar.n)
        running = sum(living.get(task.job) == "RUNNING" for task in waiting)
        finished = len(self.tasks) - len(waiting) - len(failed)
        bar.set_description_str(f"{finished} of {len(self.tasks)} tasks done")
        bar.set_postfix_str(
            f"{running} run, {len(waiting) - running} wait" + (f", {len(failed)} failed" if failed else "")
        )

    def _fault(self, task) -> str | None:
        """Return the exception that ended a task, or None where it was killed: only then it is worth another attempt."""
        import cloudpickle

        for path in self.folder.glob(f"{task.job}_*_result.pkl"):
            with suppress(Exception), path.open("rb") as file:
                outcome, result = cloudpickle.load(file)
                if outcome == "error":
                    return result.strip().splitlines()[-1]
        return None

    def _forget(self, task):
        """Remove the files of a finished task but its logs."""
        for path in [task.work.report, *self.folder.glob(f"{task.job}_*.pkl")]:
            path.unlink(missing_ok=True)

    def _living(self) -> dict[str, str] | None:
        """Return the state of every task of this user that has not ended, by job, or None where Slurm does not answer."""
        command = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%A %F %K %T"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        except (OSError, subprocess.SubprocessError) as error:
            logger.warning("squeue does not answer (%s); asking again.", _sentence(error))
            return None
        living = {}
        for line in said.splitlines():
            own, array, index, state = line.split(maxsplit=3)
            living[own if index == "N/A" else f"{array}_{index}"] = state
        return living


def _sentence(error):
    said = getattr(error, "stderr", None) or str(error)
    said = said.decode() if isinstance(said, bytes) else said
    return " ".join(said.split())
