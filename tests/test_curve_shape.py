"""The shape of a learning curve: closed forms, invariances, curves that end early, refusals."""

import math

import numpy as np
import pytest

from memo.statistics import curve_shape
from memo.statistics.curve_shape import (
    area,
    early_share,
    linearity,
    loss_progress,
    rising,
    shape,
    steepness,
    time_to,
)

SPAN = ("area", "linearity", "steepness", "early_share")


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


def logistic(t):
    """A training accuracy like that of shuffled labels: 0.1004 at first, 0.99 at time 12.5."""
    return 0.1 + 0.9 * sigmoid(t - 8)


def fit(curve, end):
    """R^2 of the straight line through a smooth curve on 0..end, by brute force."""
    t = np.linspace(0, end, 200_001)
    y = curve(t)
    residual = y - np.polyval(np.polyfit(t, y, 1), t)
    return 1 - residual.var() / y.var()


def test_straight_line():
    steps = np.array([0, 1, 2, 5, 10, 30, 100])
    found = shape(steps, 0.1 + 0.9 * steps / 100)
    assert found == pytest.approx(
        {
            "t50": 100 * 0.4 / 0.9,
            "t90": 100 * 0.8 / 0.9,
            "t99": 100 * 0.89 / 0.9,
            "area": 0.5,
            "linearity": 1,
            "steepness": 1,
            "early_share": 0.1,
        },
        rel=1e-9,
    )
    assert all(type(value) is float for value in found.values())


def test_exponential_saturation_of_a_loss():
    t = np.linspace(0, 6, 6001)
    found = shape(t, 2.3 * np.exp(-t), kind="loss")
    end = math.log(100)
    expected = {
        "t50": math.log(2),
        "t90": math.log(10),
        "t99": end,
        "area": (end - 0.99) / (0.99 * end),
        "linearity": fit(lambda t: 1 - np.exp(-t), end),
        "steepness": 20 * (1 - math.exp(-end / 20)) / 0.99,
        "early_share": -math.log(1 - 0.099) / end,
    }
    # Chords of 1/1000, and 1001 times for R^2.
    assert found == pytest.approx(expected, rel=2e-3)


def test_logistic():
    t = np.linspace(0, 20, 20_001)
    found = shape(t, logistic(t))

    def when(accuracy):
        p = (accuracy - 0.1) / 0.9
        return 8 + math.log(p / (1 - p))

    end = when(0.99)
    expected = {
        "t50": when(0.5),
        "t90": when(0.9),
        "t99": end,
        "area": 0.9 * (np.logaddexp(0, end - 8) - np.logaddexp(0, -8)) / (0.89 * end),
        "linearity": fit(logistic, end),
        "steepness": 20 * 0.9 * (2 * sigmoid(end / 40) - 1) / (0.99 - logistic(0)),
        "early_share": when(0.1 + 0.1 * 0.89) / end,
    }
    assert found == pytest.approx(expected, rel=2e-3)


def test_quadratic():
    t = np.linspace(0, 1, 2001)
    found = shape(t, 0.1 + 0.89 * t**2)
    assert found["t99"] == 1
    assert found["area"] == pytest.approx(1 / 3, rel=1e-5)
    assert found["linearity"] == pytest.approx(15 / 16, rel=1e-3)
    assert found["steepness"] == pytest.approx(20 * (1 - 0.95**2), rel=1e-9)
    assert found["early_share"] == pytest.approx(math.sqrt(0.1), rel=1e-6)


def test_late_step():
    """Chance until 0.999 of the span, then all at once: the bounds of every statistic."""
    steps, values = [0, 999, 1000], [0.1, 0.1, 0.99]
    assert area(steps, values) == pytest.approx(0.0005)
    assert linearity(steps, values) < 0.01
    assert steepness(steps, values) == pytest.approx(20)
    assert early_share(steps, values) == pytest.approx(0.9991)


