"""A2: does the loss hang on a few examples? Loss sensitivity through all updates, its Gini, class by class (figures 3, 4)."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.closer_look.networks import ARPIT, COLORS
from memo.commands.evidence import Evidence
from memo.data.datasets import MNIST
from memo.data.randomness import generator, purpose_key
from memo.data.treatments import PixelStatistics, gaussian_images
from memo.measures import sensitivity
from memo.measures.sensitivity import Setting, gini
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.panels import mean_line
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.over_seeds import over_pairs, over_seeds
from memo.storage.run_folders import RUNS, replacing

KINDS = {"real": "real inputs", "random": "random inputs (randX)"}
PAINT = {"real": COLORS["true"], "random": COLORS["inputs"]}
# Raise it when the measurement changes: part of the name under which its table is kept.
VERSION = 1


def chapter(evidence: Evidence, asked: Mapping) -> Chapter:
    """Return the claims and figures on loss sensitivity; `asked` is `experiment.sensitivity` of the config."""
    made = Chapter()
    images, classes = measured(evidence, asked)
    by_time = ginis(images)
    made.tables["sensitivity_gini"] = by_time
    made.tables["sensitivity_classes"] = classes
    _claims(images, by_time, classes, made)
    _draw_gini(evidence, images, by_time, asked, made)
    _draw_classes(evidence, classes, made)
    made.methods.append(
        f"Loss sensitivity: {asked['side']}×{asked['side']} pixels, layers of {', '.join(map(str, asked['widths']))}, "
        f"{asked['images']:,} images, plain gradient descent on batches of {asked['batch_size']} at {asked['rate']:g} for "
        f"{asked['epochs']} epochs (the paper's optimiser settings for this network are not known to us). "
        "g<sub>x</sub><sup>t</sup> is the l1 norm of the total derivative of the mean training loss after t updates with respect "
        "to the image x, exactly and back through all t updates. The mean over t is one over the "
        f"{asked['checkpoints']} numbers of updates, evenly spaced. Random inputs are Gaussian with the mean and sd of the "
        "data; they keep the labels, starts and minibatches of their twins."
    )
    return made


def measured(evidence: Evidence, asked: Mapping) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return g by kind, seed, update and image, and by kind, seed, class of the loss and class of the image; kept on disk."""
    first = min(trial.seed for arm in ("noise_inputs",) for trial in evidence.asked_trials(arm))
    text = json.dumps([VERSION, first, dict(asked)], sort_keys=True)
    folder = evidence.folder / RUNS / f"sensitivity-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    names = ("images", "classes")
    if not all((folder / f"{name}.parquet").exists() for name in names):
        for name, frame in zip(names, _measure(evidence, asked, first)):
            with replacing(folder / f"{name}.parquet") as path:
                frame.to_parquet(path, index=False)
    images, classes = (pd.read_parquet(Path(folder / f"{name}.parquet")) for name in names)
    return images, classes


