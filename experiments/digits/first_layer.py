"""The first hidden layer: weights that look almost random, loose patterns in the middle, and no edges."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.digits.networks import RECIPES, between, by_seed, images_of, over_arm, share_of
from memo.commands.evidence import Evidence
from memo.probes import first_layer
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.over_seeds import Answer
from memo.storage.run_folders import Tables

STATISTICS = {
    "autocorrelation": "autocorrelation of neighbours (Moran's I)",
    "participation": "participation ratio",
    "middle": "share of energy in the middle",
}
# Where pixels are permuted (autocorrelation, middle), or weights Gaussian (participation).
NULLS = {"autocorrelation": -1 / 783, "participation": 1 / 3, "middle": 1 / 4}
MARKS = {
    "start": Mark("before training", palette.GREY, "s"),
    "end": Mark("after training", palette.BLUE, "o"),
    "change": Mark("change by training", palette.GREEN, "^"),
}
CHANGES = {"decay": "weight decay", "dropout": "dropout", "patches": "local receptive fields"}
TRUE = {arm: RECIPES[arm] for arm in ("nielsen", "chosen")}
FEW = {"few": "500 images", "shuffled": "500 images,\nshuffled labels"}
ARMS = TRUE | FEW | CHANGES
FITTED = 0.9  # share of its shuffled labels that a network must fit, for its patterns to be theirs


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network and stage the statistics of first-layer weights, means over units."""
    rows = evidence.of_all("first_layer_along")
    parts = []
    for (trial, arm, seed), own in rows[rows["arm"].isin(list(ARMS))].groupby(["trial", "arm", "seed"]):
        found = stages(own.sort_values(["step", "unit"]))
        columns = {f"{name}_{stage}": value for stage, values in found.items() for name, value in values.items()}
        parts.append({"trial": trial, "arm": arm, "seed": seed} | columns)
    names = [f"{name}_{stage}" for stage in MARKS for name in STATISTICS]
    return {"networks": pd.DataFrame(parts, columns=["trial", "arm", "seed", *names])}


