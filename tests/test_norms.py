"""Norms of weights against closed forms and brute force, margins by hand, and the probe on trained networks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.config import Trial, make_recipe
from memo.measures import norms
from memo.networks import initial
from memo.networks.mlp import Layer
from memo.probes.norms import QUANTILES
from memo.training.execution import train
from memo.training.measurement import measure
from memo.training.population import plan


def layers_of(*weights):
    return tuple(Layer(jnp.asarray(each, jnp.float32), jnp.ones(np.shape(each)[1])) for each in weights)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    return layers_of(rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=(3, 6)))


def test_closed_forms():
    """Two layers: 3 times the identity of size 2, then a column of ones."""
    layers = layers_of(3 * np.eye(2), [[1.0], [1.0]])
    spectral = norms.spectral_norms(layers)
    np.testing.assert_allclose(spectral, [3, np.sqrt(2)], rtol=1e-6)
    np.testing.assert_allclose(norms.unit_distances(layers), [6, np.sqrt(2)], rtol=1e-6)
    expected = 3 * np.sqrt(2) * (2 ** (2 / 3) + 1) ** 1.5
    assert float(norms.spectral_complexity(spectral, norms.unit_distances(layers))) == pytest.approx(expected, rel=1e-5)
    moved = layers_of(3 * np.eye(2) + [[0, 4], [0, 0]], [[1.0], [1.0]])
    np.testing.assert_allclose(norms.unit_distances(moved, layers), [4, 0], atol=1e-6)


def test_norms_are_those_of_numpy(drawn):
    weights = [np.asarray(layer.weights, np.float64) for layer in drawn]
    np.testing.assert_allclose(norms.spectral_norms(drawn), [np.linalg.norm(w, 2) for w in weights], rtol=1e-5)
    found = norms.capacities(drawn)
    paths = [
        weights[0][a, b] * weights[1][b, c] * weights[2][c, d]
        for a, b, c, d in itertools.product(range(5), range(4), range(3), range(6))
    ]
    expected = {
        "l2": np.prod([np.linalg.norm(w) ** 2 for w in weights]),
        "l1_path": np.abs(paths).sum() ** 2,
        "l2_path": np.square(paths).sum() * 4 * 3,
        "spectral": np.prod([np.linalg.norm(w, 2) ** 2 for w in weights]) * 4 * 3,
    }
    assert {name: pytest.approx(float(np.exp(value)), rel=1e-4) for name, value in found.items()} == expected


def test_margins_by_hand():
    outputs = jnp.array([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [5.0, 5.0, -1.0]])
    np.testing.assert_allclose(norms.margins(outputs, jnp.array([1, 2, 0])), [1, -1, 0])


def test_scaling_the_weights_does_not_change_margins_per_complexity(drawn):
    """Without biases, a ReLU network is homogeneous in each layer, and so is its spectral complexity."""
    bare = tuple(layer._replace(biases=jnp.zeros_like(layer.biases)) for layer in drawn)
    twice = (bare[0]._replace(weights=2 * bare[0].weights), *bare[1:])
    pixels, labels = jnp.asarray(np.random.default_rng(1).random((7, 5)), jnp.float32), jnp.arange(7) % 6

    def normalised(layers):
        outputs = pixels
        for layer in layers[:-1]:
            outputs = jax.nn.relu(outputs @ layer.weights)
        spectral = norms.spectral_norms(layers)
        complexity = norms.spectral_complexity(spectral, norms.unit_distances(layers))
        return norms.margins(outputs @ layers[-1].weights, labels) / complexity

    np.testing.assert_allclose(normalised(twice), normalised(bare), rtol=1e-4)


@pytest.mark.slow
def test_the_probe_along_training(mnist):
    """Before training nothing has moved; margins are those of the layers and images; the start is that of its seed."""
    settings = {"dataset.n_train": 100, "dataset.n_test": 50, "model.widths": [8], "batch_size": 50, "epochs": 4}
    recipe = make_recipe(settings | {"evaluations": 3, "labels.kind": "random", "stop_at_train_accuracy": None})
    [population] = plan([Trial(recipe, seed) for seed in (3, 5)])
    evaluations = len(population.signature.evaluation_steps)
    trained = train(population, mnist, observed=[0, evaluations - 1])
    static = population.signature.static
    starts = initial.by_seed(static, [3, 5])
    jax.tree.map(np.testing.assert_array_equal, starts, trained.snapshots[0])
    table = measure(trained, ["norms@2"])["norms_along"]
    first = table["step"] == 0
    np.testing.assert_allclose(table["distance_start"][first], 0, atol=1e-5)
    assert (table["complexity_start"][first] < 1e-3 * table["complexity"][first]).all()
    assert (table["distance_start"][~first] > 0.1).all() and np.isfinite(table["log_l1_path"]).all()
    end = measure(trained, ["norms"])["norms"]
    pixels = mnist.train_images[trained.rows[0]] / np.float32(255)
    layer, last = (jax.tree.map(lambda leaf: np.asarray(leaf[0]), each) for each in trained.layers)
    outputs = np.maximum(pixels @ layer.weights + layer.biases, 0) @ last.weights + last.biases
    found = norms.margins(jnp.asarray(outputs), jnp.asarray(trained.labels[0], jnp.int32))
    expected = np.percentile(np.asarray(found), QUANTILES)
    np.testing.assert_allclose([end[f"margin_{level}"][0] for level in QUANTILES], expected, rtol=1e-3, atol=1e-4)
    assert end["size"][0] == pytest.approx(np.linalg.norm(pixels), rel=1e-4)
