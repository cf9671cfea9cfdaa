"""The spread of the test loss over minima of a width, its correlation with training loss, and the share of unlucky minima."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.local_minima.networks import color, lost, of_arms, width_axis, with_width
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics import over_networks
from memo.statistics.intervals import Estimate, share, share_difference
from memo.statistics.over_networks import jackknife
from memo.statistics.over_seeds import noted
from memo.storage.run_folders import Tables

ARM = "minima"
UNLUCKY = 1.1  # times the median test loss of its width
# Pearson correlation of training and test loss over the paper's 1,000 networks, by width, from a third party's notes.
PAPER = {25: 0.7616, 50: 0.6861, 100: 0.5983, 250: 0.5302, 500: 0.4081}
UNIT = "n counts networks"

Losses = dict[int, np.ndarray]  # by width: [2, n], training and test loss of its networks


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the width of every network, and the correlation of losses along training by width."""
    widths = with_width(evidence)
    own = widths[widths["arm"] == ARM][["trial", "width"]]
    curves = evidence.tables.curves.merge(own, on="trial")
    sound = set(evidence.trials["trial"])
    return {"networks": widths, "correlations_along": correlations_along(curves[curves["trial"].isin(sound)])}


def correlations_along(curves: pd.DataFrame) -> pd.DataFrame:
    """Return Pearson's correlation of training and test loss over networks, by width, step and epoch."""
    rows = []
    for (width, step, epoch), own in curves[curves["step"] > 0].groupby(["width", "step", "epoch"]):
        if len(own) >= 3:
            value = over_networks.correlation(own[["train_loss", "test_loss"]].to_numpy().T)
            rows.append((width, step, epoch, float(value), len(own)))
    return pd.DataFrame(rows, columns=["width", "step", "epoch", "correlation", "n"])


def losses_of(tables: Tables) -> Losses:
    """Return training and test losses at the end of training, by width."""
    networks = of_arms(tables, ARM)
    return {
        int(width): own[["final_train_loss", "final_test_loss"]].to_numpy().T
        for width, own in networks.groupby("width")
    }


