"""Fits without training: kernels that interpolate without a regulariser, and the linear solution of least norm."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.random_labels.networks import declares, read, shape_of
from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.data.datasets import Dataset
from memo.data.entry import Shape
from memo.data.randomness import generator
from memo.measures import kernels, nearest_neighbours
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import Shown, with_interval
from memo.statistics.intervals import mean_interval, share, share_difference
from memo.statistics.over_seeds import Answer, over_pairs, over_seeds
from memo.statistics.trends import by_level
from memo.storage.run_folders import Tables

PAPER_ERROR = 0.012  # of 60,000 raw images, by the paper
ERRORS = {
    "kernel": Mark("Gaussian kernel, no regulariser", palette.BLUE, "o"),
    "ridge": Mark("with the ridge chosen on held-out images", palette.SKY, "v", palette.DASHED),
    "nearest": Mark("1-nearest-neighbour", palette.ORANGE, "D", palette.DASH_DOTTED),
    "linear": Mark("linear, least norm", palette.PURPLE, "s", palette.DOTTED),
}
LINEAR = {
    "linear_train": Mark("training error, true labels", palette.BLUE, "o"),
    "linear_train_random": Mark("training error, random labels", palette.GREEN, "^", palette.DASHED),
    "linear": ERRORS["linear"]._replace(name="test error, true labels"),
}
NORMS = {"norm": palette.LABELS["true"], "norm_random": palette.LABELS["random"]}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the errors and norms of all fits, and the held-out error by bandwidth, whose minimum determines theirs."""
    sizes = evidence.settings["kernels"]
    dtype = np.dtype(sizes["dtype"])
    code = (sys.modules[__name__], kernels, nearest_neighbours)
    bandwidths = evidence.once("bandwidths", code, sizes, partial(scan, evidence.dataset, sizes, dtype))
    best = best_of(bandwidths)
    fits = [
        evidence.once("kernels", code, [sizes, seed], partial(fit, evidence.dataset, sizes, seed, best, dtype))
        for seed in range(sizes["seeds"])
    ]
    return {"kernels": pd.concat(fits, ignore_index=True), "bandwidths": bandwidths}


def best_of(bandwidths: pd.DataFrame) -> float:
    """Return the bandwidth with the least error on held-out images."""
    return float(bandwidths.set_index("bandwidth")["held_out_error"].idxmin())


