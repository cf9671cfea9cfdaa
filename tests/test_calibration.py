import math

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from memo.measures.calibration import expected_calibration_error, fit_temperature, pooled, reliability


def test_a_table_by_hand():
    sure = [0.0, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0, 1.0]
    right = [0, 0, 1, 0, 1, 1, 1, 0]
    table = reliability(sure, right, bins=5)
    np.testing.assert_allclose(table["low"], [0, 0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(table["high"], [0.2, 0.4, 0.6, 0.8, 1])
    assert table["count"].tolist() == [3, 1, 1, 0, 3]  # an edge belongs to the bin below it, 0 to the first
    np.testing.assert_allclose(table["confidence"], [0.1, 0.3, 0.5, np.nan, 2.9 / 3])
    np.testing.assert_allclose(table["accuracy"], [1 / 3, 0, 1, np.nan, 2 / 3])
    assert expected_calibration_error(sure, right, 5) == pytest.approx((0.7 + 0.3 + 0.5 + 0.9) / 8)


@pytest.mark.parametrize("bins", [1, 7, 15, 100])
def test_tables_are_those_of_a_loop(bins):
    rng = np.random.default_rng(bins)
    sure = rng.random(700)
    right = rng.random(700) < 0.6
    table = reliability(sure, right, bins)
    error = 0
    for place in range(bins):
        inside = (sure > place / bins) & (sure <= (place + 1) / bins)
        assert table["count"][place] == inside.sum()
        if inside.any():
            assert table["confidence"][place] == pytest.approx(sure[inside].mean())
            assert table["accuracy"][place] == pytest.approx(right[inside].mean())
            error += inside.sum() / 700 * abs(sure[inside].mean() - right[inside].mean())
    assert expected_calibration_error(sure, right, bins) == pytest.approx(error)


def test_pooled_bins_are_those_of_all_answers_together():
    rng = np.random.default_rng(5)
    sure = rng.random((3, 40))
    right = rng.random((3, 40)) < 0.5
    each = [reliability(*network, bins=30) for network in zip(sure, right)]
    assert min(table["count"].min() for table in each) == 0
    both = pooled(*(np.stack([table[name] for table in each]) for name in ("count", "confidence", "accuracy")))
    together = reliability(sure.ravel(), right.ravel(), bins=30)
    assert both.keys() == together.keys()
    for name, column in together.items():
        np.testing.assert_allclose(both[name], column, err_msg=name)
    empty = pooled([[0, 2]], [[np.nan, 0.75]], [[np.nan, 0.5]])
    np.testing.assert_array_equal(empty["accuracy"], [np.nan, 0.5])


def test_errors_with_closed_forms():
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0
    assert expected_calibration_error([1.0, 1.0], [False, False]) == 1
    assert expected_calibration_error(np.full(10, 0.7), np.arange(10) < 7) == pytest.approx(0)
    assert expected_calibration_error(np.full(10, 0.9), np.arange(10) < 4) == pytest.approx(0.5)
    # One bin: what is left is the gap between the means.
    rng = np.random.default_rng(0)
    sure, right = rng.random(50), rng.random(50) < 0.5
    assert expected_calibration_error(sure, right, 1) == pytest.approx(abs(sure.mean() - right.mean()))


def test_a_calibrated_network_has_an_error_of_its_noise_only():
    rng = np.random.default_rng(1)
    sure = rng.random(200_000)
    # 15 gaps with a standard error of at most 0.5 / sqrt(count) each.
    assert expected_calibration_error(sure, rng.random(200_000) < sure) < 3 * 0.5 / math.sqrt(200_000 / 15)


@pytest.mark.parametrize(
    ("sure", "right", "bins"),
    [([], [], 15), ([0.5], [1, 0], 15), ([0.5], [1], 0), ([1.1], [1], 15), ([-0.1], [1], 15), ([math.nan], [1], 15)],
)
def test_what_cannot_be_binned_is_refused(sure, right, bins):
    with pytest.raises(ValueError, match=r"equal length|between 0 and 1"):
        reliability(sure, right, bins)


# Temperature


def cross_entropy(outputs, labels, temperature):
    return -log_softmax(outputs / temperature, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("margin", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("right", [51, 70, 99])
def test_two_classes_have_a_closed_form(margin, right):
    outputs = np.tile([0, margin], (100, 1))
    labels = (np.arange(100) < right).astype(np.uint8)
    # sigmoid(margin / T) is the share that is right.
    assert fit_temperature(outputs, labels) == pytest.approx(margin / math.log(right / (100 - right)), rel=1e-5)


def test_the_temperature_is_the_best_of_a_grid_and_scales_with_the_outputs():
    rng = np.random.default_rng(2)
    outputs = rng.normal(size=(500, 10))
    labels = rng.integers(0, 10, 500)
    outputs[np.arange(500), labels] += 1
    found = fit_temperature(outputs, labels)
    grid = np.geomspace(found / 100, found * 100, 801)
    values = [cross_entropy(outputs, labels, temperature) for temperature in grid]
    assert np.argmin(values) == 400
    assert cross_entropy(outputs, labels, found) <= min(values) + 1e-12
    shift = rng.normal(size=(500, 1))
    for factor in (1e-6, 3.0, 1e6):
        assert fit_temperature(factor * (outputs + shift), labels) == pytest.approx(factor * found, rel=1e-5)


def test_labels_drawn_at_a_temperature_give_it_back():
    rng = np.random.default_rng(3)
    outputs = rng.normal(0, 3, (20_000, 10))
    labels = (softmax(outputs / 2.5, axis=1).cumsum(1) < rng.random((20_000, 1))).sum(1)
    found = fit_temperature(outputs, labels)
    # The standard error of 1/T from the Fisher information: the variance of the output under the answer's own shares.
    shares = softmax(outputs / 2.5, axis=1)
    information = ((shares * outputs**2).sum(1) - (shares * outputs).sum(1) ** 2).sum()
    assert 1 / found == pytest.approx(1 / 2.5, abs=5 / math.sqrt(information))
    assert fit_temperature(outputs / found, labels) == pytest.approx(1, rel=1e-5)


def test_temperatures_without_a_minimum():
    outputs = np.array([[2.0, 1, 0], [0, 5, 1]])
    assert fit_temperature(outputs, [0, 1]) == 0  # the surer the better
    assert fit_temperature(outputs, [2, 0]) == math.inf
    assert fit_temperature(np.zeros((4, 10)), [0, 1, 2, 3]) == math.inf


@pytest.mark.parametrize(
    ("outputs", "labels"), [(np.zeros((0, 10)), []), (np.zeros((2, 3)), [0]), ([[0.0, math.nan]], [0]), ([0.0], [0])]
)
def test_what_has_no_temperature_is_refused(outputs, labels):
    with pytest.raises(ValueError, match="finite outputs"):
        fit_temperature(outputs, labels)
