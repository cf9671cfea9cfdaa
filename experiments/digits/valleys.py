"""'Many possible valleys', and which one is reached depends on the initialisation."""

from collections.abc import Sequence

import jax
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.digits.networks import MAIN, images_of
from memo.commands.evidence import Evidence
from memo.data.randomness import generator
from memo.measures import landscape
from memo.measures.landscape import Layers
from memo.networks.program import as_pixels
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import Estimate, mean_interval
from memo.statistics.over_seeds import Answer, over_seeds
from memo.storage.run_folders import Tables

MARKS = (Mark("as they are", palette.VERMILION, "s", palette.DASHED), Mark("matched", palette.BLUE))
WAYS = tuple(mark.name for mark in MARKS)


def images(evidence: Evidence) -> tuple[jax.Array, jax.Array]:
    """Return the pixels and labels of the training images on which costs are measured."""
    count = evidence.settings["valleys"]["images"]
    shown = as_pixels(jax.numpy.asarray(evidence.dataset.train_images[:count]))
    return shown, jax.numpy.asarray(evidence.dataset.train_labels[:count])


def one(layers: Layers, place: int) -> Layers:
    """Return one of several stacked networks."""
    return jax.tree.map(lambda leaf: leaf[place], layers)


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return cost and accuracy along the lines between disjoint pairs of networks, as they are and matched."""
    columns = ["first", "second", "way", "along", "cost", "accuracy"]
    seeds = evidence.of(MAIN)["seed"].tolist()
    if len(seeds) < 2:
        return {"valleys": pd.DataFrame(columns=columns)}
    static, layers, shown = evidence.static(MAIN), evidence.layers(MAIN), images(evidence)
    rows = []
    for place in range(0, len(seeds) - 1, 2):
        a, b = one(layers, place), one(layers, place + 1)
        matched = landscape.match(a, b, generator(place, "noise", "matching"))
        for way, end in zip(WAYS, (b, matched)):
            found = landscape.line(static, a, end, *shown)
            along = np.linspace(0, 1, len(found[0]))
            rows += [(seeds[place], seeds[place + 1], way, *point) for point in zip(along, *found)]
    return {"valleys": pd.DataFrame(rows, columns=columns)}


def barriers(lines: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pair: its barrier as they are and matched, and the mean cost of its two ends."""
    rows = []
    for pair, own in lines.groupby(["first", "second"]):
        costs = {way: part.sort_values("along")["cost"].to_numpy() for way, part in own.groupby("way")}
        heights = {way: landscape.barrier(values) for way, values in costs.items()}
        rows.append((*pair, *(heights[way] for way in WAYS), costs[WAYS[0]][[0, -1]].mean()))
    return pd.DataFrame(rows, columns=["first", "second", *WAYS, "own"])


def _over_pairs(values: pd.Series, high: float) -> Answer:
    def estimate(values: np.ndarray) -> Estimate:
        return mean_interval(values, bounds=(-np.inf, high))

    found, note = over_seeds(values, "a cost that is not finite", estimate=estimate, unit="pairs")
    return found, note or "n counts pairs of networks"


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how high the barriers between networks are, and whether the order of hidden units makes them."""
    found, trained_on = barriers(tables["valleys"]), images_of(tables["networks"], MAIN)
    for way in WAYS:
        height = _over_pairs(found[way] / found["own"], np.inf)
        answers.give("barrier-{way}", height, trained_on, way=way.split()[0])
    answers.give("matching-removes", _over_pairs(1 - found["matched"] / found["as they are"], 1), trained_on)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw cost and accuracy on the lines, and two planes through the cost surface."""
    lines, text = tables["valleys"], Text("experiments.digits", "valleys")
    facts = {
        "images": evidence.settings["valleys"]["images"],
        "pairs": len(barriers(lines)),
        "height": {way: answers[f"barrier-{way.split()[0]}"] for way in WAYS},
        "removed": answers["matching-removes"],
    }
    drawn = []
    if len(lines):
        drawn.append(text.figure(figures.save(draw_lines(lines), evidence.folder, "lines"), **facts))
    if len(evidence.of(MAIN)) >= 3:
        figure, numbers = draw_planes(evidence)
        drawn.append(text.figure(figures.save(figure, evidence.folder, "planes", dense=True), **facts, **numbers))
    return Chapter(
        title="Valleys of the cost",
        findings=[text.block("finding", **facts)],
        figures=drawn,
        methods=[text.block("methods", **facts)],
    )