def test_early_step_and_plateau():
    steps, values = [0, 1, 999, 1000], [0.1, 0.98, 0.98, 0.99]
    assert area(steps, values) == pytest.approx(0.98 / 0.99, abs=2e-3)
    assert linearity(steps, values) < 0.01
    assert steepness(steps, values) == pytest.approx(20 * 0.88 / 0.89)
    assert early_share(steps, values) == pytest.approx(0.089 / 0.88 / 1000)


def test_step_halfway():
    """Over a unit step at s, R^2 is 3 s (1 - s); the ramp of 0.002 and the 1001 times shift it by less than 1 %."""
    steps, values = [0, 699, 701, 1000], [0, 0, 0.999, 1]
    assert linearity(steps, values, level=1, chance=0) == pytest.approx(3 * 0.7 * 0.3, rel=1e-2)
    assert area(steps, values, level=1, chance=0) == pytest.approx(0.3, abs=1e-3)


def test_steepness_finds_the_largest_window_exactly():
    rng = np.random.default_rng(0)
    steps = np.append(0, np.cumsum(rng.exponential(1, 40)))
    values = np.append(0, rng.uniform(0, 0.98, 40))
    values[-1] = 1
    starts = np.linspace(0, 0.95 * steps[-1], 400_001)
    width = 0.05 * steps[-1]
    gains = np.interp(starts + width, steps, values) - np.interp(starts, steps, values)
    assert steepness(steps, values, level=1, chance=0) == pytest.approx(gains.max() * 20, rel=1e-4)


def test_noise_between_near_evaluations_is_not_steep():
    steps = np.array([0, 1, 2, 3, 4, 5, 100, 300, 600, 1000])
    values = 0.1 + 0.89 * steps / 1000
    values[1:6] += 0.01 * np.array([-1, 1, -1, 1, -1])
    slope = np.diff(values) / np.diff(steps)
    assert slope.max() > 20 * 0.89 / 1000
    assert steepness(steps, values) < 1.3


def test_time_unit_does_not_matter():
    t = np.append(0, np.geomspace(0.05, 20, 100))
    one, other = shape(t, logistic(t)), shape(7.3 * t, logistic(t))
    for name in one:
        assert other[name] == pytest.approx(one[name] * (1 if name in SPAN else 7.3), rel=1e-9), name


@pytest.mark.parametrize(("curve", "kind"), [(logistic, "accuracy"), (lambda t: 2.3 * np.exp(-t / 3), "loss")])
def test_spacing_of_evaluations_hardly_matters(curve, kind):
    """200 evaluations spaced by a constant factor against 2001 equally spaced ones: within 0.5 %."""
    logarithmic, uniform = np.append(0, np.geomspace(0.01, 20, 200)), np.linspace(0, 20, 2001)
    found = shape(logarithmic, curve(logarithmic), kind)
    assert found == pytest.approx(shape(uniform, curve(uniform), kind), rel=5e-3)


def test_level_not_reached():
    t = np.linspace(0, 10, 101)
    values = np.minimum(logistic(t), 0.85)
    found = shape(t, values)
    assert found["t50"] == pytest.approx(time_to(t, logistic(t), 0.5))
    assert all(math.isnan(found[name]) for name in ("t90", "t99", *SPAN))
    lower = shape(t, values, level=0.8)
    assert math.isnan(lower["t99"]) and all(math.isfinite(lower[name]) for name in SPAN)
    assert lower["early_share"] == pytest.approx(time_to(t, values, 0.17) / time_to(t, values, 0.8))


def test_level_reached_before_training_has_no_span():
    found = shape([0, 1], [0.995, 1.0])
    assert found["t99"] == 0
    assert all(math.isnan(found[name]) for name in SPAN)


def test_start_above_the_first_tenth():
    assert early_share([0, 10], [0.2, 0.99]) == 0
    assert steepness([0, 10], [0.2, 0.99]) == pytest.approx(1)


