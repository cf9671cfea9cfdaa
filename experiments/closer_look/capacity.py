"""A5: time to fit all training labels, and capacity needed, by noise (figures 5 and 6)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.closer_look.networks import (
    KINDS,
    images_of,
    level_marks,
    linear_fit,
    names,
    of_arms,
    treated,
    with_levels,
)
from experiments.closer_look.noise import LINEAR
from memo.commands.evidence import Evidence
from memo.data.mnist import MNIST
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text, percent
from memo.statistics.intervals import mean_share
from memo.statistics.over_seeds import LOST, noted, over_pairs, over_seeds
from memo.statistics.trends import by_level, log_slope
from memo.storage.run_folders import Tables

WIDTHS, COUNTS = ("widths", "widths_labels"), "counts"
CHOSEN = "best_by_validation_test_accuracy"
SHORT = "a network that never fits everything, or diverged"
NEEDED = (64, 4096)  # widths between which the gain is claimed
UPPER = 2000  # images from which times rise with noise, as seen in the first run
DENSE = {500, 32_000}  # numbers of images that the claims of all of them have
NEAR = 0.005  # of the best mean accuracy: where a width counts as near the best


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return outcomes of training by width and number of images, with the passes over the data to fit 99 % and all labels."""
    networks = treated(evidence, (*WIDTHS, COUNTS))
    return {"networks": networks.assign(passes=networks["t100"], passes_99=networks["t99"])}


