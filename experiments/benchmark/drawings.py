"""The benchmark's figures, from its tables."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.benchmark.contestants import LOOP, TRAINING, XLA_SGEMM, family
from experiments.benchmark.settings import COMPARISON, GROWTH, Work
from experiments.benchmark.tables import SHARE, estimates, largest
from memo.reporting import figures, palette, panels
from memo.reporting.palette import Mark

MARKS = {name: Mark(name, *peer.style) for name, peer in TRAINING.items()}
LIMIT: palette.Style = {"color": "0.35", "linewidth": 1.4, "linestyle": (0, (5, 2))}


def throughput(table: pd.DataFrame, folder: Path) -> str:
    """Draw thousand examples per second by width, and the share of XLA's best sgemm, contestants side by side."""
    own = largest(table)
    widths = sorted(set(own["width"]))
    figure, [[rate, share]] = figures.grid(1, 2, width=4.6, height=3.8)
    present = [name for name in MARKS if own[own["contestant"] == name]["median"].notna().any()]
    for offset, name in zip(panels.side_by_side(len(present)), present):
        for axes, column in ((rate, "median"), (share, SHARE)):
            _line(axes, own, name, column, "width", factor=2**offset)
    best = own[own["contestant"].str.startswith(XLA_SGEMM)].groupby("width")["median"].max()
    costs = [Work(COMPARISON, (width, width), 1, 0, 0).flop_per_example for width in widths]
    rate.plot(
        widths, [best[width] * 1e6 / cost for width, cost in zip(widths, costs)], **LIMIT, label="XLA's best sgemm"
    )
    share.axhline(1, **LIMIT)
    for axes in (rate, share):
        axes.set_xscale("log", base=2)
        axes.set_xticks(widths, [str(width) for width in widths])
        axes.set(xlim=(widths[0] / 1.7, widths[-1] * 1.7), xlabel="width of both hidden layers")
        axes.minorticks_off()
    rate.set(yscale="log", ylabel="thousand examples per second, all networks")
    share.set(ylim=(0, None), ylabel="share of XLA's best sgemm")
    _legend(figure, rate)
    return figures.save(figure, folder, "throughput")


def growth(table: pd.DataFrame, folder: Path) -> str:
    """Draw thousand examples per second against the number of networks; hollow, the longer readings of the comparison."""
    own, beside = table[table["part"] == GROWTH], largest(table)
    widths = sorted(set(own["width"]))
    figure, [row] = figures.grid(1, len(widths), width=2.6, height=2.9)
    for axes, width in zip(row, widths):
        here, longer = own[own["width"] == width], beside[beside["width"] == width]
        for name in [name for name in MARKS if name in set(here["contestant"])]:
            _line(axes, here, name, "median", "networks")
            _line(axes, longer, name, "median", "networks", joined=False, fillstyle="none", label=None)
        loop = longer[longer["contestant"].isin(family(LOOP))]
        for rate in loop["median"].dropna():
            axes.axhline(rate, **MARKS[loop["contestant"].iloc[0]].line, linewidth=1.2, label=LOOP)
        counts = {*here["networks"], *longer["networks"]}
        axes.set_xscale("log", base=4)
        axes.set(title=f"width {width}", xlabel="networks", ylim=(0, None), xlim=(min(counts) / 1.5, max(counts) * 1.5))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.tick_params(labelsize=8)
    row[0].set_ylabel("thousand examples per second")
    _legend(figure, row[0])
    return figures.save(figure, folder, "growth")


def _line(axes: Axes, table: pd.DataFrame, name: str, column: str, x: str, **options: Any) -> None:
    rows = estimates(table[table["contestant"] == name].sort_values(x))
    known = {row[x]: row[column] for row in rows if row["median"]}
    panels.intervals(axes, known, MARKS[name], **{"joined": True} | options)


def _legend(figure: Figure, axes: Axes) -> None:
    named = dict(zip(*axes.get_legend_handles_labels()[::-1]))
    # Matplotlib lists plain lines before points; ours stands first, and limits last.
    named = {name: named[name] for name in [*filter(named.get, MARKS), *named]}
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=2, fontsize=8)