def stages(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the statistics, means over units, before and after training and of the change between them."""
    first, last = (rows[rows["step"] == step] for step in (rows["step"].min(), rows["step"].max()))
    change = pd.DataFrame(first_layer.statistics(_images(last["weights"]) - _images(first["weights"])))
    frames = zip(MARKS, (first, last, change))
    return {stage: frame[list(STATISTICS)].mean() for stage, frame in frames}


def _images(weights: Sequence[bytes]) -> np.ndarray:
    return np.stack([np.frombuffer(row, "<f4") for row in weights])


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how random the weights look, where their energy is, and the effects of changes to the recipe."""
    networks = tables["networks"]
    for arm in TRUE:
        looks = over_arm(networks, arm, "autocorrelation_end", (-1, 1))
        answers.give("random-looking-{arm}", looks, images_of(networks, arm), arm=arm)
        gain = by_seed(networks, arm, "middle_end") - by_seed(networks, arm, "middle_start")
        answers.give("in-the-middle-{arm}", over_arm(networks, arm, gain, (-1, 1)), images_of(networks, arm), arm=arm)
        answers.give(
            "not-edges-{arm}", over_arm(networks, arm, "participation_end", (0, 1)), images_of(networks, arm), arm=arm
        )
    answers.give("shuffled-fits", fitting(networks), images_of(networks, "shuffled"))
    answers.give("patterns-need-labels", patterns(networks), images_of(networks, *FEW))
    for arm in CHANGES:
        answers.give("smoother-{change}", between(networks, arm, "chosen", "autocorrelation_end"), change=arm)
        answers.give("no-worse-{change}", between(networks, arm, "chosen", "final_test_accuracy"), change=arm)
    for arm in ("decay", "dropout"):
        answers.give("more-local-{change}", between(networks, arm, "chosen", "participation_end"), change=arm)


def fitting(networks: pd.DataFrame) -> Answer:
    """Return the share of networks that fit their few shuffled labels."""
    fits = by_seed(networks, "shuffled", "final_train_accuracy")
    return share_of(networks, "shuffled", (fits >= FITTED).astype(float).mask(fits.isna()))


def patterns(networks: pd.DataFrame) -> Answer:
    """Return how much smoother true labels make what training adds to the weights than shuffled ones that are fitted do."""
    if not by_seed(networks, "shuffled", "final_train_accuracy").mean() >= FITTED:
        return None, "the networks do not fit the shuffled labels"
    return between(networks, "few", "shuffled", "autocorrelation_change")


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw images of the weights, with and without changes to the recipe, and their statistics."""
    networks, text = tables["networks"], Text("experiments.digits", "first_layer")
    means = networks.groupby("arm").mean(numeric_only=True).reindex(list(ARMS))
    facts = {
        "looks": {arm: answers[f"random-looking-{arm}"] for arm in TRUE},
        "labels": answers["patterns-need-labels"],
        "means": means,
        "changes": CHANGES,
        "smoother": {words: answers[f"smoother-{arm}"] for arm, words in CHANGES.items()},
        "cost": {words: answers[f"no-worse-{arm}"] for arm, words in CHANGES.items()},
        "counts": [int((networks["arm"] == arm).sum()) for arm in ARMS],
    }
    recipes = {
        ("nielsen", "start"): "Nielsen's recipe,\nbefore training",
        ("nielsen", "end"): "Nielsen's recipe,\nafter training",
        ("nielsen", "change"): "Nielsen's recipe,\nchange by training",
        ("chosen", "start"): "tuned recipe,\nbefore training",
        ("chosen", "end"): "tuned recipe,\nafter training",
        ("few", "change"): "500 images,\nchange by training",
        ("shuffled", "change"): "the same on\nshuffled labels",
    }
    changed = {
        (arm, "end"): f"{ARMS[arm]}\naccuracy {means.loc[arm, 'final_test_accuracy']:.3f}"
        for arm in ("chosen", *CHANGES)
    }
    if not len(evidence.of_all("first_layer_along")):
        return Chapter(title="The first layer")
    drawn = [
        figures.save(draw_strips(evidence, recipes), evidence.folder, "first_layer", dense=True),
        figures.save(draw_statistics(networks), evidence.folder, "first_layer_statistics"),
        figures.save(draw_strips(evidence, changed), evidence.folder, "changes", dense=True),
    ]
    return Chapter(
        title="The first layer",
        findings=[text.block("looks", **facts), text.block("changed", **facts)],
        figures=[text.figure(file, **facts) for file in drawn],
        methods=[text.block("methods")],
    )


def draw_strips(evidence: Evidence, rows: Mapping[tuple[str, str], str]) -> Drawing:
    """Return the first-layer images of the first network of each (arm, stage), a row of images for each, by title."""
    shown = {}
    for (arm, stage), title in rows.items():
        own = evidence.of(arm, "first_layer_along")
        own = own[own["seed"] == own["seed"].min()].sort_values(["step", "unit"])
        if len(own):
            first, last = (
                _images(own[own["step"] == step]["weights"]) for step in (own["step"].min(), own["step"].max())
            )
            images = {"start": first, "end": last, "change": last - first}[stage]
            shown[title] = [(weights, "") for weights in images]
    return panels.pictures(shown, width=0.72, height=0.78, signed=True)


def draw_statistics(networks: pd.DataFrame) -> Drawing:
    """Return the statistics by arm, before and after training and of the change."""
    figure, [places] = figures.grid(1, 3, width=3.4, height=3.0)
    for axes, (name, title) in zip(places, STATISTICS.items()):
        for (stage, mark), offset in zip(MARKS.items(), panels.side_by_side(len(MARKS))):
            values = {at: by_seed(networks, arm, f"{name}_{stage}") for at, arm in enumerate(ARMS)}
            panels.means(axes, values, mark, offset=offset)
        axes.axhline(NULLS[name], **palette.REFERENCE)
        axes.set_xticks(range(len(ARMS)), list(ARMS.values()), rotation=35, ha="right", fontsize=8)
        axes.set(title=title)
    figures.shared_legend(figure, places[0])
    return figure
