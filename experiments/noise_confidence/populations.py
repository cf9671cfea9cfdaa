"""The arms as frames of networks, with the columns by which chapters tell them apart, and how they are drawn."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from memo.commands.evidence import Evidence
from memo.networks.mlp import describe_widths
from memo.reporting import figures, palette
from memo.statistics.intervals import mean_interval

# What the labels are called here; half: each redrawn with probability 0.5.
LABELS = {"true": "true labels", "half": "half random labels", "shuffled": "shuffled labels"}
COLORS = {kind: palette.LABELS["random" if kind == "half" else kind].color for kind in LABELS}
MARKERS = {kind: palette.LABELS["random" if kind == "half" else kind].marker for kind in LABELS}
DASHES: dict[str, Any] = {kind: palette.LABELS["random" if kind == "half" else kind].dashes for kind in LABELS}
OFFSETS = {"true": -0.15, "half": 0.0, "shuffled": 0.15}

INPUTS = {
    "test": "test images",
    "fashion": "Fashion-MNIST",
    "random_pixels": "test images, permuted",
    "uniform": "uniform noise",
    "gaussian": "Gaussian noise, the data's, clipped",
    "normal": "Gaussian noise, N(0, 1)",
    "constant": "one grey",
    "uniform_x2": "uniform noise × 2",
    "uniform_x5": "uniform noise × 5",
    "uniform_x10": "uniform noise × 10",
    "uniform_x100": "uniform noise × 100",
}

# The same on an axis.
TICKS = {
    "test": "test\nimages",
    "fashion": "Fashion-\nMNIST",
    "random_pixels": "test images,\npermuted",
    "uniform": "uniform\nnoise",
    "gaussian": "Gaussian, the\ndata's, clipped",
    "normal": "Gaussian,\nN(0, 1)",
    "constant": "one grey",
}


def networks(evidence: Evidence, *arms: str, diverged: bool = False) -> pd.DataFrame:
    """Return the networks of some arms with the columns width, depth and labels, smallest first, by seed.

    Those that diverged are among them only where they are asked for, to name what was to be trained.
    """
    frames = [evidence.trials, evidence.diverged] if diverged else [evidence.trials]
    parts = [frame[frame["arm"].isin(arms)] for frame in frames]
    trials = pd.concat([part for part in parts if len(part)] or parts[:1]).drop_duplicates("trial")
    trials = trials.sort_values(["parameters", "seed"], ignore_index=True)
    trials["width"] = [describe_widths(widths, "×") for widths in trials["model.widths"]]
    trials["depth"] = [len(widths) for widths in trials["model.widths"]]
    trials["labels"] = trials["labels.kind"].replace("random", "half")
    return trials


def distinct(evidence: Evidence, column: str, *arms: str) -> list:
    """Return the distinct values of a column of `networks`, smallest networks first, the diverged included."""
    return list(dict.fromkeys(networks(evidence, *arms, diverged=True)[column]))


def rows_of(table: pd.DataFrame, trials: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return the rows of a stored table that belong to these networks, with these columns of theirs beside."""
    facts = trials.set_index("trial")[list(columns)]
    return table[table["trial"].isin(facts.index)].join(facts, on="trial")


def count_seeds(evidence: Evidence, arm: str) -> int:
    """Return the number of seeds that an arm was to have."""
    return len(distinct(evidence, "seed", arm))


def points(
    axes: Axes, frame: pd.DataFrame, column: str, group: str, places: list, kinds: Iterable[str] = LABELS
) -> None:
    """Draw the mean over seeds, with its interval, of a column at each of the names of a group, labels side by side."""
    for kind in kinds:
        for position, name in enumerate(places):
            values = frame[(frame[group] == name) & (frame["labels"] == kind)][column]
            values = values[np.isfinite(values)]
            if len(values):
                style = {"color": COLORS[kind], "marker": MARKERS[kind], "linestyle": ""}
                figures.interval(axes, position + OFFSETS[kind], mean_interval(values), label=LABELS[kind], **style)
    axes.set_xticks(range(len(places)), [str(name) for name in places])
    axes.set_xlim(-0.5, len(places) - 0.5)


def legend(figure: Figure, kinds: Iterable[str] = LABELS) -> None:
    """Put one legend of the kinds of labels above a figure's axes."""
    handles = [Line2D([], [], color=COLORS[kind], linestyle=DASHES[kind], marker=MARKERS[kind]) for kind in kinds]
    figure.legend(handles, [LABELS[kind] for kind in kinds], loc="outside upper center", ncols=len(handles))
