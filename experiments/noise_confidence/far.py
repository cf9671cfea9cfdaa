"""Far from the data: does confidence go to 1 as noise is scaled up, as Hein et al. prove of ReLU networks?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.noise_confidence.networks import TWINS, names_in, read, read_inputs, share_interval
from memo.commands.evidence import Evidence
from memo.probes.out_of_distribution import FACTORS
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.over_seeds import LOST, over_seeds, where
from memo.statistics.trends import smallest_step
from memo.storage.run_folders import Tables

ARM = "functions"
SCALED = {1: "uniform", **{factor: f"uniform_x{factor}" for factor in FACTORS}}
LOSSES = {"cross_entropy": "softmax, cross-entropy", "squared_error": "sigmoid outputs, squared error"}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: confidence on scaled noise is in another chapter's table."""
    return {}


def by_factor(
    inputs: pd.DataFrame, column: str, activation: str, labels: str, loss: str = "cross_entropy"
) -> pd.DataFrame:
    """Return a column by seed (rows) and by factor of the noise (columns)."""
    own = where(inputs, activation=activation, labels=labels, loss=loss)
    wide = own.pivot(index="seed", columns="inputs", values=column).reindex(columns=list(SCALED.values()))
    return wide.set_axis(list(SCALED), axis=1)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how confidence under softmax changes as the noise is scaled up."""
    inputs, networks = read_inputs(tables, ARM), read(tables, ARM)
    seeds = networks["seed"].nunique()
    others = [name for name in names_in(networks, "activation") if name != "relu"]
    answers.trained_on(networks)
    answers.conditions(activation=others)
    for labels in TWINS:
        share = by_factor(inputs, "share_above_0.999", "relu", labels)[100]
        sure = by_factor(inputs, "mean_confidence", "relu", labels)
        answers.give("far-relu-{labels}", over_seeds(share, LOST, estimate=share_interval, asked=seeds), labels=labels)
        steps = over_seeds(sure[[5, 10, 100]], LOST, estimate=smallest_step, asked=seeds)
        answers.give("monotone-relu-{labels}", steps, labels=labels)
        for name in others:
            share = by_factor(inputs, "share_above_0.999", name, labels)[100]
            sure = by_factor(inputs, "mean_confidence", name, labels)
            short = over_seeds(share, LOST, estimate=share_interval, asked=seeds)
            answers.give("short-{activation}-{labels}", short, activation=name, labels=labels)
            settled = over_seeds(sure[100] - sure[10], LOST, asked=seeds)
            answers.give("settles-{activation}-{labels}", settled, activation=name, labels=labels)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw confidence against the scale of the noise."""
    inputs, networks = read_inputs(tables, ARM), read(tables, ARM)
    text, activations = Text("experiments.noise_confidence", "far"), names_in(networks, "activation")
    others = [name for name in activations if name != "relu"]
    facts = {
        "far": {labels: answers[f"far-relu-{labels}"] for labels in TWINS},
        "short": {name: {labels: answers[f"short-{name}-{labels}"] for labels in TWINS} for name in others},
        "factors": list(SCALED),
        "networks": names_in(networks),
    }
    drawn = draw_scaled(inputs, activations, evidence.classes)
    return Chapter(
        title="Far from the data",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(drawn, evidence.folder, "scaled"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_scaled(inputs: pd.DataFrame, activations: list[str], classes: int) -> Drawing:
    """Return mean confidence on uniform noise by its scale, one row per loss and one column per activation."""
    figure, grid = figures.grid(len(LOSSES), len(activations), width=3.0, height=2.3, sharex=True, sharey=True)
    for row, (loss, words) in zip(grid, LOSSES.items()):
        for axes, activation in zip(row, activations):
            _scaled(axes, inputs, activation, loss, classes)
        row[0].set_ylabel(f"mean confidence\n{words}", fontsize=8.5)
    for above, below, activation in zip(grid[0], grid[-1], activations):
        above.set_title(activation)
        below.set_xlabel("uniform noise times")
    figures.shared_legend(figure, grid[0][0])
    return figure


def _scaled(axes: Axes, inputs: pd.DataFrame, activation: str, loss: str, classes: int) -> None:
    for labels, mark in TWINS.items():
        sure = by_factor(inputs, "mean_confidence", activation, labels, loss)
        axes.plot(list(SCALED), sure.T, linewidth=0.8, alpha=0.5, **mark.line)
        if len(sure):
            axes.plot(
                list(SCALED), sure.mean(), linewidth=2, marker=mark.marker, markersize=4, label=mark.name, **mark.line
            )
    panels.chance(axes, classes)
    figures.count_axis(axes, list(SCALED))
    axes.set_ylim(0, 1.03)
