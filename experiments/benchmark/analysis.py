"""The benchmark's report: tables, goals and figures of its readings, with the prose of text/benchmark.j2."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.benchmark import contestants, drawings, ours, tables
from experiments.benchmark.journal import Journal
from experiments.benchmark.settings import COMPARISON, GROWTH
from experiments.benchmark.tables import RATIO, SHARE, estimates, largest
from memo.reporting import claims
from memo.reporting.chapter import Text
from memo.reporting.report import Report, Section, Shown, with_interval
from memo.statistics.intervals import Estimate

TEXT = Text("experiments.benchmark", "benchmark")
# The tables that the page shows, and of each the columns.
SHOWN = {
    "goals": ["goal", "subject", "at_least", "at_most", "measured", "n", "reached", "target", "target_reached", "note"],
    "contestants": ["width", "networks", "contestant", "median", "unit", "n", "gflop_per_second", RATIO, SHARE],
    "growth": [],
    "published": ["workload", "networks", "published", "hardware", "contestant", "networks_per_hour", "hours", "n"],
    "commands": ["command", "cache", "seconds", "n", "seconds_per_job", "seconds_per_further_job", "time_over_earlier"],
}
FAMILIES = (contestants.LOOP, contestants.PROCESSES, contestants.VMAP, contestants.COMPILED, contestants.JAX_ONE)


def analyse(journal: Journal, folder: Path) -> Report:
    """Return the report of the readings in a journal, drawing its figures into `folder`."""
    table, whole = tables.contestants(journal), tables.whole_commands(journal)
    found = {"contestants": table, "published": tables.published(table), "commands": whole}
    found["goals"] = tables.goals(table, found["published"], whole, journal.environment["device"]["platform"])
    rates = _in_thousands(table)
    grown = {width: estimates(own) for width, own in _ours(rates[rates["part"] == GROWTH]).groupby("width")}
    facts = {
        **journal.environment,
        "sizes": journal.last("sizes"),
        "origin": journal.origin,
        "test_images": ours.TEST_IMAGES,
        "verdicts": found["goals"]["reached"].value_counts().to_dict(),
        "beside": estimates(_ours(largest(rates)).sort_values(SHARE)),
        "grown": grown,
        "published": [row for row in estimates(found["published"]) if row["contestant"] == contestants.OURS],
        "commands": {row["command"]: row for row in estimates(whole)},
        "without_torch": (table["missing"] == contestants.NO_TORCH).any(),
    }
    shown = found | {
        "goals": found["goals"][found["goals"]["reached"] != tables.NOT_APPLICABLE],
        "contestants": rates[rates["part"] == COMPARISON].dropna(subset="median"),
        "commands": whole[whole["n"] > 0] if len(whole) else whole,
    }
    drawn = {"contestants": [TEXT.figure(drawings.throughput(rates, folder), **facts)]}
    drawn["growth"] = [TEXT.figure(drawings.growth(rates, folder), **facts)] if grown else []
    sections = [Section(TEXT.block(f"section_{name}"), (), drawn.get(name, ()), _shown(name, shown)) for name in SHOWN]
    return Report(
        title=TEXT.block("title"),
        question=TEXT.block("question"),
        findings=[*_blocks("finding_goals", facts), *_widths(rates), *_blocks("finding_on_", facts)],
        ledger=claims.empty(),
        figures=[],
        methods=_blocks("method_", facts),
        not_shown=[*_absent(table), *_blocks("limit_", facts)],
        tables={name: frame for name, frame in found.items() if len(frame)},
        sections=[section for section in sections if section.figures or section.shown],
    )


def _blocks(beginning: str, facts: dict[str, Any]) -> list[str]:
    """Return the blocks whose names begin so, those that say nothing left out."""
    texts = (TEXT.block(name, **facts) for name in TEXT.blocks if name.startswith(beginning))
    return [text for text in texts if text]


def _shown(name: str, frames: dict[str, pd.DataFrame]) -> list[Shown]:
    frame = frames.get(name, pd.DataFrame())
    parts = [column for column in frame if name == "commands" and column.endswith("_seconds")]
    rows = estimates(frame)
    cells = {_title(each): [_cell(row[each]) for row in rows] for each in [*SHOWN[name], *parts] if each in frame}
    return [Shown(TEXT.block(f"{name}_title"), TEXT.block(f"{name}_caption"), pd.DataFrame(cells))] if rows else []


def _title(column: str) -> str:
    title = column.replace("gflop_per_second", "GFLOP/s").replace("_over_", " / ").replace("_", " ")
    return f"{title} [lowest, highest]" if column == "median" else title


def _cell(value: Any) -> str:
    """Return a cell as a person reads it: an estimate with its interval in brackets, nothing for None."""
    if isinstance(value, Estimate):
        return with_interval(value, count=False)
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:.0f}"


def _in_thousands(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of contestants with examples/s in thousands, as figures and texts give them."""
    factor = (table["unit"] == tables.RATE).map({True: 1e-3, False: 1.0})
    scaled = {name: table[name] * factor for name in ("median", "low", "high")}
    return table.assign(unit=table["unit"].replace(tables.RATE, f"k {tables.RATE}"), **scaled)


def _ours(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["contestant"] == contestants.OURS) & table["median"].notna()]


def _widths(rates: pd.DataFrame) -> Iterator[str]:
    """Yield what was found at each width: our rate, beside the fastest contestant of each family, and of the limit."""
    for _, own in largest(rates).groupby("width"):
        rows = {row["contestant"]: row for row in estimates(own)}
        beside = {}
        for name in FAMILIES:
            there = [rows[each] for each in contestants.family(name) if each in rows and rows[each]["median"]]
            if there:
                beside[name] = max(there, key=lambda row: row["median"])[RATIO]
        yield TEXT.block("width", mine=rows[contestants.OURS], ratios=beside)


def _absent(table: pd.DataFrame) -> Iterator[str]:
    """Yield which contestants are missing, why, and where."""
    for (contestant, reason), own in table[table["median"].isna()].groupby(["contestant", "missing"], sort=False):
        yield TEXT.block("missing", contestant=contestant, reason=reason, where=own.to_dict("records"))
