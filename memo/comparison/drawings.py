"""The figures of a comparison: learning curves, what is measured against a key, confidence; by the panels of the experiments.

A figure has the levels of `hue` as lines, those of `x` along an axis (or as columns of learning curves), and a row for each
combination of `columns` and `rows`. Where there are more levels than fit, some that lie evenly between them are drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from memo.comparison.estimates import NULL, estimate_of, groups
from memo.comparison.keys import Key, Layout
from memo.comparison.networks import RATIO, Measure
from memo.reporting import figures, palette, panels
from memo.reporting.palette import Mark
from memo.statistics.curve_shape import time_to
from memo.statistics.curve_summary import LEVELS, rises
from memo.statistics.intervals import mean_interval

HUES, ACROSS, DOWN = 8, 4, 3  # levels of hue, columns and rows of a figure, at most
LINES = 12  # networks of a level whose own curves are drawn
EVERY = Key("every", ("",), (0.0,), False)  # where nothing is told apart by colour: a column of one level

Levels = dict[str, str]


@dataclass(frozen=True)
class Shown:
    """What is drawn: networks, curves and confidence without those that diverged, with a column for each key and `every`."""

    networks: pd.DataFrame
    curves: pd.DataFrame
    confidence: pd.DataFrame | None
    layout: Layout
    time: str
    classes: int | None  # None where data sets differ in them

    @property
    def hue(self) -> Key:
        """The key told apart by colour."""
        return self.layout.hue or EVERY

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


def marks(key: Key) -> dict[str, Mark]:
    """Return the marks of the levels of a key that are drawn."""
    levels = some(key.levels, HUES)
    if key is EVERY:
        return {"": Mark("networks", palette.BLUE)}
    if key.name == "labels.kind":
        return palette.label_marks(levels)
    found = palette.level_marks(levels) if key.numeric or len(levels) > 6 else palette.input_marks(levels)
    return {level: found[level]._replace(name=key.called(level)) for level in levels}


def where(frame: pd.DataFrame, levels: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows with these levels."""
    keep = np.ones(len(frame), bool)
    for name, level in levels.items():
        keep &= (frame[name] == level).to_numpy()
    return frame[keep]


def _panels(shown: Shown, rows: Mapping[str, str], draw: Callable[[Axes, Levels, str], None]) -> Drawing:
    """Return a figure with a column for each level of x, and for each facet a row of each kind; `rows` are their y labels by kind.

    `draw(axes, levels, kind)` draws what has these levels of x and of the facets.
    """
    across, keys = shown.across, shown.layout.keys
    columns = [{across.name: level} for level in some(across.levels, ACROSS)] if across else [{}]
    cells = [(facet, kind) for facet in shown.facets(shown.layout.facets) for kind in rows]
    figure, grid = figures.grid(len(cells), len(columns), 2.9, 2.3, sharex=True, sharey="row")
    for (facet, kind), line in zip(cells, grid):
        for axes, column in zip(line, columns):
            draw(axes, facet | column, kind)
            if across:
                axes.set_title(across.called(column[across.name]), fontsize=9)
        line[0].set_ylabel("\n".join([*(keys[name].called(level) for name, level in facet.items()), rows[kind]]))
    return _finished(figure, grid)


def curves(shown: Shown, kind: str) -> Drawing:
    """Return training and test curves (`kind` is accuracy or loss) by time: means over seeds with a band over all of them."""

    def draw(axes: Axes, levels: Levels, part: str) -> None:
        own = where(shown.curves, levels)
        for level, mark in marks(shown.hue).items():
            lines = own[own[shown.hue.name] == level]
            panels.mean_line(axes, lines, f"{part}_{kind}", shown.time, label=mark.name, **mark.line)
        (figures.step_axis if shown.time == "step" else figures.epoch_axis)(axes, shown.curves[shown.time].max())
        if kind == "loss":
            figures.log_axis(axes)
        else:
            _chance(axes, shown)
            axes.set_ylim(0, 1.03)

    return _panels(shown, {"train": f"training {kind}", "test": f"test {kind}"}, draw)


def on_common_time(shown: Shown) -> Drawing:
    """Return single curves against time as a share of their span: until 90 % of the loss is lost, until 99 % accuracy."""
    seeds = some(sorted(shown.curves["seed"].unique()), LINES)
    drawn = shown.curves[shown.curves["seed"].isin(seeds)]

    def draw(axes: Axes, levels: Levels, kind: str) -> None:
        own = where(drawn, levels)
        ends = {trial: _end(curve, kind, shown.time) for trial, curve in own.groupby("trial")}
        panels.scaled_curves(
            axes, own, ends, kind, marks(shown.hue), classes=shown.classes, by=shown.hue.name, time=shown.time
        )
        axes.set_xlabel("time / span")

    return _panels(shown, {"loss": "share of the loss lost", "accuracy": "training accuracy"}, draw)


