"""'The ones it messes up': which, with what confidence, and whether other networks misclassify the same ones."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.digits.accuracy import answered
from experiments.digits.networks import MAIN, RECIPES, images_of, keyed, over_arm
from memo.commands.evidence import Evidence
from memo.probes.answers import read
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.storage.run_folders import Tables

SHOWN = 10


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the share of each network's errors that most of the other networks of its recipe make as well."""
    parts = [
        keyed(evidence, arm, errors_shared=shared_errors(~answered(evidence, arm)))
        for arm in RECIPES
        if len(evidence.of(arm))
    ]
    return {"networks": pd.concat(parts, ignore_index=True)} if parts else {}


def shared_errors(wrong: np.ndarray) -> np.ndarray:
    """Return for each network of wrong [T, M] (bool) the share of its errors that more than half of the others make.

    NaN for a network without errors, or alone.
    """
    total, found = wrong.sum(0), np.full(len(wrong), np.nan)
    for place, own in enumerate(wrong):
        if len(wrong) > 1 and own.any():
            found[place] = np.mean((total - own)[own] > (len(wrong) - 1) / 2)
    return found


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether networks make the same errors."""
    networks = tables["networks"]
    for arm in RECIPES:
        shared = over_arm(networks, arm, "errors_shared", (0, 1))
        answers.give("slack-shared-{arm}", shared, images_of(networks, arm), arm=arm)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the images that most networks misclassify, and the most confidently misclassified of the rest."""
    text = Text("experiments.digits", "mistakes")
    facts: dict[str, object] = {"shared": {arm: answers[f"slack-shared-{arm}"] for arm in RECIPES}, "main": MAIN}
    drawn = []
    if len(evidence.of(MAIN)):
        wrong = ~answered(evidence, MAIN)
        facts |= {
            "everyone": int(wrong.all(0).sum()),
            "anyone": int(wrong.any(0).sum()),
            "images": wrong.shape[1],
            "networks": len(wrong),
            "each": wrong.sum(1).mean(),
        }
        drawn.append(
            text.figure(figures.save(draw_gallery(evidence), evidence.folder, "mistakes", dense=True), **facts)
        )
    return Chapter(
        title="Misclassified images",
        findings=[text.block("finding", **facts)],
        figures=drawn,
        methods=[text.block("methods")],
    )


def draw_gallery(evidence: Evidence) -> Drawing:
    """Return the images misclassified by most networks, and of the rest those with the highest wrong confidence."""
    images, true = evidence.test_images(MAIN)
    called, sure = read(*evidence.answers(MAIN))
    wrong = called != true
    often, confidently = wrong.mean(0), np.where(wrong, sure, 0).mean(0)
    most_often = np.argsort(-(often + 1e-6 * confidently), kind="stable")[:SHOWN].tolist()
    surest = [image for image in np.argsort(-confidently, kind="stable").tolist() if image not in most_often][:SHOWN]

    def below(image: int) -> str:
        mistakes = called[wrong[:, image], image]
        name = np.bincount(mistakes, minlength=10).argmax() if len(mistakes) else "–"
        return f"a {true[image]}, called {name}\n{100 * often[image]:.0f} % wrong"

    chosen = {"wrong most often": most_often, "then the most\nsurely wrong": surest}
    rows = {name: [(images[image], below(image)) for image in row] for name, row in chosen.items()}
    return panels.pictures(rows, height=1.25, fontsize=6.5)
