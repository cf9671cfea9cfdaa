"""The findings of all experiments, sentence by sentence, on one page.

    python -m experiments.report             results/report.html and results/report.md: seconds
    python -m experiments.report FOLDER      the same of results elsewhere
    python -m experiments.report --audit     recomputes every claim from the committed tables, and compares

Reads only what the experiments of conf/experiment/ have stored below results/; trains nothing. An experiment that is missing or
incomplete is named on the page, with its command.
"""

import argparse
import itertools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from memo.commands import starting
from memo.commands.audit import audit
from memo.errors import Refusal
from memo.reporting import results, suite_report
from memo.reporting.report import redrawing
from memo.reporting.results import Result


def main() -> None:
    """Write the page and report incomplete experiments on the terminal; or audit the ledgers."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report", description="The findings of all experiments."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("results"), help="results (the default)")
    parser.add_argument("--audit", action="store_true", help="compute every claim again from the committed tables")
    asked = parser.parse_args()
    if not asked.folder.is_dir():
        sys.exit(f"Refused: {asked.folder} is not a folder.")
    found = [results.every(experiment, asked.folder) for experiment in results.experiments()]
    status = 0
    try:
        with starting.quiet_when_unread():
            if asked.audit:
                status = _audit(list(itertools.chain(*found)), asked.folder)
            else:
                _write([own[0] for own in found], asked.folder)
    except Refusal as refusal:
        sys.exit(f"Refused: {refusal}")
    if asked.audit:
        sys.exit(status)


def _write(found: Sequence[Result], folder: Path) -> None:
    with redrawing(folder):
        suite_report.write(found, folder, shlex.join(["python", "-m", "experiments.report", *sys.argv[1:]]))
    for sentence in suite_report.unfinished(found):
        print(sentence)
    print(f"{folder / 'report.html'}: {sum(len(result.ledger) for result in found)} claims")


def _audit(found: Sequence[Result], folder: Path) -> int:
    """Print what the audit of each ledger found, and return 1 where anything differs or is not complete."""
    audits = []
    for result in found:
        if result.ledger.empty:
            continue
        each = audit(result, folder / result.folder)
        audits.append(each)
        print(
            f"{each.experiment}: {each.claims} claims, {each.numbers} with a number, {len(each.mismatches)} mismatches"
        )
        for mismatch in each.mismatches:
            print(f"  {mismatch}")
    incomplete = suite_report.unfinished(found)
    for sentence in incomplete:
        print(sentence)
    wrong = sum(len(each.mismatches) for each in audits)
    print(f"{sum(each.numbers for each in audits)} numbers recomputed from committed tables: {wrong} mismatches.")
    return 1 if wrong or incomplete or not audits else 0


if __name__ == "__main__":
    main()
