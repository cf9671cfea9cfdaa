"""Panels that several experiments draw: each takes axes and a frame or arrays, draws, and returns nothing.

Kinds distinguished in a panel (of labels, ways, recipes) have a `Mark` of memo.reporting.palette: a name for the legend,
a colour, a marker, dashes. Where a panel takes `marks`, they map the kinds to draw to their marks: `label_marks(kinds)`,
`input_marks(kinds)`, `level_marks(widths, "width {}")`, or a chapter's own `{"before": Mark("as it is", BLUE, "o"), ...}`.

Estimates, points with intervals
    points(axes, frame, column, group, names, marks)  mean over seeds of a column at each name of a group, kinds side by side
    means(axes, values, mark)                         mean over seeds of values [seeds, positions] at each position
    intervals(axes, estimates, mark)                  estimates that are known already, by position
    side_by_side(count)                               offsets of kinds at one position
Learning curves
    accuracy_curves(axes, curves, part, classes=n)    accuracy by epoch, a line for each kind of labels
    mean_line(axes, curves, column, time, **style)    one column by epoch or step, with a band over all seeds
    scaled_curves(axes, curves, ends, kind, classes=n)  single curves against time as a share of their span
Between networks
    lines_between(axes, values, mark)                 values [pairs, points] on the lines from one network to another
Confidence
    confidence_boxes(axes, confidence, classes=n)     quantiles of confidence, a box for each kind of inputs
    reliability(axes, bins, mark)                     accuracy by confidence, with the line of perfect calibration
    sample_strip(samples)                             a figure of stored inputs with the predictions of networks
Pictures
    picture(axes, pixels, below)                      one image, of grey, colour or signed values, with a text below it
    pictures(rows)                                    a figure of named rows of such images
Lines to compare with
    chance(axes, classes)                             the accuracy, or the error, of guessing

Axes themselves (`name_axis`, `count_axis`, `log_axis`, `epoch_axis`), legends and files are memo.reporting.figures'.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from memo.reporting import figures, palette
from memo.reporting.palette import Mark, Style, input_marks, label_marks
from memo.statistics.curve_shape import loss_progress
from memo.statistics.curve_summary import LEVELS
from memo.statistics.intervals import Estimate, mean_interval

QUANTILES = ["q05", "q25", "q50", "q75", "q95", "mean_confidence"]
# Bins of fewer predictions are not drawn: their accuracy is mostly chance.
FEWEST = 20
BELOW: Style = {"ha": "center", "va": "top", "fontsize": 7.5}  # a text below a picture

Estimator = Callable[[pd.Series], Estimate]
# An image [side, side] or [side, side, 3], its pixels in one row (grey, or all red, green and blue), or these as stored bytes.
Pixels = ArrayLike | bytes


def points(
    axes: Axes,
    frame: pd.DataFrame,
    column: str,
    group: str,
    names: Sequence[Hashable],
    marks: Mapping[str, Mark] | None = None,
    *,
    by: str = "labels",
    estimate: Estimator = mean_interval,
) -> None:
    """Draw the mean over seeds, with its interval, of `column` at each of the `names` of a `group`, kinds side by side.

    `marks` (true and shuffled labels) are those of the kinds in column `by`. Values that are not finite are left out: the
    caption says whose they are.
    """
    marks = label_marks() if marks is None else marks
    for (kind, mark), offset in zip(marks.items(), side_by_side(len(marks))):
        own = frame[frame[by] == kind]
        values = {position: own[own[group] == name][column] for position, name in enumerate(names)}
        means(axes, values, mark, offset=offset, estimate=estimate)
    figures.name_axis(axes, names)


def means(
    axes: Axes,
    values: pd.DataFrame | Mapping[Any, ArrayLike],
    mark: Mark,
    *,
    offset: float = 0,
    factor: float = 1,
    joined: bool = False,
    seeds: bool = False,
    estimate: Estimator = mean_interval,
) -> None:
    """Draw the mean over seeds with its interval at each position: a column of a frame [seeds, positions], or a key.

    Values that are not finite are left out, and positions without any other. Points are moved by `offset`, or on a
    logarithmic axis by a `factor`; a line joins them where they are `joined`; `seeds` shows each value as a dot.
    """
    found: dict[float, Estimate | None] = {}
    for position in values:
        own = pd.Series(np.asarray(values[position], float))
        own = own[np.isfinite(own)]
        found[position] = estimate(own) if len(own) else None
        if seeds:
            axes.plot(
                [position * factor + offset] * len(own), own, ".", color=mark.color, markersize=4, alpha=0.4, zorder=1
            )
    intervals(axes, found, mark, offset=offset, factor=factor, joined=joined)


def intervals(
    axes: Axes,
    estimates: Mapping[Any, Estimate | None],
    mark: Mark,
    *,
    offset: float = 0,
    factor: float = 1,
    joined: bool = False,
    **style: Any,
) -> None:
    """Draw estimates with their intervals by position; nothing where one is None or not finite.

    `offset`, `factor` and `joined` as in `means`; `style` overrides the mark's, as `fillstyle="none"` or `label=None`.
    """
    known = {place * factor + offset: found for place, found in estimates.items() if found and np.isfinite(found.value)}
    if known:
        figures.intervals(axes, known, **{"label": mark.name} | mark.points | style)
    if joined and known:
        values = [found.value for found in known.values()]
        axes.plot(list(known), values, **mark.line, linewidth=0.9, alpha=0.7)


def side_by_side(count: int) -> list[float]:
    """Return the offsets of so many kinds around one position of a name axis, whose neighbours are 1 away."""
    apart = min(0.24, 0.3 / max(1, count - 1))
    return [apart * (place - (count - 1) / 2) for place in range(count)]


def chance(axes: Axes, classes: int, *, error: bool = False, axis: Literal["x", "y"] = "y") -> None:
    """Draw the accuracy of guessing one of so many classes (or its error), as a line across the `axis` that shows accuracy."""
    level = 1 - 1 / classes if error else 1 / classes
    (axes.axhline if axis == "y" else axes.axvline)(level, **palette.REFERENCE)


def accuracy_curves(
    axes: Axes,
    curves: pd.DataFrame,
    part: str,
    marks: Mapping[str, Mark] | None = None,
    *,
    classes: int,
) -> None:
    """Draw accuracy (`part` is train or test) by epoch: the mean over seeds and a band over all of them.

    `curves` has `epoch`, `seed`, `labels` and the accuracies; it must be without diverged networks (see `mean_line`).
    """
    for kind, mark in (label_marks() if marks is None else marks).items():
        own = curves[curves["labels"] == kind]
        mean_line(axes, own, f"{part}_accuracy", label=mark.name, **mark.line)
    chance(axes, classes)
    figures.epoch_axis(axes, curves["epoch"].max())
    axes.set(ylim=(0, 1.03), ylabel=f"{'training' if part == 'train' else 'test'} accuracy")


def mean_line(axes: Axes, curves: pd.DataFrame, column: str, time: str = "epoch", **style: Any) -> None:
    """Draw one column of learning curves by `time` (epoch or step): the mean over seeds and a band over all of them.

    A network that has ended keeps its last value as long as another still trains; no diverged networks.
    """
    if curves.empty:
        return
    seeds = curves.pivot(index=time, columns="seed", values=column).sort_index().ffill()
    axes.fill_between(
        seeds.index, seeds.min(axis=1), seeds.max(axis=1), color=style.get("color"), alpha=0.2, linewidth=0
    )
    axes.plot(seeds.index, seeds.mean(axis=1), **style)


def scaled_curves(
    axes: Axes,
    curves: pd.DataFrame,
    ends: Mapping[str, float],
    kind: str,
    marks: Mapping[str, Mark] | None = None,
    *,
    classes: int | None,
    by: str = "labels",
    time: str = "epoch",
) -> None:
    """Draw each network's training curve of a kind against its time over that of its end, beside a straight line.

    `ends` are by trial, when 90 % of the loss is lost or 99 % accuracy reached; networks without one are left out. So is the
    straight line of accuracies where `classes` is None. `marks` (true and shuffled labels) are those of the values in column `by`.
    """
    marks, level = label_marks() if marks is None else marks, LEVELS[kind]
    start = 0 if kind == "loss" else 1 / classes if classes else math.nan  # which draws nothing
    axes.plot([0, 1], [start, level], color="0.6", linewidth=1)
    for trial, curve in curves.groupby("trial"):
        mark = marks.get(curve[by].iloc[0])
        if mark is not None and ends.get(trial, 0) > 0:
            values = curve[f"train_{kind}"]
            rise = pd.Series(loss_progress(values)) if kind == "loss" else values
            axes.plot(curve[time] / ends[trial], rise, linewidth=1, alpha=0.8, label=mark.name, **mark.line)
    axes.set(xlim=(0, 1), ylim=(0, 1.03))


def lines_between(axes: Axes, values: ArrayLike, mark: Mark) -> None:
    """Draw values [pairs, points] on the straight lines from one network to another: each pair thin, their mean thick."""
    values = np.asarray(values, float)
    along = np.linspace(0, 1, values.shape[1])
    axes.plot(along, values.T, **mark.line, alpha=0.25, linewidth=0.7)
    axes.plot(along, values.mean(axis=0), **mark.line, linewidth=2, label=mark.name)
    axes.set(xlim=(0, 1), xlabel="from one network to the other")


def confidence_boxes(
    axes: Axes,
    confidence: pd.DataFrame,
    marks: Mapping[str, Mark] | None = None,
    *,
    color: str | None = None,
    classes: int,
) -> None:
    """Draw a box for each kind of `inputs`, the first on top: quantiles of confidence, averaged over the networks in the frame.

    A box is the middle half of the inputs, its line 5 % to 95 %, the white dot the mean. A kind that the frame lacks keeps an
    empty row. All boxes have one `color`, or each that of its mark.
    """
    marks = input_marks() if marks is None else marks
    averages = confidence.groupby("inputs")[QUANTILES].mean()
    rows = list(marks.items())[::-1]
    for height, (kind, mark) in enumerate(rows):
        if kind in averages.index:
            box, shade = averages.loc[kind], color or mark.color
            axes.plot([box["q05"], box["q95"]], [height, height], color=shade, linewidth=1.2)
            axes.barh(height, box["q75"] - box["q25"], left=box["q25"], height=0.55, color=shade, linewidth=0)
            axes.plot(box["mean_confidence"], height, "o", color="white", markeredgecolor=shade, markersize=5)
    chance(axes, classes, axis="x")
    axes.set_yticks(range(len(marks)), [mark.name for _, mark in rows])
    axes.set(xlim=(0, 1.02), ylim=(-0.6, len(marks) - 0.4))


def reliability(axes: Axes, bins: Mapping[str, ArrayLike], mark: Mark, *, shares: bool = False) -> None:
    """Draw accuracy by confidence, on the grey line if calibrated, of bins with at least FEWEST predictions.

    `bins` as memo.measures.calibration's `reliability` and `pooled` return them. `shares` draws the share of the predictions in
    each bin as bars; one panel has one set of them.
    """
    count, confidence, accuracy = (np.asarray(bins[name], float) for name in ("count", "confidence", "accuracy"))
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=1)
    if shares:
        low, high = (np.asarray(bins[name], float) for name in ("low", "high"))
        axes.bar(low, count / count.sum(), width=high - low, align="edge", color="0.85", linewidth=0, zorder=0)
    kept = count >= FEWEST
    axes.plot(confidence[kept], accuracy[kept], marker=mark.marker, markersize=4, label=mark.name, **mark.line)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence")


def picture(axes: Axes, pixels: Pixels, below: str = "", *, signed: bool = False, **text: Any) -> None:
    """Show an image with a text below it, without axes: 0 white to 255 black, or as it is coloured.

    `signed` values, as weights, are blue below 0 and red above, to the largest of them. A row of pixels becomes the square
    that it fills, or that its thirds fill in red, green and blue. Raises ValueError where it fills none.
    """
    blank(axes)
    image = _square(pixels)
    most = float(np.abs(image).max()) or 1.0
    scale: Style = (
        {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if signed else {"cmap": "gray_r", "vmin": 0, "vmax": 255}
    )
    axes.imshow(image, **scale)
    axes.text(0.5, -0.04, below, transform=axes.transAxes, **BELOW | text)


def blank(axes: Axes) -> None:
    """Remove ticks, grid and frame from axes."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _square(pixels: Pixels) -> np.ndarray:
    image = np.frombuffer(pixels, np.uint8) if isinstance(pixels, bytes) else np.asarray(pixels)
    if image.ndim != 1:
        return image
    for channels in (1, 3):  # no number is both a square and three squares
        side = math.isqrt(len(image) // channels)
        if channels * side**2 == len(image):
            return np.moveaxis(image.reshape(channels, side, side), 0, -1).squeeze(-1 if channels == 1 else ())
    raise ValueError(f"{len(image)} pixels in one row fill no square, in grey or in three channels.")


def pictures(
    rows: Mapping[str, Sequence[tuple[Pixels, str]]],
    *,
    width: float = 0.95,
    height: float = 1.2,
    signed: bool = False,
    **text: Any,
) -> Figure:
    """Return a figure of named rows of images, each with the text below it; the largest row has an axes for each image.

    Where there is none, as in a run too small for any, the figure says so. `width` and `height` of one image with its text in inches; `signed` as in `picture`; `text` are keywords of the texts.
    """
    columns = max(map(len, rows.values()), default=0)
    if columns == 0:
        figure, [[cell]] = figures.grid(1, 1, width=2 * width, height=height)
        blank(cell)
        cell.text(0.5, 0.5, "no images", ha="center", va="center", transform=cell.transAxes)
        return figure
    figure, axes = figures.grid(len(rows), columns, width=width, height=height)
    for row, (name, images) in zip(axes, rows.items()):
        for cell in row:
            blank(cell)
        for cell, (pixels, below) in zip(row, images):
            picture(cell, pixels, below, signed=signed, **text)
        name_row(row[0], name)
    return figure


def name_row(axes: Axes, name: str) -> None:
    """Write the name of a row of axes to the left of its first one."""
    axes.set_ylabel(name, rotation=0, ha="right", va="center")


def sample_strip(samples: Mapping[str, pd.DataFrame], marks: Mapping[str, Mark] | None = None) -> Figure:
    """Return a figure of stored inputs, one row for each kind of inputs (`marks`), with the predictions of networks below them.

    `samples` has the rows of the table noise_samples of one network for each kind of labels, in whose colours and order its predictions are written: the digit, and the confidence in percent.
    """
    marks = input_marks() if marks is None else marks
    indexed = {kind: frame.set_index(["inputs", "sample"]) for kind, frame in samples.items()}
    first = next(iter(indexed.values()))
    count = first.index.get_level_values("sample").max() + 1
    names = [mark.name.replace(", ", ",\n").replace(" noise", "\nnoise") for mark in marks.values()]
    stored = [[first.loc[(inputs, sample), "pixels"] for sample in range(count)] for inputs in marks]
    figure = pictures(
        {name: [(pixels, "") for pixels in row] for name, row in zip(names, stored)}, width=1.05, height=1.2
    )
    cells = np.reshape(np.array(figure.axes), (len(marks), count))
    for (kind, mark), left in zip(label_marks(indexed).items(), np.linspace(0.24, 0.76, len(indexed))):
        for row, inputs in zip(cells, marks):
            for sample, cell in enumerate(row):
                shown = indexed[kind].loc[(inputs, sample)]
                known = np.isfinite(shown["confidence"])  # not of a diverged network
                answer = f"{shown['answer']} ({100 * shown['confidence']:.0f})" if known else "–"
                cell.text(left, -0.04, answer, transform=cell.transAxes, color=mark.color, **BELOW)
    return figure
