"""Audit: every claim of a committed ledger recomputed from the committed tables, and compared.

results/<name>/tables/*.csv ──answers──> ledger ──compared with──> results/<name>/claims.csv, sentences.csv
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd

from memo.commands.analysis import Analysis
from memo.reporting import results, sentences
from memo.reporting.claims import NUMBERS
from memo.reporting.report import read_table
from memo.reporting.results import Result
from memo.storage.run_folders import Tables

EXACT = ("sentence", "source", "statement", "quantity", "n", "verdict")
# claims.csv has 6 significant digits.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Audit:
    """The result of an audit: numbers of claims, of claims with a number, and a sentence for each mismatch."""

    experiment: str  # its folder below results/
    claims: int
    numbers: int
    mismatches: list[str]


def audit(result: Result, folder: Path) -> Audit:
    """Return the audit of an experiment's committed results in `folder`."""
    analysis: Analysis = import_module(f"experiments.{result.name}.analysis").analyse
    tables = results.tables(folder)
    numbers = int(result.ledger["measured"].notna().sum())
    try:
        found = analysis.answers(Tables({name: table for name, table in tables.items() if name != "claims"}))
    except (KeyError, AttributeError) as error:  # a column or a table that the experiment had not when it was run
        lacking = f"the tables lack what today's analysis reads ({error}); {result.command or result.experiment.command} makes them anew."
        return Audit(result.folder, len(result.ledger), numbers, [lacking])
    again = found.ledger(result.scale)
    mismatches = _differences(result.ledger, again)
    stored = read_table((folder / "sentences.csv").read_text(encoding="utf-8"))
    if not stored.astype(str).equals(sentences.table(result.ledger).astype(str)):
        mismatches.append(f"{result.folder}: sentences.csv does not follow from claims.csv.")
    return Audit(result.folder, len(result.ledger), numbers, mismatches)


def _differences(committed: pd.DataFrame, again: pd.DataFrame) -> list[str]:
    """Return a sentence for each claim that is missing on one side, or differs in a number, a text or its verdict."""
    old, new = committed.set_index("claim"), again.set_index("claim")
    found = [f"{name} is only in claims.csv." for name in old.index.difference(new.index)]
    found += [f"{name} is not in claims.csv." for name in new.index.difference(old.index)]
    for name in old.index.intersection(new.index):
        here, there = old.loc[name], new.loc[name]
        for column in NUMBERS:
            if not np.isclose(here[column], there[column], rtol=TOLERANCE, atol=1e-12, equal_nan=True):
                found.append(f"{name}: {column} is {here[column]:g}, recomputed {there[column]:g}.")
        differing = [column for column in EXACT if not _same(here[column], there[column])]
        found += [f"{name}: {column} is {here[column]}, recomputed {there[column]}." for column in differing]
    return found


def _same(one: object, other: object) -> bool:
    return pd.isna(one) == pd.isna(other) and (pd.isna(one) or one == other)
