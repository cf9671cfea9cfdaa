"""The figures of a comparison: learning curves, what is measured against a key, confidence; by the panels of the experiments.

A figure has the levels of `hue` as lines, those of `x` along an axis (or as columns of learning curves), and a row for each
combination of `columns` and `rows`. Where there are more levels than fit, some that lie evenly between them are drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from memo.comparison.estimates import NULL, estimate_of, groups
from memo.comparison.keys import Key, Layout, label
from memo.comparison.networks import RATIO, Measure
from memo.reporting import figures, palette, panels
from memo.reporting.palette import Mark
from memo.statistics.curve_shape import loss_progress, time_to
from memo.statistics.curve_summary import LEVELS
from memo.statistics.intervals import mean_interval

HUES, ACROSS, DOWN = 8, 4, 3  # levels of hue, columns and rows of a figure, at most
LINES = 12  # networks of a level whose own curves are drawn
EVERY: dict[str, Mark] = {"": Mark("networks", palette.BLUE)}

Levels = dict[str, str]


@dataclass(frozen=True)
class Shown:
    """What is drawn: the networks and curves without those that diverged, and how."""

    networks: pd.DataFrame
    curves: pd.DataFrame
    confidence: pd.DataFrame | None
    layout: Layout
    time: str
    classes: int | None  # None where data sets differ in them

    @property
    def across(self) -> Key | None:
        """The key whose levels have a column each where time, or a kind of input, is along x."""
        return self.layout.x if self.layout.x is not self.layout.hue else None

    def facets(self, keys: Sequence[Key]) -> list[Levels]:
        """Return the combinations of keys that are drawn, of those that were trained."""
        names = [key.name for key in keys]
        return some([dict(zip(names, levels)) for levels, _ in groups(self.networks, names)], DOWN)


def some(levels: Sequence, most: int) -> list:
    """Return at most so many, evenly over their order, the first and the last among them."""
    if len(levels) <= most:
        return list(levels)
    return [levels[at] for at in np.linspace(0, len(levels) - 1, most).round().astype(int)]


def marks(key: Key | None) -> dict[str, Mark]:
    """Return the marks of the levels of a key that are drawn; one for all networks where there is no key."""
    if key is None:
        return EVERY
    levels = some(key.levels, HUES)
    if key.name == "labels.kind":
        return palette.label_marks(levels)
    names = {level: key.called(level) for level in levels}
    found = palette.level_marks(levels) if key.numeric or len(levels) > 6 else palette.input_marks(levels)
    return {level: found[level]._replace(name=names[level]) for level in levels}


def where(frame: pd.DataFrame, levels: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows with these levels."""
    keep = np.ones(len(frame), bool)
    for name, level in levels.items():
        keep &= (frame[name] == level).to_numpy()
    return frame[keep]


def of_hue(frame: pd.DataFrame, key: Key | None, level: str) -> pd.DataFrame:
    """Return the rows of one level of a key, or all where there is no key."""
    return frame if key is None else frame[frame[key.name] == level]


def curves(shown: Shown, kind: str) -> Drawing:
    """Return training and test curves (`kind` is accuracy or loss) by time, one column for each level of x."""
    layout, across = shown.layout, shown.across
    facets, columns = shown.facets(layout.facets), _columns(across)
    cells = [(facet, part) for facet in facets for part in ("train", "test")]
    figure, grid = figures.grid(len(cells), len(columns), 2.9, 2.2, sharex=True, sharey=True)
    for (facet, part), row in zip(cells, grid):
        for axes, column in zip(row, columns):
            own = where(shown.curves, facet | column)
            for level, mark in marks(layout.hue).items():
                lines = of_hue(own, layout.hue, level)
                panels.mean_line(axes, lines, f"{part}_{kind}", shown.time, label=mark.name, **mark.line)
            (figures.step_axis if shown.time == "step" else figures.epoch_axis)(axes, shown.curves[shown.time].max())
            _name(axes, row, facet, across, column, f"{'training' if part == 'train' else 'test'} {kind}")
            if kind == "accuracy":
                _chance(axes, shown)
                axes.set_ylim(0, 1.03)
            else:
                figures.log_axis(axes)
    return _finished(figure, grid)


