"""The report: its chapters, title, shared methods and limits."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.headline import confidence, memorising, shape, speed
from experiments.headline.networks import LINEAR, confidence_of, curves_of, read, widths_of
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.networks.status import DIVERGED
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.statistics.over_seeds import where
from memo.storage.run_folders import Tables

NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, methods that all chapters share, limits, and the findings in one picture."""
    networks, text = read(tables), Text("experiments.headline", "front")
    recipe = evidence.tables.trials.iloc[0]
    largest = widths_of(networks)[-1]
    facts = {
        "recipe": recipe,
        "data": NAMES.get(recipe["dataset.name"], recipe["dataset.name"]),
        "images": int(networks["images"].max()),
        "available": datasets.shape(recipe["dataset.name"]).train_images,
        "changed": evidence.tables.trials.query("`labels.kind` == 'shuffled'")["labels.changed"].mean(),
        "networks": len(networks),
        "diverged": int((networks["status"] == DIVERGED).sum()),
        "seeds": networks["seed"].nunique(),
        "largest": largest,
        "faster": memorising.slower_to_memorise(answers, largest),
        "confident": confidence.on_noise(networks, largest),
    }
    drawn = draw_summary(
        where(curves_of(evidence, networks), width=largest),
        where(curves_of(evidence, read(tables, LINEAR)), labels="shuffled"),
        where(confidence_of(evidence, networks), width=largest),
        evidence.classes,
    )
    drawn.axes[0].set_title(f"width {largest}")
    return Front(
        title=text.block("title", **facts),
        methods=[text.block(name, **facts) for name in ("data", "networks", "training", "pairs")],
        not_shown=[line for name in text.blocks if name.startswith("limit_") and (line := text.block(name, **facts))],
        summary=text.figure(figures.save(drawn, evidence.folder, "summary", dense=True), **facts),
    )


def draw_summary(curves: pd.DataFrame, linear: pd.DataFrame, sure: pd.DataFrame, classes: int) -> Drawing:
    """Return the findings in one picture, for the README and the suite's report; `linear` are curves of softmax regression."""
    figure, [[train, test, noise]] = figures.grid(1, 3, width=3.6, height=2.9)
    for axes, part in ((train, "train"), (test, "test")):
        memorising.draw_baseline(axes, linear, part)
        panels.accuracy_curves(axes, curves, part, classes=classes)
    panels.points(noise, sure, "mean_confidence", "inputs", list(palette.INPUTS))
    names = [mark.name.replace(", ", ",\n").replace(" ", "\n", 1) for mark in palette.INPUTS.values()]
    figures.name_axis(noise, names, fontsize=8)
    panels.chance(noise, classes)
    noise.set(ylim=(0, 1.03), ylabel="mean confidence")
    figures.shared_legend(figure, train)
    return figure


analyse = Analysis("experiments.headline", (memorising, speed, shape, confidence), front)
