"""The command that submits the tasks of a sweep, watches them, and resubmits them if they die.

    <sweep>/.slurm/<job>_submitted.pkl  the Assignment of a task that has not ended
                   <task>.json          a task's progress, by its own report
                   <job>_*              submitit's scripts, results and logs

A network is finished if its run folder holds it, and a task lives as long as `squeue` lists it: no accounting is needed, and a
command that is started again watches the tasks that still live and submits the rest.
"""

import getpass
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from memo.cluster import planning
from memo.cluster.planning import Assignment
from memo.cluster.settings import Settings, as_minutes
from memo.data import datasets
from memo.errors import Refusal
from memo.storage import progress_bar, sweep
from memo.storage.sweep import Lacking, Request

if TYPE_CHECKING:
    import submitit

logger = logging.getLogger(__name__)

FOLDER, SUBMITTED = ".slurm", "_submitted.pkl"
# Why a task waits that will start: anything else is said, such as PartitionConfig, where no node has so many cores.
ORDINARY = ("None", "Resources", "Priority", "JobArrayTaskLimit", "BeginTime", "Prolog", "Cleaning")
# Of Slurm's variables, those that say where the cluster is, and those that sites and people set for all of their jobs, with the
# key of the launcher that is stronger. Others are of the job that this command runs in, or would change what the keys say.
CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
OF_PEOPLE = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_RESERVATION": "",
    "SBATCH_WCKEY": "",
}


