"""A2: does the loss depend on a few examples? Loss sensitivity through all updates, its Gini, class by class (figures 3, 4)."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from memo.commands.evidence import Evidence
from memo.data.mnist import MNIST
from memo.data.randomness import generator, purpose_key
from memo.data.treatments import PixelStatistics, gaussian_images
from memo.measures import sensitivity
from memo.measures.sensitivity import Setting, gini
from memo.reporting import figures, palette
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.panels import mean_line
from memo.reporting.report import number
from memo.statistics.curve_shape import at_level
from memo.statistics.intervals import share
from memo.statistics.over_seeds import over_pairs, over_seeds
from memo.storage.run_folders import RUNS, Tables, replacing

KINDS = {
    "real": Mark("real inputs", palette.BLUE, "o", palette.SOLID),
    "random": Mark("random inputs (randX)", palette.PURPLE, "s", palette.DASHED),
}
KEYS = ["inputs", "seed"]
MOST = 0.9  # of the checkpoints
CLASSES = range(MNIST.classes)
# Increment it when the measurement changes: part of the name under which its table is kept.
VERSION = 1


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the Gini of sensitivities along training and of their mean over it, and the sensitivity between classes."""
    images, classes = measured(evidence)
    mean = images.groupby([*KEYS, "image"])["sensitivity"].mean()
    over_time = mean.groupby(KEYS).agg(images="size", gini=lambda values: float(gini(values.to_numpy())))
    return {
        "sensitivity_gini": ginis(images),
        "sensitivity_mean": over_time.reset_index(),
        "sensitivity_classes": classes,
    }


