"""Memorising: which networks fit shuffled labels, and how well they then classify test images."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.headline.networks import curves_of, memorised, read, widths_of, with_width
from memo.commands.evidence import Evidence
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.intervals import mean_interval, share
from memo.statistics.over_seeds import Answer, over_seeds, twins
from memo.storage.run_folders import Tables

WIDE = 64  # units in the narrowest layer from which a network is expected to memorise
UNFITTED: Answer = (None, "not every network fitted its shuffled labels")


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the width of every network; accuracies are among what every experiment knows."""
    return {"networks": with_width(evidence)}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer which networks memorise, and their test accuracy."""
    networks = read(tables)
    widths, whole = widths_of(networks), memorised(networks)
    answers.conditions(width=widths)
    for width in widths:
        own = networks[networks["width"] == width]
        values = twins(own, "final_test_accuracy", width)["shuffled"]
        answers.give("chance-{width}", over_seeds(values) if width in whole else UNFITTED, width=width)
    answers.give("chance-memorised", _across(networks, whole))
    wide = networks["units"] >= WIDE
    for claim, labels in (("memorises", "shuffled"), ("had-time", "true")):
        answers.give(claim, _fitting(networks[wide & (networks["labels"] == labels)]))
    narrow = networks[~wide & (networks["labels"] == "shuffled")]["final_train_accuracy"]
    answers.give("memorises-narrow", over_seeds(narrow, "a diverged network"))


def _fitting(networks: pd.DataFrame) -> Answer:
    """Return the share of networks that fit every label; a diverged one does not."""
    if networks.empty:
        return None, f"no network has {WIDE} units per layer and more"
    return share(networks["final_train_accuracy"] == 1), ""


def _across(networks: pd.DataFrame, whole: list[str]) -> Answer:
    """Return the test accuracy over all widths that memorised; a seed's networks share labels, so they are averaged first."""
    if not whole:
        return None, "at no width did all networks fit their shuffled labels"
    own = networks[networks["width"].isin(whole) & (networks["labels"] == "shuffled")]
    by_seed = own.groupby("seed")["final_test_accuracy"].mean()
    return mean_interval(by_seed, bounds=(0, 1)), f"widths {', '.join(whole)}, averaged within each seed"


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw learning curves, and final accuracies by width."""
    networks, text = read(tables), Text("experiments.headline", "memorising")
    widths, whole = widths_of(networks), memorised(networks)
    shuffled = networks[networks["labels"] == "shuffled"]
    facts = {
        "images": int(networks["images"].max()),
        "seeds": networks["seed"].nunique(),
        "widths": widths,
        "memorised": whole,
        "reached": shuffled.groupby("width")["final_train_accuracy"].mean().to_dict(),
        "chance": answers["chance-memorised"],
    }
    curves = curves_of(evidence, networks)
    return Chapter(
        title="Memorisation",
        findings=[text.block("finding", **facts)],
        figures=[
            text.figure(figures.save(draw_curves(curves, widths), evidence.folder, "curves"), **facts),
            text.figure(figures.save(draw_accuracy(networks, widths), evidence.folder, "accuracy"), **facts),
        ],
    )


def draw_curves(curves: pd.DataFrame, widths: list[str]) -> Drawing:
    """Return training and test accuracy by epoch, one column per width."""
    figure, grid = figures.grid(2, len(widths), sharey=True)
    for column, width in enumerate(widths):
        for row, part in enumerate(("train", "test")):
            panels.accuracy_curves(grid[row][column], curves[curves["width"] == width], part)
        grid[0][column].set(title=f"width {width}", xlabel="")
    figures.shared_legend(figure, grid[0][0])
    return figure


def draw_accuracy(networks: pd.DataFrame, widths: list[str]) -> Drawing:
    """Return final training and test accuracy against width."""
    figure, [[train, test]] = figures.grid(1, 2, width=4.2, height=3)
    for axes, part in ((train, "train"), (test, "test")):
        panels.points(axes, networks, f"final_{part}_accuracy", "width", widths)
        panels.chance(axes)
        name = "training accuracy" if part == "train" else "test accuracy"
        axes.set(ylim=(0, 1.03), ylabel=name, xlabel="units per layer")
    figures.shared_legend(figure, train)
    return figure
