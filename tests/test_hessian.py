"""Second derivatives against finite differences, closed forms and each other; Lanczos on spectra that are known."""

from functools import partial
from itertools import pairwise
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.measures import hessian
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.program import Images
from memo.probes import hessian as probe
from memo.probes.networks import Networks
from tests import builders


def static_of(sizes, activation="tanh", loss="cross_entropy"):
    return builders.static(sizes, activation, loss=loss)


def network(seed, sizes):
    rng = np.random.default_rng(seed)
    return tuple(
        mlp.Layer(
            jnp.asarray(rng.normal(0, 1 / np.sqrt(a), (a, b)), jnp.float32),
            jnp.asarray(rng.normal(0, 0.3, b), jnp.float32),
        )
        for a, b in pairwise(sizes)
    )


@pytest.fixture(scope="module")
def shown():
    """Images [733, 9] float32, more than a block of them, and labels of 4 classes."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.random((733, 9), np.float32)), jnp.asarray(rng.integers(0, 4, 733, dtype=np.uint8))


@partial(jax.jit, static_argnums=0)
def whole(static, layers, pixels, labels):
    """Return gradient and Hessian of the mean loss as JAX gives them of all images at once."""
    flat, unravel = jax.flatten_util.ravel_pytree(layers)

    def loss(at):
        outputs = mlp.apply(unravel(at), pixels, static.activation)
        return jnp.mean(LOSSES[static.loss].per_example(outputs, labels.astype(jnp.int32)))

    return jax.grad(loss)(flat), jax.hessian(loss)(flat)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "loss"), [("tanh", "cross_entropy"), ("relu", "squared_error")])
def test_products_gradient_and_matrix_are_those_of_the_mean_loss(shown, activation, loss):
    sizes = (9, 5, 4)
    static, layers = static_of(sizes, activation, loss), network(1, sizes)
    gradient, matrix = map(np.asarray, whole(static, layers, *shown))
    np.testing.assert_allclose(hessian.gradient(static, layers, *shown), gradient, atol=1e-6)
    found = hessian.exact(static, layers, *shown)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, matrix, atol=2e-6)
    vector = jnp.asarray(np.random.default_rng(2).normal(size=len(gradient)), jnp.float32)
    np.testing.assert_allclose(hessian.times(static, layers, *shown, vector), matrix @ np.asarray(vector), atol=2e-5)


def test_the_hessian_of_a_linear_network_is_that_of_softmax_regression(shown):
    static, layers = static_of((9, 4)), network(3, (9, 4))
    pixels = np.asarray(shown[0])
    inputs = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1).astype(float)
    shares = np.asarray(jax.nn.softmax(mlp.apply(layers, shown[0], "relu")), float)
    due = np.zeros((40, 40))
    for image, p in zip(inputs, shares):
        due += np.kron(np.outer(image, image), np.diag(p) - np.outer(p, p)) / len(inputs)
    np.testing.assert_allclose(hessian.exact(static, layers, *shown), due, atol=1e-6)
    assert np.linalg.eigvalsh(due)[0] > -1e-8  # convex


def quadratic(spectrum, seed=0):
    """Return v -> A v for a matrix A with these eigenvalues in random directions."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(spectrum), len(spectrum))))
    matrix = jnp.asarray(turn * np.asarray(spectrum) @ turn.T, jnp.float32)
    return lambda vector: matrix @ vector


def starts(count, size, seed=1):
    return jnp.asarray(np.sign(np.random.default_rng(seed).normal(size=(count, size))), jnp.float32)


def test_lanczos_of_full_length_has_the_spectrum():
    spectrum = np.linspace(-1, 3, 40)
    values, weights = hessian.ritz(*hessian.lanczos(quadratic(spectrum), starts(1, 40)[0], 40))
    np.testing.assert_allclose(values, spectrum, atol=1e-4)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.slow
def test_lanczos_finds_the_ends_of_a_spectrum_once():
    spectrum = np.concatenate([[-0.5], np.zeros(300), np.linspace(0, 0.1, 196), [1, 5, 20]])
    values, _ = hessian.ritz(*hessian.lanczos(quadratic(spectrum), starts(1, 500)[0], 30))
    assert values[-1] == pytest.approx(20, rel=1e-4)
    assert values[0] == pytest.approx(-0.5, rel=1e-3)
    assert (values > 4).sum() == 2  # without reorthogonalisation they come back