def measured(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return g by kind, seed, update and image, and by kind, seed, class of the loss and class of the image; kept on disk."""
    asked = evidence.settings["sensitivity"]
    first = min(trial.seed for trial in evidence.asked_trials("noise_inputs"))
    text = json.dumps([VERSION, first, dict(asked)], sort_keys=True)
    folder = evidence.folder / RUNS / f"sensitivity-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    files = [folder / f"{name}.parquet" for name in ("images", "classes")]
    if not all(file.exists() for file in files):
        for file, frame in zip(files, _measure(evidence, asked, first)):
            with replacing(file) as path:
                frame.to_parquet(path, index=False)
    images, classes = (pd.read_parquet(file) for file in files)
    return images, classes


def _measure(evidence: Evidence, asked: Mapping[str, Any], first: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    dataset = evidence.dataset.at(None, asked["side"])
    n, batch = asked["images"], asked["batch_size"]
    steps = math.ceil(asked["epochs"] * n / batch)
    setting = Setting((asked["side"] ** 2, *asked["widths"], MNIST.classes), "relu", "he", batch, steps)
    times = np.unique(np.round(np.linspace(0, steps, asked["checkpoints"] + 1)[1:]).astype(int)).tolist()
    towards, of = np.indices((MNIST.classes, MNIST.classes))
    per_image, per_class = [], []
    for seed in range(first, first + asked["seeds"]):
        rows = generator(seed, "subset").permutation(len(dataset.train_labels))[:n]
        statistics = PixelStatistics(*dataset.pixel_statistics)
        pixels = {
            "real": dataset.train_images[rows].astype(np.float32) / 255,
            "random": gaussian_images(generator(seed, "inputs"), (n, asked["side"] ** 2), statistics),
        }
        keys, orders = [purpose_key(seed, "initialisation")], [purpose_key(seed, "order")]
        for kind, own in pixels.items():
            given = own[None], dataset.train_labels[rows][None]
            found = sensitivity.measure(setting, asked["rate"], tuple(times), keys, orders, *given)
            for place, time in enumerate(times):
                moment = {"inputs": kind, "seed": seed, "update": time, "epoch": time * batch / n}
                seen = {"image": np.arange(n), "sensitivity": found.images[0, place]}
                fit = {name: getattr(found, name)[0, place] for name in ("train_loss", "train_accuracy")}
                per_image.append(pd.DataFrame(moment | seen | fit))
            classes = {"inputs": kind, "seed": seed, "loss_of": towards.ravel(), "image_of": of.ravel()}
            per_class.append(pd.DataFrame(classes | {"sensitivity": found.classes[0].ravel()}))
    return pd.concat(per_image, ignore_index=True), pd.concat(per_class, ignore_index=True)


def ginis(images: pd.DataFrame) -> pd.DataFrame:
    """Return the Gini of the sensitivities over images by inputs, seed and update, with the training accuracy there."""
    grouped = images.groupby([*KEYS, "update", "epoch"])
    frame = grouped.agg(train_accuracy=("train_accuracy", "first"), mean_sensitivity=("sensitivity", "mean"))
    frame["gini"] = grouped["sensitivity"].apply(lambda values: float(gini(values.to_numpy())))
    return frame.reset_index()


def share_higher(by_time: pd.DataFrame) -> pd.Series:
    """Return by seed the share of updates at which the Gini of real inputs is above that of random ones; NaN without values."""
    both = by_time.pivot(index=["seed", "update"], columns="inputs", values="gini").dropna()
    return (both["real"] > both["random"]).groupby("seed").mean() if len(both) else pd.Series(dtype=float)


def matched(by_time: pd.DataFrame) -> pd.Series:
    """Return by seed the Gini of real inputs where they are first fitted as well as random ones at the end − that of these."""
    gaps = {}
    for seed, own in by_time.sort_values("update").groupby("seed"):
        real, random = (own[own["inputs"] == kind] for kind in KINDS)
        end = random.iloc[-1]
        gaps[seed] = at_level(real["train_accuracy"], real["gini"], end["train_accuracy"]) - end["gini"]
    return pd.Series(gaps, dtype=float)


def off_diagonal(classes: pd.DataFrame) -> pd.Series:
    """Return by inputs and seed the mean sensitivity of a class to images of others over that to its own images.

    1 where classes do not matter; 0 where no class depends on another.
    """
    own = classes["loss_of"] == classes["image_of"]
    return classes[~own].groupby(KEYS)["sensitivity"].mean() / classes[own].groupby(KEYS)["sensitivity"].mean()


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much less evenly the loss depends on images with real inputs, and how far between classes."""
    by_time, over_time = tables["sensitivity_gini"], tables["sensitivity_mean"]
    images = int(over_time["images"].max())
    answers.give("A2-checkpoints", (share(share_higher(by_time) >= MOST), ""), images)
    by_kind = over_time.pivot(index="seed", columns="inputs", values="gini")
    answers.give("A2-mean", over_pairs(by_kind["real"], by_kind["random"]), images)
    answers.give("A2-matched", over_seeds(matched(by_time), "real inputs that are never fitted as well"), images)
    spread = off_diagonal(tables["sensitivity_classes"]).unstack("inputs")
    answers.give("A2-classes", over_pairs(spread["real"], spread["random"]), images)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw Gini and Lorenz curves of the sensitivities, and the sensitivity between classes."""
    by_time, classes = tables["sensitivity_gini"], tables["sensitivity_classes"]
    ends, spread = by_time[by_time["update"] == by_time["update"].max()], off_diagonal(classes)
    facts = {
        "asked": evidence.settings["sensitivity"],
        "mean": answers["A2-mean"],
        "matched": answers["A2-matched"],
        "classes": answers["A2-classes"],
        "ends": {mark.name: over_seeds(ends[ends["inputs"] == kind]["gini"])[0] for kind, mark in KINDS.items()},
        "spread": {mark.name: over_seeds(spread[kind])[0] for kind, mark in KINDS.items()},
    }
    images, text = measured(evidence)[0], Text("experiments.closer_look", "sensitivity")
    drawn = {"gini": draw_gini(images, by_time), "classes": draw_classes(classes)}
    return Chapter(
        title="Sensitivity of the loss to images",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(figure, evidence.folder, name), **facts) for name, figure in drawn.items()],
        methods=[text.block("methods", **facts)],
    )


def draw_gini(images: pd.DataFrame, by_time: pd.DataFrame) -> Drawing:
    """Return the Gini by epoch, Lorenz curves of the mean over training, and the training accuracy by epoch."""
    figure, [[curve, lorenz, fits]] = figures.grid(1, 3, width=3.1, height=2.8)
    for kind, mark in KINDS.items():
        own = by_time[by_time["inputs"] == kind]
        for axes, column in ((curve, "gini"), (fits, "train_accuracy")):
            mean_line(axes, own, column, marker=mark.marker, markersize=3, label=mark.name, **mark.line)
        mean = images[images["inputs"] == kind].groupby(["seed", "image"])["sensitivity"].mean()
        shares = [np.cumsum(np.sort(values)) / values.sum() for _, values in mean.groupby("seed")]
        lorenz.plot(np.linspace(0, 1, len(shares[0])), np.mean(shares, axis=0), label=mark.name, **mark.line)
    lorenz.plot([0, 1], [0, 1], **palette.REFERENCE)
    curve.set(xlabel="epoch", ylabel="Gini of sensitivities")
    fits.set(xlabel="epoch", ylabel="training accuracy", ylim=(0, 1.02))
    lorenz.set(xlabel="share of images, least sensitive first", ylabel="share of all sensitivity")
    figures.shared_legend(figure, curve)
    return figure


def draw_classes(classes: pd.DataFrame) -> Drawing:
    """Return maps of the sensitivity of each class's loss to each class's images, one per kind of inputs."""
    figure, [row] = figures.grid(1, len(KINDS), width=3.6, height=3.0)
    for axes, (kind, mark) in zip(row, KINDS.items()):
        own = classes[classes["inputs"] == kind]
        mean = own.pivot_table(index="loss_of", columns="image_of", values="sensitivity").reindex(
            CLASSES, columns=CLASSES
        )
        # Over its largest entry: the two differ in scale, and the question is the spread.
        peak = np.nanmax(mean)
        picture = axes.imshow(mean / peak, vmin=0, vmax=1, cmap="viridis")
        axes.grid(visible=False)
        axes.set(
            title=f"{mark.name}\nlargest entry: {number(peak)}", xlabel="class of the image", ylabel="class of the loss"
        )
        axes.set(xticks=CLASSES, yticks=CLASSES)
    figure.colorbar(picture, ax=row, label="relative to the largest entry", shrink=0.8)
    return figure
