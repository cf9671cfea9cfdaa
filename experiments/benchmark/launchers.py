"""What a sweep of many tiny jobs costs from the shell: Hydra's basic launcher beside `hydra/launcher=population`.

Each run is a process of its own with a cold results folder. The programs that XLA compiles lie in a cache that the
runs share, so that a run can be timed with them compiled ("warm") or not ("cold").
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.benchmark.journal import Journal
from memo.errors import Refusal

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
JOBS = "jobs"  # the unit
RECIPE = (
    *("dataset.n_train=512", "dataset.n_test=500", "model.widths=[16,16]", "batch_size=128"),
    *("epochs=5", "evaluations=4"),
)
RATES = ("0.01", "0.02", "0.03", "0.05", "0.1")
POPULATION_COLD, POPULATION, BASIC = "population, programs not compiled yet", "population", "basic"
FEWER = "basic, fewer jobs"


def setting(jobs: int) -> str:
    """Return the name of the sweep's setting."""
    return f"sweep of {jobs} jobs"


def swept(jobs: int) -> list[str]:
    """Return overrides whose product has that many jobs (an even number): labels, learning rates, seeds."""
    rates = RATES if jobs % (2 * len(RATES)) == 0 else RATES[:1]
    seeds = jobs // (2 * len(rates))
    return [
        "labels.kind=true,shuffled",
        f"optimizer.learning_rate={','.join(rates)}",
        f"seed={','.join(map(str, range(seeds)))}",
    ]


def fewer(jobs: int) -> int:
    """Return the number of jobs of the shorter run of the basic launcher, by which its start-up is told apart."""
    return max(2, jobs // 3 // 10 * 10)


def measure(journal: Journal, jobs: int, jobs_basic: int, data: str | None) -> None:
    """Time the sweeps that the journal lacks: the population launcher on all jobs, the basic one on `jobs_basic`."""
    name = setting(jobs)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def missing(contestant, count):
            return not [r for r in journal.find(setting=name, contestant=contestant) if r["amount"] == count]

        def take(contestant, launcher, count):
            seconds = _run(launcher, count, folder, data)
            if contestant and missing(contestant, count):
                journal.add(setting=name, contestant=contestant, repetition=1, unit=JOBS, seconds=seconds, amount=count)

        if jobs and (missing(POPULATION_COLD, jobs) or missing(POPULATION, jobs)):
            take(POPULATION_COLD, "population", jobs)
            take(POPULATION, "population", jobs)
        if jobs_basic and missing(BASIC, jobs_basic):
            take(None, "basic", 2)  # compiles what the timed runs find in the cache
            if jobs_basic < jobs:
                take(FEWER, "basic", fewer(jobs_basic))
            take(BASIC, "basic", jobs_basic)


def _run(launcher, jobs, folder, data):
    logger.info("%s: %d jobs with the %s launcher", "sweep", jobs, launcher)
    results = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "experiments.train", "--multirun", f"hydra/launcher={launcher}"]
    command += [f"hydra.sweep.dir={results}", *RECIPE, *swept(jobs)]
    command += [f"dataset.folder={data}"] if data else []
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",  # as the suite's commands set it
    }
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Refusal(f"The sweep with the {launcher} launcher failed: {words[-1] if words else done.returncode}")
    return seconds