def complete(requests: Sequence[Request], settings: Settings, folder: Path) -> int:
    """Train the networks missing from the run folders on the cluster, and return their number.

    `folder` is the sweep's, on a file system that the nodes share. After a KeyboardInterrupt the tasks go on.

    Raises:
        Refusal: no Slurm or submitit here, a data set that cannot be loaded, or tasks that died `attempts` times.
    """
    for request in requests:
        request.make_ready()
    lacking = [request.lacking() for request in requests]
    if not any(lacking):
        sweep.say_all_is_stored(requests)
        return 0
    # Here, which is more often online than a node, and before anything is submitted.
    for files, name in {
        (request.folder, trial.recipe.dataset.name) for request in requests for trial in request.trials
    }:
        datasets.load(name, files)
    _Head(settings, folder.absolute() / FOLDER).run(requests, lacking)
    return sum(map(len, lacking))


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment for commands of Slurm: this one without what another job, or a default, would add to tasks."""
    kept = {*CLUSTER, *(name for name, key in OF_PEOPLE.items() if not key or getattr(settings, key) is None)}
    ours = ("SLURM", "SBATCH_", "SRUN_", "SQUEUE_")
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith(ours)}


@contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    before, own = dict(os.environ), environment(settings)
    os.environ.clear()
    os.environ.update(own)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class _State(NamedTuple):
    name: str  # PENDING, RUNNING, ...
    reason: str = "None"  # why a task waits


@dataclass(eq=False)
class _Task:
    """A submitted task: its job, its assignment and the cost of that, and how often it was not found in the queue."""

    job: "submitit.Job"
    assignment: Assignment
    cost: float
    gone: int = 0

    def forget(self) -> None:
        """Remove its files except its logs."""
        for path in (self.assignment.report, self.job.paths.submitted_pickle, self.job.paths.result_pickle):
            path.unlink(missing_ok=True)


class _Head:
    def __init__(self, settings: Settings, folder: Path):
        self.settings, self.folder = settings, folder
        try:
            import submitit
        except ImportError:
            raise Refusal("A sweep on Slurm needs submitit: python -m pip install -e '.[cluster]'.") from None
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise Refusal("sbatch and srun are not found: this machine is not part of a Slurm cluster.")
        folder.mkdir(parents=True, exist_ok=True)
        self.executor = submitit.SlurmExecutor(folder, max_num_timeout=settings.max_num_timeout)
        same = (
            "partition",
            "account",
            "qos",
            "constraint",
            "cpus_per_task",
            "mem",
            "signal_delay_s",
            "array_parallelism",
        )
        asked = {name: getattr(settings, name) for name in same} | {
            "gpus_per_node": settings.gpus_per_node or None,
            "setup": list(settings.setup) or None,
        }
        self.executor.update_parameters(
            job_name="memo",
            nodes=1,
            ntasks_per_node=1,
            time=as_minutes(settings.time),
            # Stated, for srun does not take it from sbatch.
            srun_args=[f"--cpus-per-task={settings.cpus_per_task}"],
            additional_parameters=dict(settings.additional_parameters),
            **{name: value for name, value in asked.items() if value is not None},
        )

    def run(self, requests: Sequence[Request], lacking: Sequence[Lacking]) -> None:
        """Return when everything that is lacking is stored; raises Refusal."""
        living = self._living()
        if living is None:
            raise Refusal("Slurm does not answer squeue; nothing is submitted.")
        earlier = self._submitted(living)
        watched: list[_Task] = []
        left: list[Lacking] = []
        for request, own in zip(requests, lacking):
            held = _held(earlier, request, own)
            watched += [task for task in dict.fromkeys(held.values()) if task not in watched]
            left.append({trial: found for trial, found in own.items() if trial not in held})
        packs = [planning.packs_of(request, own, self.settings) for request, own in zip(requests, left)]
        cut = planning.cut(packs, self.settings, self.settings.array_parallelism)
        assignments = [
            planning.assignment_of(task, request, own, self.settings, self.folder)
            for request, own, tasks in zip(requests, left, cut)
            for task in tasks
        ]
        if watched:
            logger.info("Watching %d tasks that an earlier command submitted.", len(watched))
        tasks = watched + self._submit(assignments)
        if assignments:
            networks = sum(len(assignment.trials) for assignment in assignments)
            said = "Submitted %d tasks for %d networks; their logs are in %s."
            logger.info(said, len(assignments), networks, self.folder)
        self._watch(tasks)

    def _submitted(self, living: Mapping[str, _State]) -> list[_Task]:
        """Return the tasks of earlier commands that live, and forget the others."""
        found = []
        for path in sorted(self.folder.glob(f"*{SUBMITTED}")):
            job = self.executor.job_class(self.folder, path.name.removesuffix(SUBMITTED))
            if job.job_id not in living:
                path.unlink(missing_ok=True)
                continue
            try:
                assignment = job.submission().function
                if not isinstance(assignment, Assignment):
                    raise TypeError(type(assignment))
            except Exception as error:  # of any kind: another version of this code has pickled it
                raise Refusal(f"Task {job.job_id} is of another version of this program: scancel it first.") from error
            found.append(_Task(job, assignment, assignment.cost))
        return found

    def _submit(self, assignments: Sequence[Assignment]) -> list[_Task]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        if not assignments:
            return []
        try:
            with _environment(self.settings), self.executor.batch():
                jobs = [self.executor.submit(assignment) for assignment in assignments]
        except (FailedJobError, FailedSubmissionError, OSError, subprocess.SubprocessError) as error:
            raise Refusal(f"Slurm takes no tasks: {_sentence(error)}") from error
        return [_Task(job, assignment, assignment.cost) for assignment, job in zip(assignments, jobs)]

    def _watch(self, tasks: list[_Task]) -> None:
        """Return when all tasks have done their work, submitting again those that were killed; raises Refusal."""
        failed: list[tuple[_Task, str]] = []
        waiting, done, said = list(tasks), 0.0, set[str]()
        with progress_bar.bar(sum(task.cost for task in tasks)) as bar, self._left_to_the_cluster(waiting):
            while waiting:
                answer = self._living()
                living = answer or {}
                for task in [] if answer is None else list(waiting):
                    task.gone = 0 if task.job.job_id in living else task.gone + 1
                    lacking = task.assignment.lacking() if task.gone else 0
                    # Twice, for what a node has written may reach this machine a little later.
                    if not task.gone or (lacking and task.gone < 2):
                        continue
                    waiting.remove(task)
                    fault = self._fault(task)
                    task.forget()
                    if not lacking:
                        done += task.cost
                    elif fault is None and task.assignment.attempt < self.settings.attempts:
                        waiting += self._submit_again(task, lacking)
                    else:
                        failed.append((task, fault or f"it ended {task.assignment.attempt} times"))
                bar.update(done + sum(min(task.cost, task.assignment.done()) for task in waiting) - bar.n)
                bar.set_description_str(f"{len(tasks) - len(waiting) - len(failed)} of {len(tasks)} tasks done")
                states = [(task.job.job_id, living.get(task.job.job_id)) for task in waiting]
                _say_why(states, said)
                running = sum(state is not None and state.name == "RUNNING" for _, state in states)
                words = [f"{running} run", f"{len(waiting) - running} wait"]
                bar.set_postfix_str(", ".join(words + ([f"{len(failed)} failed"] if failed else [])))
                if waiting:
                    time.sleep(self.settings.poll_seconds)
        if failed:
            task, fault = failed[0]
            lacking = sum(task.assignment.lacking() for task, _ in failed)
            raise Refusal(
                f"{len(failed)} of {len(tasks)} tasks failed and {lacking} networks are missing; task {task.job.job_id}: "
                f"{fault}; its logs are {task.job.paths.stdout.with_suffix('.*')}"
            )

    def _submit_again(self, task: _Task, lacking: int) -> list[_Task]:
        logger.warning(
            "Task %s ended with %d of %d networks; it is submitted again and resumes from there.",
            task.job.job_id,
            len(task.assignment.trials) - lacking,
            len(task.assignment.trials),
        )
        return self._submit([replace(task.assignment, attempt=task.assignment.attempt + 1)])

    @contextmanager
    def _left_to_the_cluster(self, waiting: Sequence[_Task]) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            logger.warning(
                "The cluster continues with %d tasks, and the same command watches them again; scancel %s ends them.",
                len(waiting),
                " ".join(sorted({task.job.job_id.partition("_")[0] for task in waiting})),
            )
            raise

    def _fault(self, task: _Task) -> str | None:
        """Return the exception that ended a task, or None where it was killed: only then another attempt makes sense."""
        import cloudpickle

        with suppress(Exception), task.job.paths.result_pickle.open("rb") as file:
            outcome, result = cloudpickle.load(file)
            if outcome == "error":
                return result.strip().splitlines()[-1]
        return None

    def _living(self) -> dict[str, _State] | None:
        """Return the state of every task of this user that has not ended, by job, or None where Slurm does not answer."""
        command = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%A %F %K %T %r"]
        own = environment(self.settings)
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=own).stdout
        except (OSError, subprocess.SubprocessError) as error:
            logger.warning("squeue does not answer (%s); asking again.", _sentence(error))
            return None
        living = {}
        for line in said.splitlines():
            job, array, index, *state = line.split(maxsplit=4)
            living[job if index == "N/A" else f"{array}_{index}"] = _State(*state)
        return living


def _say_why(tasks: Sequence[tuple[str, _State | None]], said: set[str]) -> None:
    """Warn of each reason, not `said` yet, for which tasks (by their jobs) wait that may never start."""
    reasons: dict[str, list[str]] = {}
    for job, state in tasks:
        if state is not None and state.name == "PENDING" and state.reason not in {*ORDINARY, *said}:
            reasons.setdefault(state.reason, []).append(job.partition("_")[0])
    for reason, jobs in reasons.items():
        said.add(reason)
        text = "%d tasks wait, and may never start: Slurm says %s. scancel %s ends them."
        logger.warning(text, len(jobs), reason, " ".join(sorted(set(jobs))))


def _held(tasks: Sequence[_Task], request: Request, lacking: Lacking) -> dict[str, _Task]:
    """Return which tasks have trials in hand that a request lacks, by trial: those that measure them as it wants."""
    return {
        trial.id: task
        for task in tasks
        for part in task.assignment.parts
        if set(request.probes) <= set(part.probes)
        for trial in part.trials
        if trial.id in lacking
    }


def _sentence(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    said = said.decode() if isinstance(said, bytes) else said
    return " ".join(said.split())
