"""Accuracy: random initialisation, about 96 %, and 98 % after some tweaks."""

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.digits.networks import MAIN, RECIPES, accuracy, by_seed, images_of, keyed, name_of, over_arm, share_of
from memo.commands.evidence import Evidence
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.program import as_pixels, as_seen
from memo.probes.answers import read
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.storage.run_folders import Tables

THREE = 3
IMAGES = ("typical", "first")  # of a three: the nearest to the mean of all, and the first of the test set
TWEAKS = ("tweak_64", "tweak_100", "tweak_128")


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return accuracies and costs along training, predictions for two threes, and how many networks classify an image correctly."""
    arms = [*RECIPES, *TWEAKS]
    tested = {arm: len(evidence.test_images(arm)[1]) for arm in arms}
    networks = along(evidence)
    networks["test_images"] = networks["arm"].map(tested)
    called = called_threes(evidence)
    right = [images_right(arm, answered(evidence, arm)) for arm in RECIPES if len(evidence.of(arm))]
    columns = ["arm", "right", "networks", "images"]
    return {
        "networks": networks.merge(called, on=["trial", "arm", "seed"], how="left"),
        "images_right": pd.concat(right, ignore_index=True) if right else pd.DataFrame(columns=columns),
    }


def along(evidence: Evidence) -> pd.DataFrame:
    """Return accuracy and cost before training, after one epoch and at the best of the evaluated epochs, by network."""
    rows = []
    for keys, curve in evidence.curves():
        trained = curve[curve["step"] > 0]
        first = trained[trained["epoch"] <= 1]["test_accuracy"]
        rows.append(
            keys
            | {
                "initial_accuracy": curve["test_accuracy"].iloc[0],
                "initial_cost": curve["train_loss"].iloc[0],
                "first_epoch": first.iloc[-1] if len(first) else np.nan,
                "best_epoch": trained["test_accuracy"].max(),
                "best_validation": trained["validation_accuracy"].max() if "validation_accuracy" in trained else np.nan,
                "evaluated": len(trained),
            }
        )
    columns = ["initial_accuracy", "initial_cost", "first_epoch", "best_epoch", "best_validation", "evaluated"]
    return pd.DataFrame(rows, columns=["trial", "arm", "seed", *columns])


def answered(evidence: Evidence, arm: str) -> np.ndarray:
    """Return whether each network of an arm classifies each test image correctly, [networks, images]."""
    called, _ = read(*evidence.answers(arm))
    return called == evidence.test_images(arm)[1]


def images_right(arm: str, right: np.ndarray) -> pd.DataFrame:
    """Return how many images are classified correctly by 0, 1, ... of the networks, for right [networks, images]."""
    counts = np.bincount(right.sum(0), minlength=len(right) + 1)
    rows = {"arm": arm, "right": np.arange(len(counts)), "networks": len(right), "images": counts}
    return pd.DataFrame(rows).query("images > 0")


def threes(evidence: Evidence) -> np.ndarray:
    """Return the typical and the first three among the test images, [2, pixels]."""
    images, labels = evidence.test_images(MAIN)
    return images[[typical(images, labels, THREE), int(np.argmax(labels == THREE))]]


def typical(images: np.ndarray, labels: np.ndarray, digit: int) -> int:
    """Return the index of the image of a digit nearest to the mean of its class."""
    own = np.flatnonzero(labels == digit)
    shown = images[own].astype(float)
    return int(own[np.argmin(np.square(shown - shown.mean(0)).sum(1))])


def activations(evidence: Evidence, layers: tuple[mlp.Layer, ...]) -> np.ndarray:
    """Return the outputs of the networks for the two threes, [networks, 2, 10]."""
    static = evidence.static(MAIN)
    shown = as_pixels(jax.numpy.asarray(threes(evidence)))
    outputs = jax.vmap(lambda layers: mlp.apply(layers, as_seen(static, shown), static.activation))(layers)
    return np.asarray(LOSSES[static.loss].activate(outputs))


def called_threes(evidence: Evidence) -> pd.DataFrame:
    """Return the predictions of the networks of the main arm for the two threes, before and after training."""
    if not len(evidence.of(MAIN)):
        return keyed(evidence, MAIN)
    stages = {"start": evidence.initial_layers(MAIN), "end": evidence.layers(MAIN)}
    called = {stage: activations(evidence, layers).argmax(2) for stage, layers in stages.items()}
    columns = {
        f"{image}_three_{stage}": values[:, place]
        for stage, values in called.items()
        for place, image in enumerate(IMAGES)
    }
    return keyed(evidence, MAIN, **columns)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer the state before training, and the accuracies reached."""
    networks = tables["networks"]
    images = images_of(networks, MAIN)
    answers.give("start-accuracy", over_arm(networks, MAIN, "initial_accuracy", (0, 1)), images)
    falls = by_seed(networks, MAIN, "initial_cost") / by_seed(networks, MAIN, "final_train_loss")
    answers.give("start-cost", over_arm(networks, MAIN, falls, (0, np.inf)), images)
    for name, stage in (("start-mess", "start"), ("trained-three", "end")):
        for image in IMAGES:
            called = by_seed(networks, MAIN, f"{image}_three_{stage}")
            which = (called == THREE).astype(float).mask(called.isna())
            claim = name if image == "typical" else f"{name}-{image}"
            answers.give(claim, share_of(networks, MAIN, which), images)
    for arm in RECIPES:
        answers.give(
            "ninety-six-last-{arm}", accuracy(networks, arm, tables["images_right"]), images_of(networks, arm), arm=arm
        )
    for arm in TWEAKS:
        answers.give("ninety-eight-{arm}", accuracy(networks, arm), images_of(networks, arm), arm=arm)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the outputs for a three before and after training, and accuracies by recipe and structure."""
    networks, text = tables["networks"], Text("experiments.digits", "accuracy")
    sizes = networks.groupby("arm")["parameters"].first()
    reached = [arm for arm in TWEAKS if (found := answers[f"ninety-eight-{arm}"]) and found.low >= 0.98]
    facts = {
        "recipes": {RECIPES[arm]: answers[f"ninety-six-last-{arm}"] for arm in RECIPES},
        "best_tweak": max(
            ((found.value, name_of(networks, arm)) for arm in TWEAKS if (found := answers[f"ninety-eight-{arm}"])),
            default=None,
        ),
        "reached": [name_of(networks, arm) for arm in sorted(reached, key=sizes.get)],
        "three": {stage: [answers[f"{stage}"], answers[f"{stage}-first"]] for stage in ("start-mess", "trained-three")},
        "start": answers["start-accuracy"],
        "counts": [int((networks["arm"] == arm).sum()) for arm in (*RECIPES, *TWEAKS)],
    }
    drawn = [figures.save(draw_accuracy(networks), evidence.folder, "accuracy")]
    if len(evidence.of(MAIN)):
        drawn.insert(0, figures.save(draw_start(evidence), evidence.folder, "start"))
    return Chapter(
        title="Accuracy",
        findings=[text.block("start", **facts), text.block("reached", **facts)],
        figures=[text.figure(file, **facts) for file in drawn],
        methods=[text.block("methods", **facts)],
    )


def draw_start(evidence: Evidence) -> Drawing:
    """Return a typical three, and every network's ten outputs for it before and after training."""
    figure, [[picture, left, right]] = figures.grid(1, 3, width=3.1, height=2.5, width_ratios=[0.75, 1, 1])
    panels.picture(picture, threes(evidence)[0])
    picture.set_title("a typical three")
    stages = (
        (left, "before training", evidence.initial_layers(MAIN)),
        (right, "after training", evidence.layers(MAIN)),
    )
    at = np.arange(10)
    for axes, title, layers in stages:
        values = activations(evidence, layers)[:, 0]
        jitter = np.random.default_rng(0).uniform(-0.25, 0.25, values.shape)
        axes.scatter(at + jitter, values, s=7, color=palette.BLUE, alpha=0.5, linewidths=0)
        axes.hlines(values.mean(0), at - 0.35, at + 0.35, color=palette.VERMILION, linewidth=2)
        axes.set(title=title, ylim=(-0.03, 1.03), xticks=at, xlabel="output for digit", ylabel="activation")
    return figure


def draw_accuracy(networks: pd.DataFrame) -> Drawing:
    """Return final test accuracies by recipe and structure: networks, and means."""
    figure, [[axes]] = figures.grid(1, 1, width=7.5, height=3.2)
    arms = [*RECIPES, *TWEAKS]
    values = {position: by_seed(networks, arm, "final_test_accuracy") for position, arm in enumerate(arms)}
    panels.means(axes, values, Mark("test accuracy", palette.BLUE), seeds=True)
    for level in (0.96, 0.98):
        axes.axhline(level, **palette.REFERENCE)
    figures.name_axis(axes, [f"{name_of(networks, arm)}\n{RECIPES.get(arm, 'ReLU, tweaked')}" for arm in arms])
    axes.tick_params(axis="x", labelsize=7)
    axes.set_ylabel("test accuracy")
    return figure
