"""Alignment of covariances and activity of units on data whose answers are known."""

import jax.numpy as jnp
import numpy as np

from memo.measures import activity, alignment
from memo.networks.mlp import Layer
from tests import builders


def test_principal_directions_are_those_of_the_variance():
    rng = np.random.default_rng(0)
    images = 5 + rng.normal(size=(4000, 4)) * [1, 4, 0.1, 2]
    found = alignment.principal_directions(images, 2)
    np.testing.assert_allclose(np.abs(found), [[0, 0], [1, 0], [0, 0], [0, 1]], atol=0.05)


def test_weights_that_vary_along_the_directions_are_aligned_and_turned_ones_are_not():
    rng, pixels = np.random.default_rng(1), 12
    directions = np.linalg.qr(rng.normal(size=(pixels, 6)))[0]
    scales = np.array([8, 6, 4, 3, 2, 1.0])
    units = rng.normal(size=(6, 4000)) * scales[:, None]
    found = alignment.alignment(directions @ units, directions, np.random.default_rng(2))
    assert found.share > 0.98 > found.random[-1] and len(found.random) == 200
    turned = directions @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    other = alignment.alignment(turned @ units, directions, np.random.default_rng(2))
    assert found.random[0] < other.share < 0.9


def test_of_random_weights_the_share_is_one_of_the_random_ones():
    rng = np.random.default_rng(3)
    directions = np.linalg.qr(rng.normal(size=(20, 10)))[0]
    found = alignment.alignment(rng.normal(size=(20, 64)), directions, rng)
    assert found.random[0] <= found.share <= found.random[-1]


def test_activity_counts_images_for_which_a_unit_is_above_zero():
    """The first unit reads a pixel less a half, the second is always negative; the second layer reads the first unit."""
    layers = (
        Layer(jnp.array([[1.0, 0.0]]), jnp.array([-0.5, -1.0])),
        Layer(jnp.array([[1.0, -1.0], [0.0, 0.0]]), jnp.array([0.0, 0.25])),
        Layer(jnp.ones((2, 2)), jnp.zeros(2)),
    )
    pixels = jnp.asarray(np.linspace(0, 1, 1201)[:, None], jnp.float32)  # more than a block
    first, second = activity.activity(builders.static((1, 2, 2, 2)), layers, pixels)
    np.testing.assert_allclose(first, [0.5, 0], atol=1e-3)
    np.testing.assert_allclose(second, [0.5, 0.75], atol=1e-3)
