"""Agreement: how the scores rank images, how they find redrawn labels, and which cheap score predicts memorisation."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.per_example.scores import (
    CHEAP,
    NO_RANKS,
    NO_REDRAWN,
    SCORES,
    answered,
    auroc_of,
    correlation,
    redrawn,
    stored,
)
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import Shown, with_interval
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import Tables

FEW = "too few networks, or no two images that differ"
FOUND = Mark("redrawn labels found", palette.VERMILION, "s")


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: the scores and their reliability are tables of the first chapter."""
    return {}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how well each score finds redrawn labels and ranks images as memorisation does, and whether it is reliable."""
    table = tables["images"]
    for name in ("aum", "el2n", "confidence", "curvature"):
        answers.give(f"injected-found-{name}", answered(auroc_of(table, name), NO_REDRAWN))
    answers.give("curvature-resembles", answered(correlation(table, "curvature", "memorisation"), NO_RANKS))
    true = table[~redrawn(table)]
    for name in CHEAP:
        answers.give("cheap-{score}", answered(correlation(true, name, "memorisation"), NO_RANKS), score=name)
    for name in ("memorisation", "c_score"):
        answers.give(f"reliable-{name}", answered(stored(tables["reliability"], name, "tail"), FEW))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the correlations of all scores, and how well each finds redrawn labels."""
    table, text = tables["images"], Text("experiments.per_example", "agreement")
    cheap = {name: answers[f"cheap-{name}"] for name in CHEAP}
    aurocs = {name: auroc_of(table, name) for name in SCORES}
    nearest, best = best_of(cheap), best_of({name: aurocs[name] for name in CHEAP})
    facts = {
        "nearest": [SCORES[name].name for name in not_below(cheap, nearest)],
        "nearest_value": cheap[nearest],
        "best": [SCORES[name].name for name in not_below({name: aurocs[name] for name in CHEAP}, best)],
        "best_value": aurocs[best],
        "memorisation": aurocs["memorisation"],
        "images": len(table),
    }
    drawn = {"agreement": draw_matrix(table), "found": draw_found(aurocs)}
    return Chapter(
        title="How the scores agree",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(each, evidence.folder, name), **facts) for name, each in drawn.items()],
        methods=[text.block("methods", **facts)],
        shown=[Shown(text.block("table_title"), text.block("table_caption"), overview(tables, aurocs))],
    )


def best_of(estimates: Mapping[str, Estimate | None]) -> str:
    """Return the score with the largest number; one without a number is the last."""
    return max(estimates, key=lambda name: np.nan_to_num(each.value, nan=-2) if (each := estimates[name]) else -2)


def not_below(estimates: Mapping[str, Estimate | None], best: str) -> list[str]:
    """Return the best score, and those after it whose intervals reach into its own."""
    reach = each.low if (each := estimates[best]) else np.nan
    near = [name for name, each in estimates.items() if each and name != best and each.high >= reach]
    return [best, *near]


def overview(tables: Tables, aurocs: dict[str, Estimate]) -> pd.DataFrame:
    """Return each score's reliability, its correlation with memorisation, and its AUROC, as they are to be read."""
    table = tables["images"]
    true, rows = table[~redrawn(table)], []
    for name, score in SCORES.items():
        halves = [stored(tables["reliability"], name, images) for images in ("all", "tail")]
        agrees = None if name == "memorisation" else correlation(true, name, "memorisation")
        cells = [*halves, agrees, aurocs[name]]
        rows.append([score.name, *(with_interval(each, count=False) if each else "" for each in cells)])
    heads = ["score", "two halves", "two thirds, tail", "with memorisation, true labels", "AUROC, redrawn labels"]
    return pd.DataFrame(rows, columns=heads)


def draw_matrix(table: pd.DataFrame) -> Drawing:
    """Return Spearman's correlation of every two scores: below the diagonal all images, above it those with true labels."""
    figure, [[axes]] = figures.grid(1, 1, width=6.4, height=5.6)
    names = list(SCORES)
    true, values = table[~redrawn(table)], np.eye(len(names))
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            if i != j:
                values[i, j] = correlation(table if i > j else true, one, other).value
    panels.blank(axes)
    axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
    for (i, j), value in np.ndenumerate(values):
        if i != j and np.isfinite(value):
            axes.text(
                j,
                i,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if abs(value) > 0.6 else "black",
            )
    words = [SCORES[name].name for name in names]
    axes.set_xticks(range(len(names)), words, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), words)
    return figure


def draw_found(aurocs: dict[str, Estimate]) -> Drawing:
    """Return the AUROC of every score for redrawn labels, with its interval."""
    figure, [[axes]] = figures.grid(1, 1, width=6.0, height=3.0)
    known = {place: each for place, each in enumerate(aurocs.values()) if np.isfinite(each.value)}
    if known:
        panels.intervals(axes, known, FOUND)
    axes.axhline(0.5, **palette.REFERENCE)
    figures.name_axis(axes, [SCORES[name].name for name in aurocs], rotation=30, ha="right")
    axes.set(ylabel="AUROC for redrawn labels", ylim=(0.3, 1.02))
    return figure
