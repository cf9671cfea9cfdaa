from dataclasses import replace
from itertools import pairwise, permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.measures import landscape
from memo.networks import mlp
from tests import builders


def static_of(sizes=(30, 8, 7, 4), loss="cross_entropy"):
    return builders.static(sizes, loss=loss)


def network(seed, sizes=(30, 8, 7, 4)):
    """Return a random network with biases, as training leaves them."""
    rng = np.random.default_rng(seed)
    draws = [
        (rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs)), rng.normal(0, 0.3, outputs))
        for inputs, outputs in pairwise(sizes)
    ]
    return tuple(mlp.Layer(*(jnp.asarray(leaf, jnp.float32) for leaf in layer)) for layer in draws)


def mix(coordinates, networks):
    return jax.tree.map(
        lambda *leaves: sum(c * np.asarray(leaf, float) for c, leaf in zip(coordinates, leaves)), *networks
    )


def distance(a, b):
    return np.sqrt(
        sum(np.sum((np.asarray(x, float) - np.asarray(y, float)) ** 2) for x, y in zip(*map(jax.tree.leaves, (a, b))))
    )


def numpy_loss(layers, pixels, labels, loss="cross_entropy"):
    values = np.asarray(pixels, float)
    for weights, biases in layers[:-1]:
        values = np.maximum(values @ weights + biases, 0)
    values = values @ layers[-1].weights + layers[-1].biases
    accuracy = np.mean(values.argmax(1) == labels)
    if loss == "squared_error":
        return np.sum((1 / (1 + np.exp(-values)) - np.eye(values.shape[1])[labels]) ** 2, 1).mean() / 2, accuracy
    return np.mean(np.log(np.exp(values).sum(1)) - values[np.arange(len(labels)), labels]), accuracy


@pytest.fixture(scope="module")
def shown():
    """Pixels [1,203, 30] float32 and the labels that network 0 gives them, so that it is as if trained."""
    pixels = np.random.default_rng(0).random((1203, 30), np.float32)
    return pixels, np.asarray(jnp.argmax(mlp.apply(network(0), pixels, "relu"), axis=1))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("sizes", [(30, 8, 7, 4), (30, 4)])
def test_a_line_is_numpys(shown, loss, sizes):
    a, b = network(1, sizes), network(2, sizes)
    losses, accuracies = landscape.line(static_of(sizes, loss), a, b, *shown, points=7)
    for place, along in enumerate(np.linspace(0, 1, 7)):
        expected = numpy_loss(mix((1 - along, along), (a, b)), *shown, loss)
        assert losses[place] == pytest.approx(expected[0], rel=1e-5)
        assert accuracies[place] == pytest.approx(expected[1], abs=1.5 / len(shown[0]))  # a tie in float32


def test_bytes_are_pixels(shown):
    grey = np.round(255 * shown[0]).astype(np.uint8)
    points = [
        landscape.line(static_of(), network(1), network(2), of, shown[1], 3)[0] for of in (grey, np.float32(grey / 255))
    ]
    np.testing.assert_allclose(*points, rtol=1e-6)


def test_a_convex_cost_has_no_barrier(shown):
    linear = static_of((30, 4))  # cross-entropy of a linear network is convex
    for seed in range(3):
        losses, _ = landscape.line(linear, network(seed, (30, 4)), network(seed + 9, (30, 4)), *shown)
        assert landscape.barrier(losses) < 1e-6


def test_a_barrier_is_what_stands_above_the_straight_line():
    along = np.linspace(0, 1, 25)
    assert landscape.barrier(2 - along) == pytest.approx(0, abs=1e-15)
    assert landscape.barrier(along**2) == 0
    assert landscape.barrier(3 * along + along * (1 - along)) == pytest.approx(0.25)
    # Not above the larger end, but above the mixture of the ends.
    assert landscape.barrier([0, 0.9, 1]) == pytest.approx(0.4)
    assert np.isnan(landscape.barrier([0, np.nan, 1]))
    assert np.isnan(landscape.barrier([np.inf, 1, 1]))


def test_a_diverged_network_gives_no_number(shown):
    diverged = jax.tree.map(lambda leaf: leaf + jnp.nan, network(0))
    losses, accuracies = landscape.line(static_of(), network(0), diverged, *shown, points=3)
    assert np.isnan(losses).all()
    assert np.isnan(accuracies).all()
    with pytest.raises(ValueError, match="not finite"):
        landscape.match(network(0), diverged, np.random.default_rng(0))
    with pytest.raises(ValueError, match="span no plane"):
        landscape.through_three(network(0), diverged, network(1))


# Matching


def shuffled(layers, seed):
    rng = np.random.default_rng(seed)
    return landscape.permute(layers, [rng.permutation(len(layer.biases)) for layer in layers[:-1]])


@pytest.mark.parametrize("sizes", [(30, 8, 4), (30, 8, 7, 4), (30, 16, 12, 9, 4)])
def test_a_permutation_is_found_again(sizes):
    for seed in range(5):
        own = network(seed, sizes)
        found = landscape.match(own, shuffled(own, seed), np.random.default_rng(seed))
        for leaf, expected in zip(jax.tree.leaves(found), jax.tree.leaves(own)):
            np.testing.assert_array_equal(leaf, expected)


def test_matching_removes_the_barrier_of_a_permutation(shown):
    own, static = network(0), static_of()
    # Sure of its answers, which are the labels, as a trained network is.
    own = (*own[:-1], mlp.Layer(10 * own[-1].weights, 10 * own[-1].biases))
    other = shuffled(own, 1)
    before, _ = landscape.line(static, own, other, *shown)
    after, _ = landscape.line(static, own, landscape.match(own, other, np.random.default_rng(0)), *shown)
    assert landscape.barrier(before) > 0.1
    assert landscape.barrier(after) < 1e-6
    np.testing.assert_allclose(after, after[0], rtol=1e-6)


