"""One look for every figure: colours that survive colour-blindness and print, files that are the same when redrawn."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

if "MPLBACKEND" not in os.environ:  # commands only write files; a notebook's kernel names its own backend there
    matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from memo.statistics.intervals import Estimate
from memo.storage.run_folders import replacing

# Okabe and Ito's colours; kinds that stand side by side also differ in marker or line.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "0.6"
CYCLE = (ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE)
LABELS = {"true": BLUE, "shuffled": VERMILION, "random": GREEN}
MARKERS = {"true": "o", "shuffled": "s", "random": "^"}
DASHES: dict[str, Any] = {"true": "-", "shuffled": (0, (5, 1.5)), "random": (0, (1.5, 1.5))}
INPUTS = {"test": BLACK, "uniform": GREEN, "gaussian": PURPLE, "random_pixels": ORANGE}
INPUT_NAMES = {
    "test": "test images",
    "uniform": "uniform noise",
    "gaussian": "Gaussian noise",
    "random_pixels": "test images, permuted",
}
# Keywords of matplotlib for a line, a marker, a text.
Style = dict[str, Any]

CHANCE_LINE: Style = {"color": "0.45", "linestyle": ":", "linewidth": 1.2}

sns.set_theme(
    context="paper",
    style="ticks",
    font_scale=1.15,
    rc={
        "figure.constrained_layout.use": True,
        "axes.grid": True,
        "grid.color": "0.92",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "memo",
    },
)


def grid(
    rows: int, columns: int, width: float = 2.6, height: float = 2.3, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and its axes as a list of rows; `width` and `height` of one axes in inches."""
    figure, axes = plt.subplots(rows, columns, figsize=(width * columns, height * rows), squeeze=False, **options)
    return figure, axes.tolist()


def epoch_axis(axes: Axes, last: float) -> None:
    """Show epochs from 0 on an axis that is linear inside the first tenth of an epoch and logarithmic after it."""
    axes.set_xscale("symlog", linthresh=0.1, linscale=0.4)
    last = max(0.1, last)  # NaN, and so 0.1, where every network diverged
    axes.set_xlim(0, last)
    ticks = [tick for tick in (0, 0.1, 1, 10, 100, 1000) if tick <= last]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axvline(1, color="0.6", linewidth=0.9, zorder=0)
    axes.set_xlabel("epoch")


def log_axis(axes: Axes, which: str = "y") -> None:
    """Make the y (or x) axis logarithmic, with plain numbers at 1, 2 and 5 of every decade; not where nothing is drawn."""
    if not np.isfinite(getattr(axes.dataLim, f"minpos{which}")):
        return
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def count_axis(axes: Axes, counts: Sequence[int]) -> None:
    """Make the x axis logarithmic, with a number at each of the counts."""
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())


def shared_legend(figure: Figure, axes: Axes, columns: int | None = None) -> None:
    """Put one legend, of what `axes` shows, above all axes of a figure, if anything: in one row, or in so many columns."""
    named = dict(zip(*axes.get_legend_handles_labels()[::-1]))
    if named:
        figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=columns or len(named))


def legend(axes: Axes, **options: Any) -> None:
    """Put a legend into the axes that names what has one name once, if anything has a name."""
    named = dict(zip(*axes.get_legend_handles_labels()[::-1]))
    if named:
        axes.legend(named.values(), named.keys(), **{"fontsize": 8} | options)


def reach(estimate: Estimate) -> list[list[float]]:
    """Return how far an interval reaches [2, 1] below and above its value, as error bars have it."""
    # An interval that does not exist (one seed) is NaN and draws nothing.
    return [[max(estimate.value - estimate.low, 0)], [max(estimate.high - estimate.value, 0)]]


def interval(axes: Axes, x: float, estimate: Estimate, **style: Any) -> None:
    """Draw one estimate as a point with its interval."""
    axes.errorbar(x, estimate.value, reach(estimate), capsize=2.5, markersize=5, linewidth=1.3, **style)


def save(figure: Figure, folder: Path, name: str, *, dense: bool = False) -> str:
    """Write a figure as SVG, or as PNG at 160 dots an inch where it is `dense`, and return its path below `folder`."""
    file = Path("figures") / f"{name}.{'png' if dense else 'svg'}"
    metadata: dict[str, Any] = {} if dense else {"Date": None}
    with replacing(folder / file) as path:
        figure.savefig(path, format=file.suffix[1:], dpi=160, metadata=metadata)
    plt.close(figure)
    return str(file)
