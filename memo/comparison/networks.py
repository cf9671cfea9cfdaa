"""One row per network: its keys, how it ended, and what is compared; what that is stands in `measures`."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from memo.networks.status import DIVERGED
from memo.reporting.palette import INPUTS
from memo.statistics.curve_summary import LEVELS, SHAPES, outcomes
from memo.statistics.intervals import UNBOUNDED, Bounds
from memo.storage.run_folders import Tables

NEVER = "a curve that never reaches the level"
TIMES = {f"t{level}": level / 100 for level in (50, 90, 99)}  # training accuracies by the names of their times
RATIO, DIFFERENCE = "ratio", "difference"


class Measure(NamedTuple):
    """A number of each network: its column, what it is called, and how two of its values are compared.

    `scale` is "ratio" for what is above 0 and read on a logarithmic axis (geometric means), else "difference".
    `bounds` are those that no value can pass, `straight` what a straight line has where it is the shape of a curve. `lacks` is what
    a network without a value has instead, if it did not diverge.
    """

    column: str
    words: str
    scale: str = DIFFERENCE
    bounds: Bounds = UNBOUNDED
    straight: float | None = None
    lacks: str = "no finite number"


def measures(inputs: Sequence[str], time: str) -> dict[str, Measure]:
    """Return what is compared, by column; confidence is on these kinds of inputs, times are in steps or epochs (`time`)."""
    parts = {"train": "training", "test": "test"}
    found = [Measure(f"final_{part}_accuracy", f"{name} accuracy", bounds=(0, 1)) for part, name in parts.items()]
    found += [Measure(f"final_{part}_loss", f"{name} loss", RATIO) for part, name in parts.items()]
    found += [
        Measure(name, f"{time}s to {100 * level:.0f} % training accuracy", RATIO, lacks=NEVER)
        for name, level in TIMES.items()
    ]
    for kind in LEVELS:
        # Accuracy rises from that of guessing a class.
        lacks = NEVER if kind == "loss" else f"{NEVER}, or a data set that is not known here"
        for name, (words, straight) in SHAPES.items():
            scale = RATIO if name == "steepness" else DIFFERENCE
            found.append(Measure(f"{kind}_{name}", f"{kind}: {words}", scale, straight=straight, lacks=lacks))
        steep = f"{lacks}, or is half-way at the first evaluation"
        found.append(Measure(f"{kind}_start", f"{kind}: time to 10 % / 10 to 50 %", straight=0.25, lacks=steep))
    unsure = "no confidence (not measured, or none under its loss)"
    found += [
        Measure(f"confidence_{kind}", f"confidence on {_name(kind)}", bounds=(0, 1), lacks=unsure) for kind in inputs
    ]
    return {measure.column: measure for measure in found}


def _name(inputs: str) -> str:
    return INPUTS[inputs].name if inputs in INPUTS else inputs.replace("_", " ")


def inputs_of(tables: Tables) -> list[str]:
    """Return the kinds of inputs that some network has a confidence on, in the order of the legends."""
    if "confidence" not in tables:
        return []
    kinds = list(tables.confidence[tables.confidence["mean_confidence"].notna()]["inputs"].unique())
    return [kind for kind in INPUTS if kind in kinds] + sorted(set(kinds) - set(INPUTS))


def table(tables: Tables, levels: pd.DataFrame, time: str) -> pd.DataFrame:
    """Return one row per network: trial, seed, the keys of `levels`, status, steps, and the columns of `measures`."""
    trials = tables.trials
    found = outcomes(trials, tables.curves, TIMES)
    if time == "step":
        per_epoch = (found["steps"] / found["epochs"]).fillna(1)  # 0 / 0 where it was finished before its first step
        found[list(TIMES)] = found[list(TIMES)].mul(per_epoch, axis=0)
    finals = [name for name in trials if name.startswith("final_")]
    own = trials[["trial", "seed"]].join(levels).join(trials[["status", "steps", *finals]])
    # How long it was trained, for those that never reach a level; a diverged one is left out.
    own["trained"] = found["steps" if time == "step" else "epochs"].where(own["status"] != DIVERGED)
    kept = [*TIMES, *(name for name in found if name.startswith(tuple(f"{kind}_" for kind in LEVELS)))]
    own = own.join(found[kept])
    if kinds := inputs_of(tables):
        sure = tables.confidence.pivot_table(index="trial", columns="inputs", values="mean_confidence", observed=True)
        own = own.merge(sure.reindex(columns=kinds).add_prefix("confidence_"), on="trial", how="left")
    return own
