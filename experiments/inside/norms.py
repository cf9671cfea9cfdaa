"""Norms and margins at equal training loss, true and random labels, by number of images."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.inside.networks import (
    BY_LABELS,
    DIVERGED_OR_SLOW,
    LABELS,
    LEARNED,
    MEMORISED,
    by_count,
    by_seed,
    counts,
    of_arms,
)
from memo.commands.evidence import Evidence
from memo.probes.norms import QUANTILES
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.curve_shape import at_level
from memo.statistics.intervals import geometric_mean, paired_ratio, share
from memo.statistics.over_seeds import Answer, over_pairs, over_seeds
from memo.statistics.trends import log_slope
from memo.storage.run_folders import Tables

# Columns above 0, which are interpolated in their logarithms.
POSITIVE = ("lipschitz", "complexity", "complexity_start", "length", "distance_start")
CAPACITIES = {
    "l2": "squared Frobenius norms",
    "l1_path": "squared path norm",
    "l2_path": "path norm of squares",
    "spectral": "squared spectral norms",
}
MARGINS = tuple(f"margin_{level}" for level in QUANTILES)
SHOWN = (10, 50, 90)  # quantiles of the margins that claims are about


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return each network's norms and margins where it first reaches the training loss at which they are compared."""
    level = float(evidence.settings["norms"]["level"])
    table = evidence.of_all("norms_along").sort_values("step")
    losses = {keys["trial"]: curve.set_index("step")["train_loss"] for keys, curve in evidence.curves()}
    rows = []
    for (trial, arm, seed), own in table.groupby(["trial", "arm", "seed"]):
        found = at_loss(own, losses[trial].reindex(own["step"]).to_numpy(), level)
        rows.append({"trial": trial, "arm": arm, "seed": seed, "loss_level": level} | found)
    return {"networks": pd.DataFrame(rows)}


def at_loss(own: pd.DataFrame, losses: np.ndarray, level: float) -> dict[str, float]:
    """Return the columns of one network's rows, ascending by step, where its training loss first reaches a level; NaN for never."""
    falling, deep = -np.log(losses), -np.log(level)
    with np.errstate(divide="ignore"):  # nothing has moved before the first step
        logs = {name: np.log(own[name].to_numpy()) for name in POSITIVE}
    found = {name: float(np.exp(at_level(falling, values, deep))) for name, values in logs.items()}
    return found | {
        name: at_level(falling, own[name].to_numpy(), deep)
        for name in (*(f"log_{name}" for name in CAPACITIES), *MARGINS, "size")
    }


