import itertools

import jax
import numpy as np
import pytest

from memo.networks import mlp

NUMPY = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


@pytest.mark.parametrize(("sizes", "count"), [((784, 16, 16, 10), 13_002), ((784, 10), 7_850), ((2, 3, 4), 25)])
def test_parameters_are_counted(sizes, count):
    layers = mlp.initialise(jax.random.key(0), sizes, "he")
    assert mlp.count_parameters(sizes) == count == sum(leaf.size for leaf in jax.tree.leaves(layers))
    assert [layer.weights.shape for layer in layers] == list(itertools.pairwise(sizes))
    assert [layer.biases.shape for layer in layers] == [(size,) for size in sizes[1:]]


@pytest.mark.parametrize("activation", mlp.ACTIVATIONS)
def test_forward_pass_is_numpys(activation):
    layers = mlp.initialise(jax.random.key(1), (20, 9, 7, 10), "normal")
    images = np.random.default_rng(0).random((5, 20))
    expected = images
    for number, layer in enumerate(layers):
        expected = expected @ np.asarray(layer.weights, float) + np.asarray(layer.biases, float)
        expected = expected if number == 2 else NUMPY[activation](expected)
    # float32 against float64: sums of 20 terms of size 1.
    np.testing.assert_allclose(mlp.apply(layers, images.astype(np.float32), activation), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("init", "weights", "biases"),
    [
        ("he", lambda inputs, outputs: np.sqrt(2 / inputs), 0),
        ("glorot", lambda inputs, outputs: np.sqrt(2 / (inputs + outputs)), 0),
        ("normal", lambda inputs, outputs: 1, 1),
    ],
)
def test_initial_scale(init, weights, biases):
    sizes = (784, 2000, 100)
    for inputs, outputs, layer in zip(sizes, sizes[1:], mlp.initialise(jax.random.key(2), sizes, init)):
        # Five standard errors: of a mean 5 sd / sqrt(n), of a Gaussian's sd 5 sd / sqrt(2 n).
        for leaf, sd in ((layer.weights, weights(inputs, outputs)), (layer.biases, biases)):
            assert abs(leaf.mean()) <= 5 * sd / np.sqrt(leaf.size)
            assert abs(leaf.std() - sd) <= 5 * sd / np.sqrt(2 * leaf.size)


def test_glorot_is_uniform_up_to_its_bound():
    (layer,) = mlp.initialise(jax.random.key(3), (300, 100), "glorot")
    bound = np.sqrt(6 / 400)
    assert 0.999 * bound < abs(layer.weights).max() <= bound
    # A uniform puts half its mass in the inner half; five standard errors of 30,000 draws.
    assert abs(np.mean(abs(layer.weights) < bound / 2) - 0.5) < 5 * 0.5 / np.sqrt(30_000)


def test_lecun_gives_every_unit_weights_of_about_length_one():
    first, last = mlp.initialise(jax.random.key(4), (784, 256, 10), "lecun")
    for layer in (first, last):
        inputs, units = layer.weights.shape
        # The square of a length has the mean 1 and the variance 2 / inputs; five standard errors.
        assert np.mean(np.sum(layer.weights**2, 0)) == pytest.approx(1, abs=5 * np.sqrt(2 / inputs / units))
        np.testing.assert_array_equal(layer.biases, 0)


@pytest.mark.parametrize("init", mlp.INITIALISERS)
def test_layers_and_keys_draw_on_their_own(init):
    one, again, other = (mlp.initialise(jax.random.key(seed), (10, 10, 10), init) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one[0].weights, again[0].weights)
    for independent in (one[1].weights, other[0].weights):
        assert abs(np.corrcoef(one[0].weights.ravel(), independent.ravel())[0, 1]) < 0.5


@pytest.mark.parametrize(
    ("widths", "style", "name"),
    [
        ((64, 64), "×", "64"), ((64,), "×", "1×64"), ((8, 8, 8), "×", "3×8"), ((8, 4), "×", "8×4"), ((), "×", "0"),
        ([64, 64], "x", "64x64"), ([], "x", "linear"), ((784, 16, 10), "-", "784-16-10"),
    ],
)  # fmt: skip
def test_widths_are_named_in_one_place(widths, style, name):
    assert mlp.describe_widths(widths, style) == name
