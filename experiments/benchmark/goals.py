"""What the suite set out to reach, beside what was measured: a goal is a number here, never an assertion."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments.benchmark import names
from experiments.benchmark.tables import estimate, largest
from memo.statistics.intervals import Estimate

SHARE_OF_SGEMM, SHARE_OF_COPY, WHOLE = "share of XLA's best sgemm", "share of the copy bandwidth", "published workload"
# What a population is bound by on each kind of device, and the column of the table that says how near it comes.
BOUND = {"cpu": ("share_of_sgemm", SHARE_OF_SGEMM), "gpu": ("share_of_copy", SHARE_OF_COPY)}
DEVICES = {"cpu": "two CPU cores", "gpu": "an H100"}
COLUMNS = ("goal", "device", "width", "networks", "at_least", "at_most", "measured", "low", "high", "n", "reached")
REACHED, MISSED, NOT_MEASURED, NOT_APPLICABLE = "yes", "no", "not measured", "not applicable"


@dataclass(frozen=True)
class Goal:
    """A bound on one number. `beats` are the peers of a ratio of rates, of which the fastest counts."""

    device: str  # cpu or gpu
    width: int | None
    quantity: str
    at_least: float | None = None
    at_most: float | None = None
    beats: tuple[str, ...] = ()


def _beating(device: str, name: str, peers: tuple[str, ...], times: dict[int, float]) -> list[Goal]:
    return [Goal(device, width, f"ours / {name}", least, beats=peers) for width, least in times.items()]


GOALS = (
    *_beating("cpu", "PyTorch loop", (names.LOOP,), {16: 15, 128: 4, 512: 1.5, 2048: 1.2}),
    *_beating("cpu", "torch.func.vmap", names.VMAP, {16: 4, 128: 1.5, 512: 1.5}),
    *(Goal("cpu", width, SHARE_OF_SGEMM, 0.8) for width in (16, 128, 512)),
    *_beating("gpu", "PyTorch loop", (names.LOOP,), {16: 4000}),
    *_beating("gpu", "torch.func.vmap + torch.compile", names.COMPILED, {16: 6, 128: 2, 512: 2, 2048: 1.5}),
    *(Goal("gpu", width, SHARE_OF_COPY, 0.75) for width in (16, 128, 512, 2048)),
    Goal("gpu", None, WHOLE, at_most=60),
)
FEWEST = {16: 32}  # networks, of the population that is judged


def judge(table: pd.DataFrame, platform: str) -> pd.DataFrame:
    """Return one row per goal: what was measured in the largest population of its width, and whether that reaches it.

    `reached` is decided by the median; a goal for another kind of device is not applicable.
    """
    frame = pd.DataFrame([_row(goal, table, platform) for goal in GOALS]).reindex(columns=[*COLUMNS, "note"])
    return frame.astype({"width": "Int64", "networks": "Int64", "n": "Int64"})


def _row(goal: Goal, table: pd.DataFrame, platform: str) -> dict[str, Any]:
    row: dict[str, Any] = {"goal": goal.quantity, "device": DEVICES[goal.device], "width": goal.width}
    row |= {"at_least": goal.at_least, "at_most": goal.at_most}
    if goal.device != platform:
        return row | {"reached": NOT_APPLICABLE, "note": "another kind of device"}
    networks, found, note = _published(table) if goal.quantity == WHOLE else _compared(goal, table)
    row |= {"networks": networks, "note": note}
    if found is None:
        return row | {"reached": NOT_MEASURED}
    reached = found.value >= goal.at_least if goal.at_least is not None else found.value <= (goal.at_most or 0)
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


def _compared(goal: Goal, table: pd.DataFrame) -> tuple[int | None, Estimate | None, str]:
    fewest, own = FEWEST.get(goal.width or 0, 1), largest(table)
    own = own[(own["width"] == goal.width) & (own["networks"] >= fewest)].set_index("contestant")
    if own.empty:
        return None, None, f"no such width with {fewest} networks or more at this scale"
    networks = own["networks"].iloc[0]
    if not goal.beats:
        return networks, estimate(own.loc[names.OURS], BOUND[goal.device][0]), ""
    peers = own.loc[own.index.isin(goal.beats)]
    if peers["median"].isna().all():
        return networks, None, "; ".join(dict.fromkeys(peers["missing"]))
    fastest = peers["median"].idxmax()
    return networks, estimate(peers.loc[fastest], "ours_over_this"), f"beside {fastest}"
