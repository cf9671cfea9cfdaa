"""A3 and A4: noise on inputs and on labels. Validation accuracy peaks before memorisation; critical samples (figure 7)."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex

from experiments.closer_look.networks import ARPIT, COLORS, SHADES, percent, rank_correlation, with_levels
from memo.commands.evidence import Evidence
from memo.networks.status import DIVERGED
from memo.probes.critical_samples import RADII
from memo.reporting import figures, palette, panels
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.palette import Mark
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.over_seeds import over_seeds
from memo.statistics.trends import by_level, smallest_step

ARMS = ["noise_inputs", "noise_labels"]
KINDS = {"inputs": "noise on inputs", "labels": "noise on labels"}
PAPERS_RADIUS = RADII[0]


def chapter(evidence: Evidence, networks: pd.DataFrame) -> Chapter:
    """Return the claims and figures along training with noise."""
    made = Chapter()
    own = networks[networks["arm"].isin(ARMS)]
    levels = {noise: with_levels(own, noise) for noise in KINDS}
    ratios = critical(evidence, levels)
    made.tables["noise"] = pd.concat([frame.assign(series=noise) for noise, frame in levels.items()]).drop(
        columns="trial"
    )
    made.tables["critical_samples"] = ratios.drop(columns="trial")
    _peaks(levels, made)
    _critical_claims(levels, ratios, made)
    _draw_curves(evidence, levels, ratios, made)
    _draw_radii(evidence, ratios, made)
    made.methods.append(
        "Noise: a share of the training inputs replaced by Gaussian noise with the mean and sd of the data (with the labels "
        "that their images had), or of the labels redrawn uniformly, so that 0.9 of those change. Test images stay natural and "
        "test labels true. They choose the best evaluation and measure it, which flatters it. All levels of a seed share "
        "images, starts and minibatches."
    )
    made.methods.append(
        "Critical samples: of 500 test (or training) images, the share for which the LASS search of the authors' code finds "
        "another answer within a box of radius r a pixel; steps of 0.25 / 0.3 r along the sign of the gradient and Gaussian "
        "noise of sd 0.2 / 0.3 r, which at r = 0.3 / 255 are the paper's 0.25 and 0.2; at most 100 iterations, and none after "
        "one that finds fewer than 20 new ones of 500; what is once critical stays counted. No projection onto [0, 1], as in "
        "the authors' code."
    )
    return made


def critical(evidence: Evidence, levels: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the critical sample ratios along training with their networks' noise and level, a row a series."""
    measured = (
        evidence.tables["critical_samples_along"]
        .drop(columns="seed")
        .drop_duplicates(["trial", "step", "inputs", "radius"])
    )
    return pd.concat(
        [
            measured.merge(frame[["trial", "seed", "level", "best_step"]], on="trial").assign(noise=noise)
            for noise, frame in levels.items()
        ],
        ignore_index=True,
    )


