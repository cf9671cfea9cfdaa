"""Theorem 1, constructed: the number of random labels that its network fits in floating-point arithmetic."""

import sys
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.data.datasets import Dataset
from memo.data.randomness import generator
from memo.measures import expressivity
from memo.measures.expressivity import MIDPOINT
from memo.reporting import figures, palette
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import geometric_mean
from memo.statistics.over_seeds import Answer, over_seeds
from memo.storage.run_folders import Tables

# By claim: the position of a bias in its gap, and its description.
PLACES = {
    "middle": (MIDPOINT, "biases in the middle of gaps"),
    "three-quarters": (0.75, "biases at three quarters of gaps"),
}
DTYPES = {
    "float64": Mark("float64", palette.BLUE, "o"),
    "float32": Mark("float32", palette.VERMILION, "s", palette.DASHED),
}
TOLERANCE = 1e-6
TOLD = 1 / 18  # of the largest label, 9: half a label, so that rounding gives every label
UNBUILT = 1.0  # the residual of a network with output 0


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the residuals of Theorem 1's network."""
    sizes = evidence.settings["expressivity"]
    compute = partial(solve, evidence.dataset, sorted(sizes["counts"]), sizes["seeds"])
    return {"expressivity": evidence.once("expressivity", (sys.modules[__name__], expressivity), sizes, compute)}


def solve(dataset: Dataset, counts: list[int], seeds: int) -> pd.DataFrame:
    """Return the residual of Theorem 1's network by seed, n, dtype and place of the biases: inf where the construction fails.

    Each seed draws its images, their random labels (0 to 9) and the direction of the line.
    """
    rows = []
    for seed in range(seeds):
        chosen = generator(seed, "subset").permutation(len(dataset.train_labels))[: max(counts)]
        images = dataset.train_images[chosen].astype(np.float64) / 255
        labels = generator(seed, "labels").integers(0, datasets.shape(dataset.name).classes, len(chosen)).astype(float)
        for place, _ in PLACES.values():
            for dtype in DTYPES:
                # The same directions for both dtypes and places.
                line = generator(seed, "directions")
                fits = expressivity.largest_fit(images, labels, dtype, TOLERANCE, counts, line, place)
                rows += [
                    {"seed": seed, "place": place, "dtype": dtype, "n": n, "residual": residual}
                    for n, residual in fits.residuals.items()
                ]
    return pd.DataFrame(rows)


def largest_n(residuals: pd.DataFrame, tolerance: float = TOLERANCE) -> pd.Series:
    """Return by seed the largest n up to which every residual (columns seed, n, residual) is below `tolerance`; 0: none."""
    table = residuals.pivot(index="seed", columns="n", values="residual").sort_index(axis=1)
    whole = (table < tolerance).cummin(axis=1)
    return (whole * table.columns.to_numpy()).max(axis=1)


def of(residuals: pd.DataFrame, place: float, dtype: str) -> pd.DataFrame:
    """Return the residuals with biases at one place of their gaps, in one dtype."""
    return residuals[(residuals["place"] == place) & (residuals["dtype"] == dtype)]


def worst(residuals: pd.DataFrame) -> Answer:
    """Return the geometric mean over seeds of the largest residual of any n; a failed construction counts as 1."""
    largest = residuals.groupby("seed")["residual"].max()
    built = np.isfinite(largest)
    note = (
        ""
        if built.all()
        else f"{int((~built).sum())} of {len(largest)} draws lack a network, and count as a residual of 1"
    )
    return over_seeds(largest.where(built, UNBUILT), estimate=geometric_mean)[0], note


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how large the largest residual is, by the place of the biases."""
    found = tables["expressivity"]
    give = partial(answers.give, "Z6-fits-{place}", images=int(found["n"].max()))
    for name, (place, _) in PLACES.items():
        give(worst(of(found, place, "float64")), place=name)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw residuals by number of labels."""
    found, text = tables["expressivity"], Text("experiments.random_labels", "theorem")
    images = datasets.shape(evidence.dataset.name)
    reach = {
        (words, dtype): (largest_n(own).mean(), largest_n(own, TOLD).mean())
        for place, words in PLACES.values()
        for dtype in DTYPES
        for own in [of(found, place, dtype)]
    }
    facts = {
        "reach": reach,
        "most": int(found["n"].max()),
        "draws": found["seed"].nunique(),
        "residual": {name: answers[f"Z6-fits-{name}"] for name in PLACES},
        "weights": expressivity.count_weights(images.train_images, images.pixels),
        "all": images.train_images,
        "counts": [f"{n:,}" for n in sorted(found["n"].unique())],
    }
    file = figures.save(draw_residuals(found), evidence.folder, "expressivity")
    return Chapter(
        title="Theorem 1, built",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
    )


def draw_residuals(found: pd.DataFrame) -> Drawing:
    """Return residuals by number of random labels and dtype, one panel per place of the biases."""
    figure, [row] = figures.grid(1, len(PLACES), width=4.2, height=3.0, sharey=True)
    top = found["residual"].replace(np.inf, np.nan).max() * 10
    for axes, (place, words) in zip(row, PLACES.values()):
        for dtype, mark in DTYPES.items():
            own = of(found, place, dtype)
            built = own[np.isfinite(own["residual"])]
            lost = own[~np.isfinite(own["residual"])]
            axes.plot(built["n"], built["residual"], **mark.points, alpha=0.35, markersize=3.5)
            middle = built.groupby("n")["residual"].median()
            axes.plot(middle.index, middle, label=mark.name, **mark.line)
            axes.plot(lost["n"], np.full(len(lost), top), "x", color=mark.color, markersize=4)
        axes.axhline(TOLERANCE, **palette.REFERENCE)
        axes.set(yscale="log", xlabel="random labels, n", title=words)
        figures.count_axis(axes, sorted(found["n"].unique()))
        axes.tick_params(axis="x", labelsize=8, rotation=60)
    row[0].set_ylabel("largest residual / largest label")
    figures.shared_legend(figure, row[0])
    return figure