def test_trailing_gap_is_dropped():
    t = np.linspace(0, 20, 201)
    values = np.where(t <= 15, logistic(t), np.nan)
    assert shape(t, values) == shape(t, logistic(t))
    diverged = [2.3, 1.0, math.inf, math.nan]
    assert shape([0, 1, 2, 3], diverged, "loss")["t50"] == pytest.approx(1.15 / 1.3)


def test_nothing_after_the_span_matters():
    t = np.linspace(0, 20, 201)
    later = np.where(t <= 15, logistic(t), 0.3)
    assert shape(t, later) == shape(t, logistic(t))


def test_loss_is_the_mirror_of_accuracy():
    t = np.append(0, np.geomspace(0.05, 20, 100))
    accuracy = t / 20
    assert shape(t, 2.3 * (1 - accuracy), "loss") == pytest.approx(shape(t, accuracy, chance=0))
    accuracy = logistic(t)
    loss = 2.3 * (1 - (accuracy - accuracy[0]) / (1 - accuracy[0]))
    mirrored = shape(t, loss, "loss", level=0.89 / 0.9)
    level = accuracy[0] + 0.89 / 0.9 * (1 - accuracy[0])
    straight = shape(t, accuracy, level=level, chance=accuracy[0])
    assert [mirrored[name] for name in SPAN] == pytest.approx([straight[name] for name in SPAN])


def test_first_crossing_counts():
    steps, values = [0, 10, 20, 30, 40], [0.1, 0.6, 0.3, 0.9, 1.0]
    assert time_to(steps, values, 0.5) == pytest.approx(8)
    assert early_share(steps, values, level=0.6) == pytest.approx(0.1)
    assert shape(steps, values)["t99"] == pytest.approx(39)


def test_below_chance_is_not_clipped():
    assert area([0, 1, 2, 4], [0.1, 0.0, 0.1, 0.9], level=0.9) == pytest.approx((-1 / 8 + 1) / 4)


def test_float32_reaches_the_level_it_was_rounded_from():
    values = np.array([0.1, 0.5, 0.9], np.float32)
    assert float(values[-1]) < 0.9
    assert time_to([0, 1, 2], values, 0.9) == 2
    assert math.isfinite(area([0, 1, 2], values, level=0.9))


def test_loss_progress():
    assert loss_progress([2.0, 3.0, 0.5, 0.0]).tolist() == [0, -0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("steps", "values", "message"),
    [
        ([0, 2, 2], [0.1, 0.2, 0.3], "ascend"),
        ([0, 2, 1], [0.1, 0.2, 0.3], "ascend"),
        ([0, math.nan, 2], [0.1, 0.2, 0.3], "ascend"),
        ([1, 2, 3], [0.1, 0.2, 0.3], "from 0"),
        ([0, 1], [0.1, 0.2, 0.3], "one value per step"),
        ([[0, 1]], [[0.1, 0.2]], "one value per step"),
        ([0, 1], [0.1, math.nan], "two finite values"),
        ([], [], "two finite values"),
        ([0, 1, 2], [0.1, math.nan, 0.3], "value 1 is not finite"),
        ([0, 1, 2], [math.nan, 0.2, 0.3], "value 0 is not finite"),
    ],
)
def test_bad_curves(steps, values, message):
    for measure in (shape, area, linearity, steepness, early_share, lambda *curve: time_to(*curve, 0.5)):
        with pytest.raises(ValueError, match=message):
            measure(steps, values)


def test_bad_settings():
    with pytest.raises(ValueError, match="accuracy, loss"):
        shape([0, 1], [0.1, 1], kind="error")
    with pytest.raises(ValueError, match="initial loss"):
        shape([0, 1], [0.0, 1.0], kind="loss")
    with pytest.raises(ValueError, match="above chance"):
        area([0, 1], [0.1, 1], level=0.1)


# Reading one curve at a level of another


