"""Is a network that memorised more confident on noise than one that learned, at the same training accuracy?"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.noise_confidence.networks import (
    BY_WIDTH,
    GAP,
    KEYS,
    MARKS,
    gap,
    gap_interval,
    names_in,
    read,
    with_names,
)
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.claims import SEEDS_FOR_A_VERDICT
from memo.statistics import curve_shape, over_seeds
from memo.statistics.intervals import Estimate
from memo.statistics.over_seeds import KINDS
from memo.storage.run_folders import Tables

LEVELS = (50, 90, 100)  # per cent of training accuracy
LOSS = 0.1  # of training, reached before every label is fitted
NOISE = {"uniform": "uniform noise", "gaussian": "Gaussian noise", "random_pixels": "permuted test images"}
SHOWN = {"uniform": "uniform noise", "gaussian": "Gaussian noise", "test": "test images"}
COLUMNS = [f"{inputs}_at_{level}" for inputs in NOISE for level in (*LEVELS, "loss")]


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the names of every network, and by width its confidence on noise at levels of accuracy and of loss."""
    return {"networks": with_names(evidence).merge(at_levels(paths(evidence, *BY_WIDTH)), on=KEYS, how="left")}


def paths(evidence: Evidence, *arms: str) -> pd.DataFrame:
    """Return training accuracy, training loss and mean confidence along training, one row per network, step and kind of inputs.

    The last row of a network is where it ended.
    """
    columns = [*KEYS, "step", "inputs", "mean_confidence"]
    final = evidence.of_all("out_of_distribution").merge(
        evidence.trials[["trial", "arm", "steps"]], on=["trial", "arm"]
    )
    parts = [evidence.of_all("confidence_along"), final.rename(columns={"steps": "step"})]
    both = pd.concat([part[columns] for part in parts]).drop_duplicates(["trial", "arm", "step", "inputs"])
    both = both[both["arm"].isin(arms) & both["inputs"].isin([*NOISE, "test"])]
    when = evidence.tables.curves[["trial", "step", "train_accuracy", "train_loss"]]
    return both.merge(when, on=["trial", "step"]).sort_values([*KEYS, "inputs", "step"], ignore_index=True)


def at_levels(ways: pd.DataFrame) -> pd.DataFrame:
    """Return each network's mean confidence (COLUMNS) where it first reaches the levels; NaN where it never does."""
    rows: dict[tuple, dict[str, float]] = {}
    for (*network, inputs), own in ways[ways["inputs"].isin(NOISE)].groupby([*KEYS, "inputs"]):
        sure, accuracy = own["mean_confidence"], own["train_accuracy"]
        found = {f"{inputs}_at_{level}": curve_shape.at_level(accuracy, sure, level / 100) for level in LEVELS}
        found[f"{inputs}_at_loss"] = curve_shape.at_level(-own["train_loss"], sure, -LOSS)
        rows.setdefault(tuple(network), {}).update(found)
    return pd.DataFrame(
        [dict(zip(KEYS, network)) | found for network, found in rows.items()], columns=[*KEYS, *COLUMNS]
    )


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much more confident on noise networks on shuffled labels are, at each level of training accuracy."""
    networks = read(tables, *BY_WIDTH)
    widths, seeds = names_in(networks), networks["seed"].nunique()
    answers.conditions(width=widths)
    answers.trained_on(networks)
    for inputs in ("uniform", "gaussian"):
        for level in LEVELS:
            for width in widths:
                found = over_seeds.difference(networks, f"{inputs}_at_{level}", width, seeds, GAP)
                answers.give("surer-{inputs}-{level}-{width}", found, inputs=inputs, level=level, width=width)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw confidence along training, and the differences between twins by width and level."""
    networks, text = read(tables, *BY_WIDTH), Text("experiments.noise_confidence", "equal")
    widths = names_in(networks)
    at = {level: known_gaps(answers, "uniform", level, widths) for level in LEVELS}
    every = [known_gaps(answers, inputs, level, widths) for inputs in ("uniform", "gaussian") for level in LEVELS]
    facts = {
        "images": int(networks["images"].max()) if len(networks) else 0,
        "seeds": networks["seed"].nunique(),
        "at": at,
        "lows": [found for gaps in every for found in gaps.values() if found.low > 0],
        "highs": [found for gaps in every for found in gaps.values() if found.high < 0],
        "compared": sum(map(len, every)),
        "loss": LOSS,
        "sure_at_half": both_reach(networks, "uniform_at_50")
        .groupby("labels")["uniform_at_50"]
        .mean()
        .reindex(KINDS)
        .dropna()
        .to_dict(),
    }
    ways = paths(evidence, *BY_WIDTH).merge(networks[["trial", "width", "labels"]], on="trial")
    drawn = {"paths": draw_paths(ways, widths, evidence.classes), "differences": draw_differences(networks, widths)}
    return Chapter(
        title="At the same training accuracy",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(each, evidence.folder, name), **facts) for name, each in drawn.items()],
        methods=[text.block("methods", **facts)],
    )


