"""How much longer random labels take, and the shape of the curve (the paper's figure 1b)."""

from functools import partial

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.random_labels import growth
from experiments.random_labels.networks import DEPTHS, RANDOM, TRUE, along, images_of, longer, mean, of, pairs, read
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import number
from memo.statistics.curve_summary import LEVELS, SHAPES
from memo.statistics.intervals import Estimate, paired_ratio
from memo.statistics.over_seeds import noted, over_pairs, over_seeds
from memo.statistics.trends import by_level, page_trend, paired_steps, smallest_ratio
from memo.storage.run_folders import Tables

LEVELS_OF = {"t99": "99 %", "t999": "99.9 %"}
NAMES = ("random-label", "curve on true labels")
COLORS = {1: palette.BLUE, 3: palette.VERMILION}
MARKERS = {"t99": ("o", palette.SOLID), "t999": ("^", palette.DASHED)}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: times and shapes are in the table of networks."""
    return {}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much longer random labels take, whether more of them take longer, and whether fitting starts slowly."""
    networks = read(tables)
    give = partial(answers.give, images=images_of(networks))
    for time in LEVELS_OF:
        for layers, (true, random) in DEPTHS.items():
            factor = longer(networks, time, random, true, NAMES)
            give("Z3-factor-{time}-{layers}", factor, time=time, layers=layers)
        times = by_level(along(networks), time, "redrawn")
        estimate, note = over_seeds(times, estimate=smallest_ratio)
        trend = page_trend(times)
        page = f"Page's test of a trend over all levels: p {'< 1e-6' if trend < 1e-6 else f'= {number(trend, 6)}'}"
        give("Z3-monotone-{time}", (estimate, noted(note, page)), time=time)
    for layers, (_, random) in DEPTHS.items():
        give("Z4-quickly-{layers}", mean(networks, "loss_start", random), layers=layers)


def rising(networks: pd.DataFrame, time: str = "t99") -> list[float]:
    """Return the levels of corruption that take longer than the one before, by paired steps at 5 % after Holm."""
    times = compared(networks, time)
    steps = paired_steps(*(times[p] for p in times)) if len(times) else []
    return [float(p) for p, step in zip(times.columns[1:], steps) if step.p <= 0.05]


def compared(networks: pd.DataFrame, time: str = "t99") -> pd.DataFrame:
    """Return times by level of corruption of the seeds that reach all; no level where there are fewer than two such seeds."""
    times = by_level(along(networks), time, "redrawn").dropna()
    return times if len(times) > 1 else pd.DataFrame()