def drawn(dataset: Dataset, seed: int, count: int, held_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows [count] of a seed's training images, and other images with labels to choose a ridge by.

    Fewer rows are the first of more. Where no images are left to hold out, the choice is by the test images, which
    favours the ridge.
    """
    rows = generator(seed, "subset").permutation(len(dataset.train_labels))
    if count + held_out > len(rows):
        return rows[:count], dataset.test_images, dataset.test_labels
    held = rows[-held_out:]
    return rows[:count], dataset.train_images[held], dataset.train_labels[held]


def as_floats(images: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return images on the scale 0..1."""
    return images.astype(dtype) / dtype.type(255)


def scan(dataset: Dataset, sizes: Mapping[str, Any], dtype: np.dtype) -> pd.DataFrame:
    """Return the error on held-out training images by bandwidth, of the first seed."""
    rows, held, answers = drawn(dataset, 0, sizes["scan"], sizes["held_out"])
    classes = datasets.shape(dataset.name).classes
    images = as_floats(dataset.train_images[rows], dtype)
    targets = kernels.one_hot(dataset.train_labels[rows], dtype, classes)
    queries, found = as_floats(held, dtype), []
    for bandwidth in sizes["bandwidths"]:
        fitted = kernels.interpolate(images, targets, bandwidth)
        values = kernels.predict(images, fitted.alpha, bandwidth, queries)
        found.append(
            {"bandwidth": bandwidth, "held_out_error": kernels.error(values, answers), "jitter": fitted.jitter}
        )
    return pd.DataFrame(found)


def fit(dataset: Dataset, sizes: Mapping[str, Any], seed: int, bandwidth: float, dtype: np.dtype) -> pd.DataFrame:
    """Return for each n the errors and norms of a seed's fits of true and of random labels."""
    most, *held = drawn(dataset, seed, max(sizes["counts"]), sizes["held_out"])
    classes = datasets.shape(dataset.name).classes
    random = generator(seed, "labels").integers(0, classes, len(most)).astype(np.uint8)
    queries = [
        (as_floats(images, dtype), labels) for images, labels in (held, (dataset.test_images, dataset.test_labels))
    ]
    found = []
    for n in sizes["counts"]:
        own, labels = dataset.train_images[most[:n]], dataset.train_labels[most[:n]]
        images, given = as_floats(own, dtype), (labels, random[:n])
        neighbours = nearest_neighbours.classify(dataset.test_images, own, labels)
        found.append(
            {
                "seed": seed,
                "n": n,
                "nearest": float(np.mean(neighbours != dataset.test_labels)),
                **_by_kernel(images, given, queries, bandwidth, sizes["ridges"], classes),
                **_by_line(images, given, *queries[-1], classes),
            }
        )
    return pd.DataFrame(found)


Labels = tuple[np.ndarray, np.ndarray]  # true and random ones
Queries = list[tuple[np.ndarray, np.ndarray]]  # images and labels: held out, and test


def _by_kernel(
    images: np.ndarray, given: Labels, queries: Queries, bandwidth: float, ridges: list[float], classes: int
) -> dict[str, float]:
    """Return errors and norms of kernel fits: without a ridge, and with the one of least held-out error."""
    both = np.hstack([kernels.one_hot(labels, images.dtype, classes) for labels in given])
    exact = kernels.interpolate(images, both, bandwidth)
    alphas = {0.0: exact.alpha[:, :classes]} | {
        ridge: kernels.interpolate(images, both[:, :classes], bandwidth, ridge).alpha for ridge in ridges
    }
    # All at once, as the kernel of the queries is what takes time; those of random labels stand last.
    stacked = np.hstack([*alphas.values(), exact.alpha[:, classes:]])
    values = [kernels.predict(images, stacked, bandwidth, each) for each, _ in queries]
    starts = range(0, stacked.shape[1], classes)
    held_out, test = (
        [kernels.error(found[:, start : start + classes], labels) for start in starts]
        for found, (_, labels) in zip(values, queries)
    )
    chosen = int(np.argmin(held_out[:-1]))
    norm, norm_random = (
        float(np.sqrt(max(np.sum(exact.alpha[:, part] * both[:, part], dtype=np.float64), 0)))  # K alpha is the targets
        for part in (slice(classes), slice(classes, None))
    )
    return {
        "kernel": test[0],
        "ridge": test[chosen],
        "best_ridge": list(alphas)[chosen],
        "kernel_random": test[-1],
        "residual": exact.residual,
        "jitter": exact.jitter,
        "norm": norm,
        "norm_random": norm_random,
    }


def _by_line(
    images: np.ndarray, given: Labels, test: np.ndarray, answers: np.ndarray, classes: int
) -> dict[str, float]:
    """Return errors of the linear solution of least norm, and the rank of its images."""
    both = np.hstack([kernels.one_hot(labels, images.dtype, classes) for labels in given])
    line = kernels.minimum_norm(images, both)
    own = images.astype(np.float64) @ line.weights
    return {
        "linear": kernels.error(test.astype(np.float64) @ line.weights[:, :classes], answers),
        "linear_train": kernels.error(own[:, :classes], given[0]),
        "linear_train_random": kernels.error(own[:, classes:], given[1]),
        "linear_rank": line.rank,
    }


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how well the interpolating kernel generalises, and the effects of a ridge, neighbours and random labels."""
    fits = tables["kernels"]
    most, images = int(fits["n"].max()), shape_of(read(tables))
    own = fits[fits["n"] == most].set_index("seed")
    give = partial(answers.give, images=most)
    answers.conditions(n_images=[most])
    if declares(answers, "Z7-error-{n_images}", "n_images", most):
        give("Z7-error-{n_images}", error_of(own, "kernel", images), n_images=most)
    give("Z7-nearest", difference_of(own, "nearest", images))
    give("Z7-ridge", difference_of(own, "ridge", images))
    give("Z7-random", error_of(own, "kernel_random", images))


ON_TEST_IMAGES = "n counts test images, as all training images leave nothing to draw"


def error_of(own: pd.DataFrame, column: str, images: Shape) -> Answer:
    """Return a test error over draws of the training images; of all of them over test images, a share of which is misclassified."""
    if own["n"].max() < images.train_images:
        return over_seeds(own[column])
    return share(_wrong(own, column, images)), ON_TEST_IMAGES


def difference_of(own: pd.DataFrame, column: str, images: Shape) -> Answer:
    """Return the test error of the kernel minus another one, over draws; of all images over test images, as if unpaired."""
    if own["n"].max() < images.train_images:
        return over_pairs(own["kernel"], own[column])
    return share_difference(_wrong(own, "kernel", images), _wrong(own, column, images)), ON_TEST_IMAGES


def _wrong(own: pd.DataFrame, column: str, images: Shape) -> np.ndarray:
    """Return as many test images as there are, those that the first draw misclassifies first: only their number is stored."""
    return np.arange(images.test_images) < round(float(own[column].iloc[0]) * images.test_images)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw errors and norms by number of images, and the choice of the bandwidth."""
    fits, bandwidths = tables["kernels"], tables["bandwidths"]
    text, sizes = Text("experiments.random_labels", "kernel_fits"), evidence.settings["kernels"]
    own, images = fits[fits["n"] == fits["n"].max()], datasets.shape(evidence.dataset.name)
    fitted = fits.groupby("n")["linear_train_random"].max() == 0
    facts = {
        "most": int(fits["n"].max()),
        "draws": fits["seed"].nunique(),
        "error": {name: mean_interval(own[name]) for name in ERRORS},
        "gain": answers["Z7-ridge"],
        "random": answers["Z7-random"],
        "norms": mean_interval(own["norm_random"] / own["norm"]),
        "fitted": [f"{n:,}" for n, whole in fitted.items() if whole],
        "bandwidth": best_of(bandwidths),
        "bandwidths": [f"{bandwidth:g}" for bandwidth in bandwidths["bandwidth"]],
        "sizes": sizes,
        "ridges": [f"{ridge:g}" for ridge in (0, *sizes["ridges"])],
        "paper": PAPER_ERROR,
        "tests": images.test_images,
        "pixels": images.pixels,
    }
    file = figures.save(draw_fits(fits, bandwidths, images), evidence.folder, "kernels")
    return Chapter(
        title="Fits without training",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
        methods=[text.block("methods", **facts)],
        shown=[Shown(text.block("shown_title"), text.block("shown", **facts), table(fits))],
    )


def table(fits: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's kernel fits beside ours."""
    columns = {
        "test error %": ("kernel", 100),
        "with a ridge %": ("ridge", 100),
        "1-NN %": ("nearest", 100),
        "random labels: test error %": ("kernel_random", 100),
        "norm, true labels": ("norm", 1),
        "norm, random labels": ("norm_random", 1),
    }
    theirs = {
        "paper, 60,000 images, raw pixels": ("1.2", "no better", "", "", "about 220 (which norm is not stated)", ""),
        "paper, 60,000 images, Gabor wavelets": ("0.6", "no better", "", "", "about 390", ""),
    }
    rows = [{"fit": fit} | dict(zip(columns, cells)) for fit, cells in theirs.items()]
    for n, own in fits.groupby("n"):
        found = {
            name: with_interval(mean_interval(scale * own[column]), count=False)
            for name, (column, scale) in columns.items()
        }
        rows.append({"fit": f"ours, {n:,} images"} | found)
    return pd.DataFrame(rows)


def draw_fits(fits: pd.DataFrame, bandwidths: pd.DataFrame, images: Shape) -> Drawing:
    """Return test errors, linear errors and norms by number of images, and held-out error by bandwidth."""
    figure, [[errors, linear], [norms, widths]] = figures.grid(2, 2, width=4.4, height=2.9)
    for axes, marks in ((errors, ERRORS), (linear, LINEAR), (norms, NORMS)):
        for column, mark in marks.items():
            panels.means(axes, by_level(fits, column, "n"), mark, joined=True)
        figures.count_axis(axes, sorted(fits["n"].unique()))
        axes.tick_params(axis="x", labelsize=8, rotation=45)
        axes.set_xlabel("images")
    for axes in (errors, norms):
        figures.log_axis(axes)
    errors.axhline(PAPER_ERROR, **palette.REFERENCE, label="paper, 60,000 images")
    errors.set(ylabel="test error")
    linear.axvline(images.pixels, **palette.REFERENCE)
    linear.set(ylabel="error, linear fit", ylim=(-0.02, 1))
    norms.set(ylabel="norm of kernel fit")
    widths.plot(bandwidths["bandwidth"], bandwidths["held_out_error"], "o-", color=palette.BLUE)
    widths.axvline(best_of(bandwidths), **palette.REFERENCE)
    widths.set(xlabel="bandwidth (white is 1)", ylabel="held-out error", ylim=(0, None))
    for axes, options in ((errors, {}), (linear, {"loc": "upper center"}), (norms, {})):
        figures.legend(axes, **options)
    return figure
