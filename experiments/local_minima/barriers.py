"""What lies on the straight line between two minima, before and after their hidden units are put in the same order."""

import math
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from experiments.local_minima.populations import by_width, width_axis
from experiments.local_minima.sources import ENTEZARI, OURS, STRUCTURE
from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.data.randomness import generator
from memo.measures import landscape
from memo.networks.program import as_pixels
from memo.probes import weights
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, with_interval
from memo.statistics.intervals import mean_interval, paired_difference

ARM = "twins"
KINDS = ("true", "shuffled")
WAYS = ("as they are", "matched")
SHADES: dict[str, Any] = {"as they are": "-", "matched": (0, (1.5, 1.2))}
PAIRS = "n counts disjoint pairs of networks from different starts"


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and the figure on the lines between minima."""
    made = Chapter()
    networks = by_width(evidence, ARM)
    rows, curves = [], {}
    given = evidence.training_sets(ARM)
    for width, own in networks.groupby("width"):
        for kind, losses in _lines(evidence, own, given):
            for way, row in losses.items():
                rows += [(width, kind, way, pair, landscape.barrier(line)) for pair, line in enumerate(row)]
                curves[width, kind, way] = row
    if not rows:
        return made
    frame = pd.DataFrame(rows, columns=["width", "labels", "way", "pair", "barrier"])
    widths = [int(width) for width in frame["width"].unique()]
    removed = _claims(frame, widths, made)
    _draw(evidence, frame, curves, widths, made)
    made.tables["barriers"] = frame
    last = widths[-1]
    for kind in KINDS:
        if (last, kind) in removed:
            barrier = mean_interval(_of(frame, last, kind, "as they are"))
            made.findings.append(
                f"<b>Barriers, {kind} labels.</b> Between two minima of width {last} the training loss rises by "
                f"{with_interval(barrier)}; matching hidden units removes {with_interval(removed[last, kind], count=False)} of "
                "that."
            )
    made.methods.append(
        "Barriers: the most by which the training loss on the straight line between two networks (25 points) exceeds the "
        "straight line between its ends (Entezari et al. 2022), for disjoint pairs of starts that saw the same images and the "
        "same labels, at the end of training. Matched: the second network's hidden units permuted to fit the first's (weight "
        "matching, Ainsworth et al. 2023), which changes no answer."
    )
    return made


def disjoint(seeds: list[int]) -> list[tuple[int, int]]:
    """Return pairs of neighbours, each seed in one at most."""
    return list(zip(seeds[::2], seeds[1::2]))


def _lines(evidence, own, given):
    """Yield for each kind of labels its pairs of seeds and the losses [pairs, points] on their lines, by way."""
    both = own.groupby("seed")["labels"].nunique()
    chosen = disjoint(sorted(both[both == len(KINDS)].index))
    table = evidence.tables["weights"].set_index("trial")["weights"]
    for kind in KINDS if chosen else ():
        trials = own[own["labels"] == kind].set_index("seed")["trial"]
        static = evidence.static_of(trials.iloc[0])
        rows, labels = given[trials.iloc[0]]
        images = datasets.area_average(evidence.dataset.train_images[rows], math.isqrt(static.sizes[0]))
        pixels = as_pixels(jnp.asarray(images))
        found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
        for first, second in chosen:
            for seed in (first, second):
                if not all(np.array_equal(*both) for both in zip(given[trials[seed]], (rows, labels))):
                    raise ValueError(
                        f"Twins of seed {seed} saw other images or labels: a line between them means nothing."
                    )
            stack = weights.layers([table[trials[first]], table[trials[second]]], static.sizes)
            a, b = (jax.tree.map(itemgetter(place), stack) for place in range(2))
            matched = landscape.match(a, b, generator(int(first), "noise", "barrier_matching"))
            for way, end in zip(WAYS, (b, matched)):
                found[way].append(landscape.line(static, a, end, pixels, labels)[0])
        yield kind, {way: np.stack(lines) for way, lines in found.items()}


def _of(frame, width, kind, way):
    own = frame[(frame["width"] == width) & (frame["labels"] == kind) & (frame["way"] == way)]
    return own.sort_values("pair")["barrier"].to_numpy()


def _claims(frame, widths, made):
    removed, gaps = {}, []
    for kind in KINDS:
        source = ENTEZARI if kind == "true" else OURS
        for width in widths:
            before, after = (_of(frame, width, kind, way) for way in WAYS)
            if not len(before):
                continue
            claim = Claim(
                f"barrier-{kind}-{width}",
                source,
                f"Networks from different starts lie in different valleys ({kind} labels).",
                "barrier in training loss on the straight line between two (nats)",
                (0.05, np.inf),
                (0.001, np.inf),
                "barriers",
                "",
                f"width {width}",
            )
            made.rows.append((claim, mean_interval(before), PAIRS))
    for kind in KINDS:
        for width in widths:
            before, after = (_of(frame, width, kind, way) for way in WAYS)
            known = before > 0
            if not known.any():
                continue
            removed[width, kind] = mean_interval(1 - after[known] / before[known])
            claim = Claim(
                f"matching-{kind}-{width}",
                ENTEZARI if kind == "true" else OURS,
                f"Most of the barrier is due to the order of hidden units ({kind} labels).",
                "share of the barrier that matching removes",
                (0.8, 1),
                (0.001, 1),
                "barriers",
                "",
                f"width {width}",
            )
            made.rows.append((claim, removed[width, kind], PAIRS))
    for way in WAYS:
        for width in widths:
            true, shuffled = (_of(frame, width, kind, way) for kind in KINDS)
            if not len(true):
                continue
            claim = Claim(
                f"barrier-gap-{way.split()[0]}-{width}",
                OURS,
                f"{STRUCTURE} If so, barriers are higher without it.",
                f"barrier with shuffled labels less that with true ones, units {way} (nats)",
                (0.05, np.inf),
                (0.001, np.inf),
                "barriers",
                "",
                f"width {width}",
            )
            gaps.append((claim, paired_difference(shuffled, true), PAIRS))
    made.rows += gaps
    return removed


def _draw(evidence, frame, curves, widths, made):
    figure, [places] = figures.grid(1, 3, width=3.4, height=2.8)
    last = widths[-1]
    for place, width in zip(places[:2], (widths[0], last)):
        for kind in KINDS:
            for way in WAYS:
                row = curves[width, kind, way]
                at = np.linspace(0, 1, row.shape[1])
                style: figures.Style = {"color": figures.LABELS[kind], "linestyle": SHADES[way]}
                place.plot(at, row.mean(axis=0), linewidth=1.8, label=f"{kind} labels, {way}", **style)
                place.fill_between(at, row.min(axis=0), row.max(axis=0), color=style["color"], alpha=0.1, linewidth=0)
        place.set(
            title=f"width {width}", xlabel="from one minimum to the other", ylabel="training loss (nats)", xlim=(0, 1)
        )
        place.set_ylim(bottom=0)
    for kind, shift in zip(KINDS, (0.95, 1.05)):
        for way in WAYS:
            style = {"color": figures.LABELS[kind], "marker": figures.MARKERS[kind]}
            means = {width: mean_interval(_of(frame, width, kind, way)) for width in widths}
            at = [shift * width for width in widths]
            places[2].plot(at, [means[width].value for width in widths], color=style["color"], linestyle=SHADES[way])
            for x, width in zip(at, widths):
                filled = style["color"] if way == WAYS[0] else "white"
                figures.interval(places[2], x, means[width], markerfacecolor=filled, linestyle="", **style)
    width_axis(places[2], widths)
    places[2].set(title="barrier by width", ylabel="barrier (nats)")
    places[2].set_ylim(bottom=0)
    figures.shared_legend(figure, places[0], 2)
    pairs = int(frame["pair"].max()) + 1
    told = [
        f"{with_interval(mean_interval(_of(frame, last, kind, WAYS[0])), count=False)} high with {kind} labels, "
        f"{with_interval(mean_interval(_of(frame, last, kind, WAYS[1])), count=False)} when matched"
        for kind in KINDS
    ]
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "barriers"),
            "Between two minima",
            f"At width {last} the barrier between two minima is {'; '.join(told)} (n = {pairs} pairs at most). Lines: means over "
            "pairs; bands: all pairs; open markers: matched.",
            "Training loss on the straight line between two networks, and its barrier by width and labels.",
        )
    )
