"""What the launcher does with a batch of jobs."""

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from memo import experiment, hydra_app, sweep
from memo.config import Execution

logger = logging.getLogger(__name__)


def launch(
    config: DictConfig,
    task_function: TaskFunction,
    hydra_context: HydraContext,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Train what the jobs ask for together, then run each of them; raises Refusal before anything is trained."""
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    jobs = []
    for number, overrides in enumerate(job_overrides, first):
        job = hydra_context.config_loader.load_sweep_config(config, list(overrides))
        with open_dict(job):
            job.hydra.job.id = job.hydra.job.num = number
        jobs.append(job)
    requests = _requests(jobs)
    if any(job.plan for job in jobs):
        for (probes, _, how), wanted in requests.items():
            sweep.show_plan(wanted, probes, Execution(*how))
        return []
    logger.info("Training %d jobs together", len(jobs))
    for (probes, folder, how), wanted in requests.items():
        sweep.complete(wanted, probes, folder, Execution(*how))

    results = []
    for number, (job, overrides) in enumerate(zip(jobs, job_overrides), first):
        logger.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
        results.append(
            run_job(
                hydra_context=hydra_context,
                task_function=task_function,
                config=job,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        )
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return results


def _requests(jobs):
    """Return run folders and their trials for each set of probes, folder of data and execution that jobs share."""
    wanted = defaultdict(lambda: defaultdict(list))
    outer = HydraConfig.instance().cfg
    try:
        for job in jobs:
            HydraConfig.instance().set_config(job)  # folders may be named by ${hydra:...}
            run = Path(str(OmegaConf.select(job, "hydra.sweep.dir"))) / str(OmegaConf.select(job, "hydra.sweep.subdir"))
            typed = hydra_app.read(job)
            for folder, trials in experiment.requests(typed, run).items():
                how = dataclasses.astuple(typed.execution)
                wanted[tuple(typed.probes), typed.dataset.folder, how][folder] += trials
    finally:
        HydraConfig.instance().cfg = outer
    return wanted
