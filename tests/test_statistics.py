"""Intervals: known answers, coverage, pairing, degenerate input."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from memo.statistics.intervals import (
    RESAMPLES,
    Estimate,
    binomial_band,
    expanded_confidence,
    mean_interval,
    paired_difference,
    paired_ratio,
)

SAMPLE = np.array([0.1, 0.4, 0.35, 0.9, 0.22])


def plain_percentile(values, seed):
    """The interval that `mean_interval` replaces."""
    rng = np.random.default_rng(seed)
    return stats.bootstrap((values,), np.mean, method="percentile", n_resamples=RESAMPLES, rng=rng).confidence_interval


def test_expanded_level_is_hesterbergs():
    # ExpandProbs(0.025, 5) in R: pnorm(sqrt(5/4) * qt(0.025, 4)), with the tabulated qt(0.025, 4) = -2.776445.
    tail = stats.norm.cdf(math.sqrt(1.25) * -2.776445)
    assert expanded_confidence(0.95, 5) == pytest.approx(1 - 2 * tail, rel=1e-6)
    assert tail == pytest.approx(0.000954, abs=1e-6)


def test_expansion_fades_as_n_grows():
    levels = [expanded_confidence(0.95, n) for n in (2, 3, 5, 10, 100, 100_000)]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == pytest.approx(0.95, abs=1e-5)


def test_agrees_with_all_resamples_of_five():
    means = SAMPLE[np.array(list(itertools.product(range(5), repeat=5)))].mean(axis=1)
    tail = (1 - expanded_confidence(0.95, 5)) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    estimate = mean_interval(SAMPLE)
    assert estimate.value == pytest.approx(SAMPLE.mean())
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.02 * np.ptp(SAMPLE))


def test_matches_student_on_large_symmetric_samples():
    values = np.random.default_rng(3).standard_normal(40)
    estimate = mean_interval(values)
    student = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx(student, abs=0.05 * (student[1] - student[0]))


def test_coverage_at_five_seeds():
    """Expanded covers as documented, about 92 %; the plain percentile interval misses by over ten points."""
    rng = np.random.default_rng(5)
    samples = rng.standard_normal((2000, 5))
    expanded = [mean_interval(sample, seed=seed) for seed, sample in enumerate(samples)]
    plain = [plain_percentile(sample, seed) for seed, sample in enumerate(samples)]
    covered = [np.mean([each.low <= 0 <= each.high for each in found]) for found in (expanded, plain)]
    # The standard error of 2000 samples is 0.006 and 0.008.
    assert covered[0] == pytest.approx(0.92, abs=0.018)
    assert covered[1] == pytest.approx(0.83, abs=0.025)


def test_wider_confidence_contains_narrower():
    bounds = [mean_interval(SAMPLE, confidence)[1:3] for confidence in (0.5, 0.8, 0.95, 0.99)]
    for (low, high), (wider_low, wider_high) in itertools.pairwise(bounds):
        assert wider_low <= low <= SAMPLE.mean() <= high <= wider_high


def test_same_seed_same_interval_and_other_seeds_agree():
    assert mean_interval(SAMPLE, seed=7) == mean_interval(SAMPLE, seed=7)
    lows = [mean_interval(SAMPLE, seed=seed).low for seed in range(30)]
    assert np.median(np.abs(np.array(lows) - np.median(lows))) < 0.01 * np.ptp(SAMPLE)


def test_shift_and_scale_move_the_interval():
    plain, moved = mean_interval(SAMPLE), mean_interval(3 * SAMPLE - 1)
    assert moved[:3] == pytest.approx(tuple(3 * number - 1 for number in plain[:3]))


def test_one_seed_has_no_interval():
    estimate = mean_interval([0.7])
    assert (estimate.value, estimate.n) == (0.7, 1)
    assert math.isnan(estimate.low) and math.isnan(estimate.high)


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_equal_values_have_no_width(n):
    assert mean_interval([0.1] * n) == Estimate(0.1, 0.1, 0.1, n)


def test_two_seeds_span_their_values():
    assert mean_interval([1.0, 2.0]) == Estimate(1.5, 1.0, 2.0, 2)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf], [[1.0, 2.0]], 3.0])
def test_refuses_values_that_have_no_mean(values):
    for estimate in (mean_interval, lambda v: paired_difference(v, v), lambda v: paired_ratio(v, v)):
        with pytest.raises(ValueError, match=r"^[A-Z0-9].*\.$"):
            estimate(values)


@pytest.mark.parametrize("confidence", [0, 1, 1.5, math.nan])
def test_refuses_impossible_confidence(confidence):
    with pytest.raises(ValueError, match="confidence"):
        mean_interval(SAMPLE, confidence)
    with pytest.raises(ValueError, match="confidence"):
        binomial_band(0.5, 10, confidence)


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


def test_equal_ratios_have_no_width():
    ratio = paired_ratio([2, 6, 14], [1, 3, 7])
    assert ratio == Estimate(2.0, 2.0, 2.0, 3)


def test_pairs_need_equal_lengths_and_ratios_positive_numbers():
    for paired in (paired_difference, paired_ratio):
        with pytest.raises(ValueError, match="3 and 2"):
            paired([1, 2, 3], [1, 2])
    for a, b in (([1, 0], [1, 1]), ([1, 1], [1, 0]), ([-1, 1], [1, 1])):
        with pytest.raises(ValueError, match="above 0"):
            paired_ratio(a, b)


def test_one_pair_has_a_ratio_but_no_interval():
    ratio = paired_ratio([6.0], [2.0])
    assert ratio.value == pytest.approx(3) and ratio.n == 1
    assert math.isnan(ratio.low) and math.isnan(ratio.high)


def test_band_by_hand():
    # Two fair images: 0, 1, 2 right with probability 1/4, 1/2, 1/4.
    assert binomial_band(0.5, 2, 0.4) == (0.5, 0.5)
    assert binomial_band(0.5, 2, 0.6) == (0.0, 1.0)


@pytest.mark.parametrize("p", [0.0, 0.003, 0.1, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("n", [1, 20, 10_000])
@pytest.mark.parametrize("confidence", [0.8, 0.99])
def test_band_is_central_and_exact(p, n, confidence):
    low, high = binomial_band(p, n, confidence)
    first, last = round(low * n), round(high * n)
    tail = (1 - confidence) / 2
    assert 0 <= low <= p <= high <= 1 or n * min(p, 1 - p) < 1
    assert stats.binom.cdf(first - 1, n, p) <= tail + 1e-12 and stats.binom.sf(last, n, p) <= tail + 1e-12
    # One count narrower on either side would leave out too much.
    assert stats.binom.cdf(first, n, p) >= tail - 1e-12 and stats.binom.sf(last - 1, n, p) >= tail - 1e-12


@pytest.mark.parametrize(("p", "n"), [(-0.1, 10), (1.1, 10), (math.nan, 10), (0.5, 0)])
def test_band_refuses_impossible_shares(p, n):
    with pytest.raises(ValueError, match="band needs"):
        binomial_band(p, n)
