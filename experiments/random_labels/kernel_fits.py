"""Fits without training: kernels that interpolate without a regulariser, and the linear solution of least norm."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from experiments.random_labels.networks import ZHANG
from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.data.datasets import Dataset
from memo.data.randomness import generator
from memo.measures import kernels, nearest_neighbours
from memo.reporting import figures, palette, panels
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.palette import Mark
from memo.reporting.report import Figure, Shown, with_interval
from memo.statistics.intervals import mean_interval, paired_difference
from memo.statistics.trends import by_level

METHODS = {
    "kernel": ("Gaussian kernel, no regulariser", palette.BLUE, "o"),
    "ridge": ("with the ridge chosen on held-out images", palette.SKY, "v"),
    "nearest": ("1-nearest-neighbour", palette.ORANGE, "D"),
    "linear": ("linear, least norm", palette.PURPLE, "s"),
}
PAPER_ERROR = 0.012  # of 60,000 raw images, by the paper


def chapter(evidence: Evidence, sizes: Mapping[str, Any]) -> Chapter:
    """Return claims and figures on kernels; `sizes` are `experiment.kernels` of the config."""
    made = Chapter()
    dtype = np.dtype(sizes["dtype"])
    bandwidths = scan(evidence.dataset, sizes, dtype)
    bandwidth = float(bandwidths.set_index("bandwidth")["held_out_error"].idxmin())
    fits = pd.DataFrame(
        row for seed in range(sizes["seeds"]) for row in fit(evidence.dataset, sizes, seed, bandwidth, dtype)
    )
    made.tables |= {"kernels": fits, "bandwidths": bandwidths}
    _claims(fits, made)
    _show(fits, bandwidth, made)
    _draw(evidence, fits, bandwidths, bandwidth, made)
    made.methods.append(
        f"Kernels: K_ij = exp(−|x_i − x_j|² / (2 · {bandwidth:g}²)) on pixels from 0 to 1, in {dtype.name}; K alpha = one-hot "
        "labels solved exactly. The paper does not state its bandwidth: ours is the one of "
        f"{', '.join(f'{b:g}' for b in bandwidths['bandwidth'])} with the least error on {sizes['held_out']:,} training "
        f"images that were held out, for the first seed's {sizes['scan']:,}. The ridge is chosen from "
        f"{', '.join(f'{r:g}' for r in (0, *sizes['ridges']))} on as many held-out images for each seed. Test errors are of "
        f"all {datasets.MNIST.test_images:,} test images. A linear kernel cannot interpolate: the rank of its matrix is at most "
        "784. The linear solution of least norm interpolates up to the images' rank and is least squares beyond it."
    )
    return made


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
    images, targets = as_floats(dataset.train_images[rows], dtype), kernels.one_hot(dataset.train_labels[rows], dtype)
    queries, found = as_floats(held, dtype), []
    for bandwidth in sizes["bandwidths"]:
        fitted = kernels.interpolate(images, targets, bandwidth)
        values = kernels.predict(images, fitted.alpha, bandwidth, queries)
        found.append(
            {"bandwidth": bandwidth, "held_out_error": kernels.error(values, answers), "jitter": fitted.jitter}
        )
    return pd.DataFrame(found)


def fit(
    dataset: Dataset, sizes: Mapping[str, Any], seed: int, bandwidth: float, dtype: np.dtype
) -> Iterator[dict[str, Any]]:
    """Yield for each n the errors and norms of a seed's fits of true and of random labels."""
    most, held, held_labels = drawn(dataset, seed, max(sizes["counts"]), sizes["held_out"])
    test, held = as_floats(dataset.test_images, dtype), as_floats(held, dtype)
    random = generator(seed, "labels").integers(0, 10, len(most)).astype(np.uint8)
    for n in sizes["counts"]:
        rows = most[:n]
        images, labels = as_floats(dataset.train_images[rows], dtype), dataset.train_labels[rows]
        both = np.hstack([kernels.one_hot(labels, dtype), kernels.one_hot(random[:n], dtype)])
        exact = kernels.interpolate(images, both, bandwidth)
        ridges = {0.0: exact} | {
            ridge: kernels.interpolate(images, both[:, :10], bandwidth, ridge) for ridge in sizes["ridges"]
        }
        stacked = np.hstack([found.alpha for found in ridges.values()])
        held_values = kernels.predict(images, stacked, bandwidth, held)
        test_values = kernels.predict(images, stacked, bandwidth, test)
        # The first has the random labels' ten columns behind its own ten.
        starts = [0, *range(20, stacked.shape[1], 10)]
        errors = {
            ridge: [
                kernels.error(values[:, start : start + 10], answers)
                for values, answers in ((held_values, held_labels), (test_values, dataset.test_labels))
            ]
            for ridge, start in zip(ridges, starts)
        }
        chosen = min(errors, key=lambda ridge: errors[ridge][0])
        line = kernels.minimum_norm(images, both)
        own = images.astype(np.float64) @ line.weights
        answers = test.astype(np.float64) @ line.weights[:, :10]
        yield {
            "seed": seed,
            "n": n,
            "kernel": errors[0.0][1],
            "ridge": errors[chosen][1],
            "best_ridge": chosen,
            "nearest": float(
                np.mean(
                    nearest_neighbours.classify(dataset.test_images, dataset.train_images[rows], labels)
                    != dataset.test_labels
                )
            ),
            "linear": kernels.error(answers, dataset.test_labels),
            "kernel_random": kernels.error(test_values[:, 10:20], dataset.test_labels),
            "linear_train": kernels.error(own[:, :10], labels),
            "linear_train_random": kernels.error(own[:, 10:], random[:n]),
            "linear_rank": line.rank,
            "residual": exact.residual,
            "jitter": exact.jitter,
            "norm": _norm(exact.alpha[:, :10], both[:, :10]),
            "norm_random": _norm(exact.alpha[:, 10:], both[:, 10:]),
        }


