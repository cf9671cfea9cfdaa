"""Reports: an experiment's findings, claims and figures as one self-contained page, with its tables beside it."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from memo.reporting import claims, inline_images, markup, sentences, sources, view
from memo.statistics.intervals import Estimate
from memo.storage import locks
from memo.storage.run_folders import Tables, clear_strays, replacing

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
class Section:
    """A chapter of a report; `sentences` are the ids of those that it answers."""

    title: str
    findings: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    shown: Sequence[Shown] = ()
    sentences: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """The result of an experiment's analysis; texts may hold HTML.

    Without `sections` its findings, figures, shown tables and sentences make one. `in_short` has the findings of key
    sentences in plain words, by their ids.
    """

    title: str
    question: str
    findings: Sequence[str]
    ledger: pd.DataFrame
    figures: Sequence[Figure]
    methods: Sequence[str]
    not_shown: Sequence[str]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    shown: Sequence[Shown] = ()
    summary: Figure | None = None  # the findings in one picture, which the README shows too
    sections: Sequence[Section] = ()
    in_short: Mapping[str, str] = field(default_factory=dict)
    changes: Sequence[Mapping[str, str]] = ()  # of declared claims: claim, was, now, reason
    scale: str = ""

    @property
    def chapters(self) -> list[Section]:
        """The report's sections, and one for sentences that none of them answers."""
        every = list(dict.fromkeys(self.ledger["sentence"]))
        if not self.sections:
            return [Section("Findings", self.findings, self.figures, self.shown, every)]
        left = [sentence for sentence in every if not any(sentence in each.sentences for each in self.sections)]
        return [*self.sections, *([Section("Not yet measured", sentences=left)] if left else [])]


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
    """Return an estimate as text with its interval and, unless stated elsewhere, n; a bound as "at least"."""
    if estimate is None:
        return "n/a"
    n = f" (n = {estimate.n})" if count else ""
    if estimate.high == np.inf:
        return f"at least {number(estimate.low)}{n}"
    if np.isnan(estimate.low):
        return f"{number(estimate.value)} (n = {estimate.n}, no interval)"
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]{n}"


@contextmanager
def redrawing(folder: Path) -> Iterator[None]:
    """Hold a report's folder for this process while it draws figures and writes, and clear what a killed one has left."""
    folder.mkdir(parents=True, exist_ok=True)
    with locks.folder(folder) as alone:
        if alone:
            for place in (folder / "figures", folder / "tables"):
                clear_strays(place)
            for file in ("claims.csv", "sentences.csv", "findings.md", "report.*", "comparison.json", "references.bib"):
                clear_strays(folder, f".{file}.*")
        yield


def write(
    report: Report,
    folder: Path,
    sessions: Sequence[dict],
    command: str,
    drawn: Mapping | None = None,
    inputs: Sequence[Path] = (),
) -> None:
    """Write `claims.csv`, `sentences.csv`, `tables/*.csv`, `findings.md`, `report.html`, `report.json`, each whole or not.

    `sessions` are the provenance entries of the run folders that the report was made from, `command` redraws it, `drawn` is where and when that was done (`memo.storage.provenance.drawing`). `report.json` holds for `experiments.report` what
    stands in no other file but the page, with the SHA-256 of each file and of each of the `inputs` (marks of run folders below
    `folder`), and comes last: with it the results are complete.
    """
    claims.write(report.ledger, folder / "claims.csv")
    claims.write(sentences.table(report.ledger), folder / "sentences.csv")
    with replacing(folder / "findings.md") as path:
        path.write_text("".join(f"- {finding}\n" for finding in report.findings), encoding="utf-8")
    write_page(report, folder, sessions, command)
    distinct = apart(sessions)
    stored = {
        "title": report.title,
        "question": report.question,
        "in_short": dict(report.in_short),
        "findings": list(report.findings),
        "sections": [_stored(section) for section in report.chapters],
        "summary": asdict(report.summary) if report.summary else None,
        "methods": list(report.methods),
        "not_shown": list(report.not_shown),
        "changes": list(report.changes),
        "scale": report.scale,
        "command": command,
        "drawn": drawn,
        "sessions": [{key: value for key, value in entry.items() if key != "earlier"} for entry in distinct],
        "claims": digest(folder / "claims.csv"),
        "files": {file: digest(folder / file) for file in _files(report)},
        "inputs": {path.relative_to(folder).as_posix(): digest(path) for path in inputs},
    }
    with replacing(folder / STORED) as path:
        path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _files(report: Report) -> list[str]:
    """Return what lies beside claims.csv in a report's folder, each file once."""
    shown = [figure.file for section in report.chapters for figure in section.figures]
    shown += [report.summary.file] if report.summary else []
    tables = [f"tables/{name}.csv" for name in report.tables]
    return list(dict.fromkeys(["sentences.csv", "findings.md", "report.html", *tables, *shown]))


