"""Early learning: mislabelled images are first classified as their true class, and only later as the given one."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.closer_look.networks import images_of, present, treated
from memo.commands import mislabelled
from memo.commands.evidence import Evidence
from memo.data.mnist import MNIST
from memo.probes.training_answers import WATCHED
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text, percent
from memo.reporting.palette import Mark
from memo.statistics.intervals import Estimate, mean_share
from memo.statistics.over_seeds import LOST, over_seeds
from memo.storage.run_folders import Tables

ARM, LINEAR = "noise_labels", "linear_labels"
FULL = "early_full"  # on all images, at some scales
LEVEL = 0.4  # of the paper's figure 1, by its file's name
SHARES = {
    "true_class": Mark("classified as their true class", palette.BLUE, dashes=palette.SOLID),
    "given_label": Mark("classified as their wrong label", palette.VERMILION, dashes=palette.DASHED),
    "test_accuracy": Mark("test accuracy", palette.BLACK, dashes=palette.DOTTED),
}
LINEAR_MARK = Mark("their wrong label, softmax regression", palette.ORANGE, dashes=palette.DASHED)


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network with noisy labels and evaluation the shares of mislabelled images assigned their true and their given class."""
    columns = ["trial", "seed", "step", "epoch", "arm", "level", "true_class", "given_label"]
    parts = [_with_levels(evidence, arm) for arm in present(evidence, (ARM, LINEAR, FULL))]
    parts = [part for part in parts if len(part)]
    found = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    curves = evidence.tables.curves[["trial", "step", "test_accuracy"]].drop_duplicates(["trial", "step"])
    return {"early_learning": found.merge(curves, on=["trial", "step"]), "networks": treated(evidence, [FULL])}


def _with_levels(evidence: Evidence, arm: str) -> pd.DataFrame:
    """Return the shares of each network of an arm along its training, with the share of its labels that is redrawn."""
    found = mislabelled.along(evidence, arm)
    return found.assign(level=found["trial"].map(evidence.of(arm).set_index("trial")["labels.fraction"]))


def turning_points(tables: Tables, arm: str = ARM) -> pd.DataFrame:
    """Return of each network of an arm at LEVEL the evaluation with the most true classes, and `gap`, that share − test accuracy."""
    along, networks = tables["early_learning"], tables["networks"]
    asked = networks[(networks["arm"] == arm) & np.isclose(networks["level"], LEVEL)][["trial", "images"]]
    # Without any row (all diverged) the columns have no numeric type.
    numbers = dict.fromkeys(along.columns.drop(["trial", "arm"]), float)
    known = along[along["arm"] == arm].astype(numbers).dropna(subset="true_class").sort_values(["trial", "step"])
    best = known.loc[known.groupby("trial")["true_class"].idxmax()]
    points = asked.merge(best, on="trial", how="left")
    return points.assign(gap=points["true_class"] - points["test_accuracy"])


def answer(tables: Tables, answers: Answers) -> None:
    """Answer the highest share of mislabelled images assigned their true class, and the share memorised at that time."""
    points = turning_points(tables)
    for name, column in (("peak", "true_class"), ("memorised", "given_label")):
        answers.give(f"early-{name}", over_seeds(points[column], LOST, estimate=mean_share), images_of(points))
    answers.give("early-near-test", over_seeds(points["gap"], LOST), images_of(points))
    full = turning_points(tables, FULL)
    if images_of(full) == MNIST.train_images:
        peak = over_seeds(full["true_class"], LOST, estimate=mean_share)
        answers.give("early-peak-full", peak, images_of(full))


def _given(along: pd.DataFrame, arm: str) -> Estimate | None:
    """Return the share of mislabelled images at LEVEL that an arm's networks assign their wrong label at the end."""
    ends = along[along["arm"] == arm].sort_values("step").drop_duplicates("trial", keep="last")
    return over_seeds(ends[np.isclose(ends["level"].astype(float), LEVEL)]["given_label"], estimate=mean_share)[0]


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the classification of mislabelled images along training."""
    along, points = tables["early_learning"], turning_points(tables)
    facts = {
        "level": LEVEL,
        "linear": _given(along, LINEAR),
        "later": _given(along, ARM),
        "full": over_seeds(turning_points(tables, FULL)["true_class"], estimate=mean_share)[0],
        "peak": answers["early-peak"],
        "memorised": answers["early-memorised"],
        "gap": answers["early-near-test"],
        "epoch": over_seeds(points["epoch"])[0],
        "images": images_of(points),
        "watched": WATCHED,
    }
    text = Text("experiments.closer_look", "early_learning")
    return Chapter(
        title="Wrong labels: first the true class, then the label",
        findings=[text.block("finding", **facts)],
        figures=[
            text.figure(figures.save(draw_shares(along, evidence.classes), evidence.folder, "early_learning"), **facts)
        ],
        methods=[text.block("methods", **facts)],
    )


def draw_shares(along: pd.DataFrame, classes: int) -> Drawing:
    """Return shares of mislabelled images by epoch, one panel per share of labels redrawn."""
    linear, along = along[along["arm"] == LINEAR], along[along["arm"] == ARM]
    levels = sorted(along["level"].unique())
    figure, [row] = figures.grid(1, max(1, len(levels)), width=2.8, height=2.7, sharey=True)
    for axes, level in zip(row, levels):
        own = along[along["level"] == level]
        for column, mark in SHARES.items():
            panels.mean_line(axes, own, column, label=mark.name, **mark.line)
        beside = linear[linear["level"] == level]
        if len(beside):
            panels.mean_line(axes, beside, "given_label", label=LINEAR_MARK.name, **LINEAR_MARK.line)
        panels.chance(axes, classes)
        figures.epoch_axis(axes, own["epoch"].max())
        axes.set(title=f"{percent(level)} of labels redrawn", ylim=(0, 1.02))
    row[0].set_ylabel("share of\nmislabelled images")
    figures.shared_legend(figure, row[0])
    return figure
