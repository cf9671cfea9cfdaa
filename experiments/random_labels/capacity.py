"""How much network random labels need: by Theorem 1, built and solved, and by training (a map of width and labels)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm

from experiments.random_labels.networks import TRUE, ZHANG, Networks
from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.data.datasets import MNIST, Dataset
from memo.data.randomness import generator
from memo.measures import expressivity
from memo.measures.expressivity import MIDPOINT
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval, paired_difference, paired_ratio
from memo.statistics.over_seeds import over_pairs, over_seeds
from memo.statistics.trends import log_slope

MEMORISED = 0.99  # of the training labels
PLACES = {MIDPOINT: "biases in the middle of gaps", 0.75: "biases at three quarters of gaps"}
TOLERANCE = 1e-6
TOLD = 1 / 18  # of the largest label, 9: half a label, so that every label is told by rounding


def chapter(evidence: Evidence, networks: Networks, sizes: Mapping[str, Any]) -> Chapter:
    """Return claims and figures on capacity; `sizes` are `experiment.expressivity` of the config."""
    made = Chapter()
    _theorem(evidence, sizes, made)
    _map(evidence, networks, made)
    _widths(evidence, networks, made)
    return made


def solve(dataset: Dataset, counts: list[int], seeds: int) -> pd.DataFrame:
    """Return the residual of Theorem 1's network by seed, n, dtype and place of the biases: inf where it cannot be built.

    Each seed draws its images, their random labels (0 to 9) and the direction of the line.
    """
    rows = []
    for seed in range(seeds):
        chosen = generator(seed, "subset").permutation(len(dataset.train_labels))[: max(counts)]
        images = dataset.train_images[chosen].astype(np.float64) / 255
        labels = generator(seed, "labels").integers(0, MNIST.classes, len(chosen)).astype(float)
        for place in PLACES:
            for dtype in ("float64", "float32"):
                # The same directions for both dtypes and places.
                line = generator(seed, "directions")
                fits = expressivity.largest_fit(images, labels, dtype, TOLERANCE, counts, line, place)
                rows += [
                    {"seed": seed, "place": place, "dtype": dtype, "n": n, "residual": residual}
                    for n, residual in fits.residuals.items()
                ]
    return pd.DataFrame(rows)


def largest_n(residuals: pd.DataFrame, tolerance: float = TOLERANCE) -> pd.Series:
    """Return by seed the largest n up to which every residual (columns seed, n, residual) is below `tolerance`; 0: none."""
    table = residuals.pivot(index="seed", columns="n", values="residual").sort_index(axis=1)
    whole = (table < tolerance).cummin(axis=1)
    return (whole * table.columns.to_numpy()).max(axis=1)


def _theorem(evidence, sizes, made):
    counts = sorted(sizes["counts"])
    found = solve(evidence.dataset, counts, sizes["seeds"])
    made.tables["expressivity"] = found
    statement = "A two-layer ReLU network with 2n + d weights fits any labels of n images (Theorem 1)."
    reach, told = {}, {}
    for place, words in PLACES.items():
        for dtype in ("float64", "float32"):
            own = found[(found["place"] == place) & (found["dtype"] == dtype)]
            reach[place, dtype], told[place, dtype] = largest_n(own), largest_n(own, TOLD)
        slug = "middle" if place == MIDPOINT else "three-quarters"
        wide = reach[place, "float64"]
        claim = Claim(
            f"Z6-fits-{slug}", ZHANG, statement, "largest n with a residual below 1e-6, float64", (5000, np.inf),
            None, "expressivity", condition=words,
        )  # fmt: skip
        made.rows.append((claim, mean_interval(wide), f"tried up to {counts[-1]:,}"))
        claim = Claim(
            f"Z6-float32-{slug}", ZHANG, statement, "largest such n, float64 − float32", (1, np.inf), None, "expressivity",
            condition=words,
        )  # fmt: skip
        made.rows.append((claim, paired_difference(wide, reach[place, "float32"]), ""))
    _draw_theorem(evidence, found, counts, reach, told, made)
    best = max(PLACES, key=lambda place: reach[place, "float64"].mean())
    made.findings.append(
        f"<b>Theorem 1.</b> Built with {PLACES[best]}, its network fits up to "
        f"{_counted(reach[best, 'float64'])} of {counts[-1]:,} random labels to 1e-6 in float64 and "
        f"{_counted(reach[best, 'float32'])} in float32, which tells them apart by rounding up to "
        f"{_counted(told[best, 'float32'])}; "
        f"{expressivity.count_weights(datasets.MNIST.train_images, datasets.MNIST.pixels):,} weights would do for all 60,000."
    )


def _counted(values):
    """Return the mean of numbers of images with its interval, as text."""
    estimate = mean_interval(values)
    if np.isnan(estimate.low):
        return f"{estimate.value:,.0f}"
    return f"{estimate.value:,.0f} [{estimate.low:,.0f}, {estimate.high:,.0f}]"


def _draw_theorem(evidence, found, counts, reach, told, made):
    figure, [places] = figures.grid(1, len(PLACES), width=4.2, height=3.0, sharey=True)
    top = found["residual"].replace(np.inf, np.nan).max() * 10
    for place, (share, words) in zip(places, PLACES.items()):
        for dtype, color, marker in (("float64", palette.BLUE, "o"), ("float32", palette.VERMILION, "s")):
            own = found[(found["place"] == share) & (found["dtype"] == dtype)]
            known = own[np.isfinite(own["residual"])]
            lost = own[~np.isfinite(own["residual"])]
            place.plot(known["n"], known["residual"], marker, color=color, alpha=0.35, markersize=3.5)
            middle = known.groupby("n")["residual"].median()
            place.plot(middle.index, middle, "-", color=color, label=dtype)
            place.plot(lost["n"], np.full(len(lost), top), "x", color=color, markersize=4)
        place.axhline(TOLERANCE, **palette.REFERENCE)
        place.set(yscale="log", xlabel="random labels, n", title=words)
        figures.count_axis(place, counts)
        place.tick_params(axis="x", labelsize=8, rotation=60)
    places[0].set_ylabel("largest residual / largest label")
    figures.shared_legend(figure, places[0])
    said = "; ".join(f"{dtype}, {PLACES[place]}: {_counted(values)}" for (place, dtype), values in reach.items())
    rounded = "; ".join(f"{PLACES[place]} {_counted(told[place, 'float32'])}" for place in PLACES)
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "expressivity"),
            "Theorem 1 built, and where rounding ends it",
            f"Largest n fitted to 1e-6 (dotted): {said}. Largest n of which float32 still tells every label by "
            f"rounding: {rounded}; means over n = {found['seed'].nunique()} draws of images, labels "
            f"and direction. Tried: {', '.join(f'{n:,}' for n in counts)}. Dots: draws; lines: medians of those that are finite; "
            "crosses on top: not built or not finite, because rounding puts two images on one point of the line or lets errors "
            "grow. The theorem leaves open where in the gap between two images a bias lies.",
            "Residual of the constructed network against the number of random labels, in two precisions.",
        )
    )


def boundary(accuracy: pd.DataFrame) -> pd.Series:
    """Return by seed the width at which accuracy [seeds, widths ascending] first reaches 99 %, between widths on a log axis.

    NaN where even the widest does not; the narrowest width where that does already (an upper bound).
    """
    widths = np.log(accuracy.columns.to_numpy(float))

    def first(row):
        reached = np.flatnonzero(row.to_numpy() >= MEMORISED)
        if not len(reached):
            return np.nan
        k = reached[0]
        if k == 0:
            return float(np.exp(widths[0]))
        below, above = row.iloc[k - 1], row.iloc[k]
        share = (MEMORISED - below) / (above - below) if np.isfinite(below) else 1.0
        return float(np.exp(widths[k - 1] + share * (widths[k] - widths[k - 1])))

    return accuracy.apply(first, axis=1)


def parameters(width: np.ndarray | pd.Series | pd.DataFrame) -> np.ndarray | pd.Series | pd.DataFrame:
    """Return the weights and biases of one hidden layer of `width` units, which need not be whole."""
    return (datasets.MNIST.pixels + 1 + MNIST.classes) * width + MNIST.classes


def _map(evidence, networks, made):
    cells = networks.frame[networks.frame["arm"].str.startswith("map_")].drop_duplicates("trial")
    table = {
        # As floats, which a column is not where all networks diverged.
        n: own.pivot(index="seed", columns="width", values="train_accuracy").sort_index(axis=1).astype(np.float32)
        for n, own in cells.groupby("n")
    }
    edges = pd.DataFrame({n: boundary(own) for n, own in table.items()})
    needed = parameters(edges)
    share = needed / edges.columns.to_numpy(float)
    made.tables["map"] = cells.groupby(["n", "width"], as_index=False).agg(
        accuracy=("train_accuracy", "mean"), least=("train_accuracy", "min"), networks=("seed", "size")
    )
    statement = "What training needs to memorise random labels: a number of parameters for each label."
    slope = log_slope(needed).dropna()
    claim = Claim(
        "capacity-slope", "this suite", statement, "slope of log parameters on log n at the boundary", (0.8, 1.2), (0.1, 3),
        "map", condition="one hidden layer",
    )  # fmt: skip
    estimate = mean_interval(slope) if len(slope) else None
    absent = len(edges) - len(slope)
    reason = f"{absent} of {len(edges)} seeds have a boundary outside of the map" if absent else ""
    made.rows.append((claim, estimate, reason))
    for n in edges:
        whole = edges[n].dropna()
        least = np.full(len(whole), expressivity.count_weights(n, datasets.MNIST.pixels), float)
        claim = Claim(
            f"capacity-theorem-{n}", "this suite", "Training needs more weights than Theorem 1.",
            "parameters at the boundary / (2n + d)", (1.0001, np.inf), None, "map", condition=f"{n:,} labels",
        )  # fmt: skip
        reason = (
            f"{len(edges) - len(whole)} of {len(edges)} seeds have no boundary in the map"
            if len(whole) < len(edges)
            else ""
        )
        made.rows.append((claim, paired_ratio(parameters(whole), least) if len(whole) else None, reason))
    _draw_map(evidence, networks, table, edges, share, estimate, made)
    listed = "; ".join(
        f"{n:,} labels {with_interval(over_seeds(share[n])[0], count=k == 0)}"
        for k, n in enumerate(share)
        if len(share[n].dropna())
    )
    made.findings.append(
        f"<b>Parameters a label.</b> To memorise {100 * MEMORISED:g} % of n random labels one hidden layer needs, in parameters a "
        f"label: {listed or 'more than the map holds'}; parameters grow as n to the power {with_interval(estimate)}."
    )


def _draw_map(evidence, networks, table, edges, share, slope, made):
    figure, [[place, ratio]] = figures.grid(1, 2, width=4.4, height=3.3)
    counts = sorted(table)
    widths = sorted({width for own in table.values() for width in own.columns})
    means = pd.DataFrame({n: table[n].mean() for n in counts}).reindex(widths)
    norm = TwoSlopeNorm(MEMORISED, 0.1, 1.0)
    shown = place.imshow(means, origin="lower", aspect="auto", cmap="RdBu", norm=norm)
    for row, width in enumerate(widths):
        for column, n in enumerate(counts):
            value = means.loc[width, n]
            if np.isfinite(value):
                text = f"{value:.3f}" if value < 0.9995 else "1"
                dark = value < 0.5 or value > 0.999
                place.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    positions = np.interp(np.log(edges.mean().to_numpy(float)), np.log(widths), range(len(widths)))
    known = np.isfinite(edges.mean().to_numpy(float))
    place.plot(np.arange(len(edges.columns))[known], positions[known], "k-", marker="D", markersize=4)
    place.set_xticks(range(len(counts)), [f"{n:,}" for n in counts])
    place.set_yticks(range(len(widths)), widths)
    place.grid(visible=False)
    place.set(xlabel="random labels, n", ylabel="width of the hidden layer", title="training accuracy")
    figure.colorbar(shown, ax=place, ticks=[0.1, 0.4, 0.7, 0.99, 1.0]).set_label("accuracy")
    for n in share:
        values = share[n].dropna()
        ratio.plot(np.full(len(values), n), values, ".", color=palette.GREEN, alpha=0.5)
        if len(values):
            figures.interval(
                ratio, n, mean_interval(values), color=palette.GREEN, marker="^", linestyle="", label="trained"
            )
    line = np.array(counts, float)
    ratio.plot(
        line,
        [expressivity.count_weights(n, datasets.MNIST.pixels) / n for n in counts],
        color="0.4",
        label="Theorem 1: (2n + d) / n",
    )
    fitted = share.mean().dropna()
    if slope is not None and len(fitted) > 1:
        middle = np.exp(np.log(fitted.index.to_numpy(float)).mean()), np.exp(np.log(fitted).mean())
        law = middle[1] * (line / middle[0]) ** (slope.value - 1)
        ratio.plot(line, law, "--", color=palette.GREEN, linewidth=1, label=f"parameters ~ n^{number(slope.value, 2)}")
    figures.log_axis(ratio)
    figures.count_axis(ratio, counts)
    ratio.set(xlabel="random labels, n", ylabel="parameters a label")
    figures.legend(ratio)
    longer = _longer(networks, table)
    outside = int(edges.isna().sum().sum())
    beyond = f" {outside} of {edges.size} boundaries lie outside of the map." if outside else ""
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "map"),
            "The smallest width that memorises",
            f"Parameters a label where training accuracy passes {100 * MEMORISED:g} %: "
            f"{'; '.join(f'n = {n:,}: {with_interval(over_seeds(share[n])[0], count=False)}' for n in share)}.{beyond} Left: mean "
            f"accuracy of n = {len(edges)} networks a cell on random labels at the end of training; black: width at which it "
            "passes 99 %, interpolated on a log axis for each seed. Right: parameters of that width, divided by the labels; "
            "dots: seeds, triangles: means with 95 % intervals, dashed: the fitted power law. The boundary is that of this "
            f"optimiser and number of steps{longer}.",
            "Map of training accuracy by width and number of random labels with its boundary; parameters a label.",
        )
    )


def _longer(networks, table):
    """Return the words on what twice as many steps do to cells of the map."""
    said = []
    for (n, width), own in networks.frame[networks.frame["arm"] == "long_4000"].groupby(["n", "width"]):
        twice, once = own.set_index("seed")["train_accuracy"], table.get(n, pd.DataFrame()).get(width)
        if once is not None:
            gain, _ = over_pairs(twice, once)
            said.append(f"{with_interval(gain, count=False)} at width {width} and {n:,} labels")
    return f": twice as many add to the accuracy {', '.join(said)}" if said else ""


def _widths(evidence, networks, made):
    own = networks.frame[networks.frame["arm"].isin(["widths", "one_true", "one_corrupted"])]
    own = own[(own["labels"] == "true") | (own["fraction"] == 1)]
    figure, [[epochs, ratio]] = figures.grid(1, 2, width=4.2, height=2.9)
    widths = sorted(own["width"].unique())
    for labels, words in (("true", "true labels"), ("random", "random labels")):
        for width in widths:
            values = own[(own["labels"] == labels) & (own["width"] == width)]["t99"].dropna()
            if len(values):
                style = {
                    "color": palette.LABELS[labels].color,
                    "marker": palette.LABELS[labels].marker,
                    "linestyle": "",
                }
                figures.interval(epochs, width, mean_interval(values), label=words, **style)
    said = []
    for width in widths:
        pairs = own[own["width"] == width].pivot(index="seed", columns="labels", values="t99").dropna()
        if len(pairs) and {"true", "random"} <= set(pairs):
            estimate = paired_ratio(pairs["random"], pairs["true"])
            figures.interval(ratio, width, estimate, color=palette.BLACK, marker="o", linestyle="")
            said.append(f"{with_interval(estimate, count=False)} at width {width}")
    never = [
        f"width {width} ({labels} labels)"
        for width in widths
        for labels in ("true", "random")
        if own[(own["width"] == width) & (own["labels"] == labels)]["t99"].isna().any()
    ]
    for place in (epochs, ratio):
        figures.count_axis(place, widths)
        place.set_xlabel("units of the one hidden layer")
    figures.log_axis(epochs)
    epochs.set(ylabel="epochs to 99 %")
    ratio.margins(y=0.15)
    ratio.set_ylim(bottom=0)
    ratio.set_ylabel("random / true labels")
    figures.shared_legend(figure, epochs)
    images = int(networks.where(**TRUE)["n"].iloc[0])
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "widths"),
            "Width and the slow-down",
            f"Random labels take as many times longer than true ones to 99 %: {'; '.join(said) or 'not reached'}."
            + (f" Not every network gets there at {', '.join(never)}." if never else "")
            + f" {images:,} images, one learning rate for all. Points: means (right: geometric means within seeds) with 95 % "
            f"intervals over the seeds that get there, of n = {own['seed'].nunique()}.",
            "Epochs to 99 % training accuracy by width for true and random labels, and their ratio.",
        )
    )
