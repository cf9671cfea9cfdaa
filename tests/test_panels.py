"""Panels: what they draw, read back from the artists: positions, values, intervals, labels."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color, to_rgb

from memo.reporting import figures, palette, panels
from memo.reporting.palette import Mark, label_marks
from memo.statistics.intervals import Estimate, mean_interval

MINE = Mark("mine", palette.GREEN, "^", palette.DASHED)


@pytest.fixture
def axes():
    with figures.look():
        yield figures.grid(1, 1)[1][0][0]


def bars(axes):
    """Return what intervals an axes shows: (label, colour, marker, x, value, low, high) of each, from left to right."""
    found = []
    for container in axes.containers:
        points, _, [bar] = container
        for x, value, segment in zip(points.get_xdata(), points.get_ydata(), bar.get_segments()):
            low, high = segment[:, 1] if len(segment) else (np.nan, np.nan)
            found.append((container.get_label(), points.get_color(), points.get_marker(), x, value, low, high))
    return sorted(found, key=lambda row: row[3])


@pytest.fixture
def networks():
    rows = [
        {"width": width, "labels": labels, "seed": seed, "accuracy": base + seed / 10}
        for width, labels, base in (
            ("8", "true", 0.5),
            ("8", "shuffled", 0.1),
            ("64", "true", 0.6),
            ("64", "shuffled", 0.2),
        )
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def test_points_stand_side_by_side_at_their_group(axes, networks):
    panels.points(axes, networks, "accuracy", "width", ["8", "64"])
    shown = bars(axes)
    marks = label_marks()
    assert [row[:3] for row in shown] == [
        (mark.name, mark.color, mark.marker) for _ in range(2) for mark in (marks["true"], marks["shuffled"])
    ]
    np.testing.assert_allclose([row[3] for row in shown], [-0.12, 0.12, 0.88, 1.12])
    np.testing.assert_allclose([row[4] for row in shown], [0.6, 0.2, 0.7, 0.3])
    estimate = mean_interval([0.5, 0.6, 0.7])
    np.testing.assert_allclose(shown[0][5:], (estimate.low, estimate.high))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "64"]


def test_points_of_a_kind_that_nobody_knows(axes, networks):
    shifted = networks[networks["labels"] == "true"].assign(labels="shifted", accuracy=0.9)
    panels.points(
        axes, pd.concat([networks, shifted]), "accuracy", "width", ["8"], label_marks(["true", "shifted", "shuffled"])
    )
    shown = bars(axes)
    assert [row[0] for row in shown] == ["true labels", "shifted labels", "shuffled labels"]
    np.testing.assert_allclose([row[3] for row in shown], [-0.15, 0, 0.15], atol=1e-12)
    assert shown[1][4] == pytest.approx(0.9)


def test_points_are_told_apart_by_any_column(axes, networks):
    frame = networks.assign(when=["before", "after"] * 6)
    marks = {"before": Mark("as it is", palette.BLUE), "after": MINE}
    panels.points(axes, frame, "accuracy", "width", ["8"], marks, by="when")
    own = frame[frame["width"] == "8"].groupby("when")["accuracy"].mean()
    assert [(row[0], row[4]) for row in bars(axes)] == [
        ("as it is", pytest.approx(own["before"])),
        ("mine", pytest.approx(own["after"])),
    ]


def test_means_leave_out_what_is_not_finite(axes):
    values = pd.DataFrame({10: [1.0, 3.0, np.nan], 100: [np.nan, np.inf, np.nan], 1000: [5.0, np.nan, np.nan]})
    panels.means(axes, values, MINE, factor=2, joined=True)
    shown = bars(axes)
    assert [row[3:5] for row in shown] == [(20, 2), (2000, 5)]
    assert np.isnan(shown[1][5])  # one seed has no interval
    [line] = [line for line in axes.lines if line.get_linestyle() not in ("None", "")]
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([20, 2000], [2, 5])
    assert line.get_color() == palette.GREEN


def test_means_of_nothing_draw_nothing(axes):
    panels.means(axes, pd.DataFrame({1: [np.nan]}), MINE, joined=True, seeds=True)
    assert not axes.containers
    assert not [line for line in axes.lines if len(line.get_xdata())]
    figures.legend(axes)
    assert axes.get_legend() is None


def test_means_show_each_seed(axes):
    panels.means(axes, {0: [1.0, 2.0, np.nan], 1: [4.0]}, MINE, offset=0.25, seeds=True)
    dots = [line for line in axes.lines if line.get_marker() == "."]
    assert [(dot.get_xdata().tolist(), dot.get_ydata().tolist()) for dot in dots] == [
        ([0.25, 0.25], [1, 2]),
        ([1.25], [4]),
    ]


def test_means_take_another_estimate(axes):
    panels.means(axes, {0: [1.0, 3.0]}, MINE, estimate=lambda values: Estimate(max(values), 0, 9, len(values)))
    assert bars(axes)[0][4:] == (3, 0, 9)


def test_known_estimates_stand_where_they_are_given(axes):
    estimates = {
        25: Estimate(2, 1, 4, 5),
        50: None,
        100: Estimate(np.nan, np.nan, np.nan, 0),
        250: Estimate(3, 2, 5, 5),
    }
    panels.intervals(axes, estimates, MINE, fillstyle="none")
    assert [row[3:] for row in bars(axes)] == [(25, 2, 1, 4), (250, 3, 2, 5)]
    assert {container[0].get_fillstyle() for container in axes.containers} == {"none"}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_kinds_side_by_side_are_evenly_apart_and_nearer_than_neighbours(count):
    offsets = panels.side_by_side(count)
    assert len(offsets) == count and sum(offsets) == pytest.approx(0)
    if count > 1:
        np.testing.assert_allclose(np.diff(offsets), np.diff(offsets)[0])
        assert offsets[-1] - offsets[0] <= 0.3 + 1e-12


def test_chance_is_that_of_the_classes(axes):
    panels.chance(axes, 10)
    panels.chance(axes, 100)
    panels.chance(axes, 4, error=True)
    panels.chance(axes, 5, axis="x")
    across = [line.get_ydata()[0] for line in axes.lines[:3]]
    assert across == pytest.approx([0.1, 0.01, 0.75])
    assert list(axes.lines[3].get_xdata()) == pytest.approx([0.2, 0.2])


CURVES = pd.DataFrame(
    [
        (labels, seed, epoch, base + 0.1 * seed + 0.01 * epoch)
        for labels, base in (("true", 0.5), ("shuffled", 0.2))
        for seed in (0, 1)
        for epoch in ((0, 5, 10) if seed else (0, 5))  # seed 0 has ended
    ],
    columns=["labels", "seed", "epoch", "train_accuracy"],
)


def test_accuracy_curves_are_means_within_a_band_of_all_seeds(axes):
    panels.accuracy_curves(axes, CURVES, "train", classes=10)
    true, shuffled = (line for line in axes.lines if line.get_label() in ("true labels", "shuffled labels"))
    np.testing.assert_allclose(true.get_xdata(), [0, 5, 10])
    np.testing.assert_allclose(true.get_ydata(), [0.55, 0.6, (0.55 + 0.7) / 2])  # its last value is kept
    assert not true.is_dashed() and shuffled.is_dashed()
    band = axes.collections[0].get_paths()[0].vertices
    at_ten = band[band[:, 0] == 10][:, 1]
    assert (at_ten.min(), at_ten.max()) == pytest.approx((0.55, 0.7))
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("training accuracy", "epoch")


def test_accuracy_curves_of_a_kind_that_nobody_knows(axes):
    panels.accuracy_curves(axes, CURVES.replace("shuffled", "shifted"), "train", label_marks(["shifted"]), classes=4)
    assert axes.get_legend_handles_labels()[1] == ["shifted labels"]
    assert 0.25 in [line.get_ydata()[0] for line in axes.lines]


def test_lines_between_networks_and_their_mean(axes):
    panels.lines_between(axes, [[0, 2, 0], [0, 4, 2]], MINE)
    *pairs, mean = axes.lines
    assert [line.get_ydata().tolist() for line in pairs] == [[0, 2, 0], [0, 4, 2]]
    assert (mean.get_xdata().tolist(), mean.get_ydata().tolist()) == ([0, 0.5, 1], [0, 3, 1])
    assert axes.get_legend_handles_labels()[1] == ["mine"]


def confidences(**kinds):
    shares = (0.1, 0.3, 0.5, 0.7, 0.9, 0.4)
    return pd.DataFrame(
        [
            {"inputs": kind} | dict(zip(panels.QUANTILES, np.add(shares, shift)))
            for kind, shifts in kinds.items()
            for shift in shifts
        ]
    )


def test_confidence_boxes_are_quantiles_averaged_over_networks(axes):
    panels.confidence_boxes(axes, confidences(test=(0, 0.1), uniform=(0.05,)), classes=10)
    lower, upper = axes.patches  # drawn from the lowest row up; two kinds are not in the frame
    assert (lower.get_x(), lower.get_width(), lower.get_y() + lower.get_height() / 2) == pytest.approx((0.35, 0.4, 2))
    assert (upper.get_x(), upper.get_width(), upper.get_y() + upper.get_height() / 2) == pytest.approx((0.35, 0.4, 3))
    whiskers = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2][:2]
    np.testing.assert_allclose(whiskers, [[0.15, 0.95], [0.15, 0.95]])
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, [0.45, 0.45])
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "test images, permuted", "Gaussian noise", "uniform noise", "test images",
    ]  # fmt: skip


def test_confidence_boxes_of_own_kinds_and_one_colour(axes):
    marks = palette.input_marks(["test", "stripes"])
    panels.confidence_boxes(axes, confidences(test=(0,), stripes=(0.1,)), marks, color=palette.SKY, classes=10)
    assert len(axes.patches) == 2
    assert all(same_color(box.get_facecolor(), palette.SKY) for box in axes.patches)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["stripes", "test images"]


def test_reliability_shows_bins_that_hold_enough(axes):
    bins = {
        "low": [0, 0.5], "high": [0.5, 1], "count": [19, 60], "confidence": [0.3, 0.8], "accuracy": [1.0, 0.6],
    }  # fmt: skip
    panels.reliability(axes, bins, MINE, shares=True)
    right, shown = axes.lines
    assert list(right.get_xdata()) == list(right.get_ydata()) == [0, 1]
    assert (shown.get_xdata().tolist(), shown.get_ydata().tolist()) == ([0.8], [0.6])
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [19 / 79, 60 / 79])
    np.testing.assert_allclose([bar.get_x() for bar in axes.patches], [0, 0.5])


@pytest.mark.parametrize("side", [5, 28])
def test_a_picture_has_any_side_and_form(axes, side):
    pixels = np.arange(side**2, dtype=np.uint8)
    for given in (pixels, pixels.tobytes(), pixels.reshape(side, side)):
        panels.picture(axes, given, "below")
        np.testing.assert_array_equal(axes.images[-1].get_array(), pixels.reshape(side, side))
    assert axes.images[-1].get_clim() == (0, 255)
    assert axes.texts[-1].get_text() == "below"
    assert not len(axes.get_xticks()) and not any(spine.get_visible() for spine in axes.spines.values())


def test_a_picture_is_dark_where_there_is_ink_and_signed_where_asked(axes):
    panels.picture(axes, np.array([0, 255, 0, 0], np.uint8))
    image = axes.images[-1]
    grey = image.to_rgba(image.get_array())[..., :3]
    assert (grey[0, 0].tolist(), grey[0, 1].tolist()) == ([1, 1, 1], [0, 0, 0])
    panels.picture(axes, np.array([-4.0, 1.0, 0.0, 2.0]), signed=True)
    assert axes.images[-1].get_clim() == (-4, 4)
    panels.picture(axes, np.zeros(4), signed=True)  # a unit that never changed
    assert axes.images[-1].get_clim() == (-1, 1)


def test_a_picture_in_colour_keeps_its_colours(axes):
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, 0] = 213, 94, 0
    panels.picture(axes, image)
    drawn = axes.images[-1].get_array()[0, 0] / 255
    np.testing.assert_allclose(drawn, to_rgb(palette.VERMILION), atol=0.01)
    panels.picture(axes, image.transpose(2, 0, 1).tobytes())  # as data sets and probes have it
    np.testing.assert_array_equal(axes.images[-1].get_array(), image)


def test_pixels_that_fill_no_square_are_refused(axes):
    with pytest.raises(ValueError, match="10 pixels"):
        panels.picture(axes, np.zeros(10, np.uint8))


def test_a_figure_without_pictures_says_so():
    for rows in ({}, {"first": []}):
        (cell,) = panels.pictures(rows).axes
        assert [text.get_text() for text in cell.texts] == ["no images"]
        assert not cell.images


def test_pictures_stand_in_named_rows():
    image = np.arange(9, dtype=np.uint8)
    figure = panels.pictures({"first": [(image, "a"), (image + 1, "b"), (image + 2, "c")], "second": [(image, "d")]})
    cells = figure.axes
    assert [cell.images[0].get_array()[0, 0] if cell.images else None for cell in cells] == [0, 1, 2, 0, None, None]
    assert [cell.texts[0].get_text() for cell in cells if cell.texts] == ["a", "b", "c", "d"]
    assert [cells[0].get_ylabel(), cells[3].get_ylabel()] == ["first", "second"]
    assert not any(spine.get_visible() for cell in cells for spine in cell.spines.values())


def test_a_strip_writes_the_answers_of_each_network():
    pixels = np.arange(9, dtype=np.uint8)
    rows = [
        {
            "inputs": kind,
            "sample": sample,
            "pixels": (pixels + sample).tobytes(),
            "answer": sample,
            "confidence": 0.5 + sample / 4,
        }
        for kind in ("test", "stripes")
        for sample in range(2)
    ]
    true = pd.DataFrame(rows)
    shifted = true.assign(answer=9, confidence=[0.1, np.nan, 0.2, 0.3])
    figure = panels.sample_strip({"true": true, "shifted": shifted}, palette.input_marks(["test", "stripes"]))
    texts = [[text.get_text() for text in cell.texts if text.get_text()] for cell in figure.axes]
    assert texts == [["0 (50)", "9 (10)"], ["1 (75)", "–"], ["0 (50)", "9 (20)"], ["1 (75)", "9 (30)"]]
    assert [cell.images[0].get_array()[0, 0] for cell in figure.axes] == [0, 1, 0, 1]
    assert [figure.axes[0].get_ylabel(), figure.axes[2].get_ylabel()] == ["test images", "stripes"]
    colors = [text.get_color() for text in figure.axes[0].texts if text.get_text()]
    assert colors == [mark.color for mark in label_marks(["true", "shifted"]).values()]
