"""Memorising: which networks fit shuffled labels, and how well they then classify test images."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.headline.networks import LINEAR, STRATIFIED, curves_of, memorised, read, settings, widths_of
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import Estimate, mean_interval, share
from memo.statistics.over_seeds import LOST, Answer, over_seeds, twins, where
from memo.storage.run_folders import Tables

WIDE = 64  # units in the narrowest layer from which a network is expected to memorise
FITTED = 0.993  # of the labels: the least of the paper's two MLPs, as third parties note it
UNFITTED: Answer = (None, "not every network fitted its shuffled labels")
SOFTMAX = "softmax"  # softmax regression, where the widths of networks stand
LINEAR_MARK = Mark("softmax regression, shuffled labels", palette.GREY, "X", palette.DASH_DOTTED)
STRATIFIED_MARK = Mark("shuffled, every label equally often in every class", palette.ORANGE, "D")


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the width and the learning rate of every network; accuracies are among what every experiment knows."""
    return {"networks": settings(evidence)}


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
    stratified = read(tables, STRATIFIED)
    answers.conditions(width=widths_of(stratified))  # fewer, at reference
    for width in widths_of(stratified):
        own = stratified[stratified["width"] == width]
        fitted = width in memorised(stratified)
        at_chance = over_seeds(own["final_test_accuracy"]) if fitted else UNFITTED
        answers.give("chance-stratified-{width}", at_chance, width=width)
    answers.conditions(width=widths)
    linear = read(tables, LINEAR)
    fits = linear[linear["labels"] == "shuffled"]["final_train_accuracy"]
    answers.give("linear-baseline", over_seeds(fits, LOST))
    narrow = networks[~wide & (networks["labels"] == "shuffled")]["final_train_accuracy"]
    answers.give("memorises-narrow", over_seeds(narrow, LOST))


def _fitting(networks: pd.DataFrame) -> Answer:
    """Return the share of networks that fit their labels; a diverged one does not."""
    if networks.empty:
        return None, f"no network has {WIDE} units per layer and more"
    return share(networks["final_train_accuracy"] >= FITTED), ""


def _across(networks: pd.DataFrame, whole: list[str]) -> Answer:
    """Return the test accuracy over all widths that memorised; a seed's networks share labels, so they are averaged first."""
    if not whole:
        return None, "at no width did all networks fit their shuffled labels"
    own = networks[networks["width"].isin(whole) & (networks["labels"] == "shuffled")]
    by_seed = own.groupby("seed")["final_test_accuracy"].mean()
    return mean_interval(by_seed, bounds=(0, 1)), f"widths {', '.join(whole)}, averaged within each seed"


def at_chance(accuracy: Estimate | None, classes: int) -> bool:
    """Return whether a test accuracy is known to lie within a tenth of what guessing gives."""
    return accuracy is not None and accuracy.low * classes > 0.9 and accuracy.high * classes < 1.1


def slower_to_memorise(answers: Answers, width: str) -> bool:
    """Return whether the networks of a width are known to take longer to 99 % of shuffled labels than of true ones."""
    factor = answers[f"faster-t99-{width}"]
    return factor is not None and factor.low > 1


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw learning curves, and final accuracies by width."""
    networks, text = read(tables), Text("experiments.headline", "memorising")
    widths, whole = widths_of(networks), memorised(networks)
    shuffled = networks[networks["labels"] == "shuffled"]
    facts = {
        "images": int(networks["images"].max()),
        "seeds": networks["seed"].nunique(),
        "epochs": int(evidence.tables.trials["epochs"].max()),
        "widths": widths,
        "memorised": whole,
        "reached": shuffled.groupby("width")["final_train_accuracy"].mean().to_dict(),
        "chance": answers["chance-memorised"],
        "at_chance": at_chance(answers["chance-memorised"], evidence.classes),
        "faster": slower_to_memorise(answers, widths[-1]),
        "linear": answers["linear-baseline"],
    }
    curves, linear = curves_of(evidence, networks), read(tables, LINEAR)
    by_width = draw_accuracy(networks, linear, read(tables, STRATIFIED), evidence.classes)
    return Chapter(
        title="Memorisation",
        findings=[text.block("finding", **facts)],
        figures=[
            text.figure(
                figures.save(
                    draw_curves(curves, curves_of(evidence, linear), widths, evidence.classes),
                    evidence.folder,
                    "curves",
                ),
                **facts,
            ),
            text.figure(figures.save(by_width, evidence.folder, "accuracy"), **facts),
        ],
    )


def draw_curves(curves: pd.DataFrame, linear: pd.DataFrame, widths: list[str], classes: int) -> Drawing:
    """Return training and test accuracy by epoch, one column per width, softmax regression on shuffled labels in each."""
    baseline = where(linear, labels="shuffled")
    figure, grid = figures.grid(2, len(widths), sharey=True)
    for column, width in enumerate(widths):
        for row, part in enumerate(("train", "test")):
            draw_baseline(grid[row][column], baseline, part)
            panels.accuracy_curves(grid[row][column], curves[curves["width"] == width], part, classes=classes)
        grid[0][column].set(title=f"width {width}", xlabel="")
    figures.shared_legend(figure, grid[0][0])
    return figure


def draw_baseline(axes: Axes, curves: pd.DataFrame, part: str) -> None:
    """Draw the accuracy of softmax regression by epoch; `part` is train or test."""
    panels.mean_line(axes, curves, f"{part}_accuracy", label=LINEAR_MARK.name, **LINEAR_MARK.line)


def draw_accuracy(networks: pd.DataFrame, linear: pd.DataFrame, stratified: pd.DataFrame, classes: int) -> Drawing:
    """Return final training and test accuracy of softmax regression, and of networks against width."""
    every = pd.concat([linear.assign(width=SOFTMAX), networks, stratified.assign(labels=STRATIFIED)])
    marks = palette.label_marks() | {STRATIFIED: STRATIFIED_MARK}
    figure, [[train, test]] = figures.grid(1, 2, width=4.2, height=3)
    for axes, part in ((train, "train"), (test, "test")):
        panels.points(axes, every, f"final_{part}_accuracy", "width", [SOFTMAX, *widths_of(networks)], marks)
        panels.chance(axes, classes)
        name = "training accuracy" if part == "train" else "test accuracy"
        axes.set(ylim=(0, 1.03), ylabel=name, xlabel="units per layer")
    figures.shared_legend(figure, train)
    return figure
