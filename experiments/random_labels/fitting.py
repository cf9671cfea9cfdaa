"""Whether random labels are fitted and with which schedule, the remaining generalisation, and the order of settings by time."""

from collections.abc import Callable
from functools import partial

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.random_labels import networks as facts_of
from experiments.random_labels.networks import (
    DEPTHS,
    FITTED,
    LINEAR,
    LINEAR_MARK,
    PIXEL_MARKS,
    PIXELS,
    RANDOM,
    TRUE,
    Conditions,
    bounded,
    curves_of,
    images_of,
    longer,
    mean,
    of,
    pairs,
    read,
    values,
)
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import mean_interval, share
from memo.statistics.over_seeds import Answer
from memo.storage.run_folders import Tables

WIDE = 128  # units per layer from which networks are expected to fit
# Arms of the tuned rates.
FITTING = ("one_true", "one_corrupted", "three_true", "three_corrupted", "widths")
SCHEDULES = {"literal": "decay 0.95 per epoch", "literal_steps": "decay 0.95 every 390 steps"}
LITERAL: dict[str, Conditions] = {
    "Z1-literal-1": {"arm": "literal", "layers": 1},
    "Z1-literal-3": {"arm": "literal", "layers": 3},
    "Z1-literal-steps-1": {"arm": "literal_steps", "layers": 1},
    "Z1-whitened-1": {"arm": "whitened", "layers": 1},
    "Z1-whitened-3": {"arm": "whitened", "layers": 3},
}
STRATIFIED: dict[int, Conditions] = {1: {"arm": "one_stratified"}, 3: {"arm": "three_stratified"}}
SMALL: Conditions = {"arm": "small_random"}
MANY = 100  # times as many images as pixels
DASHES = {"tuned": palette.SOLID, "literal": palette.DOTTED, "literal_steps": palette.DASHED}

