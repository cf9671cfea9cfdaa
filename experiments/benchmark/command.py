"""What both commands do: measure what a folder lacks, then write its outputs."""

import logging
from pathlib import Path

from experiments.benchmark import contestants, environment, launchers, page, suite
from experiments.benchmark.journal import Journal, stored
from experiments.benchmark.sizes import Sizes
from memo.data import datasets
from memo.storage import run_folders

logger = logging.getLogger(__name__)

BUSY = 0.5  # processes: PyTorch with two threads on two cores was seen to lose ten times its speed to one other


def run(folder: Path, sizes: Sizes, command: str, data: str | None = None, sweep: bool = False) -> None:
    """Measure and write; `data` is the folder of the data set's files or None, `sweep` measures the sweep of jobs too.

    `command` is what the page names as its origin.
    """
    run_folders.require_writable(folder)
    suite.start()
    dataset = datasets.load("mnist", data)
    if not contestants.has_torch():
        logger.warning("%s: its rows will be missing (python -m pip install -e '.[bench]').", contestants.NO_TORCH)
    origin = environment.origin()
    if (origin["load"] or 0) > BUSY:
        logger.warning("Other work keeps this machine busy (load %.1f): the readings will show it.", origin["load"])
    journal = Journal(folder, environment.fingerprint(), origin)
    suite.measure(journal, sizes, dataset)
    if sweep:
        launchers.measure(journal, sizes.jobs, sizes.jobs_basic, data)
    elif sizes.jobs:
        logger.info("The sweep of %d jobs is left out: python -m experiments.benchmark measures it.", sizes.jobs)
    page.write(journal, sizes, folder, command, sweep)
    logger.info("Written: %s", folder / "benchmark.md")


def redraw(folder: Path, sizes: Sizes, command: str) -> None:
    """Write the outputs of readings that were made on any machine."""
    page.write(stored(folder), sizes, folder, command, sweep=False)
