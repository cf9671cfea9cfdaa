"""Shape: whether the loss falls in a straight line on shuffled labels, and in a fast drop after a slow start on true ones."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.headline.networks import curves, curves_of, read, widths_of
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.curve_summary import LEVELS, SHAPE_COLUMNS, SHAPES, shapes
from memo.statistics.over_seeds import difference, mean, over_seeds, ratio, twins
from memo.storage.run_folders import Tables

TITLES = {
    **{f"t{level}": f"epochs to {level} %" for level in (50, 90, 99)},
    **{key: words for key, (words, _) in SHAPES.items()},
}
LINE = 0.98  # R² from which a curve is almost a line
STRAIGHT = {key: value for key, (_, value) in SHAPES.items()} | {"start": 0.25}
TITLES["start"] = "time to 10 % / 10 to 50 %"


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the statistics of the shape of each network's training curves, of its loss and of its accuracy."""
    rows = [keys | shapes(curve, evidence.classes) for keys, curve in curves(evidence)]
    return {"networks": pd.DataFrame(rows, columns=["trial", "arm", "seed", *SHAPE_COLUMNS])}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how straight the curves on shuffled labels are, and how those on true labels begin and drop."""
    networks = read(tables)
    seeds = networks["seed"].nunique()
    for curve in LEVELS:
        for width in widths_of(networks):
            linear = twins(networks, f"{curve}_linearity", width)[["shuffled"]]
            answers.give("linear-{curve}-{width}", over_seeds(linear, asked=seeds), curve=curve, width=width)
            area = mean(networks, f"{curve}_area", "shuffled", width, seeds)
            answers.give("area-{curve}-{width}", area, curve=curve, width=width)
            straighter = difference(networks, f"{curve}_linearity", width, seeds)
            answers.give("straighter-{curve}-{width}", straighter, curve=curve, width=width)
            begins = mean(networks, f"{curve}_start", "true", width, seeds)
            answers.give("fiddles-{curve}-{width}", begins, curve=curve, width=width)
            steeper = ratio(networks, f"{curve}_steepness", width, seeds, inverse=True)
            answers.give("steeper-{curve}-{width}", steeper, curve=curve, width=width)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the curves on a common time axis, and their statistics by width."""
    networks, text = read(tables), Text("experiments.headline", "shape")
    widths, drawn_curves = widths_of(networks), curves_of(evidence, networks)
    largest = widths[-1]
    facts = {
        "largest": largest,
        "seeds": networks["seed"].nunique(),
        "r2": {curve: answers[f"linear-{curve}-{largest}"] for curve in LEVELS},
        "start": {curve: answers[f"fiddles-{curve}-{largest}"] for curve in LEVELS}
        | {"shuffled": mean(networks, "loss_start", "shuffled", largest, networks["seed"].nunique())[0]},
        "straight": [width for width in widths if (line := answers[f"linear-loss-{width}"]) and line.value >= LINE],
        "steeper": {curve: answers[f"steeper-{curve}-{largest}"] for curve in LEVELS},
    }
    drawn = [("scaled", draw_scaled(drawn_curves, networks, widths, evidence.classes))]
    drawn += [(f"shapes_{kind}", draw_shapes(networks, kind, widths)) for kind in LEVELS]
    return Chapter(
        title="Shape of the training curve",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(figure, evidence.folder, name), **facts) for name, figure in drawn],
        methods=[text.block("methods")],
    )


def draw_scaled(curves: pd.DataFrame, networks: pd.DataFrame, widths: list[str], classes: int) -> Drawing:
    """Return every curve against time as a fraction of its span: until the loss has fallen by 90 %, until 99 % accuracy."""
    figure, grid = figures.grid(2, len(widths), sharex=True, sharey=True)
    names = {"loss": "share of the loss lost", "accuracy": "training accuracy"}
    for row, (kind, level) in zip(grid, LEVELS.items()):
        ends = networks.set_index("trial")[f"{kind}_t{100 * level:.0f}"].dropna()
        for axes, width in zip(row, widths):
            panels.scaled_curves(axes, curves[curves["width"] == width], ends, kind, classes=classes)
        row[0].set_ylabel(names[kind])
    for above, below, width in zip(*grid, widths):
        above.set_title(f"width {width}")
        below.set_xlabel("time / span")
    figures.shared_legend(figure, grid[0][-1])
    return figure


def draw_shapes(networks: pd.DataFrame, kind: str, widths: list[str]) -> Drawing:
    """Return times and statistics of the shape of one kind of curve by width."""
    figure, grid = figures.grid(2, 4, width=2.6, height=2.4)
    places = [axes for row in grid for axes in row]
    for axes, (column, title) in zip(places, TITLES.items()):
        panels.points(axes, networks, f"{kind}_{column}", "width", widths)
        axes.set(title=title, xlabel="units per layer")
        if column in STRAIGHT:
            axes.axhline(STRAIGHT[column], **palette.REFERENCE)
        else:
            figures.log_axis(axes)
    figures.shared_legend(figure, places[0])
    return figure
