"""The networks by width and labels, and pairs of the same seed, from the stored tables."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memo.commands.evidence import Evidence
from memo.reporting import figures
from memo.statistics.curve_shape import at_level, time_to

COLORS = {10: "#999999", 25: "#E69F00", 50: "#56B4E9", 100: "#009E73", 250: "#0072B2", 500: "#D55E00"}


def by_width(evidence: Evidence, arm: str) -> pd.DataFrame:
    """Return an arm's networks with their `width` and `labels`, by width and seed; without diverged ones."""
    own = evidence.of(arm)
    width = [int(widths[0]) for widths in own["model.widths"]]
    return own.assign(width=width, labels=own["labels.kind"]).sort_values(
        ["width", "labels", "seed"], ignore_index=True
    )


def count_networks(evidence: Evidence, arm: str, width: int) -> tuple[int, int]:
    """Return how many networks of a width an arm has, diverged ones included, and how many of them diverged."""
    lost = evidence.diverged[evidence.diverged["arm"] == arm]
    diverged = sum(int(widths[0]) == width for widths in lost["model.widths"])
    return int((by_width(evidence, arm)["width"] == width).sum()) + diverged, diverged


def absent(evidence: Evidence, arm: str, width: int) -> str:
    """Return the note on diverged networks of a width, or nothing."""
    count, diverged = count_networks(evidence, arm, width)
    return f"{diverged} of {count} networks diverged" if diverged else ""


def color(width: int) -> str:
    """Return the colour of a width in every figure."""
    return COLORS.get(width, "#CC79A7")


def width_axis(axes: Axes, widths: Sequence[int]) -> None:
    """Make the x axis that of hidden units, logarithmic, with room beside the outer ones."""
    figures.count_axis(axes, widths)
    axes.set(xlabel="hidden units", xlim=(0.8 * min(widths), 1.25 * max(widths)))


def at_loss(
    networks: pd.DataFrame, curves: pd.DataFrame, sharpness: pd.DataFrame, levels: tuple[float, ...]
) -> pd.DataFrame:
    """Return one row for each network and level of training loss: what is true of it when it first gets there.

    Columns: those of `networks` (trial, seed, width, labels), `level`, `step`, `given` (the last step), `test_loss`, `top`
    (the largest Hessian eigenvalue, linear in the logarithms between its measurements). NaN where it never gets there.
    """
    curves = {trial: own.sort_values("step") for trial, own in curves.groupby("trial")}
    tops = {trial: own.sort_values("step") for trial, own in sharpness.groupby("trial")}
    rows = []
    for network in networks[["trial", "seed", "width", "labels"]].to_dict("records"):
        own, top = curves[network["trial"]], tops[network["trial"]]
        loss = own["train_loss"].to_numpy()
        measured = pd.Series(loss, own["step"].to_numpy()).reindex(top["step"]).to_numpy()
        rows += [
            network
            | {
                "level": level,
                "step": time_to(own["step"], -loss, -level),
                "given": int(own["step"].iloc[-1]),
                "test_loss": at_level(-loss, own["test_loss"].to_numpy(), -level),
                "top": math.exp(at_level(-np.log(measured), np.log(top["top"].to_numpy()), -math.log(level))),
            }
            for level in levels
        ]
    return pd.DataFrame(rows)


def pairs(frame: pd.DataFrame, width: int, column: str, level: float | None = None) -> pd.DataFrame:
    """Return a column for the seeds that have both kinds of labels, as columns true and shuffled, by seed."""
    own = frame[(frame["width"] == width) & ((frame["level"] == level) if level is not None else True)]
    whole = own.pivot(index="seed", columns="labels", values=column).reindex(columns=["true", "shuffled"])
    present = own.pivot(index="seed", columns="labels", values="trial").reindex(columns=["true", "shuffled"])
    return whole[present.notna().all(axis=1)].astype(float)
