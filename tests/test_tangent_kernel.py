"""The tangent kernel against gradients taken one by one, and the training that it stands for against training itself."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from memo.config import Trial, make_recipe
from memo.measures import tangent_kernel
from memo.networks import initial, mlp
from memo.training.execution import train
from memo.training.population import plan
from memo.training.shown import shown
from tests import builders

IMAGES, CLASSES = 12, 3


def network(sizes):
    rng = np.random.default_rng(2)
    return tuple(
        mlp.Layer(jnp.asarray(rng.normal(size=each), jnp.float32), jnp.asarray(rng.normal(size=each[1]), jnp.float32))
        for each in pairwise(sizes)
    )


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).random((IMAGES, 5)).astype(np.float32)


@pytest.mark.parametrize("sizes", [(5, CLASSES), (5, 4, 6, CLASSES)])
def test_kernel_is_the_product_of_gradients(sizes, pixels):
    static, layers = builders.static(sizes), network(sizes)
    flat, unravel = ravel_pytree(layers)
    outputs = jax.jit(lambda at: mlp.apply(unravel(at), jnp.asarray(pixels), "relu"))
    gradients = np.asarray(jax.jacobian(outputs)(flat), np.float64)  # [n, classes, parameters]
    expected = np.einsum("icp,jcp->ij", gradients, gradients) / CLASSES
    found, given = tangent_kernel.kernel(static, layers, pixels)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(given, outputs(flat), rtol=1e-5, atol=1e-5)


def test_without_hidden_layers_it_is_that_of_the_images(pixels):
    found, _ = tangent_kernel.kernel(builders.static((5, CLASSES)), network((5, CLASSES)), pixels)
    np.testing.assert_allclose(found, pixels @ pixels.T + 1, rtol=1e-5)


def test_energies_in_closed_form():
    """A diagonal kernel, whose eigenvectors are the images."""
    found = tangent_kernel.spectrum(np.diag(np.arange(1.0, 11)))
    targets = np.zeros((10, 2))
    targets[9], targets[0] = [3, 0], [0, 1]
    assert found.values[0] == 10
    assert tangent_kernel.energy_in_top(found, targets, 0.1) == pytest.approx(0.9)
    assert tangent_kernel.inverse_energy(found, targets) == pytest.approx(9 / 10 + 1)
    np.testing.assert_allclose(tangent_kernel.centred(np.array([1, 0]), 2), [[-0.5, 0.5], [0.5, -0.5]])


@pytest.mark.slow
def test_linearised_training_is_training_where_the_network_is_linear(pixels):
    """Softmax regression, momentum and minibatches: outputs by the kernel are those by the weights."""
    sizes = (5, CLASSES)
    static, layers = builders.static(sizes), network(sizes)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, (2, IMAGES))
    minibatches = np.stack([rng.permutation(IMAGES)[:4] for _ in range(10)])
    matrix, outputs = tangent_kernel.kernel(static, layers, pixels)
    found = tangent_kernel.train(static, matrix, outputs, labels, minibatches, 0.3, 0.8, np.arange(11))
    for place, own in enumerate(labels):
        now, moved = layers, jax.tree.map(jnp.zeros_like, layers)
        for step, batch in enumerate(minibatches):
            losses = -jax.nn.log_softmax(mlp.apply(now, jnp.asarray(pixels), "relu"))[np.arange(IMAGES), own]
            assert found.loss[step, place] == pytest.approx(float(jnp.mean(losses)), rel=1e-4)

            def loss(at, batch=batch, own=own):
                outputs = mlp.apply(at, jnp.asarray(pixels[batch]), "relu")
                return -jnp.mean(jax.nn.log_softmax(outputs)[np.arange(len(batch)), own[batch]])

            moved = jax.tree.map(lambda m, g: 0.8 * m + g, moved, jax.grad(loss)(now))
            now = jax.tree.map(lambda w, m: w - 0.3 * m, now, moved)
        hits = np.argmax(mlp.apply(now, jnp.asarray(pixels), "relu"), axis=-1) == own
        assert found.accuracy[-1, place] == pytest.approx(hits.mean())
    assert found.loss.shape == (len(minibatches) + 1, 2)


def test_one_image_against_its_differential_equation():
    """Two classes at equal outputs: the margin m of one image follows m' = 2 k / (1 + e^m), whose solution is m + e^m = 1 + 2 k t."""
    static, steps, rate, k = builders.static((1, 2)), 4000, 1e-3, 0.7
    minibatches = np.zeros((steps, 1), int)
    found = tangent_kernel.train(
        static, np.array([[k]]), np.zeros((1, 2)), np.array([[0]]), minibatches, rate, 0.0, np.array([0, steps])
    )
    assert found.loss.shape == (2, 1)
    margin = -np.log(np.expm1(found.loss[-1, 0]))
    assert margin + np.exp(margin) == pytest.approx(1 + 2 * k * rate * steps, rel=5e-3)


@pytest.mark.slow
def test_softmax_regression_in_the_suite_is_its_own_linearisation(mnist):
    """On the images, labels and minibatches that the network is shown, at each of its evaluations."""
    settings = {"dataset.n_train": 90, "dataset.n_test": 50, "model.widths": [], "batch_size": 40, "epochs": 6}
    recipe = make_recipe(settings | {"labels.kind": "random", "evaluations": 6, "stop_at_train_accuracy": None})
    trial = Trial(recipe, 3)
    [population] = plan([trial])
    trained = train(population, mnist)
    static = population.signature.static
    seen = shown(trial, mnist, static.steps)
    np.testing.assert_array_equal(seen.labels, trained.labels[0])
    np.testing.assert_array_equal(seen.pixels, mnist.train_images[trained.rows[0]])
    layers = jax.tree.map(lambda leaf: leaf[0], initial.by_seed(static, [3]))
    matrix, outputs = tangent_kernel.kernel(static, layers, seen.pixels)
    rates = recipe.optimizer.learning_rate, recipe.optimizer.momentum
    found = tangent_kernel.train(static, matrix, outputs, seen.labels[None], seen.minibatches, *rates, trained.steps)
    np.testing.assert_allclose(found.loss[:, 0], trained.curves.train_loss[0], rtol=1e-3)
    np.testing.assert_allclose(found.accuracy[:, 0], trained.curves.train_accuracy[0], atol=0.02)
