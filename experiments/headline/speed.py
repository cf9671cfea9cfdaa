"""Speed: how much longer shuffled labels take than true ones, and how that grows with the number of images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.headline.networks import COUNTS, KINDS, curves, read, widths_of
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.curve_shape import time_to
from memo.statistics.curve_summary import rises
from memo.statistics.intervals import geometric_mean
from memo.statistics.over_seeds import Answer, noted, over_seeds, slowdown, where
from memo.storage.run_folders import Tables

LEVELS = (50, 90, 99)
BEST = Mark("best rate for each kind of labels", palette.BLACK, "o", palette.SOLID)
EQUAL = Mark("the same rate for both", palette.GREEN, "^", palette.DASHED)


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return each network's epochs to 50, 90 and 99 % training accuracy, and until its loss has fallen by these percentages."""
    rows = []
    for keys, curve in curves(evidence):
        times = {
            f"{kind}_t{level}": time_to(curve["epoch"], rise, level / 100)
            for kind, rise in rises(curve).items()
            for level in LEVELS
        }
        rows.append(keys | times)
    columns = [f"{kind}_t{level}" for kind in ("accuracy", "loss") for level in LEVELS]
    return {"networks": pd.DataFrame(rows, columns=["trial", "arm", "seed", *columns])}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how many times longer shuffled labels take; a curve that never reaches the level makes it a lower bound."""
    networks = read(tables)
    for width in widths_of(networks):
        for level in (90, 99):
            times = slowdown(networks, networks, f"accuracy_t{level}", width)
            answers.give("faster-t{level}-{width}", times, level=level, width=width)
        # A bound that lies beyond five decides as well as an estimate does.
        answers.give("constant-factor-{width}", slowdown(networks, networks, "accuracy_t99", width), width=width)
    counts = read(tables, *COUNTS)
    best = factors(counts, {kind: best_rates(counts, kind) for kind in KINDS})
    most = None if counts.empty else int(counts["images"].max())
    answers.give("factor-exponent", exponent(best), images=most)
    answers.give("factor-exponent-equal", exponent(equal_factors(counts)), images=most)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the times by number of images; those by width are drawn beside the shapes of the curves."""
    networks, counts, text = read(tables), read(tables, *COUNTS), Text("experiments.headline", "speed")
    largest = widths_of(networks)[-1]
    facts = {
        "largest": largest,
        "images": int(networks["images"].max()),
        "factor": {level: answers[f"faster-t{level}-{largest}"] for level in (90, 99)},
        "exponent": answers["factor-exponent"],
        "equal": answers["factor-exponent-equal"],
    }
    if counts.empty:
        return Chapter(title="Time to fit", findings=[text.block("finding", **facts)], methods=[text.block("methods")])
    facts |= {
        "width": counts["width"].iloc[0],
        "seeds": counts["seed"].nunique(),
        "rates": {kind: sorted(where(counts, labels=kind)["rate"].unique()) for kind in KINDS},
        "same": same_rate(counts),
        "chosen": {kind: best_rates(counts, kind) for kind in KINDS},
    }
    drawn = figures.save(draw_counts(counts), evidence.folder, "counts")
    return Chapter(
        title="Time to fit",
        findings=[text.block("finding", **facts), text.block("growth", **facts)],
        figures=[text.figure(drawn, **facts)],
        methods=[text.block("methods"), text.block("rates", **facts)],
    )


def times_of(counts: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the epochs to 99 % of one kind of labels [seeds, (images, rate)]; NaN where a network never gets there."""
    own = counts[counts["labels"] == kind]
    return own.pivot(index="seed", columns=["images", "rate"], values="accuracy_t99").sort_index(axis=1)


def best_rates(counts: pd.DataFrame, kind: str) -> dict[int, float]:
    """Return by number of images the learning rate with which all seeds reach 99 %, soonest in the geometric mean."""
    times = np.log(times_of(counts, kind)).mean(skipna=False).dropna()
    return {int(images): float(own.idxmin()[1]) for images, own in times.groupby(level="images")}


def same_rate(counts: pd.DataFrame) -> float | None:
    """Return the rate with which both kinds of labels reach 99 % at the most numbers of images, the smallest of several."""
    if counts.empty:
        return None
    reached = [times_of(counts, kind).notna().all() for kind in KINDS]
    tried_for_both = pd.concat(reached, axis=1, join="inner")
    by_rate = tried_for_both.all(axis=1).groupby(level="rate").sum()
    return float(by_rate.idxmax()) if by_rate.any() else None


def factors(counts: pd.DataFrame, rates: Mapping[str, Mapping[int, float]]) -> pd.DataFrame:
    """Return the ratio of epochs to 99 %, shuffled / true, [seeds, images], at the rates given by kind and number of images."""
    times = {kind: times_of(counts, kind) for kind in KINDS}
    both = sorted(set(rates["true"]) & set(rates["shuffled"]))
    return pd.DataFrame(
        {
            images: times["shuffled"][images, rates["shuffled"][images]] / times["true"][images, rates["true"][images]]
            for images in both
        }
    )


def equal_factors(counts: pd.DataFrame) -> pd.DataFrame:
    """Return `factors` at the same rate for both kinds of labels, of the numbers of images at which every network gets there."""
    rate = same_rate(counts)
    every = {int(images): rate for images in counts["images"].unique()} if rate is not None else {}
    found = factors(counts, dict.fromkeys(KINDS, every))
    return found.dropna(axis=1, how="any")


def exponent(ratios: pd.DataFrame) -> Answer:
    """Return the mean over seeds of the slope of log ratio on log number of images [seeds, images]."""
    if ratios.shape[1] < 2:
        return None, "fewer than two numbers of images at which every network reaches 99 %"
    slopes = np.polyfit(np.log(ratios.columns.to_numpy(float)), np.log(ratios.to_numpy()).T, 1)[0]
    estimate, note = over_seeds(slopes)
    images = f"{ratios.columns.min():,} to {ratios.columns.max():,} images"
    return estimate, noted(note, images)


def draw_counts(counts: pd.DataFrame) -> Drawing:
    """Return epochs to 99 % by number of images at the best rate for each kind of labels, and their ratio."""
    figure, [[epochs, ratio]] = figures.grid(1, 2, width=4.2, height=3.1)
    best = {kind: best_rates(counts, kind) for kind in KINDS}
    for kind, mark in palette.label_marks().items():
        times = times_of(counts, kind)
        at_best = {images: times[images, rate] for images, rate in best[kind].items()}
        panels.means(epochs, at_best, mark, joined=True, estimate=geometric_mean)
    for ratios, mark in ((factors(counts, best), BEST), (equal_factors(counts), EQUAL)):
        panels.means(ratio, ratios, mark, joined=True, estimate=geometric_mean)
    for axes, name in ((epochs, "epochs to 99 % training accuracy"), (ratio, "ratio, shuffled / true")):
        axes.set(xlabel="training images", ylabel=name)
        figures.count_axis(axes, sorted(counts["images"].unique()))
        figures.log_axis(axes)
        figures.legend(axes)
    return figure
