"""The width needed to fit a number of random labels: a map of training accuracy, and whether steps limit its edge."""

from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure as Drawing

from experiments.random_labels.networks import MAP, read, shape_of
from memo.commands.evidence import Evidence
from memo.data.entry import Shape
from memo.measures import expressivity
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.over_seeds import LOST, over_pairs, over_seeds
from memo.statistics.trends import by_level
from memo.storage.run_folders import Tables

MEMORISED = 0.99  # of the training labels
LONG = "long_4000"  # the arm that repeats networks of the map with twice as many steps

Map = dict[int, pd.DataFrame]  # by number of labels: training accuracy [seeds, widths]


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: accuracies are in the table of networks."""
    return {}


def map_of(networks: pd.DataFrame) -> Map:
    """Return training accuracy at the end by number of labels, seed and width."""
    cells = networks[networks["arm"].str.startswith("map_")].drop_duplicates("trial")
    return {int(n): by_level(own, "final_train_accuracy", "width") for n, own in cells.groupby("images")}


def boundary(accuracy: pd.DataFrame) -> pd.Series:
    """Return by seed the width at which accuracy [seeds, widths ascending] first reaches 99 %, between widths on a log axis.

    NaN where even the widest does not; the narrowest width if it reaches it already (an upper bound).
    """
    widths = np.log(accuracy.columns.to_numpy(float))

    def first(row: pd.Series) -> float:
        reached = np.flatnonzero(row.to_numpy() >= MEMORISED)
        if not len(reached):
            return np.nan
        k = reached[0]
        if k == 0:
            return float(np.exp(widths[0]))
        below, above = row.iloc[k - 1], row.iloc[k]
        share = (MEMORISED - below) / (above - below) if np.isfinite(below) else 1.0
        return float(np.exp(widths[k - 1] + share * (widths[k] - widths[k - 1])))

    return accuracy.apply(first, axis=1)


Widths = TypeVar("Widths", np.ndarray, pd.Series, pd.DataFrame)


def parameters(width: Widths, images: Shape) -> Widths:
    """Return the weights and biases of one hidden layer of `width` units, which need not be whole, for images of a shape."""
    return (images.pixels + 1 + images.classes) * width + images.classes


def longer(networks: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training accuracy [seeds, widths] with twice as many steps, and that of the map for the same labels and widths."""
    twice = networks[networks["arm"] == LONG]
    long = by_level(twice, "final_train_accuracy", "width")
    return long, map_of(networks)[int(twice["images"].max())].reindex(columns=long.columns)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether networks at the edge of the map memorise more with twice as many steps."""
    networks = read(tables)
    long, once = longer(networks)
    answers.conditions(width=long)
    images = int(networks.loc[networks["arm"] == LONG, "images"].max())
    give = partial(answers.give, "capacity-steps-{width}", images=images)
    for width in long:
        give(over_pairs(long[width], once[width], LOST), width=width)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the map of training accuracy, and the parameters per label at its boundary."""
    networks, text = read(tables), Text("experiments.random_labels", "capacity")
    cells, (long, _) = map_of(networks), longer(networks)
    most = max(cells)
    # The widths that were given twice as many steps, with them; the others as they are.
    moved = cells[most].copy()
    moved[list(long)] = long
    edges = pd.DataFrame({n: boundary(own) for n, own in cells.items()})
    images = shape_of(networks, MAP)
    share = {n: parameters(edges[n], images) / n for n in edges}
    gains = {int(width): answers[f"capacity-steps-{width}"] for width in long}
    facts = {
        "most": most,
        "gains": {width: gain for width, gain in gains.items() if gain},
        "limited": any(gain and gain.low > 0 for gain in gains.values()),
        "enough": [f"{width}" for width in long if (long[width] >= MEMORISED).all()],
        "share": {n: over_seeds(values)[0] for n, values in share.items()},
        "outside": int(edges.isna().sum().sum()),
        "boundaries": edges.size,
        "seeds": len(edges),
    }
    drawn = draw_map(cells, edges, share, parameters(boundary(moved), images) / most, images)
    return Chapter(
        title="The smallest width that memorises",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(drawn, evidence.folder, "map"), **facts)],
    )


def draw_map(cells: Map, edges: pd.DataFrame, share: dict[int, pd.Series], moved: pd.Series, images: Shape) -> Drawing:
    """Return mean accuracy by width and number of labels with its boundary, and the parameters per label there."""
    figure, [[axes, ratio]] = figures.grid(1, 2, width=4.4, height=3.3)
    means = pd.DataFrame({n: own.mean() for n, own in cells.items()}).sort_index()
    norm = TwoSlopeNorm(MEMORISED, 0.1, 1.0)
    shown = axes.imshow(means, origin="lower", aspect="auto", cmap="RdBu", norm=norm)
    _values(axes, means)
    places = np.interp(np.log(edges.mean().to_numpy(float)), np.log(means.index.to_numpy(float)), range(len(means)))
    known = np.isfinite(edges.mean().to_numpy(float))
    axes.plot(np.arange(len(edges.columns))[known], places[known], color="0.3", linewidth=3, alpha=0.5, zorder=1.5)
    axes.set(xlabel="random labels, n", ylabel="width of the hidden layer", title="training accuracy")
    figure.colorbar(shown, ax=axes, ticks=[0.1, 0.4, 0.7, 0.99, 1.0]).set_label("accuracy")
    panels.means(ratio, share, Mark("trained", palette.GREEN, "^"), seeds=True)
    panels.means(
        ratio, {max(share): moved}, Mark("twice as many steps", palette.VERMILION, "v"), factor=1.06, seeds=True
    )
    least = [expressivity.count_weights(n, images.pixels) / n for n in share]
    ratio.plot(list(share), least, color="0.4", label="Theorem 1: (2n + d) / n")
    figures.log_axis(ratio)
    figures.count_axis(ratio, list(share))
    ratio.set(xlabel="random labels, n", ylabel="parameters per label")
    figures.legend(ratio)
    return figure


def _values(axes: Axes, means: pd.DataFrame) -> None:
    """Write each mean accuracy into its cell of the map, and name its rows and columns."""
    for (row, column), value in np.ndenumerate(means.to_numpy(float)):
        if np.isfinite(value):
            text = f"{value:.3f}" if value < 0.9995 else "1"
            dark = value < 0.5 or value > 0.999
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(means.columns)), [f"{n:,}" for n in means])
    axes.set_yticks(range(len(means)), [f"{width:g}" for width in means.index])
    axes.grid(visible=False)
