"""Intervals: known answers, pairing, bounds, equal values, p-values, degenerate input; coverage is in test_coverage.py."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from memo.statistics.intervals import (
    Estimate,
    accuracy_interval,
    geometric_mean,
    mean_interval,
    p_outside,
    paired_difference,
    paired_ratio,
    share,
    share_difference,
)

SAMPLE = np.array([0.1, 0.4, 0.35, 0.9, 0.22])
INF = math.inf


def test_the_interval_of_a_mean_is_students():
    found = mean_interval(SAMPLE)
    expected = stats.t.interval(0.95, 4, SAMPLE.mean(), stats.sem(SAMPLE))
    assert found[:4] == pytest.approx((SAMPLE.mean(), *expected, 5))


def test_wider_confidence_contains_narrower():
    bounds = [mean_interval(SAMPLE, confidence)[1:3] for confidence in (0.5, 0.8, 0.95, 0.99)]
    for (low, high), (wider_low, wider_high) in itertools.pairwise(bounds):
        assert wider_low < low < SAMPLE.mean() < high < wider_high


def test_shift_and_scale_move_the_interval():
    plain, moved = mean_interval(SAMPLE), mean_interval(3 * SAMPLE - 1)
    assert moved[:3] == pytest.approx(tuple(3 * number - 1 for number in plain[:3]))


def test_an_interval_ends_at_the_bounds_of_the_number():
    free, bounded = mean_interval([0.99, 1, 0.999, 0.98, 1]), mean_interval([0.99, 1, 0.999, 0.98, 1], bounds=(0, 1))
    assert free.high > 1
    assert bounded[:4] == (free.value, free.low, 1, 5)
    with pytest.raises(ValueError, match="outside of their bounds"):
        mean_interval([0.5, 1.1], bounds=(0, 1))


def test_one_seed_has_no_interval():
    for estimate in (mean_interval([0.7]), geometric_mean([0.7])):
        assert (estimate.value, estimate.n, estimate.spread) == (0.7, 1, None)
        assert math.isnan(estimate.low) and math.isnan(estimate.high)


@pytest.mark.parametrize("n", [2, 5, 40])
def test_equal_values_have_no_interval(n):
    for estimate in (
        mean_interval([0.1] * n),
        mean_interval([0.1 + 0.2, *[0.3] * (n - 1)]),
        paired_ratio([0.6] * n, [2] * n),
    ):
        assert math.isnan(estimate.low) and math.isnan(estimate.high) and estimate.n == n


def test_equal_values_at_a_bound_are_all_or_none():
    for n in (1, 5, 20):
        found = mean_interval([1.0] * n, bounds=(0, 1))
        assert found == share([True] * n)
        assert found[:3] == pytest.approx((1, 0.025 ** (1 / n), 1))
    least = mean_interval([-1.0] * 5, bounds=(-1, 1))
    assert least[:3] == pytest.approx((-1, -1, 1 - 2 * 0.025**0.2))
    assert math.isnan(mean_interval([0.0] * 5, bounds=(0, INF)).low)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf], [[1.0, 2.0]], 3.0])
def test_refuses_values_that_have_no_mean(values):
    for estimate in (mean_interval, geometric_mean, lambda v: paired_difference(v, v), lambda v: paired_ratio(v, v)):
        with pytest.raises(ValueError, match=r"^[A-Z0-9].*\.$"):
            estimate(values)


@pytest.mark.parametrize("confidence", [0, 1, 1.5, math.nan])
def test_refuses_impossible_confidence(confidence):
    for values in (SAMPLE, [0.2, 0.2], [0.2]):
        for estimate in (mean_interval, geometric_mean):
            with pytest.raises(ValueError, match="confidence"):
                estimate(values, confidence)
    with pytest.raises(ValueError, match="confidence"):
        share([True], confidence)


def test_pairing_removes_what_the_seeds_share():
    shared = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    difference = paired_difference(shared + SAMPLE, shared)
    assert difference[:3] == pytest.approx(mean_interval(SAMPLE)[:3])
    assert difference.high - difference.low < 1 < np.ptp(shared)


def test_ratio_is_geometric_and_reciprocal():
    a, b = np.array([2.0, 8.0, 4.0, 16.0, 4.0]), np.array([1.0, 1.0, 1.0, 2.0, 1.0])
    ratio, inverse = paired_ratio(a, b), paired_ratio(b, a)
    assert ratio.value == pytest.approx((2 * 8 * 4 * 8 * 4) ** 0.2)
    assert (1 / inverse.high, 1 / inverse.low) == pytest.approx((ratio.low, ratio.high))
    assert paired_ratio(1000 * a, b)[:3] == pytest.approx(tuple(1000 * number for number in ratio[:3]))
    assert ratio == geometric_mean(a / b)


def test_pairs_need_equal_lengths_and_ratios_positive_numbers():
    for paired in (paired_difference, paired_ratio):
        with pytest.raises(ValueError, match="3 and 2"):
            paired([1, 2, 3], [1, 2])
    for a, b in (([1, 0], [1, 1]), ([1, 1], [1, 0]), ([-1, 1], [1, 1])):
        with pytest.raises(ValueError, match="above 0"):
            paired_ratio(a, b)
    with pytest.raises(ValueError, match="above 0"):
        geometric_mean([1, 0])


def test_a_share_has_the_exact_binomial_interval():
    none = share(np.zeros(200, bool))
    assert (none.value, none.low, none.n) == (0, 0, 200)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 200))
    some = share(np.arange(10) < 3)
    np.testing.assert_allclose(some[:3], [0.3, 0.0667, 0.6525], atol=1e-3)
    assert np.isnan(share([])[:3]).all()


def test_the_difference_of_shares_has_newcombes_interval():
    one, other = np.arange(70) < 56, np.arange(80) < 48  # his example (a)
    np.testing.assert_allclose(share_difference(one, other)[:3], [0.2, 0.0524, 0.3339], atol=1e-4)
    none = share_difference(np.zeros(10, bool), np.zeros(10, bool))
    assert none.value == 0
    assert none.low < -0.2 < 0.2 < none.high
    assert np.isnan(share_difference([], one)[0])


def test_an_accuracy_carries_the_test_images():
    accuracies = [0.90, 0.91, 0.92, 0.90, 0.91]
    for images in (1000, 10_000):
        seeds = np.var(accuracies, ddof=1) / 5
        among = 0.908 * 0.092 / images
        freedom = (seeds + among) ** 2 / (seeds**2 / 4 + among**2 / (images - 1))
        reach = stats.t.isf(0.025, freedom) * math.sqrt(seeds + among)
        assert accuracy_interval(accuracies, images)[:4] == pytest.approx((0.908, 0.908 - reach, 0.908 + reach, 5))
    conditional = mean_interval(accuracies)
    assert accuracy_interval(accuracies, 10**9)[:3] == pytest.approx(conditional[:3], abs=1e-5)
    assert accuracy_interval([0.9] * 5, 1000).high > 0.9
    assert math.isnan(accuracy_interval([0.9], 1000).low)


def test_what_is_right_about_each_image_gives_the_variance_of_crossed_effects():
    right = np.random.default_rng(0).random((5, 40)) < np.linspace(0.5, 1, 40)
    p, n, m = right.mean(), 5, 40
    rows, columns = right.mean(1) - p, right.mean(0) - p
    rest = right - p - rows[:, None] - columns
    squares = m * (rows**2).sum() / (n - 1), n * (columns**2).sum() / (m - 1), (rest**2).sum() / ((n - 1) * (m - 1))
    expected = (squares[0] + squares[1] - squares[2]) / (n * m)
    found = accuracy_interval(right.mean(1), m, right.mean(0))
    assert found.spread.errors[0] ** 2 == pytest.approx(expected)
    # All err on the same images: nothing but the images varies, and the bound is what there is.
    same = np.tile(right[0], (5, 1))
    both = accuracy_interval(same.mean(1), m, same.mean(0)), accuracy_interval(same.mean(1), m)
    assert both[0].spread.errors[0] == pytest.approx(both[1].spread.errors[1] * math.sqrt(m / (m - 1)))
    with pytest.raises(ValueError, match="40 images"):
        accuracy_interval(right.mean(1), m, right.mean(0)[1:])
    with pytest.raises(ValueError, match="between 0 and 1"):
        accuracy_interval([0.5, 1.5], m)


def test_p_of_a_mean_is_students_against_the_nearer_end():
    found = mean_interval(SAMPLE)
    below, above = (stats.ttest_1samp(SAMPLE, 0.2, alternative=side).pvalue for side in ("greater", "less"))
    assert p_outside(found, (0.2, INF)) == pytest.approx(below)
    assert p_outside(found, (-INF, 0.2)) == pytest.approx(above)
    assert p_outside(found, (0.2, 100)) == pytest.approx(below)
    assert p_outside(found, (-100, 0.2)) == pytest.approx(above)
    assert p_outside(found, (0.39, 0.4)) > 0.4


@pytest.mark.parametrize(
    "estimate",
    [
        mean_interval(SAMPLE),
        mean_interval([0.97, 0.99, 0.98, 0.95, 0.99], bounds=(0, 1)),
        paired_ratio([3, 4, 5, 6, 4], [1, 1, 2, 1, 1]),
        share(np.arange(20) < 18),
        share(np.arange(20) < 20),
        share_difference(np.arange(20) < 15, np.arange(30) < 2),
        accuracy_interval([0.90, 0.91, 0.92], 500),
        mean_interval([-1] * 6, bounds=(-1, 1)),
    ],
)
def test_a_whole_interval_inside_a_range_has_a_p_of_at_most_a_fortieth(estimate):
    width = estimate.high - estimate.low
    low, high = estimate.low, estimate.high
    natural = estimate.spread.bounds
    if low > natural[0]:
        assert p_outside(estimate, (low, INF)) == pytest.approx(0.025, abs=1e-6)
        assert p_outside(estimate, (low + 0.01 * width, INF)) > 0.025 > p_outside(estimate, (low - 0.01 * width, INF))
    if high < natural[1]:
        assert p_outside(estimate, (-INF, high)) == pytest.approx(0.025, abs=1e-6)
        assert p_outside(estimate, (-INF, high - 0.01 * width)) > p_outside(estimate, (-INF, high + 0.01 * width))
    assert p_outside(estimate, natural) == 0
    assert p_outside(estimate, (natural[0], natural[0])) == pytest.approx(1, abs=1e-4)


def test_p_of_bounds_and_of_what_has_no_interval():
    at_least = paired_ratio([3, 4, 5, 6, 4], [1, 1, 2, 1, 1])._replace(high=INF)
    assert p_outside(at_least, (2, INF)) < 0.025
    assert p_outside(at_least, (0, 100)) == 1
    assert math.isnan(p_outside(mean_interval([1.0, 1.0]), (0, 2)))
    assert math.isnan(p_outside(Estimate(1, math.nan, math.nan, 3), (0, 2)))
