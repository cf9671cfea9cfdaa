"""The loss on the straight line between two minima, before and after matching their hidden units."""

import math
from collections.abc import Iterator
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.local_minima.networks import KINDS, of_arms, width_axis, widths_of, with_width
from memo.commands.evidence import Evidence
from memo.data.pixels import area_average
from memo.data.randomness import generator
from memo.measures import landscape
from memo.networks.program import as_pixels
from memo.probes import weights
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.intervals import mean_interval
from memo.statistics.over_seeds import noted, over_pairs, over_seeds
from memo.storage.run_folders import Tables

ARM = "twins"
WAYS = {"as": "as they are", "matched": "matched"}
DASHES = {"as": palette.SOLID, "matched": palette.DOTTED}
PAIRS = "n counts disjoint pairs of networks from different initialisations"
NONE = "a line without a barrier"


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the training loss on the line between each pair of networks of a width and kind of labels, by way."""
    networks = with_width(evidence).merge(evidence.trials[["trial", "arm", "labels.kind"]], on=["trial", "arm"])
    networks = networks[networks["arm"] == ARM].rename(columns={"labels.kind": "labels"})
    given = evidence.training_sets(ARM)
    parts = []
    for width, own in networks.groupby("width"):
        for labels, way, pair, line in _lines(evidence, own, given):
            points = {"point": np.linspace(0, 1, len(line)), "loss": line}
            parts.append(pd.DataFrame({"width": width, "labels": labels, "way": way, "pair": pair} | points))
    columns = ["width", "labels", "way", "pair", "point", "loss"]
    return {"lines": pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)}


def disjoint(seeds: list[int]) -> list[tuple[int, int]]:
    """Return pairs of neighbours, each seed in one at most."""
    return list(zip(seeds[::2], seeds[1::2]))


def _lines(
    evidence: Evidence, own: pd.DataFrame, given: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[str, str, int, np.ndarray]]:
    """Yield labels, way, pair and losses [points] of each line between networks of one width."""
    both = own.groupby("seed")["labels"].nunique()
    chosen = disjoint(sorted(both[both == len(KINDS)].index))
    table = evidence.tables["weights"].set_index("trial")["weights"]
    for labels in KINDS if chosen else ():
        trials = own[own["labels"] == labels].set_index("seed")["trial"]
        static = evidence.static_of(trials.iloc[0])
        rows, targets = given[trials.iloc[0]]
        images = area_average(evidence.dataset.train_images[rows], math.isqrt(static.sizes[0]))
        pixels = as_pixels(jnp.asarray(images))
        for pair, (first, second) in enumerate(chosen):
            for seed in (first, second):
                if not all(np.array_equal(*each) for each in zip(given[trials[seed]], (rows, targets))):
                    raise ValueError(
                        f"Twins of seed {seed} were trained on different images or labels: a line between them is meaningless."
                    )
            stack = weights.layers([table[trials[first]], table[trials[second]]], static.sizes)
            a, b = (jax.tree.map(itemgetter(place), stack) for place in range(2))
            matched = landscape.match(a, b, generator(int(first), "noise", "barrier_matching"))
            for way, end in zip(WAYS, (b, matched)):
                yield labels, way, pair, landscape.line(static, a, end, pixels, targets)[0]


def barriers(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the barrier of each line: columns width, labels, way, pair, barrier."""
    keys = ["width", "labels", "way", "pair"]
    rows = [
        dict(zip(keys, key)) | {"barrier": landscape.barrier(own.sort_values("point")["loss"].to_numpy())}
        for key, own in lines.groupby(keys)
    ]
    return pd.DataFrame(rows, columns=[*keys, "barrier"])


def _of(frame: pd.DataFrame, width: int, labels: str, way: str) -> pd.Series:
    own = frame[(frame["width"] == width) & (frame["labels"] == labels) & (frame["way"] == way)]
    return own.set_index("pair")["barrier"].sort_index()


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how high barriers are, the share that matching removes, and how much higher they are with shuffled labels."""
    frame = barriers(tables["lines"])
    answers.conditions(width=widths_of(frame))
    answers.trained_on(of_arms(tables, ARM))
    for width in widths_of(frame):
        for labels in KINDS:
            before, after = (_of(frame, width, labels, way) for way in WAYS)
            estimate, note = over_seeds(before, NONE, unit="pairs")
            answers.give(f"barrier-{labels}-{{width}}", (estimate, noted(PAIRS, note)), width=width)
            removed = (1 - after / before).where(before > 0)
            estimate, note = over_seeds(removed, NONE, unit="pairs")
            answers.give(f"matching-{labels}-{{width}}", (estimate, noted(PAIRS, note)), width=width)
        for way in WAYS:
            gap = over_pairs(_of(frame, width, "shuffled", way), _of(frame, width, "true", way))
            answers.give("barrier-gap-{way}-{width}", gap, way=way, width=width)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the loss along lines, and barriers by width."""
    lines, text = tables["lines"], Text("experiments.local_minima", "barriers")
    frame = barriers(lines)
    widths = widths_of(frame)
    if not widths:
        return Chapter(title="Between minima")
    first, last = widths[0], widths[-1]
    facts = {
        "last": last,
        "barrier": {labels: answers[f"barrier-{labels}-{last}"] for labels in KINDS},
        "removed": {labels: answers[f"matching-{labels}-{last}"] for labels in KINDS},
        "gap": answers[f"barrier-gap-as-{last}"],
        "points": lines["point"].nunique(),
    }
    file = figures.save(draw_barriers(lines, frame, [first, last]), evidence.folder, "barriers")
    return Chapter(
        title="Between minima",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_barriers(lines: pd.DataFrame, frame: pd.DataFrame, ends: list[int]) -> Drawing:
    """Return the loss along lines at the narrowest and the widest width, and barriers by width."""
    figure, [row] = figures.grid(1, 3, width=3.4, height=2.8)
    for axes, width in zip(row, ends):
        _line(axes, lines[lines["width"] == width])
        axes.set_title(f"width {width}")
    _by_width(row[2], frame)
    figures.shared_legend(figure, row[0], 2)
    return figure


def _line(axes: Axes, lines: pd.DataFrame) -> None:
    for labels in KINDS:
        for way, words in WAYS.items():
            own = lines[(lines["labels"] == labels) & (lines["way"] == way)]
            row = own.pivot(index="pair", columns="point", values="loss")
            mark = palette.LABELS[labels]._replace(dashes=DASHES[way])
            axes.plot(row.columns, row.mean(), linewidth=1.8, label=f"{mark.name}, {words}", **mark.line)
            axes.fill_between(row.columns, row.min(), row.max(), color=mark.color, alpha=0.1, linewidth=0)
    axes.set(xlabel="from one minimum to the other", ylabel="training loss (nats)", xlim=(0, 1))
    axes.set_ylim(bottom=0)


def _by_width(axes: Axes, frame: pd.DataFrame) -> None:
    widths = widths_of(frame)
    for labels, shift in zip(KINDS, (0.95, 1.05)):
        for way in WAYS:
            means = {width: mean_interval(_of(frame, width, labels, way)) for width in widths}
            mark = palette.LABELS[labels]._replace(dashes=DASHES[way])
            face = mark.color if way == "as" else "white"
            panels.intervals(axes, means, mark, factor=shift, joined=True, markerfacecolor=face)
    width_axis(axes, widths)
    axes.set(title="barrier by width", ylabel="barrier (nats)")
    axes.set_ylim(bottom=0)