PARTLY = 0.4  # the partly corrupted labels among the paper's six settings; it names no share
SETTINGS: tuple[tuple[Mark, Conditions], ...] = (
    (palette.LABELS["true"], TRUE),
    (Mark("partly corrupted", palette.SKY, "v", palette.DASHED), {"arm": "one_corrupted", "redrawn": PARTLY}),
    (palette.LABELS["random"], RANDOM),
    *((PIXEL_MARKS[kind], conditions) for kind, conditions in PIXELS.items()),
)
KINDS = {"random-pixels": "random_pixels", "gaussian": "gaussian"}
TIMES = {
    "start": Mark("a tenth of the loss lost", palette.GREY, "o"),
    "t50": Mark("50 %", palette.SKY, "s"),
    "t99": Mark("99 % training accuracy", palette.BLUE, "^"),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return settings, data and outcomes of every network, for all chapters."""
    return {"networks": facts_of.measure(evidence)}


def fitted(networks: pd.DataFrame, redrawn: float) -> Answer:
    """Return the share of wide networks with a given share of labels redrawn that fit them; a diverged network does not."""
    wide = networks["arm"].isin(FITTING) & (networks["width"] >= WIDE)
    own = networks[wide & (networks["redrawn"] == redrawn)]
    if own.empty:
        return None, f"no network has {WIDE} units per layer and more"
    return share(own["final_train_accuracy"] >= FITTED), ""


def answer(tables: Tables, answers: Answers) -> None:
    """Answer which networks fit, their test accuracy, and the accuracy reached by the paper's schedule."""
    networks = read(tables)
    give = partial(answers.give, images=images_of(networks))
    give("Z1-fits", fitted(networks, 1.0))
    give("Z1-fits-true", fitted(networks, 0.0))
    for layers, (_, random) in DEPTHS.items():
        give("Z1-chance-{layers}", _left(networks, random), layers=layers)
        stratified, own = STRATIFIED[layers], images_of(networks, STRATIFIED[layers])
        answers.give("Z1-chance-stratified-{layers}", _left(networks, stratified), own, layers=layers)
    give("linear-baseline", mean(networks, "final_train_accuracy", LINEAR, estimate=bounded))
    for claim, conditions in LITERAL.items():
        give(claim, mean(networks, "final_train_accuracy", conditions | {"labels": "random"}, estimate=bounded))
    _sooner(networks, give)


def _left(networks: pd.DataFrame, random: Conditions) -> Answer:
    """Return the test accuracy of networks that have fitted random labels."""
    if (of(networks, random)["final_train_accuracy"] < FITTED).any():
        return None, "not every network fitted its random labels"
    return mean(networks, "final_test_accuracy", random)


def _sooner(networks: pd.DataFrame, give: Callable[..., None]) -> None:
    """Answer how much longer random labels take than random inputs; shuffled pixels are a control."""
    for inputs, kind in KINDS.items():
        names = ("random-label", f"curve on {kind.replace('_', ' ')}")
        for time in ("t99", "start"):
            give("Z4-{time}-{inputs}", longer(networks, time, RANDOM, PIXELS[kind], names), time=time, inputs=inputs)
        many = longer(networks, "t99", SMALL, {"arm": f"small_{kind}"}, names)
        small = of(networks, SMALL)
        if (small["images"] < MANY * small["pixels"]).any():
            many = None, f"fewer than {MANY} times as many images as pixels"
        give("Z4-large-{inputs}", many, images=images_of(networks, SMALL), inputs=inputs)
    shuffled = PIXELS["shuffled_pixels"]
    give("sanity-shuffled-error", pairs(networks, "test_error", shuffled, TRUE))
    give("sanity-shuffled-time", longer(networks, "t99", shuffled, TRUE, ("shuffled-pixel", "curve on true labels")))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the six settings of the paper's figure 1a, its schedule beside a tuned one, and when fitting starts and ends."""
    networks, text = read(tables), Text("experiments.random_labels", "fitting")
    reached = {mark.name: mean(networks, "t99", conditions) for mark, conditions in SETTINGS}
    facts = {
        "images": images_of(networks),
        "seeds": of(networks, TRUE)["seed"].nunique(),
        "wide": WIDE,
        "fits": answers["Z1-fits"],
        "chance": {layers: answers[f"Z1-chance-{layers}"] for layers in DEPTHS},
        "literal": {claim: answers[claim] for claim in LITERAL},
        "steps": [mean(networks, "steps", conditions)[0] for conditions in (TRUE, RANDOM)],
        "sooner_than": {inputs: answers[f"Z4-t99-{inputs}"] for inputs in KINDS},
        "sooner_of_many": answers["Z4-large-gaussian"],
        "times": {name: estimate for name, (estimate, _) in reached.items() if estimate},
        "missing": [name for name, (_, note) in reached.items() if note],
        "partly": PARTLY,
    }
    drawn = {
        "loss": draw_settings(evidence, networks),
        "literal": draw_schedules(evidence, networks),
        "order": draw_order(networks),
    }
    return Chapter(
        title="Fitting random labels and random inputs",
        findings=[text.block(name, **facts) for name in ("fits", "schedule", "sooner")],
        figures=[text.figure(figures.save(each, evidence.folder, name), **facts) for name, each in drawn.items()],
    )


def draw_settings(evidence: Evidence, networks: pd.DataFrame) -> Drawing:
    """Return training loss by step and training accuracy by epoch of the paper's six settings, and of a linear model."""
    shown = (*SETTINGS, (LINEAR_MARK, LINEAR))
    marks = {mark.name: mark for mark, _ in shown}
    curves = curves_of(evidence, networks, {mark.name: conditions for mark, conditions in shown})
    figure, [[loss, accuracy]] = figures.grid(1, 2, width=4.4, height=3.2)
    for name, mark in marks.items():
        own = curves[curves["labels"] == name]
        panels.mean_line(loss, own, "train_loss", "step", label=mark.name, **mark.line)
    loss.set(xlabel="step", ylabel="training loss", ylim=(0, None), xlim=(0, None))
    loss.locator_params(axis="x", nbins=4)
    panels.accuracy_curves(accuracy, curves, "train", marks, classes=evidence.classes)
    figures.shared_legend(figure, accuracy, 3)
    return figure


def draw_schedules(evidence: Evidence, networks: pd.DataFrame) -> Drawing:
    """Return training accuracy by epoch for the paper's schedule and the tuned one, one panel per depth."""
    figure, [row] = figures.grid(1, 2, width=4.2, height=3, sharey=True)
    words = {"tuned": "tuned rate, constant"} | SCHEDULES
    marks = {
        f"{arm} {kind}": palette.LABELS[kind]._replace(name=f"{kind} labels, {words[arm]}", dashes=dashes)
        for arm, dashes in DASHES.items()
        for kind in ("true", "random")
    } | {"linear": LINEAR_MARK}
    for axes, (layers, both) in zip(row, DEPTHS.items()):
        kinds = {f"tuned {kind}": conditions for kind, conditions in zip(("true", "random"), both)}
        kinds |= {
            f"{arm} {kind}": {"arm": arm, "layers": layers, "labels": kind}
            for arm in SCHEDULES
            for kind in ("true", "random")
        } | {"linear": LINEAR}
        panels.accuracy_curves(axes, curves_of(evidence, networks, kinds), "train", marks, classes=evidence.classes)
        axes.set_title(f"{layers}×{int(of(networks, both[0])['width'].max())}")
    row[1].set_ylabel("")
    figures.shared_legend(figure, row[0], 2)
    return figure


def draw_order(networks: pd.DataFrame) -> Drawing:
    """Return epochs to three points of the curve, one row per setting."""
    figure, [[axes]] = figures.grid(1, 1, width=6.4, height=3.2)
    for row, (_, conditions) in enumerate(SETTINGS):
        for time, mark in TIMES.items():
            own = values(networks, time, conditions).dropna()
            axes.plot(own, [row] * len(own), ".", color=mark.color, alpha=0.35, markersize=4)
            if len(own):
                mean_of = mean_interval(own)
                style: palette.Style = {"capsize": 2.5, "markersize": 5, "label": mark.name} | mark.points
                axes.errorbar(mean_of.value, row, xerr=figures.reach(mean_of), **style)
    axes.set_yticks(range(len(SETTINGS)), [mark.name for mark, _ in SETTINGS])
    axes.invert_yaxis()
    figures.log_axis(axes, "x")
    axes.set(xlabel="epochs")
    figures.shared_legend(figure, axes)
    return figure
