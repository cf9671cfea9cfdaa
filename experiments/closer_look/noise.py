"""A3 and A4: noise on inputs and on labels. Test accuracy peaks before memorisation; critical samples (figure 7)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.closer_look.networks import (
    KINDS,
    images_of,
    level_marks,
    linear_fit,
    names,
    treated,
    with_levels,
)
from memo.commands.evidence import Evidence
from memo.probes.critical_samples import FINE_RADII, FINE_SAMPLES, RADII
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text, percent
from memo.statistics.intervals import mean_share, share
from memo.statistics.over_seeds import LOST, Answer, over_seeds, where
from memo.statistics.trends import by_level, smallest_step
from memo.storage.run_folders import Tables

ARMS = ("noise_inputs", "noise_labels")
LINEAR = {"inputs": "linear_inputs", "labels": "linear_labels"}  # softmax regression on the same images and labels
# At the largest radius nearly every image is critical without any noise: it is drawn, but decides no claim.
DECIDING = RADII[:3]
BASELINE = 0.8  # the level at which a claim compares the two
FITTED = 0.99  # training accuracy from which noise counts as memorised
RATIO = "critical_sample_ratio"


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return outcomes of training with noise, and the critical sample ratios along it and of more images at its end."""
    along = evidence.of_all("critical_samples_along").drop_duplicates(["trial", "step", "inputs", "radius"])
    fine = evidence.of_all("critical_samples_fine").drop_duplicates(["trial", "radius"])
    columns = ["trial", "seed", "step", "epoch", "inputs", "radius", RATIO]
    return {
        "networks": treated(evidence, [*ARMS, *LINEAR.values()]),
        "critical_samples": along[columns],
        "critical_samples_fine": fine[["trial", "seed", "radius", "n", RATIO]],
    }


def by_noise(tables: Tables) -> dict[str, pd.DataFrame]:
    """Return the networks of each kind of noise, including those without noise, by level and seed."""
    return {noise: with_levels(tables["networks"], noise, ARMS) for noise in KINDS}


