"""Whether confidence on test images can be believed, and whether one temperature mends it (Guo et al. 2017)."""

import numpy as np
import pandas as pd

from experiments.noise_confidence.equal import ASKED
from experiments.noise_confidence.hendrycks import HENDRYCKS
from experiments.noise_confidence.populations import LABELS, count_seeds, distinct, networks, points, rows_of
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics import over_seeds
from memo.statistics.intervals import mean_interval

GUO = "Guo et al. 2017"


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on calibration."""
    made = Chapter()
    trials = networks(evidence, "widths", "half")
    facts = ("width", "labels", "final_train_accuracy", "final_test_accuracy")
    table = with_cut(rows_of(evidence.tables.calibration, trials, *facts))
    gimpel = with_cut(rows_of(evidence.tables.calibration, networks(evidence, "hendrycks")))
    widths = distinct(evidence, "width", "widths", "half")
    bins = [name for name in table if name.startswith("bin_")]
    made.tables["calibration"] = table.drop(columns=bins)
    made.tables["calibration_hendrycks"] = gimpel.drop(columns=bins)
    _claims(evidence, table, gimpel, widths, count_seeds(evidence, "widths"), made)
    _draw_reliability(table, gimpel, widths[-1], evidence, made)
    _draw_errors(table, widths, evidence, made)
    made.methods.append(
        "Calibration: expected calibration error over 15 equal bins; the temperature is fitted by cross-entropy on every second "
        "test image and judged on the others. Where a network answers at chance no finite temperature is best: 1 / T is then 0, "
        "which spreads every answer evenly over the classes. Claims on T are therefore about 1 / T."
    )
    return made


def with_cut(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `inverse_temperature` and `cut`, the share of the calibration error that the temperature takes."""
    with np.errstate(divide="ignore"):
        inverse = 1 / table["temperature"]
    return table.assign(inverse_temperature=inverse, cut=1 - table["ece_after"] / table["ece_before"])


def _claims(evidence, table, gimpel, widths, seeds, made):
    over = "An over-fitted network is over-confident, and one temperature cuts its calibration error by half."
    for name, quantity, accept, direction, column in (
        ("over", "mean confidence − accuracy on test images", (0.005, 0.015), (0.0001, 1), "overconfidence"),
        ("cut", "share of the calibration error that temperature scaling takes", (0.5, 1), (0.01, 1), "cut"),
        ("inverse", "1 / T", (0, 0.99), None, "inverse_temperature"),
    ):
        condition = "Hendrycks and Gimpel's network"
        claim = Claim(
            f"guo-{name}-hendrycks", GUO, over, quantity, accept, direction, "reliability", condition=condition
        )
        made.rows.append((claim, *evidence.mean("hendrycks", gimpel[column])))
        # How large the gap is depends on the number of images; that it is there does not.
        wide = accept if name != "over" else (0.005, 1)
        for width in widths:
            claim = Claim(
                f"guo-{name}-{width}",
                GUO,
                over,
                quantity + (", true labels" if name != "over" else ", true labels (any size)"),
                wide,
                direction,
                "reliability",
                condition=f"width {width}",
            )
            made.rows.append((claim, *over_seeds.mean(table, column, "true", width, seeds)))
    statement = (
        "A network that memorised shuffled labels is sure of its answers to test images, which are right by chance."
    )
    fitted = table.assign(ece=table["ece"].where(table["final_train_accuracy"] == 1))
    for width in widths:
        claim = Claim(
            f"memorised-calibration-{width}",
            ASKED,
            statement,
            "expected calibration error on test images, shuffled labels",
            (0.6, 0.9),
            (0.3, 0.9),
            "calibration",
            condition=f"width {width}",
        )
        made.rows.append((claim, *over_seeds.mean(fitted, "ece", "shuffled", width, seeds)))
    statement = "Confidence tells a network's errors from its right answers."
    for width in widths:
        claim = Claim(
            f"errors-{width}",
            HENDRYCKS,
            statement,
            "wrong answers told by confidence, AUROC, true labels",
            (0.8, 1),
            (0.6, 1),
            "calibration",
            condition=f"width {width}",
        )
        made.rows.append((claim, *over_seeds.mean(table, "error_auroc", "true", width, seeds)))


