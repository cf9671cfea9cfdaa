"""The look, the palette, axes and single intervals: what stands in a drawing, read back from its artists."""

import itertools
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from memo.data import treatments
from memo.reporting import figures, palette
from memo.reporting.palette import Mark
from memo.statistics.intervals import Estimate

# Settings as a person's matplotlibrc might have them, and every one of which shows.
OWN = {
    "font.size": 30,
    "lines.linewidth": 9,
    "axes.facecolor": "yellow",
    "axes.grid": False,
    "errorbar.capsize": 12,
    "figure.dpi": 300,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "xtick.labelsize": 25,
}


def drawn(folder, name):
    with figures.look():
        figure, [[axes]] = figures.grid(1, 1)
        axes.plot([1, 2], [3, 4], label="a line")
        figures.interval(axes, 1.5, Estimate(3.5, 3, 4, 5))
        figures.legend(axes)
    return (folder / figures.save(figure, folder, name)).read_bytes()


def test_a_figure_depends_on_no_setting_and_changes_none(tmp_path):
    plain = drawn(tmp_path, "plain")
    with matplotlib.rc_context(OWN):
        before = matplotlib.rcParams.copy()
        assert drawn(tmp_path, "own") == plain
        assert matplotlib.rcParams == before


@pytest.mark.slow
def test_importing_the_figures_leaves_settings_and_backend_alone():
    code = """
import matplotlib
before, backend = matplotlib.rcParams.copy(), matplotlib.rcParams._get_backend_or_none()
import memo.reporting.panels
assert matplotlib.rcParams._get_backend_or_none() is backend
after = matplotlib.rcParams.copy()
assert {k: v for k, v in after.items() if k != "backend"} == {k: v for k, v in before.items() if k != "backend"}
"""
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)


def test_the_look_ends_with_an_error_too():
    before = matplotlib.rcParams.copy()
    with pytest.raises(ZeroDivisionError), figures.look():
        assert matplotlib.rcParams["axes.grid"] and not before["axes.grid"]
        1 / 0  # noqa: B018
    assert matplotlib.rcParams == before


def greys(marks):
    """Return how bright each mark's colour is in grey print."""
    return [np.dot(to_rgb(mark.color), (0.299, 0.587, 0.114)) for mark in marks]


@pytest.mark.parametrize(
    "marks",
    [
        palette.LABELS,
        palette.INPUTS,
        palette.label_marks(["true", "shuffled", *"abcdef"]),
        palette.level_marks(range(8)),
    ],
    ids=["labels", "inputs", "unknown", "levels"],
)
def test_marks_are_told_apart_without_colour(marks):
    for one, other in itertools.combinations(marks.values(), 2):
        assert (one.marker, one.dashes) != (other.marker, other.dashes)
        assert one.color != other.color


def test_a_persons_own_treatment_has_a_mark(monkeypatch):
    monkeypatch.setitem(treatments.LABELS, "shifted_by_one", treatments.LABELS["true"])
    marks = palette.label_marks(treatments.LABELS)
    assert set(palette.LABELS) < set(marks)  # what the suite has is all named
    own = marks["shifted_by_one"]
    assert own.name == "shifted by one labels"
    assert own.color not in {mark.color for mark in palette.LABELS.values()}
    assert marks == palette.label_marks(treatments.LABELS)


def test_what_the_suite_treats_inputs_with_has_a_mark():
    marks = palette.input_marks(treatments.INPUTS)
    assert list(marks) == list(treatments.INPUTS)
    assert len({mark.color for mark in marks.values()}) == len(marks)


def test_levels_darken():
    for count in (1, 2, 5, 9):
        marks = palette.level_marks(range(count), "width {}")
        assert greys(marks.values()) == sorted(greys(marks.values()), reverse=True)
        assert marks[0].name == "width 0"


def test_a_mark_is_keywords():
    mark = Mark("mine", palette.GREEN, "v", palette.DASHED)
    _, [[axes]] = figures.grid(1, 1)
    [line] = axes.plot([0, 1], [0, 1], **mark.line)
    [points] = axes.plot([0, 1], [0, 1], **mark.points)
    assert (line.get_color(), line.get_marker(), line.is_dashed()) == (palette.GREEN, "None", True)
    assert (points.get_color(), points.get_marker(), points.get_linestyle()) == (palette.GREEN, "v", "None")


def test_an_interval_is_drawn_where_it_lies():
    _, [[axes]] = figures.grid(1, 1)
    figures.interval(axes, 2, Estimate(0.5, 0.25, 1.0, 5), color=palette.BLUE)
    [container] = axes.containers
    point, _, [bar] = container
    assert (point.get_xdata().tolist(), point.get_ydata().tolist()) == ([2], [0.5])
    np.testing.assert_allclose(bar.get_segments()[0], [[2, 0.25], [2, 1.0]])


def test_a_lower_bound_points_upward():
    _, [[axes]] = figures.grid(1, 1)
    figures.interval(axes, 0, Estimate(3, 2, np.inf, 5), color=palette.BLUE)
    [container] = axes.containers
    np.testing.assert_allclose(container[2][0].get_segments()[0], [[0, 2], [0, 3]])
    [arrow] = axes.texts
    assert arrow.xy == (0, 3) and arrow.get_position() == (0, 14)


def test_an_interval_that_does_not_exist_leaves_the_point():
    _, [[axes]] = figures.grid(1, 1)
    figures.interval(axes, 0, Estimate(3, np.nan, np.nan, 1))
    point, _, [bar] = axes.containers[0]
    assert point.get_ydata().tolist() == [3]
    assert not len(bar.get_segments()[0])


def test_axes_say_their_numbers():
    _, [[names, counts, values, epochs]] = figures.grid(1, 4)
    figures.name_axis(names, ["8", "64"])
    assert [label.get_text() for label in names.get_xticklabels()] == ["8", "64"]
    assert names.get_xlim() == (-0.5, 1.5)
    figures.count_axis(counts, [300, 1000, 8000, 10000])
    assert [label.get_text() for label in counts.get_xticklabels()] == ["300", "1,000", "", "10,000"]
    values.plot([0, 1], [0.5, 40])
    figures.log_axis(values)
    assert values.get_yscale() == "log"
    assert {1, 2, 5, 10} <= set(values.get_yticks())
    values.plot([0, 1], [0.5, 4000])
    figures.log_axis(values)
    assert not {2, 5} & set(values.get_yticks())
    figures.epoch_axis(epochs, 30)
    assert [label.get_text() for label in epochs.get_xticklabels()] == ["0", "0.1", "1", "10"]
    assert epochs.get_xlabel() == "epoch"


def test_an_axis_without_a_positive_number_stays_linear():
    _, [[axes]] = figures.grid(1, 1)
    figures.log_axis(axes)
    assert axes.get_yscale() == "linear"


def test_legends_name_each_thing_once_and_only_if_there_is_one():
    figure, [[left, right]] = figures.grid(1, 2)
    for _ in range(3):
        left.plot([0, 1], [0, 1], label="true labels")
    figures.shared_legend(figure, left)
    figures.legend(left)
    figures.legend(right)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["true labels"]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["true labels"]
    assert right.get_legend() is None


def test_a_figure_is_saved_alike_twice(tmp_path):
    assert drawn(tmp_path, "a") == drawn(tmp_path, "b")
    figure, _ = figures.grid(1, 1)
    assert figures.save(figure, tmp_path, "c", dense=True) == os.path.join("figures", "c.png")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["a.svg", "b.svg", "c.png"]
