"""How the slow-down by random labels grows with the number of images, each kind of labels at its best learning rate."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.random_labels.networks import RANDOM, TRUE, declares, of, read
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import Estimate, geometric_mean
from memo.statistics.over_seeds import Answer, over_seeds
from memo.statistics.trends import by_level, log_slope
from memo.storage.run_folders import Tables

TIME = "t99"
KINDS = ("true", "random")
BEST = "each at its best learning rate"
CLAIM = "Z3-exponent-{most}"
RATIOS = (
    Mark("", palette.BLACK, "o"),
    Mark("", palette.SKY, "s", palette.DASHED),
    Mark("", palette.ORANGE, "^", palette.DOTTED),
)


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return nothing: times are in the table of networks."""
    return {}


def times_of(networks: pd.DataFrame) -> dict[str, dict[float, pd.DataFrame]]:
    """Return epochs to 99 % training accuracy [seeds, numbers of images] by kind of labels and learning rate."""
    arms = [networks[networks["arm"] == arm] for arm in ("growth_true", "growth_random")]
    every = pd.concat([*arms, of(networks, TRUE), of(networks, RANDOM)])
    # At `reference`, arms have the same networks in trials that may last differently long.
    own = every.drop_duplicates(["labels", "learning_rate", "images", "seed"])
    return {
        kind: {
            float(rate): by_level(each, TIME, "images")
            for rate, each in own[own["labels"] == kind].groupby("learning_rate")
        }
        for kind in KINDS
    }


def best(by_rate: dict[float, pd.DataFrame]) -> pd.DataFrame:
    """Return the times [seeds, numbers of images], for each number at the rate with the least mean of those that all seeds reach.

    A number of images for which no rate takes all seeds to the level is left out.
    """
    found = {}
    for images in sorted({n for times in by_rate.values() for n in times}):
        reached = [times[images] for times in by_rate.values() if images in times and times[images].notna().all()]
        if reached:
            found[images] = min(reached, key=lambda times: float(np.log(times).mean()))
    return pd.DataFrame(found)


def ratio(slow: pd.DataFrame, fast: pd.DataFrame) -> pd.DataFrame:
    """Return one frame of times over another, for the seeds and numbers of images that both have."""
    one, other = slow.align(fast, join="inner")
    return one / other


def exponent(ratios: pd.DataFrame) -> Answer:
    """Return the mean exponent in n of ratios [seeds, numbers of images], with no seed but those that have all of them."""
    return over_seeds(log_slope(ratios.dropna()), "too few numbers of images", asked=len(ratios))


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how the ratio of times grows with the number of images."""
    ratios = ratio(*(best(times_of(read(tables))[kind]) for kind in KINDS[::-1]))
    most = int(max(ratios.columns, default=0))
    answers.conditions(most=[most])
    if declares(answers, CLAIM, "most", most):
        answers.give(CLAIM, exponent(ratios), images=most, most=most)


def slope_at_best(networks: pd.DataFrame) -> Estimate | None:
    """Return the exponent of the ratio in the number of images, each kind of labels at its best rate."""
    times = times_of(networks)
    return exponent(ratio(*(best(times[kind]) for kind in KINDS[::-1])))[0]


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw times and their ratios by number of images."""
    times, text = times_of(read(tables)), Text("experiments.random_labels", "growth")
    ratios = ratios_of(times)
    whole = ratios[BEST]
    facts = {
        "images": [f"{n:,}" for n in whole],
        "seeds": len(whole),
        "ends": [
            over_seeds(whole[n], estimate=geometric_mean)[0] for n in list(whole)[:: max(len(whole.columns) - 1, 1)]
        ],
        "exponent": exponent(whole)[0],
        "equal": {name: exponent(own)[0] for name, own in ratios.items() if name != BEST},
    }
    file = figures.save(draw_growth(times, ratios), evidence.folder, "growth")
    return Chapter(
        title="The slow-down by number of images",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
    )


def ratios_of(times: dict[str, dict[float, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Return ratios of times, random / true labels: each kind at its best rate, and both at each rate."""
    both = times["random"].keys() & times["true"].keys()
    equal = {f"both at {rate:g}": ratio(times["random"][rate], times["true"][rate]) for rate in sorted(both)}
    return {BEST: ratio(*(best(times[kind]) for kind in KINDS[::-1]))} | equal


def draw_growth(times: dict[str, dict[float, pd.DataFrame]], ratios: dict[str, pd.DataFrame]) -> Drawing:
    """Return epochs to 99 % by number of images, kind of labels and learning rate, and their ratios."""
    figure, [[epochs, factor]] = figures.grid(1, 2, width=4.4, height=3.1)
    rates = palette.level_marks(sorted({rate for own in times.values() for rate in own}))
    for kind, by_rate in times.items():
        for rate, own in by_rate.items():
            name = f"{kind} labels, learning rate {rate:g}"
            mark = rates[rate]._replace(name=name, color=palette.LABELS[kind].color)
            panels.means(epochs, own, mark, joined=True, estimate=geometric_mean)
    for (name, own), mark in zip(ratios.items(), RATIOS):
        panels.means(factor, own, mark._replace(name=name), joined=True, estimate=geometric_mean)
    for axes in (epochs, factor):
        figures.log_axis(axes)
        figures.count_axis(axes, sorted({n for own in ratios.values() for n in own}))
        axes.set_xlabel("images, n")
        figures.legend(axes)
    epochs.set(ylabel="epochs to 99 %")
    factor.set_ylabel("random / true labels")
    return figure