def _draw_reliability(table, gimpel, width, evidence, made):
    panels = {LABELS[kind]: table[(table["width"] == width) & (table["labels"] == kind)] for kind in LABELS}
    panels["Hendrycks and Gimpel's"] = gimpel
    figure, [places] = figures.grid(1, len(panels), width=2.7, height=2.9, sharey=True)
    spoken = []
    for place, (name, rows) in zip(places, panels.items()):
        place.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        for when, color, marker, words in (
            ("before", palette.BLUE, "o", "as it is"),
            ("after", palette.ORANGE, "^", "at the fitted temperature"),
        ):
            if not len(rows):
                continue
            counts, sure, right = (
                np.nan_to_num(np.stack(rows[f"bin_{name}_{when}"])) for name in ("count", "confidence", "accuracy")
            )
            total = counts.sum(0)
            kept = total >= 20
            sums = np.stack([(counts * sure).sum(0), (counts * right).sum(0)])
            means = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
            place.plot(means[0][kept], means[1][kept], marker, linestyle="-", color=color, markersize=4, label=words)
        place.set(title=name, xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence")
        before, after = rows["ece_before"].dropna(), rows["ece_after"].dropna()
        if len(before) and len(after):
            place.text(0.04, 0.97, f"ECE {number(before.mean())} → {number(after.mean())}", va="top", fontsize=8.5)
            spoken.append(
                f"{name} {with_interval(mean_interval(before))} → {with_interval(mean_interval(after), count=False)}"
            )
    places[0].set_ylabel("accuracy")
    figures.shared_legend(figure, places[0])
    sentence = "; ".join(spoken) or "no network is left"
    if spoken:
        made.findings.append(
            f"<b>Calibration</b> at width {width}, expected calibration error on test images as it is → at the temperature "
            f"fitted on other test images: {sentence}."
        )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "reliability"),
            "Confidence on test images against accuracy, before and after one temperature",
            f"Expected calibration error: {sentence}. Points: bins of 20 answers and more, all networks of a kind together (width "
            f"{width} but for the right panel); on the grey line confidence would be right. After an infinite temperature every "
            "answer has a confidence of 0.1.",
            "Reliability diagrams before and after temperature scaling, by labels.",
        )
    )


def _draw_errors(table, widths, evidence, made):
    panels = {
        "overconfidence": ("mean confidence − accuracy", 0),
        "ece": ("expected calibration error", 0),
        "inverse_temperature": ("1 / fitted temperature", 1),
        "error_auroc": ("errors told by confidence, AUROC", 0.5),
    }
    figure, [places] = figures.grid(1, len(panels), width=2.8, height=2.8)
    for place, (column, (title, neutral)) in zip(places, panels.items()):
        points(place, table, column, "width", widths)
        place.axhline(neutral, **palette.REFERENCE)
        place.set(title=title, xlabel="width")
        place.title.set_fontsize(9.5)
    figures.shared_legend(figure, places[0])
    means = table.groupby(["labels", "width"])["overconfidence"].mean()
    spoken = "; ".join(
        f"{LABELS[labels]} {number(means[labels, widths[-1]])}"
        for labels in LABELS
        if (labels, widths[-1]) in means.index
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "calibration"),
            "Over-confidence by width and labels",
            f"Mean confidence − accuracy on test images at width {widths[-1]}: {spoken or 'no network is left'}. Points: means "
            f"with 95 % intervals over n = {table['seed'].nunique()} seeds. Dotted: no over-confidence, T = 1, chance.",
            "Over-confidence, calibration error, temperature and error detection by width and labels.",
        )
    )
