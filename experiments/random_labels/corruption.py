"""Test error between true and random labels, when every label is fitted (the paper's figure 1c)."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.random_labels.networks import FITTED, LINEAR_MARK, along, declares, images_of, read
from memo.commands.evidence import Evidence
from memo.measures import nearest_neighbours
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import share
from memo.statistics.over_seeds import over_pairs, over_seeds, where
from memo.statistics.trends import by_level, smallest_step
from memo.storage.run_folders import Tables

CHANGED = 0.9  # of redrawn labels: a tenth is drawn as it was
MARKS = {
    "test_error": Mark("network, all labels fitted", palette.BLUE, "o"),
    "best_test_error": Mark("network, best epoch", palette.SKY, "v", palette.DASHED),
    "nearest": Mark("1-nearest-neighbour", palette.ORANGE, "D", palette.DASH_DOTTED),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by seed and level the test error of 1-nearest-neighbour with the labels that the networks were given."""
    images, true = evidence.test_images("one_true")
    pixels, near, errors = evidence.dataset_of("one_true").train_images, {}, []
    trials = evidence.tables.arms.merge(evidence.tables.trials, on="trial")
    for arm in ("one_true", "one_corrupted"):
        given = evidence.training_sets(arm)
        for trial in trials[trials["arm"] == arm].to_dict("records"):
            rows, labels = given[trial["trial"]]
            seed = trial["seed"]
            if seed not in near:  # all levels of a seed have its images
                near[seed] = rows, nearest_neighbours.nearest(images, pixels[rows])[1]
            if not np.array_equal(near[seed][0], rows):
                raise ValueError(f"The levels of corruption of seed {seed} have different images.")
            redrawn = trial["labels.fraction"] if trial["labels.kind"] == "random" else 0.0
            errors.append({"seed": seed, "redrawn": redrawn, "nearest": float(np.mean(labels[near[seed][1]] != true))})
    return {"neighbours": pd.DataFrame(errors)}


def errors_of(tables: Tables) -> dict[str, pd.DataFrame]:
    """Return the training error and the test errors of MARKS, each as a frame [seeds, levels]."""
    one = along(read(tables))
    own = {column: by_level(one, column, "redrawn") for column in ("train_error", "test_error", "best_test_error")}
    linear = by_level(where(read(tables), arm="linear"), "train_error", "redrawn")
    return own | {"nearest": by_level(tables["neighbours"], "nearest", "redrawn"), "linear": linear}


def between(errors: pd.DataFrame) -> list[float]:
    """Return the levels between true and random labels."""
    return [float(p) for p in errors.columns if 0 < p < 1]


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether every level is fitted, whether test error rises from each to the next, and the error of nearest neighbours."""
    errors = errors_of(tables)
    test, images = errors["test_error"], images_of(read(tables))
    give = partial(answers.give, images=images)
    levels = between(test)
    answers.conditions(p=levels, n_train=[images])
    give("Z2-fits", (share(errors["train_error"][levels].to_numpy().ravel() <= 1 - FITTED), ""))
    give("Z2-rises", over_seeds(test, estimate=smallest_step))
    if declares(answers, "Z2-begins-{n_train}", "n_train", images):
        give("Z2-begins-{n_train}", over_seeds(test[0]), n_train=images)
    for p in levels:
        give("Z2-nearest-{p}", over_pairs(test[p], errors["nearest"][p]), p=p)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw training and test error against the share of labels redrawn, beside 1-nearest-neighbour."""
    errors, text = errors_of(tables), Text("experiments.random_labels", "corruption")
    test = errors["test_error"]
    gains = (test - errors["best_test_error"]).mean().dropna()
    middle = between(test)[len(between(test)) // 2]
    facts = {
        "images": images_of(read(tables)),
        "seeds": len(test),
        "ends": [over_seeds(test[p])[0] for p in (test.columns[0], test.columns[-1])],
        "step": answers["Z2-rises"],
        "middle": middle,
        "nearest": answers[f"Z2-nearest-{middle:g}"],
        "fitted": bool((errors["train_error"][middle].dropna() <= 1 - FITTED).all()),
        "trained": float(errors["train_error"].mean().max()),
        "linear": over_seeds(errors["linear"].get(1.0, pd.Series(dtype=float)))[0],
        "gain": (float(gains.max()), float(gains.idxmax())) if len(gains) else None,
    }
    file = figures.save(draw_errors(errors), evidence.folder, "corruption")
    return Chapter(
        title="Between true and random labels",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
    )


def draw_errors(errors: dict[str, pd.DataFrame]) -> Drawing:
    """Return training error, and test errors of networks and neighbours, by level."""
    figure, [[train, test]] = figures.grid(1, 2, width=4.2, height=3.2)
    panels.means(train, errors["train_error"], Mark("network", palette.VERMILION, "s"), joined=True)
    panels.means(train, errors["linear"], LINEAR_MARK._replace(name="softmax regression"))
    figures.legend(train, loc="upper left")
    for column, mark in MARKS.items():
        panels.means(test, errors[column], mark, joined=True)
    test.plot([0, 1], [0, CHANGED], **palette.REFERENCE, label="labels changed, 0.9 p")
    train.set(ylim=(-0.02, 1), ylabel="training error at the end")
    test.set(ylim=(0, 1), ylabel="test error")
    for axes in (train, test):
        axes.set(xlabel="p: share of labels redrawn", xlim=(-0.05, 1.05))
    figures.legend(test, loc="upper left")
    return figure
