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
from memo.statistics import curve_shape, over_seeds
from memo.statistics.over_seeds import Answer
from memo.storage.run_folders import Tables

LONG = "onward"  # the arm whose training continues when every label is fitted
LOW = 0.01  # a training loss that is reached after every label is fitted
AT_LOW = "uniform_at_low_loss"
MEASURES = {
    "100": Mark("at 100 % training accuracy", palette.BLACK, "o"),
    "loss": Mark(f"at a training loss of {LOSS:g}", palette.PURPLE, "s"),
}
LENGTHS = ("stopped\nat 100 %", "after as\nmany steps", f"both trained on to\na loss of {LOW:g}")


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return for each network whose training continued its confidence at a loss of 0.01 and, with true labels, as long as its twin took."""
    twins, onward = _ways(evidence, "widths"), _ways(evidence, LONG)
    as_long = at_same_length(twins[twins["labels"] == "shuffled"], onward[onward["labels"] == "true"])
    return {"networks": as_long.merge(at_low_loss(onward), on=KEYS, how="outer")}


def _ways(evidence: Evidence, arm: str) -> pd.DataFrame:
    """Return what `paths` does of an arm, with the widths and the kind of labels of each network."""
    recipes = evidence.tables.trials.set_index("trial")[["model.widths", "labels.kind"]]
    known = recipes.assign(width=recipes["model.widths"].map(tuple), labels=recipes["labels.kind"])
    return paths(evidence, arm).join(known[["width", "labels"]], on="trial")


def at_low_loss(ways: pd.DataFrame) -> pd.DataFrame:
    """Return the confidence of these networks on uniform noise where the training loss first falls to 0.01; NaN where it never does."""
    rows = [
        dict(zip(KEYS, network)) | {AT_LOW: curve_shape.at_level(-own["train_loss"], own["mean_confidence"], -LOW)}
        for network, own in ways[ways["inputs"] == "uniform"].groupby(KEYS)
    ]
    return pd.DataFrame(rows, columns=[*KEYS, AT_LOW])


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
        beyond = over_seeds.difference(onward, AT_LOW, width, onward["seed"].nunique(), GAP)
        answers.give("loss-beyond-{width}", beyond, width=width)
        for inputs in ("uniform", "gaussian"):
            found = after_as_long(networks, onward, inputs, width)
            answers.give("length-{inputs}-{width}", found, inputs=inputs, width=width)


def _pairs(networks: pd.DataFrame, onward: pd.DataFrame, inputs: str, width: str) -> pd.DataFrame:
    """Return by seed the confidence of the network on shuffled labels at its end, and of its twin after as many steps."""
    own = networks[(networks["width"] == width) & (networks["labels"] == "shuffled")].set_index("seed")
    other = onward[(onward["width"] == width) & (onward["labels"] == "true")].set_index("seed")
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
    took = networks.assign(took=networks["epochs"].where(networks["fitted"]))
    losses = {name: answers[f"loss-{name}"] for name in widths}
    facts = {
        "width": width,
        "loss": LOSS,
        "losses": [found for found in losses.values() if found],
        "largest": widths[-1],
        "at_loss": losses[widths[-1]],
        "low": LOW,
        "beyond": answers[f"loss-beyond-{width}"],
        "stopped": known_gaps(answers, "uniform", 100, [width]).get(width),
        "took": over_seeds.difference(took, "took", width, took["seed"].nunique())[0],
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
    both = [
        gap(networks, "uniform_at_100", width),
        (pairs["shuffled"] - pairs["true"]).dropna(),
        gap(onward, AT_LOW, width),
    ]
    panels.means(lengths, dict(enumerate(both)), Mark("", palette.BLACK), seeds=True, estimate=gap_interval)
    gap_axes(lengths, list(LENGTHS))
    lengths.set(title=f"width {width}, compared with its twin on true labels")
    figures.shared_legend(figure, losses)
    return figure
