"""Statistics of populations against NumPy, closed forms and their coverage."""

import numpy as np
import pytest
from scipy import stats

from memo.statistics import over_networks


def test_spread_and_correlation_are_numpys():
    pairs = np.random.default_rng(0).normal(3, 1, (2, 40))
    assert over_networks.sd(pairs[0]) == pytest.approx(np.std(pairs[0], ddof=1))
    assert over_networks.relative_sd(pairs[0]) == pytest.approx(np.std(pairs[0], ddof=1) / pairs[0].mean())
    assert over_networks.correlation(pairs) == pytest.approx(np.corrcoef(pairs)[0, 1])


def test_what_does_not_vary_has_no_correlation_and_a_mean_of_zero_no_relative_spread():
    assert np.isnan(over_networks.correlation(np.array([[1.0, 1, 1], [1, 2, 3]])))
    assert np.isnan(over_networks.relative_sd(np.array([-1.0, 1.0])))


def test_statistics_reduce_the_last_axis():
    many = np.random.default_rng(1).normal(size=(2, 7, 30))
    for statistic, values in (
        (over_networks.sd, many[0]),
        (over_networks.relative_sd, many[0]),
        (over_networks.correlation, many),
    ):
        found = statistic(values)
        rows = [statistic(values[..., row, :]) for row in range(7)]
        np.testing.assert_allclose(found, rows)


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(2).normal(size=60)
    estimate = over_networks.jackknife(lambda rows: rows.mean(axis=-1), values, scale="linear")
    due = stats.t.interval(0.95, 59, values.mean(), stats.sem(values))
    assert estimate.value == values.mean()
    np.testing.assert_allclose([estimate.low, estimate.high], due, rtol=1e-9)


def test_the_interval_of_a_correlation_is_near_fishers():
    rng = np.random.default_rng(3)
    left = rng.normal(size=400)
    pairs = np.array([left, 0.7 * left + np.sqrt(1 - 0.49) * rng.normal(size=400)])
    estimate = over_networks.jackknife(over_networks.correlation, pairs)
    fisher = np.tanh(np.arctanh(estimate.value) + np.array([-1, 1]) * 1.96 / np.sqrt(397))
    np.testing.assert_allclose([estimate.low, estimate.high], fisher, atol=0.02)


def test_groups_are_resampled_by_themselves():
    rng = np.random.default_rng(4)
    one, other = rng.normal(0, 1, 100), rng.normal(0, 2, 50)
    ratio = over_networks.jackknife(lambda a, b: over_networks.sd(b) / over_networks.sd(a), one, other)
    assert ratio.n == 50
    assert ratio.low < over_networks.sd(other) / over_networks.sd(one) < ratio.high
    assert 0.2 < (ratio.high - ratio.low) / ratio.value < 0.6  # about 4 x sqrt(1/200 + 1/100)
    assert ratio == over_networks.jackknife(lambda a, b: over_networks.sd(b) / over_networks.sd(a), one, other)


def test_pairs_stay_together():
    values = np.random.default_rng(5).normal(size=30)
    gap = over_networks.jackknife(
        lambda both: both[0].mean(axis=-1) - both[1].mean(axis=-1), np.array([values + 1, values])
    )
    np.testing.assert_allclose(gap[:3], 1)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], []])
def test_few_networks_have_no_interval(values):
    estimate = over_networks.jackknife(over_networks.sd, values)
    assert estimate.n == len(values)
    assert np.isnan([estimate.low, estimate.high]).all()
    assert np.isfinite(estimate.value) == (len(values) == 2)


def test_a_statistic_that_is_often_undefined_has_no_interval():
    estimate = over_networks.jackknife(over_networks.correlation, np.array([[1.0, 2, 2], [1, 3, 2]]))
    assert np.isfinite(estimate.value)
    assert np.isnan(estimate.low)