def test_a_curve_read_where_another_reaches_a_level():
    accuracy, sure = [0.1, 0.4, 0.8, 0.7, 1.0], [0.2, 0.3, 0.7, 0.6, 0.9]
    assert curve_shape.at_level(accuracy, sure, 0.6) == pytest.approx(0.5)  # half way from 0.4 to 0.8
    assert curve_shape.at_level(accuracy, sure, 0.8) == pytest.approx(0.7)
    assert curve_shape.at_level(accuracy, sure, 0.9) == pytest.approx(0.8)  # the second rise, from 0.7 to 1.0
    assert curve_shape.at_level(accuracy, sure, 1.0) == pytest.approx(0.9)
    assert curve_shape.at_level(accuracy, sure, 0.05) == pytest.approx(0.2)  # passed before the first evaluation
    assert math.isnan(curve_shape.at_level(accuracy, sure, 1.01))
    assert math.isnan(curve_shape.at_level([math.nan, 0.2], [0.5, 0.6], 0.5))
    # Stored as float32, 0.9 lies below 0.9.
    assert curve_shape.at_level(np.float32([0.1, 0.9]), [0.0, 1.0], 0.9) == pytest.approx(1)
    # A falling loss, read upside down.
    assert curve_shape.at_level(-np.array([2.3, 0.3, 0.1]), [0, 1, 2], -0.2) == pytest.approx(1.5)


def test_the_rise_is_the_closest_curve_that_never_falls():
    values = np.array([0.1, 0.3, 0.2, 0.25, 0.6, 0.55, 0.9, np.nan])
    assert rising(values)[:-1] == pytest.approx([0.1, 0.25, 0.25, 0.25, 0.575, 0.575, 0.9]) and np.isnan(
        rising(values)[-1]
    )
    draw = np.random.default_rng(0)
    values = np.cumsum(draw.normal(0.3, 1, size=40))
    closest = np.square(rising(values) - values).sum()
    for _ in range(200):  # no other rising curve is closer
        other = np.maximum.accumulate(rising(values) + draw.normal(0, 0.05, size=40))
        assert np.square(other - values).sum() > closest
    clean = np.sqrt(np.arange(30.0))
    assert rising(clean).tolist() == clean.tolist()


@pytest.mark.parametrize(
    "curve",
    [
        pytest.param(lambda t: 1 - 0.9 / (1 + t / 40) ** 1.3, id="steep, then flat, as on true labels"),
        pytest.param(lambda t: 0.1 + 0.9 * (1 - np.exp(-((t / 900) ** 1.6))), id="late, as on shuffled labels"),
    ],
)
def test_times_of_fluctuating_curves_do_not_depend_on_how_often_one_looks(curve):
    """64 evaluations against 600, with fluctuations as large as the sampling error of 1,000 images.

    The mean over 50 curves is within 2 % of dense evaluation at each level; the first crossing of the raw curve is not.
    """
    draw = np.random.default_rng(1)
    dense, few = (np.unique(np.append(0, np.round(np.geomspace(1, 4000, count)))) for count in (800, 63))
    ratios, raw = {}, {}
    for _ in range(50):
        values = curve(dense)
        noise = np.sqrt(values * (1 - values) / 1000) * np.clip(draw.normal(size=len(dense)), -2.5, 2.5)
        seen = np.clip(values + noise, 0, 1)
        pairs = (dense, seen), (few, seen[np.searchsorted(dense, few)])
        for found, read in ((ratios, rising), (raw, np.asarray)):
            curves = [(steps, read(values)) for steps, values in pairs]
            for level in (0.5, 0.9, 0.99):
                reference, time = (time_to(*each, level) for each in curves)
                found.setdefault(level, []).append(time / reference)
    assert {level: np.mean(each) for level, each in ratios.items()} == pytest.approx(dict.fromkeys(ratios, 1), abs=0.02)
    assert max(abs(np.mean(each) - 1) for each in raw.values()) > 0.04
