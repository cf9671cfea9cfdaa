"""From readings to tables: medians with their range, shares of the machine's limit, ratios of paired readings, verdicts."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pandas as pd

from experiments.benchmark import commands
from experiments.benchmark.contestants import EXAMPLES, FLOP, OURS, XLA_SGEMM, family
from experiments.benchmark.journal import Journal
from experiments.benchmark.settings import COMPARISON, PUBLISHED, Sizes, Work, data
from memo.statistics.intervals import Estimate

RATE, SHARE, RATIO = "examples/s", "share_of_sgemm", "ours_over_this"
UNITS = {EXAMPLES: (1.0, RATE), FLOP: (1e-9, "GFLOP/s")}  # factor to, and unit of, a rate
REACHED, MISSED, NOT_MEASURED, NOT_APPLICABLE = "yes", "no", "not measured", "not applicable"


def median(values: pd.Series) -> Estimate:
    """Return the median of readings with their range.

    The range of n readings covers the true median with probability 1 - 2^(1 - n), 94 % at n = 5, whatever their
    distribution. One reading has no interval (NaN bounds).
    """
    low, high = (values.min(), values.max()) if len(values) > 1 else (np.nan, np.nan)
    return Estimate(float(values.median()), float(low), float(high), len(values))


def _columns(name: str, values: pd.Series) -> dict[str, Any]:
    """Return an estimate of values by repetition as three columns, or none where there are no values."""
    values = values.dropna()
    return dict(zip((name, f"{name}_low", f"{name}_high"), median(values))) if len(values) else {}


def estimates(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as mappings in which a number with an interval is an estimate; None where there is none."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    known = {name: (f"{name}_low", f"{name}_high") for name in frame if f"{name}_low" in frame}
    known |= dict.fromkeys({"median", "measured"} & {*frame}, ("low", "high"))
    for row in rows:
        for name, ends in known.items():
            low, high = (np.nan if row[end] is None else row[end] for end in ends)
            row[name] = None if row[name] is None else Estimate(row[name], low, high, int(row["n"]))
    return rows


def contestants(journal: Journal) -> pd.DataFrame:
    """Return one row per setting and contestant, those that could not be measured among them."""
    rows = [row for name in journal.last("settings") for row in _rows(journal, name)]
    counts = ["networks", "images", "epochs", "examples_per_network"]
    columns = ["part", "width", *counts, "contestant", "unit", "median", "low", "high", "n", "gflop_per_second"]
    columns += [name + end for name in (SHARE, RATIO) for end in ("", "_low", "_high")]
    frame = pd.DataFrame(rows).reindex(columns=[*columns, "compile_seconds", "missing", "note"])
    return frame.astype(dict.fromkeys(("width", "n", *counts), "Int64"))


def _rows(journal: Journal, setting: str) -> Iterator[dict[str, Any]]:
    if not (found := journal.find(setting=setting)):
        return
    work = Work(**found[0]["work"])
    facts = {"part": work.part, "width": None if work.part == PUBLISHED else work.hidden[0], "networks": work.networks}
    facts |= {"images": work.images, "epochs": work.epochs, "examples_per_network": work.examples}
    units = {one["contestant"]: one["unit"] for one in found[1:]}
    readings = {name: journal.readings(setting, name) for name in units}
    rates = {name: _series(own, lambda one: one["amount"] / one["seconds"]) for name, own in readings.items()}
    best = max((own for name, own in rates.items() if name.startswith(XLA_SGEMM)), key=pd.Series.median, default=np.nan)
    for name, unit in units.items():
        (factor, words), own = UNITS[unit], rates[name]
        row: dict[str, Any] = facts | {"contestant": name, "unit": words, "missing": "", "note": ""}
        if own.empty:
            yield row | {"missing": _missing(journal, setting, name)}
            continue
        row |= dict(zip(("median", "low", "high", "n"), median(own * factor)))
        # The warm-up's compiling: later readings find the program.
        first, last = journal.find(setting=setting, contestant=name), [*readings[name].values()][-1]
        compiled = next(one["compile"] for one in first if "compile" in one)
        row |= {"compile_seconds": compiled, "note": last["note"]}
        row["gflop_per_second"] = row["median"] * (work.flop_per_example / 1e9 if unit == EXAMPLES else 1)
        if unit == EXAMPLES:
            row |= _columns(SHARE, own * work.flop_per_example / best)
            row |= _columns(RATIO, rates[OURS] / own) if name != OURS else {}
        yield row


def _series(readings: Mapping[int, Mapping[str, Any]], value: Any) -> pd.Series:
    return pd.Series({repetition: value(one) for repetition, one in readings.items()}, dtype=float)


def _missing(journal: Journal, setting: str, contestant: str) -> str:
    return journal.last("failure", setting=setting, contestant=contestant) or "not measured yet"


def largest(table: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison with the most networks of each width."""
    own = table[table["part"] == COMPARISON]
    return own[own["networks"] == own.groupby("width")["networks"].transform("max")]


