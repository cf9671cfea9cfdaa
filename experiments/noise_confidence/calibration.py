"""Calibration of confidence on test images, and the effect of temperature scaling (Guo et al. 2017)."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.noise_confidence.networks import BY_WIDTH, GAP, KEYS, MARKS, SHARE, names_in, over_networks, read
from memo.commands.evidence import Evidence
from memo.measures.calibration import pooled
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import number
from memo.statistics import over_seeds
from memo.statistics.intervals import mean_interval
from memo.storage.run_folders import Tables

GIMPEL = "Hendrycks and Gimpel's"
SCALARS = ["overconfidence", "ece", "ece_before", "ece_after", "error_auroc", "error_aupr"]
SCALARS += ["mean_confidence_right", "mean_confidence_wrong"]
WHEN = {
    "before": Mark("as it is", palette.BLUE, "o"),
    "after": Mark("at the fitted temperature", palette.ORANGE, "^", palette.DASHED),
}
SHOWN = {
    "overconfidence": ("mean confidence − accuracy", 0),
    "ece": ("expected calibration error", 0),
    "inverse_temperature": ("1 / fitted temperature", 1),
    "error_auroc": ("errors told by confidence, AUROC", 0.5),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return each network's calibration on test images, and how well its confidence detects its errors."""
    stored = evidence.of_all("calibration")
    with np.errstate(divide="ignore"):
        inverse = 1 / stored["temperature"]
    return {"networks": stored[[*KEYS, *SCALARS]].assign(inverse_temperature=inverse)}


def cut(networks: pd.DataFrame) -> pd.Series:
    """Return the share of the calibration error that the temperature removes."""
    return 1 - networks["ece_after"] / networks["ece_before"]


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how over-confident networks are, and how much temperature scaling reduces it."""
    gimpel, networks = read(tables, "hendrycks"), read(tables, *BY_WIDTH)
    networks["cut"], seeds = cut(networks), networks["seed"].nunique()
    networks["ece_fitted"] = networks["ece"].where(networks["fitted"])
    answers.trained_on(gimpel)
    answers.give("guo-over-hendrycks", over_networks(gimpel, gimpel["overconfidence"], mean_interval))
    answers.give("guo-cut-hendrycks", over_networks(gimpel, cut(gimpel), mean_interval))
    answers.trained_on(networks)
    answers.conditions(width=names_in(networks))
    asked = (
        ("guo-over", "overconfidence", "true", GAP),
        ("guo-cut", "cut", "true", (-math.inf, 1)),
        ("errors", "error_auroc", "true", SHARE),
        ("memorised-calibration", "ece_fitted", "shuffled", SHARE),
    )
    for name, column, labels, bounds in asked:
        for width in names_in(networks):
            found = over_seeds.mean(networks, column, labels, width, seeds, bounds)
            answers.give(f"{name}-{{width}}", found, width=width)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw reliability diagrams, and calibration by width."""
    networks, text = read(tables, *BY_WIDTH), Text("experiments.noise_confidence", "calibration")
    widths, seeds = names_in(networks), networks["seed"].nunique()
    networks["right"] = networks["final_test_accuracy"].where(networks["fitted"])
    facts = {
        "largest": widths[-1],
        "over": {width: answers[f"guo-over-{width}"] for width in widths},
        "cut": {width: answers[f"guo-cut-{width}"] for width in widths},
        "memorised": answers[f"memorised-calibration-{widths[-1]}"],
        "chance": over_seeds.mean(networks, "right", "shuffled", widths[-1], seeds, SHARE)[0],
        "seeds": seeds,
        "fewest": panels.FEWEST,
    }
    drawn = {
        "reliability": draw_reliability(evidence, networks[networks["width"] == widths[-1]]),
        "calibration": draw_by_width(networks, widths),
    }
    return Chapter(
        title="Calibration",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(each, evidence.folder, name), **facts) for name, each in drawn.items()],
        methods=[text.block("methods")],
    )


def draw_reliability(evidence: Evidence, networks: pd.DataFrame) -> Drawing:
    """Return accuracy by confidence before and after one temperature, by labels, and of Hendrycks and Gimpel's network."""
    stored = evidence.of_all("calibration")
    shown = {mark.name: networks[networks["labels"] == labels]["trial"] for labels, mark in MARKS.items()}
    shown[GIMPEL] = stored[stored["arm"] == "hendrycks"]["trial"]
    figure, [places] = figures.grid(1, len(shown), width=2.7, height=2.9, sharey=True)
    for axes, (name, trials) in zip(places, shown.items()):
        rows = stored[stored["trial"].isin(trials)].drop_duplicates("trial")
        for when, mark in WHEN.items() if len(rows) else ():
            bins = [np.nan_to_num(np.stack(rows[f"bin_{part}_{when}"])) for part in ("count", "confidence", "accuracy")]
            panels.reliability(axes, pooled(*bins), mark)
        before, after = (rows[f"ece_{when}"].mean() for when in WHEN)
        axes.text(0.04, 0.97, f"ECE {number(before)} → {number(after)}", va="top", fontsize=8.5)
        axes.set(title=name, xlabel="confidence")
    places[0].set_ylabel("accuracy")
    figures.shared_legend(figure, places[0])
    return figure


def draw_by_width(networks: pd.DataFrame, widths: list[str]) -> Drawing:
    """Return over-confidence, calibration error, temperature and detection of errors by width and labels."""
    figure, [places] = figures.grid(1, len(SHOWN), width=2.8, height=2.8)
    finite = networks.replace(np.inf, np.nan)
    for axes, (column, (title, neutral)) in zip(places, SHOWN.items()):
        panels.points(axes, finite, column, "width", widths, MARKS)
        axes.axhline(neutral, **palette.REFERENCE)
        axes.set_title(title, fontsize=9.5)
        axes.set_xlabel("width")
    figures.shared_legend(figure, places[0])
    return figure
