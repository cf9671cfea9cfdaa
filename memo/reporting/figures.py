"""One style for every figure, independent of other settings of matplotlib, and files that are identical when redrawn.

    with look():  grid ──> axes ──> memo.reporting.panels ──> save

`memo.commands.experiment` draws a whole report in the look. Its figures are no windows: pyplot does not know them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from memo.reporting import inline_images, palette
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import replacing

APART = 1.3  # the least ratio of neighbouring counts on a logarithmic axis, whose numbers then stand side by side
_LOOK: dict[str, Any] = {
    **sns.plotting_context("paper", font_scale=1.15),
    **sns.axes_style("ticks"),
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it: the same letters everywhere
    "axes.prop_cycle": cycler(
        color=[palette.BLUE, palette.VERMILION, palette.GREEN, palette.PURPLE, palette.ORANGE, palette.SKY]
    ),
    "figure.constrained_layout.use": True,
    "axes.grid": True,
    "grid.color": "0.92",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "memo",
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in the suite's style inside the context (or decorated function); matplotlib's settings are restored afterwards."""
    with matplotlib.style.context(["default", _LOOK]):
        yield


def grid(
    rows: int, columns: int, width: float = 2.6, height: float = 2.3, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and its axes as a list of rows; `width` and `height` of one axes in inches."""
    with look():
        figure = Figure(figsize=(width * columns, height * rows))
        return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


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


def step_axis(axes: Axes, last: float) -> None:
    """Show optimiser steps from 0 on an axis that is linear up to the first step and logarithmic after it."""
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    last = max(1.0, last)  # NaN, and so 1, where every network diverged
    axes.set_xlim(0, last)
    ticks = [tick for tick in (0, 1, 10, 100, 1000, 10**4, 10**5, 10**6, 10**7) if tick <= last]
    axes.set_xticks(ticks, [f"{tick:,}" if tick <= 1000 else f"10$^{len(str(tick)) - 1}$" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("step")


def log_axis(axes: Axes, which: str = "y") -> None:
    """Make the y (or x) axis logarithmic, with plain numbers; not where nothing is drawn.

    At 1, 2 and 5 of every decade, or only at its beginning where the data span more than two and a half, and at all of
    1 to 9 where they span less than a factor of three.
    """
    least, most = getattr(axes.dataLim, f"minpos{which}"), getattr(axes.dataLim, f"{which}max")
    if not np.isfinite(least):
        return
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    subs = range(1, 10) if most < 3 * least else (1, 2, 5) if most < 300 * least else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def name_axis(axes: Axes, names: Sequence[object], **text: Any) -> None:
    """Give the x axis a name at each of 0, 1, 2 ..., with room beside the outer ones."""
    axes.set_xticks(range(len(names)), [str(name) for name in names], **text)
    axes.set_xlim(-0.5, len(names) - 0.5)


def count_axis(axes: Axes, counts: Sequence[int]) -> None:
    """Make the x axis logarithmic, with a tick at each of the counts and its number, but where the next count's would touch it."""
    axes.set_xscale("log")
    apart = [after >= APART * count for count, after in pairwise(counts)] + [True]
    axes.set_xticks(counts, [f"{count:,}" if free else "" for count, free in zip(counts, apart)])
    axes.xaxis.set_minor_locator(NullLocator())


def shared_legend(figure: Figure, axes: Axes | Sequence[Axes], columns: int | None = None) -> None:
    """Put one legend, of the artists in `axes`, above all axes of a figure: in one row, or in `columns` columns."""
    named: dict[str, Any] = {}
    for each in [axes] if isinstance(axes, Axes) else axes:
        named = dict(zip(*each.get_legend_handles_labels()[::-1])) | named
    if named:
        figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=columns or len(named))


def legend(axes: Axes, **options: Any) -> None:
    """Put a legend into the axes, each name once, if anything has a name."""
    named = dict(zip(*axes.get_legend_handles_labels()[::-1]))
    if named:
        axes.legend(named.values(), named.keys(), **{"fontsize": 8} | options)


def interval(axes: Axes, x: float, estimate: Estimate, **style: Any) -> None:
    """Draw one estimate as a point with its interval; see `intervals`."""
    intervals(axes, {x: estimate}, **style)


def intervals(axes: Axes, estimates: Mapping[float, Estimate], **style: Any) -> None:
    """Draw estimates as points with their intervals; a lower bound (an interval without end) has an arrow upward."""
    places, values = list(estimates), [estimate.value for estimate in estimates.values()]
    below, above = np.concatenate([reach(estimate) for estimate in estimates.values()], axis=1)
    for place, value in zip(np.array(places)[np.isposinf(above)], np.array(values)[np.isposinf(above)]):
        arrow = {"arrowstyle": "<-", "color": style.get("color", palette.BLACK), "linewidth": 1.3}
        axes.annotate("", (place, value), (0, 14), textcoords="offset points", arrowprops=arrow)
    above = np.where(np.isposinf(above), 0, above)
    axes.errorbar(places, values, [below, above], **{"capsize": 2.5, "markersize": 5, "linewidth": 1.3} | style)


def reach(estimate: Estimate) -> list[list[float]]:
    """Return how far an interval reaches [2, 1] below and above its value, as error bars have it."""
    # An interval that does not exist (one seed) is NaN and draws nothing.
    return [[max(estimate.value - estimate.low, 0)], [max(estimate.high - estimate.value, 0)]]


def save(figure: Figure, folder: Path, name: str, *, dense: bool = False) -> str:
    """Write a figure as SVG, or as PNG at 160 dots per inch where it is `dense`, and return its path below `folder`."""
    file = Path("figures") / f"{name}.{'png' if dense else 'svg'}"
    metadata: dict[str, Any] = {} if dense else {"Date": None}
    with look(), replacing(folder / file) as path:
        figure.savefig(path, format=file.suffix[1:], dpi=160, metadata=metadata)
        if not dense:
            path.write_text(inline_images.shortened(path.read_text(encoding="utf-8")), encoding="utf-8")
    return str(file)
