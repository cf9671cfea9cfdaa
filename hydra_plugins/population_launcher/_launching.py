"""Launching of a batch of jobs."""

import contextlib
import dataclasses
import gc
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, configure_log, env_override, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.population_launcher._running import Job
from memo.cluster import head, planning
from memo.cluster.settings import Settings
from memo.commands import experiment
from memo.config import Execution, Trial
from memo.errors import Refusal
from memo.storage import sweep
from memo.storage.sweep import Request

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    # A configuration is a thousand objects that refer to each other, so that every job would make Python look for garbage
    # again and again.
    thresholds = gc.get_threshold()
    gc.set_threshold(max(20_000, thresholds[0]), *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


@_rare_garbage_collection()
def launch(
    config: DictConfig,
    task_function: TaskFunction,
    hydra_context: HydraContext,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Train the networks of all jobs together, then run each job; raises Refusal before anything is trained.

    They train here, or as tasks of Slurm where the launcher has keys: those of memo.cluster.settings.
    """
    if not job_overrides:
        raise Refusal("The sweep has no jobs: a key of it has no values.")
    settings = _settings(config)
    folder = Path(str(config.hydra.sweep.dir))
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    folder.mkdir(parents=True, exist_ok=True)
    jobs, requests, plan = _compose(config, hydra_context, job_overrides, first)
    if plan and settings:
        planning.show_plan(requests, settings)
    elif plan:
        sweep.show_plan(requests)
    if plan:
        return []
    logger.info("Training %d jobs together", len(jobs))
    with env_override(config.hydra.job.env_set):
        if settings:
            head.complete(requests, settings, folder)
        else:
            for request in requests:
                sweep.complete(*request)

    results = []
    with experiment.Stored(requests).known_to_train():
        for number, (job, overrides) in enumerate(zip(jobs, job_overrides), first):
            logger.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
            results.append(job.run(hydra_context, task_function))
            configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return results


def _settings(config: DictConfig) -> Settings | None:
    """Return the launcher's keys, checked, or None where it has none."""
    keys = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    assert isinstance(keys, dict)
    del keys["_target_"]
    if not keys:
        return None
    settings = Settings(**{str(key): value for key, value in keys.items()})
    planning.admit(settings)
    return settings


def _compose(
    config: DictConfig, hydra_context: HydraContext, job_overrides: Sequence[Sequence[str]], first: int
) -> tuple[list[Job], list[Request], bool]:
    """Return the jobs, their joint requests, and whether any of them is to show a plan."""
    jobs, plan = [], False
    # By what has to be equal in one request: probes, the folder of the data, how to train. Jobs may share trials: by their ids.
    wanted: dict[tuple, dict[Path, dict[str, Trial]]] = defaultdict(lambda: defaultdict(dict))
    for number, overrides in enumerate(job_overrides, first):
        composed = hydra_context.config_loader.load_sweep_config(config, list(overrides))
        composed.hydra.job.id = composed.hydra.job.num = number
        job = Job(composed)
        jobs.append(job)
        typed = experiment.admitted(composed, overrides)
        plan |= typed.plan
        for runs, probes, folder, how in experiment.requests(typed, job.folder):
            for run, trials in runs.items():
                own = wanted[tuple(probes), folder, dataclasses.astuple(how)][run]
                own.update((trial.id, trial) for trial in trials)
    requests = [
        Request({run: list(own.values()) for run, own in runs.items()}, probes, folder, Execution(*how))
        for (probes, folder, how), runs in wanted.items()
    ]
    return jobs, requests, plan
