"""Reports: an experiment's findings, claims and figures as one self-contained page, with its tables beside it."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from memo.reporting import claims, inline_images, sentences
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import Tables, replacing

STORED = "report.json"


@dataclass(frozen=True)
class Figure:
    """A picture in a report: `file` below the report's folder; the caption's first sentence states the finding."""

    file: str
    title: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Shown:
    """A table that stands in the report itself; cells are text or numbers as they are to be read."""

    title: str
    caption: str
    frame: pd.DataFrame


@dataclass(frozen=True)
class Report:
    """What an experiment's analysis returns; texts may hold HTML."""

    title: str
    question: str
    findings: Sequence[str]
    ledger: pd.DataFrame
    figures: Sequence[Figure]
    methods: Sequence[str]
    not_shown: Sequence[str]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    shown: Sequence[Shown] = ()
    summary: Figure | None = None  # the findings in one picture, which only the suite's report and the README show
    changes: Sequence[Mapping[str, str]] = ()  # of declared claims: claim, was, now, reason
    scale: str = ""


def number(value: float, digits: int = 3) -> str:
    """Return a number for people: up to `digits` decimals, fewer for large ones; "n/a" for NaN."""
    if np.isnan(value):
        return "n/a"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    decimals = digits if abs(value) < 2 else max(0, digits - 1 - int(np.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def with_interval(estimate: Estimate | None, *, count: bool = True) -> str:
    """Return an estimate as text with its interval and, unless the text around says it, n; a bound as "at least"."""
    if estimate is None:
        return "n/a"
    n = f" (n = {estimate.n})" if count else ""
    if estimate.high == np.inf:
        return f"at least {number(estimate.low)}{n}"
    if np.isnan(estimate.low):
        return f"{number(estimate.value)} (n = {estimate.n}, no interval)"
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]{n}"


def write(report: Report, folder: Path, sessions: Sequence[dict], command: str, drawn: Mapping | None = None) -> None:
    """Write `claims.csv`, `tables/*.csv`, `findings.md`, `report.html`, `report.json`, each whole or not at all.

    `sessions` are the provenance entries of the run folders that the report was made from, `command` what redraws it,
    `drawn` where and when that was done (`memo.storage.provenance.drawing`). `report.json` holds for `experiments.report` what
    stands in no other file but the page, and comes last: with it the results are complete.
    """
    claims.write(report.ledger, folder / "claims.csv")
    claims.write(sentences.table(report.ledger), folder / "sentences.csv")
    for name, table in report.tables.items():
        write_table(table, folder / "tables" / f"{name}.csv")
    with replacing(folder / "findings.md") as path:
        path.write_text("".join(f"- {finding}\n" for finding in report.findings))
    environment = templates()
    environment.globals["embed"] = lambda file: inline_images.data_uri(folder / file)
    distinct = apart(sessions)
    page = environment.get_template("report.html").render(
        report=report,
        command=command,
        statements=list(_statements(report.ledger)),
        verdicts=report.ledger["verdict"].value_counts().reindex(claims.VERDICTS, fill_value=0).to_dict(),
        sessions=distinct,
        totals={name: sum(entry[name] for entry in distinct) for name in distinct[0] if name.endswith("_seconds")},
    )
    with replacing(folder / "report.html") as path:
        path.write_text(page)
    stored = {
        "title": report.title,
        "question": report.question,
        "findings": list(report.findings),
        "figures": [asdict(figure) for figure in report.figures],
        "summary": asdict(report.summary) if report.summary else None,
        "methods": list(report.methods),
        "not_shown": list(report.not_shown),
        "command": command,
        "drawn": drawn,
        "sessions": [{key: value for key, value in entry.items() if key != "earlier"} for entry in distinct],
        "changes": list(report.changes),
        "scale": report.scale,
        "claims": digest(folder / "claims.csv"),
    }
    with replacing(folder / STORED) as path:
        path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all: UTF-8, LF, floats to 8 significant digits, missing cells empty."""
    with replacing(path) as temporary:
        temporary.write_text(_as_csv(frame), encoding="utf-8", newline="\n")


def read_table(text: str) -> pd.DataFrame:
    """Return a table from its CSV: columns of numbers or of booleans where all that are not empty are, texts otherwise."""
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).apply(_typed)


def as_committed(tables: Mapping[str, pd.DataFrame]) -> Tables:
    """Return tables as they are read back once they are written: what is computed from them can be computed again."""
    return Tables({name: read_table(_as_csv(frame)) for name, frame in tables.items()})


def _as_csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def _typed(column: pd.Series) -> pd.Series:
    """Return a column of texts as numbers or booleans where all that are not empty are; kinds of labels stay texts."""
    empty = column == ""
    # As pandas writes booleans; "true" is a kind of labels.
    if not empty.any() and len(column) and column.isin(("True", "False")).all():
        return column == "True"
    try:
        return pd.to_numeric(column.mask(empty))
    except ValueError:
        return column


def apart(sessions: Sequence[dict]) -> list[dict]:
    """Return training sessions without repetition: the run folders of one population carry the same one."""
    return list({(entry["finished"], entry["train_seconds"]): entry for entry in sessions}.values())


def digest(path: Path) -> str:
    """Return the SHA-256 of a text file, whatever a checkout made of its ends of lines."""
    return hashlib.sha256(path.read_text(encoding="utf-8").encode()).hexdigest()


def templates(**options: Any) -> jinja2.Environment:
    """Return the environment of the pages in `memo/reporting/templates`; what a page asks for and is not given is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("memo.reporting"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        **{"autoescape": True} | options,
    )
    environment.filters["number"] = number
    return environment


def _statements(ledger):
    """Yield each statement with its conditions (such as widths) as columns and its quantities as rows of claims."""
    for (source, statement), rows in ledger.groupby(["source", "statement"], sort=False):
        quantities = [
            {
                "quantity": quantity,
                "expected": expected,
                "figure": own["figure"].iloc[0],
                "cells": own.set_index("condition").to_dict("index"),
            }
            for (quantity, expected), own in rows.groupby(["family", "expected"], sort=False)
        ]
        # Which rows a note is about, by condition or else by quantity, unless it is about all of them.
        about = rows["condition"].where(rows["condition"] != "", rows["family"])
        notes = about[rows["note"] != ""].groupby(rows["note"], sort=False).agg(lambda own: list(dict.fromkeys(own)))
        yield {
            "source": source,
            "statement": statement,
            "conditions": list(dict.fromkeys(rows["condition"])),
            "quantities": quantities,
            "notes": {note: ", ".join(own) * (len(own) < about.nunique()) for note, own in notes.items()},
        }