def critical(ratios: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """Return by network, set of images and radius the ratio at the `end`, and its `rise` since the best test accuracy.

    Between two measurements the ratio is linear in log(1 + step), as which they are spaced. NaN for diverged networks.
    """
    rows = []
    joined = ratios.sort_values("step").merge(networks[["trial", "level", "best_step"]], on="trial")
    for key, own in joined.groupby(["level", "seed", "inputs", "radius"]):
        end, best = own[RATIO].iloc[-1], own["best_step"].iloc[0]
        at_best = np.interp(np.log1p(best), np.log1p(own["step"]), own[RATIO])
        rows.append((*key, end, end - at_best))
    return pd.DataFrame(rows, columns=["level", "seed", "inputs", "radius", "end", "rise"])


def lowest_step(levels: pd.DataFrame) -> Answer:
    """Return the smallest mean rise from one level to the next, of values [seeds, levels]."""
    if levels.shape[1] < 2:
        return None, "only one level of noise has values"
    return over_seeds(levels, LOST, estimate=smallest_step)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer where test accuracy peaks under label noise, its loss by noise, and the change of critical samples."""
    levels, images = by_noise(tables), images_of(by_noise(tables)["labels"])
    noisy = levels["labels"][levels["labels"]["level"] > 0]
    answers.conditions(level=names(sorted(noisy["level"].unique())), radius=[f"{radius:g}" for radius in DECIDING])
    answers.give("sanity-fitted", (share(noisy["final_train_accuracy"] >= FITTED), ""), images)
    for level, own in noisy.groupby("level"):
        percents = f"{100 * level:g}"
        memorised = own["train_accuracy_at_best"] - (1 - own["changed"])
        answers.give("A3-before-{level}", over_seeds(memorised, LOST), images, level=percents)
        fall = own["best_test_accuracy"] - own["final_test_accuracy"]
        answers.give("A3-falls-{level}", over_seeds(fall, LOST, estimate=mean_share), images, level=percents)
        chosen = own["best_by_validation_test_accuracy"] - own["final_test_accuracy"]
        answers.give("A3-falls-validation-{level}", over_seeds(chosen, LOST), images, level=percents)
    for noise, own in levels.items():
        for which in ("best", "final"):
            falls = lowest_step(-by_level(own, f"{which}_test_accuracy"))
            answers.give("A3-order-{which}-{noise}", falls, images, which=which, noise=noise)
        if BASELINE in (fits := linear_fit(tables["networks"], LINEAR[noise])):
            answers.give("linear-baseline-{noise}", fits[BASELINE], images, noise=noise)
        _give_fine(answers, noise, tables["critical_samples_fine"].merge(own[["trial", "level"]], on="trial"), images)
        near = critical(tables["critical_samples"], own)
        for radius in DECIDING:
            at = where(near, inputs="test", radius=radius)
            rises = lowest_step(by_level(at, "end"))
            answers.give("A4-more-{noise}-{radius}", rises, images, noise=noise, radius=f"{radius:g}")
            for level in noisy["level"].unique() if noise == "labels" else ():
                values = own[own["level"] == level][["seed"]].merge(where(at, level=level), on="seed", how="left")
                keys = {"level": f"{100 * level:g}", "radius": f"{radius:g}"}
                answers.give("A4-rises-{level}-{radius}", over_seeds(values["rise"], LOST), images, **keys)


def _give_fine(answers: Answers, noise: str, fine: pd.DataFrame, images: int | None) -> None:
    """Answer by how much more of the test images are critical at each further level, where there are as many as claimed."""
    if fine.empty or fine["n"].min() < FINE_SAMPLES:
        return
    for radius, own in fine.groupby("radius"):
        rises = lowest_step(by_level(own, RATIO))
        answers.give("A4-more-fine-{noise}-{radius}", rises, images, noise=noise, radius=f"{radius:g}")


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw accuracies and critical samples along training, and critical samples at its end, by noise."""
    levels, text = by_noise(tables), Text("experiments.closer_look", "noise")
    labels = levels["labels"]
    shown = names(sorted(level for level in labels["level"].unique() if level))
    ends = {noise: critical(tables["critical_samples"], own) for noise, own in levels.items()}
    linear = {noise: linear_fit(tables["networks"], arm) for noise, arm in LINEAR.items()}
    fine = {noise: tables["critical_samples_fine"].merge(own[["trial", "level"]]) for noise, own in levels.items()}
    paper = {noise: where(own, inputs="test", radius=RADII[0]) for noise, own in ends.items()}
    facts = {
        "falls": {level: answers[f"A3-falls-{level}"] for level in shown},
        "paper": f"{RADII[0]:g}",
        "more": {noise: {f"{r:g}": answers[f"A4-more-{noise}-{r:g}"] for r in DECIDING} for noise in KINDS},
        "top": {
            noise: over_seeds(own[own["level"] == own["level"].max()]["end"], estimate=mean_share)[0]
            for noise, own in paper.items()
        },
        "rises": [answers[f"A4-rises-{level}-{r:g}"] for level in shown for r in DECIDING],
        "ceiling": where(ends["labels"], inputs="test", radius=RADII[-1], level=0)["end"].mean(),
        "widest": RADII[-1],
        "kinds": {noise: mark.name for noise, mark in KINDS.items()},
        "best_epoch": {percent(level): over_seeds(own["best_epoch"])[0] for level, own in labels.groupby("level")},
        "seeds": labels["seed"].nunique(),
        "images": images_of(labels),
        "fitted": FITTED,
        "linear": {KINDS[noise].name: fit for noise, fit in linear.items()},
        "more_images": int(tables["critical_samples_fine"]["n"].max()) if len(tables["critical_samples_fine"]) else 0,
        "fine": [f"{radius:g}" for radius in FINE_RADII],
        "held_out": evidence.asked_trials("noise_labels")[0].recipe.dataset.n_validation,
        "baseline": BASELINE,
    }
    curves = draw_curves(evidence.tables.curves, levels, tables["critical_samples"], linear)
    return Chapter(
        title="Noise: early peaks and critical samples",
        findings=[text.block("finding_peak", **facts), text.block("finding_critical", **facts)],
        figures=[
            text.figure(figures.save(curves, evidence.folder, "noise"), **facts),
            text.figure(figures.save(draw_radii(ends, fine), evidence.folder, "critical"), **facts),
        ],
        methods=[text.block("methods_noise", **facts), text.block("methods_critical", **facts)],
    )


def draw_curves(
    curves: pd.DataFrame,
    levels: dict[str, pd.DataFrame],
    ratios: pd.DataFrame,
    linear: Mapping[str, Mapping[float, Answer]],
) -> Drawing:
    """Return accuracies and critical sample ratios at two radii by epoch, one row per kind of noise, a line per level.

    Dotted in the panels of training accuracy: what softmax regression reaches at the end of its training, by kind and level.
    """
    radii = (RADII[0], RADII[2])
    marks = level_marks(pd.concat(list(levels.values()))["level"], "{} replaced")
    figure, grid = figures.grid(len(levels), 2 + len(radii), width=2.7, height=2.5, sharex=True)
    for row, (noise, networks) in zip(grid, levels.items()):
        sound = networks[networks["best_step"].notna()][["trial", "level"]]
        along = curves.merge(sound, on="trial")
        near = where(ratios, inputs="test").merge(sound, on="trial")
        panels_of = [(along, "train_accuracy", "training accuracy"), (along, "test_accuracy", "test accuracy")]
        panels_of += [(where(near, radius=r), RATIO, f"critical, r = {r:g} / 255") for r in radii]
        for axes, (frame, column, words) in zip(row, panels_of):
            for level, mark in marks.items():
                own = frame[frame["level"] == level]
                panels.mean_line(axes, own, column, label=mark.name, **mark.line)
            figures.epoch_axis(axes, along["epoch"].max())
            axes.set(ylabel=words, xlabel="" if row is grid[0] else "epoch")
        for level, (fit, _) in linear[noise].items():
            if fit and level in marks:
                row[0].axhline(fit.value, color=marks[level].color, linestyle=":", linewidth=1)
        for axes in row[:2]:
            axes.set_ylim(0, 1.03)
        row[0].set_ylabel(f"{KINDS[noise].name}\n\ntraining accuracy")
    figures.shared_legend(figure, grid[0][0])
    return figure


def draw_radii(ends: dict[str, pd.DataFrame], fine: dict[str, pd.DataFrame]) -> Drawing:
    """Return the critical sample ratio at the end of training against the share of noise, by radius and set of images.

    In the last row that of more test images, at the radii of `fine`.
    """
    figure, grid = figures.grid(3, len(RADII), width=2.6, height=2.3, sharex=True)
    for axes, radius in zip(grid[2], FINE_RADII):
        for noise, mark in KINDS.items():
            panels.means(axes, by_level(where(fine[noise], radius=radius), RATIO), mark, joined=True)
        axes.set_ylim(bottom=0)
        axes.set(title=f"r = {radius:g} / 255", xlabel="share replaced")
    grid[2][0].set_ylabel("critical share of\nmore test images")
    for axes in grid[2][len(FINE_RADII) :]:
        axes.set_visible(False)
    for row, (inputs, words) in zip(grid, (("test", "test"), ("train", "training"))):
        for axes, radius in zip(row, RADII):
            for noise, mark in KINDS.items():
                own = by_level(where(ends[noise], inputs=inputs, radius=radius), "end")
                panels.means(axes, own, mark, joined=True)
            axes.set_ylim(bottom=0)
            axes.set(title=f"r = {radius:g} / 255", xlabel="share replaced")
            axes.tick_params(labelbottom=True)  # the last row has other radii, and fewer
        row[0].set_ylabel(f"critical share of\n{words} images")
    figures.shared_legend(figure, grid[0][0])
    return figure
