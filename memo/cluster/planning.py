"""The missing networks of a sweep, cut into tasks that fit Slurm's limits; nothing is submitted here."""

import hashlib
import json
import logging
import os
import runpy
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from memo.cluster import cutting
from memo.cluster.settings import Settings, as_bytes, as_minutes, in_words
from memo.config import Execution, Trial, check
from memo.errors import Refusal
from memo.networks import mlp
from memo.storage import checkpoints, progress_bar, sweep, throughput
from memo.storage.sweep import Lacking, Request
from memo.storage.throughput import Throughput
from memo.training import population
from memo.training.machine import GPU_SHARE, Machine
from memo.training.population import Population, Signature

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

# Beside slabs and images: for Python, JAX and the tables of the networks in training.
OWN_BYTES = 1_500_000_000
DEVICES = (1, 8, 64)  # tasks at once for which the plan gives hours


def admit(settings: Settings) -> None:
    """Raise Refusal where keys of the launcher are out of range, or do not fit together."""
    check(settings, "hydra.launcher.")
    limit = 60 * as_minutes(settings.time)
    if settings.signal_delay_s >= limit:
        raise Refusal(
            f"hydra.launcher.signal_delay_s is {settings.signal_delay_s}; allowed is less than the {limit} seconds of "
            "hydra.launcher.time."
        )


