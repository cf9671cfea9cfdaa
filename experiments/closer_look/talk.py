"""What the talk says of this paper, word for word, over widths, numbers of images and learning rates."""

import numpy as np
import pandas as pd

from memo.commands.evidence import Evidence
from memo.reporting import figures, palette
from memo.reporting.legacy import REPRODUCED, Chapter, Claim, judge
from memo.reporting.report import Figure
from memo.statistics import over_seeds
from memo.statistics.over_seeds import Answer

TALK = "the talk, of Arpit et al. 2017"
SLOWLY = "On random labels the curve 'went down very, very slowly in almost a linear fashion'."
FAST = "On structured labels it would 'fiddle around a little bit in the beginning, but then dropped very fast'."
# As in the headline experiment: name, statement, words, column, labels (or "ratio"), accept, direction, straight line.
MEASURES = (
    ("linear-loss", SLOWLY, "R² of a straight line, training loss, shuffled", "loss_linearity", "shuffled", (0.98, 1), None, 1),
    ("linear-accuracy", SLOWLY, "R² of a straight line, training accuracy, shuffled", "accuracy_linearity", "shuffled",
     (0.98, 1), None, 1),
    ("slower", SLOWLY, "epochs to 90 % training accuracy, shuffled / true", "t90", "slower", (2, np.inf), (1, np.inf), 1),
    ("fiddles", FAST, "share of the time in the first tenth of the rise (straight line: 0.1), training loss, true",
     "loss_early_share", "true", (0.1, 1), None, 0.1),
    ("steeper", FAST, "steepest over mean slope, training loss, true / shuffled", "loss_steepness", "ratio", (2, np.inf),
     (1, np.inf), 1),
)  # fmt: skip
SHORT = {
    "linear-loss": "R² of a line,\nloss, shuffled",
    "linear-accuracy": "R² of a line,\naccuracy, shuffled",
    "slower": "time to 90 %,\nshuffled / true",
    "fiddles": "time in first tenth,\nloss, true",
    "steeper": "steepest slope,\ntrue / shuffled",
}
COLORS = (palette.SKY, palette.BLUE, palette.PURPLE, palette.VERMILION, palette.BLACK)


def chapter(evidence: Evidence, networks: pd.DataFrame) -> Chapter:
    """Return the claims and the map of where the quoted sentences hold."""
    made = Chapter()
    own = networks[networks["arm"] == "talk"]
    cells = []
    for (rate, width, n), cell in own.groupby(["rate", "width", "n"]):
        for name, statement, words, column, labels, accept, direction, _ in MEASURES:
            claim = Claim(
                f"talk-{name}-{width}-{n}-{rate:g}", TALK, statement, f"{words}, learning rate {rate:g}", accept, direction,
                "talk", condition=f"{width} units, n = {n:,}",
            )  # fmt: skip
            estimate, note = measured(cell, column, labels)
            made.rows.append((claim, estimate, note))
            cells.append(
                {
                    "measure": name,
                    "rate": rate,
                    "width": width,
                    "n": n,
                    "verdict": judge(claim, estimate),
                    **dict(zip(("value", "low", "high", "seeds"), estimate or (np.nan, np.nan, np.nan, 0))),
                }
            )
    frame = pd.DataFrame(cells)
    made.tables["talk"] = frame
    held = frame.groupby("measure", sort=False)["verdict"].agg(lambda verdicts: (verdicts == REPRODUCED).sum())
    count = len(frame) // len(MEASURES)
    made.findings.append(
        f"<b>The talk.</b> Of {count} settings of width, number of images and learning rate, the sentences hold, measured as "
        "in the headline experiment, in: "
        + "; ".join(f"{SHORT[name].replace(chr(10), ' ')}: {held[name]}" for name in held.index)
        + "."
    )
    _draw(evidence, frame, made)
    made.methods.append(
        "The talk's sentences: shape statistics of the training curve as in the headline experiment, the loss until 90 % of "
        "the initial one is lost, the accuracy from chance to 99 %; a seed whose curve does not get there is left out and "
        "counted. Bounds are those of the headline experiment, fixed before these runs."
    )
    return made


def measured(cell: pd.DataFrame, column: str, labels: str) -> Answer:
    """Return the estimate and note of one statistic over the seeds of a setting: of one kind of labels, or a ratio of twins."""
    width, seeds = cell["width"].iloc[0], cell["seed"].nunique()
    if labels in over_seeds.KINDS:
        return over_seeds.mean(cell, column, labels, width, seeds)
    if (over_seeds.twins(cell, column, width).dropna() <= 0).any(axis=None):
        return None, "a value of 0 has no ratio"
    return over_seeds.ratio(cell, column, width, seeds, inverse=labels != "slower")


def _draw(evidence, frame, made):
    rates = sorted(frame["rate"].unique())
    figure, axes = figures.grid(len(rates), len(MEASURES), width=2.4, height=2.3, sharex=True, sharey="col")
    for row, rate in zip(axes, rates):
        for place, (name, *_, accept, _, straight) in zip(row, MEASURES):
            own = frame[(frame["measure"] == name) & (frame["rate"] == rate)]
            for color, marker, (width, line) in zip(COLORS, "os^Dv", own.groupby("width")):
                known = line.dropna(subset="value").sort_values("n")
                for cell in known.itertuples():
                    place.errorbar(
                        cell.n,
                        cell.value,
                        figures.reach(cell),
                        color=color,
                        marker=marker,
                        markersize=4,
                        capsize=2,
                        label=f"{width} units",
                    )
                place.plot(known["n"], known["value"], color=color, linewidth=1)
            place.axhspan(
                accept[0],
                min(accept[1], max(accept[0] * 1.001, place.get_ylim()[1])),
                color=palette.GREEN,
                alpha=0.12,
                linewidth=0,
            )
            place.axhline(straight, **palette.REFERENCE)
            figures.count_axis(place, sorted(frame["n"].unique()))
            if rate == rates[0]:
                place.set_title(SHORT[name], fontsize=9)
            if rate == rates[-1]:
                place.set_xlabel("training images n")
        row[0].set_ylabel(f"learning rate {rate:g}")
    figures.shared_legend(figure, axes[0][0])
    says = []
    for name, *_ in MEASURES:
        values = frame[frame["measure"] == name]["value"].dropna()
        if len(values):
            says.append(f"{SHORT[name].replace(chr(10), ' ')} {values.min():.2g} to {values.max():.2g}")
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "talk"),
            "Where the talk's two sentences hold",
            f"Over all settings: {'; '.join(says) or 'n/a'}. Green: where the sentence counts as holding; dotted: a straight "
            f"line. Points: means (ratios: geometric) with 95 % intervals over at most n = {int(frame['seeds'].max())} seeds.",
            "Shape statistics of training curves against the number of images, by width and learning rate.",
        )
    )
