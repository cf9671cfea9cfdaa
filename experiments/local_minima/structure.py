"""True against shuffled labels at the same training loss: the time to reach it, the spread there, and the sharpness."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.local_minima.networks import KINDS, lost, of_arms, pairs, width_axis, widths_of
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics import over_networks
from memo.statistics.curve_shape import at_level, time_to
from memo.statistics.intervals import Estimate, paired_ratio
from memo.statistics.over_networks import jackknife
from memo.statistics.over_seeds import Answer, noted, over_seeds, times_longer
from memo.storage.run_folders import Tables

ARM = "twins"
# Training losses at which twins are compared, in nats; before training it is about 2.3.
LEVELS = (1, 0.2)
DEEP = LEVELS[-1]
NEVER = "a curve that never reaches the level"
PAIRS = "n counts pairs of networks"


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the state of each network when it first reaches a level of training loss.

    Columns: trial, seed, width, labels, `level`, `step`, `given` (the last step), `test_loss`, `top` (the largest Hessian
    eigenvalue, linear in the logarithms between its measurements). NaN if it never reaches the level.
    """
    tops = {trial: own.sort_values("step") for trial, own in evidence.tables["sharpness_along"].groupby("trial")}
    recipes = evidence.tables.trials.set_index("trial")
    rows = []
    for keys, curve in evidence.curves():
        if keys["arm"] == ARM:
            recipe = recipes.loc[keys["trial"]]
            facts = {"trial": keys["trial"], "seed": keys["seed"], "width": int(recipe["model.widths"][0])}
            rows += [facts | {"labels": recipe["labels.kind"]} | row for row in at_levels(curve, tops[keys["trial"]])]
    return {"at_matched_loss": pd.DataFrame(rows)}


def at_levels(curve: pd.DataFrame, top: pd.DataFrame) -> list[dict[str, float]]:
    """Return a row per level of training loss, from a learning curve and its measurements of the largest eigenvalue."""
    loss = curve["train_loss"].to_numpy()
    measured = pd.Series(loss, curve["step"].to_numpy()).reindex(top["step"]).to_numpy()
    return [
        {
            "level": level,
            "step": time_to(curve["step"], -loss, -level),
            "given": int(curve["step"].iloc[-1]),
            "test_loss": at_level(-loss, curve["test_loss"].to_numpy(), -level),
            "top": math.exp(at_level(-np.log(measured), np.log(top["top"].to_numpy()), -math.log(level))),
        }
        for level in LEVELS
    ]


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much longer shuffled labels take, and how much sharper and more spread their networks are."""
    frame, final = tables["at_matched_loss"], of_arms(tables, ARM)
    answers.conditions(width=widths_of(frame))
    answers.trained_on(final)
    for width in widths_of(frame):
        note = noted(PAIRS, lost(tables, ARM, width))
        at = {level: frame[frame["level"] == level] for level in LEVELS}
        for level in LEVELS:
            answers.give("longer-{level}-{width}", _noting(longer(at[level], width), note), level=level, width=width)
        values: dict[str, tuple[pd.DataFrame, Callable[..., Estimate]]] = {
            "sharper-0.2": (pairs(at[DEEP], width, "top"), paired_ratio),
            "test-spread": (pairs(at[DEEP], width, "test_loss"), spread_ratio),
            "time-spread": (pairs(at[DEEP], width, "step"), spread_ratio),
            "depth-spread": (pairs(final, width, "final_train_loss"), spread_ratio),
        }
        for claim, (both, estimate) in values.items():
            answers.give(f"{claim}-{{width}}", _noting(_ratio(both, estimate), note), width=width)


def longer(frame: pd.DataFrame, width: int) -> Answer:
    """Return how many times as many steps shuffled labels take, from the rows of one level."""
    steps = pairs(frame, width, "step")
    given = pairs(frame, width, "given")["shuffled"]
    return times_longer(steps["shuffled"], steps["true"], given, "shuffled", "curve on true labels")


def spread_ratio(shuffled: np.ndarray, true: np.ndarray) -> Estimate:
    """Return sd / mean of shuffled over that of true labels, with pairs left out one at a time."""
    return jackknife(_relative_spreads, [true, shuffled])


def _relative_spreads(true_and_shuffled: np.ndarray) -> np.ndarray:
    below, above = (over_networks.relative_sd(values) for values in true_and_shuffled)
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)[()]


def _ratio(values: pd.DataFrame, estimate: Callable[..., Estimate]) -> Answer:
    return over_seeds(values[["shuffled", "true"]], NEVER, estimate=estimate, unit="pairs")


def _noting(answer: Answer, note: str) -> Answer:
    estimate, own = answer
    return estimate, noted(own, note)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw steps, test loss and sharpness at one training loss, and ratios of spread."""
    frame, text = tables["at_matched_loss"], Text("experiments.local_minima", "structure")
    widths = widths_of(frame)
    deep = frame[frame["level"] == DEEP]
    reached = deep.groupby("labels")["step"].apply(lambda steps: int(steps.notna().sum())).to_dict()
    facts = {
        "first": widths[0],
        "last": widths[-1],
        "deep": DEEP,
        "longer": {width: answers[f"longer-{DEEP}-{width}"] for width in widths},
        "sharper": {width: answers[f"sharper-0.2-{width}"] for width in widths},
        "reached": reached,
        "asked": deep.groupby("labels").size().to_dict(),
        "images": int(of_arms(tables, ARM)["images"].max()),
        "levels": LEVELS,
    }
    file = figures.save(draw_structure(deep, widths, answers), evidence.folder, "structure")
    return Chapter(
        title="What structure changes",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_structure(deep: pd.DataFrame, widths: list[int], answers: Answers) -> Drawing:
    """Return three panels of networks at one training loss, and one of ratios of spread."""
    figure, [row] = figures.grid(1, 4, width=2.75, height=2.8)
    for axes, column, title, label in (
        (row[0], "step", f"steps to a loss of {DEEP:g}", "optimiser steps"),
        (row[1], "test_loss", "test loss there", "nats"),
        (row[2], "top", "sharpness there", "largest Hessian eigenvalue"),
    ):
        _networks(axes, deep, column)
        figures.log_axis(axes)
        width_axis(axes, widths)
        axes.set(title=title, ylabel=label)
    _spreads(row[3], widths, answers)
    figures.shared_legend(figure, row[0])
    return figure


def _networks(axes: Axes, deep: pd.DataFrame, column: str) -> None:
    for kind, shift in zip(KINDS, (0.93, 1.075)):
        own = deep[(deep["labels"] == kind) & deep[column].notna()]
        mark = palette.LABELS[kind]
        axes.plot(own["width"] * shift, own[column], alpha=0.6, markersize=3, label=mark.name, **mark.points)
    if not deep[column].notna().any():
        axes.text(0.5, 0.5, "never reached", transform=axes.transAxes, ha="center", color="0.4")
        axes.set_yticks([])


def _spreads(axes: Axes, widths: list[int], answers: Answers) -> None:
    for claim, mark, shift in (
        ("test-spread", Mark("test loss", palette.BLACK, "o"), 0.93),
        ("time-spread", Mark("steps", palette.GREEN, "s"), 1.0),
        ("depth-spread", Mark("final training loss", palette.PURPLE, "^"), 1.075),
    ):
        panels.intervals(axes, {width: answers[f"{claim}-{width}"] for width in widths}, mark, factor=shift)
    axes.axhline(1, **palette.REFERENCE)
    figures.log_axis(axes)
    width_axis(axes, widths)
    axes.set(title="relative spread", ylabel="sd / mean, shuffled / true")
    figures.legend(axes)
