"""Confidence on noise, compared with test images."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.headline.networks import KINDS, confidence_of, read, widths_of
from memo.commands.arms import SWEEP
from memo.commands.evidence import Evidence
from memo.probes.networks import INPUTS
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.over_seeds import mean, where
from memo.storage.run_folders import Tables


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return each network's mean confidence on each kind of input."""
    sure = where(evidence.of_all("confidence"), arm=SWEEP)
    wide = sure.pivot(index=["trial", "arm", "seed"], columns="inputs", values="mean_confidence").reindex(
        columns=list(INPUTS)
    )
    return {"networks": wide.add_prefix("confidence_").reset_index()}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how confident networks trained on true labels are on noise, and compared with test images."""
    networks = read(tables)
    networks["gap"] = networks["confidence_uniform"] - networks["confidence_test"]
    seeds = networks["seed"].nunique()
    for width in widths_of(networks):
        for noise in ("uniform", "gaussian"):
            sure = mean(networks, f"confidence_{noise}", "true", width, seeds)
            answers.give(f"confident-{noise}-{{width}}", sure, width=width)
        answers.give("as-sure-{width}", mean(networks, "gap", "true", width, seeds), width=width)


def on_noise(networks: pd.DataFrame, width: str) -> bool:
    """Return whether the networks of a width, with true and with shuffled labels, are known to be confident on uniform noise."""
    seeds = networks["seed"].nunique()
    sure = [mean(networks, "confidence_uniform", kind, width, seeds)[0] for kind in KINDS]
    return all(each is not None and each.low > 0.5 for each in sure)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the distributions of confidence by kind of input, and inputs with the predictions of two networks."""
    networks, text = read(tables), Text("experiments.headline", "confidence")
    widths = widths_of(networks)
    facts = {
        "largest": widths[-1],
        "seeds": networks["seed"].nunique(),
        "first": int(networks["seed"].min()),
        "uniform": answers[f"confident-uniform-{widths[-1]}"],
        "gap": answers[f"as-sure-{widths[-1]}"],
        "inputs": int(evidence.tables.confidence["n"].iloc[0]),
    }
    shown = confidence_of(evidence, networks)
    boxes = figures.save(draw_boxes(shown, widths, evidence.classes), evidence.folder, "confidence")
    strip = figures.save(draw_samples(evidence, networks, widths[-1]), evidence.folder, "samples", dense=True)
    return Chapter(
        title="Confidence on noise",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(boxes, **facts), text.figure(strip, **facts)],
        methods=[text.block("methods")],
    )


def draw_boxes(confidence: pd.DataFrame, widths: list[str], classes: int) -> Drawing:
    """Return boxes of confidence by kind of input, one row per kind of labels and one column per width."""
    figure, grid = figures.grid(len(KINDS), len(widths), height=2, sharex=True, sharey=True)
    for row, labels in zip(grid, KINDS):
        for axes, width in zip(row, widths):
            own = confidence[(confidence["width"] == width) & (confidence["labels"] == labels)]
            panels.confidence_boxes(axes, own, classes=classes)
        row[0].set_ylabel(f"{labels} labels", fontweight="bold")
    for above, below, width in zip(grid[0], grid[-1], widths):
        above.set_title(f"width {width}")
        below.set_xlabel("confidence")
    return figure


def draw_samples(evidence: Evidence, networks: pd.DataFrame, width: str) -> Drawing:
    """Return the first inputs of each kind with the predictions of the first pair of twins."""
    first = networks[(networks["width"] == width) & (networks["seed"] == networks["seed"].min())]
    pair = first.set_index("labels")["trial"]
    samples = evidence.tables.noise_samples
    return panels.sample_strip({kind: samples[samples["trial"] == pair[kind]] for kind in KINDS})
