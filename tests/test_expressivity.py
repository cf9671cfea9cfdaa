"""Theorem 1 of Zhang et al. 2017: the network of 2n + d weights, by hand, by its closed form and on real images."""

import numpy as np
import pytest

from memo.data.randomness import generator
from memo.measures.expressivity import BLOCK, MIDPOINT, construct, count_weights, evaluate, largest_fit, residual


def random_line(n, seed=0):
    """Inputs of one pixel, so that the projection only stretches them, and random labels."""
    rng = np.random.default_rng(seed)
    return rng.permutation(n)[:, None] + rng.uniform(0.2, 0.8, (n, 1)), rng.integers(0, 10, n)


@pytest.fixture(scope="module")
def digits(mnist):
    """600 real images with labels that have nothing to do with them."""
    return mnist.train_images[:600] / 255, generator(0, "labels").integers(0, 10, 600)


def test_two_images_by_hand():
    class One:
        def standard_normal(self, shape):
            return np.ones(shape)

    # At 3 and 1, so in the order 1, 3 with the targets 2 and 5; the biases are 0 and 2: 2 = w_1, 5 = 3 w_1 + w_2.
    network = construct(np.array([[3.0], [1.0]]), np.array([5, 2]), One())
    np.testing.assert_array_equal(network.biases, [0, 2])
    np.testing.assert_array_equal(network.weights, [2, -1])
    np.testing.assert_array_equal(evaluate(network, np.array([[0.0], [1], [2], [3], [4]])), [0, 2, 4, 5, 6])


@pytest.mark.parametrize("share", [MIDPOINT, 0.8, 1.0])
@pytest.mark.parametrize("n", [1, 2, 40])
def test_any_labels_are_fitted(n, share):
    inputs, labels = random_line(n)
    network = construct(inputs, labels, generator(0, "initialisation"), share=share)
    assert residual(network, inputs, labels) < 1e-9
    assert sum(part.size for part in network) == count_weights(n, 1)
    assert count_weights(60_000, 784) == 120_784


def test_biases_lie_between_the_images():
    inputs, labels = random_line(40)
    network = construct(inputs, labels, generator(0, "initialisation"))
    points = np.sort(inputs @ network.projection)
    assert (network.biases < points).all()
    assert (network.biases[1:] > points[:-1]).all()
    np.testing.assert_allclose(network.biases[1:], (points[1:] + points[:-1]) / 2)


def test_weights_solve_the_whole_system():
    inputs, labels = random_line(60)
    network = construct(inputs, labels, generator(0, "initialisation"), share=0.8)
    points = inputs @ network.projection
    whole = np.maximum(points[:, None] - network.biases, 0)  # not in the order of the line
    np.testing.assert_allclose(network.weights, np.linalg.solve(whole, labels), rtol=1e-8)


def test_a_bias_on_the_image_before_gives_the_broken_line():
    inputs, labels = random_line(40)
    network = construct(inputs, labels, generator(0, "initialisation"), share=1.0)
    points = inputs[:, 0] * network.projection[0]
    order = np.argsort(points)
    between = np.linspace(points[order[0]], points[order[-1]], 301)
    found = evaluate(network, between[:, None] / network.projection[0])
    np.testing.assert_allclose(found, np.interp(between, points[order], labels[order]), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_slopes_follow_the_recursion_that_says_where_rounding_goes(dtype):
    inputs, labels = random_line(30)
    for share in (0.3, 0.5, 0.8):
        network = construct(inputs, labels, generator(0, "initialisation"), dtype, share)
        points = inputs[:, 0] * np.float64(network.projection[0])
        order = np.argsort(points)
        gaps, steps = np.diff(points[order]), np.diff(labels[order])
        slopes = [labels[order][0] / (share * np.ptp(points) / 29)]
        for gap, step in zip(gaps, steps):
            slopes.append((step / gap - (1 - share) * slopes[-1]) / share)
        tolerance = np.finfo(dtype).eps * 1e3 * max(1, ((1 - share) / share) ** 29) * np.abs(slopes).max()
        np.testing.assert_allclose(np.cumsum(network.weights, dtype=np.float64), slopes, atol=tolerance)


def test_real_images_with_random_labels_are_fitted_in_float64(digits):
    network = construct(*digits, generator(0, "initialisation"))
    assert residual(network, *digits) < 1e-6
    assert np.array_equal(np.round(evaluate(network, digits[0])), digits[1])


def test_images_evaluated_in_blocks_are_those_of_each(digits):
    network = construct(*digits, generator(0, "initialisation"))
    many = np.tile(digits[0], (1 + 2 * BLOCK // 600, 1))
    one_by_one = np.array([evaluate(network, image[None])[0] for image in many])
    # A product of one image rounds otherwise than one of many, and the slopes are steep.
    np.testing.assert_allclose(evaluate(network, many), one_by_one, atol=1e-6)


def test_float32_breaks_where_float64_holds(digits):
    single, double = (
        largest_fit(*digits, dtype, 1e-6, (600, 30, 200), generator(0, "initialisation"))
        for dtype in (np.float32, np.float64)
    )
    assert double.largest == 600
    assert single.largest < 200
    assert list(single.residuals) == [30, 200, 600]
    assert single.residuals[600] > 1e4 * double.residuals[600]
    assert construct(*digits, generator(0, "initialisation"), np.float32).weights.dtype == np.float32


def test_a_bias_near_its_image_loses_every_digit(digits):
    lost = largest_fit(*digits, np.float64, 1e-6, (50, 600), generator(0, "initialisation"), share=0.3)
    assert lost.largest <= 50
    assert lost.residuals[600] > 1


def test_ties_are_named(digits):
    inputs, labels = digits
    twice = np.concatenate([inputs[:50], inputs[7:8]])
    with pytest.raises(ValueError, match=r"^Images 7 and 50 fall on one point of the line: their inputs are equal\.$"):
        construct(twice, labels[:51], generator(0, "initialisation"))
    near = np.array([[1.0], [1 + 1e-9], [2.0]])
    with pytest.raises(ValueError, match=r"^Images [01] and [01] fall .*: float32 does not resolve their gap\.$"):
        construct(near, labels[:3], generator(0, "initialisation"), np.float32)
    assert construct(near, labels[:3], generator(0, "initialisation")).biases.dtype == np.float64
    fits = largest_fit(twice, labels[:51], np.float64, 1e-6, (20, 51), generator(0, "initialisation"))
    assert (fits.largest, fits.residuals[51]) == (20, float("inf"))


@pytest.mark.parametrize("share", [0, -1, 1.1, float("nan")])
def test_a_share_outside_of_its_gap_is_refused(digits, share):
    with pytest.raises(ValueError, match="The share of a gap"):
        construct(*digits, generator(0, "initialisation"), share=share)
    with pytest.raises(ValueError, match="The share of a gap"):
        largest_fit(*digits, np.float64, 1e-6, (5,), generator(0, "initialisation"), share)