def on_common_time(shown: Shown) -> Drawing:
    """Return single curves against time as a share of their span: until 90 % of the loss is lost, until 99 % accuracy."""
    layout, across = shown.layout, shown.across
    columns, by = _columns(across), layout.hue.name if layout.hue else "every"
    seeds = some(sorted(shown.curves["seed"].unique()), LINES)
    drawn = shown.curves[shown.curves["seed"].isin(seeds)].assign(every="")
    cells = [(facet, kind) for facet in shown.facets(layout.facets) for kind in LEVELS]
    figure, grid = figures.grid(len(cells), len(columns), 2.9, 2.2, sharex=True, sharey=True)
    for (facet, kind), row in zip(cells, grid):
        for axes, column in zip(row, columns):
            own = where(drawn, facet | column)
            ends = {trial: _end(curve, kind, shown.time) for trial, curve in own.groupby("trial")}
            panels.scaled_curves(axes, own, ends, kind, marks(layout.hue), by=by, time=shown.time)
            _name(axes, row, facet, across, column, "share of the loss lost" if kind == "loss" else "training accuracy")
            axes.set_xlabel("time / span")
    return _finished(figure, grid)


def _end(curve: pd.DataFrame, kind: str, time: str) -> float:
    rise = loss_progress(curve["train_loss"]) if kind == "loss" else curve["train_accuracy"]
    return time_to(curve[time], rise, LEVELS[kind])


