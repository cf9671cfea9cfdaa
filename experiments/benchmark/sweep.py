"""What a sweep of many tiny jobs costs from the shell: Hydra's basic launcher beside `hydra/launcher=population`.

Each run is a process of its own with an empty results folder. The programs that XLA compiles lie in a cache that the runs
share, so that a run can be timed with them compiled or not.
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.benchmark.journal import ROOT, Journal
from experiments.benchmark.names import BASIC, BASIC_FEWER, JOBS, POPULATION, POPULATION_COLD
from memo.errors import Refusal

logger = logging.getLogger(__name__)

RECIPE = (
    *("dataset.n_train=512", "dataset.n_test=500", "model.widths=[16,16]", "batch_size=128"),
    *("epochs=5", "evaluations=4"),
)
RATES = ("0.01", "0.02", "0.03", "0.05", "0.1")


def setting(jobs: int) -> str:
    """Return the name of the sweep's setting."""
    return f"sweep of {jobs} jobs"


def swept(jobs: int) -> list[str]:
    """Return overrides whose product has that many jobs (an even number): labels, learning rates, seeds."""
    rates = RATES if jobs % (2 * len(RATES)) == 0 else RATES[:1]
    seeds = map(str, range(jobs // (2 * len(rates))))
    return ["labels.kind=true,shuffled", f"optimizer.learning_rate={','.join(rates)}", f"seed={','.join(seeds)}"]


def measure(journal: Journal, jobs: int, jobs_basic: int, data: str | None) -> None:
    """Time the sweeps that the journal lacks: the population launcher on all jobs, the basic one on `jobs_basic`.

    A shorter run of the basic launcher tells the cost of a further job from that of starting.
    """
    name = setting(jobs)

    def missing(contestant: str, count: int) -> bool:
        return count > 0 and not journal.find(setting=name, contestant=contestant, amount=count)

    def add(contestant: str, launcher: str, count: int) -> None:
        seconds = take(launcher, count, Path(folder), data)
        if missing(contestant, count):
            journal.add(setting=name, contestant=contestant, repetition=1, unit=JOBS, seconds=seconds, amount=count)

    with tempfile.TemporaryDirectory() as folder:
        if missing(POPULATION_COLD, jobs) or missing(POPULATION, jobs):
            add(POPULATION_COLD, "population", jobs)
            add(POPULATION, "population", jobs)
        if missing(BASIC, jobs_basic):
            take("basic", 2, Path(folder), data)  # compiles what the timed runs find in the cache
            if jobs_basic < jobs:
                add(BASIC_FEWER, "basic", max(2, jobs_basic // 3 // 10 * 10))
            add(BASIC, "basic", jobs_basic)


def take(launcher: str, jobs: int, folder: Path, data: str | None) -> float:
    """Return the seconds of a sweep as a command, with its results in an empty folder below `folder`."""
    logger.info("sweep: %d jobs with the %s launcher", jobs, launcher)
    command = [sys.executable, "-m", "experiments.train", "--multirun", f"hydra/launcher={launcher}"]
    command += [f"hydra.sweep.dir={tempfile.mkdtemp(dir=folder)}", *RECIPE, *swept(jobs)]
    command += [f"dataset.folder={data}"] if data else []
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",  # as the suite's commands set it
    }
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or str(done.returncode)).splitlines()
        raise Refusal(f"The sweep with the {launcher} launcher failed: {words[-1]}")
    return time.perf_counter() - started