def _norm(alpha, targets):
    """Return sqrt(sum(alpha K alpha)), where K alpha is the targets."""
    return float(np.sqrt(max(np.sum(alpha * targets, dtype=np.float64), 0)))


def _claims(fits, made):
    largest = int(fits["n"].max())
    own = fits[fits["n"] == largest].set_index("seed")
    statement = "A Gaussian kernel that fits every label of MNIST without any regulariser generalises well."
    condition = f"{largest:,} images"
    whole = largest == datasets.MNIST.train_images
    error = mean_interval(own["kernel"])
    claim = Claim(
        "Z7-error", ZHANG, statement, "test error of 60,000 images interpolated", (0.009, 0.015), None, "kernels",
        condition=condition,
    )  # fmt: skip
    reason = f"the number is for 60,000 images; {largest:,} have {with_interval(error)}"
    made.rows.append((claim, error if whole else None, "" if whole else reason))
    claim = Claim(
        "Z7-nearest", "this suite", statement, "test error, kernel − 1-nearest-neighbour", (-1, -0.0001), None, "kernels",
        condition=condition,
    )  # fmt: skip
    made.rows.append((claim, paired_difference(own["kernel"], own["nearest"]), ""))
    statement = "A regulariser does not improve it."
    claim = Claim(
        "Z7-ridge", ZHANG, statement, "test error, without − with the ridge chosen on held-out images", (-1, 0.001), None,
        "kernels", condition=condition,
    )  # fmt: skip
    gain = paired_difference(own["kernel"], own["ridge"])
    note = "" if whole else f"for {largest:,} of 60,000 images"
    made.rows.append((claim, gain, note))
    statement = "The same kernel fits random labels as exactly, and then knows nothing."
    claim = Claim(
        "Z7-random", "this suite", statement, "test error, random labels interpolated", (0.89, 0.91), None, "kernels",
        condition=condition,
    )  # fmt: skip
    made.rows.append((claim, mean_interval(own["kernel_random"]), ""))
    made.findings.append(
        f"<b>Kernels.</b> {largest:,} labels interpolated by a Gaussian kernel without a regulariser: test error "
        f"{with_interval(error)}; without minus with a ridge chosen on held-out images: {with_interval(gain, count=False)} "
        f"(1-nearest-neighbour: {with_interval(mean_interval(own['nearest']), count=False)}). The paper's 1.2 % is for 60,000."
    )