def by_x(shown: Shown, found: pd.DataFrame, measures: Sequence[Measure], hue: Key | None, x: Key | None) -> Drawing:
    """Return estimates (rows of means or differences) against a key, one panel for each measure, levels of hue side by side.

    A row of panels for each combination of the other keys; without any, measures fill rows of three or four.
    """
    keys = [key for key in shown.layout.keys.values() if key not in (hue, x)]
    facets = [facet for facet in shown.facets(keys) if len(where(found, facet))]
    cells = [(facet, measure) for facet in facets for measure in measures]
    across = len(measures) if keys or len(measures) == 4 else 3
    figure, grid = figures.grid(-(-len(cells) // across), across, 2.9, 2.4, sharex=True)
    places = [axes for row in grid for axes in row]
    for axes, (facet, measure) in zip(places, cells):
        own = where(found[found["measure"] == measure.column], facet)
        compared = "scale" in own
        _estimates(axes, own[own["scale"] == measure.scale] if compared else own, hue, x)
        level = NULL[measure.scale] if compared else measure.straight
        if level is not None:
            axes.axhline(level, **palette.REFERENCE)
        elif measure.column == "final_test_accuracy" or measure.column.startswith("confidence"):
            _chance(axes, shown)
        if measure.scale == RATIO:
            figures.log_axis(axes)
        elif not compared and measure.bounds == (0, 1):
            axes.set_ylim(0, 1.03)
        axes.set_title(_wrapped(f"{measure.scale} of {measure.words}" if compared else measure.words), fontsize=9)
        if measure is measures[0]:
            axes.set_ylabel(_wrapped(label(keys, list(facet.values()))))
    finished = _finished(figure, grid, titles=not keys)
    for axes in places[len(cells) :]:
        axes.remove()
    return finished


def _estimates(axes: Axes, own: pd.DataFrame, hue: Key | None, x: Key | None) -> None:
    """Draw the estimates of some rows, each level of hue with its mark, at the places of x."""
    every = marks(hue)
    if "against" in own and hue is not None:
        every = {level: mark for level, mark in every.items() if level != hue.levels[0]}
    logarithmic = x is not None and x.numeric and x.places[0] > 0 and x.places[-1] >= 5 * x.places[0]
    gap = 1.0 if x is None or not x.numeric else float(np.diff(x.places).min())
    for (level, mark), offset in zip(every.items(), panels.side_by_side(len(every))):
        rows = of_hue(own, hue, level)
        at = [0.0] * len(rows) if x is None else [x.places[x.levels.index(each)] for each in rows[x.name].astype(str)]
        known = {place: estimate_of(row) for place, row in zip(at, rows.to_dict("records"))}
        moved = 0.0 if logarithmic or hue is x else offset * gap
        joined = x is not None and x.numeric and hue is not x
        panels.intervals(axes, known, mark, offset=moved, factor=1 + offset / 5 if logarithmic else 1, joined=joined)
    if x is None:
        axes.set(xticks=[], xlim=(-0.5, 0.5))
        return
    axes.set_xlabel(x.words)
    if logarithmic:
        axes.set_xscale("log")
        places = some(x.places, 6)
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
    elif not x.numeric:
        figures.name_axis(axes, x.levels, **({"rotation": 30, "ha": "right"} if len(x.levels) > 4 else {}))


def confidence(shown: Shown, inputs: Sequence[str]) -> Drawing:
    """Return the mean confidence on each kind of inputs, one column for each level of x."""
    assert shown.confidence is not None
    layout, across = shown.layout, shown.across
    facets, columns = shown.facets(layout.facets), _columns(across)
    figure, grid = figures.grid(len(facets), len(columns), 2.9, 2.6, sharex=True, sharey=True)
    every = palette.input_marks(inputs)
    estimate = partial(mean_interval, bounds=(0, 1))
    names = [every[kind].name.replace(", ", ",\n").replace(" ", "\n", 1) for kind in inputs]
    for facet, row in zip(facets, grid):
        for axes, column in zip(row, columns):
            own = where(shown.confidence, facet | column)
            by = "inputs" if layout.hue is None else layout.hue.name
            if layout.hue is None:
                values = {place: own[own["inputs"] == kind]["mean_confidence"] for place, kind in enumerate(inputs)}
                panels.means(axes, values, EVERY[""], estimate=estimate)
            else:
                found = marks(layout.hue)
                panels.points(axes, own, "mean_confidence", "inputs", inputs, found, by=by, estimate=estimate)
            figures.name_axis(axes, names, fontsize=7)
            _chance(axes, shown)
            axes.set_ylim(0, 1.03)
            _name(axes, row, facet, across, column, "mean confidence")
    return _finished(figure, grid)


def _columns(across: Key | None) -> list[Levels]:
    return [{across.name: level} for level in some(across.levels, ACROSS)] if across else [{}]


def _name(axes: Axes, row: Sequence[Axes], facet: Levels, across: Key | None, column: Levels, y: str) -> None:
    """Title axes by their column, and label the first of a row with what it shows and its facet."""
    if across is not None:
        axes.set_title(across.called(column[across.name]), fontsize=9)
    if axes is row[0]:
        axes.set_ylabel("\n".join([*facet.values(), y]))


def _finished(figure: Drawing, grid: Sequence[Sequence[Axes]], titles: bool = False) -> Drawing:
    """Return a figure with `titles` on every row or the first only, x axes named in the lowest row, and a legend above."""
    for place, row in enumerate(grid):
        for axes in row:
            axes.set_title(axes.get_title() if titles or not place else "")
            axes.set_xlabel(axes.get_xlabel() if place == len(grid) - 1 else "")
    filled = [axes for row in grid for axes in row]
    most = max(filled, key=lambda axes: len(set(axes.get_legend_handles_labels()[1])))
    if len(set(most.get_legend_handles_labels()[1])) > 1:
        figures.shared_legend(figure, most, 4)
    return figure


def _chance(axes: Axes, shown: Shown) -> None:
    if shown.classes:
        panels.chance(axes, shown.classes)


def _wrapped(words: str, width: int = 28) -> str:
    """Return words over as many lines as they need."""
    lines = [""]
    for word in words.split():
        lines = [*lines, word] if len(lines[-1]) + len(word) > width else [*lines[:-1], f"{lines[-1]} {word}".strip()]
    return "\n".join(lines)
