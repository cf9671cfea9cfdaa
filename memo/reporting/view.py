"""The view of a ledger on the pages: sentences with their verdicts and folded rows, and the sources they cite.

ledger, sections ──> sentences by id, each with its rows ──> report.html of an experiment, pages of the suite
"""

import html
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from memo.reporting import claims, sentences, sources

BRIEF = 80  # characters, about a line


@dataclass(frozen=True)
class SentenceView:
    """A sentence as it is shown: `anchor` is its id on a page, `key` that of its source, `rows` its claims as in a ledger."""

    id: str
    anchor: str
    source: str
    key: str
    statement: str
    kind: str
    verdict: str
    counts: dict[str, int]
    rows: list[dict]

    @property
    def said_by(self) -> str:
        """Whose it is, in words: its source, or this suite with a question of its own."""
        return "own question" if self.kind == sources.OWN else self.source

    @property
    def brief(self) -> str:
        """Its statement in a line, cut where it is longer."""
        return textwrap.shorten(self.statement, BRIEF, placeholder=" …").rstrip(".")

    @property
    def conditions(self) -> list[str]:
        """The conditions of its claims, in their order."""
        return list(dict.fromkeys(row["condition"] for row in self.rows))

    @property
    def quantities(self) -> list[dict]:
        """Its rows as a table: one entry per quantity and expected range, with a cell per condition."""
        found: dict[tuple[str, str], dict] = {}
        for row in self.rows:
            entry = {
                "quantity": row["family"],
                "expected": row["expected"],
                "basis": row["basis"],
                "figure": row["figure"],
            }
            found.setdefault((row["family"], row["expected"]), entry | {"cells": {}})["cells"][row["condition"]] = row
        return list(found.values())

    @property
    def notes(self) -> dict[str, str]:
        """The notes on its rows, each with what it is about, or nothing where it is about all of them."""
        about = {row["claim"]: row["condition"] or row["family"] for row in self.rows}
        every = dict.fromkeys(about.values())
        found: dict[str, dict[str, None]] = {}
        for row in self.rows:
            if row["note"]:
                found.setdefault(row["note"], {})[about[row["claim"]]] = None
        return {note: ", ".join(own) if len(own) < len(every) else "" for note, own in found.items()}


def of_ledger(ledger: pd.DataFrame, experiment: str = "") -> list[SentenceView]:
    """Return the sentences of an experiment's ledger in its order; anchors carry the experiment's name where it is given."""
    keys = {source.cite: key for key, source in sources.load().items()}
    rows = dict(list(ledger.groupby(["sentence", "source", "statement"], sort=False)))
    return [
        SentenceView(
            id=facts["sentence"],
            anchor=anchor("sentence", experiment, facts["sentence"] or facts["statement"]),
            source=facts["source"],
            key=keys.get(facts["source"], ""),
            statement=facts["statement"],
            kind=facts["kind"],
            verdict=facts["verdict"],
            counts={verdict: facts[verdict] for verdict in claims.VERDICTS if facts[verdict]},
            rows=rows[facts["sentence"], facts["source"], facts["statement"]].to_dict("records"),
        )
        for facts in sentences.table(ledger).to_dict("records")
    ]


def tally(shown: Iterable[SentenceView], *, own: bool) -> dict[str, int]:
    """Return the number of sentences by verdict: those of sources, or (`own`) questions of this suite."""
    verdicts = [each.verdict for each in shown if (each.kind == sources.OWN) == own]
    return {verdict: verdicts.count(verdict) for verdict in sentences.VERDICTS}


def cited(shown: Iterable[SentenceView], texts: Iterable[str] = ()) -> list[str]:
    """Return the keys of the sources of sentences, then of those that texts name by their short text, each once."""
    said = " ".join(html.unescape(" ".join(texts)).split())
    named = [key for key, source in sources.load().items() if source.kind != sources.OWN and source.cite in said]
    return list(dict.fromkeys([*(each.key for each in shown if each.key and each.kind != sources.OWN), *named]))


def anchor(*texts: str) -> str:
    """Return an anchor made of texts: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(texts).lower()).strip("-")