def whole_commands(journal: Journal) -> pd.DataFrame:
    """Return one row per command: its seconds, what they are compared with, and the seconds of its parts (medians)."""
    rows, every = [], {each.name: each for each in commands.listed(Sizes(**journal.last("sizes")))}
    seconds: dict[str, pd.Series] = {}
    for name, command in every.items():
        readings = journal.readings(commands.SETTING, name)
        own = seconds[name] = _series(readings, lambda one: one["seconds"])
        parts = pd.DataFrame({at: one["note"] for at, one in readings.items()}, dtype=float).T
        row = {"command": name, "cache": command.cache, "jobs": command.jobs, "n": len(own)} | _columns("seconds", own)
        row["missing"] = _missing(journal, commands.SETTING, name) if own.empty else ""
        if command.earlier:
            row |= _columns("time_over_earlier", own / seconds[command.earlier])
        if command.shorter:
            further = (own - seconds[command.shorter]) / (command.jobs - every[command.shorter].jobs)
            row |= _columns("seconds_per_further_job", further)
        if command.jobs > 1 and "train_seconds" in parts:
            row |= _columns("seconds_per_job", (own - parts["train_seconds"]) / command.jobs)
        if "evaluate_seconds" in parts:
            row |= _columns("evaluation_over_training", parts["evaluate_seconds"] / parts["train_seconds"])
        rows.append(row | (_spent(own, parts) if "train_seconds" in parts else {}))
    return pd.DataFrame(rows)


def _spent(seconds: pd.Series, parts: pd.DataFrame) -> dict[str, float]:
    """Return what the seconds of a command were spent on, medians; before `wait_seconds` were kept, it waited for all."""
    known = parts.reindex(columns=["train_seconds", "evaluate_seconds", "probe_seconds", "drawing_seconds"]).fillna(0)
    split = {
        "waiting_seconds": parts.get("wait_seconds", parts["prepare_seconds"] + parts["compile_seconds"]),
        "steps_seconds": known["train_seconds"] - known["evaluate_seconds"],
        "evaluations_seconds": known["evaluate_seconds"],
        "probes_seconds": known["probe_seconds"],
        "drawing_seconds": known["drawing_seconds"],
    }
    split["rest_seconds"] = seconds - sum(split.values())
    return {name: values.median() for name, values in split.items()}


def published(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per published workload and contestant: networks per hour, and hours extrapolated from the sample.

    Training alone, its cost per example being that of the sample (`contestants`, part published).
    """
    rows = []
    for each in data("published"):
        whole = [Work(PUBLISHED, (), each["networks_each"], images, each["epochs"]) for images in each["images"]]
        networks, examples = (sum(one.networks for one in whole), sum(one.networks * one.examples for one in whole))
        facts = {key: each[key] for key in ("workload", "published", "hardware", "address")} | {"networks": networks}
        for row in table[(table["part"] == PUBLISHED) & table["median"].notna()].to_dict("records"):
            own = {"contestant": row["contestant"], "n": row["n"], "sample": row["networks"]}
            for rate, hours, end in (("median", "", ""), ("low", "_high", "_low"), ("high", "_low", "_high")):
                own[f"networks_per_hour{end}"] = 3600 * row[rate] * networks / examples
                own[f"hours{hours}"] = examples / row[rate] / 3600
            rows.append(facts | own)
    return pd.DataFrame(rows)


def goals(table: pd.DataFrame, workloads: pd.DataFrame, whole: pd.DataFrame, platform: str) -> pd.DataFrame:
    """Return one row per goal: what was measured in the largest population of its width, and whether that reaches it.

    `reached` and `target_reached` are decided by the median; a goal for another kind of device is not applicable.
    """
    parts = ((largest(table), "width"), (whole, "command"), (workloads, "workload"))
    found = pd.concat([frame.assign(subject=frame[name].astype(str)) for frame, name in parts if len(frame)])
    rows = []
    for goal in data("goals"):
        end, bounds = next((end, goal[end]) for end in ("at_least", "at_most") if end in goal)
        for pattern, both in bounds.items():
            matching = [each for each in found["subject"].unique() if fnmatch(each, str(pattern))]
            for subject in matching or [str(pattern)]:
                measured, row = None, {"reached": NOT_APPLICABLE, "target_reached": NOT_APPLICABLE, "note": ""}
                if goal["device"] == platform:
                    measured, about = _measured(goal, found[found["subject"] == subject])
                    verdicts = (_verdict(measured, bound, end) for bound in both)
                    row |= about | dict(zip(("reached", "target_reached"), verdicts))
                row |= {"goal": goal["quantity"], "device": goal["device"], "subject": subject}
                row |= dict(zip((end, "target"), both)) | dict(zip(("measured", "low", "high", "n"), measured or ()))
                rows.append(row)
    columns = ["goal", "device", "subject", "networks", "at_least", "at_most", "target"]
    columns += ["measured", "low", "high", "n", "reached", "target_reached", "note"]
    return pd.DataFrame(rows).reindex(columns=columns).astype({"networks": "Int64", "n": "Int64"})


def _measured(goal: Mapping[str, Any], found: pd.DataFrame) -> tuple[Estimate | None, dict[str, Any]]:
    """Return what was measured of a goal in the rows of its subject, and about that: networks, note."""
    of = family(goal["family"]) if "family" in goal else [OURS, np.nan]
    own = found[found["contestant"].isin(of) & (found["networks"].fillna(1) >= goal.get("networks", 1))]
    if own.empty:
        return None, {"note": "left out at this scale"}
    known = [row for row in estimates(own) if row.get(goal["column"])]
    if not known:
        reasons = [each for each in own["missing"].dropna().unique() if each]
        return None, {"networks": own["networks"].iloc[0], "note": "; ".join(reasons) or "not stored by this version"}
    best = max(known, key=lambda row: row["median"]) if "family" in goal else known[0]
    note = f"beside {best['contestant']}" if "family" in goal else ""
    return best[goal["column"]], {"networks": best["networks"], "note": note}


def _verdict(measured: Estimate | None, bound: float, end: str) -> str:
    if measured is None:
        return NOT_MEASURED
    return REACHED if (measured.value >= bound if end == "at_least" else measured.value <= bound) else MISSED
