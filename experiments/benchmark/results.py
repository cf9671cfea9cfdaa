"""From readings to tables: medians with their range, shares of the machine's limits, and ratios of paired readings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.benchmark import contestants as who
from experiments.benchmark import launchers, suite
from experiments.benchmark.journal import WARM_UP, Journal
from experiments.benchmark.sizes import Sizes
from memo.statistics.intervals import Estimate

INTERVALS = ("share_of_sgemm", "share_of_copy", "ours_over_this")
COLUMNS = (
    *("part", "width", "networks", "images", "epochs", "examples_per_network", "contestant", "unit"),
    *("median", "low", "high", "n", "gflop_per_second", "gb_per_second"),
    *(name + end for name in INTERVALS for end in ("", "_low", "_high")),
    *("compile_seconds", "missing", "note"),
)
# As the tables give rates: the factor, and the unit it leads to.
UNITS = {who.EXAMPLES: (1.0, "examples/s"), who.FLOP: (1e-9, "GFLOP/s"), who.BYTES: (1e-9, "GB/s")}


def median(values: Sequence[float]) -> Estimate:
    """Return the median of readings (n,) with their range.

    The range of n readings covers the true median with probability 1 - 2^(1 - n), 94 % at n = 5, whatever their
    distribution. One reading has no interval (NaN bounds).
    """
    values = np.asarray(values, float)
    if len(values) == 1:
        return Estimate(float(values[0]), np.nan, np.nan, 1)
    return Estimate(float(np.median(values)), float(values.min()), float(values.max()), len(values))


def paired(numerators: dict[int, float], denominators: dict[int, float]) -> Estimate | None:
    """Return the median ratio of readings by repetition; None where no repetition has both."""
    both = sorted(numerators.keys() & denominators.keys())
    return median([numerators[repetition] / denominators[repetition] for repetition in both]) if both else None


def rates(journal: Journal, setting: str, contestant: str) -> dict[int, float]:
    """Return amount per second by repetition, the warm-up left out."""
    return {
        record["repetition"]: record["amount"] / record["seconds"]
        for record in journal.find(setting=setting, contestant=contestant)
        if record.get("repetition", WARM_UP) != WARM_UP
    }


def table(journal: Journal, sizes: Sizes) -> pd.DataFrame:
    """Return one row a setting and contestant; every contestant of a setting has one, with what it lacks."""
    rows = []
    for setting in suite.comparisons(sizes):
        rows += _rows(journal, "comparison", setting.name, setting.width)
    for settings in suite.growths(sizes):
        for setting in settings:
            rows += _rows(journal, "growth", setting.name, setting.width)
    if sizes.published_networks:
        rows += _rows(journal, "published", suite.published_name(sizes), None)
    frame = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(("width", "networks", "images", "epochs", "examples_per_network", "n"), "Int64"))


def _rows(journal, part, setting, width):
    work = suite.work_of(journal, setting)
    found = [record for record in journal.find(setting=setting) if "contestant" in record]
    units = {record["contestant"]: record["unit"] for record in found}
    measured = {name: rates(journal, setting, name) for name in units}
    facts = {"part": part, "width": width}
    if work is not None:
        facts |= {"networks": work.networks, "images": work.images, "epochs": work.epochs}
        facts |= {"examples_per_network": work.examples}
    sgemm, copy = _best(measured, (who.XLA_SGEMM,)), _best(measured, (who.XLA_COPY, who.TORCH_COPY))
    for name, unit in units.items():
        own = measured[name]
        factor, words = UNITS[unit]
        row = facts | {"contestant": name, "unit": words, "missing": journal.failure(setting, name) or ""}
        if own:
            row |= dict(zip(("median", "low", "high", "n"), median([rate * factor for rate in own.values()])))
            row["missing"] = ""
            records = [record for record in journal.find(setting=setting, contestant=name) if "seconds" in record]
            row |= {"compile_seconds": records[0]["compile"], "note": records[-1]["note"]}
        if own and unit == who.FLOP:
            row["gflop_per_second"] = row["median"]
        if own and unit == who.BYTES:
            row["gb_per_second"] = row["median"]
        if own and work is not None and unit == who.EXAMPLES:
            operations = {repetition: rate * work.flop_per_example for repetition, rate in own.items()}
            traffic = {repetition: rate * work.bytes_per_example for repetition, rate in own.items()}
            row["gflop_per_second"] = median(list(operations.values())).value / 1e9
            row["gb_per_second"] = median(list(traffic.values())).value / 1e9
            row |= _named("share_of_sgemm", paired(operations, sgemm)) | _named("share_of_copy", paired(traffic, copy))
            if name != who.OURS:
                row |= _named("ours_over_this", paired(measured.get(who.OURS, {}), own))
        yield row


def _best(measured, beginnings):
    """Return the readings of the limit with the highest median, or none."""
    limits = [rates for name, rates in measured.items() if name.startswith(beginnings) and rates]
    return max(limits, key=lambda rates: np.median(list(rates.values())), default={})


def _named(name, estimate):
    if estimate is None:
        return {}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def sweep(journal: Journal, jobs: int) -> pd.DataFrame:
    """Return one row a launcher: seconds for all jobs, and how many of them were measured; empty if there is none.

    Fewer measured jobs are extrapolated by the cost of one more job, between a shorter and a longer run.
    """
    setting = launchers.setting(jobs)
    records = {record["contestant"]: record for record in journal.find(setting=setting)}
    rows = []
    for name in (launchers.POPULATION_COLD, launchers.POPULATION, launchers.BASIC):
        if name not in records:
            continue
        seconds, measured = records[name]["seconds"], records[name]["amount"]
        each = seconds / measured
        if measured < jobs:
            short = records[launchers.FEWER]
            each = (seconds - short["seconds"]) / (measured - short["amount"])
        rows.append(
            {
                "launcher": name,
                "jobs": jobs,
                "jobs_measured": measured,
                "seconds_measured": seconds,
                "seconds": seconds + each * (jobs - measured),
                "seconds_per_further_job": each if measured < jobs else np.nan,
                "extrapolated": measured < jobs,
            }
        )
    return pd.DataFrame(rows)