def _measure(evidence, asked, first):
    dataset = evidence.dataset.at_side(asked["side"])
    n, batch = asked["images"], asked["batch_size"]
    steps = asked["epochs"] * (n // batch)
    setting = Setting((asked["side"] ** 2, *asked["widths"], MNIST.classes), "relu", "he", batch, steps)
    times = np.unique(np.round(np.linspace(0, steps, asked["checkpoints"] + 1)[1:]).astype(int)).tolist()
    per_image, per_class = [], []
    for seed in range(first, first + asked["seeds"]):
        rows = generator(seed, "subset").permutation(len(dataset.train_labels))[:n]
        labels = dataset.train_labels[rows]
        statistics = PixelStatistics(*dataset.pixel_statistics)
        pixels = {
            "real": dataset.train_images[rows].astype(np.float32) / 255,
            "random": gaussian_images(generator(seed, "inputs"), (n, asked["side"] ** 2), statistics),
        }
        keys, orders = [purpose_key(seed, "initialisation")], [purpose_key(seed, "order")]
        for kind, own in pixels.items():
            found = sensitivity.measure(setting, asked["rate"], tuple(times), keys, orders, own[None], labels[None])
            for place, time in enumerate(times):
                per_image.append(
                    pd.DataFrame(
                        {
                            "inputs": kind,
                            "seed": seed,
                            "update": time,
                            "epoch": time / (n // batch),
                            "image": np.arange(n),
                            "sensitivity": found.images[0, place],
                            "train_loss": found.train_loss[0, place],
                            "train_accuracy": found.train_accuracy[0, place],
                        }
                    )
                )
            towards, of = np.indices((MNIST.classes, MNIST.classes))
            columns = {"inputs": kind, "seed": seed, "loss_of": towards.ravel(), "image_of": of.ravel()}
            per_class.append(pd.DataFrame(columns | {"sensitivity": found.classes[0].ravel()}))
    return pd.concat(per_image, ignore_index=True), pd.concat(per_class, ignore_index=True)


def ginis(images: pd.DataFrame) -> pd.DataFrame:
    """Return the Gini of the sensitivities over images by inputs, seed and update, with the training accuracy there."""
    keys = ["inputs", "seed", "update", "epoch"]
    grouped = images.groupby(keys)
    frame = grouped.agg(train_accuracy=("train_accuracy", "first"), mean_sensitivity=("sensitivity", "mean"))
    frame["gini"] = grouped["sensitivity"].apply(lambda values: float(gini(values.to_numpy())))
    return frame.reset_index()


def share_higher(by_time: pd.DataFrame) -> pd.Series:
    """Return by seed the share of updates at which the Gini of real inputs is above that of random ones; NaN without values."""
    both = by_time.pivot(index=["seed", "update"], columns="inputs", values="gini").dropna()
    return (both["real"] > both["random"]).groupby("seed").mean() if len(both) else pd.Series(dtype=float)


def off_diagonal(classes: pd.DataFrame) -> pd.Series:
    """Return by inputs and seed the mean sensitivity of a class to images of others over that to its own images.

    1 where classes do not matter; 0 where no class knows of another.
    """
    own = classes["loss_of"] == classes["image_of"]
    keys = ["inputs", "seed"]
    return classes[~own].groupby(keys)["sensitivity"].mean() / classes[own].groupby(keys)["sensitivity"].mean()


def _over_time(images):
    """Return by inputs and seed the Gini over images of the mean over t."""
    mean = images.groupby(["inputs", "seed", "image"])["sensitivity"].mean()
    return mean.groupby(["inputs", "seed"]).apply(lambda values: float(gini(values.to_numpy())))


def _claims(images, by_time, classes, made):
    statement = (
        "On real data only some examples are sensitive: the sensitivity is spread less evenly than on noise inputs."
    )
    claim = Claim(
        "A2-checkpoints",
        ARPIT,
        statement,
        "share of checkpoints with Gini, real > random inputs",
        (0.9, 1),
        (0.5001, 1),
        "gini",
    )
    share = share_higher(by_time)
    made.rows.append((claim, *over_seeds(share)))
    claim = Claim(
        "A2-mean", ARPIT, statement, "Gini of the mean over training, real − random inputs", (0.0001, 1), None, "gini"
    )
    over_time = _over_time(images).unstack("inputs")
    gap = over_pairs(over_time["real"], over_time["random"])
    made.rows.append((claim, *gap))
    statement = "On real data the classes share more: sensitivity is spread further over other classes."
    claim = Claim(
        "A2-classes", ARPIT, statement, "sensitivity to other classes' images / to its own, real − random inputs",
        (0.0001, np.inf), None, "classes",
    )  # fmt: skip
    shares = off_diagonal(classes).unstack("inputs")
    shared = over_pairs(shares["real"], shares["random"])
    made.rows.append((claim, *shared))
    made.findings.append(
        "<b>Sensitivity.</b> The loss depends on single images more unevenly with real inputs than with random ones at a share "
        f"{with_interval(over_seeds(share)[0])} of the checkpoints; Gini of the mean over training, real − random: "
        f"{with_interval(gap[0], count=False)}. Sensitivity to images of other classes over that to its own, at the end, real − "
        f"random: {with_interval(shared[0], count=False)}."
    )


def _draw_gini(evidence, images, by_time, asked, made):
    figure, [[curve, lorenz, fits]] = figures.grid(1, 3, width=3.1, height=2.8)
    for kind, name in KINDS.items():
        own = by_time[by_time["inputs"] == kind]
        style: palette.Style = {"color": PAINT[kind], "marker": "o", "markersize": 3, "label": name}
        mean_line(curve, own, "gini", **style)
        mean_line(fits, own, "train_accuracy", **style)
        mean = images[images["inputs"] == kind].groupby(["seed", "image"])["sensitivity"].mean()
        sorted_shares = [np.cumsum(np.sort(values)) / values.sum() for _, values in mean.groupby("seed")]
        lorenz.plot(np.linspace(0, 1, asked["images"]), np.mean(sorted_shares, axis=0), color=PAINT[kind], label=name)
    lorenz.plot([0, 1], [0, 1], **palette.REFERENCE)
    curve.set(xlabel="epoch", ylabel="Gini of sensitivities")
    fits.set(xlabel="epoch", ylabel="training accuracy", ylim=(0, 1.02))
    lorenz.set(xlabel="share of images, least sensitive first", ylabel="share of all sensitivity")
    figures.shared_legend(figure, curve)
    ends = by_time[by_time["update"] == by_time["update"].max()]
    says = "; ".join(
        f"{name} {with_interval(over_seeds(ends[ends['inputs'] == kind]['gini'])[0])}" for kind, name in KINDS.items()
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "gini"),
            "How unevenly the loss depends on its images (the paper's figure 3)",
            f"Gini of the sensitivities at the end of training: {says}. Left: along training; middle: Lorenz curves of the mean "
            "over training (dotted: all images alike); right: the training accuracy then, which differs between the two. Lines: "
            "means over seeds, bands: all of them.",
            "Gini coefficient of the loss sensitivity along training, Lorenz curves and training accuracy.",
        )
    )


