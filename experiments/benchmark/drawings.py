"""The benchmark's figures, from its tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.benchmark import contestants as who
from experiments.benchmark import launchers
from experiments.benchmark.work import BATCH, Work
from memo.reporting import figures
from memo.statistics.intervals import Estimate

# Okabe and Ito's colours: a family a colour; its members differ in marker and line.
STYLE = {
    who.OURS: ("#D55E00", "o", "-"),
    who.LOOP: ("#0072B2", "s", "-"),
    who.LOADER: ("#0072B2", "D", ":"),
    who.GRAPH: ("#0072B2", "P", "--"),
    who.VMAP_OWN: ("#009E73", "^", "-"),
    who.VMAP_SHARED: ("#009E73", "v", "--"),
    who.JAX_ONE: ("#CC79A7", "X", "-"),
    who.COMPILED_OWN: ("#E69F00", "^", "-"),
    who.COMPILED_SHARED: ("#E69F00", "v", "--"),
    who.COMPILED_GRAPH: ("#E69F00", "P", ":"),
}
LIMIT: dict[str, Any] = {"color": "0.35", "linestyle": (0, (5, 2)), "linewidth": 1.4}


def throughput(table: pd.DataFrame, bound: str, words: str, folder: Path) -> str:
    """Draw examples a second by width, and the share of the limit whose column is `bound`, contestants side by side."""
    own = _largest(table[table["part"] == "comparison"])
    widths = sorted(set(own["width"]))
    figure, [[rate, share]] = figures.grid(1, 2, width=4.6, height=3.8)
    present = [name for name in STYLE if own[own["contestant"] == name]["median"].notna().any()]
    for number, name in enumerate(present):
        offset = 2 ** (0.09 * (number - (len(present) - 1) / 2))
        rows = own[(own["contestant"] == name) & own["median"].notna()]
        _line(rate, rows, "median", "low", "high", name, offset)
        _line(share, rows, bound, f"{bound}_low", f"{bound}_high", name, offset)
    one = {width: Work((width, width), 1, 0, 0) for width in widths}
    for beginnings, label, cost, dashes in (
        ((who.XLA_SGEMM,), "XLA's best sgemm in this run", "flop_per_example", (0, (5, 2))),
        ((who.XLA_COPY, who.TORCH_COPY), "best copy, 20 bytes a weight and step", "bytes_per_example", (0, (1, 2))),
    ):
        best = own[own["contestant"].str.startswith(beginnings)].groupby("width")["median"].max()
        limit = [best[width] * 1e9 / getattr(one[width], cost) for width in widths]
        rate.plot(widths, limit, **LIMIT | {"linestyle": dashes}, label=label)
    share.axhline(1, **LIMIT)
    for place in (rate, share):
        place.set_xscale("log", base=2)
        place.set_xticks(widths, [str(width) for width in widths])
        place.set_xlim(widths[0] / 1.7, widths[-1] * 1.7)
        place.minorticks_off()
        place.set_xlabel("width of both hidden layers")
    rate.set_yscale("log")
    rate.set_ylabel("examples a second, all networks")
    share.set(ylim=(0, None), ylabel=words)
    _legend(figure, rate)
    return figures.save(figure, folder, "throughput")


def growth(table: pd.DataFrame, folder: Path) -> str:
    """Draw microseconds a step of the whole population and examples a second against the number of networks."""
    own = table[(table["part"] == "growth") & table["contestant"].isin(STYLE)]
    loops = table[(table["part"] == "comparison") & (table["contestant"] == who.LOOP)].set_index("width")["median"]
    widths = sorted(set(own["width"]))
    shown = [name for name in STYLE if name in set(own["contestant"])]
    figure, axes = figures.grid(2, len(widths), width=2.7, height=2.4, sharex="col", sharey="row")
    for column, width in enumerate(widths):
        for name in shown:
            rows = own[(own["width"] == width) & (own["contestant"] == name) & own["median"].notna()]
            rows = rows.sort_values("networks")
            step = pd.DataFrame(
                {
                    "networks": rows["networks"],
                    **{
                        new: rows["networks"].astype(float) * BATCH * 1e6 / rows[old]
                        for new, old in (("median", "median"), ("low", "high"), ("high", "low"))
                    },
                }
            )
            _line(axes[0][column], step, "median", "low", "high", name, x="networks")
            _line(axes[1][column], rows, "median", "low", "high", name, x="networks")
        if loops.get(width, np.nan) > 0:
            counts = np.array(sorted(set(own[own["width"] == width]["networks"])), float)
            style: dict[str, Any] = {
                "color": STYLE[who.LOOP][0],
                "linestyle": STYLE[who.LOOP][2],
                "linewidth": 1.2,
                "label": who.LOOP,
            }
            axes[0][column].plot(counts, counts * BATCH * 1e6 / loops[width], **style)
            axes[1][column].plot(counts, np.full(len(counts), loops[width]), **style)
        axes[0][column].set_title(f"width {width}")
        axes[1][column].set_xlabel("networks")
        for place in (axes[0][column], axes[1][column]):
            place.set_xscale("log")
            place.set_yscale("log")
            place.set_xlim(0.7, 1.4 * max(2, own[own["width"] == width]["networks"].max()))
    axes[0][0].set_ylabel("µs a step of all networks")
    axes[1][0].set_ylabel("examples a second")
    _legend(figure, axes[0][0])
    return figures.save(figure, folder, "growth")


def sweep(rows: pd.DataFrame, folder: Path) -> str:
    """Draw the seconds of the whole sweep by launcher; what is extrapolated is hatched."""
    names = {
        launchers.BASIC: "Hydra's basic launcher",
        launchers.POPULATION_COLD: "population launcher,\nprograms not compiled yet",
        launchers.POPULATION: "population launcher,\nprograms in the cache",
    }
    figure, [[axes]] = figures.grid(1, 1, width=6.4, height=2.2)
    shown = [rows[rows["launcher"] == name].iloc[0] for name in names if name in set(rows["launcher"])]
    for place, row in enumerate(reversed(shown)):
        ours = row["launcher"] != launchers.BASIC
        color = STYLE[who.OURS if ours else who.LOOP][0]
        axes.barh(place, row["seconds_measured"], color=color, height=0.6)
        rest = row["seconds"] - row["seconds_measured"]
        if rest > 0:
            style: dict[str, Any] = {"edgecolor": color, "facecolor": "none", "hatch": "///", "linewidth": 0.8}
            axes.barh(place, rest, left=row["seconds_measured"], height=0.6, **style)
        words = f" {row['seconds']:.3g} s"
        if rest > 0:
            words += f", {row['jobs_measured']} of\n {row['jobs']} jobs measured"
        axes.text(row["seconds"], place, words, va="center", fontsize=8)
    axes.set_yticks(range(len(shown)), [names[row["launcher"]] for row in reversed(shown)])
    longest = max(row["seconds"] for row in shown)
    axes.set(xlim=(0, longest * 1.4), xlabel="seconds from the shell")
    axes.grid(visible=False, axis="y")
    return figures.save(figure, folder, "sweep")


def _largest(own):
    """Return, of each width, the setting with the most networks."""
    return own[own["networks"] == own.groupby("width")["networks"].transform("max")]


def _line(axes, rows, value, low, high, name, offset=1.0, x="width"):
    color, marker, dashes = STYLE[name]
    places = rows[x].astype(float) * offset
    axes.plot(places, rows[value].astype(float), color=color, linestyle=dashes, linewidth=1.1, alpha=0.7)
    for number, (place, row) in enumerate(zip(places, rows.itertuples())):
        middle, least, most = (float(getattr(row, column)) for column in (value, low, high))
        estimate = Estimate(middle, least, most, 0)
        label = {"label": name} if number == 0 else {}
        figures.interval(axes, place, estimate, color=color, marker=marker, linestyle="", **label)


def _legend(figure, axes):
    named = dict(zip(*axes.get_legend_handles_labels()[::-1]))
    # Matplotlib lists plain lines before points; ours stands first, and limits last.
    named = {name: named[name] for name in [*filter(named.get, STYLE), *named]}
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=2, fontsize=8)
