from itertools import pairwise, permutations

import jax.numpy as jnp
import numpy as np
import pytest

from memo.networks import mlp
from memo.probes import first_layer
from memo.probes.networks import Networks
from tests import builders

NAMES = ("autocorrelation", "participation", "middle")


def moran(weights):
    """Moran's I in its own terms: a sum over all ordered pairs of neighbours."""
    side = int(np.sqrt(len(weights)))
    places = np.stack(np.divmod(np.arange(side**2), side), axis=1)
    neighbours = np.abs(places[:, None] - places[None]).sum(-1) == 1
    z = weights - weights.mean()
    return len(z) / neighbours.sum() * (z @ neighbours @ z) / (z @ z)


@pytest.mark.parametrize("side", [2, 3, 6, 28])
def test_statistics_are_numpys(side):
    weights = np.random.default_rng(side).normal(0.3, 1, (2, 3, side**2))
    found = first_layer.statistics(weights)
    assert set(found) == set(NAMES)
    for place in np.ndindex(2, 3):
        own = weights[place]
        assert found["autocorrelation"][place] == pytest.approx(moran(own))
        assert found["participation"][place] == pytest.approx((own**2).sum() ** 2 / (side**2 * (own**4).sum()))
        if side == 28:
            inside = own.reshape(28, 28)[7:21, 7:21]
            assert found["middle"][place] == pytest.approx((inside**2).sum() / (own**2).sum())