def machine_of(settings: Settings) -> Machine:
    """Return the machine of a task, as far as it is known before one has started."""
    if settings.gpus_per_node:
        memory = int(settings.gpus_per_node * GPU_SHARE * 1e9 * settings.gpu_memory_gb)
        return Machine("gpu", settings.gpus_per_node, memory)
    return Machine("cpu", settings.cpus_per_task, as_bytes(settings.mem) // 2)


def execution_of(settings: Settings, how: Execution) -> Execution:
    """Return how a task trains: on CPUs, on the cores and in half the memory that it asks Slurm for."""
    if settings.gpus_per_node:
        return how
    memory = as_bytes(settings.mem) / 2e9 if how.memory_gb is None else how.memory_gb
    return replace(how, cores=how.cores or settings.cpus_per_task, memory_gb=memory)


@dataclass(frozen=True)
class Assignment:
    """The work of one task: complete some requests, one after the other; picklable, and resumes where it was."""

    parts: tuple[Request, ...]
    root: Path  # of what is unfinished
    report: Path  # the file in which the task reports its progress
    program: str = ""  # the module or file of the command: it may register treatments, probes, losses of its own
    attempt: int = 1

    @property
    def trials(self) -> list[Trial]:
        """Return its trials."""
        return [trial for part in self.parts for trial in part.trials]

    @property
    def cost(self) -> float:
        """Return its cost, as the progress bar counts it."""
        return sum(map(_cost, self.parts))

    def lacking(self) -> int:
        """Return how many of its trials their run folders lack."""
        return sum(len(part.lacking()) for part in self.parts)

    def __call__(self) -> None:
        """Train what is missing; wherever it is started again, it resumes from checkpoints."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        if self.program:  # under a name of its own: as a module that is imported, not as a command that runs
            (runpy.run_path if self.program.endswith(".py") else runpy.run_module)(self.program, run_name="__task__")
        before = 0.0
        for part in self.parts:
            before += _cost(part)
            sweep.complete(*part, root=self.root, on_progress=partial(self._report, before))
            self._report(before, 0.0, 0.0)

    def _report(self, reached: float, left: float, _: float) -> None:
        """Report the cost done: that of all parts begun, minus the remainder of the current one."""
        temporary = self.report.with_suffix(".new")
        with suppress(OSError):  # a lost report does no harm
            temporary.write_text(json.dumps({"done": reached - left}))
            temporary.replace(self.report)

    def done(self) -> float:
        """Return the cost done according to its own report, 0 if there is none."""
        with suppress(OSError, ValueError, KeyError):
            return json.loads(self.report.read_text())["done"]
        return 0.0

    def checkpoint(self) -> "DelayedSubmission":
        """Return the callable to requeue before a time-out or a preemption: itself, as everything else is on disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _cost(part: Request) -> float:
    return progress_bar.total_cost(population.plan(part.trials))


def packs_of(request: Request, lacking: Lacking, settings: Settings) -> list[cutting.Pack]:
    """Return the lacking trials of a request in packs; Refusal where a task has too little memory for one."""
    machine, how = machine_of(settings), execution_of(settings, request.how)
    packs = []
    # What was left unfinished stays in one task, for its checkpoints are of the whole.
    for left in request.unfinished(lacking):
        group = left.population
        if left.runs.keys() <= lacking.keys():
            seconds = cutting.seconds(group, machine, rate_of(group.signature, settings))
            packs.append(cutting.Pack(group.signature, group.trials, seconds))
    covered = {trial.id for pack in packs for trial in pack.trials}
    for group in population.plan([trial for trial, _ in lacking.values() if trial.id not in covered]):
        _require_memory(group, machine, how, settings)
        seconds = cutting.seconds(group, machine, rate_of(group.signature, settings))
        packs += cutting.packs_of(group, machine, how, seconds)
    return packs


def _require_memory(group: Population, machine: Machine, how: Execution, settings: Settings) -> None:
    held = OWN_BYTES + population.held_bytes(group.signature, population.lay_out(group, machine, how))
    if machine.platform == "cpu" and held > as_bytes(settings.mem):
        raise Refusal(
            f"hydra.launcher.mem is {settings.mem}; a task that trains {_network(group.signature)} needs {held / 1e9:.1f} GB."
        )


def rate_of(common: Signature, settings: Settings) -> Throughput:
    """Return the speed from which a population's time is estimated: as set, as measured, or as assumed."""
    platform = machine_of(settings).platform
    if settings.gflops is not None:
        return Throughput(1e9 * settings.gflops, "", "", 0, "hydra.launcher.gflops")
    return throughput.expected(common, platform, settings.partition) or cutting.assumed(platform)


def cut(requests: Sequence[Sequence[cutting.Pack]], settings: Settings, at_once: int) -> list[list[cutting.Task]]:
    """Return the tasks of each request, of which there are the packs: all together they are one array.

    They keep `at_once` machines busy, none with less than min_minutes of work or more than half its limit, as far as max_tasks
    allows. Raises Refusal where these are fewer than the requests, which share no task.
    """
    seconds = [sum(pack.seconds for pack in packs) for packs in requests]
    total, asked = sum(seconds), sum(map(bool, requests))
    if asked > settings.max_tasks:
        raise Refusal(
            f"hydra.launcher.max_tasks is {settings.max_tasks}; allowed is at least {asked} here, one for each list of probes."
        )
    aim = min(30 * as_minutes(settings.time), max(total / at_once, 60 * settings.min_minutes))
    # One for each request, and the others by their work.
    most = [1 + int((settings.max_tasks - asked) * own / total) if total else 1 for own in seconds]
    return [cutting.cut(packs, aim, count) for packs, count in zip(requests, most)]


def assignment_of(
    task: cutting.Task, request: Request, lacking: Lacking, settings: Settings, folder: Path
) -> Assignment:
    """Return the assignment of a task for its request; it reports into `folder`."""
    parts = []
    for group in task.populations:
        runs: dict[Path, list[Trial]] = {}
        for trial in group.trials:
            runs.setdefault(lacking[trial.id][1].absolute(), []).append(trial)
        parts.append(request._replace(runs=runs, how=execution_of(settings, request.how)))
    ids = sorted(trial.id for group in task.populations for trial in group.trials)
    name = hashlib.sha256(" ".join(ids).encode()).hexdigest()[:12]
    return Assignment(tuple(parts), checkpoints.root_of(list(request.runs)), folder / f"{name}.json", _program())


def _program() -> str:
    """Return the module that runs as this command, or its file."""
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return main.__spec__.name
    return os.path.abspath(file) if (file := getattr(main, "__file__", None)) else ""


def show_plan(requests: Sequence[Request], settings: Settings) -> None:
    """Print how the missing networks would be laid out by tasks, what these hold and how long they take; submit nothing."""
    lacking = [request.lacking() for request in requests]
    packs = [packs_of(request, own, settings) for request, own in zip(requests, lacking)]

    def cuts(at_once: int) -> list[cutting.Task]:
        return [task for own in cut(packs, settings, at_once) for task in own]

    planned = cuts(settings.array_parallelism)
    wanted, to_train = sum(len(request.trials) for request in requests), sum(map(len, lacking))
    print(
        f"{wanted} networks: {wanted - to_train} stored, {to_train} to train in {len(planned)} "
        f"{'task' if len(planned) == 1 else 'tasks'}, at most {settings.array_parallelism} at once."
    )
    if not planned:
        return
    gpus = settings.gpus_per_node
    what = f"{gpus} {'GPU' if gpus == 1 else 'GPUs'}, " if gpus else ""
    print(
        f"A task has {what}{settings.cpus_per_task} cores, {settings.mem} of memory, {in_words(as_minutes(settings.time))} of time.\n"
    )
    shares = _shares(planned)
    known = all(rate_of(common, settings).source for common in shares)
    rows = [_row(common, own, settings, requests[0].how) for common, own in shares.items()]
    hours = [_hours(cuts(at_once), at_once, known) for at_once in sorted({*DEVICES, settings.array_parallelism})]
    for table in (rows, hours):
        print(pd.DataFrame(table).to_string(index=False) + "\n")
    print("\n".join(dict.fromkeys(_sources(shares, settings))))


def _shares(planned: Sequence[cutting.Task]) -> dict[Signature, list[list[Trial]]]:
    """Return by signature the trials of each task that has some."""
    shares: dict[Signature, list[list[Trial]]] = {}
    for task in planned:
        for common in dict.fromkeys(group.signature for group in task.populations):
            own = [trial for group in task.populations if group.signature == common for trial in group.trials]
            shares.setdefault(common, []).append(own)
    return shares


def _sources(signatures: Collection[Signature], settings: Settings) -> list[str]:
    """Return sentences on where the plan's hours come from."""
    kind = "GPU" if settings.gpus_per_node else "core"
    lines = [f"Hours are {_source(rate_of(common, settings), kind)}" for common in signatures]
    if settings.gpus_per_node:
        lines += [f"Core hours, of CPUs, are {_source(_on_cpu(common), 'core')}" for common in signatures]
    return lines


def _on_cpu(common: Signature) -> Throughput:
    return throughput.expected(common, "cpu") or cutting.assumed("cpu")


def _row(common: Signature, shares: list[list[Trial]], settings: Settings, how: Execution) -> dict[str, Any]:
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


def _network(common: Signature) -> str:
    return mlp.describe_widths(common.static.sizes, "-")


def _hours(planned: Sequence[cutting.Task], at_once: int, known: bool) -> dict[str, Any]:
    seconds = [task.seconds for task in planned]
    return {
        "tasks at once": at_once,
        "tasks": len(planned),
        "networks per task": max(sum(len(group.trials) for group in task.populations) for task in planned),
        "hours per task": round(max(seconds) / 3600, 2) if known else "?",
        "hours in all": round(cutting.makespan(seconds, at_once) / 3600, 2) if known else "?",
    }


def _source(rate: Throughput, kind: str) -> str:
    if not rate.source:
        return (
            f"unknown: no training on a {kind} has been measured here. A first small sweep there of more than "
            f"{throughput.SECONDS:g} s measures it; until then tasks are cut by {rate.flop / 1e9:g} GFLOP/s per {kind}."
        )
    by = f"trainings on {rate.device}" if rate.device else f"{rate.flop / 1e9:g} GFLOP/s per {kind}"
    return f"at most, as if no network stopped early, by {by}, from {rate.source}."
