"""Is a network that memorised surer of noise than one that learned, at the same training accuracy?"""

from collections.abc import Iterable
from functools import partial

import numpy as np
import pandas as pd

from experiments.noise_confidence.populations import (
    COLORS,
    DASHES,
    INPUTS,
    LABELS,
    count_seeds,
    distinct,
    legend,
    networks,
    rows_of,
)
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette
from memo.reporting.legacy import SEEDS_FOR_A_VERDICT, Chapter, Claim
from memo.reporting.panels import CHANCE
from memo.reporting.report import Figure, number, with_interval
from memo.statistics import curve_shape, over_seeds
from memo.statistics.intervals import Estimate, mean_interval

LEVELS = (0.5, 0.9, 1.0)  # of training accuracy
LOSS = 0.1  # of training, reached before every label is fitted
NOISE = ("uniform", "gaussian", "random_pixels")
ASKED = "asked here"
SURER = (
    "Memorising shuffled labels makes a network surer of noise than learning true ones, at the same training accuracy."
)
LEVEL_COLORS = dict(zip(LEVELS, (palette.SKY, palette.ORANGE, palette.BLACK)))


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on twins at the same training accuracy."""
    made = Chapter()
    trials = networks(evidence, "widths", "half")
    widths = distinct(evidence, "width", "widths", "half")
    ways = paths(evidence, trials)
    equal = at_levels(ways, trials)
    seeds = count_seeds(evidence, "widths")
    differences = _differences(equal, widths, seeds)
    made.tables |= {"equal_accuracy": equal, "differences": differences}
    _claims(equal, widths, seeds, made)
    _findings(equal, differences, widths, made)
    _draw_paths(ways, equal, widths, evidence, made)
    _draw_differences(equal, differences, widths, evidence, made)
    _explain(evidence, ways, trials, equal, widths, seeds, made)
    _elsewhere(evidence, made)
    made.methods.append(
        "The same training accuracy: each network's mean confidence on as many inputs of a kind as there are test images, where its accuracy on all its "
        "training labels first reaches the level, linear between the evaluations at which confidence was measured. Networks "
        "stop at the first evaluation that finds every label fitted, which is the level 1. Twins share seed, images, initial "
        "weights, order of minibatches and noise; differences are taken within them, and a seed without both is left out and "
        "counted. Ranges are ours, fixed before these runs; what to expect came from the headline experiment, on other seeds."
    )
    return made


def paths(evidence: Evidence, trials: pd.DataFrame) -> pd.DataFrame:
    """Return training accuracy, training loss and mean confidence on noise along training, a row a network, step and kind.

    The last row of a network is the one that it ended with.
    """
    columns = ["trial", "seed", "step", "inputs", "mean_confidence"]
    along = rows_of(evidence.tables.confidence_along, trials)[columns]
    final = rows_of(evidence.tables.out_of_distribution, trials, "steps").rename(columns={"steps": "step"})[columns]
    both = pd.concat([along, final]).drop_duplicates(["trial", "step", "inputs"])
    both = both[both["inputs"].isin([*NOISE, "test"])]
    when = evidence.tables.curves[["trial", "step", "epoch", "train_accuracy", "train_loss"]]
    facts = trials.set_index("trial")[["width", "labels"]]
    return both.merge(when, on=["trial", "step"]).join(facts, on="trial").sort_values(["trial", "inputs", "step"])


def at_levels(ways: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """Return mean confidence where each network reaches each level of training accuracy, and of the training loss.

    NaN where it never does. One row for each network, kind of input and level (`measure` accuracy or loss).
    """
    rows = []
    for (trial, _), own in ways.groupby(["trial", "inputs"], sort=False):
        facts = {"trial": trial, **own.iloc[0][["seed", "width", "labels", "inputs"]].to_dict()}
        for level in LEVELS:
            sure = curve_shape.at_level(own["train_accuracy"], own["mean_confidence"], level)
            rows.append(facts | {"measure": "accuracy", "level": level, "confidence": sure})
        sure = curve_shape.at_level(-own["train_loss"], own["mean_confidence"], -LOSS)
        rows.append(facts | {"measure": "loss", "level": LOSS, "confidence": sure})
    columns = ["trial", "seed", "width", "labels", "inputs", "measure", "level", "confidence"]
    return pd.DataFrame(rows, columns=columns)


def _at(equal, inputs, level, measure="accuracy"):
    return equal[(equal["inputs"] == inputs) & (equal["level"] == level) & (equal["measure"] == measure)]


def within(frame: pd.DataFrame, column: str, width: str, other: str = "shuffled") -> pd.Series:
    """Return by seed the value under other labels minus that under true ones, where both are known."""
    own = frame[frame["width"] == width]
    wide = own.pivot(index="seed", columns="labels", values=column).reindex(columns=["true", other])
    return (wide[other] - wide["true"]).dropna()


def _differences(equal, widths, seeds):
    """Return mean differences to true labels with their intervals, by width, kind, level and labels."""
    rows = []
    for (measure, level, inputs), own in equal.groupby(["measure", "level", "inputs"], sort=False):
        for width in widths:
            for labels in ("half", "shuffled"):
                values = within(own, "confidence", width, labels)
                estimate = mean_interval(values) if len(values) else (np.nan, np.nan, np.nan, 0)
                rows.append((measure, level, inputs, width, labels, *estimate[:4], seeds - len(values)))
    columns = ["measure", "level", "inputs", "width", "labels", "difference", "low", "high", "n", "missing"]
    return pd.DataFrame(rows, columns=columns)


def _percent(level):
    return f"{100 * level:.0f} %"


def _claims(equal, widths, seeds, made):
    for inputs in ("uniform", "gaussian"):
        for level in LEVELS[::-1]:
            own = _at(equal, inputs, level)
            quantity = f"mean confidence on {_short(inputs)} at {_percent(level)} training accuracy, shuffled − true"
            for width in widths:
                claim = Claim(
                    f"surer-{inputs}-{100 * level:.0f}-{width}",
                    ASKED,
                    SURER,
                    quantity,
                    (0.02, np.inf),
                    (0.001, np.inf),
                    "differences",
                    condition=f"width {width}",
                )
                made.rows.append((claim, *over_seeds.difference(own, "confidence", width, seeds)))


def _short(inputs):
    return {"gaussian": "Gaussian noise", "random_pixels": "permuted test images"}.get(inputs, INPUTS[inputs])


def direction(estimates: Iterable[Estimate]) -> str:
    """Return in words where intervals of differences lie: all above 0, all below, or neither."""
    known = [estimate for estimate in estimates if estimate.n >= SEEDS_FOR_A_VERDICT]
    if not known:
        return "undecided"
    if all(estimate.low > 0 for estimate in known):
        return "more"
    if all(estimate.high < 0 for estimate in known):
        return "less"
    if all(estimate.low <= 0 <= estimate.high for estimate in known):
        return "neither"
    return "mixed"


WORDS = {
    "more": "makes networks surer of uniform noise than learning true ones, at every width that memorised",
    "less": "makes networks less sure of uniform noise than learning true ones, at every width that memorised",
    "neither": "makes no difference to how sure networks are of uniform noise that these seeds could show",
    "mixed": "makes networks more or less sure of uniform noise than learning true ones depending on their width",
    "undecided": "was compared with learning true ones on too few networks to say",
}


def _findings(equal, differences, widths, made):
    at_end = _at(equal, "uniform", 1.0)
    found = {}
    for width in widths:
        values = within(at_end, "confidence", width)
        if len(values):
            found[width] = mean_interval(values)
    if not found:
        made.findings.append(
            "<b>The question.</b> At no width did a network fit every shuffled label and its twin every true one, so that "
            "they cannot be compared at 100 % training accuracy."
        )
        return
    n = {estimate.n for estimate in found.values()}
    alike = len(n) == 1 and min(n) > 1
    count = f" (n = {n.pop()} pairs each)" if alike else ""
    by_width = "; ".join(
        f"width {width} {with_interval(estimate, count=not alike)}" for width, estimate in found.items()
    )
    made.findings.append(
        f"<b>The question.</b> At the same training accuracy of 100 %, memorising shuffled labels {WORDS[direction(found.values())]}: "
        f"mean confidence, shuffled − true, {by_width}{count}."
    )
    parts = []
    for level in LEVELS[:-1]:
        own = differences[
            (differences["measure"] == "accuracy")
            & (differences["level"] == level)
            & (differences["inputs"] == "uniform")
            & (differences["labels"] == "shuffled")
            & (differences["n"] > 0)
        ]
        if len(own):
            values = ", ".join(f"width {row.width} {_signed(row)}" for row in own.itertuples())
            parts.append(f"at {_percent(level)}: {values}")
    if parts:
        made.findings.append(
            "<b>Along training.</b> The same difference where both networks have fitted only a part of their labels, "
            f"{'; '.join(parts)}."
        )


def _signed(row):
    return with_interval(Estimate(row.difference, row.low, row.high, row.n), count=False)


def _draw_paths(ways, equal, widths, evidence, made):
    kinds = ("uniform", "gaussian", "test")
    figure, axes = figures.grid(len(kinds), len(widths), width=2.3, height=2.0, sharex=True, sharey=True)
    for row, inputs in zip(axes, kinds):
        for place, width in zip(row, widths):
            own = ways[(ways["inputs"] == inputs) & (ways["width"] == width)]
            for labels in LABELS:
                for _, one in own[own["labels"] == labels].groupby("trial"):
                    style: palette.Style = {
                        "color": COLORS[labels],
                        "linestyle": DASHES[labels],
                        "linewidth": 0.9,
                        "alpha": 0.6,
                    }
                    place.plot(one["train_accuracy"], one["mean_confidence"], **style)
            place.axhline(CHANCE, **palette.REFERENCE)
            place.set(xlim=(0, 1.02), ylim=(0, 1.03))
        row[0].set_ylabel(f"mean confidence,\n{_short(inputs)}")
    for above, below, width in zip(axes[0], axes[-1], widths):
        above.set_title(f"width {width}")
        below.set_xlabel("training accuracy")
    legend(figure)
    last = _at(equal, "uniform", 1.0)
    means = last.groupby(["width", "labels"])["confidence"].mean().dropna()
    spoken = ", ".join(
        f"{LABELS[labels]} {number(means[width, labels])}"
        for width in widths[-1:]
        for labels in LABELS
        if (width, labels) in means.index
    )
    first = (
        f"At width {widths[-1]} the mean confidence on uniform noise where every label is fitted is {spoken}."
        if spoken
        else "No network of the largest width fitted every label."
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "paths"),
            "Confidence as training accuracy grows",
            f"{first} A line is a network from before training (left) to its end; "
            f"n = {ways['seed'].nunique()} seeds. Below: the digits of the test set. Dotted: even doubt between ten classes.",
            "Mean confidence on noise and on test images against training accuracy, one column a width.",
        )
    )


def _draw_differences(equal, differences, widths, evidence, made):
    figure, [places] = figures.grid(1, len(NOISE), width=3.3, height=2.9, sharey=True)
    offsets = dict(zip(LEVELS, (-0.2, 0, 0.2)))
    for place, inputs in zip(places, NOISE):
        for level in LEVELS:
            own = _at(equal, inputs, level)
            for position, width in enumerate(widths):
                values = within(own, "confidence", width)
                if len(values):
                    x = position + offsets[level]
                    color = LEVEL_COLORS[level]
                    place.scatter(np.full(len(values), x), values, s=7, color=color, alpha=0.35, linewidths=0)
                    style: palette.Style = {
                        "color": color,
                        "marker": "o",
                        "linestyle": "",
                        "label": f"at {_percent(level)} accuracy",
                    }
                    figures.interval(place, x, mean_interval(values), **style)
        place.axhline(0, color="0.4", linewidth=1)
        place.set_xticks(range(len(widths)), widths)
        place.set(title=_short(inputs), xlabel="width", xlim=(-0.5, len(widths) - 0.5))
    places[0].set_ylabel("mean confidence,\nshuffled − true")
    figures.shared_legend(figure, places[0])
    own = differences[(differences["measure"] == "accuracy") & (differences["labels"] == "shuffled")]
    own = own[own["inputs"].isin(NOISE) & (own["n"] >= SEEDS_FOR_A_VERDICT)]
    if len(own):
        above, below = int((own["low"] > 0).sum()), int((own["high"] < 0).sum())
        first = (
            f"Of {len(own)} comparisons (kinds of noise, widths, levels of accuracy), the network on shuffled labels is surer "
            f"in {above} and less sure in {below}, with intervals that exclude 0."
        )
    else:
        first = "Too few networks for intervals."
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "differences"),
            "Memorising against learning, at the same training accuracy",
            f"{first} Points: means over pairs with 95 % intervals; small dots: "
            f"pairs (at most n = {equal['seed'].nunique()}). A width without points at 100 % did not fit its shuffled labels.",
            "Differences in mean confidence on three kinds of noise between shuffled and true labels, by width and level.",
        )
    )


def _explain(evidence, ways, trials, equal, widths, seeds, made):
    """Hold two explanations against the difference: that the twin is behind in loss, or that it trained for less long."""
    statement = (
        "At the same training loss memorising makes a network no surer of noise than learning: the loss explains it."
    )
    own = _at(equal, "uniform", LOSS, "loss")
    for width in widths:
        quantity = f"mean confidence on uniform noise at a training loss of {LOSS:g}, shuffled − true"
        condition = f"width {width}"
        claim = Claim(
            f"loss-{width}", ASKED, statement, quantity, (-0.02, 0.02), None, "explanations", condition=condition
        )
        made.rows.append((claim, *over_seeds.difference(own, "confidence", width, seeds)))

    later = networks(evidence, "onward")
    width = distinct(evidence, "width", "onward")[0]
    onward = paths(evidence, later)
    frame = at_same_length(ways[ways["width"] == width], onward)
    statement = "A network on true labels that trains as long is as sure of noise: the length of training explains it."
    for inputs in ("uniform", "gaussian"):
        values = _length_difference(frame, inputs)
        quantity = f"mean confidence on {_short(inputs)} after as many steps, shuffled − true"
        claim = Claim(
            f"length-{inputs}-{width}",
            ASKED,
            statement,
            quantity,
            (-0.02, 0.02),
            None,
            "explanations",
            condition=f"width {width}",
        )
        missing = seeds - len(values)
        note = (
            f"{missing} of {seeds} pairs are missing: not every label fitted, or a diverged network" if missing else ""
        )
        made.rows.append((claim, mean_interval(values) if len(values) else None, note))
    made.tables["equal_length"] = frame
    _draw_explanations(equal, frame, width, widths, evidence, made)


def at_same_length(ways: pd.DataFrame, onward: pd.DataFrame) -> pd.DataFrame:
    """Return by seed and kind of input the mean confidence of twins after as many steps, columns shuffled and true.

    That of networks that fitted all shuffled labels, at their last step, and that of those that trained on with true labels
    (`onward`) at the same step, linear in the logarithm of the step between evaluations.
    """
    rows = []
    shuffled = ways[ways["labels"] == "shuffled"]
    for (seed, inputs), own in shuffled.groupby(["seed", "inputs"]):
        other = onward[(onward["seed"] == seed) & (onward["inputs"] == inputs)]
        last = own.iloc[-1]
        if last["train_accuracy"] < 1 or not len(other):
            continue
        true = np.interp(np.log1p(last["step"]), np.log1p(other["step"]), other["mean_confidence"])
        rows.append((seed, inputs, int(last["step"]), last["mean_confidence"], true))
    return pd.DataFrame(rows, columns=["seed", "inputs", "step", "shuffled", "true"])


def _draw_explanations(equal, frame, width, widths, evidence, made):
    figure, [[losses, lengths]] = figures.grid(1, 2, width=4.0, height=2.9, sharey=True)
    offsets = {"accuracy": -0.12, "loss": 0.12}
    spoken = {}
    for measure, level, color, words in (
        ("accuracy", 1.0, palette.BLACK, "at 100 % training accuracy"),
        ("loss", LOSS, palette.PURPLE, f"at a training loss of {LOSS:g}"),
    ):
        own = _at(equal, "uniform", level, measure)
        for position, name in enumerate(widths):
            values = within(own, "confidence", name)
            if len(values):
                estimate = mean_interval(values)
                spoken[measure, name] = estimate
                style: palette.Style = {"color": color, "marker": "o", "linestyle": "", "label": words}
                figures.interval(losses, position + offsets[measure], estimate, **style)
    losses.axhline(0, color="0.4", linewidth=1)
    losses.set_xticks(range(len(widths)), widths)
    losses.set(
        xlabel="width", ylabel="mean confidence on uniform noise,\nshuffled − true", xlim=(-0.5, len(widths) - 0.5)
    )
    figures.legend(losses)
    matched = _at(equal, "uniform", 1.0)
    for position, (words, values) in enumerate(
        (
            ("stopped at\n100 %", within(matched, "confidence", width)),
            ("after as many\nsteps", _length_difference(frame, "uniform")),
        )
    ):
        lengths.scatter(np.full(len(values), position), values, s=9, color="0.5", linewidths=0)
        if len(values):
            spoken["length", position] = mean_interval(values)
            figures.interval(lengths, position + 0.12, spoken["length", position], color=palette.BLACK, marker="o")
        lengths.text(position, -0.04, words, ha="center", va="top", transform=lengths.get_xaxis_transform())
    lengths.axhline(0, color="0.4", linewidth=1)
    lengths.set(xlim=(-0.6, 1.6), xticks=[], title=f"width {width}, its twin on true labels")
    largest = widths[-1]
    parts = []
    if ("loss", largest) in spoken:
        parts.append(
            f"at width {largest} the difference at a training loss of {LOSS:g} is {with_interval(spoken['loss', largest])}"
        )
    if ("length", 1) in spoken:
        parts.append(
            f"at width {width}, beside a twin that trained on true labels for as many steps, it is "
            f"{with_interval(spoken['length', 1])}"
            + (
                f", beside one that stopped at 100 % {with_interval(spoken['length', 0], count=False)}"
                if ("length", 0) in spoken
                else ""
            )
        )
    first = "; ".join(parts) or "no pair of networks got there"
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "explanations"),
            "What could explain the difference",
            f"{first[0].upper()}{first[1:]}. Left: twins compared at the same training accuracy and at the same training loss. "
            "Right: shuffled labels take longer, so their networks are compared with twins that stopped when they had fitted "
            "every true label, and with ones that went on for as many steps. Points: means with 95 % intervals.",
            "Differences in mean confidence on uniform noise at equal training loss and at equal length of training.",
        )
    )
    if ("length", 1) in spoken and ("length", 0) in spoken:
        made.findings.append(
            f"<b>Why.</b> Shuffled labels take longer to fit. At width {width} the difference on uniform noise is "
            f"{with_interval(spoken['length', 0])} beside twins that stopped when they had fitted every true label, and "
            f"{with_interval(spoken['length', 1], count=False)} beside twins that trained on for as many steps."
        )


def _length_difference(frame, inputs):
    own = frame[frame["inputs"] == inputs]
    return (own["shuffled"] - own["true"]).dropna()


def _elsewhere(evidence, made):
    """Compare twins by depth, and by activation and loss, at 100 % training accuracy."""
    conditions = []
    for arm, statement, words in (
        (
            "depths",
            f"{SURER[:-1]}, at every depth.",
            lambda row: f"{row['depth']} layer{'s' if row['depth'] > 1 else ''}",
        ),
        (
            "functions",
            f"{SURER[:-1]}, with every activation and loss.",
            lambda row: f"{row['model.activation']}, {row['loss'].replace('_', '-')}",
        ),
    ):
        everything, trials = networks(evidence, arm, diverged=True), networks(evidence, arm)
        for frame in (everything, trials):
            frame["condition"] = [words(row) for _, row in frame.iterrows()]
        final = rows_of(evidence.tables.out_of_distribution, trials, "condition", "labels", "final_train_accuracy")
        final["fitted"] = final["mean_confidence"].where(final["final_train_accuracy"] == 1)
        final["width"] = final["condition"]
        conditions.append(
            (arm, statement, final, list(dict.fromkeys(everything["condition"])), count_seeds(evidence, arm))
        )

    figure, [places] = figures.grid(1, 2, width=4.6, height=3.0, sharey=True)
    differ = partial(over_seeds.difference, column="fitted")
    spoken = []
    for place, (arm, statement, final, names, seeds) in zip(places, conditions):
        for offset, inputs, color in ((-0.12, "uniform", palette.GREEN), (0.12, "gaussian", palette.PURPLE)):
            own = final[final["inputs"] == inputs]
            for position, name in enumerate(names):
                estimate, note = differ(own, width=name, seeds=seeds)
                if inputs == "uniform":
                    claim = Claim(
                        f"surer-{arm}-{name.replace(', ', '-').replace(' ', '-')}",
                        ASKED,
                        statement,
                        "mean confidence on uniform noise at 100 % training accuracy, shuffled − true",
                        (0.02, np.inf),
                        (0.001, np.inf),
                        "elsewhere",
                        condition=name,
                    )
                    made.rows.append((claim, estimate, note))
                if estimate is not None:
                    style: palette.Style = {"color": color, "marker": "o", "linestyle": "", "label": _short(inputs)}
                    figures.interval(place, position + offset, estimate, **style)
                    if inputs == "uniform":
                        spoken.append(f"{name} {with_interval(estimate)}")
        place.axhline(0, color="0.4", linewidth=1)
        labels = [name.replace(", ", "\n").replace("-", "-\n") for name in names]
        place.set_xticks(range(len(names)), labels, fontsize=8)
        place.set_xlim(-0.5, len(names) - 0.5)
    places[0].set(title="by depth, 128 units a layer" if evidence.scale != "paper" else "by depth")
    places[1].set(title="by activation and loss (Adam)")
    places[0].set_ylabel("mean confidence,\nshuffled − true")
    if any(place.get_legend_handles_labels()[0] for place in places):
        figures.shared_legend(figure, next(place for place in places if place.get_legend_handles_labels()[0]))
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "elsewhere"),
            "The same question at other depths, activations and losses",
            f"Uniform noise, shuffled − true, where both have fitted every label: {'; '.join(spoken) or 'no pair did'}. "
            "Points: means over pairs with 95 % intervals; a setting without a point did not fit its shuffled labels, or not "
            "all seeds' labels.",
            "Differences in mean confidence on noise by depth, and by activation and loss.",
        )
    )
