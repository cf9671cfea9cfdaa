"""Early learning: wrong labels are answered with the true class before they are memorised, and losses that keep it so."""

import itertools

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.label_noise.networks import (
    CLEAN,
    ELR,
    ELR_STRONG,
    GCE,
    LINEAR,
    LINEAR_FEW,
    NOISY,
    answered,
    by_seed,
    difference,
    mean,
    stopped_and_last,
)
from memo.commands.evidence import Evidence
from memo.probes.training_answers import WATCHED
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import mean_share, share_from
from memo.storage.run_folders import Tables

ARMS = {
    NOISY: "cross-entropy",
    ELR: "early-learning regulariser",
    ELR_STRONG: "the same, larger weight",
    GCE: "generalised cross-entropy",
    LINEAR: "softmax regression",
    LINEAR_FEW: "softmax regression, few images",
}
MOST = 0.9  # share of its mislabelled images that a network has memorised in the end, at least
SHARES = {
    "true_class": Mark("answered with their true class", palette.BLUE, dashes=palette.SOLID),
    "given_label": Mark("answered with their wrong label", palette.VERMILION, dashes=palette.DASHED),
    "test_accuracy": Mark("test accuracy", palette.BLACK, dashes=palette.DOTTED),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network and evaluation what mislabelled images are answered with, and by network the same when stopped and at the end."""
    along = answered(evidence, ARMS)
    return {"answered": along.drop(columns="validation_accuracy"), "networks": stopped_and_last(along)}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer what is learned first, what is memorised at the end, and what two losses change about it."""
    networks = tables["networks"]
    answers.trained_on(networks[networks["arm"] == NOISY])
    for arm, name in ((NOISY, "first"), (LINEAR, "linear")):
        answers.give(f"{name}-true", mean(networks, arm, "stopped_true_class", estimate=mean_share))
        answers.give(f"{name}-memorised", mean(networks, arm, "stopped_given_label", estimate=mean_share))
    answers.give("late-memorised", mean(networks, NOISY, "last_given_label", estimate=share_from(MOST)))
    few = networks[networks["arm"] == LINEAR_FEW]
    memorises = difference(networks, (LINEAR_FEW, "last_given_label"), (LINEAR_FEW, "stopped_given_label"))
    answers.give("linear-late", memorises, int(few["images"].max()) if len(few) else None)
    for arm in (ELR, ELR_STRONG, GCE):
        last, stopped = (arm, "last_test_accuracy"), (arm, "stopped_test_accuracy")
        answers.give(f"kept-{arm}", difference(networks, last, stopped))
        answers.give(f"memorised-{arm}", mean(networks, arm, "last_given_label", estimate=mean_share))
        answers.give(f"better-{arm}", difference(networks, last, (NOISY, "last_test_accuracy")))
        answers.give("beyond-{arm}", difference(networks, last, (NOISY, "stopped_test_accuracy")), arm=arm)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw what mislabelled images are answered with along training, a panel for each loss or model."""
    networks, text = tables["networks"], Text("experiments.label_noise", "early")
    recipe, few = (evidence.asked_trials(arm)[0].recipe for arm in (NOISY, LINEAR_FEW))
    facts = {
        "first": answers["first-true"],
        "first_memorised": answers["first-memorised"],
        "last": mean(networks, NOISY, "last_given_label", estimate=mean_share)[0],
        "linear": answers["linear-true"],
        "linear_late": answers["linear-late"],
        "memorised": answers[f"memorised-{ELR}"],
        "kept": answers[f"kept-{ELR}"],
        "kept_strong": answers[f"kept-{ELR_STRONG}"],
        "strong": evidence.asked_trials(ELR_STRONG)[0].recipe.regularization.early_learning,
        "kept_gce": answers[f"kept-{GCE}"],
        "beyond": answers[f"beyond-{ELR}"],
        "beyond_gce": answers[f"beyond-{GCE}"],
        "clean": float(by_seed(networks, CLEAN, "final_test_accuracy").mean()),
        "recipe": recipe,
        "images": int(networks.loc[networks["arm"] == NOISY, "images"].max()),
        "few": few.dataset.n_train,
        "elr": evidence.asked_trials(ELR)[0].recipe.regularization,
        "seeds": evidence.asked(NOISY),
        "watched": WATCHED,
    }
    return Chapter(
        title="Early learning, and how to keep it",
        findings=[text.block("finding", **facts)],
        figures=[
            text.figure(figures.save(draw_shares(tables["answered"]), evidence.folder, "early"), **facts),
        ],
        methods=[text.block("methods", **facts)],
    )


def draw_shares(along: pd.DataFrame) -> Drawing:
    """Return the shares of mislabelled images by epoch, a panel for each arm: means over seeds, with bands over all of them."""
    figure, rows = figures.grid(2, 3, width=3.2, height=2.4, sharey=True)
    for axes, (arm, name) in zip(itertools.chain(*rows), ARMS.items()):
        own = along[along["arm"] == arm]
        for column, mark in SHARES.items():
            panels.mean_line(axes, own, column, label=mark.name, **mark.line)
        figures.epoch_axis(axes, own["epoch"].max())
        axes.set(ylim=(0, 1.02))
        axes.set_title(name)
    for row in rows:
        row[0].set_ylabel("share of images")
    figures.shared_legend(figure, rows[0][0])
    return figure
