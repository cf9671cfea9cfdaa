"""The benchmark's report: tables, goals and figures of its readings, with the prose of text/benchmark.j2."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.benchmark import drawings, goals, names, ours, sweep, tables
from experiments.benchmark.journal import Journal
from experiments.benchmark.sizes import Sizes
from experiments.benchmark.tables import estimate, largest
from memo.reporting import claims
from memo.reporting.chapter import Text
from memo.reporting.report import Figure, Report, Section, Shown, with_interval

TEXT = Text("experiments.benchmark", "benchmark")
# Columns of the tables that the page shows, and their titles there.
GOALS = {"width": "width", "goal": "quantity", "at_least": "at least", "at_most": "at most"}
GOALS |= {"measured": "measured", "n": "n", "reached": "reached", "note": "note"}
CONTESTANTS = {
    "width": "width",
    "networks": "networks",
    "contestant": "contestant",
    "median": "median [lowest, highest]",
}
CONTESTANTS |= {"unit": "unit", "n": "n", "gflop_per_second": "GFLOP/s", "ours_over_this": "ours / this"}
SWEEP = {"launcher": "launcher", "jobs": "jobs", "jobs_measured": "measured", "seconds_measured": "seconds of these"}
SWEEP |= {"seconds": "seconds of all", "seconds_per_further_job": "seconds per further job"}


def analyse(journal: Journal, folder: Path) -> Report:
    """Return the report of the readings in a journal, drawing its figures into `folder`."""
    sizes = Sizes(**journal.last("sizes"))
    device = journal.environment["device"]
    table, jobs = tables.contestants(journal, sizes), tables.launchers(journal, sizes.jobs)
    reached, rates = goals.judge(table, device["platform"]), _in_thousands(table)
    bound = goals.BOUND[device["platform"]]
    sections = [
        Section("Goals", shown=[_shown("goals", reached[reached["reached"] != goals.NOT_APPLICABLE], GOALS)]),
        Section(
            "Beside peers and the limits of the machine",
            figures=[_throughput(table, bound, folder)],
            shown=[
                _shown(
                    "contestants",
                    rates[rates["part"] != names.GROWTH].dropna(subset="median"),
                    CONTESTANTS | dict([bound]),
                )
            ],
        ),
        Section("More networks", figures=[*_growth(rates, sizes, folder)]),
        Section("Many jobs", shown=[_shown("sweep", jobs, SWEEP)] if len(jobs) else []),
    ]
    return Report(
        title=TEXT.block("title"),
        question=TEXT.block("question"),
        findings=[*_findings(rates, reached, jobs, device)],
        ledger=claims.empty(),
        figures=[],
        methods=[*_methods(journal, table, sizes, len(jobs) > 0)],
        not_shown=[*_not_shown(table, len(jobs) == 0)],
        tables={"contestants": table, "goals": reached} | ({"sweep": jobs} if len(jobs) else {}),
        sections=[section for section in sections if section.figures or section.shown],
    )


def _shown(name: str, frame: pd.DataFrame, columns: Mapping[str, str]) -> Shown:
    return Shown(TEXT.block(f"{name}_title"), TEXT.block(f"{name}_caption"), _readable(frame, columns))


def _readable(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return columns of a table under their titles as a person reads them: intervals in brackets, nothing for NaN."""

    def cell(row: dict, column: str) -> str:
        found = estimate(row, column) if f"{column}_low" in row or column in ("median", "measured") else None
        if found is not None:
            return with_interval(found, count=False)
        value = row[column]
        digits = ".3g" if isinstance(value, float) and abs(value) < 1000 else ".0f" if isinstance(value, float) else ""
        return "" if pd.isna(value) else format(value, digits)

    rows = frame.to_dict("records")
    return pd.DataFrame({title: [cell(row, column) for row in rows] for column, title in columns.items()})


