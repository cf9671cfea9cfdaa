"""Adjusted p-values against worked examples, their error rates, and what is no p-value."""

import numpy as np
import pytest
from scipy import stats

from memo.statistics.multiplicity import benjamini_hochberg, holm

P = [0.04, 0.01, 0.03, 0.005]


def test_worked_by_hand():
    # Sorted: 0.005, 0.01, 0.03, 0.04. Holm multiplies by 4, 3, 2, 1 and never falls; the other by 4/1, 4/2, 4/3, 4/4.
    assert holm(P) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert benjamini_hochberg(P) == pytest.approx([0.04, 0.02, 0.04, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_what_is_not_tested_does_not_count(adjust):
    found = adjust([P[0], np.nan, *P[1:]])
    assert np.isnan(found[1])
    assert np.delete(found, 1) == pytest.approx(adjust(P))
    assert np.isnan(adjust([np.nan])).all() and not len(adjust([]))


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("p", [-0.1, 1.1, np.inf])
def test_refuses_what_is_no_probability(adjust, p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjust([0.5, p])


@pytest.mark.slow
def test_rates_of_false_claims():
    """Of 20 claims 12 are false. Holm: a family with any false one among the accepted; the other: their share, on average."""
    rng = np.random.default_rng(0)
    null = np.arange(20) < 12
    z = rng.normal(size=(4000, 20)) + np.where(null, 0, 3)
    p = stats.norm.sf(z)
    strict = np.array([holm(row) <= 0.05 for row in p])
    loose = np.array([benjamini_hochberg(row) <= 0.05 for row in p])
    assert (p[:, null] <= 0.05).any(axis=1).mean() > 0.4  # without correction
    assert strict[:, null].any(axis=1).mean() < 0.05
    rate = (loose[:, null].sum(axis=1) / np.maximum(loose.sum(axis=1), 1)).mean()
    assert rate == pytest.approx(0.05 * 12 / 20, abs=0.006)
    assert loose[:, ~null].mean() > strict[:, ~null].mean() + 0.1
