"""The talk's statements about this paper, over widths, numbers of images and learning rates."""

import itertools
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.closer_look.networks import of_arms, treated
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.over_seeds import NEVER, Answer, mean, over_seeds, ratio, slowdown, twins
from memo.statistics.trends import log_slope
from memo.storage.run_folders import Tables

ARM, LINEAR = "talk", "linear_talk"


class Measure(NamedTuple):
    """A number of one setting: its column, its name in the figure, and its value for a straight line or equal curves."""

    column: str
    words: str
    null: float


MEASURES = {
    "linear-loss": Measure("loss_linearity", "R² of a line,\nloss, shuffled", 1),
    "linear-accuracy": Measure("accuracy_linearity", "R² of a line,\naccuracy, shuffled", 1),
    "slower": Measure("t90", "time to 90 %,\nshuffled / true", 1),
    "fiddles": Measure("loss_start", "time to 10 % / 10 to 50 %,\nloss, true", 0.25),
    "steeper": Measure("loss_steepness", "steepest slope, loss,\ntrue / shuffled", 1),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the outcomes of the talk's arm, and of softmax regression on the same labels, with the statistics of the shape of its training curves."""
    shapes = [each.column for name, each in MEASURES.items() if name != "slower"]  # t90 is in every table of networks
    return {"networks": treated(evidence, [ARM, LINEAR], shapes)}


def settings(tables: Tables) -> dict[tuple[float, int, int], pd.DataFrame]:
    """Return the networks of each rate, width and number of images."""
    own = of_arms(tables["networks"], [ARM])
    own = own.assign(epochs_trained=own["epochs"])
    return {(rate, int(width), int(n)): cell for (rate, width, n), cell in own.groupby(["rate", "width", "images"])}


def measured(cell: pd.DataFrame, name: str) -> Answer:
    """Return the estimate of one statistic in one setting: of one kind of labels, or a ratio of twins."""
    column, width, seeds = MEASURES[name].column, cell["width"].iloc[0], cell["seed"].nunique()
    if name == "slower":
        return slowdown(cell, cell, column, width)
    if name == "steeper":
        return ratio(cell, column, width, seeds, inverse=True)
    return mean(cell, column, "true" if name == "fiddles" else "shuffled", width, seeds)


def exponent(cells: dict[int, pd.DataFrame]) -> Answer:
    """Return the exponent in n of the factor of times to 90 %, from the networks of one rate and width by n."""
    pairs = {n: twins(cell, "t90", cell["width"].iloc[0]) for n, cell in cells.items()}
    return over_seeds(log_slope(pd.DataFrame({n: own["shuffled"] / own["true"] for n, own in pairs.items()})), NEVER)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer where the curves agree with the talk, and how the ratio of times, shuffled to true labels, scales with n."""
    found = settings(tables)
    rates, widths, counts = (sorted(set(values)) for values in zip(*found))
    answers.conditions(rate=[f"{rate:g}" for rate in rates], width=widths, n=counts)
    for (rate, width, n), cell in found.items():
        for name in MEASURES:
            keys = {"width": width, "n": n, "rate": f"{rate:g}"}
            answers.give(f"talk-{name}-{{width}}-{{n}}-{{rate}}", measured(cell, name), n, **keys)
    for rate, width in itertools.product(rates, widths):
        cells = {n: cell for (own_rate, own_width, n), cell in found.items() if (own_rate, own_width) == (rate, width)}
        grows = exponent(cells) if len(cells) > 1 else (None, "one number of images has no exponent")
        answers.give("talk-exponent-{width}-{rate}", grows, max(counts), width=width, rate=f"{rate:g}")


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the statistics of all settings against the number of images."""
    found, text = settings(tables), Text("experiments.closer_look", "talk")
    rates, widths, counts = (sorted(set(values)) for values in zip(*found))
    ids = {name: [f"talk-{name}-{w}-{n}-{rate:g}" for rate, w, n in found] for name in MEASURES}
    grows = [answers[f"talk-exponent-{width}-{rate:g}"] for rate, width in itertools.product(rates, widths)]
    facts = {
        "settings": len(found),
        "widths": widths,
        "counts": counts,
        "rates": [f"{rate:g}" for rate in rates],
        "held": {name: sum(answers.verdict(id) == "reproduced" for id in each) for name, each in ids.items()},
        "exponents": [one for one in grows if one],
        "asked": len(grows),
        "linear": of_arms(tables["networks"], [LINEAR]).groupby("images")["final_train_accuracy"].mean().to_dict(),
        "seeds": of_arms(tables["networks"], [ARM])["seed"].nunique(),
    }
    cells = {name: {key: measured(cell, name)[0] for key, cell in found.items()} for name in MEASURES}
    return Chapter(
        title="The talk's sentences at other settings",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(draw_settings(cells, rates, widths), evidence.folder, "talk"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_settings(cells: dict[str, dict], rates: list[float], widths: list[int]) -> Drawing:
    """Return each statistic against the number of images, one row per learning rate, a line per width."""
    figure, grid = figures.grid(len(rates), len(MEASURES), width=2.4, height=2.3, sharex=True, sharey="col")
    marks = palette.level_marks(widths, "{} units")
    for row, rate in zip(grid, rates):
        for axes, (name, each) in zip(row, MEASURES.items()):
            for width, mark in marks.items():
                line = {n: found for (r, w, n), found in cells[name].items() if (r, w) == (rate, width)}
                panels.intervals(axes, line, mark, joined=True)
            axes.axhline(each.null, **palette.REFERENCE)
            figures.count_axis(axes, sorted({n for _, _, n in cells[name]}))
            axes.set(
                title=each.words if rate == rates[0] else "", xlabel="training images n" if rate == rates[-1] else ""
            )
            axes.title.set_fontsize(9)
        row[0].set_ylabel(f"learning rate {rate:g}")
    figures.shared_legend(figure, grid[0][0])
    return figure
