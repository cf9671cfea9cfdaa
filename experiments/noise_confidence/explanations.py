"""Possible explanations of the difference: the training loss, or the length of training."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.noise_confidence.equal import LOSS, gap_axes, known_gaps, paths
from experiments.noise_confidence.networks import BY_WIDTH, GAP, KEYS, gap, gap_interval, names_in, read
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics import over_seeds
from memo.statistics.over_seeds import Answer
from memo.storage.run_folders import Tables

LONG = "onward"  # the arm on true labels whose training continues
MEASURES = {
    "100": Mark("at 100 % training accuracy", palette.BLACK, "o"),
    "loss": Mark(f"at a training loss of {LOSS:g}", palette.PURPLE, "s"),
}
LENGTHS = {"uniform_at_100": "stopped at 100 %", "uniform_as_long": "after as many steps"}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return for each network whose training on true labels continued its confidence after as many steps as its twin took."""
    ways = paths(evidence, "widths").merge(evidence.trials[["trial", "arm", "labels.kind"]], on=["trial", "arm"])
    twins = ways[ways["labels.kind"] == "shuffled"].assign(width=lambda own: _width(evidence, own))
    onward = paths(evidence, LONG).assign(width=lambda own: _width(evidence, own))
    return {"networks": at_same_length(twins, onward)}


def _width(evidence: Evidence, rows: pd.DataFrame) -> pd.Series:
    return rows["trial"].map(evidence.tables.trials.set_index("trial")["model.widths"]).map(tuple)


def at_same_length(shuffled: pd.DataFrame, onward: pd.DataFrame) -> pd.DataFrame:
    """Return the confidence of these networks after as many steps as the twin took to fit its shuffled labels.

    Linear in the logarithm of the step between evaluations; networks whose twin did not fit every label have no row.
    """
    last = shuffled.sort_values("step").groupby(["seed", "width"]).last()
    steps = last[last["train_accuracy"] == 1]["step"]
    rows: dict[tuple, dict[str, float]] = {}
    for (*network, width, inputs), own in onward.groupby([*KEYS, "width", "inputs"]):
        if (network[2], width) in steps.index and inputs in ("uniform", "gaussian"):
            there = np.interp(np.log1p(steps[network[2], width]), np.log1p(own["step"]), own["mean_confidence"])
            rows.setdefault(tuple(network), {})[f"{inputs}_as_long"] = float(there)
    columns = [*KEYS, "uniform_as_long", "gaussian_as_long"]
    return pd.DataFrame([dict(zip(KEYS, network)) | found for network, found in rows.items()], columns=columns)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer the remaining difference at the same loss, and after as many steps."""
    networks, onward = read(tables, *BY_WIDTH), read(tables, LONG)
    seeds = networks["seed"].nunique()
    answers.trained_on(networks)
    answers.conditions(width=names_in(networks))
    for width in names_in(networks):
        answers.give("loss-{width}", over_seeds.difference(networks, "uniform_at_loss", width, seeds, GAP), width=width)
    answers.conditions(width=names_in(onward))
    for width in names_in(onward):
        for inputs in ("uniform", "gaussian"):
            found = after_as_long(networks, onward, inputs, width)
            answers.give("length-{inputs}-{width}", found, inputs=inputs, width=width)


def _pairs(networks: pd.DataFrame, onward: pd.DataFrame, inputs: str, width: str) -> pd.DataFrame:
    """Return by seed the confidence of the network on shuffled labels at its end, and of its twin after as many steps."""
    own = networks[(networks["width"] == width) & (networks["labels"] == "shuffled")].set_index("seed")
    other = onward[onward["width"] == width].set_index("seed")
    return pd.DataFrame({"shuffled": own[f"{inputs}_at_100"], "true": other[f"{inputs}_as_long"]})


def after_as_long(networks: pd.DataFrame, onward: pd.DataFrame, inputs: str, width: str) -> Answer:
    """Return how much more confident on noise networks on shuffled labels are than on true ones after as many steps."""
    pairs = _pairs(networks, onward, inputs, width)
    return over_seeds.over_pairs(pairs["shuffled"], pairs["true"], "not every label fitted, or a diverged network")


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the difference at the same accuracy, at the same loss and after as many steps."""
    networks, onward = read(tables, *BY_WIDTH), read(tables, LONG)
    text = Text("experiments.noise_confidence", "explanations")
    widths, width = names_in(networks), names_in(onward)[0]
    losses = {name: answers[f"loss-{name}"] for name in widths}
    facts = {
        "width": width,
        "loss": LOSS,
        "losses": [found for found in losses.values() if found],
        "largest": widths[-1],
        "at_loss": losses[widths[-1]],
        "stopped": known_gaps(answers, "uniform", 100, [width]).get(width),
        "as_long": answers[f"length-uniform-{width}"],
        "as_long_gaussian": answers[f"length-gaussian-{width}"],
    }
    drawn = draw_explanations(networks, onward, width)
    return Chapter(
        title="What could explain the difference",
        findings=[text.block("loss", **facts), text.block("length", **facts)],
        figures=[text.figure(figures.save(drawn, evidence.folder, "explanations"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_explanations(networks: pd.DataFrame, onward: pd.DataFrame, width: str) -> Drawing:
    """Return the difference on uniform noise by width at the same accuracy and loss, and at one width by length of training."""
    figure, [[losses, lengths]] = figures.grid(1, 2, width=4.0, height=2.9, sharey=True)
    widths = names_in(networks)
    for (name, mark), offset in zip(MEASURES.items(), panels.side_by_side(len(MEASURES))):
        values = {place: gap(networks, f"uniform_at_{name}", each) for place, each in enumerate(widths)}
        panels.means(losses, values, mark, offset=offset, estimate=gap_interval)
    gap_axes(losses, widths)
    losses.set(xlabel="width", ylabel="mean confidence on uniform noise,\nshuffled − true")
    pairs = _pairs(networks, onward, "uniform", width)
    both = {0: gap(networks, "uniform_at_100", width), 1: (pairs["shuffled"] - pairs["true"]).dropna()}
    panels.means(lengths, both, Mark("", palette.BLACK), seeds=True, estimate=gap_interval)
    gap_axes(lengths, list(LENGTHS.values()))
    lengths.set(title=f"width {width}, compared with its twin on true labels")
    figures.shared_legend(figure, losses)
    return figure
