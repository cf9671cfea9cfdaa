"""The edge of stability: sharpness times learning rate along full-batch gradient descent, true and random labels."""

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.inside.networks import EDGE, FITTED, LABELS, of_arms
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.intervals import geometric_mean
from memo.statistics.over_seeds import over_seeds
from memo.storage.run_folders import Tables

REACHED = 0.95  # of 2 / learning rate: from there on, sharpness counts as at the edge
NOT_THERE = "sharpness that never reaches the edge, or only after 99 % of training accuracy"


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return sharpness x learning rate / 2 along training, with loss and accuracy, and of each network its largest and what it stays at."""
    along = evidence.of(EDGE, "sharpness_along")
    rates = evidence.of(EDGE).set_index("trial")[["optimizer.learning_rate", "labels.kind"]]
    curves = {keys["trial"]: curve.set_index("step") for keys, curve in evidence.curves() if keys["arm"] == EDGE}
    parts, rows = [], []
    for (trial, seed), own in along.sort_values("step").groupby(["trial", "seed"]):
        rate, labels = float(rates.loc[trial, "optimizer.learning_rate"]), rates.loc[trial, "labels.kind"]
        at = curves[trial].reindex(own["step"])
        facts = {"trial": trial, "seed": seed, "labels": labels, "rate": rate}
        columns = {"step": own["step"].to_numpy(), "edge": own["top"].to_numpy() * rate / 2}
        columns |= {name: at[name].to_numpy() for name in ("train_loss", "train_accuracy")}
        parts.append(pd.DataFrame(facts | columns))
        rows.append(
            {"trial": trial, "arm": EDGE, "seed": seed, "rate": rate}
            | of_curve(columns["edge"], columns["train_accuracy"])
        )
    names = ["trial", "seed", "labels", "rate", "step", "edge", "train_loss", "train_accuracy"]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)
    known = ["trial", "arm", "seed", "rate", "edge_largest", "edge_stays"]
    return {"networks": pd.DataFrame(rows, columns=known), "edge": table}


def of_curve(edge: np.ndarray, accuracies: np.ndarray) -> dict[str, float]:
    """Return the largest of sharpness x learning rate / 2 [E], and its median from the first at the edge until 99 % of training accuracy."""
    first = np.argmax(edge >= REACHED) if (edge >= REACHED).any() else len(edge)
    fitted = np.argmax(accuracies >= FITTED) if (accuracies >= FITTED).any() else len(edge)
    between = edge[first:fitted]
    return {"edge_largest": float(edge.max()), "edge_stays": float(np.median(between)) if len(between) else np.nan}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how high the sharpness gets, and where it stays, by labels and learning rate."""
    networks = of_arms(tables, EDGE)
    answers.trained_on(networks)
    rates = sorted(networks["rate"].dropna().unique())
    answers.conditions(rate=[f"{rate:g}" for rate in rates])
    for labels, rate in product(LABELS, rates):
        own = networks[(networks["labels"] == labels) & (networks["rate"] == rate)]
        for claim, column in (("edge-{labels}-{rate}", "edge_largest"), ("hover-{labels}-{rate}", "edge_stays")):
            found = over_seeds(own[column], NOT_THERE, estimate=geometric_mean)
            answers.give(claim, found, labels=labels, rate=f"{rate:g}")


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw sharpness x learning rate / 2 along training, a panel for each kind of labels."""
    table, text = tables["edge"], Text("experiments.inside", "stability")
    if table.empty:
        return Chapter(title="The edge of stability")
    recipe = evidence.asked_trials(EDGE)[0].recipe
    rates = sorted(table["rate"].unique())
    facts = {
        "edge": {f"{rate:g}": {kind: answers[f"edge-{kind}-{rate:g}"] for kind in LABELS} for rate in rates},
        "stays": {f"{rate:g}": {kind: answers[f"hover-{kind}-{rate:g}"] for kind in LABELS} for rate in rates},
        "images": answers.images,
        "recipe": recipe,
        "seeds": table["seed"].nunique(),
        "reached": REACHED,
    }
    file = figures.save(draw_edge(table, rates), evidence.folder, "edge")
    return Chapter(
        title="The edge of stability",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_edge(table: pd.DataFrame, rates: list[float]) -> Drawing:
    """Return sharpness x learning rate / 2 by step, a panel for each kind of labels and a line for each learning rate."""
    figure, [row] = figures.grid(1, 2, width=3.8, height=3, sharey=True)
    marks = palette.level_marks(rates, "learning rate {}")
    for axes, (kind, mark) in zip(row, LABELS.items()):
        for rate in rates:
            own = table[(table["labels"] == kind) & (table["rate"] == rate)]
            panels.mean_line(axes, own, "edge", "step", label=marks[rate].name, **marks[rate].line)
        axes.axhline(1, **palette.REFERENCE)
        figures.step_axis(axes, float(table["step"].max()))
        axes.set_title(mark.name)
    row[0].set_ylim(0, 1.1 * max(1.0, float(table["edge"].max())))  # of both
    row[0].set_ylabel("sharpness × learning rate / 2")
    figures.shared_legend(figure, row[0])
    return figure