def at_the_end(ratios: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of each network, set of images and radius."""
    keys = ["noise", "trial", "inputs", "radius"]
    return ratios.sort_values("step").groupby(keys, as_index=False).last()


def rise_after_peak(ratios: pd.DataFrame) -> pd.DataFrame:
    """Return by network, set of images and radius the ratio at the end minus that at the best test accuracy.

    Between two measurements linear in log(1 + step), as which they are spaced.
    """

    def of_network(own):
        own, best = own.sort_values("step"), own["best_step"].iloc[0]
        if not np.isfinite(best):  # a diverged network
            return np.nan
        at_best = np.interp(np.log1p(best), np.log1p(own["step"]), own["critical_sample_ratio"])
        return own["critical_sample_ratio"].iloc[-1] - at_best

    keys = ["noise", "level", "seed", "inputs", "radius"]
    rows = [(*key, of_network(own)) for key, own in ratios.groupby(keys)]
    return pd.DataFrame(rows, columns=[*keys, "rise"])


def _peaks(levels, made):
    statement = "With random labels, accuracy on new images peaks before the training set is fitted, then falls as noise is memorised."
    labels = levels["labels"]
    noisy = labels[labels["level"] > 0]
    falls = {}
    for level, own in noisy.groupby("level"):
        claim = Claim(
            f"A3-before-{100 * level:g}", ARPIT, statement, "training accuracy where test accuracy is best", (0, 0.9), None,
            "noise", condition=percent(level),
        )  # fmt: skip
        made.rows.append((claim, *over_seeds(own["train_accuracy_at_best"])))
    for level, own in noisy.groupby("level"):
        claim = Claim(
            f"A3-falls-{100 * level:g}", ARPIT, statement, "best − final test accuracy", (0.02, 1), (0.0001, 1), "noise",
            condition=percent(level),
        )  # fmt: skip
        falls[level] = over_seeds(own["best_test_accuracy"] - own["test_accuracy"])
        made.rows.append((claim, *falls[level]))
    for level, own in noisy.groupby("level"):
        claim = Claim(
            f"sanity-fitted-{100 * level:g}", "this suite", "Every network had the time to memorise.",
            "final training accuracy", (0.99, 1), None, "noise", condition=percent(level),
        )  # fmt: skip
        made.rows.append((claim, *over_seeds(own["train_accuracy"])))
    statement = "The more noise, the lower the best and the final accuracy on new images."
    for noise, own in levels.items():
        for column, words in (("best_test_accuracy", "best"), ("test_accuracy", "final")):
            claim = Claim(
                f"A3-order-{words}-{noise}", ARPIT, statement, f"smallest mean fall of the {words} test accuracy to the next level",
                (0.0001, 1), None, "noise", condition=KINDS[noise],
            )  # fmt: skip
            table = -by_level(own, column)
            fall = (
                over_seeds(table, estimate=smallest_step)
                if table.shape[1] > 1
                else (None, "no level of noise was trained")
            )
            made.rows.append((claim, *fall))
    if falls:
        made.findings.append(
            "<b>Early peak.</b> With a share of labels redrawn, test accuracy ends below its best by "
            + "; ".join(
                f"{with_interval(found, count=False)} at {percent(level)}" for level, (found, _) in falls.items()
            )
            + ". Training accuracy where it is best: "
            + "; ".join(
                f"{with_interval(over_seeds(own['train_accuracy_at_best'])[0], count=False)} at {percent(level)}"
                for level, own in noisy.groupby("level")
            )
            + f" (n = {noisy['seed'].nunique()} seeds)."
        )


def _critical_claims(levels, ratios, made):
    ends, rises = at_the_end(ratios), rise_after_peak(ratios)
    statement = "The more noise, the more test images are critical."
    found = {}
    for noise in KINDS:
        for radius in RADII:
            own = ends[(ends["noise"] == noise) & (ends["inputs"] == "test") & (ends["radius"] == radius)]
            ranks = rank_correlation(by_level(own, "critical_sample_ratio"))
            claim = Claim(
                f"A4-more-{noise}-{radius:g}", ARPIT if radius == PAPERS_RADIUS else "protocol after Arpit et al. 2017",
                statement, f"Spearman correlation of level and final ratio, {KINDS[noise]}", (0.9, 1), (0.0001, 1), "critical",
                condition=f"r = {radius:g} / 255",
            )  # fmt: skip
            found[noise, radius] = over_seeds(ranks, "no two levels differ, fewer than three, or a diverged network")
            made.rows.append((claim, *found[noise, radius]))
    statement = "While test accuracy falls from its peak, the critical sample ratio goes on rising."
    for level in sorted(level for level in levels["labels"]["level"].unique() if level > 0):
        for radius in RADII:
            own = rises[
                (rises["noise"] == "labels") & (rises["level"] == level) & (rises["inputs"] == "test") & (rises["radius"] == radius)
            ]  # fmt: skip
            claim = Claim(
                f"A4-rises-{100 * level:g}-{radius:g}",
                ARPIT if radius == PAPERS_RADIUS else "protocol after Arpit et al. 2017",
                statement, f"ratio, end − best test accuracy, {percent(level)} of labels", (0.0001, 1), None, "critical",
                condition=f"r = {radius:g} / 255",
            )  # fmt: skip
            made.rows.append((claim, *over_seeds(own["rise"])))
    paper = ends[(ends["radius"] == PAPERS_RADIUS) & (ends["inputs"] == "test")]
    top = {
        noise: paper[(paper["noise"] == noise) & (paper["level"] == paper[paper["noise"] == noise]["level"].max())]
        for noise in KINDS
    }
    made.findings.append(
        "<b>Critical samples.</b> Rank correlation of noise level and final ratio over test images, by radius (of 255): "
        + "; ".join(
            f"{KINDS[noise]} "
            + ", ".join(f"{with_interval(found[noise, radius][0], count=False)} at {radius:g}" for radius in RADII)
            for noise in KINDS
        )
        + ". At the paper's radius the ratio itself is "
        + " and ".join(
            f"{with_interval(over_seeds(own['critical_sample_ratio'])[0])} at the highest level of {KINDS[noise]}"
            for noise, own in top.items()
        )
        + "."
    )


def shade(noise: str, level: float, most: float) -> str:
    """Return the colour of a level of noise, of which `most` is the highest."""
    if level == 0:
        return COLORS["true"]
    return to_hex(colormaps[SHADES[noise]](0.35 + 0.6 * level / most))


def _draw_curves(evidence, levels, ratios, made):
    middle = RADII[2]
    figure, axes = figures.grid(2, 4, width=2.7, height=2.5, sharex=True)
    for row, (noise, frame) in zip(axes, levels.items()):
        sound = frame[frame["status"] != DIVERGED]
        curves = evidence.tables.curves.merge(sound[["trial", "level"]], on="trial")
        most = frame["level"].max() or 1
        for level in sorted(frame["level"].unique()):
            style: palette.Style = {"color": shade(noise, level, most), "label": percent(level)}
            own = curves[curves["level"] == level]
            panels.mean_line(row[0], own, "train_accuracy", **style)
            panels.mean_line(row[1], own, "test_accuracy", **style)
            for place, radius in ((row[2], PAPERS_RADIUS), (row[3], middle)):
                near = ratios[
                    (ratios["noise"] == noise) & (ratios["level"] == level) & (ratios["inputs"] == "test") & (ratios["radius"] == radius)
                ]  # fmt: skip
                panels.mean_line(place, near, "critical_sample_ratio", **style)
        row[0].set_ylabel(f"{KINDS[noise]}\n\ntraining accuracy")
        row[1].set_ylabel("test accuracy")
        row[2].set_ylabel(f"critical, r = {PAPERS_RADIUS:g} / 255")
        row[3].set_ylabel(f"critical, r = {middle:g} / 255")
        for place in row[:2]:
            place.set_ylim(0, 1.03)
        for place in row:
            figures.epoch_axis(place, curves["epoch"].max())
            if row is axes[0]:
                place.set_xlabel("")
        figures.legend(row[0], loc="lower right", title="share replaced", title_fontsize=8)
    labels = levels["labels"]
    says = []
    for level, own in labels.groupby("level"):
        epoch, best = over_seeds(own["best_epoch"])[0], over_seeds(own["best_test_accuracy"])[0]
        if epoch is not None and best is not None:
            says.append(f"{percent(level)}: {number(best.value)} at epoch {number(epoch.value, 1)}")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "noise"),
            "Accuracy and critical samples along training, with noise (the paper's figure 7)",
            f"Best test accuracy by share of labels redrawn: {'; '.join(says) or 'n/a'} (means of the networks' own best "
            f"evaluations). Lines: means over n = {labels['seed'].nunique()} seeds, bands: all of them. Vertical line: the end "
            "of the first epoch. Ratios are over test images.",
            "Training accuracy, test accuracy and critical sample ratios by epoch, for noise on inputs and on labels.",
        )
    )


def _draw_radii(evidence, ratios, made):
    ends = at_the_end(ratios)
    figure, axes = figures.grid(2, len(RADII), width=2.6, height=2.3, sharex=True)
    said = []
    for row, inputs in zip(axes, ("test", "train")):
        for place, radius in zip(row, RADII):
            for noise in KINDS:
                own = by_level(
                    ends[(ends["noise"] == noise) & (ends["inputs"] == inputs) & (ends["radius"] == radius)],
                    "critical_sample_ratio",
                )
                marker = "o" if noise == "inputs" else "s"
                panels.means(place, own, Mark(KINDS[noise], COLORS[noise], marker), joined=True)
                means = own.mean().dropna()
                if len(means) and inputs == "test" and noise == "labels":
                    said.append(f"r = {radius:g} / 255: {number(means.iloc[0])} to {number(means.iloc[-1])}")
            place.set_ylim(bottom=0)
            if inputs == "test":
                place.set_title(f"r = {radius:g} / 255")
            else:
                place.set_xlabel("share replaced")
        row[0].set_ylabel(f"critical share of\n{inputs if inputs == 'test' else 'training'} images")
    figures.shared_legend(figure, axes[0][0])
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "critical"),
            "Critical samples at the end of training, by noise and radius",
            f"Without noise, and with the most on labels, on test images: {'; '.join(said) or 'n/a'}. The paper reports its radius "
            "of 0.3 (of 255). Points: means over seeds with 95 % intervals, "
            f"n = {ends['seed'].nunique()}; axes differ in scale.",
            "Critical sample ratio against the share of noise for four radii, on test and on training images.",
        )
    )
