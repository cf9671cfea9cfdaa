"""A5: time to fit everything, and capacity needed, by noise (figures 5 and 6)."""

import numpy as np
import pandas as pd

from experiments.closer_look.networks import ARPIT, percent, with_levels
from experiments.closer_look.noise import KINDS, shade
from memo.commands.evidence import Evidence
from memo.reporting import figures, panels
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.palette import Mark
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.over_seeds import over_pairs, over_seeds, where
from memo.statistics.trends import by_level, log_slope

SHORT = "a network that never fits everything, or diverged"
NEAR = 0.005  # of the best mean accuracy: where a width counts as near the best


def chapter(evidence: Evidence, networks: pd.DataFrame) -> Chapter:
    """Return the claims and figures on capacity and numbers of images."""
    made = Chapter()
    wide = networks[networks["arm"].isin(["widths", "widths_labels"])]
    inputs = with_levels(wide, "inputs")
    middle = evidence.asked_trials("counts")[0].recipe.model.widths[0]
    counts = pd.concat([with_levels(networks[networks["arm"] == "counts"], "inputs"), where(inputs, width=middle)])
    counts = counts.drop_duplicates("trial")
    made.tables["capacity"] = pd.concat([wide, counts]).drop_duplicates("trial").drop(columns="trial")
    _counts(evidence, counts, middle, made)
    _widths(inputs, made)
    _best(wide, made)
    made.methods.append(
        "Time to fit: in epochs. The rows in updates were added, to test an explanation, when a first run had shown that epochs "
        "do not grow with the number of images."
    )
    _draw_times(evidence, inputs, counts, middle, made)
    _draw_best(evidence, wide, made)
    return made


def slopes(frame: pd.DataFrame, axis: str, time: str = "t100") -> pd.Series:
    """Return by seed the slope of log(time) against log(axis); NaN unless every network has a time."""
    return log_slope(by_level(frame, time, axis))


