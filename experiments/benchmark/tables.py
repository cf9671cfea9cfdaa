"""From readings to tables: medians with their range, shares of the machine's limits, and ratios of paired readings."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from experiments.benchmark import names, settings, sweep
from experiments.benchmark.journal import Journal
from experiments.benchmark.sizes import Sizes
from memo.statistics.intervals import Estimate

SHARES = ("share_of_sgemm", "share_of_copy")
INTERVALS = (*SHARES, "ours_over_this")
COLUMNS = (
    *("part", "width", "networks", "images", "epochs", "examples_per_network", "contestant", "unit"),
    *("median", "low", "high", "n", "gflop_per_second", "gb_per_second"),
    *(name + end for name in INTERVALS for end in ("", "_low", "_high")),
    *("compile_seconds", "missing", "note"),
)
RATE = "examples/s"
# The factor to, and the unit of, a rate in the tables.
UNITS = {names.EXAMPLES: (1.0, RATE), names.FLOP: (1e-9, "GFLOP/s"), names.BYTES: (1e-9, "GB/s")}


def median(values: Iterable[float]) -> Estimate:
    """Return the median of readings with their range.

    The range of n readings covers the true median with probability 1 - 2^(1 - n), 94 % at n = 5, whatever their
    distribution. One reading has no interval (NaN bounds).
    """
    array = np.array([*values])
    low, high = (array.min(), array.max()) if len(array) > 1 else (np.nan, np.nan)
    return Estimate(float(np.median(array)), float(low), float(high), len(array))


def paired(numerators: Mapping[int, float], denominators: Mapping[int, float]) -> Estimate | None:
    """Return the median ratio of readings by repetition; None where no repetition has both."""
    both = numerators.keys() & denominators.keys()
    return median(numerators[repetition] / denominators[repetition] for repetition in both) if both else None


def contestants(journal: Journal, sizes: Sizes) -> pd.DataFrame:
    """Return one row per setting and contestant, those that could not be measured among them."""
    rows = [row for setting in settings.listed(sizes) for row in _rows(journal, setting)]
    frame = pd.DataFrame(rows).reindex(columns=list(COLUMNS)).fillna({"missing": "", "note": ""})
    counts = ("width", "networks", "images", "epochs", "examples_per_network", "n")
    return frame.astype(dict.fromkeys(counts, "Int64"))


def _rows(journal: Journal, setting: settings.Setting) -> Iterator[dict[str, Any]]:
    work = settings.measured_work(journal, setting)
    if work is None:
        return
    facts = {"part": setting.part, "width": setting.width, "networks": work.networks, "images": work.images}
    facts |= {"epochs": work.epochs, "examples_per_network": work.examples}
    units = {one["contestant"]: one["unit"] for one in journal.find(setting=setting.name) if "contestant" in one}
    rates = {name: journal.rates(setting.name, name) for name in units}
    limits = _best(rates, (names.XLA_SGEMM,)), _best(rates, (names.XLA_COPY, names.TORCH_COPY))
    for name, unit in units.items():
        factor, words = UNITS[unit]
        own = rates[name]
        row = facts | {"contestant": name, "unit": words}
        if not own:
            yield row | {"missing": journal.failure(setting.name, name)}
            continue
        readings = {"setting": setting.name, "contestant": name}
        row |= dict(zip(("median", "low", "high", "n"), median(rate * factor for rate in own.values())))
        row |= {"compile_seconds": journal.find(**readings)[0]["compile"], "note": journal.last("note", **readings)}
        if unit == names.EXAMPLES:
            costs = work.flop_per_example, work.bytes_per_example
            for column, share, cost, limit in zip(("gflop_per_second", "gb_per_second"), SHARES, costs, limits):
                row[column] = row["median"] * cost / 1e9
                row |= _columns(share, paired({place: rate * cost for place, rate in own.items()}, limit))
            if name != names.OURS:
                row |= _columns("ours_over_this", paired(rates.get(names.OURS, {}), own))
        else:
            row["gflop_per_second" if unit == names.FLOP else "gb_per_second"] = row["median"]
        yield row


def _best(rates: Mapping[str, dict[int, float]], beginnings: tuple[str, ...]) -> dict[int, float]:
    """Return the readings of the limit with the highest median, or none."""
    limits = [own for name, own in rates.items() if name.startswith(beginnings) and own]
    return max(limits, key=lambda own: np.median([*own.values()]), default={})


def _columns(name: str, found: Estimate | None) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), found[:3])) if found else {}


def estimate(row: Mapping[str, Any] | pd.Series, column: str = "median") -> Estimate | None:
    """Return one of the estimates of a row, or None where it has none."""
    low, high = ("low", "high") if column in ("median", "measured") else (f"{column}_low", f"{column}_high")
    return None if pd.isna(row[column]) else Estimate(row[column], row[low], row[high], int(row["n"]))


def largest(table: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison with the most networks of each width."""
    own = table[table["part"] == names.COMPARISON]
    return own[own["networks"] == own.groupby("width")["networks"].transform("max")]


def launchers(journal: Journal, jobs: int) -> pd.DataFrame:
    """Return one row per launcher: seconds for all jobs, and how many of them were measured; empty if there is none.

    Fewer measured jobs are extrapolated by the cost of one more job, between a shorter and a longer run.
    """
    records = {record["contestant"]: record for record in journal.find(setting=sweep.setting(jobs))}
    rows = []
    for name in (names.POPULATION_COLD, names.POPULATION, names.BASIC):
        if name not in records:
            continue
        seconds, measured, each = records[name]["seconds"], records[name]["amount"], np.nan
        if measured < jobs:
            short = records[names.BASIC_FEWER]
            each = (seconds - short["seconds"]) / (measured - short["amount"])
        row = {"launcher": name, "jobs": jobs, "jobs_measured": measured, "seconds_measured": seconds}
        row |= {"seconds": seconds + each * (jobs - measured) if measured < jobs else seconds}
        rows.append(row | {"seconds_per_further_job": each, "extrapolated": measured < jobs})
    return pd.DataFrame(rows)
