"""The command that submits the tasks of a sweep, watches them, and submits them again where they die.

    <sweep>/.slurm/<job>_submitted.pkl  the Work of a task that has not ended
                   <task>.json          how far a task is, by its own word
                   <job>_*              submitit's scripts, results and logs

What is finished is what the run folders hold, and whether a task lives is what `squeue` says: no accounting is needed, and
a command that is started again watches the tasks that still live and submits the rest.
"""

import getpass
import logging
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_plugins.population_launcher.settings import Settings, as_minutes
from memo.cluster import planning
from memo.cluster.planning import Lacking, Work
from memo.data import datasets
from memo.errors import Refusal
from memo.storage import progress_bar, run_folders, sweep

if TYPE_CHECKING:
    import submitit

logger = logging.getLogger(__name__)

FOLDER, WORK = ".slurm", "_submitted.pkl"


def complete(batches: Sequence[sweep.Batch], settings: Settings, folder: Path) -> int:
    """Train what the run folders lack on the cluster, and return how many networks that were.

    `folder` is the sweep's, on a file system that the nodes share. A KeyboardInterrupt leaves the tasks to the cluster.

    Raises:
        Refusal: no Slurm or submitit here, a data set that cannot be loaded, or tasks that died `attempts` times.
    """
    for batch in batches:
        for run in batch.requests:
            run_folders.make_ready(run)
    lacking = [sweep.missing(batch.requests, batch.probes) for batch in batches]
    if not any(lacking):
        wanted = sum(len(batch.trials) for batch in batches)
        logger.info("Every trial asked for (%d) is already stored; nothing to train.", wanted)
        return 0
    # Here, where there is a network more often than on a node, and before anything is submitted.
    for folder_of_data, name in {(b.folder, trial.recipe.dataset.name) for b in batches for trial in b.trials}:
        datasets.load(name, folder_of_data)
    _Head(settings, folder.absolute() / FOLDER).run(batches, lacking)
    return sum(map(len, lacking))


@dataclass(eq=False)
class _Task:
    """A submitted task: its job, its work and the arithmetic of that, and how often it was not found in the queue."""

    job: "submitit.Job"
    work: Work
    cost: float
    gone: int = 0

    def forget(self):
        """Remove its files but its logs."""
        for path in (self.work.report, self.job.paths.submitted_pickle, self.job.paths.result_pickle):
            path.unlink(missing_ok=True)


