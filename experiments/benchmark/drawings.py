"""The benchmark's figures, from its tables."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.benchmark import names
from experiments.benchmark.tables import estimate, largest
from experiments.benchmark.work import Work
from memo.reporting import figures, palette

# Okabe and Ito's colours, one for each family; its members differ in marker and line.
STYLE = {
    names.OURS: (palette.VERMILION, "o", "-"),
    names.LOOP: (palette.BLUE, "s", "-"),
    names.LOADER: (palette.BLUE, "D", ":"),
    names.GRAPH: (palette.BLUE, "P", "--"),
    names.VMAP_OWN: (palette.GREEN, "^", "-"),
    names.VMAP_SHARED: (palette.GREEN, "v", "--"),
    names.JAX_ONE: (palette.PURPLE, "X", "-"),
    names.COMPILED_OWN: (palette.ORANGE, "^", "-"),
    names.COMPILED_SHARED: (palette.ORANGE, "v", "--"),
    names.COMPILED_GRAPH: (palette.ORANGE, "P", ":"),
}
LIMIT: palette.Style = {"color": "0.35", "linewidth": 1.4}
LIMITS = (
    ((names.XLA_SGEMM,), "XLA's best sgemm in this run", "flop_per_example", (0, (5, 2))),
    ((names.XLA_COPY, names.TORCH_COPY), "best copy, 20 bytes per weight and step", "bytes_per_example", (0, (1, 2))),
)


def throughput(table: pd.DataFrame, bound: str, words: str, folder: Path) -> str:
    """Draw examples per second by width, and the share of the limit whose column is `bound`, contestants side by side."""
    own = largest(table)
    widths = sorted(set(own["width"]))
    figure, [[rate, share]] = figures.grid(1, 2, width=4.6, height=3.8)
    present = [name for name in STYLE if own[own["contestant"] == name]["median"].notna().any()]
    for place, name in enumerate(present):
        offset = 2 ** (0.09 * (place - (len(present) - 1) / 2))
        rows = own[own["contestant"] == name]
        _line(rate, rows, "median", name, offset=offset)
        _line(share, rows, bound, name, offset=offset)
    for beginnings, label, cost, dashes in LIMITS:
        best = own[own["contestant"].str.startswith(beginnings)].groupby("width")["median"].max()
        limit = [best[width] * 1e9 / getattr(Work((width, width), 1, 0, 0), cost) for width in widths]
        rate.plot(widths, limit, **LIMIT, linestyle=dashes, label=label)
    share.axhline(1, **LIMIT, linestyle=LIMITS[0][3])
    for axes in (rate, share):
        axes.set_xscale("log", base=2)
        axes.set_xticks(widths, [str(width) for width in widths])
        axes.set_xlim(widths[0] / 1.7, widths[-1] * 1.7)
        axes.minorticks_off()
        axes.set_xlabel("width of both hidden layers")
    rate.set_yscale("log")
    rate.set_ylabel("examples per second, all networks")
    share.set(ylim=(0, None), ylabel=words)
    _legend(figure, rate)
    return figures.save(figure, folder, "throughput")


def growth(table: pd.DataFrame, folder: Path) -> str:
    """Draw thousand examples per second against the number of networks; hollow, the longer readings of the comparison."""
    own, beside = table[table["part"] == names.GROWTH], largest(table)
    widths = sorted(set(own["width"]))
    figure, [panels] = figures.grid(1, len(widths), width=2.6, height=2.9)
    for axes, width in zip(panels, widths):
        here, longer = own[own["width"] == width], beside[beside["width"] == width]
        counts = sorted({*here["networks"], *longer["networks"]})
        for name in [name for name in STYLE if name in set(here["contestant"])]:
            _line(axes, here[here["contestant"] == name], "median", name, x="networks")
            _line(axes, longer[longer["contestant"] == name], "median", name, x="networks", hollow=True)
        loop = longer[longer["contestant"] == names.LOOP]["median"]
        if loop.notna().any():
            color, _, dashes = STYLE[names.LOOP]
            axes.axhline(loop.iloc[0], color=color, linestyle=dashes, linewidth=1.2, label=names.LOOP)
        axes.set_title(f"width {width}")
        axes.set_xlabel("networks")
        axes.set_xscale("log", base=4)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.tick_params(labelsize=8)
        axes.set_xlim(counts[0] / 1.5, counts[-1] * 1.5)
        axes.set_ylim(0, None)
    panels[0].set_ylabel("thousand examples per second")
    _legend(figure, panels[0])
    return figures.save(figure, folder, "growth")


def _line(
    axes: Axes, rows: pd.DataFrame, column: str, name: str, x: str = "width", offset: float = 1.0, hollow: bool = False
) -> None:
    """Draw one contestant's estimates in `column` against `x`, joined unless they are hollow."""
    rows = rows[rows["median"].notna()].sort_values(x)
    color, marker, dashes = STYLE[name]
    places = rows[x].astype(float) * offset
    if not hollow:
        axes.plot(places, rows[column].astype(float), color=color, linestyle=dashes, linewidth=1.1, alpha=0.7)
    style: palette.Style = {"color": color, "marker": marker, "linestyle": ""}
    style |= {"markerfacecolor": "white"} if hollow else {}
    for number, (place, row) in enumerate(zip(places, rows.to_dict("records"))):
        found = estimate(row, column)
        if found is not None:
            figures.interval(axes, place, found, **style, **({} if hollow or number else {"label": name}))


def _legend(figure: Figure, axes: Axes) -> None:
    named = dict(zip(*axes.get_legend_handles_labels()[::-1]))
    # Matplotlib lists plain lines before points; ours stands first, and limits last.
    named = {name: named[name] for name in [*filter(named.get, STYLE), *named]}
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=2, fontsize=8)
