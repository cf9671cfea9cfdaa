"""The networks by width and labels, from the committed tables, and their axes and colours."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from memo.commands.evidence import Evidence
from memo.networks.status import DIVERGED
from memo.reporting import figures, palette
from memo.storage.run_folders import Tables

KINDS = ("true", "shuffled")
COLORS = dict(zip((10, 25, 50, 100, 250, 500), (palette.GREY, *palette.CYCLE)))


def with_width(evidence: Evidence) -> pd.DataFrame:
    """Return trial, arm, seed and width (hidden units) of every network."""
    widths = evidence.tables.trials.set_index("trial")["model.widths"].map(lambda widths: int(widths[0]))
    own = evidence.networks[["trial", "arm", "seed"]]
    return own.assign(width=own["trial"].map(widths))


def of_arms(tables: Tables, *arms: str) -> pd.DataFrame:
    """Return the networks of some arms, without diverged ones, by width, labels and seed."""
    networks = tables["networks"]
    own = networks[networks["arm"].isin(arms) & (networks["status"] != DIVERGED)]
    return own.sort_values(["width", "labels", "seed"], ignore_index=True)


def widths_of(networks: pd.DataFrame) -> list[int]:
    """Return the widths, ascending."""
    return sorted(int(width) for width in networks["width"].unique())


def lost(tables: Tables, arm: str, *widths: int) -> str:
    """Return the note on the diverged networks of some widths of an arm, or nothing."""
    networks = tables["networks"]
    asked = networks[(networks["arm"] == arm) & networks["width"].isin(widths)]
    count = int((asked["status"] == DIVERGED).sum())
    return f"{count} of {len(asked)} networks diverged" if count else ""


def pairs(frame: pd.DataFrame, width: int, column: str) -> pd.DataFrame:
    """Return a column for the seeds that have both kinds of labels, as columns true and shuffled, by seed."""
    own = frame[frame["width"] == width]
    whole = own.pivot(index="seed", columns="labels", values=column).reindex(columns=KINDS)
    present = own.pivot(index="seed", columns="labels", values="trial").reindex(columns=KINDS)
    return whole[present.notna().all(axis=1)].astype(float)


def color(width: int) -> str:
    """Return the colour of a width in every figure."""
    return COLORS.get(width, palette.CYCLE[-1])


def width_axis(axes: Axes, widths: Sequence[int]) -> None:
    """Make the x axis that of hidden units, logarithmic, with room beside the outer ones."""
    figures.count_axis(axes, widths)
    axes.set(xlabel="hidden units", xlim=(0.8 * min(widths), 1.25 * max(widths)))