def widths_of(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the networks of one hidden layer of all widths on true and on random labels, with the same rate."""
    own = networks[networks["arm"].isin(["widths", "one_true", "one_corrupted"])]
    return own[own["redrawn"].isin([0, 1])].sort_values(["width", "seed"])


def factors_of(widths: pd.DataFrame) -> dict[int, Estimate | None]:
    """Return by width how many times as many epochs to 99 % random labels take, over the seeds that reach it."""
    times = widths.pivot(index="seed", columns=["labels", "width"], values="t99").astype(float)
    both = {int(width) for _, width in times if ("true", width) in times and ("random", width) in times}
    return {
        width: over_pairs(times["random", width], times["true", width], estimate=paired_ratio)[0]
        for width in sorted(both)
    }


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw times by level of corruption, the shapes of curves, and times by width."""
    networks, text = read(tables), Text("experiments.random_labels", "slowdown")
    widths = widths_of(networks)
    factors = factors_of(widths)
    facts = {
        "images": images_of(networks),
        "seeds": of(networks, TRUE)["seed"].nunique(),
        "factor": {layers: answers[f"Z3-factor-t99-{layers}"] for layers in DEPTHS},
        "rising": [f"{p:g}" for p in rising(networks)],
        "levels": [f"{p:g}" for p in compared(networks).columns[1:]],
        "exponent": growth.slope_at_best(networks),
        "quickly": answers["Z4-quickly-1"],
        "straighter": pairs(networks, "loss_linearity", RANDOM, TRUE)[0],
        "compared": any(factors.values()),
        "slower": [f"{width}" for width, factor in factors.items() if factor and factor.low > 1],
        "unreached": [f"{width}" for width in sorted(widths[widths["t99"].isna()]["width"].unique())],
    }
    drawn = {"slowdown": draw_times(networks), "shapes": draw_shapes(networks), "widths": draw_widths(widths)}
    return Chapter(
        title="Time to fit",
        findings=[text.block("longer", **facts), text.block("shape", **facts)],
        figures=[text.figure(figures.save(each, evidence.folder, name), **facts) for name, each in drawn.items()],
        methods=[text.block("methods")],
    )


def draw_times(networks: pd.DataFrame) -> Drawing:
    """Return epochs to 99 and 99.9 % by level of corruption for both depths, and their ratio to true labels."""
    figure, [[epochs, ratio]] = figures.grid(1, 2, width=4.2, height=3.1)
    offsets = iter(panels.side_by_side(len(DEPTHS) * len(LEVELS_OF)))
    for layers in DEPTHS:
        own = along(networks, layers)
        for time, words in LEVELS_OF.items():
            name = f"{layers}×{int(own['width'].max())}, {words}"
            times, mark = by_level(own, time, "redrawn"), Mark(name, COLORS[layers], *MARKERS[time])
            panels.means(epochs, times, mark, joined=True)
            factors = {p: over_pairs(times[p], times[0], estimate=paired_ratio)[0] for p in times if p > 0}
            panels.intervals(ratio, factors, mark, offset=next(offsets) / 10)
    figures.log_axis(epochs)
    ratio.axhline(5, **palette.REFERENCE)
    epochs.set(ylabel="epochs to the level")
    ratio.margins(y=0.1)
    ratio.set_ylim(bottom=0)
    ratio.set_ylabel("ratio to p = 0")
    for axes in (epochs, ratio):
        axes.set(xlabel="p: share of labels redrawn", xlim=(-0.05, 1.05))
    figures.shared_legend(figure, epochs, 2)
    return figure


def draw_shapes(networks: pd.DataFrame) -> Drawing:
    """Return the statistics of the shape of training curves by level of corruption."""
    columns = {"loss": {"start": ("time to 10 % / 10 to 50 %", 0.25)} | SHAPES, "accuracy": SHAPES}
    figure, grid = figures.grid(2, 5, width=2.5, height=2.3)
    grid[1][0].set_visible(False)
    one, colors = along(networks), {"loss": palette.BLUE, "accuracy": palette.GREEN}
    for kind, row in zip(LEVELS, (grid[0], grid[1][1:])):
        for axes, (column, (title, straight)) in zip(row, columns[kind].items()):
            levels = by_level(one, f"{kind}_{column}", "redrawn")
            panels.means(axes, levels, Mark(title, colors[kind], "o"), joined=True)
            axes.axhline(straight, **palette.REFERENCE)
            axes.set(xlim=(-0.05, 1.05), title=title, xlabel="p: labels redrawn")
        row[0].set_ylabel(f"of the training {kind}")
    return figure


def draw_widths(widths: pd.DataFrame) -> Drawing:
    """Return epochs to 99 % by width for true and random labels, and their ratio."""
    figure, [[epochs, ratio]] = figures.grid(1, 2, width=4.2, height=2.9)
    for kind in ("true", "random"):
        panels.means(epochs, by_level(widths[widths["labels"] == kind], "t99", "width"), palette.LABELS[kind])
    panels.intervals(ratio, factors_of(widths), Mark("random / true labels", palette.BLACK, "o"))
    for axes in (epochs, ratio):
        figures.count_axis(axes, sorted(int(width) for width in widths["width"].unique()))
        axes.set_xlabel("units of the one hidden layer")
    figures.log_axis(epochs)
    epochs.set(ylabel="epochs to 99 %")
    ratio.margins(y=0.15)
    ratio.set_ylim(bottom=0)
    ratio.set_ylabel("random / true labels")
    figures.shared_legend(figure, epochs)
    return figure
