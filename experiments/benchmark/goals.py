"""What the suite set out to reach, beside what was measured: a goal is a number here, never an assertion."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.benchmark import contestants as who
from memo.statistics.intervals import Estimate

SHARE_OF_SGEMM, SHARE_OF_COPY, WHOLE = "share of XLA's best sgemm", "share of the copy bandwidth", "published workload"
# What a population is bound by on each kind of device, and the column of the table that says how near it comes.
BOUND = {"cpu": ("share_of_sgemm", SHARE_OF_SGEMM), "gpu": ("share_of_copy", SHARE_OF_COPY)}
COLUMNS = ("goal", "device", "width", "networks", "at_least", "at_most", "measured", "low", "high", "n", "reached")


@dataclass(frozen=True)
class Goal:
    """A bound on one number. `beats` are the peers of a ratio of rates, of which the fastest counts."""

    device: str  # cpu or gpu
    width: int | None
    quantity: str
    at_least: float | None = None
    at_most: float | None = None
    beats: tuple[str, ...] = ()
    networks: int = 1  # at least, of the population that is judged


def _ratio(device, width, times, name, peers):
    return Goal(device, width, f"ours / {name}", at_least=times, beats=peers, networks=32 if width == 16 else 1)


GOALS = (
    _ratio("cpu", 16, 15, "PyTorch loop", (who.LOOP,)),
    _ratio("cpu", 16, 4, "torch.func.vmap", who.VMAP),
    _ratio("cpu", 128, 4, "PyTorch loop", (who.LOOP,)),
    _ratio("cpu", 128, 1.5, "torch.func.vmap", who.VMAP),
    _ratio("cpu", 512, 1.5, "PyTorch loop", (who.LOOP,)),
    _ratio("cpu", 512, 1.5, "torch.func.vmap", who.VMAP),
    _ratio("cpu", 2048, 1.2, "PyTorch loop", (who.LOOP,)),
    *(Goal("cpu", width, SHARE_OF_SGEMM, at_least=0.8) for width in (16, 128, 512)),
    _ratio("gpu", 16, 4000, "PyTorch loop", (who.LOOP,)),
    *(
        _ratio("gpu", width, times, "torch.func.vmap + torch.compile", who.COMPILED)
        for width, times in ((16, 6), (128, 2), (512, 2), (2048, 1.5))
    ),
    *(Goal("gpu", width, SHARE_OF_COPY, at_least=0.75) for width in (16, 128, 512, 2048)),
    Goal("gpu", None, WHOLE, at_most=60),
)


def judge(table: pd.DataFrame, platform: str) -> pd.DataFrame:
    """Return one row a goal: what was measured in the largest population of its width, and whether that reaches it.

    `reached` is `true` or `false` by the median; `not applicable` for another kind of device; `not measured` where the
    note says why.
    """
    rows = []
    for goal in GOALS:
        row = {
            "goal": goal.quantity,
            "device": {"cpu": "two CPU cores", "gpu": "an H100"}[goal.device],
            "width": goal.width,
            "at_least": goal.at_least,
            "at_most": goal.at_most,
        }
        if goal.device != platform:
            rows.append(row | {"reached": "not applicable", "note": "another kind of device"})
            continue
        networks, estimate, note = _measured(goal, table)
        row |= {"networks": networks, "note": note}
        if estimate is None:
            rows.append(row | {"reached": "not measured"})
            continue
        found = dict(zip(("measured", "low", "high", "n"), estimate))
        rows.append(row | found | {"reached": str(_reaches(goal, estimate.value)).lower()})
    frame = pd.DataFrame(rows).reindex(columns=[*COLUMNS, "note"])
    return frame.astype({"width": "Int64", "networks": "Int64", "n": "Int64"})


def _reaches(goal, value):
    return bool(value >= goal.at_least if goal.at_least is not None else value <= goal.at_most)


def _measured(goal, table):
    """Return (networks, estimate or None, note)."""
    if goal.quantity == WHOLE:
        own = table[table["part"] == "published"]
        if own.empty:
            return None, None, "left out at this scale"
        row = own.iloc[0]
        if pd.isna(row["median"]):
            return row["networks"], None, row["missing"]
        seconds = row["networks"] * row["examples_per_network"] / row["median"]
        return row["networks"], Estimate(seconds, np.nan, np.nan, row["n"]), "seconds, compiling included"
    own = table[(table["part"] == "comparison") & (table["width"] == goal.width)]
    own = own[own["networks"] >= goal.networks]
    if own.empty:
        fewest = f" with {goal.networks} networks or more" if goal.networks > 1 else ""
        return None, None, f"no such width{fewest} at this scale"
    own = own[own["networks"] == own["networks"].max()].set_index("contestant")
    networks, ours = own["networks"].iloc[0], own.loc[who.OURS]
    if not goal.beats:
        column = "share_of_sgemm" if goal.quantity == SHARE_OF_SGEMM else "share_of_copy"
        return networks, _estimate(ours, column), ""
    peers = own.loc[[name for name in goal.beats if name in own.index]]
    if peers["median"].isna().all():
        return networks, None, "; ".join(dict.fromkeys(peers["missing"]))
    fastest = peers["median"].idxmax()
    return networks, _estimate(peers.loc[fastest], "ours_over_this"), f"beside {fastest}"


def _estimate(row, column):
    if pd.isna(row[column]):
        return None
    return Estimate(row[column], row[f"{column}_low"], row[f"{column}_high"], row["n"])
