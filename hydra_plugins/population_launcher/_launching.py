"""What the launcher does with a batch of jobs."""

import contextlib
import dataclasses
import gc
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, configure_log, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.population_launcher._running import Job
from hydra_plugins.population_launcher.settings import Settings
from memo.cluster import head, planning
from memo.commands import experiment
from memo.config import Execution, check
from memo.storage import sweep

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    # A configuration is a thousand objects that know each other, so jobs make Python look for garbage all the time:
    # 8 ms a job, and 3 with this, in the same memory.
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
    """Train what the jobs ask for together, then run each of them; raises Refusal before anything is trained.

    They train here, or as tasks of Slurm where the launcher has keys: those of Settings.
    """
    keys = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    assert isinstance(keys, dict)
    del keys["_target_"]
    settings = Settings(**{str(key): value for key, value in keys.items()}) if keys else None
    if settings:
        check(settings, "hydra.launcher.")
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)

    jobs, plan = [], False
    # By the folder of the data and by execution, then as experiment.requests gives them.
    requests: Any = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for number, overrides in enumerate(job_overrides, first):
        composed = hydra_context.config_loader.load_sweep_config(config, list(overrides))
        composed.hydra.job.id = composed.hydra.job.num = number
        job = Job(composed)
        jobs.append(job)
        typed = experiment.admitted(composed, overrides)
        plan |= typed.plan
        shared = typed.dataset.folder, dataclasses.astuple(typed.execution)
        for probes, runs in experiment.requests(typed, job.folder).items():
            for run, trials in runs.items():
                requests[shared][probes][run] += trials

    batches = [
        sweep.Batch(wanted, probes, folder, Execution(*how))
        for (folder, how), groups in requests.items()
        for probes, wanted in groups.items()
    ]
    if plan and settings:
        planning.show_plan(batches, settings)
    elif plan:
        for (_, how), groups in requests.items():
            sweep.show_plan(groups, Execution(*how))
    if plan:
        return []
    logger.info("Training %d jobs together", len(jobs))
    if settings:
        head.complete(batches, settings, Path(str(config.hydra.sweep.dir)))
    else:
        for batch in batches:
            sweep.complete(*batch)
    stored = experiment.Stored()
    for batch in batches:
        stored.add(batch.requests, batch.probes)

    results = []
    with stored.known_to_train():
        for number, (job, overrides) in enumerate(zip(jobs, job_overrides), first):
            logger.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
            results.append(job.run(hydra_context, task_function))
            configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return results
