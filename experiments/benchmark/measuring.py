"""Taking every reading that a folder lacks, and writing the report of those that it has."""

import logging
import os
import time
from dataclasses import asdict
from pathlib import Path

import jax

from experiments.benchmark import commands, contestants, journal
from experiments.benchmark.analysis import analyse
from experiments.benchmark.interleaving import interleave
from experiments.benchmark.journal import Journal
from experiments.benchmark.settings import PUBLISHED, Sizes, listed
from memo.data import datasets
from memo.reporting import report
from memo.storage import provenance, run_folders
from memo.training import machine

logger = logging.getLogger(__name__)

BUSY = 0.5  # processes: PyTorch with two threads on two cores was seen to lose ten times its speed to one other


def measure(folder: Path, sizes: Sizes, command: str, data: str | None = None) -> None:
    """Take the readings that a folder lacks, whose report will name `command` as its origin.

    `data` is the folder of the data set's files, or None.
    """
    run_folders.require_writable(folder)
    # PyTorch and JAX share a GPU here, so neither may take all of its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    machine.use_every_core()
    dataset = datasets.load("mnist", data)
    if not contestants.has_torch():
        logger.warning("%s: its rows will be missing (python -m pip install -e '.[bench]').", contestants.NO_TORCH)
    origin = journal.origin()
    if (origin["load"] or 0) > BUSY:
        logger.warning("Other work keeps this machine busy (load %.1f): the readings will show it.", origin["load"])
    book, every = Journal(folder, journal.fingerprint(), origin), listed(sizes)
    asked = {"sizes": asdict(sizes), "settings": [work.name for work in every], "command": command}
    if {key: book.last(key) for key in asked} != asked:
        book.add(**asked)
    with jax.default_matmul_precision("highest"):  # on a GPU, all of JAX computes in float32 here, as PyTorch does
        for work in every:
            if not book.find(setting=work.name):
                book.add(setting=work.name, work=work._asdict())
            taking_part = contestants.taking_part(work, dataset, sizes.gflop)
            interleave(book, work.name, taking_part, sizes.repetitions, warm_up=work.part != PUBLISHED)
    commands.measure(book, sizes, data)


def redraw(folder: Path) -> None:
    """Write the report of readings that were made on any machine."""
    book, started = Journal(folder), time.perf_counter()
    with report.redrawing(folder):
        made = analyse(book, folder)
        report.write(made, folder, [], book.last("command"), provenance.drawing(time.perf_counter() - started))
    logger.info("Written: %s", folder / "report.html")
