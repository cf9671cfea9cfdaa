"""What have all experiments found, claim by claim? One page for the whole suite.

    python -m experiments.report             results/report.html and results/report.md: seconds
    python -m experiments.report FOLDER      the same of results elsewhere

Reads only what the experiments of conf/experiment/ have stored below results/; trains nothing and analyses nothing. An
experiment that is missing or half finished is named on the page, with the command that makes it.
"""

import argparse
import shlex
import sys
from pathlib import Path

from memo.errors import Refusal
from memo.reporting import results, suite_report


def main() -> None:
    """Write the page, and say on the terminal what is not complete."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("results"), help="results (the default)")
    folder = parser.parse_args().folder
    if not folder.is_dir():
        sys.exit(f"Refused: {folder} is not a folder.")
    found = [results.read(experiment, folder / experiment.name) for experiment in results.experiments()]
    try:
        suite_report.write(found, folder, shlex.join(["python", "-m", "experiments.report", *sys.argv[1:]]))
    except Refusal as refusal:
        sys.exit(f"Refused: {refusal}")
    for sentence in suite_report.unfinished(found):
        print(sentence)
    print(f"{folder / 'report.html'}: {sum(len(result.ledger) for result in found)} claims")


if __name__ == "__main__":
    main()