def _show(fits, bandwidth, made):
    lines = [
        {
            "fit": "paper, 60,000 images, raw pixels",
            "test error %": "1.2",
            "with a ridge %": "no better",
            "1-NN %": "",
            "random labels: test error %": "",
            "norm, true labels": "about 220 (whose norm is not told)",
            "norm, random labels": "",
        },
        {
            "fit": "paper, 60,000 images, Gabor wavelets",
            "test error %": "0.6",
            "with a ridge %": "no better",
            "1-NN %": "",
            "random labels: test error %": "",
            "norm, true labels": "about 390",
            "norm, random labels": "",
        },
    ]
    for n, own in fits.groupby("n"):

        def said(column, own=own, scale=100):
            return with_interval(mean_interval(scale * own[column]), count=False)

        lines.append(
            {
                "fit": f"ours, {n:,} images",
                "test error %": said("kernel"),
                "with a ridge %": said("ridge"),
                "1-NN %": said("nearest"),
                "random labels: test error %": said("kernel_random"),
                "norm, true labels": said("norm", scale=1),
                "norm, random labels": said("norm_random", scale=1),
            }
        )
    made.shown.append(
        Shown(
            "Kernel interpolation of MNIST",
            f"Gaussian kernel of bandwidth {bandwidth:g}, means over n = {fits['seed'].nunique()} draws of images with 95 % "
            "intervals. Norm: of the interpolating function in the kernel's space, over all ten classes.",
            pd.DataFrame(lines),
        )
    )


def _draw(evidence, fits, bandwidths, bandwidth, made):
    figure, [[errors, linear], [norms, widths]] = figures.grid(2, 2, width=4.4, height=2.9)
    for column, (words, color, marker) in METHODS.items():
        panels.means(errors, by_level(fits, column, "n"), Mark(words, color, marker), joined=True)
    figures.log_axis(errors)
    errors.axhline(PAPER_ERROR, **palette.REFERENCE, label="paper, 60,000 images")
    errors.set(ylabel="test error")
    for column, words, color, marker in (
        ("linear_train", "training error, true labels", palette.BLUE, "o"),
        ("linear_train_random", "training error, random labels", palette.GREEN, "^"),
        ("linear", "test error, true labels", palette.PURPLE, "s"),
    ):
        panels.means(linear, by_level(fits, column, "n"), Mark(words, color, marker), joined=True)
    linear.axvline(784, **palette.REFERENCE)
    linear.set(ylabel="error, linear fit", ylim=(-0.02, 1))
    figures.legend(linear, loc="upper center")
    for column, words, color, marker in (
        ("norm", "true labels", palette.BLUE, "o"),
        ("norm_random", "random labels", palette.GREEN, "^"),
    ):
        panels.means(norms, by_level(fits, column, "n"), Mark(words, color, marker), joined=True)
    figures.log_axis(norms)
    norms.set(ylabel="norm of kernel fit")
    figures.legend(norms)
    for place in (errors, linear, norms):
        figures.count_axis(place, sorted(fits["n"].unique()))
        place.tick_params(axis="x", labelsize=8, rotation=45)
        place.set_xlabel("images")
    widths.plot(bandwidths["bandwidth"], bandwidths["held_out_error"], "o-", color=palette.BLUE)
    widths.axvline(bandwidth, **palette.REFERENCE)
    widths.set(xlabel="bandwidth (white is 1)", ylabel="held-out error", ylim=(0, None))
    figures.legend(errors)
    largest = int(fits["n"].max())
    own = fits[fits["n"] == largest]
    fitted = [f"{n:,}" for n, rows in fits.groupby("n") if (rows["linear_train_random"] == 0).all()]
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "kernels"),
            "Interpolation without a regulariser, and without training",
            f"With {largest:,} images the interpolating kernel errs on {with_interval(mean_interval(own['kernel']))} of the test "
            f"images, 1-nearest-neighbour on {with_interval(mean_interval(own['nearest']), count=False)} and the linear solution on "
            f"{with_interval(mean_interval(own['linear']), count=False)}. The linear solution fits all random labels of "
            f"{', '.join(fitted) or 'no number of'} images (second panel; dotted: 784 pixels). The norm of the interpolant of "
            f"random labels is {with_interval(mean_interval(own['norm_random'] / own['norm']), count=False)} times that of true ones. "
            f"Points: means over n = {fits['seed'].nunique()} draws of images with 95 % intervals. Last: error on held-out "
            "training images by bandwidth; dotted: the one taken.",
            "Test errors of kernel and linear fits by number of images, norms, and the choice of the bandwidth.",
        )
    )
