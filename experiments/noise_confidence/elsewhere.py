"""The same question at other depths, and with other activations and losses."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.noise_confidence.equal import gap_axes
from experiments.noise_confidence.networks import GAP, gap, gap_interval, names_in, read, read_inputs
from memo.commands.evidence import Evidence
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text, counted
from memo.reporting.claims import SEEDS_FOR_A_VERDICT
from memo.reporting.palette import INPUTS
from memo.statistics import over_seeds
from memo.storage.run_folders import Tables

ARMS = {"depths": "by depth", "functions": "by activation and loss"}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: confidence by kind of inputs is in another chapter's table."""
    return {}


def settings(networks: pd.DataFrame, arm: str) -> pd.Series:
    """Return the settings that distinguish the networks of an arm, as in the ids of claims: "3-layers", "tanh-squared-error"."""
    if arm == "depths":
        return networks["layers"].map(lambda count: counted(count, "layer").replace(" ", "-"))
    return networks["activation"] + "-" + networks["loss"].str.replace("_", "-")


def of_arm(tables: Tables, arm: str) -> tuple[pd.DataFrame, list[str]]:
    """Return confidence by network and kind of inputs, only where every label was fitted, and all settings of an arm.

    The setting stands in the column `width`, and the confidence in `sure`.
    """
    inputs, every = read_inputs(tables, arm), read(tables, arm)
    frame = inputs.assign(width=settings(inputs, arm), sure=inputs["mean_confidence"].where(inputs["fitted"]))
    return frame, names_in(every.assign(setting=settings(every, arm)), "setting")


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much more confident on uniform noise networks on shuffled labels are in each setting, every label fitted."""
    by_width = read(tables, "widths")["trial"]
    for arm in ARMS:
        (frame, _), every = of_arm(tables, arm), read(tables, arm)
        own, seeds = frame[frame["inputs"] == "uniform"], every["seed"].nunique()
        # Networks that are in the arm by width too have been compared there.
        new = settings(every[~every["trial"].isin(by_width)], arm)
        answers.trained_on(every)
        answers.conditions(**{arm: new.unique()})
        for name in new.unique():
            values: dict[str, Any] = {arm: name}
            answers.give(f"surer-{arm}-{{{arm}}}", over_seeds.difference(own, "sure", name, seeds, GAP), **values)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the difference on two kinds of noise in each setting."""
    text = Text("experiments.noise_confidence", "elsewhere")
    frames = {arm: of_arm(tables, arm) for arm in ARMS}
    found = {
        arm: {name: answers[f"surer-{arm}-{name}"] for name in names if f"surer-{arm}-{name}" in answers}
        for arm, (_, names) in frames.items()
    }
    facts = {
        "known": {
            arm: {name: each for name, each in own.items() if each and each.n >= SEEDS_FOR_A_VERDICT}
            for arm, own in found.items()
        },
        "missing": [name for own in found.values() for name, each in own.items() if not each],
        "networks": names_in(read(tables, "depths")),
        "images": {arm: int(read(tables, arm)["images"].max() if len(read(tables, arm)) else 0) for arm in ARMS},
    }
    drawn = draw_elsewhere(frames)
    return Chapter(
        title="At other depths, activations and losses",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(drawn, evidence.folder, "elsewhere"), **facts)],
    )


def draw_elsewhere(frames: dict[str, tuple[pd.DataFrame, list[str]]]) -> Drawing:
    """Return the difference between twins, every label fitted: one panel per arm, one mark per kind of noise."""
    figure, [places] = figures.grid(1, len(ARMS), width=4.6, height=3.0, sharey=True)
    noises = {inputs: INPUTS[inputs] for inputs in ("uniform", "gaussian")}
    for axes, (arm, (frame, names)) in zip(places, frames.items()):
        for (inputs, mark), offset in zip(noises.items(), panels.side_by_side(len(noises))):
            own = frame[frame["inputs"] == inputs]
            values = {place: gap(own, "sure", name) for place, name in enumerate(names)}
            panels.means(axes, values, mark, offset=offset, estimate=gap_interval)
        gap_axes(axes, [name.replace("-", "\n", 1).replace("-", "-\n") for name in names], fontsize=8)
        axes.set_title(ARMS[arm])
    places[0].set_ylabel("mean confidence,\nshuffled − true")
    figures.shared_legend(figure, next((axes for axes in places if axes.get_legend_handles_labels()[0]), places[0]))
    return figure