def test_statistics_of_images_with_known_ones():
    side = 28
    rows, columns = np.divmod(np.arange(side**2), side)
    checkerboard = (-1.0) ** (rows + columns)
    halves = np.where(columns < side // 2, 1.0, -1.0)
    pixel = np.zeros(side**2)
    pixel[14 * side + 14] = -3
    found = first_layer.statistics(np.stack([checkerboard, halves, pixel]))
    edges, n = 2 * side * (side - 1), side**2
    # A lone pixel is 1 - 1/n from the mean and the others 1/n: four of its edges cross, the rest lie in the flat part.
    alone = n / edges * (-4 * (1 - 1 / n) / n + (edges - 4) / n**2) / (1 - 1 / n)
    assert found["autocorrelation"] == pytest.approx([-1, (edges - 2 * side) / edges, alone])
    assert found["participation"] == pytest.approx([1, 1, 1 / n])
    assert found["middle"] == pytest.approx([1 / 4, 1 / 4, 1])


def test_participation_of_gaussian_weights_is_a_third():
    weights = np.random.default_rng(0).normal(size=(400, 784))
    found = first_layer.statistics(weights)["participation"]
    # Over N draws the mean of w^2 is 1 and of w^4 is 3; the ratio's bias is of order 1/N.
    assert found.mean() == pytest.approx(1 / 3, abs=5 * found.std() / np.sqrt(400) + 5 / 784)


@pytest.mark.parametrize("side", [4, 5, 6, 7, 28])
def test_the_middle_is_a_quarter_of_the_area_and_lies_in_the_middle(side):
    image = first_layer._middle(side).reshape(side, side)
    assert image.sum() == pytest.approx(side**2 / 4)
    np.testing.assert_array_equal(image, image[::-1])
    np.testing.assert_array_equal(image, image.T)
    even = first_layer.statistics(np.ones(side**2))
    assert even["middle"] == pytest.approx(1 / 4)


def test_statistics_do_not_see_scale_even_beyond_the_range_of_its_powers():
    weights = np.random.default_rng(1).normal(size=784)
    for factor in (-1, 1e-150, 1e150):
        found, expected = first_layer.statistics(factor * weights), first_layer.statistics(weights)
        assert [found[name] for name in NAMES] == pytest.approx([expected[name] for name in NAMES])


def test_undefined_statistics_are_nan():
    weights = np.random.default_rng(0).normal(size=(5, 16))
    weights[0, 3], weights[1, 3], weights[2], weights[3] = np.nan, np.inf, 0, 0.1
    found = first_layer.statistics(weights)
    assert np.isnan(found["autocorrelation"]).tolist() == [True, True, True, True, False]
    for name in ("participation", "middle"):
        assert np.isnan(found[name]).tolist() == [True, True, True, False, False]
    for name, value in first_layer.expected(weights).items():
        assert (np.isnan(value) == np.isnan(found[name])).all()


@pytest.mark.parametrize("pixels", [1, 15, 785])
def test_images_that_are_not_square_are_refused(pixels):
    with pytest.raises(ValueError, match=f"{pixels} pixels are no square image"):
        first_layer.statistics(np.ones(pixels))


# Permuted pixels


def test_expected_is_the_mean_over_all_permutations():
    weights = np.random.default_rng(2).normal(0.5, 1, 9)
    every = np.array(list(permutations(range(9))))
    found, expected = first_layer.statistics(weights[every]), first_layer.expected(weights)
    assert set(expected) == set(NAMES)
    for name in NAMES:
        assert found[name].mean() == pytest.approx(expected[name], rel=1e-9)
    assert expected["autocorrelation"] == pytest.approx(-1 / 8)


def test_permuted_scatters_about_expected():
    smooth = np.add.outer(np.sin(np.arange(28) / 4), np.arange(28) / 14).ravel()
    weights = np.stack([smooth, np.random.default_rng(3).normal(size=784)])
    expected = first_layer.expected(weights)
    draws = 200
    null = first_layer.permuted(weights, np.random.default_rng(4), draws)
    one_by_one = np.random.default_rng(4)
    drawn = [first_layer.permuted(weights, one_by_one, 1) for _ in range(draws)]
    for name in NAMES:
        values = np.stack([one[name] for one in drawn])
        np.testing.assert_allclose(null[name], values.mean(axis=0))
        error = values.std(axis=0) / np.sqrt(draws)
        assert (np.abs(null[name] - expected[name]) <= 5 * error + 1e-12).all()
    found = first_layer.statistics(weights)
    assert found["autocorrelation"][0] > 0.9
    np.testing.assert_allclose(null["participation"], found["participation"])  # it sees no places


def test_units_are_permuted_on_their_own():
    weights = np.tile(np.random.default_rng(5).normal(size=784), (2, 1))
    null = first_layer.permuted(weights, np.random.default_rng(6), 1)
    assert null["autocorrelation"][0] != null["autocorrelation"][1]


# The probe


def networks(units, count=3):
    static = builders.static((784, units, 10), "tanh", "normal")
    rng = np.random.default_rng(units)
    layers = tuple(
        mlp.Layer(*(jnp.asarray(rng.standard_normal((count, *shape), np.float32)) for shape in (ends, ends[1:])))
        for ends in pairwise(static.sizes)
    )
    return Networks(static, layers, np.arange(count), np.zeros(count, int), *[None] * 5)


@pytest.mark.parametrize(("units", "shown"), [(5, 5), (16, 16), (40, 16)])
def test_rows_are_the_first_units(units, shown):
    given = networks(units)
    rows = first_layer.measure(given)
    assert set(rows) == {"network", "unit", "weights", *NAMES}
    assert list(zip(rows["network"], rows["unit"])) == [(n, u) for n in range(3) for u in range(shown)]
    for number, (network, unit, stored) in enumerate(zip(rows["network"], rows["unit"], rows["weights"])):
        own = np.asarray(given.layers[0].weights[network, :, unit])
        np.testing.assert_array_equal(np.frombuffer(stored, "<f4"), own)
        expected = first_layer.statistics(own)
        assert [rows[name][number] for name in NAMES] == pytest.approx([expected[name] for name in NAMES])


def test_a_diverged_network_gives_no_number_and_disturbs_no_other():
    whole = networks(4)
    first, last = whole.layers
    for layers in (
        (first._replace(weights=first.weights.at[1, 7, 2].set(jnp.inf)), last),
        (first, last._replace(biases=last.biases.at[1, 0].set(jnp.nan))),
    ):
        rows, expected = first_layer.measure(whole._replace(layers=layers)), first_layer.measure(whole)
        lost = rows["network"] == 1
        assert lost.sum() == 4  # counted, not dropped
        for name in NAMES:
            assert np.isnan(rows[name][lost]).all()
            np.testing.assert_array_equal(rows[name][~lost], expected[name][~lost])
