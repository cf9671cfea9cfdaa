"""Confidence on inputs that are not digits, and whether it distinguishes them from digits."""

from contextlib import suppress

import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.noise_confidence.equal import gap_axes
from experiments.noise_confidence.networks import (
    BY_WIDTH,
    INPUTS,
    MARKS,
    SHARE,
    gap,
    gap_interval,
    names_in,
    read,
    read_inputs,
    share_interval,
)
from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.errors import DataError
from memo.networks.program import as_pixels
from memo.probes import weights
from memo.probes.out_of_distribution import of_images
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import Shown, number
from memo.statistics import over_seeds
from memo.storage.run_folders import Tables
from memo.training.inputs import test_rows

SHOWN = ("test", "fashion", "random_pixels", "uniform", "gaussian", "normal", "constant")
DETECTION = {"auroc_vs_test": "AUROC", "aupr_vs_test": "AUPR"}
SCALARS = [*panels.QUANTILES, "share_above_0.999", "entropy", *DETECTION, "auroc_vs_right"]


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return one row per network and kind of inputs: confidence, entropy, and how well confidence distinguishes test images from them.

    Fashion-MNIST is among the kinds where it is available, for the networks by width.
    """
    parts = [evidence.tables.out_of_distribution]
    with suppress(DataError):
        parts.append(fashion(evidence))
    return {"inputs": pd.concat([part.reindex(columns=["trial", "inputs", *SCALARS]) for part in parts])}


def fashion(evidence: Evidence) -> pd.DataFrame:
    """Return the columns of the probe out_of_distribution for Fashion-MNIST's test images, for the networks by width.

    Raises DataError where Fashion-MNIST is unavailable.
    """
    images = datasets.load("fashion_mnist").test_images
    stored = evidence.tables.weights.set_index("trial")["weights"]
    own = evidence.trials[evidence.trials["arm"].isin(BY_WIDTH)]
    rows = []
    for _, members in own.groupby("model.widths")["trial"]:
        static = evidence.static_of(members.iloc[0])
        test, labels = evidence.test_images_of(members.iloc[0])
        others = images[test_rows(len(images), len(test))]
        shown, own_test = (np.asarray(as_pixels(jnp.asarray(each))) for each in (others, test))
        layers = weights.layers(stored[members], static.sizes)
        found = of_images(static, layers, shown, own_test, labels)
        rows += [{"trial": trial, "inputs": "fashion"} | row for trial, row in zip(members, found)]
    return pd.DataFrame(rows)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether confidence distinguishes test images from noise, where every training label was fitted."""
    inputs, networks = read_inputs(tables, *BY_WIDTH), read(tables, *BY_WIDTH)
    inputs["told"] = inputs["auroc_vs_test"].where(inputs["fitted"])
    answers.trained_on(networks)
    answers.conditions(width=names_in(networks))
    for labels in over_seeds.KINDS:
        for kind in ("uniform", "gaussian"):
            own = inputs[inputs["inputs"] == kind]
            for width in names_in(networks):
                found = over_seeds.mean(own, "told", labels, width, networks["seed"].nunique(), SHARE)
                answers.give(f"tells-{labels}-{{inputs}}-{{width}}", found, inputs=kind, width=width)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw confidence, its difference between twins, and detection, by kind of inputs, where every label was fitted."""
    inputs, text = read_inputs(tables, *BY_WIDTH), Text("experiments.noise_confidence", "kinds")
    widths, fitted = names_in(read(tables, *BY_WIDTH)), inputs[inputs["fitted"]]
    kinds = [kind for kind in SHOWN if (inputs["inputs"] == kind).any()]
    own = fitted[fitted["width"] == widths[-1]]
    gaps = {
        (kind, width): gap_interval(values)
        for kind in kinds
        for width in widths
        if len(values := gap(fitted[fitted["inputs"] == kind], "mean_confidence", width))
    }
    facts = {
        "largest": widths[-1],
        "counts": {mark.name: own[own["labels"] == labels]["trial"].nunique() for labels, mark in MARKS.items()},
        "sure": own.groupby(["labels", "inputs"])["mean_confidence"].mean().to_dict(),
        "gaps": list(gaps.values()),
        "at_largest": {INPUTS[kind]: found for (kind, width), found in gaps.items() if width == widths[-1]},
        "told": {labels: answers[f"tells-{labels}-uniform-{widths[-1]}"] for labels in over_seeds.KINDS},
        "images": int(own["images"].max()) if len(own) else 0,
    }
    drawn = {
        "kinds": draw_distributions(own, kinds, evidence.classes),
        "by_kind": draw_kinds(fitted, widths, kinds),
        "detection": draw_detection(own, kinds[1:]),
    }
    return Chapter(
        title="Inputs that are no digits",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(each, evidence.folder, name), **facts) for name, each in drawn.items()],
        methods=[text.block("methods")],
        shown=[Shown(text.block("shown_title"), text.block("shown_caption", **facts), table(own))],
    )


def draw_distributions(own: pd.DataFrame, kinds: list[str], classes: int) -> Drawing:
    """Return boxes of confidence by kind of inputs, one panel per kind of labels."""
    figure, [places] = figures.grid(1, len(MARKS), width=3.0, height=3.4, sharex=True, sharey=True)
    for axes, (labels, mark) in zip(places, MARKS.items()):
        marks = {kind: Mark(INPUTS[kind], mark.color) for kind in kinds}
        panels.confidence_boxes(axes, own[own["labels"] == labels], marks, classes=classes)
        axes.set(xlabel="confidence", title=mark.name)
    return figure


def _ticks(kinds: list[str]) -> list[str]:
    return [INPUTS[kind].replace(" noise, ", ",\n").replace("s, ", "s,\n").replace("-M", "-\nM") for kind in kinds]


def draw_kinds(fitted: pd.DataFrame, widths: list[str], kinds: list[str]) -> Drawing:
    """Return the difference between twins for each kind of inputs, widths side by side."""
    figure, [[axes]] = figures.grid(1, 1, width=9.4, height=3.0)
    for (width, mark), offset in zip(palette.level_marks(widths, "width {}").items(), panels.side_by_side(len(widths))):
        gaps = {
            place: gap(fitted[fitted["inputs"] == kind], "mean_confidence", width) for place, kind in enumerate(kinds)
        }
        panels.means(axes, gaps, mark, offset=offset, estimate=gap_interval)
    gap_axes(axes, _ticks(kinds), fontsize=8)
    axes.set_ylabel("mean confidence,\nshuffled − true")
    figures.shared_legend(figure, axes)
    return figure


def draw_detection(own: pd.DataFrame, kinds: list[str]) -> Drawing:
    """Return AUROC and AUPR of test images against each other kind of inputs, kinds of labels side by side."""
    figure, [places] = figures.grid(1, len(DETECTION), width=4.8, height=3.2, sharey=True)
    for axes, (column, name) in zip(places, DETECTION.items()):
        panels.points(axes, own, column, "inputs", kinds, MARKS, estimate=share_interval)
        axes.axhline(0.5, **palette.REFERENCE)
        figures.name_axis(axes, _ticks(kinds), fontsize=7)
        axes.set(title=f"{name} of test images", ylim=(0, 1.03))
    figures.shared_legend(figure, places[0])
    return figure


def table(own: pd.DataFrame) -> pd.DataFrame:
    """Return mean confidence, entropy and AUROC for each kind of inputs and labels, as texts."""
    columns = {"mean_confidence": "confidence", "entropy": "entropy, nats", "auroc_vs_test": "AUROC"}
    means = own.groupby(["inputs", "labels"])[list(columns)].mean()
    rows = []
    for kind, name in INPUTS.items():
        cells = {
            f"{words}, {MARKS[labels].name}": number(means[column].get((kind, labels), np.nan))
            for labels in MARKS
            for column, words in columns.items()
        }
        rows.append({"inputs": name} | cells)
    return pd.DataFrame(rows)