def write_page(report: Report, folder: Path, sessions: Sequence[dict], command: str) -> None:
    """Write `tables/*.csv` and then `report.html`, each whole or not, of a report whose figures lie in the folder."""
    for name, table in report.tables.items():
        write_table(table, folder / "tables" / f"{name}.csv")
    environment = templates()
    environment.globals["embed"] = lambda file: inline_images.data_uri(folder / file)
    page = environment.get_template("report.html").render(_view(report, apart(sessions)) | {"command": command})
    with replacing(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")


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
    """Return the SHA-256 of a file; of a text, whatever a checkout made of its ends of lines."""
    content = path.read_bytes()
    with suppress(UnicodeDecodeError):  # a picture
        content = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read().encode()
    return hashlib.sha256(content).hexdigest()


def templates(**options: Any) -> jinja2.Environment:
    """Return the environment of the pages in `memo/reporting/templates`; a missing value in a page is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("memo.reporting"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        **{"autoescape": True} | options,
    )
    environment.filters["number"] = number
    environment.filters["range"] = _range
    environment.filters["inline"] = markup.inline
    environment.globals["script"] = lambda *names: markup.script(*map(_source(environment), names))
    return environment


def _source(environment: jinja2.Environment) -> Callable[[str], str]:
    """Return what reads a file beside the templates as it is."""
    loader = environment.loader
    assert loader is not None
    return lambda name: loader.get_source(environment, name)[0]


def _range(expected: str) -> str:
    """Return an expected range as it is printed."""
    return expected.replace(">=", "≥").replace("<=", "≤").replace("-", "−")


def _view(report: Report, sessions: Sequence[dict]) -> dict[str, Any]:
    """Return the values of the page, under the names in its template."""
    shown = {each.id: each for each in view.of_ledger(report.ledger)}
    short = [{"text": text, "sentence": shown[id]} for id, text in report.in_short.items()]
    images = report.ledger["images"].dropna()
    texts = [*report.methods, *report.findings, *report.not_shown]
    texts += [figure.caption for section in report.chapters for figure in section.figures]
    known = sources.load()
    seconds = [name for name in (sessions[0] if sessions else ()) if name.endswith("_seconds")]
    return {
        "report": report,
        "opening": short or [{"text": finding, "sentence": None} for finding in report.findings],
        "opening_is_short": bool(short),
        "images": int(images.max()) if len(images) else 0,
        "sentences": shown,
        "of_sources": view.tally(shown.values(), own=False),
        "own": view.tally(shown.values(), own=True),
        "sections": [_shown_section(section) for section in report.chapters],
        "methods": report.methods,
        "references_of": {key: known[key] for key in view.cited(shown.values(), texts)},
        "sessions": sessions,
        "totals": {name: sum(entry[name] for entry in sessions) for name in seconds},
    }


def _shown_section(section: Section) -> dict[str, Any]:
    """Return a section by name with its anchor; its figures and tables stay what they are."""
    own = {field.name: getattr(section, field.name) for field in fields(section)}
    return own | {"anchor": view.anchor("chapter", section.title)}


def _stored(section: Section) -> dict[str, Any]:
    texts = {"title": section.title, "findings": list(section.findings), "sentences": list(section.sentences)}
    return texts | {"figures": [asdict(figure) for figure in section.figures]}