def _in_thousands(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of contestants with examples/s in thousands, as figures and texts give them."""
    factor = (table["unit"] == tables.RATE).map({True: 1e-3, False: 1.0})
    scaled = {name: table[name] * factor for name in ("median", "low", "high")}
    return table.assign(unit=table["unit"].replace(tables.RATE, f"k {tables.RATE}"), **scaled)


def _ours(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["contestant"] == names.OURS) & table["median"].notna()]


def _findings(table: pd.DataFrame, reached: pd.DataFrame, jobs: pd.DataFrame, device: dict) -> Iterator[str]:
    place = f"{device['count']} × {device['kind']}" if device["platform"] == "gpu" else f"{device['cores']} CPU cores"
    counts = reached["reached"].value_counts().reindex([goals.REACHED, goals.MISSED], fill_value=0)
    yield TEXT.block(
        "finding_goals", place=place, device=device, reached=counts[goals.REACHED], known=int(counts.sum())
    )
    for width, own in largest(table).groupby("width"):
        own = own.set_index("contestant")
        mine, column = own.loc[names.OURS], goals.BOUND[device["platform"]]
        ratios = []
        for name, members in names.PEERS.items():
            there = own[own.index.isin(members) & own["median"].notna()]
            if len(there):
                ratios.append((name, estimate(there.loc[there["median"].idxmax()], "ours_over_this")))
        facts = {"width": width, "networks": mine["networks"], "missing": mine["missing"], "ratios": ratios}
        share = estimate(mine, column[0])
        yield TEXT.block(
            "finding_width", rate=estimate(mine), share=share, limit=column[1].removeprefix("share of "), **facts
        )
    grown = []
    for width, own in _ours(table[table["part"] == names.GROWTH]).groupby("width"):
        first, last = own.iloc[0], own.iloc[-1]
        times = last["networks"] / first["networks"] * first["median"] / last["median"]
        if len(own) > 1:
            grown.append({"width": width, "networks": last["networks"], "first": first["networks"], "times": times})
    if grown:
        yield TEXT.block("finding_growth", grown=grown, n=table[table["part"] == names.GROWTH]["n"].max())
    by_launcher = {row["launcher"]: row for row in jobs.to_dict("records")}
    if {names.POPULATION, names.BASIC} <= by_launcher.keys():
        yield TEXT.block("finding_sweep", own=by_launcher[names.POPULATION], basic=by_launcher[names.BASIC])
    for row in reached[(reached["goal"] == goals.WHOLE) & reached["measured"].notna()].to_dict("records"):
        yield TEXT.block("finding_published", networks=row["networks"], seconds=row["measured"])
    if (table["missing"] == names.NO_TORCH).any():
        yield TEXT.block("finding_no_torch")


def _throughput(table: pd.DataFrame, bound: tuple[str, str], folder: Path) -> Figure:
    own = _ours(largest(table)).sort_values(bound[0])
    worst, best = ({"width": row["width"], "share": estimate(row, bound[0])} for _, row in own.iloc[[0, -1]].iterrows())
    file = drawings.throughput(table, *bound, folder)
    return TEXT.figure(file, best=best, worst=worst, limit_words=bound[1])


def _growth(table: pd.DataFrame, sizes: Sizes, folder: Path) -> Iterator[Figure]:
    own = _ours(table[table["part"] == names.GROWTH])
    if own.empty:
        return
    own = own[own["width"] == own["width"].min()].reset_index()
    facts = [{"networks": row["networks"], "rate": estimate(row)} for _, row in own.iterrows()]
    beside = _ours(largest(table)).set_index("width")
    width = own["width"].iloc[0]
    longer = None
    if width in beside.index:
        longer = {"networks": beside.loc[width, "networks"], "rate": estimate(beside.loc[width])}
    values = {"first": facts[0], "top": facts[own["median"].idxmax()], "last": facts[-1], "longer": longer}
    yield TEXT.figure(drawings.growth(table, folder), width=width, sizes=sizes, **values)


def _population(row: Mapping[str, Any]) -> str:
    return f"{row['part'] if pd.isna(row['width']) else row['width']} × {row['networks']}"


def _methods(journal: Journal, table: pd.DataFrame, sizes: Sizes, swept: bool) -> Iterator[str]:
    work = largest(table).drop_duplicates("width").to_dict("records")
    yield TEXT.block("method_work", work=work, sizes=sizes)
    yield TEXT.block("method_ours", test_images=ours.TEST_IMAGES)
    yield TEXT.block("method_peers")
    yield TEXT.block("method_timing", sizes=sizes)
    if swept:
        yield TEXT.block("method_sweep", recipe=sweep.RECIPE)
    environment = {"device": journal.environment["device"], "versions": journal.environment["versions"]}
    yield TEXT.block("method_environment", origin=journal.origin, **environment)
    yield TEXT.block("method_performance")


def _not_shown(table: pd.DataFrame, without_sweep: bool) -> Iterator[str]:
    absent = table[table["median"].isna()]
    for (contestant, reason), own in absent.groupby(["contestant", "missing"], sort=False):
        where = list(dict.fromkeys(map(_population, own.to_dict("records"))))
        yield TEXT.block("limit_missing", contestant=contestant, reason=reason, where=where)
    if not (table["part"] == names.PUBLISHED).any():
        yield TEXT.block("limit_published")
    if without_sweep:
        yield TEXT.block("limit_sweep")
