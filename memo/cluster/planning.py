"""What a sweep lacks, cut into tasks that fit what Slurm gives them; nothing is submitted here."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hydra_plugins.population_launcher.settings import Settings, as_bytes, as_minutes
from memo.cluster import cutting
from memo.config import Execution, Trial
from memo.errors import Refusal
from memo.networks import mlp
from memo.storage import checkpoints, progress_bar, sweep, throughput
from memo.storage.throughput import Throughput
from memo.training import population
from memo.training.machine import GPU_SHARE, Machine
from memo.training.population import Population, Signature

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

# Beside slabs and images: Python, JAX and the tables of the networks in training.
OWN_BYTES = 1_500_000_000
DEVICES = (1, 8, 64)  # tasks at once for which the plan gives hours

Lacking = Mapping[str, tuple[Trial, Path]]  # by the id of the trial, with its run folder


def machine_of(settings: Settings) -> Machine:
    """Return what a task trains on, as far as it is known before one has started."""
    if settings.gpus_per_node:
        memory = int(settings.gpus_per_node * GPU_SHARE * 1e9 * settings.gpu_memory_gb)
        return Machine("gpu", settings.gpus_per_node, memory)
    return Machine("cpu", settings.cpus_per_task, as_bytes(settings.mem) // 2)


def execution_of(settings: Settings, how: Execution) -> Execution:
    """Return how a task trains: on the cores and in the memory that it asks Slurm for, where these are its limit."""
    if settings.gpus_per_node:
        return how
    memory = as_bytes(settings.mem) / 2e9 if how.memory_gb is None else how.memory_gb
    return replace(how, cores=how.cores or settings.cpus_per_task, memory_gb=memory)


@dataclass(frozen=True)
class Work:
    """What one task does: completes some trials of some run folders, part by part; picklable, and resumes where it was."""

    parts: tuple[sweep.Batch, ...]
    root: Path  # of what is unfinished
    report: Path  # where it says how far it is
    attempt: int = 1

    @property
    def trials(self) -> list[Trial]:
        """Return its trials."""
        return [trial for part in self.parts for trial in part.trials]

    @property
    def cost(self) -> float:
        """Return its arithmetic, as the bar counts it."""
        return sum(map(_cost, self.parts))

    def lacking(self) -> int:
        """Return how many of its trials their run folders lack."""
        return sum(len(sweep.missing(part.requests, part.probes)) for part in self.parts)

    def __call__(self) -> None:
        """Train what is missing; the same command goes on from checkpoints wherever it is started again."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        before = 0.0
        for part in self.parts:
            before += _cost(part)
            sweep.complete(*part, root=self.root, told=partial(self._tell, before))
            self._tell(before, 0.0)

    def _tell(self, reached, left):
        """Say how much of its cost is done: what it has reached the end of, or is in, less what is left of that."""
        temporary = self.report.with_suffix(".new")
        with suppress(OSError):  # a word that is lost is no harm
            temporary.write_text(json.dumps({"done": reached - left}))
            temporary.replace(self.report)

    def done(self) -> float:
        """Return how much of its cost is done by its own word, 0 where it has said nothing."""
        with suppress(OSError, ValueError, KeyError):
            return json.loads(self.report.read_text())["done"]
        return 0.0

    def checkpoint(self) -> "DelayedSubmission":
        """Return what submitit is to requeue before a time-out or a preemption: the same, for all else is on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _cost(part):
    return progress_bar.total_cost(population.plan(part.trials))


def packs_of(batch: sweep.Batch, lacking: Lacking, settings: Settings) -> list[cutting.Pack]:
    """Return what a batch lacks in packs; Refusal where a task has too little memory for one."""
    machine, how = machine_of(settings), execution_of(settings, batch.how)
    packs = []
    # What was left unfinished stays whole, for its checkpoints are of the whole.
    for left in checkpoints.find(checkpoints.root_of(list(batch.requests)), how.checkpoint_seconds):
        group = left.population
        if left.runs.keys() <= lacking.keys() and set(batch.probes) <= set(left.probes):
            seconds = cutting.seconds(group, machine, rate_of(group.signature, settings))
            packs.append(cutting.Pack(group.signature, group.trials, seconds))
    covered = {trial.id for pack in packs for trial in pack.trials}
    for group in population.plan([trial for trial, _ in lacking.values() if trial.id not in covered]):
        _require_memory(group, machine, how, settings)
        seconds = cutting.seconds(group, machine, rate_of(group.signature, settings))
        packs += cutting.packs_of(group, machine, how, seconds)
    return packs


def _require_memory(group, machine, how, settings):
    held = OWN_BYTES + population.held_bytes(group.signature, population.lay_out(group, machine, how))
    if machine.platform == "cpu" and held > as_bytes(settings.mem):
        raise Refusal(
            f"hydra.launcher.mem is {settings.mem}; a task that trains {_network(group.signature)} needs {held / 1e9:.1f} GB."
        )


def rate_of(common: Signature, settings: Settings) -> Throughput:
    """Return the speed by which a population's time is estimated: as set, as measured, or as assumed."""
    platform = machine_of(settings).platform
    if settings.gflops is not None:
        return Throughput(1e9 * settings.gflops, "", "", 0, "hydra.launcher.gflops")
    return throughput.expected(common, platform, settings.partition) or cutting.assumed(platform)