def with_ratios(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the networks with margins per complexity and capacities per squared margin.

    A margin per complexity is as the source has it: the margin / (spectral complexity x norm of all images / n). Capacities are over the squared 5 % quantile of
    the margins, NaN where that is not above 0.
    """
    scale = networks["images"] / networks["size"]
    per = {f"normalised_{level}": networks[f"margin_{level}"] / networks["complexity"] * scale for level in QUANTILES}
    per["normalised_start"] = networks["margin_50"] / networks["complexity_start"] * scale
    margin = networks["margin_5"].where(networks["margin_5"] > 0)
    per |= {name: np.exp(networks[f"log_{name}"] - 2 * np.log(margin)) for name in CAPACITIES}
    return networks.assign(**per)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much larger norms and how much smaller margins are with random labels, and how both grow with n."""
    networks = with_ratios(of_arms(tables, *BY_LABELS.values()))
    answers.conditions(n=counts(networks))
    for n in counts(networks):
        pairs = {
            name: [by_seed(networks, arm, n, name) for arm in (LEARNED, MEMORISED)]
            for name in ("lipschitz", "normalised_start", *(f"normalised_{level}" for level in SHOWN))
        }
        true, random = pairs["lipschitz"]
        answers.give("lipschitz-{n}", _ratio(random, true), n, n=n)
        for level in SHOWN:
            ratio = _ratio(*pairs[f"normalised_{level}"])
            answers.give("margin-{quantile}-{n}", ratio, n, quantile=level, n=n)
        ratio = _ratio(*pairs["normalised_start"])
        answers.give("margin-start-{n}", ratio, n, n=n)
        whole = pd.DataFrame(dict(zip(BY_LABELS, pairs["normalised_50"]))).dropna()
        every = share(whole["random"] < whole["true"]), "" if len(whole) else DIVERGED_OR_SLOW
        answers.give("margin-every-{n}", every if len(whole) else (None, DIVERGED_OR_SLOW), n, n=n)
    for name in CAPACITIES:
        slopes = {kind: log_slope(by_count(networks, arm, name)) for kind, arm in BY_LABELS.items()}
        answers.give("growth-{measure}", over_seeds(slopes["random"], DIVERGED_OR_SLOW), measure=name)
        gap = over_pairs(slopes["random"], slopes["true"], DIVERGED_OR_SLOW)
        answers.give("growth-gap-{measure}", gap, measure=name)


def _ratio(one: pd.Series, other: pd.Series) -> Answer:
    """Return the geometric mean of one / other, by seed; a value that is not above 0 has no ratio."""
    one, other = (values.where(values > 0) for values in (one, other))
    return over_pairs(one, other, DIVERGED_OR_SLOW, estimate=paired_ratio)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw norms and margins by number of images, and the growth of capacities."""
    text = Text("experiments.inside", "norms")
    networks = with_ratios(of_arms(tables, *BY_LABELS.values()))
    sizes = counts(networks)
    if not sizes:
        return Chapter(title="Norms and margins")
    most = sizes[-1]
    facts = {
        "most": most,
        "level": float(networks["loss_level"].iloc[0]),
        "lipschitz": answers[f"lipschitz-{most}"],
        "margin": answers[f"margin-50-{most}"],
        "margins": {level: answers[f"margin-{level}-{most}"] for level in SHOWN},
        "growth": {name: answers[f"growth-{name}"] for name in CAPACITIES},
        "gap": {name: answers[f"growth-gap-{name}"] for name in CAPACITIES},
        "names": CAPACITIES,
        "seeds": networks["seed"].nunique(),
        "sizes": [f"{n:,}" for n in sizes],
    }
    drawn = {"norms": draw_norms(networks, sizes), "growth": draw_growth(networks, sizes)}
    files = [figures.save(each, evidence.folder, name) for name, each in drawn.items()]
    return Chapter(
        title="Norms and margins",
        findings=[text.block("finding", **facts), text.block("finding_growth", **facts)],
        figures=[text.figure(file, **facts) for file in files],
        methods=[text.block("methods", **facts)],
    )


def draw_norms(networks: pd.DataFrame, sizes: list[int]) -> Drawing:
    """Return the product of spectral norms by number of images, and the distribution of margins per complexity at the largest."""
    figure, [[norms, medians, margins]] = figures.grid(1, 3, width=3.5, height=3)
    for kind, arm in BY_LABELS.items():
        panels.means(norms, by_count(networks, arm, "lipschitz"), LABELS[kind], joined=True, estimate=geometric_mean)
        own = by_count(networks, arm, "normalised_50")
        panels.means(medians, own.where(own > 0), LABELS[kind], joined=True, estimate=geometric_mean)
        _quantiles(margins, networks[(networks["arm"] == arm) & (networks["images"] == sizes[-1])], kind)
    for axes in (norms, medians):
        figures.log_axis(axes)
        figures.count_axis(axes, sizes)
        axes.set_xlabel("training images, n")
    norms.set_ylabel("product of spectral norms")
    medians.set_ylabel("median margin\nper complexity")
    margins.set(
        xlabel=f"margin per complexity, n = {sizes[-1]:,}",
        ylabel="share of training images\nwith a smaller margin",
        ylim=(0, 1),
    )
    figures.shared_legend(figure, norms)
    return figure


def _quantiles(axes: Axes, own: pd.DataFrame, kind: str) -> None:
    """Draw the quantiles of each network's margins per complexity as a thin line, and their means as a thick one."""
    values = own[[f"normalised_{level}" for level in QUANTILES]].dropna().to_numpy()
    if len(values):
        shares, line = np.array(QUANTILES) / 100, LABELS[kind].line
        axes.plot(values.T, shares, **line, alpha=0.3, linewidth=0.7)
        axes.plot(values.mean(axis=0), shares, **line, linewidth=2)


def draw_growth(networks: pd.DataFrame, sizes: list[int]) -> Drawing:
    """Return each capacity over the squared margin by number of images and labels."""
    figure, [row] = figures.grid(1, 4, width=2.75, height=2.8)
    for axes, (name, words) in zip(row, CAPACITIES.items()):
        for kind, arm in BY_LABELS.items():
            panels.means(axes, by_count(networks, arm, name), LABELS[kind], joined=True, estimate=geometric_mean)
        figures.log_axis(axes)
        figures.count_axis(axes, sizes)
        axes.tick_params(axis="x", labelsize=8, rotation=45)
        axes.set(title=words, xlabel="training images, n")
    row[0].set_ylabel("product of norms / margin²")
    figures.shared_legend(figure, row[0])
    return figure
