"""What the suite set out to reach (goals.yaml), beside what was measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from experiments.benchmark import names
from experiments.benchmark.tables import estimate, largest
from memo.statistics.intervals import Estimate

WHOLE = "published workload"
# What a population is bound by on each kind of device: the column of the table that says how near it comes, and its words.
BOUND = {
    "cpu": ("share_of_sgemm", "share of XLA's best sgemm"),
    "gpu": ("share_of_copy", "share of the copy bandwidth"),
}
DEVICES = {"cpu": "two CPU cores", "gpu": "an H100"}
COLUMNS = (
    "goal",
    "device",
    "width",
    "networks",
    "at_least",
    "at_most",
    "measured",
    "low",
    "high",
    "n",
    "reached",
    "note",
)
REACHED, MISSED, NOT_MEASURED, NOT_APPLICABLE = "yes", "no", "not measured", "not applicable"


def judge(table: pd.DataFrame, platform: str) -> pd.DataFrame:
    """Return one row per goal: what was measured in the largest population of its width, and whether that reaches it.

    `reached` is decided by the median; a goal for another kind of device is not applicable.
    """
    declared = yaml.safe_load(Path(__file__).with_name("goals.yaml").read_text())
    rows = []
    for goal in declared:
        for key, end in (("least", "at_least"), ("most", "at_most")):
            for width, bound in goal.get(key, {}).items():
                ratio = goal["quantity"] in names.PEERS
                row = {"goal": f"ours / {goal['quantity']}" if ratio else goal["quantity"], "width": width, end: bound}
                rows.append(row | {"device": DEVICES[goal["device"]]} | _judged(goal, width, bound, table, platform))
    frame = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    return frame.astype({"width": "Int64", "networks": "Int64", "n": "Int64"})


def _judged(goal: dict[str, Any], width: int | None, bound: float, table: pd.DataFrame, platform: str) -> dict:
    if goal["device"] != platform:
        return {"reached": NOT_APPLICABLE, "note": "another kind of device"}
    networks, found, note = _published(table) if width is None else _compared(goal, width, table)
    row = {"networks": networks, "note": note}
    if found is None:
        return row | {"reached": NOT_MEASURED}
    reached = found.value >= bound if "least" in goal else found.value <= bound
    return row | dict(zip(("measured", "low", "high", "n"), found)) | {"reached": REACHED if reached else MISSED}


def _published(table: pd.DataFrame) -> tuple[int | None, Estimate | None, str]:
    own = table[table["part"] == names.PUBLISHED].to_dict("records")
    if not own:
        return None, None, "left out at this scale"
    rate = estimate(own[0])
    if rate is None:
        return own[0]["networks"], None, own[0]["missing"]
    seconds = own[0]["networks"] * own[0]["examples_per_network"] / rate.value
    return own[0]["networks"], Estimate(seconds, np.nan, np.nan, rate.n), "seconds, compiling included"


def _compared(goal: dict[str, Any], width: int, table: pd.DataFrame) -> tuple[int | None, Estimate | None, str]:
    fewest, own = goal.get("networks", 1), largest(table)
    own = own[(own["width"] == width) & (own["networks"] >= fewest)].set_index("contestant")
    if own.empty:
        return None, None, f"no such width with {fewest} networks or more at this scale"
    networks = own["networks"].iloc[0]
    if goal["quantity"] not in names.PEERS:
        return networks, estimate(own.loc[names.OURS], BOUND[goal["device"]][0]), ""
    peers = own.loc[own.index.isin(names.PEERS[goal["quantity"]])]
    if peers["median"].isna().all():
        return networks, None, "; ".join(dict.fromkeys(peers["missing"]))
    fastest = peers["median"].idxmax()
    return networks, estimate(peers.loc[fastest], "ours_over_this"), f"beside {fastest}"