def test_lanczos_stops_where_the_space_ends():
    spectrum = np.repeat([0.0, 2.0, -1.0], [10, 5, 5])
    values, weights = hessian.ritz(*hessian.lanczos(quadratic(spectrum), starts(1, 20)[0], 20))
    near = np.abs(values[:, None] - np.array([-1, 0, 2])).min(axis=1)
    assert near.max() < 1e-3
    assert weights.sum() == pytest.approx(1)


@pytest.mark.slow
def test_shares_of_a_spectrum_by_quadrature():
    spectrum = np.concatenate([np.linspace(-2, -1, 60), np.zeros(240), np.linspace(1, 6, 100)])
    multiply = quadratic(spectrum)
    runs = jax.vmap(lambda start: hessian.lanczos(multiply, start, 60))(starts(20, 400))
    found = [hessian.ritz(*run) for run in zip(*runs)]
    assert hessian.share_below(found, -0.5) == pytest.approx(60 / 400, abs=0.03)
    assert 1 - hessian.share_below(found, 0.5) == pytest.approx(100 / 400, abs=0.03)
    assert hessian.share_below(found, -10) == 0


@pytest.fixture(scope="module")
def networks(small_mnist):
    """Three networks on 300 images of 7 x 7 pixels: two at random and one whose weights are not finite."""
    sizes, small = (49, 6, 10), small_mnist.at(None, 7)
    each = [network(seed, sizes) for seed in range(3)]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    broken = stack[0]._replace(biases=stack[0].biases.at[2, 0].set(jnp.nan))
    rows = np.stack([np.arange(300), np.arange(300) + 5, np.arange(300)]).astype(np.int32)
    images = Images(jnp.asarray(small.train_images[None]), None, None)
    labels = small.train_labels[rows]
    return Networks(
        static_of(sizes, "relu"), (broken, stack[1]), np.arange(3), np.zeros(3, int), images, None, rows, labels, None
    )


@pytest.fixture(scope="module")
def columns(networks):
    return probe.measure(networks)


@pytest.mark.slow
def test_the_probe_agrees_with_the_matrix(networks, columns, small_mnist):
    pixels = small_mnist.at(None, 7).train_images.astype(np.float32) / 255
    for place in range(2):
        layers = jax.tree.map(itemgetter(place), networks.layers)
        shown = jnp.asarray(pixels[networks.rows[place]]), jnp.asarray(networks.labels[place])
        gradient, matrix = map(np.asarray, whole(networks.static, layers, *shown))
        every = np.linalg.eigvalsh(matrix.astype(float))
        np.testing.assert_allclose(probe.eigenvalues(columns["eigenvalues"][place]), every, atol=1e-4)
        assert columns["gradient_norm"][place] == pytest.approx(np.linalg.norm(gradient), rel=1e-4)
        assert columns["top"][place] == pytest.approx(every[-1], rel=1e-4)
        assert columns["bottom"][place] == pytest.approx(every[0], abs=1e-4)
        assert columns["index"][place] == pytest.approx(np.mean(every < -1e-3), abs=0.01)
        assert columns["positive"][place] == pytest.approx(np.mean(every > 1e-3), abs=0.01)
        assert columns["index_lanczos"][place] == pytest.approx(columns["index"][place], abs=0.04)
    assert columns["exact"].tolist() == [True, True, False]


@pytest.mark.slow
def test_by_lanczos_alone_it_is_nearly_the_same(networks, columns, monkeypatch):
    monkeypatch.setattr(probe, "EXACT", 0)
    found = probe.measure(networks)
    assert not found["exact"].any()
    assert found["eigenvalues"][0] == b""
    for name, tolerance in (("top", 1e-3), ("bottom", 1e-2)):
        np.testing.assert_allclose(found[name][:2], columns[name][:2], rtol=tolerance)
    np.testing.assert_allclose(found["index"][:2], columns["index"][:2], atol=0.04)


@pytest.mark.slow
def test_sharpness_is_the_largest_eigenvalue(networks, columns):
    found = probe.measure_sharpness(networks)
    np.testing.assert_allclose(found["top"][:2], columns["top"][:2], rtol=0.01)
    np.testing.assert_allclose(found["gradient_norm"], columns["gradient_norm"], rtol=1e-6)


def test_a_network_that_is_not_finite_has_rows_of_nan(networks, columns):
    for found in (columns, probe.measure_sharpness(networks)):
        assert found["network"].tolist() == [0, 1, 2]
        for name in ("top", "gradient_norm"):
            assert np.isnan(found[name]).tolist() == [False, False, True]