def test_a_match_is_the_same_function_nearer_by(shown):
    for seed in range(5):
        a, b = network(seed), network(seed + 50)
        found = landscape.match(a, b, np.random.default_rng(seed))
        expected, outputs = (mlp.apply(layers, shown[0], "relu") for layers in (b, found))
        np.testing.assert_allclose(outputs, expected, atol=1e-5)  # sums in another order
        assert distance(a, found) < distance(a, b)
        assert distance(a, found) <= distance(a, landscape.match(a, b, np.random.default_rng(seed), attempts=1))
    again = landscape.match(a, b, np.random.default_rng(seed))
    np.testing.assert_array_equal(again[0].weights, found[0].weights)


def test_one_hidden_layer_is_matched_as_well_as_can_be():
    for seed in range(5):
        a, b = network(seed, (30, 5, 4)), network(seed + 50, (30, 5, 4))
        best = min(distance(a, landscape.permute(b, [np.array(order)])) for order in permutations(range(5)))
        assert distance(a, landscape.match(a, b, np.random.default_rng(0))) == pytest.approx(best)


# Planes


def test_random_directions_are_as_long_as_each_units_weights():
    own = network(3)
    one, again, other = (landscape.random_direction(np.random.default_rng(seed), own) for seed in (0, 0, 1))
    for layer, drawn in zip(own, one):
        np.testing.assert_allclose(
            np.linalg.norm(drawn.weights, axis=0), np.linalg.norm(layer.weights, axis=0), rtol=1e-5
        )
        assert (drawn.biases == 0).all()
    np.testing.assert_array_equal(one[0].weights, again[0].weights)
    assert (one[0].weights != other[0].weights).all()


@pytest.mark.slow
def test_a_plane_is_numpys(shown, monkeypatch):
    origin = network(0)
    across, up = (landscape.random_direction(np.random.default_rng(seed), origin) for seed in (1, 2))
    alphas, betas = np.linspace(-1, 1, 5), np.linspace(-0.5, 1, 4)
    losses = landscape.plane(static_of(), origin, across, up, alphas, betas, *shown)
    assert losses.shape == (5, 4)
    for i, alpha in enumerate(alphas):
        for j, beta in enumerate(betas):
            expected, _ = numpy_loss(mix((1, alpha, beta), (origin, across, up)), *shown)
            assert losses[i, j] == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr(landscape, "HELD", 3 * 8 * 500)  # three points at a time, which do not divide twenty
    anew = replace(static_of(), steps=5)  # a program of its own
    in_batches = landscape.plane(anew, origin, across, up, alphas, betas, *shown)
    np.testing.assert_allclose(in_batches, losses, rtol=1e-6)


@pytest.mark.slow
def test_a_plane_goes_through_its_three_networks(shown):
    three = [network(seed) for seed in range(3)]
    origin, across, up, coordinates = landscape.through_three(*three)
    for axis in (across, up):
        assert distance(axis, jax.tree.map(jnp.zeros_like, axis)) == pytest.approx(1, abs=1e-6)
    assert sum(np.vdot(x, y) for x, y in zip(jax.tree.leaves(across), jax.tree.leaves(up))) == pytest.approx(
        0, abs=1e-6
    )
    for own, place in zip(three, coordinates):
        assert distance(own, mix((1, *place), (origin, across, up))) < 1e-5
        found = landscape.plane(static_of(), origin, across, up, place[:1], place[1:], *shown)
        assert found.item() == pytest.approx(numpy_loss(jax.tree.map(np.asarray, own), *shown)[0], rel=1e-4)
    for c in (three[0], three[1], jax.tree.map(lambda x, y: (x + y) / 2, *three[:2])):
        with pytest.raises(ValueError, match="on a line"):
            landscape.through_three(*three[:2], c)
    with pytest.raises(ValueError, match="on a line"):
        landscape.through_three(three[0], three[0], three[1])


@pytest.mark.parametrize("axes", ["orthonormal", "random"])
def test_points_in_a_plane_are_projected_where_they_are(axes):
    three = [network(seed) for seed in range(3)]
    plane = landscape.through_three(*three)[:3]
    if axes == "random":
        plane = three[0], *(landscape.random_direction(np.random.default_rng(seed), three[0]) for seed in (1, 2))
    places = np.random.default_rng(3).normal(size=(6, 2))
    stack = jax.tree.map(lambda *leaves: np.stack(leaves), *(mix((1, *place), plane) for place in places))
    found, out = landscape.project(stack, *plane)
    np.testing.assert_allclose(found, places, atol=1e-9)
    np.testing.assert_allclose(out, 0, atol=1e-9)


def test_the_distance_out_of_a_plane_is_that_to_its_nearest_point():
    origin, across, up, _ = landscape.through_three(*(network(seed) for seed in range(3)))
    stack = jax.tree.map(lambda *leaves: np.stack(leaves), network(7), network(8))
    found, out = landscape.project(stack, origin, across, up)
    for seed, place, far in zip((7, 8), found, out):
        assert distance(network(seed), mix((1, *place), (origin, across, up))) == pytest.approx(far)
        for step in ([0.01, 0], [0, 0.01], [-0.01, 0], [0, -0.01]):
            assert distance(network(seed), mix((1, *(place + step)), (origin, across, up))) > far