def cut(packs: Sequence[cutting.Pack], settings: Settings, at_once: int) -> list[cutting.Task]:
    """Return tasks for so many at once: all of them busy, none for less than min_minutes or more than half its limit."""
    total = sum(pack.seconds for pack in packs)
    aim = min(30 * as_minutes(settings.time), max(total / at_once, 60 * settings.min_minutes))
    return cutting.cut(packs, aim, settings.max_tasks)


def work_of(task: cutting.Task, batch: sweep.Batch, lacking: Lacking, settings: Settings, folder: Path) -> Work:
    """Return a task as what it does for its batch; it reports into `folder`."""
    parts = []
    for group in task.populations:
        requests: dict[Path, list[Trial]] = {}
        for trial in group.trials:
            requests.setdefault(lacking[trial.id][1].absolute(), []).append(trial)
        parts.append(batch._replace(requests=requests, how=execution_of(settings, batch.how)))
    ids = sorted(trial.id for group in task.populations for trial in group.trials)
    name = hashlib.sha256(" ".join(ids).encode()).hexdigest()[:12]
    return Work(tuple(parts), checkpoints.root_of(list(batch.requests)), folder / f"{name}.json")


def show_plan(batches: Sequence[sweep.Batch], settings: Settings) -> None:
    """Print how the missing networks would be laid out by tasks, what these hold and how long they take; submit nothing."""
    lacking = [sweep.missing(batch.requests, batch.probes) for batch in batches]
    packs = [packs_of(batch, found, settings) for batch, found in zip(batches, lacking)]

    def cuts(at_once):
        return [task for own in packs for task in cut(own, settings, at_once)]

    planned = cuts(settings.array_parallelism)
    wanted, to_train = sum(len(batch.trials) for batch in batches), sum(map(len, lacking))
    print(
        f"{wanted} networks: {wanted - to_train} stored, {to_train} to train in {len(planned)} "
        f"{'task' if len(planned) == 1 else 'tasks'}, at most {settings.array_parallelism} at once."
    )
    if not planned:
        return
    gpus = settings.gpus_per_node
    what = f"{gpus} {'GPU' if gpus == 1 else 'GPUs'}, " if gpus else ""
    print(f"A task has {what}{settings.cpus_per_task} cores, {settings.mem} of memory, {settings.time} of time.\n")

    groups: dict[Signature, list[list[Trial]]] = {}  # of each signature, the trials of each task that has some
    for task in planned:
        for common in dict.fromkeys(group.signature for group in task.populations):
            own = [trial for group in task.populations if group.signature == common for trial in group.trials]
            groups.setdefault(common, []).append(own)
    rows = [_row(common, shares, settings, batches[0].how) for common, shares in groups.items()]
    rates = [rate_of(common, settings) for common in groups]
    known = all(rate.source for rate in rates)
    hours = [_hours(cuts(at_once), at_once, known) for at_once in sorted({*DEVICES, settings.array_parallelism})]
    for table in (rows, hours):
        print(pd.DataFrame(table).to_string(index=False) + "\n")
    lines = [f"Hours are {_source(rate, 'GPU' if gpus else 'core')}" for rate in rates]
    if gpus:
        lines += [f"Core hours, of CPUs, are {_source(_on_cpu(common), 'core')}" for common in groups]
    print("\n".join(dict.fromkeys(lines)))


def _on_cpu(common):
    return throughput.expected(common, "cpu") or cutting.assumed("cpu")


def _row(common, shares, settings, how):
    machine, rate = machine_of(settings), rate_of(common, settings)
    whole = Population(common, tuple(trial for share in shares for trial in share))
    layout = population.lay_out(Population(common, max((tuple(share) for share in shares), key=len)), machine, how)
    row = {
        "network": _network(common),
        "networks": len(whole.trials),
        "parameters": mlp.count_parameters(common.static.sizes, common.static.receptive_field),
        "tasks": len(shares),
        "share minibatches": layout.pack_size,
        "train at once": layout.workers * layout.packs * layout.pack_size,
        "GB held": round(population.held_bytes(common, layout) / 1e9, 2),
        "TFLOP at most": round(population.most_flop(whole) / 1e12, 1),
        "measured for": rate.network or "?",
        "GFLOP/s": round(machine.workers * rate.flop / 1e9) if rate.source else "?",
        "task hours": round(cutting.seconds(whole, machine, rate) / 3600, 2) if rate.source else "?",
    }
    if settings.gpus_per_node:
        on_cpu = _on_cpu(common)
        row["core hours"] = round(population.most_flop(whole) / on_cpu.flop / 3600, 1) if on_cpu.source else "?"
    return row


def _network(common):
    return "-".join(map(str, common.static.sizes))


def _hours(planned, at_once, known):
    seconds = [task.seconds for task in planned]
    return {
        "tasks at once": at_once,
        "tasks": len(planned),
        "networks a task": max(sum(len(group.trials) for group in task.populations) for task in planned),
        "hours a task": round(max(seconds) / 3600, 2) if known else "?",
        "hours in all": round(cutting.makespan(seconds, at_once) / 3600, 2) if known else "?",
    }


def _source(rate, kind):
    if not rate.source:
        return (
            f"unknown: no training on a {kind} has been measured. A first small sweep there of more than "
            f"{throughput.SECONDS:g} s measures it; until then tasks are cut by {rate.flop / 1e9:g} GFLOP/s a {kind}."
        )
    by = f"trainings on {rate.device}" if rate.device else f"{rate.flop / 1e9:g} GFLOP/s a {kind}"
    return f"at most, as if no network stopped early, by {by}, from {rate.source}."
