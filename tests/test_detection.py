import numpy as np
import pytest

from memo.measures.ranking import auroc, average_precision


def by_thresholds(positives, negatives):
    """Average precision as a loop over thresholds."""
    area, recall = 0.0, 0.0
    for threshold in np.unique(np.concatenate([positives, negatives]))[::-1]:
        hits, false = np.sum(positives >= threshold), np.sum(negatives >= threshold)
        area += hits / (hits + false) * (hits / len(positives) - recall)
        recall = hits / len(positives)
    return area


def test_areas_are_those_of_a_loop_with_ties_and_without():
    rng = np.random.default_rng(0)
    for _ in range(20):
        for positives, negatives in (
            (rng.integers(0, 6, 17), rng.integers(0, 5, 23)),
            (rng.normal(1, 1, 31), rng.normal(0, 1, 5)),
        ):
            pairs = positives[:, None] - negatives[None]
            assert auroc(positives, negatives) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
            assert average_precision(positives, negatives) == pytest.approx(by_thresholds(positives, negatives))


def test_areas_by_hand():
    assert auroc([2, 3], [0, 1]) == average_precision([2, 3], [0, 1]) == 1
    # One score for all: chance, 0.5 and the base rate.
    assert auroc(np.ones(3), np.ones(9)) == 0.5
    assert average_precision(np.ones(3), np.ones(9)) == pytest.approx(0.25)
    # Ranks 2 and 4 of 4: precisions 1/2 and 2/4.
    assert average_precision([3, 1], [4, 2]) == pytest.approx(0.5)
    assert auroc([0.0], [1.0, 2.0]) == 0


def test_what_has_no_area():
    for area in (auroc, average_precision):
        assert np.isnan(area([], [1.0]))
        assert np.isnan(area([1.0], []))
        assert np.isnan(area([np.nan, 1.0], [0.0]))
        assert np.isnan(area([1.0], [np.nan, 0.0]))
