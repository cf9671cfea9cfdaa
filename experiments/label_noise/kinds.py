"""Kinds of noise: whether it matters which wrong label an image is given."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.label_noise.networks import (
    CLEAN,
    PAIR,
    SIMILAR,
    SYMMETRIC,
    answered,
    by_seed,
    difference,
    mean,
    stopped_and_last,
)
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.curve_shape import rising, time_to
from memo.statistics.intervals import mean_share, paired_ratio
from memo.statistics.over_seeds import over_pairs
from memo.storage.run_folders import Tables

KINDS = {
    SYMMETRIC: Mark("any other class", palette.BLUE, "o", palette.SOLID),
    PAIR: Mark("the next class", palette.GREEN, "^", palette.DOTTED),
    SIMILAR: Mark("the most similar class", palette.VERMILION, "s", palette.DASHED),
}
WHEN = {"stopped": "stopped", "last": "at the end"}
HALF = 0.5


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network and evaluation what mislabelled images are answered with; by network the same when stopped and at the end.

    Also the epoch at which half of them are answered with their wrong label (`half_memorised`), NaN if never.
    """
    along = answered(evidence, KINDS)
    times = {trial: half_memorised(own) for trial, own in along.groupby("trial")}
    networks = stopped_and_last(along)
    return {
        "answered_by_kind": along.drop(columns="validation_accuracy"),
        "networks": networks.assign(half_memorised=networks["trial"].map(times)),
    }


def half_memorised(along: pd.DataFrame) -> float:
    """Return the epoch at which the rising share of mislabelled images with their wrong label as answer reaches HALF; NaN if never."""
    own = along.sort_values("step")
    values = own["given_label"].astype(float).to_numpy()
    return time_to(own["epoch"].to_numpy(float), rising(values), HALF) if np.isfinite(values).all() else np.nan


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how accurate networks are under each kind, and which kind harms more and is memorised sooner."""
    networks = tables["networks"]
    answers.trained_on(networks[networks["arm"] == SYMMETRIC])
    for kind in KINDS:
        found = mean(networks, kind, "stopped_test_accuracy", estimate=mean_share)
        answers.give("robust-{kind}", found, kind=kind)
    for when in WHEN:
        column = f"{when}_test_accuracy"
        answers.give("spread-{when}", difference(networks, (SYMMETRIC, column), (PAIR, column)), when=when)
        answers.give("similar-{when}", difference(networks, (PAIR, column), (SIMILAR, column)), when=when)
    one, other = (by_seed(networks, kind, "half_memorised") for kind in (PAIR, SIMILAR))
    sooner = over_pairs(one, other, "half of them never memorised, or a diverged network", estimate=paired_ratio)
    answers.give("similar-sooner", sooner)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw test accuracies by kind of noise, and how wrong labels are memorised."""
    networks, text = tables["networks"], Text("experiments.label_noise", "kinds")
    trial = evidence.asked_trials(SYMMETRIC)[0]
    facts = {
        "spread": {when: answers[f"spread-{when}"] for when in WHEN},
        "similar": {when: answers[f"similar-{when}"] for when in WHEN},
        "robust": {kind: answers[f"robust-{kind}"] for kind in KINDS},
        "sooner": answers["similar-sooner"],
        "share": trial.recipe.labels.fraction,
        "flips": [f"{own} as {other}" for own, other in enumerate(evidence.dataset.nearest_classes.tolist())],
        "images": int(networks.loc[networks["arm"] == SYMMETRIC, "images"].max()),
        "seeds": evidence.asked(SYMMETRIC),
        "clean": float(by_seed(networks, CLEAN, "final_test_accuracy").mean()),
    }
    drawn = draw_kinds(networks, tables["answered_by_kind"])
    return Chapter(
        title="Which wrong label",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(drawn, evidence.folder, "kinds"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_kinds(networks: pd.DataFrame, along: pd.DataFrame) -> Drawing:
    """Return test accuracy by kind, stopped and at the end, and what mislabelled images are answered with by epoch."""
    figure, [[left, middle, right]] = figures.grid(1, 3, width=3.2, height=3.0)
    for (kind, mark), offset in zip(KINDS.items(), panels.side_by_side(len(KINDS))):
        own = networks[networks["arm"] == kind]
        values = {place: own[f"{when}_test_accuracy"] for place, when in enumerate(WHEN) if len(own)}
        panels.means(left, values, mark, offset=offset, seeds=True, estimate=mean_share)
        for axes, column in ((middle, "true_class"), (right, "given_label")):
            panels.mean_line(axes, along[along["arm"] == kind], column, label=mark.name, **mark.line)
    figures.name_axis(left, list(WHEN.values()))
    left.set_ylabel("test accuracy")
    for axes, name in ((middle, "true class"), (right, "wrong label")):
        figures.epoch_axis(axes, along["epoch"].max())
        axes.set(ylim=(0, 1.02), title=f"answered with their {name}", ylabel="share of mislabelled images")
    figures.shared_legend(figure, middle)
    return figure
