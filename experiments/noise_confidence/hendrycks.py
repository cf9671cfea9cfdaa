"""The MNIST row of Hendrycks and Gimpel 2017: confidence as a baseline for errors and for inputs that are not digits."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.noise_confidence.networks import GAP, over_networks, read, read_inputs
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import INPUTS
from memo.reporting.report import Shown, with_interval
from memo.statistics.intervals import accuracy_interval, mean_interval
from memo.storage.run_folders import Tables

ARM = "hendrycks"
# In per cent, as printed in the paper and by the authors' notebook; None: not given.
PRINTED = {
    "test error": (1.69, 1.48),
    "mean confidence, all test images": (None, 99.5),
    "mean confidence, right answers": (None, 99.8),
    "mean confidence, wrong answers": (86, 84.8),
    "errors told by confidence, AUROC": (97, 97.8),
    "errors told by confidence, AUPR": (48, 43.9),
    "N(0, 1) noise: AUROC": (90, 88.3),
    "N(0, 1) noise: AUROC, right answers only": (None, 89.1),
    "N(0, 1) noise: mean confidence": (91, 91.7),
    "uniform noise: AUROC": (99, 97.9),
    "uniform noise: AUROC, right answers only": (None, 98.6),
    "uniform noise: mean confidence": (83, 88.1),
}
NOISES = {"normal": "N(0, 1) noise", "uniform": "uniform noise"}
STYLES = {
    "test": INPUTS["test"],
    "normal": INPUTS["gaussian"]._replace(name=NOISES["normal"]),
    "uniform": INPUTS["uniform"],
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the number of test images; everything else is in other chapters' tables."""
    shown = evidence.of_all("out_of_distribution")
    own = shown[(shown["arm"] == ARM) & (shown["inputs"] == "test")]
    return {"networks": own[["trial", "arm", "seed", "n"]].rename(columns={"n": "test_images"})}


def quantities(tables: Tables) -> pd.DataFrame:
    """Return the quantities of PRINTED by network, in the order of `read`, as shares of 1; NaN for diverged ones."""
    networks, inputs = read(tables, ARM), read_inputs(tables, ARM)
    sure, told, told_right = (
        inputs.pivot(index="trial", columns="inputs", values=column).reindex(networks["trial"], columns=list(STYLES))
        for column in ("mean_confidence", "auroc_vs_test", "auroc_vs_right")
    )
    columns = {
        "test error": 1 - networks["final_test_accuracy"].to_numpy(),
        "mean confidence, all test images": sure["test"].to_numpy(),
        "mean confidence, right answers": networks["mean_confidence_right"].to_numpy(),
        "mean confidence, wrong answers": networks["mean_confidence_wrong"].to_numpy(),
        "errors told by confidence, AUROC": networks["error_auroc"].to_numpy(),
        "errors told by confidence, AUPR": networks["error_aupr"].to_numpy(),
    }
    for kind, name in NOISES.items():
        columns |= {
            f"{name}: AUROC": told[kind].to_numpy(),
            f"{name}: AUROC, right answers only": told_right[kind].to_numpy(),
            f"{name}: mean confidence": sure[kind].to_numpy(),
        }
    return pd.DataFrame(columns)[list(PRINTED)]


def answer(tables: Tables, answers: Answers) -> None:
    """Answer the paper's row for MNIST."""
    networks, found = read(tables, ARM), quantities(tables)
    images = int(networks["images"].max()) if len(networks) else None
    tested = int(networks["test_images"].max()) if networks["test_images"].notna().any() else 0
    everywhere = found["mean confidence, all test images"]
    error = over_networks(networks, found["test error"], partial(accuracy_interval, images=tested))
    answers.give("hendrycks-error", error, images)
    answers.give("hendrycks-errors", over_networks(networks, found["errors told by confidence, AUROC"]), images)
    for kind, name in NOISES.items():
        sure = found[f"{name}: mean confidence"]
        answers.give(f"hendrycks-{kind}-auroc", over_networks(networks, found[f"{name}: AUROC"]), images)
        answers.give("hendrycks-{noise}-sure", over_networks(networks, sure), images, noise=kind)
        less = over_networks(networks, everywhere - sure, partial(mean_interval, bounds=GAP))
        answers.give("hendrycks-{noise}-less", less, images, noise=kind)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the distributions of confidence, and the paper's row beside ours."""
    networks, found = read(tables, ARM), quantities(tables)
    text, trained = Text("experiments.noise_confidence", "hendrycks"), evidence.of(ARM)
    facts = {
        "normal": answers["hendrycks-normal-sure"],
        "uniform": answers["hendrycks-uniform-sure"],
        "gaps": [answers[f"hendrycks-{kind}-less"] for kind in NOISES],
        "errors": answers["hendrycks-errors"],
        "printed": PRINTED,
        "count": len(found.dropna()),
        "recipe": trained.iloc[0] if len(trained) else None,
        "network": networks["network"].iloc[0] if len(networks) else "",
        "images": int(networks["images"].max()) if len(networks) else 0,
    }
    drawn = draw_row(evidence, found)
    return Chapter(
        title="Hendrycks and Gimpel's network",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(drawn, evidence.folder, "hendrycks"), **facts)],
        methods=[text.block("methods", **facts)] if len(trained) else [],
        shown=[Shown(text.block("shown_title"), text.block("shown_caption", **facts), table(found))],
    )


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Return the printed beside the measured values, in per cent, as texts."""
    rows = []
    for name, printed in PRINTED.items():
        values = 100 * found[name].dropna()
        here = with_interval(mean_interval(values), count=False) if len(values) else "n/a"
        rows.append((name, *("" if value is None else f"{value:g}" for value in printed), here))
    return pd.DataFrame(rows, columns=["MNIST, in %", "the paper", "the authors' notebook, one run", "here"])


def draw_row(evidence: Evidence, found: pd.DataFrame) -> Drawing:
    """Return cumulative distributions of confidence by network, and the paper's row beside ours."""
    figure, [[spread, beside]] = figures.grid(1, 2, width=4.6, height=3.1)
    _distributions(spread, evidence.of(ARM, "out_of_distribution"), evidence.classes)
    _beside(beside, 100 * found)
    return figure


def _distributions(axes: Axes, rows: pd.DataFrame, classes: int) -> None:
    for kind, mark in STYLES.items():
        for counts in rows[rows["inputs"] == kind]["histogram"]:
            shares = np.append(0, np.cumsum(counts) / np.sum(counts))
            edges = np.linspace(0, 1, len(shares))
            axes.plot(edges, shares, linewidth=1.1, alpha=0.7, label=mark.name, **mark.line)
    panels.chance(axes, classes, axis="x")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="share of inputs with less")
    figures.legend(axes, loc="upper left")


def _beside(axes: Axes, found: pd.DataFrame) -> None:
    names = list(PRINTED)[:2:-1]
    for height, name in enumerate(names):
        axes.plot(
            found[name], [height] * len(found), "o", color=palette.BLUE, alpha=0.6, markersize=4, label="networks here"
        )
        for value, marker, label in zip(PRINTED[name], "Dx", ("the paper", "the authors' notebook")):
            if value is not None:
                axes.plot(value, height, marker, color=palette.VERMILION, markersize=5, label=label)
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_xlabel("%")
    figures.legend(axes, fontsize=7.5, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