def by_count(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the networks of one width with noise on inputs for every number of images, including those of the arm of widths."""
    width = of_arms(networks, [COUNTS])["width"].min()
    return with_levels(networks[networks["width"] == width], "inputs", (*WIDTHS, COUNTS))


def whole_widths(inputs: pd.DataFrame) -> list[int]:
    """Return the widths at which every network of every level fits all labels, which narrow ones may never do."""
    fits = inputs["passes"].notna().groupby(inputs["width"]).all()
    return [int(width) for width in fits.index[fits]]


def slopes(frame: pd.DataFrame, axis: str, column: str = "passes") -> dict[float, pd.Series]:
    """Return by level and seed the slope of log(passes to 100 %) against log(axis); NaN unless every network has a time."""
    return {level: log_slope(by_level(own, column, axis)) for level, own in frame.groupby("level")}


def gain(networks: pd.DataFrame, noise: str) -> dict[float, pd.Series]:
    """Return by level and seed the gain in test accuracy between the widths NEEDED, at the epoch best on validation images.

    Empty where a run lacks one of them, or did not test on all images.
    """
    own = with_levels(networks, noise, WIDTHS)
    own = own[own["width"].isin(NEEDED)]
    if set(own["width"]) != set(NEEDED) or own["tested"].min() < MNIST.test_images:
        return {}
    accuracy = {level: by_level(part, CHOSEN, "width") for level, part in own.groupby("level")}
    return {level: each[NEEDED[1]] - each[NEEDED[0]] for level, each in accuracy.items() if set(NEEDED) <= set(each)}


def needed(accuracy: pd.DataFrame) -> float:
    """Return the smallest width whose mean accuracy [seeds, widths] is within half a point of the best mean; NaN for none."""
    means = accuracy.mean().dropna()
    near = means[means >= means.max() - NEAR] if len(means) else means
    return float(near.index.min()) if len(near) else np.nan


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how the time to fit all labels scales with data and with width, and how noise changes the exponents."""
    counts = by_count(tables["networks"])
    inputs = with_levels(tables["networks"], "inputs", WIDTHS)
    answers.conditions(level=names(sorted(inputs["level"].unique())))
    _give(answers, ("A5-slows-{level}", "A5-steeper-{level}"), slopes(counts, "images"), images_of(counts), "")
    upper = slopes(counts[counts["images"] >= UPPER], "images")
    for level in counts["level"].unique():
        found = (
            over_seeds(upper[level], SHORT) if level in upper else (None, f"no networks on {UPPER:,} images or more")
        )
        answers.give("A5-slows-upper-{level}", found, images_of(counts), level=f"{100 * level:g}")
    if set(counts["images"]) >= DENSE:
        for level, slope in slopes(counts, "images", "passes_99").items():
            answers.give(
                "A5-slows-dense-{level}", over_seeds(slope, SHORT), images_of(counts), level=f"{100 * level:g}"
            )
    for noise in KINDS:
        gains = gain(tables["networks"], noise)
        for level in sorted(set(gains) - {0.0} if 0.0 in gains else ()):
            more = over_pairs(gains[level], gains[0.0], LOST)
            answers.give("A5-needs-{noise}-{level}", more, images_of(inputs), noise=noise, level=f"{100 * level:g}")
    whole = whole_widths(inputs)
    note = f"widths {', '.join(map(str, whole)) or 'none'}: those at which all seeds fit every label"
    found = slopes(inputs[inputs["width"].isin(whole)], "width") if len(whole) > 1 else {}
    nothing = pd.Series(dtype=float)
    by_width = {level: found.get(level, nothing) for level in inputs["level"].unique()}
    _give(answers, ("A5-width-{level}", "A5-saturates-{level}"), by_width, images_of(inputs), note)


def _give(
    answers: Answers, ids: tuple[str, str], found: Mapping[float, pd.Series], images: int | None, note: str
) -> None:
    """Answer the slope of each level, and the difference between slopes with and without noise."""
    for level, slope in found.items():
        estimate, missing = over_seeds(slope, SHORT)
        said = noted(note, missing)
        answers.give(ids[0], (estimate, said), images, level=f"{100 * level:g}")
        if level:
            answers.give(ids[1], over_pairs(slope, found[0.0], SHORT), images, level=f"{100 * level:g}")


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw times to fit all labels by width and by number of images, and the best test accuracy by width."""
    networks, text = tables["networks"], Text("experiments.closer_look", "capacity")
    counts, inputs = by_count(networks), with_levels(networks, "inputs", WIDTHS)
    accuracy = {noise: with_levels(networks, noise, WIDTHS) for noise in KINDS}
    levels = names(sorted(inputs["level"].unique()))
    facts = {
        "slows": {level: answers[f"A5-slows-{level}"] for level in levels},
        "upper": {level: answers[f"A5-slows-upper-{level}"] for level in levels},
        "from": UPPER,
        "narrow": {level: answers[f"A5-width-{level}"] for level in levels},
        "width": int(counts["width"].max()),
        "counts": sorted(int(count) for count in counts["images"].unique()),
        "images": images_of(inputs),
        "seeds": inputs["seed"].nunique(),
        "unfitted": int(pd.concat([inputs, counts]).drop_duplicates("trial")["passes"].isna().sum()),
        "needed": {
            KINDS[noise].name: {
                percent(level): needed(by_level(part, CHOSEN, "width")) for level, part in own.groupby("level")
            }
            for noise, own in accuracy.items()
        },
        "near": NEAR,
        "linear": linear_fit(networks, LINEAR["inputs"]),
        "linear_fits": bool((of_arms(networks, [LINEAR["inputs"]])["final_train_accuracy"] == 1).any()),
        "linear_images": images_of(of_arms(networks, [LINEAR["inputs"]])),
    }
    return Chapter(
        title="Capacity and data",
        findings=[text.block("finding", **facts)],
        figures=[
            text.figure(figures.save(draw_times(inputs, counts), evidence.folder, "times"), **facts),
            text.figure(figures.save(draw_best(accuracy), evidence.folder, "capacity"), **facts),
        ],
        methods=[text.block("methods", **facts)],
    )


def draw_times(inputs: pd.DataFrame, counts: pd.DataFrame) -> Drawing:
    """Return passes to fit all labels against width and number of images, by share of noise inputs."""
    figure, [[units, images]] = figures.grid(1, 2, width=4.0, height=3.0)
    for axes, frame, axis in ((units, inputs, "width"), (images, counts, "images")):
        for level, mark in level_marks(frame["level"]).items():
            table = by_level(frame[frame["level"] == level], "passes", axis)
            # A mean over those that fit all labels would be biased: drawn only where all do.
            panels.means(axes, table.loc[:, table.notna().all()], mark, joined=True)
        figures.count_axis(axes, sorted(int(count) for count in frame[axis].unique()))
        figures.log_axis(axes)
    units.set(xlabel="units per layer", ylabel="passes over the data\nto fit all labels")
    images.set(xlabel="training images n")
    figures.legend(units, title="noise inputs", title_fontsize=8)
    return figure


def draw_best(accuracy: dict[str, pd.DataFrame]) -> Drawing:
    """Return the best test accuracy against width by share of noise, one panel per kind of noise."""
    figure, [row] = figures.grid(1, len(accuracy), width=4.0, height=3.0, sharey=True)
    for axes, (noise, own) in zip(row, accuracy.items()):
        for level, mark in level_marks(own["level"]).items():
            table = by_level(own[own["level"] == level], CHOSEN, "width")
            panels.means(axes, table, mark, joined=True, estimate=mean_share)
        figures.count_axis(axes, sorted(int(width) for width in own["width"].unique()))
        axes.set(xlabel="units per layer", title=KINDS[noise].name)
        figures.legend(axes, title="share replaced", title_fontsize=8)
    row[0].set_ylabel("test accuracy\nat the best epoch")
    return figure
