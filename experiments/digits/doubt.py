"""'No incentive to be anything but utterly confident', and the effect of an incentive in the cost."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.digits.accuracy import answered
from experiments.digits.networks import RECIPES, between, by_seed, images_of, keyed, over_arm
from experiments.digits.noise import NOISE
from memo.commands.evidence import Evidence
from memo.measures import calibration
from memo.probes.answers import read
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import number
from memo.storage.run_folders import Tables

ARMS = RECIPES | {"incentive": "with noise labelled evenly"}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network its mean confidence on test images, and its calibration error."""
    parts = []
    for arm in ARMS:
        if len(evidence.of(arm)):
            sure, correct = read(*evidence.answers(arm))[1], answered(evidence, arm)
            errors = [calibration.expected_calibration_error(*each) for each in zip(sure, correct)]
            parts.append(keyed(evidence, arm, confidence_test=sure.mean(1), calibration_error=errors))
    return {"networks": pd.concat(parts, ignore_index=True)} if parts else {}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how confident networks are on test images, and the effect of an incentive to doubt."""
    networks = tables["networks"]
    for arm in RECIPES:
        answers.give(
            "utterly-confident-{arm}",
            over_arm(networks, arm, "confidence_test", (0, 1)),
            images_of(networks, arm),
            arm=arm,
        )
        excess = by_seed(networks, arm, "confidence_test") - by_seed(networks, arm, "final_test_accuracy")
        answers.give(
            "over-confident-{arm}", over_arm(networks, arm, excess, (-1, 1)), images_of(networks, arm), arm=arm
        )
    for kind in NOISE:
        change = between(networks, "incentive", "chosen", f"confidence_{kind}")
        answers.give("incentive-{inputs}", change, inputs=kind)
    answers.give("incentive-cost", between(networks, "incentive", "chosen", "final_test_accuracy"))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw accuracy against confidence, by recipe."""
    networks, text = tables["networks"], Text("experiments.digits", "doubt")
    facts = {
        "excess": {words: answers[f"over-confident-{arm}"] for arm, words in RECIPES.items()},
        "uniform": answers["incentive-uniform"],
        "gaussian": answers["incentive-gaussian"],
        "cost": answers["incentive-cost"],
        "counts": [len(evidence.of(arm)) for arm in ARMS],
    }
    drawn = figures.save(draw_reliability(evidence, networks), evidence.folder, "doubt")
    return Chapter(
        title="An incentive to doubt",
        findings=[text.block("confident", **facts), text.block("incentive", **facts)],
        figures=[text.figure(drawn, **facts)],
        methods=[text.block("methods")],
    )


def draw_reliability(evidence: Evidence, networks: pd.DataFrame) -> Drawing:
    """Return reliability diagrams, all networks of an arm together."""
    figure, [places] = figures.grid(1, len(ARMS), width=2.6, height=2.7)
    for axes, (arm, words) in zip(places, ARMS.items()):
        if len(evidence.of(arm)):
            sure, correct = read(*evidence.answers(arm))[1], answered(evidence, arm)
            bins = calibration.reliability(sure.ravel(), correct.ravel())
            panels.reliability(axes, bins, Mark(words, palette.BLUE), shares=True)
        error = by_seed(networks, arm, "calibration_error").mean()
        axes.set(title=f"{words}\nECE {number(error)}")
    places[0].set_ylabel("accuracy; share of images (grey)")
    return figure