class _Head:
    def __init__(self, settings: Settings, folder: Path):
        self.settings, self.folder = settings, folder
        try:
            import submitit
        except ImportError:
            raise Refusal("A sweep on Slurm needs submitit: python -m pip install -e '.[cluster]'.") from None
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise Refusal("sbatch and srun are not found: this is no machine of a Slurm cluster.")
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
            # A node takes the launcher's surroundings for granted: a job within a job would hand on its own limits.
            srun_args=[f"--cpus-per-task={settings.cpus_per_task}"],
            additional_parameters=dict(settings.additional_parameters),
            **{name: value for name, value in asked.items() if value is not None},
        )

    def run(self, batches: Sequence[sweep.Batch], lacking: Sequence[Lacking]) -> None:
        """Return when everything that is lacking is stored; raises Refusal."""
        living = self._living()
        if living is None:
            raise Refusal("Slurm does not answer squeue; nothing is submitted.")
        tasks, works = self._submitted(living), []
        watched: list[_Task] = []
        for batch, own in zip(batches, lacking):
            # A task that lives has them in hand, if it measures them as is wanted now.
            held = {
                trial.id: task
                for task in tasks
                for part in task.work.parts
                if set(batch.probes) <= set(part.probes)
                for trial in part.trials
                if trial.id in own
            }
            watched += [task for task in dict.fromkeys(held.values()) if task not in watched]
            left = {trial: found for trial, found in own.items() if trial not in held}
            packs = planning.packs_of(batch, left, self.settings)
            cut = planning.cut(packs, self.settings, self.settings.array_parallelism)
            works += [planning.work_of(task, batch, left, self.settings, self.folder) for task in cut]
        if watched:
            logger.info("Watching %d tasks that an earlier command submitted.", len(watched))
        tasks = watched + self._submit(works)
        if works:
            networks = sum(len(work.trials) for work in works)
            logger.info("Submitted %d tasks for %d networks; their logs are in %s.", len(works), networks, self.folder)
        self._watch(tasks)

    def _submitted(self, living: Mapping[str, str]) -> list[_Task]:
        """Return the tasks of earlier commands that live, and forget the others."""
        found = []
        for path in sorted(self.folder.glob(f"*{WORK}")):
            job = self.executor.job_class(self.folder, path.name.removesuffix(WORK))
            if job.job_id not in living:
                path.unlink(missing_ok=True)
                continue
            try:
                work = job.submission().function
                if not isinstance(work, Work):
                    raise TypeError(type(work))
            except Exception as error:  # whatever another version of this code has pickled
                raise Refusal(f"Task {job.job_id} is of another version of this program: scancel it first.") from error
            found.append(_Task(job, work, work.cost))
        return found

    def _submit(self, works: Sequence[Work]) -> list[_Task]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        if not works:
            return []
        try:
            with self.executor.batch():
                jobs = [self.executor.submit(work) for work in works]
        except (FailedJobError, FailedSubmissionError, OSError, subprocess.SubprocessError) as error:
            raise Refusal(f"Slurm takes no tasks: {_sentence(error)}") from error
        return [_Task(job, work, work.cost) for work, job in zip(works, jobs)]

    def _watch(self, tasks: list[_Task]) -> None:
        """Return when all tasks have done their work, submitting again those that were killed; raises Refusal."""
        failed: list[tuple[_Task, str]] = []
        waiting, done = list(tasks), 0.0
        with progress_bar.bar(sum(task.cost for task in tasks)) as bar, self._left_to_the_cluster(waiting):
            while waiting:
                answer = self._living()
                living = answer or {}
                for task in [] if answer is None else list(waiting):
                    task.gone = 0 if task.job.job_id in living else task.gone + 1
                    lacking = task.work.lacking() if task.gone else 0
                    # Twice, for what a node has written may reach this machine a little later.
                    if not task.gone or (lacking and task.gone < 2):
                        continue
                    waiting.remove(task)
                    fault = self._fault(task)
                    task.forget()
                    if not lacking:
                        done += task.cost
                    elif fault is None and task.work.attempt < self.settings.attempts:
                        stored = len(task.work.trials) - lacking
                        logger.warning(
                            "Task %s ended with %d of %d networks; it is submitted again and goes on from there.",
                            task.job.job_id,
                            stored,
                            stored + lacking,
                        )
                        waiting += self._submit([replace(task.work, attempt=task.work.attempt + 1)])
                    else:
                        failed.append((task, fault or f"it ended {task.work.attempt} times"))
                bar.update(done + sum(min(task.cost, task.work.done()) for task in waiting) - bar.n)
                bar.set_description_str(f"{len(tasks) - len(waiting) - len(failed)} of {len(tasks)} tasks done")
                running = sum(living.get(task.job.job_id) == "RUNNING" for task in waiting)
                words = [f"{running} run", f"{len(waiting) - running} wait"]
                bar.set_postfix_str(", ".join(words + ([f"{len(failed)} failed"] if failed else [])))
                if waiting:
                    time.sleep(self.settings.poll_seconds)
        if failed:
            task, fault = failed[0]
            lacking = sum(task.work.lacking() for task, _ in failed)
            raise Refusal(
                f"{len(failed)} of {len(tasks)} tasks failed and {lacking} networks are missing; task {task.job.job_id}: "
                f"{fault}; its logs are {task.job.paths.stdout.with_suffix('.*')}"
            )

    @contextmanager
    def _left_to_the_cluster(self, waiting):
        try:
            yield
        except KeyboardInterrupt:
            logger.warning(
                "The cluster goes on with %d tasks, and the same command watches them again; scancel %s ends them.",
                len(waiting),
                " ".join(sorted({task.job.job_id.partition("_")[0] for task in waiting})),
            )
            raise

    def _fault(self, task: _Task) -> str | None:
        """Return the exception that ended a task, or None where it was killed: only then it is worth another attempt."""
        import cloudpickle

        with suppress(Exception), task.job.paths.result_pickle.open("rb") as file:
            outcome, result = cloudpickle.load(file)
            if outcome == "error":
                return result.strip().splitlines()[-1]
        return None

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
