"""The tangent kernel at the start: how labels lie in it, and whether linearised training takes as long as training."""

import sys
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.inside.networks import (
    BY_LABELS,
    DIVERGED_OR_SLOW,
    GAUSSIAN,
    HALF,
    LABELS,
    LEARNED,
    MEMORISED,
    by_count,
    counts,
    of_arms,
    one,
    to_fit,
    trials_of,
)
from memo.commands.evidence import Evidence
from memo.config import Trial
from memo.data.datasets import Dataset
from memo.measures import tangent_kernel
from memo.networks import initial
from memo.networks.program import evaluation_steps
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import geometric_mean, paired_ratio
from memo.statistics.over_seeds import Answer, over_pairs, over_seeds, times_longer
from memo.statistics.trends import log_slope
from memo.storage.run_folders import Tables
from memo.training.population import signature
from memo.training.shown import shown

ARMS = {
    LEARNED: palette.LABELS["true"],
    HALF: Mark("half of the labels random", palette.ORANGE, "D", palette.DASH_DOTTED),
    MEMORISED: palette.LABELS["random"],
    GAUSSIAN: Mark("Gaussian images, true labels", palette.PURPLE, "s", palette.DASHED),
}
LOOKS = 96  # evaluations of the linearised network, as those of training


class Case(NamedTuple):
    """The trials of one seed that share their images, by arm, and so their kernel."""

    images: int
    seed: int
    trials: dict[str, Trial]


def cases(evidence: Evidence) -> Iterator[Case]:
    """Yield the groups of trials whose kernels are computed, those of natural images before those of Gaussian ones."""
    natural = (LEARNED, MEMORISED, HALF)
    for images in sorted(evidence.settings["kernel"]["images"]):
        for group in (natural, (GAUSSIAN,)):
            by_arm = {arm: trials_of(evidence, arm, images) for arm in group}
            for seed in sorted(set().union(*by_arm.values())):
                yield Case(images, seed, {arm: own[seed] for arm, own in by_arm.items() if seed in own})


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return each network's epochs to 99 %, and beside some the same of the linearised network and its labels' energies."""
    rows = [
        {
            "trial": keys["trial"],
            "arm": keys["arm"],
            "seed": keys["seed"],
            "t99": to_fit(*curve[["epoch", "train_accuracy"]].to_numpy().T),
        }
        for keys, curve in evidence.curves()
        if keys["arm"] in ARMS
    ]
    times = pd.DataFrame(rows)
    epochs, code = int(evidence.settings["kernel"]["epochs"]), (sys.modules[__name__], tangent_kernel)
    found = [
        evidence.once(
            f"kernel-{case.images}-{case.seed}",
            code,
            [epochs, {arm: trial.id for arm, trial in case.trials.items()}],
            partial(of_case, case, evidence.dataset, epochs),
        )
        for case in cases(evidence)
    ]
    columns = ["trial", "linear_t99", "linear_given", "inverse_energy", "top_energy"]
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)
    return {"networks": times.merge(table, on="trial", how="left")}


def of_case(case: Case, dataset: Dataset, epochs: int) -> pd.DataFrame:
    """Return one row for each trial of a case: its labels' energies in the kernel, and epochs to 99 % of the linearised network."""
    trials = list(case.trials.values())
    static = signature(trials[0]).static
    steps = int(epochs * static.steps_per_epoch)
    seen = [shown(trial, dataset, steps) for trial in trials]
    layers = one(initial.by_seed(static, [case.seed]), 0)
    matrix, outputs = tangent_kernel.kernel(static, layers, seen[0].pixels)
    rates = trials[0].recipe.optimizer.learning_rate, trials[0].recipe.optimizer.momentum
    looks = evaluation_steps(static.steps_per_epoch, steps, LOOKS, "log")
    labels = np.stack([each.labels for each in seen])
    fit = tangent_kernel.train(static, matrix, outputs, labels, seen[0].minibatches, *rates, looks)
    found = {
        "trial": [trial.id for trial in trials],
        "linear_t99": [to_fit(looks / float(static.steps_per_epoch), own) for own in fit.accuracy.T],
        "linear_given": float(epochs),
    }
    return pd.DataFrame(found | (_energies(matrix, labels, static.sizes[-1]) if LEARNED in case.trials else {}))


