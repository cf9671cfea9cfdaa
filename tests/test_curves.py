"""Curves between networks: their ends, one step by hand, and a curve around a barrier."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.measures import curves, landscape
from memo.networks import mlp
from tests import builders

SIZES = (6, 8, 3)
STATIC = builders.static(SIZES, "tanh", batch_size=20)


def network(seed):
    rng = np.random.default_rng(seed)
    return tuple(
        mlp.Layer(jnp.asarray(rng.normal(size=each), jnp.float32), jnp.asarray(rng.normal(size=each[1]), jnp.float32))
        for each in pairwise(SIZES)
    )


@pytest.fixture(scope="module")
def shown():
    rng = np.random.default_rng(0)
    return rng.random((20, 6)).astype(np.float32), rng.integers(0, 3, 20)


def test_its_ends_are_the_networks_and_its_middle_their_mean():
    np.testing.assert_allclose(curves.coordinates(np.array([0, 0.5, 1])), [[1, 0, 0], [0.25, 0.5, 0.25], [0, 0, 1]])


def test_a_curve_through_the_mean_is_the_straight_line(shown):
    """Its middle point being the mean of its ends, a Bézier curve is the line, at the same places."""
    a, b = network(1), network(2)
    middle = jax.tree.map(lambda one, other: (one + other) / 2, a, b)
    found, line = curves.along(STATIC, a, middle, b, *shown, 5), landscape.line(STATIC, a, b, *shown, 5)
    np.testing.assert_allclose(found[0], line[0], rtol=1e-4)
    np.testing.assert_array_equal(found[1], line[1])


@pytest.mark.slow
def test_one_step_by_hand(shown):
    """The gradient at a place t of the curve, times 2 t (1 - t)."""
    a, b = network(1), network(2)
    found = curves.middle_point(STATIC, a, b, *shown, np.random.default_rng(5), 1, 0.3, 0.9)
    generator = np.random.default_rng(5)
    generator.permutation(20)  # all images in one minibatch, whose order does not matter
    t = float(np.float32(generator.random(1)[0]))
    middle = jax.tree.map(lambda one, other: (one + other) / 2, a, b)
    point = jax.tree.map(lambda *w: (1 - t) ** 2 * w[0] + 2 * t * (1 - t) * w[1] + t**2 * w[2], a, middle, b)

    def loss(at):
        return -jnp.mean(jax.nn.log_softmax(mlp.apply(at, jnp.asarray(shown[0]), "tanh"))[np.arange(20), shown[1]])

    slopes = jax.grad(loss)(point)
    expected = jax.tree.map(lambda w, slope: w - 0.3 * 2 * t * (1 - t) * slope, middle, slopes)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), found, expected)


def test_a_trained_curve_is_lower_than_the_line(shown):
    """Between a network that fits its images and the same with its hidden units in another order."""
    a = network(3)
    labels = np.asarray(mlp.apply(a, jnp.asarray(shown[0]), "tanh").argmax(-1))
    b = landscape.permute(a, [np.roll(np.arange(8), 3)])
    line = landscape.line(STATIC, a, b, shown[0], labels, 11)[0]
    middle = curves.middle_point(STATIC, a, b, shown[0], labels, np.random.default_rng(1), 800, 0.05, 0.9)
    curve = curves.along(STATIC, a, middle, b, shown[0], labels, 11)[0]
    assert curve.max() < 0.5 * line.max()
    np.testing.assert_allclose(curve[[0, -1]], line[[0, -1]], rtol=1e-4)