def draw_lines(lines: pd.DataFrame) -> Drawing:
    """Return cost and training accuracy on the lines between two networks."""
    figure, [places] = figures.grid(1, 2, width=3.6, height=2.6)
    for axes, (column, title) in zip(places, (("cost", "cost"), ("accuracy", "training accuracy"))):
        for mark in MARKS:
            own = lines[lines["way"] == mark.name].pivot(index="first", columns="along", values=column)
            panels.lines_between(axes, own, mark)
        axes.set_title(title)
    figures.shared_legend(figure, places[0])
    return figure


def draw_planes(evidence: Evidence) -> tuple[Drawing, dict[str, float | list[float]]]:
    """Return a slice around one network and the plane through three with their training paths, and numbers of both."""
    figure, [[around, through]] = figures.grid(1, 2, width=4.4, height=3.6)
    points = evidence.settings["valleys"]["points"]
    lowest, highest = _around(evidence, figure, around, points)
    return figure, {"lowest": lowest, "highest": highest, "away": _through(evidence, figure, through, points)}


def _around(evidence: Evidence, figure: Drawing, axes: Axes, points: int) -> tuple[float, float]:
    """Draw the cost around one network along two random directions; return the lowest and the highest."""
    a = one(evidence.layers(MAIN), 0)
    across, up = (landscape.random_direction(generator(0, "noise", part), a) for part in ("plane_across", "plane_up"))
    at = np.linspace(-1, 1, points)
    costs = landscape.plane(evidence.static(MAIN), a, across, up, at, at, *images(evidence))
    _contours(figure, axes, at, at, costs)
    axes.plot(0, 0, "*", color=palette.VERMILION, markersize=10)
    axes.set(title="around one network", xlabel="random direction 1", ylabel="random direction 2")
    return float(costs.min()), float(costs.max())


def _through(evidence: Evidence, figure: Drawing, axes: Axes, points: int) -> list[float]:
    """Draw the cost on the plane through three networks, with their training paths; return the distance of each initialisation from it."""
    ends, seeds = evidence.layers(MAIN), evidence.of(MAIN)["seed"].tolist()[:3]
    origin, across, up, corners = landscape.through_three(*(one(ends, place) for place in range(3)))
    paths = [landscape.project(evidence.trajectory(MAIN, seed), origin, across, up) for seed in seeds]
    everything = np.concatenate([corners, *(path for path, _ in paths)])
    margin = 0.15 * np.ptp(everything, axis=0)
    low, high = everything.min(0) - margin, everything.max(0) + margin
    alphas, betas = (np.linspace(low[k], high[k], points) for k in range(2))
    costs = landscape.plane(evidence.static(MAIN), origin, across, up, alphas, betas, *images(evidence))
    _contours(figure, axes, alphas, betas, costs)
    colors = (palette.VERMILION, palette.ORANGE, palette.PURPLE)
    for color, corner, (path, _) in zip(colors, corners, paths):
        axes.plot(path[:, 0], path[:, 1], "o-", color=color, markersize=3, linewidth=1.2)
        axes.plot(*corner, "*", color=color, markersize=11, markeredgecolor="white")
    axes.set(title="through three networks", xlabel="distance", ylabel="distance")
    return [float(off[0]) for _, off in paths]


def _contours(figure: Drawing, axes: Axes, alphas: np.ndarray, betas: np.ndarray, costs: np.ndarray) -> None:
    levels: Sequence[float] = np.geomspace(max(costs.min(), 1e-3), costs.max(), 14).tolist()
    shades = axes.contourf(alphas, betas, costs.T, levels=levels, cmap="viridis", norm="log", extend="both")
    axes.contour(alphas, betas, costs.T, levels=levels, colors="white", linewidths=0.3)
    axes.grid(visible=False)
    bar = figure.colorbar(shades, ax=axes, shrink=0.85)
    bar.set_label("cost")
    bar.ax.yaxis.set_major_formatter("{x:.2g}")
