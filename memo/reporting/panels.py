"""Panels that several experiments draw, from frames with columns `width`, `labels` and `seed`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memo.reporting import figures
from memo.statistics.intervals import mean_interval

CHANCE = 0.1
# Twins stand side by side at one width.
OFFSETS = {"true": -0.12, "shuffled": 0.12}


def accuracy_curves(axes: Axes, curves: pd.DataFrame, part: str) -> None:
    """Draw accuracy (`part` is train or test) by epoch: the mean over seeds and a band over all of them.

    A network that has ended keeps its last value as long as another of its kind still trains, so the frame must be
    without diverged networks.
    """
    for kind in OFFSETS:
        own = curves[curves["labels"] == kind]
        if own.empty:
            continue
        seeds = own.pivot(index="epoch", columns="seed", values=f"{part}_accuracy").ffill()
        sns.lineplot(
            seeds.melt(ignore_index=False, value_name="accuracy").reset_index(),
            x="epoch",
            y="accuracy",
            errorbar=("pi", 100),
            ax=axes,
            color=figures.LABELS[kind],
            linestyle=figures.DASHES[kind],
            label=f"{kind} labels",
            legend=False,
        )
    axes.axhline(CHANCE, **figures.CHANCE_LINE)
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


def means_by_level(
    axes: Axes,
    levels: pd.DataFrame,
    color: Any,
    marker: str,
    label: str,
    *,
    linewidth: float = 0.8,
    alpha: float = 0.6,
) -> None:
    """Draw the mean over seeds, with its interval, of values [seeds, levels] at each level, joined by a line."""
    means = []
    for level in levels.columns:
        values = levels[level].dropna()
        if len(values):
            means.append((level, values.mean()))
            figures.interval(axes, level, mean_interval(values), color=color, marker=marker, linestyle="", label=label)
    axes.plot(*np.array(means).T if means else ([], []), color=color, linewidth=linewidth, alpha=alpha)


def estimates(axes: Axes, frame: pd.DataFrame, column: str, group: str, names: Sequence[str]) -> None:
    """Draw the mean over seeds, with its interval, of `column` at each of the `names` of a `group`, twins apart."""
    for kind, offset in OFFSETS.items():
        for position, name in enumerate(names):
            values = frame[(frame[group] == name) & (frame["labels"] == kind)][column].dropna()
            if len(values):
                style = {"color": figures.LABELS[kind], "marker": figures.MARKERS[kind], "linestyle": ""}
                figures.interval(axes, position + offset, mean_interval(values), label=f"{kind} labels", **style)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)


def confidence_boxes(axes: Axes, confidence: pd.DataFrame) -> None:
    """Draw a box for each kind of input: quantiles of confidence, averaged over the networks in the frame."""
    columns = ["q05", "q25", "q50", "q75", "q95", "mean_confidence"]
    means = confidence.groupby("inputs")[columns].mean()
    kinds = list(figures.INPUTS)[::-1]
    for height, kind in enumerate(kinds):
        box, color = means.loc[kind], figures.INPUTS[kind]
        axes.plot([box["q05"], box["q95"]], [height, height], color=color, linewidth=1.2)
        axes.barh(height, box["q75"] - box["q25"], left=box["q25"], height=0.55, color=color)
        axes.plot(box["mean_confidence"], height, "o", color="white", markeredgecolor=color, markersize=5)
    axes.axvline(CHANCE, **figures.CHANCE_LINE)
    axes.set_yticks(range(len(kinds)), [figures.INPUT_NAMES[kind] for kind in kinds])
    axes.set_xlim(0, 1.02)


def sample_strip(samples: dict[str, pd.DataFrame]) -> Figure:
    """Return a figure of the stored inputs, a row a kind, with the answers of one network for each kind of labels."""
    indexed = {kind: frame.set_index(["inputs", "sample"]) for kind, frame in samples.items()}
    first = next(iter(indexed.values()))
    count = first.index.get_level_values("sample").max() + 1
    figure, axes = figures.grid(len(figures.INPUTS), count, width=1.05, height=1.2)
    places = dict(zip(indexed, np.linspace(0.24, 0.76, len(indexed))))
    for row, inputs in zip(axes, figures.INPUTS):
        for sample, place in enumerate(row):
            pixels = np.frombuffer(first.loc[(inputs, sample), "pixels"], np.uint8)
            side = math.isqrt(len(pixels))
            place.imshow(pixels.reshape(side, side), cmap="gray_r", vmin=0, vmax=255)
            place.set(xticks=[], yticks=[])
            place.grid(visible=False)
            sns.despine(ax=place, left=True, bottom=True)
            for kind, left in places.items():
                shown = indexed[kind].loc[(inputs, sample)]
                known = np.isfinite(shown["confidence"])  # not of a diverged network
                answer = f"{shown['answer']} ({100 * shown['confidence']:.0f})" if known else "–"
                style: figures.Style = {"ha": "center", "va": "top", "color": figures.LABELS[kind], "fontsize": 7.5}
                place.text(left, -0.04, answer, transform=place.transAxes, **style)
        name = figures.INPUT_NAMES[inputs].replace(", ", ",\n").replace(" noise", "\nnoise")
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure
