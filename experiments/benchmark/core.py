"""The benchmark without Hydra, for machines that lack it.

python -m experiments.benchmark.core FOLDER [quick|standard|paper]    measure what the folder lacks, then write its page
python -m experiments.benchmark.core FOLDER SCALE page                write the page of readings made elsewhere, measure nothing
"""

import logging
import sys
from pathlib import Path

from experiments.benchmark import command, sizes
from memo.errors import Refusal

USAGE = "python -m experiments.benchmark.core FOLDER [quick|standard|paper] [page]"


def main(arguments: list[str]) -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("jax").setLevel(logging.WARNING)
    if not 1 <= len(arguments) <= 3 or arguments[0].startswith("-") or arguments[2:] not in ([], ["page"]):
        raise Refusal(f"The command is {USAGE}.")
    folder, scale = Path(arguments[0]), arguments[1] if len(arguments) > 1 else "standard"
    asked = sizes.of_scale(scale)
    words = " ".join(["python -m experiments.benchmark.core FOLDER", *arguments[1:]])
    if arguments[2:]:
        command.redraw(folder, asked, words)
    else:
        command.run(folder, asked, words)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refusal as refusal:
        sys.exit(f"Refused: {refusal}")
    except KeyboardInterrupt:
        sys.exit("Interrupted: what had finished is stored, and the same command goes on from there.")