def _end(curve: pd.DataFrame, kind: str, time: str) -> float:
    """Return when a network's span ends, NaN if it never does: also of one that was finished before its first step."""
    return time_to(curve[time], rises(curve)[kind], LEVELS[kind]) if len(curve) > 1 else np.nan


def confidence(shown: Shown, inputs: Sequence[str]) -> Drawing:
    """Return the mean confidence on each kind of inputs."""
    frame, every = shown.confidence, palette.input_marks(inputs)
    assert frame is not None
    names = [every[kind].name.replace(", ", ",\n").replace(" ", "\n", 1) for kind in inputs]
    estimate = partial(mean_interval, bounds=(0, 1))

    def draw(axes: Axes, levels: Levels, kind: str) -> None:
        own, by = where(frame, levels), shown.hue.name
        panels.points(axes, own, kind, "inputs", inputs, marks(shown.hue), by=by, estimate=estimate)
        figures.name_axis(axes, names, fontsize=7)
        _chance(axes, shown)
        axes.set_ylim(0, 1.03)

    return _panels(shown, {"mean_confidence": "mean confidence"}, draw)


def by_x(shown: Shown, found: pd.DataFrame, measures: Sequence[Measure], hue: Key, x: Key | None) -> Drawing:
    """Return estimates (rows of means or differences) against a key, one panel for each measure, levels of hue side by side.

    A row of panels for each combination of the other keys; without any, measures fill rows of three or four.
    """
    keys = [key for key in shown.layout.keys.values() if key not in (hue, x)]
    facets = [facet for facet in shown.facets(keys) if len(where(found, facet))]
    cells = [(facet, measure) for facet in facets for measure in measures]
    across = len(measures) if keys or len(measures) == 4 else 3
    figure, grid = figures.grid(-(-len(cells) // across), across, 2.9, 2.4, sharex=True)
    places = [axes for row in grid for axes in row]
    found = found.assign(every="")
    for axes, (facet, measure) in zip(places, cells):
        own = where(found, facet | {"measure": measure.column})
        compared = "scale" in own
        own = own[own["scale"] == measure.scale] if compared else own
        _estimates(axes, own, hue, x)
        if own["value"].isna().all():
            axes.text(0.5, 0.5, "no value", transform=axes.transAxes, ha="center", color="0.45")
        level = NULL[measure.scale] if compared else measure.straight
        if level is not None:
            axes.axhline(level, **palette.REFERENCE)
        elif measure.column == "final_test_accuracy" or measure.column.startswith("confidence"):
            _chance(axes, shown)
        if measure.scale == RATIO:
            figures.log_axis(axes)
        elif not compared and measure.bounds == (0, 1):
            axes.set_ylim(0, 1.03)
        axes.set_title(fill(f"{measure.scale} of {measure.words}" if compared else measure.words, 28), fontsize=9)
        if measure is measures[0]:
            axes.set_ylabel("\n".join(key.called(facet[key.name]) for key in keys))
    finished = _finished(figure, grid, titles=not keys)
    for axes in places[len(cells) :]:
        axes.remove()
    return finished


def _estimates(axes: Axes, own: pd.DataFrame, hue: Key, x: Key | None) -> None:
    """Draw the estimates of some rows, each level of hue with its mark, at the places of x."""
    drawn = {level: mark for level, mark in marks(hue).items() if (own[hue.name] == level).any()}
    logarithmic = x is not None and x.numeric and x.places[0] > 0 and x.places[-1] >= 5 * x.places[0]
    gap = float(np.diff(x.places).min()) if x is not None else 1.0
    joined = x is not None and x.numeric and hue is not x
    for (level, mark), offset in zip(drawn.items(), panels.side_by_side(len(drawn))):
        rows = own[own[hue.name] == level].to_dict("records")
        known = {x.places[x.levels.index(row[x.name])] if x else 0.0: estimate_of(row) for row in rows}
        apart = {"factor": 1 + offset / 5} if logarithmic else {"offset": offset * gap}
        panels.intervals(axes, known, mark, joined=joined, **({} if hue is x else apart))
    if x is None:
        axes.set(xticks=[], xlim=(-0.5, 0.5))
        return
    axes.set_xlabel(x.words)
    if logarithmic:
        figures.log_axis(axes, "x")
    if x.numeric and len(x.levels) <= 5:
        axes.set_xticks(x.places, x.levels)
    elif not x.numeric:
        figures.name_axis(axes, x.levels, **({"rotation": 30, "ha": "right"} if len(x.levels) > 4 else {}))


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