def unlucky(losses: np.ndarray) -> np.ndarray:
    """Return which networks have a test loss above 1.1 times the median of their own width."""
    return losses > UNLUCKY * np.median(losses)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how a population of minima changes with width."""
    losses = losses_of(tables)
    answers.conditions(width=losses)
    answers.trained_on(of_arms(tables, ARM))
    test = {width: values[1] for width, values in losses.items()}
    notes = {width: noted(UNIT, lost(tables, ARM, width)) for width in losses}
    _spreads(answers, test, notes)
    _correlations(answers, losses, notes)
    first, last = min(losses), max(losses)
    answers.give("unlucky-small", (share(unlucky(test[first])), notes[first]))
    answers.give("unlucky-large", (share(unlucky(test[last])), notes[last]))
    falls = share_difference(unlucky(test[first]), unlucky(test[last]))
    answers.give("unlucky-falls", (falls, noted(notes[first], notes[last])))


def _spreads(answers: Answers, test: Losses, notes: dict[int, str]) -> None:
    statistics: dict[str, Callable] = {"sd-falls": over_networks.sd, "relative-sd-falls": over_networks.relative_sd}
    for claim, of in statistics.items():
        for narrow, wide in pairwise(sorted(test)):
            ratio = jackknife(lambda w, n, of=of: of(w) / of(n), test[wide], test[narrow])
            answers.give(f"{claim}-{{width}}", (ratio, noted(notes[narrow], notes[wide])), width=wide)
        first, last = min(test), max(test)
        ends = jackknife(lambda n, w, of=of: of(n) / of(w), test[first], test[last])
        answers.give(f"{claim}-ends", (ends, noted(notes[first], notes[last])))
    for width, values in test.items():
        answers.give("equal-quality-{width}", (jackknife(over_networks.relative_sd, values), notes[width]), width=width)


def correlation(losses: np.ndarray) -> Estimate:
    """Return the correlation of training and test losses [2, n] over networks."""
    return jackknife(over_networks.correlation, losses, scale="fisher")


def _correlations(answers: Answers, losses: Losses, notes: dict[int, str]) -> None:
    for width in PAPER:
        measured = correlation(losses[width]) if width in losses else None
        answers.give(f"correlation-{width}", (measured, notes.get(width, "this run does not have this width")))

    def gap(narrow: np.ndarray, wide: np.ndarray) -> np.ndarray:
        return over_networks.correlation(narrow) - over_networks.correlation(wide)

    for narrow, wide in pairwise(sorted(losses)):
        difference = jackknife(gap, losses[narrow], losses[wide], scale="linear")
        answers.give("correlation-falls-{width}", (difference, noted(notes[narrow], notes[wide])), width=wide)
    first, last = min(losses), max(losses)
    ends = jackknife(gap, losses[first], losses[last], scale="linear")
    answers.give("correlation-ends", (ends, noted(notes[first], notes[last])))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the distributions of test losses, and their correlation with training losses."""
    losses, text = losses_of(tables), Text("experiments.local_minima", "minima")
    first, last = min(losses), max(losses)
    facts = {
        "first": first,
        "last": last,
        "images": answers.images,
        "ratio": answers["sd-falls-ends"],
        "sds": {width: jackknife(over_networks.sd, losses[width][1]) for width in losses},
        "unlucky": {"first": answers["unlucky-small"], "last": answers["unlucky-large"]},
        "rho": {width: correlation(values) for width, values in losses.items()},
        "gap": answers["correlation-ends"],
        "losses": {width: float(values[0].mean()) for width, values in losses.items()},
        "paper": {width: value for width, value in PAPER.items() if width in losses},
    }
    distributions = figures.save(draw_distributions(losses), evidence.folder, "distributions")
    correlations = figures.save(
        draw_correlations(losses, tables["correlations_along"]), evidence.folder, "correlations"
    )
    return Chapter(
        title="Minima by width",
        findings=[text.block("quality", **facts), text.block("correlation", **facts)],
        figures=[text.figure(distributions, **facts), text.figure(correlations, **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_distributions(losses: Losses) -> Drawing:
    """Return histograms of the test loss by width, its spread, and the share of unlucky minima."""
    figure, [[histograms, spread, tail]] = figures.grid(1, 3, width=3.1, height=2.7, width_ratios=[1.6, 1, 1])
    test = {width: values[1] for width, values in losses.items()}
    _histograms(histograms, test)
    widths = list(test)
    for of, mark in (
        (over_networks.sd, Mark("standard deviation", palette.BLACK, "o")),
        (over_networks.relative_sd, Mark("standard deviation / mean", palette.PURPLE, "s", palette.DASHED)),
    ):
        panels.intervals(spread, {width: jackknife(of, test[width]) for width in widths}, mark, joined=True)
    spread.set(title="spread of the test loss", ylabel="nats, or share of the mean")
    figures.legend(spread, loc="upper right")
    for width in widths:
        figures.interval(tail, width, share(unlucky(test[width])), color=color(width), marker="o", linestyle="")
    tail.set(title="unlucky minima", ylabel="share of networks")
    tail.set_ylim(bottom=0)
    for axes in (spread, tail):
        width_axis(axes, widths)
    spread.set_ylim(0, 1.45 * max(spread.get_ylim()[1], 1e-9))
    return figure


def _histograms(axes: Axes, test: Losses) -> None:
    everything = np.concatenate(list(test.values()))
    # Outliers would compress the rest of the histogram: they are in the last bin.
    low, high = everything.min(), np.quantile(everything, 0.995)
    edges = np.linspace(low, high if high > low else low + 1e-6, 61)
    for width, values in test.items():
        axes.hist(
            np.clip(values, edges[0], edges[-1]),
            bins=edges.tolist(),
            weights=np.full(len(values), 1 / len(values)),
            color=color(width),
            alpha=0.55,
            label=f"width {width}",
        )
    axes.set(title="test loss of minima", xlabel="test loss (nats)", ylabel="share of a width's networks")
    axes.locator_params(axis="x", nbins=5)
    figures.legend(axes)


def draw_correlations(losses: Losses, along: pd.DataFrame) -> Drawing:
    """Return training against test loss of networks, and their correlation by width and along training."""
    figure, [[networks, end, training]] = figures.grid(1, 3, width=3.1, height=2.7)
    for width, both in losses.items():
        scaled = [(values - values.mean()) / (over_networks.sd(values) or 1) for values in both]
        networks.plot(*scaled, ".", color=color(width), markersize=3, alpha=0.6, label=f"width {width}")
        figures.interval(end, width, correlation(both), color=color(width), marker="o", linestyle="")
        if width in PAPER:
            style: palette.Style = {"color": palette.BLACK, "markerfacecolor": "none"}
            end.plot(width, PAPER[width], "D", label="paper, as noted", **style)
    networks.set(
        title="networks, scaled", xlabel="training loss (sd from the mean)", ylabel="test loss (sd from the mean)"
    )
    figures.legend(networks)
    width_axis(end, list(losses))
    end.set(title="correlation at the end")
    figures.legend(end, loc="lower left")
    for width, own in along.groupby("width"):
        training.plot(own["epoch"], own["correlation"], "o-", color=color(int(width)), markersize=3, linewidth=1.3)
    training.set(title="correlation along training")
    if len(along):
        figures.epoch_axis(training, along["epoch"].max())
    for axes in (end, training):
        axes.axhline(0, **palette.REFERENCE)
        axes.set(ylabel="Pearson's correlation", ylim=(-1.03, 1.03))
    return figure
