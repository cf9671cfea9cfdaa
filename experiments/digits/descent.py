"""The negative gradient: which weights matter most, and steps that get smaller."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from scipy import stats

from experiments.digits.networks import MAIN, images_of, over_arm
from memo.commands.evidence import Evidence
from memo.probes.gradients import PERCENT
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.storage.run_folders import Tables

STAGES = {"start": "before training", "middle": "middle of training", "end": "end of training"}
LAYERS = {1: "784 → 16", 2: "16 → 16", 3: "16 → 10"}
MARKS = {
    "decrease_top_1": Mark("largest 1 %", palette.VERMILION, "o"),
    "decrease_random_1": Mark("random 1 %", palette.ORANGE, "s"),
    "decrease_top_10": Mark("largest 10 %", palette.BLUE, "^"),
    "decrease_random_10": Mark("random 10 %", palette.SKY, "D"),
}
COLUMNS = ["seed", "step", "epoch", "cost", "norm", "step_length", "decrease_full", *MARKS]
QUANTILES = {"q10": "10 %", "q50": "50 %", "q90": "90 %", "q99": "99 %", "largest": "largest"}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return one row per network of the main arm and moment: cost, gradient, length of a step, effects of parts of it."""
    rows = evidence.of(MAIN, "gradients_along")
    return {"gradients": rows[rows["layer"] == 0][COLUMNS].reset_index(drop=True)}


def stages(gradients: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows, by seed, of the first, the middle and the last measurement."""
    steps = np.sort(gradients["step"].unique())
    at = (steps[0], steps[len(steps) // 2], steps[-1]) if len(steps) else (0, 0, 0)
    return {name: gradients[gradients["step"] == step].set_index("seed").sort_index() for name, step in zip(STAGES, at)}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much of the decrease the largest components achieve, and how steps and slopes shrink."""
    networks, gradients = tables["networks"], tables["gradients"]
    stage, images = stages(gradients), images_of(networks, MAIN)
    for share in PERCENT:
        for name, own in stage.items():
            more = own[f"decrease_top_{share}"] - own[f"decrease_random_{share}"]
            shares = more / own["decrease_full"].where(own["decrease_full"] > 0)
            answers.give(f"top-{share}-{{stage}}", over_arm(networks, MAIN, shares), images, stage=name)
    for claim, column in (("steps-shrink", "step_length"), ("slope-shrinks", "norm")):
        answers.give(
            claim, over_arm(networks, MAIN, stage["end"][column] / stage["start"][column], (0, np.inf)), images
        )
    answers.give("steps-follow-cost", over_arm(networks, MAIN, rank_correlations(gradients), (-1, 1)), images)


def rank_correlations(gradients: pd.DataFrame) -> pd.Series:
    """Return by seed the rank correlation of step length and cost along training; NaN for fewer than three moments."""
    found = {
        seed: stats.spearmanr(own["cost"], own["step_length"]).statistic if len(own) > 2 else np.nan
        for seed, own in gradients.groupby("seed")
    }
    return pd.Series(found, dtype=float)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the effect of the largest components, their sizes by layer, and steps along training."""
    gradients, text = tables["gradients"], Text("experiments.digits", "descent")
    stage = stages(gradients)
    facts = {
        "shrunk": {"step": answers["steps-shrink"], "slope": answers["slope-shrinks"]},
        "tenth": answers["top-10-end"],
        "top": {name: answers[f"top-1-{name}"] for name in STAGES},
        "networks": gradients["seed"].nunique(),
        "first": stage["start"].mean(),
        "last": stage["end"].mean(),
    }
    sizes = evidence.of(MAIN, "gradients_along")
    drawn = []
    if len(gradients):
        drawn = [("gradient", draw_gradient(stage, sizes)), ("steps", draw_steps(gradients))]
    return Chapter(
        title="Gradient descent",
        findings=[text.block("components", **facts), text.block("steps", **facts)],
        figures=[text.figure(figures.save(figure, evidence.folder, name), **facts) for name, figure in drawn],
        methods=[text.block("methods")],
    )


def draw_gradient(stage: dict[str, pd.DataFrame], rows: pd.DataFrame) -> Drawing:
    """Return the effects of parts of a gradient step by stage of training, and the sizes of components by layer."""
    figure, [[moved, sizes]] = figures.grid(1, 2, width=4.4, height=2.8)
    for (column, mark), offset in zip(MARKS.items(), panels.side_by_side(len(MARKS))):
        shares = {
            at: own[column] / own["decrease_full"].where(own["decrease_full"] > 0)
            for at, own in enumerate(stage.values())
        }
        panels.means(moved, shares, mark, offset=offset)
    figures.name_axis(moved, [words.replace(" ", "\n", 1) for words in STAGES.values()])
    moved.axhline(0, color="0.6", linewidth=1)
    moved.set(title="cost decrease / that of a full step")
    colors = dict(zip(STAGES, (palette.GREY, palette.GREEN, palette.BLUE)))
    dashes = dict(zip(LAYERS, (palette.SOLID, palette.DASHED, palette.DOTTED)))
    for name, layer, values in _sizes(stage, rows):
        label = f"{LAYERS[layer]}, {STAGES[name]}" if name == "end" else None
        sizes.plot(range(len(QUANTILES)), values, color=colors[name], linestyle=dashes[layer], label=label)
    sizes.set_yscale("log")
    figures.name_axis(sizes, list(QUANTILES.values()))
    sizes.set(title="magnitude of components by layer", xlabel="quantile")
    for axes in (moved, sizes):
        figures.legend(axes, fontsize=7)
    return figure


def _sizes(stage: dict[str, pd.DataFrame], rows: pd.DataFrame) -> Iterator[tuple[str, int, pd.Series]]:
    """Yield stage, layer and quantiles of the absolute components, means over networks."""
    for name, own in stage.items():
        for layer in LAYERS:
            part = rows[(rows["layer"] == layer) & (rows["step"] == own["step"].iloc[0])]
            yield name, layer, part[list(QUANTILES)].mean()


def draw_steps(gradients: pd.DataFrame) -> Drawing:
    """Return cost, norm of the gradient and length of a step along training."""
    figure, [places] = figures.grid(1, 3, width=3.2, height=2.5)
    titles = {"cost": "cost", "norm": "norm of the full gradient", "step_length": "length of a step"}
    for axes, (column, title) in zip(places, titles.items()):
        for _, own in gradients.groupby("seed"):
            axes.plot(own["epoch"], own[column], color=palette.BLUE, alpha=0.25, linewidth=0.8)
        style: palette.Style = {"color": palette.VERMILION, "linewidth": 1.8, "markersize": 3.5}
        axes.plot(gradients.groupby("epoch")[column].mean(), "o-", **style)
        axes.set(title=title, yscale="log")
        figures.epoch_axis(axes, gradients["epoch"].max())
    return figure
