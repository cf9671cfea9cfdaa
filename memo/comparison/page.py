"""The page of a comparison: report.html with its figures and tables beside it, and comparison.json, which says whose they are."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from memo.comparison import estimates
from memo.comparison.comparing import Comparison, blocks
from memo.comparison.estimates import estimate_of
from memo.comparison.keys import Key
from memo.comparison.networks import RATIO, Measure
from memo.errors import Refusal
from memo.networks.status import DIVERGED
from memo.reporting import claims, figures
from memo.reporting.chapter import Text
from memo.reporting.report import Report, Section, Shown, apart, number, redrawing, with_interval, write_page
from memo.storage.run_folders import DONE, replacing

STORED = "comparison.json"
ROWS = 24  # of a table on the page
DENSE = ("common_time",)  # figures of many lines
SECTIONS = {
    "Learning curves": ("accuracy", "loss", "common_time"),
    "Where they end": ("finals", "confidence"),
    "Times and shapes": ("times", "shape_loss", "shape_accuracy"),
}


def write(comparison: Comparison, source: Path, folder: Path, sessions: Sequence[dict], command: str) -> None:
    """Write the page of what lies below `source` into `folder`, with its figures and tables, each file whole or not.

    `sessions` are the provenance of the networks, `command` is what writes the page again. Raises Refusal where a report
    lies there that this has not written.
    """
    before = _earlier(folder)
    facts = comparison.facts | _origin(sessions) | {"source": source.resolve().name, "left": _unfinished(source)}
    with redrawing(folder):
        drawn = {
            name: figures.save(figure, folder, name, dense=name in DENSE) for name, figure in comparison.figures.items()
        }
        with replacing(folder / STORED) as path:
            stored = {"command": command, "figures": list(drawn.values()), "trials": sorted(comparison.trials["trial"])}
            path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
        write_page(_report(comparison, facts, drawn), folder, (), command)
        for file in set(before) - set(drawn.values()):
            (folder / file).unlink(missing_ok=True)


def _report(comparison: Comparison, facts: Mapping[str, Any], drawn: Mapping[str, str]) -> Report:
    text = Text("memo.comparison", "page")
    return Report(
        title=text.block("title", **facts),
        question=text.block("question", **facts),
        findings=blocks("finding", facts),
        ledger=claims.empty(),
        figures=(),
        methods=blocks("method", facts),
        not_shown=blocks("limit", facts),
        tables=dict(comparison.tables),
        sections=_sections(comparison, facts, drawn),
    )


def _earlier(folder: Path) -> list[str]:
    """Return the figures of an earlier comparison in a folder; Refusal where another report lies there."""
    if not (folder / STORED).exists():
        if (folder / "report.html").exists():
            raise Refusal(f"{folder / 'report.html'} is the report of something else; choose another folder by out=...")
        return []
    try:
        files = json.loads((folder / STORED).read_text(encoding="utf-8"))["figures"]
    except (ValueError, KeyError, TypeError, OSError):
        return []
    return [file for file in files if re.fullmatch(r"figures/\w+\.(svg|png)", str(file))]


def _sections(comparison: Comparison, facts: Mapping[str, Any], drawn: Mapping[str, str]) -> list[Section]:
    text, pair = Text("memo.comparison", "page"), comparison.layout.pair
    shown = {name: text.figure(file, **facts) for name, file in drawn.items()}

    def table(name: str, frame: pd.DataFrame) -> list[Shown]:
        own = dict(facts) | {"rows": len(frame), "most": ROWS}
        title, caption = (text.block(f"{name}_{part}", **own) for part in ("title", "caption"))
        return [] if frame.empty else [Shown(title, caption, frame.head(ROWS))]

    sections = [Section("Networks", shown=table("summary", _summary(comparison)))]
    if pair:
        own, title = _compared(comparison, pair), f"{pair.words.capitalize()}, within pairs"
        sections.append(
            Section(title, figures=[shown[name] for name in ("pairs",) if name in shown], shown=table("compared", own))
        )
    for title, names in SECTIONS.items():
        sections.append(Section(title, figures=[shown[name] for name in names if name in shown]))
    sections.append(Section("Origin", shown=table("origin", pd.DataFrame(facts["origins"]))))
    return [section for section in sections if section.figures or section.shown]


def _summary(comparison: Comparison) -> pd.DataFrame:
    """Return one row per recipe as it is read: its keys, how many networks, how they ended, some of the means."""
    frame, keys = comparison.tables.networks, list(comparison.layout.keys.values())
    measures = {name: measure for name, measure in comparison.told.items() if not name.startswith("confidence")}
    rows = _as_read(comparison.tables.means, keys, measures)
    for levels, places in estimates.groups(frame, [key.name for key in keys]):
        own = frame.iloc[places]
        counts = {
            "networks": len(own),
            "diverged": (own["status"] == DIVERGED).sum(),
            "reached 99 %": own["t99"].notna().sum(),
        }
        rows[levels] = {**dict(zip((key.words for key in keys), levels)), **counts, **rows[levels]}
    return pd.DataFrame(list(rows.values()))


def _compared(comparison: Comparison, pair: Key) -> pd.DataFrame:
    """Return one row per comparison as it is read: its keys, n, and the differences or ratios of some measures."""
    keys = [pair, *(key for key in comparison.layout.keys.values() if key is not pair)]
    return pd.DataFrame(list(_as_read(comparison.tables.differences, keys, comparison.told).values())).fillna("")


def _as_read(frame: pd.DataFrame, keys: Sequence[Key], measures: Mapping[str, Measure]) -> dict[tuple, dict[str, Any]]:
    """Return means or differences by their levels: keys, n of differences, and a text for each measure in its own scale."""
    rows: dict[tuple, dict[str, Any]] = {}
    for row in frame[frame["measure"].isin(list(measures))].to_dict("records"):
        measure, compared = measures[row["measure"]], "scale" in row
        if compared and row["scale"] != measure.scale:
            continue
        levels = tuple(row[key.name] for key in keys)
        found = rows.setdefault(levels, dict(zip((key.words for key in keys), levels)))
        if compared:
            found.setdefault("n" if row["paired"] else "n, not paired", row["n"])
        sign = "× " if compared and measure.scale == RATIO else ""
        found[measure.words] = sign + _text(row)
    return rows


def _text(row: Mapping[str, Any]) -> str:
    """Return the number of a row with its interval, which breaks over no line; a number alone where there is none."""
    if math.isnan(row["value"]) or math.isnan(row["low"]):
        return number(row["value"])
    return with_interval(estimate_of(row), count=False).replace(", ", ",\u00a0")


def _unfinished(source: Path) -> int:
    """Return how many run folders below a folder Hydra has begun and nothing has finished."""
    runs = [path.parent for path in source.rglob(".hydra")]
    return sum(not (run / DONE).exists() and not any(run.rglob(DONE)) for run in runs)


def _origin(sessions: Sequence[dict]) -> dict[str, Any]:
    """Return where the networks come from, by code, versions and machine, and what differs in that."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    digests: dict[str, set[str]] = {}
    for session in apart(sessions):
        device, git = session.get("device") or {}, session.get("git")
        code = "no git" if not git else git["commit"][:10] + (", changed" if git["changed"] else "")
        versions = ", ".join(f"{name} {version}" for name, version in (session.get("versions") or {}).items())
        machine = f"{device.get('count', '?')} × {device.get('kind', '?')} ({device.get('processor', '?')})"
        when = str(session.get("finished", ""))[:16].replace("T", " ")
        row = rows.setdefault((code, versions, machine), {"networks": 0, "from (UTC)": when, "to (UTC)": when})
        row["networks"] += session.get("networks", 0)
        row |= {"from (UTC)": min(row["from (UTC)"], when), "to (UTC)": max(row["to (UTC)"], when)}
        for name, files in (session.get("data") or {}).items():
            digests.setdefault(name, set()).add(json.dumps(files, sort_keys=True))
    names = ("code", "versions", "machine")
    return {
        "origins": [row | dict(zip(names, origin)) for origin, row in rows.items()],
        "codes": sorted({origin[0] for origin in rows}),
        "versions": sorted({origin[1] for origin in rows}),
        "two_kinds": sorted(name for name, found in digests.items() if len(found) > 1),
    }