def _energies(matrix: np.ndarray, labels: np.ndarray, classes: int) -> dict[str, list[float]]:
    """Return y' K^-1 y and the share of energy along the leading eigenvectors, of labels [k, n]."""
    found = tangent_kernel.spectrum(matrix)
    targets = [tangent_kernel.centred(own, classes) for own in labels]
    return {
        "inverse_energy": [tangent_kernel.inverse_energy(found, own) for own in targets],
        "top_energy": [tangent_kernel.energy_in_top(found, own) for own in targets],
    }


def with_kernel(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the networks whose kernel was computed."""
    return networks[networks["linear_given"].notna()]


def explained(networks: pd.DataFrame, arm: str, images: int) -> Answer:
    """Return the slow-down of an arm beside true labels in linearised training, over the measured one.

    Where linearised training of an arm has not fitted its labels in the epochs that it was given, a lower bound.
    """
    pair = {
        name: networks[(networks["arm"] == name) & (networks["images"] == images)].set_index("seed")
        for name in (arm, LEARNED)
    }
    measured = pair[arm]["t99"] / pair[LEARNED]["t99"]
    known = measured.dropna().index
    slow, fast = (pair[name]["linear_t99"].reindex(known) for name in (arm, LEARNED))
    given = pair[arm]["linear_given"].reindex(known)
    answer = times_longer(slow, fast * measured[known], given, "linearised", "linearised curve on true labels")
    return answer if len(known) else (None, DIVERGED_OR_SLOW)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how labels lie in the kernel, and how the slow-down of linearised training compares with the measured one."""
    networks = with_kernel(of_arms(tables, *ARMS))
    sizes = counts(networks)
    answers.conditions(n=sizes)
    for n in sizes:
        table = {
            name: networks[(networks["arm"] == arm) & (networks["images"] == n)].set_index("seed")
            for name, arm in BY_LABELS.items()
        }
        inverse = over_pairs(table["random"]["inverse_energy"], table["true"]["inverse_energy"], estimate=paired_ratio)
        answers.give("inverse-{n}", inverse, n, n=n)
        answers.give("energy-{n}", over_pairs(table["true"]["top_energy"], table["random"]["top_energy"]), n, n=n)
        answers.give("explains-random-{n}", explained(networks, MEMORISED, n), n, n=n)
    for arm in (HALF, GAUSSIAN):
        images = sorted(int(n) for n in networks.loc[networks["arm"] == arm, "images"].unique())
        found = explained(networks, arm, images[-1]) if images and images[-1] in sizes else (None, DIVERGED_OR_SLOW)
        answers.give("explains-{data}", found, images[-1] if images else None, data=arm)
    # Of the same numbers of images: kernels of the largest are not measured.
    linear, measured = (
        log_slope(slowdowns(networks, column).reindex(columns=sizes)) for column in ("linear_t99", "t99")
    )
    answers.give("explains-growth", over_pairs(linear, measured, DIVERGED_OR_SLOW), max(sizes, default=None))


def slowdowns(networks: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the ratio of times, random / true labels, as one row per seed and one column per number of images."""
    slow, fast = (by_count(networks, arm, column) for arm in (MEMORISED, LEARNED))
    one, other = slow.align(fast, join="inner")
    return one / other


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the labels' energies in the kernel, and times of training beside those of linearised training."""
    text, networks = Text("experiments.inside", "kernel"), with_kernel(of_arms(tables, *ARMS))
    sizes = counts(networks)
    if not sizes:
        return Chapter(title="The tangent kernel")
    most = sizes[-1]
    ratios = {column: slowdowns(networks, column) for column in ("linear_t99", "t99")}
    facts = {
        "most": most,
        "sizes": [f"{n:,}" for n in sizes],
        "seeds": networks["seed"].nunique(),
        "inverse": answers[f"inverse-{most}"],
        "energy": answers[f"energy-{most}"],
        "explains": {"random": answers[f"explains-random-{most}"]}
        | {arm: answers[f"explains-{arm}"] for arm in (HALF, GAUSSIAN)},
        "slowdowns": {name: over_seeds(own[most], estimate=geometric_mean)[0] for name, own in ratios.items()},
        "growth": answers["explains-growth"],
        "epochs": int(networks["linear_given"].iloc[0]),
        "bounded": int(networks["linear_t99"].isna().sum()),
    }
    drawn = {"kernel": draw_energies(networks, sizes), "times": draw_times(networks, ratios, sizes)}
    files = [figures.save(each, evidence.folder, name) for name, each in drawn.items()]
    return Chapter(
        title="The tangent kernel",
        findings=[text.block("finding", **facts), text.block("finding_times", **facts)],
        figures=[text.figure(file, **facts) for file in files],
        methods=[text.block("methods", **facts)],
    )


def draw_energies(networks: pd.DataFrame, sizes: list[int]) -> Drawing:
    """Return y' H^-1 y and the share of energy in the leading eigenvectors, by number of images and labels."""
    figure, [[inverse, share]] = figures.grid(1, 2, width=3.6, height=3)
    for kind, arm in BY_LABELS.items():
        panels.means(
            inverse,
            by_count(networks, arm, "inverse_energy"),
            LABELS[kind],
            joined=True,
            seeds=True,
            estimate=geometric_mean,
        )
        panels.means(share, by_count(networks, arm, "top_energy"), LABELS[kind], joined=True, seeds=True)
    figures.log_axis(inverse)
    share.axhline(0.1, **palette.REFERENCE)
    inverse.set_ylabel("y′ H⁻¹ y")
    share.set(ylabel="share of label energy in\nthe first tenth", ylim=(0, 1))
    for axes in (inverse, share):
        figures.count_axis(axes, sizes)
        axes.set_xlabel("training images, n")
    figures.shared_legend(figure, inverse)
    return figure


def draw_times(networks: pd.DataFrame, ratios: dict[str, pd.DataFrame], sizes: list[int]) -> Drawing:
    """Return epochs to 99 % of each network against those of its linearisation, and the slow-down by number of images."""
    figure, [[times, growth]] = figures.grid(1, 2, width=3.8, height=3.2)
    for arm, mark in ARMS.items():
        own = networks[networks["arm"] == arm].dropna(subset=["t99", "linear_t99"])
        times.plot(own["linear_t99"], own["t99"], markersize=5, alpha=0.7, label=mark.name, **mark.points)
    known = networks[["t99", "linear_t99"]].to_numpy(float)
    if np.isfinite(known).all(axis=1).any():
        ends = [np.nanmin(known) / 1.2, np.nanmax(known) * 1.2]
        times.plot(ends, ends, **palette.REFERENCE)
    for axis in ("x", "y"):
        figures.log_axis(times, axis)
    times.set(xlabel="epochs to 99 %, linearised training", ylabel="epochs to 99 %, training")
    figures.legend(times)
    marks = {
        "t99": Mark("measured", palette.BLACK, "o"),
        "linear_t99": Mark("linearised", palette.SKY, "s", palette.DASHED),
    }
    for column, mark in marks.items():
        panels.means(growth, ratios[column].dropna(axis=1, how="all"), mark, joined=True, estimate=geometric_mean)
    figures.log_axis(growth)
    figures.count_axis(growth, sizes)
    growth.set(xlabel="training images, n", ylabel="epochs to 99 %,\nrandom / true labels")
    figures.legend(growth)
    return figure