def both_reach(networks: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the networks that have a value whose twin has one, too."""
    own = networks.dropna(subset=column)
    return own[own.groupby(["width", "seed"])["labels"].transform("nunique") == len(KINDS)]


def known_gaps(answers: Answers, inputs: str, level: int, widths: list[str]) -> dict[str, Estimate]:
    """Return by width the difference between twins, where enough of them were measured for a verdict."""
    names = {width: f"surer-{inputs}-{level}-{width}" for width in widths}
    found = {width: answers[name] for width, name in names.items() if name in answers}
    return {width: gap for width, gap in found.items() if gap and gap.n >= SEEDS_FOR_A_VERDICT}


def draw_paths(ways: pd.DataFrame, widths: list[str], classes: int) -> Drawing:
    """Return confidence against training accuracy, a line per network: one row per kind of inputs, one column per width."""
    figure, axes = figures.grid(len(SHOWN), len(widths), width=2.3, height=2.0, sharex=True, sharey=True)
    for row, (inputs, words) in zip(axes, SHOWN.items()):
        for place, width in zip(row, widths):
            _path(place, ways[(ways["inputs"] == inputs) & (ways["width"] == width)], classes)
        row[0].set_ylabel(f"mean confidence,\n{words}")
    for above, below, width in zip(axes[0], axes[-1], widths):
        above.set_title(f"width {width}")
        below.set_xlabel("training accuracy")
    figures.shared_legend(figure, axes[0][0])
    return figure


def _path(axes: Axes, ways: pd.DataFrame, classes: int) -> None:
    for labels, mark in MARKS.items():
        for _, own in ways[ways["labels"] == labels].groupby("trial"):
            sure = own["mean_confidence"]
            axes.plot(own["train_accuracy"], sure, linewidth=0.9, alpha=0.6, label=mark.name, **mark.line)
    panels.chance(axes, classes)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.03))


def draw_differences(networks: pd.DataFrame, widths: list[str]) -> Drawing:
    """Return the differences between twins by width, one panel per kind of noise, one mark per level of accuracy."""
    figure, [places] = figures.grid(1, len(NOISE), width=3.3, height=2.9, sharey=True)
    marks = palette.level_marks(LEVELS, "at {} % training accuracy")
    for axes, (inputs, words) in zip(places, NOISE.items()):
        for (level, mark), offset in zip(marks.items(), panels.side_by_side(len(marks))):
            values = {place: gap(networks, f"{inputs}_at_{level}", width) for place, width in enumerate(widths)}
            panels.means(axes, values, mark, offset=offset, seeds=True, estimate=gap_interval)
        gap_axes(axes, widths)
        axes.set(title=words, xlabel="width")
    places[0].set_ylabel("mean confidence,\nshuffled − true")
    figures.shared_legend(figure, places[0])
    return figure


def gap_axes(axes: Axes, names: list[str], **text: float) -> None:
    """Name the x axis, and draw the line where twins do not differ."""
    axes.axhline(0, **palette.REFERENCE)
    figures.name_axis(axes, names, **text)
