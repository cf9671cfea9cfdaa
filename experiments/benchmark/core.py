"""The benchmark where Hydra is not installed, and what its Hydra command calls.

python -m experiments.benchmark.core FOLDER [quick|standard|paper]    measure what the folder lacks, then write its report
python -m experiments.benchmark.core FOLDER redraw                    write the report of readings made anywhere
"""

import logging
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from experiments.benchmark import contestants, journal, names, settings
from experiments.benchmark.journal import Journal
from experiments.benchmark.sizes import SCALES, Sizes, of_scale
from memo.data import datasets
from memo.errors import Refusal
from memo.storage import provenance, run_folders
from memo.training import machine

logger = logging.getLogger(__name__)

BUSY = 0.5  # processes: PyTorch with two threads on two cores was seen to lose ten times its speed to one other
REDRAW = "redraw"


def run(folder: Path, sizes: Sizes, command: str, data: str | None = None, with_hydra: bool = False) -> None:
    """Measure what a folder lacks and write its report, which names `command` as its origin.

    `data` is the folder of the data set's files or None; the sweep of jobs is measured `with_hydra`.
    """
    run_folders.require_writable(folder)
    # PyTorch and JAX share a GPU here, so neither may take all of its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    machine.use_every_core()
    dataset = datasets.load("mnist", data)
    if not contestants.has_torch():
        logger.warning("%s: its rows will be missing (python -m pip install -e '.[bench]').", names.NO_TORCH)
    origin = journal.origin()
    if (origin["load"] or 0) > BUSY:
        logger.warning("Other work keeps this machine busy (load %.1f): the readings will show it.", origin["load"])
    book = Journal(folder, journal.fingerprint(), origin)
    asked = {"sizes": asdict(sizes), "command": command}
    if not book.records or book.find(**asked)[-1:] != [record for record in book.records if "sizes" in record][-1:]:
        book.add(**asked)
    settings.measure(book, sizes, dataset)
    if with_hydra:
        from experiments.benchmark import sweep

        sweep.measure(book, sizes.jobs, sizes.jobs_basic, data)
    redraw(folder)


def redraw(folder: Path) -> None:
    """Write the report of readings that were made on any machine."""
    from experiments.benchmark.analysis import analyse
    from memo.reporting import report

    book, started = Journal(folder), time.perf_counter()
    made = analyse(book, folder)
    report.write(made, folder, [], book.last("command"), provenance.drawing(time.perf_counter() - started))
    logger.info("Written: %s", folder / "report.html")


def main(arguments: list[str]) -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("jax").setLevel(logging.WARNING)
    folder, what = (*arguments, "standard")[:2] if len(arguments) in (1, 2) else ("-", "")
    if folder.startswith("-"):
        raise Refusal(f"The command is python -m experiments.benchmark.core FOLDER [{'|'.join((*SCALES, REDRAW))}].")
    if what == REDRAW:
        redraw(Path(folder))
    else:
        run(Path(folder), of_scale(what), f"python -m experiments.benchmark.core FOLDER {what}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refusal as refusal:
        sys.exit(f"Refused: {refusal}")
    except KeyboardInterrupt:
        sys.exit("Interrupted: what had finished is stored, and the same command goes on from there.")