def _counts(evidence, counts, width, made):
    statement = "More data slows the fitting of everything, and much more so with noise."
    found = {level: slopes(own, "n") for level, own in counts.groupby("level")}
    said = []
    for level, slope in found.items():
        claim = Claim(
            f"A5-slows-{100 * level:g}", ARPIT, statement, "slope of log epochs to 100 % against log n", (0.0001, np.inf), None,
            "times", condition=f"{percent(level)} of inputs",
        )  # fmt: skip
        made.rows.append((claim, *over_seeds(slope, SHORT)))
        said.append(f"{with_interval(made.rows[-1][1], count=False)} at {percent(level)}")
    batch = evidence.asked_trials("counts")[0].recipe.batch_size
    counts = counts.assign(updates=counts["t100"] * (counts["n"] // batch))
    for level, own in counts.groupby("level"):
        claim = Claim(
            f"A5-updates-{100 * level:g}", "this suite", "Counted in updates, of which an epoch has more with more images, it does.",
            "slope of log updates to 100 % against log n", (0.0001, np.inf), None, "times",
            condition=f"{percent(level)} of inputs",
        )  # fmt: skip
        slope = slopes(own, "n", "updates")
        made.rows.append((claim, *over_seeds(slope, SHORT)))
    for level in list(found)[1:]:
        claim = Claim(
            f"A5-steeper-{100 * level:g}", ARPIT, statement, "that slope, with − without noise", (0.0001, np.inf), None, "times",
            condition=f"{percent(level)} of inputs",
        )  # fmt: skip
        made.rows.append((claim, *over_pairs(found[level], found[0.0], SHORT)))
    made.findings.append(
        f"<b>Time to fit.</b> Epochs to 100 % training accuracy at width {width} grow with the number of images n to the power "
        f"(by share of inputs that are noise): {'; '.join(said)}, n from {counts['n'].min():,} to {counts['n'].max():,}."
    )


def _widths(inputs, made):
    statement = "Less capacity slows the fitting of everything, and much more so with noise."
    widths = sorted(inputs["width"].unique())
    found = {}
    for level, own in inputs.groupby("level"):
        # Narrow networks may never fit everything: the widths that do in all seeds of all levels.
        found[level] = by_level(own, "t100", "width")
    whole = [
        width for width in widths if all(width in table and table[width].notna().all() for table in found.values())
    ]
    note = f"widths {', '.join(map(str, whole)) or 'none'}: those that fit everything in all seeds"
    for level in found:
        own = inputs[(inputs["level"] == level) & inputs["width"].isin(whole)]
        slope = slopes(own, "width") if len(whole) > 1 else pd.Series(dtype=float)
        claim = Claim(
            f"A5-width-{100 * level:g}", ARPIT, statement, "slope of log epochs to 100 % against log width", (-np.inf, -0.0001),
            None, "times", condition=f"{percent(level)} of inputs",
        )  # fmt: skip
        estimate, missing = over_seeds(slope)
        made.rows.append((claim, estimate, "; ".join(filter(None, (note, missing if estimate is not None else "")))))
        found[level] = slope
    for level in list(found)[1:]:
        claim = Claim(
            f"A5-saturates-{100 * level:g}", ARPIT, statement, "that slope, with − without noise", (-np.inf, -0.0001), None,
            "times", condition=f"{percent(level)} of inputs",
        )  # fmt: skip
        made.rows.append((claim, *over_pairs(found[level], found[0.0], SHORT)))


def needed(accuracy: pd.DataFrame) -> float:
    """Return the smallest width whose mean accuracy [seeds, widths] is within half a point of the best mean; NaN for none."""
    means = accuracy.mean().dropna()
    near = means[means >= means.max() - NEAR] if len(means) else means
    return float(near.index.min()) if len(near) else np.nan


def _best(wide, made):
    statement = "With noise, a higher capacity is needed for the best accuracy on new images."
    said = []
    for noise in KINDS:
        own = with_levels(wide, noise)
        tables = {level: by_level(part, "best_test_accuracy", "width") for level, part in own.groupby("level")}
        clean = tables.get(0.0)
        for level, table in tables.items():
            said.append(
                f"{number(needed(table), 0)} at {percent(level)} ({KINDS[noise]})" if level or noise == "inputs" else ""
            )
            if level == 0 or clean is None:
                continue
            narrow, wider = table.columns[len(table.columns) // 2 - 1], table.columns[-1]
            claim = Claim(
                f"A5-needs-{noise}-{100 * level:g}", ARPIT, statement,
                f"gain in best test accuracy from width {narrow} to {wider}, with − without noise, {KINDS[noise]}",
                (0.0001, 1), None, "capacity", condition=percent(level),
            )  # fmt: skip
            made.rows.append(
                (claim, *over_pairs(table[wider] - table[narrow], clean[wider] - clean[narrow], "a diverged network"))
            )
    made.findings.append(
        f"<b>Capacity.</b> The narrowest two layers within {100 * NEAR:g} points of the best mean test accuracy have "
        f"{'; '.join(filter(None, said))} units."
    )


def _draw_times(evidence, inputs, counts, width, made):
    figure, [[units, images]] = figures.grid(1, 2, width=4.0, height=3.0)
    most = inputs["level"].max() or 1
    missing = 0
    for place, frame, axis in ((units, inputs, "width"), (images, counts, "n")):
        for marker, (level, own) in zip("os^Dv", frame.groupby("level")):
            table = by_level(own, "t100", axis)
            missing += int(table.isna().sum().sum())
            # A mean over those that get there would flatter: only where all do.
            whole = table.loc[:, table.notna().all()]
            panels.means(place, whole, Mark(percent(level), shade("inputs", level, most), marker), joined=True)
        figures.count_axis(place, sorted(frame[axis].unique()))
        figures.log_axis(place)
    units.set(xlabel="units a layer", ylabel="epochs to fit everything")
    images.set(xlabel="training images n")
    figures.legend(units, title="inputs that are noise", title_fontsize=8)
    says = [
        f"{percent(level)}: {with_interval(over_seeds(slopes(own, 'n'))[0], count=False)}"
        for level, own in counts.groupby("level")
    ]
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "times"),
            "Time to fit everything, by capacity and by data (the paper's figure 6)",
            f"Slope of log time against log n at width {width}, by share of inputs that are noise: {'; '.join(says)}. Left: n = "
            f"{inputs['n'].max():,} images. Points: means over n = {inputs['seed'].nunique()} seeds with 95 % intervals, only "
            f"where every network gets there ({missing} of the networks drawn from do not, within their epochs).",
            "Epochs to perfect training accuracy against units and against training images, by share of noise inputs.",
        )
    )


def _draw_best(evidence, wide, made):
    figure, axes = figures.grid(1, 2, width=4.0, height=3.0, sharey=True)
    says = []
    for place, noise in zip(axes[0], KINDS):
        own = with_levels(wide, noise)
        most = own["level"].max() or 1
        for marker, (level, part) in zip("os^Dv", own.groupby("level")):
            table = by_level(part, "best_test_accuracy", "width")
            panels.means(place, table, Mark(percent(level), shade(noise, level, most), marker), joined=True)
            says.append(f"{KINDS[noise]}, {percent(level)}: {number(needed(table), 0)}")
        figures.count_axis(place, sorted(own["width"].unique()))
        place.set(xlabel="units a layer", title=KINDS[noise])
        figures.legend(place, title="share replaced", title_fontsize=8)
    axes[0][0].set_ylabel("best test accuracy")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "capacity"),
            "Best test accuracy by capacity and noise (the paper's figure 5)",
            f"Narrowest width within {100 * NEAR:g} points of the best mean: {'; '.join(says)}. Points: means over n = "
            f"{wide['seed'].nunique()} seeds with 95 % intervals, of each network's best evaluation on test images.",
            "Best test accuracy against units a layer by share of noise, on inputs and on labels.",
        )
    )