def _draw_classes(evidence, classes, made):
    figure, axes = figures.grid(1, 2, width=3.6, height=3.0)
    for place, (kind, name) in zip(axes[0], KINDS.items()):
        own = classes[classes["inputs"] == kind]
        mean = own.pivot_table(index="loss_of", columns="image_of", values="sensitivity")
        # Over its largest entry: the two differ in scale, and the question is the spread.
        peak = np.nanmax(mean) if mean.size else np.nan
        picture = place.imshow(
            mean / peak if mean.size else np.zeros((MNIST.classes, MNIST.classes)), vmin=0, vmax=1, cmap="viridis"
        )
        place.grid(visible=False)
        place.set(
            title=f"{name}\nlargest entry: {number(peak)}", xlabel="class of the image", ylabel="class of the loss"
        )
        place.set_xticks(range(MNIST.classes))
        place.set_yticks(range(MNIST.classes))
    figure.colorbar(picture, ax=axes[0], label="relative to the largest entry", shrink=0.8)
    spread = off_diagonal(classes)
    says = []
    for kind, name in KINDS.items():
        values = spread[kind] if kind in spread.index.get_level_values(0) else []
        says.append(f"{name} {with_interval(over_seeds(values)[0])}")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "classes"),
            "Which class's images move which class's loss (the paper's figure 4)",
            f"Mean sensitivity to images of other classes as a multiple of that to a class's own: {'; '.join(says)}. Mean over "
            "seeds of the l1 norm of the derivative of the mean loss of one class (row) with respect to an image of another "
            "(column), at the end of training and through all updates.",
            "Two maps of class-to-class loss sensitivity, for real and for random inputs.",
        )
    )
