"""Steps along levels, the interval of the smallest one, Page's test, exponents."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from memo.statistics.intervals import mean_interval, p_outside
from memo.statistics.over_seeds import over_seeds
from memo.statistics.trends import by_level, log_slope, page_trend, paired_steps, smallest_ratio, smallest_step

INF = math.inf


def levels(means, spread, seeds, rng):
    """Return values [seeds, levels] around means, with what a seed adds to all of its levels."""
    return np.asarray(means) + rng.normal(size=(seeds, 1)) + spread * rng.normal(size=(seeds, len(means)))


def test_a_frame_by_level():
    long = pd.DataFrame({"seed": [1, 0, 1, 0], "level": [2, 1, 1, 2], "t": [4, 1, 3, 2]})
    frame = by_level(long, "t")
    assert frame.columns.tolist() == [1, 2] and frame.index.tolist() == [0, 1]
    assert frame.to_numpy().tolist() == [[1, 2], [3, 4]]


def test_steps_are_paired_and_their_p_values_adjusted():
    values = levels([0, 1, 3], 0.3, 6, np.random.default_rng(0))
    steps = paired_steps(*values.T)
    assert [step.rise for step in steps] == [mean_interval(values[:, k + 1] - values[:, k]) for k in (0, 1)]
    first, second = (stats.ttest_rel(values[:, k + 1], values[:, k], alternative="greater").pvalue for k in (0, 1))
    assert second < first
    assert [step.p for step in steps] == pytest.approx([first, 2 * second])


def test_the_smallest_step_has_the_lowest_ends():
    values = levels([0, 1, 3, 3.5], 0.3, 6, np.random.default_rng(1))
    rises = np.diff(values, axis=1).T
    found = smallest_step(*values.T)
    assert found.value == pytest.approx(rises.mean(axis=1).min())
    assert found.low == min(mean_interval(rise).low for rise in rises)
    assert found.high == min(mean_interval(rise, 1 - 0.05 / 3).high for rise in rises)
    assert found.n == 6
    assert p_outside(found, (found.low, INF)) == pytest.approx(0.025)


def test_the_smallest_ratio_is_the_smallest_step_of_logarithms():
    values = np.exp(levels([0, 1, 3, 3.5], 0.3, 6, np.random.default_rng(1)))
    found, step = smallest_ratio(*values.T), smallest_step(*np.log(values).T)
    assert found[:3] == pytest.approx(tuple(np.exp(step[:3])))
    assert p_outside(found, (found.low, INF)) == pytest.approx(0.025)
    assert smallest_ratio([1, 2, 3], [2, 4, 6]).value == pytest.approx(2)
    with pytest.raises(ValueError, match="above 0"):
        smallest_ratio([1, 0], [1, 1])


def test_two_levels_have_one_step():
    values = levels([0, 1], 0.3, 6, np.random.default_rng(1))
    assert smallest_step(*values.T)[:4] == pytest.approx(mean_interval(values[:, 1] - values[:, 0])[:4])


def test_seeds_without_a_level_are_left_out_and_counted():
    frame = pd.DataFrame(levels([0, 1, 3], 0.3, 6, np.random.default_rng(2)))
    frame.iloc[4, 1] = np.nan
    estimate, note = over_seeds(frame, "a level that was not reached", estimate=smallest_step)
    assert estimate == smallest_step(*frame.drop(index=4).to_numpy().T)
    assert note == "1 of 6 seeds have no value: a level that was not reached"


def test_steps_that_are_the_same_for_all_seeds_have_no_interval():
    steps = smallest_step([1, 2, 3], [1, 2, 3], [2, 3.5, 4.2])
    assert steps.value == 0 and math.isnan(steps.low) and math.isnan(steps.high)
    with pytest.raises(ValueError, match="two levels"):
        smallest_step([1, 2, 3])


def test_the_mean_of_each_seeds_smallest_step_is_below_every_true_step():
    """Times that rise by 10 % a level, with a noise of 9 %: the mean smallest step of a seed is negative, and not by chance."""
    rng = np.random.default_rng(3)
    experiments = [np.diff(levels(0.1 * np.arange(6), 0.09, 5, rng), axis=1) for _ in range(1000)]
    biased = np.array([rises.min(axis=1).mean() for rises in experiments])
    assert biased.mean() < -0.03  # the smallest true step is 0.1
    assert (biased < 0).mean() > 0.75


@pytest.mark.parametrize("means", [(0, 0.1, 0.2, 0.3, 0.4, 0.5), (0, 1, 2, 2.05, 3, 4), (0, 1, 1, 1, 1, 1)])
@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_the_interval_of_the_smallest_step_contains_it(means, seeds):
    rng = np.random.default_rng(seeds)
    true = np.diff(means).min()
    found = [smallest_step(*levels(means, 0.09, seeds, rng).T) for _ in range(500)]
    inside = np.mean([estimate.low <= true <= estimate.high for estimate in found])
    assert inside >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 500)
    # Neither side is missed more often than half of the 5 %, so a verdict errs no more often than it says.
    for missed in ([e.low > true for e in found], [e.high < true for e in found]):
        assert np.mean(missed) <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 500)


def test_a_clear_rise_is_seen_and_a_clear_fall_too():
    rng = np.random.default_rng(4)
    assert all(smallest_step(*levels((0, 1, 2, 3), 0.1, 5, rng).T).low > 0 for _ in range(100))
    assert all(smallest_step(*levels((0, 1, 0, 3), 0.1, 5, rng).T).high < 0 for _ in range(100))


def test_pages_trend():
    rising = pd.DataFrame([[1, 2, 3, 4], [2, 3, 5, 9], [0, 1, 4, 5]])
    # Every seed in order: one of (4!)^3 equally likely outcomes.
    assert page_trend(rising) == pytest.approx(1 / 24**3)
    assert page_trend(rising.iloc[:, ::-1]) == pytest.approx(1)
    rising.loc[3] = [4, np.nan, 1, 0]
    assert page_trend(rising) == pytest.approx(1 / 24**3)
    assert math.isnan(page_trend(rising.iloc[:1])) and math.isnan(page_trend(rising.iloc[:, :2]))


def test_slopes_in_logarithms_are_exponents():
    frame = pd.DataFrame({100: [2.0, 1.0, 0.0], 400: [16.0, np.nan, 1.0], 1600: [128.0, 3.0, 2.0]})
    assert log_slope(frame).tolist() == pytest.approx([1.5, np.nan, np.nan], nan_ok=True)
    assert log_slope(frame[[100]]).isna().all()
