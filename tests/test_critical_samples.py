"""Critical samples and answers to training images, against closed forms and NumPy."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from memo.data.treatments import PixelStatistics
from memo.networks import mlp
from memo.networks.program import Images
from memo.probes import critical_samples, training_answers
from memo.probes.critical_samples import RADII, search
from memo.probes.networks import Networks
from tests.builders import static


def linear(count=200, pixels=30):
    """A linear network of two classes and images whose distance (largest change of a pixel) to its boundary is known."""
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(pixels).astype(np.float32)
    weights = np.stack([direction / 2, -direction / 2], axis=1)
    images = rng.random((count, pixels), np.float32)
    bias = np.float32(-np.median(images @ direction))
    layers = (mlp.Layer(jnp.asarray(weights), jnp.array([bias / 2, -bias / 2])),)
    distance = np.abs(images @ direction + bias) / np.abs(direction).sum()
    return static((pixels, 2)), layers, images, distance


@pytest.mark.parametrize("radius", [0.005, 0.02, 0.1])
def test_of_a_linear_network_an_image_is_critical_if_the_boundary_lies_in_its_box(radius):
    shape, layers, images, distance = linear()
    critical, iterations = search(shape, layers, jnp.asarray(images), jnp.float32(radius), jax.random.key(0))
    critical = np.asarray(critical)
    # Two steps along the sign reach the corner of the box, but for the noise; nothing outside the box counts.
    assert not critical[distance > radius * 1.0001].any()
    assert critical[distance < 0.6 * radius].all()
    assert 1 <= int(iterations) <= critical_samples.ITERATIONS


def test_the_search_stays_in_its_box_and_stops_where_it_finds_few():
    shape, layers, images, _ = linear()
    none, iterations = search(shape, layers, jnp.asarray(images), jnp.float32(1e-7), jax.random.key(0))
    assert not np.asarray(none).any()
    assert int(iterations) == 1
    every, _ = search(shape, layers, jnp.asarray(images), jnp.float32(10), jax.random.key(0))
    assert np.asarray(every).all()


def test_the_gradient_is_ascended():
    """One step: an image near the boundary moves across it, where the paper's printed sign would move it away."""
    shape = static((2, 2))
    layers = (mlp.Layer(jnp.array([[1.0, -1.0], [1.0, -1.0]]), jnp.zeros(2)),)
    images = jnp.full((50, 2), 0.01)
    critical, iterations = search(shape, layers, images, jnp.float32(0.1), jax.random.key(0))
    assert np.asarray(critical).mean() > 0.9
    assert int(iterations) <= 3


@pytest.fixture
def networks():
    """Three random networks of two seeds, each with a training subset of its own, of which the last reads other images."""
    sizes = (30, 12, 10)
    rng = np.random.default_rng(1)
    layers = tuple(
        mlp.Layer(*(jnp.asarray(rng.standard_normal((3, *shape), np.float32)) for shape in (ends, ends[1:])))
        for ends in pairwise(sizes)
    )
    train = rng.integers(0, 256, (2, 90, 30), dtype=np.uint8)
    test = rng.integers(0, 256, (2, 40, 30), dtype=np.uint8)
    rows = np.stack([rng.permutation(90)[:60] for _ in range(3)]).astype(np.int32)
    images = Images(jnp.asarray(train), jnp.asarray(test), jnp.zeros(40, jnp.uint8))
    labels = rng.integers(0, 10, (3, 60)).astype(np.uint8)
    seeds, sources = np.array([4, 4, 7]), np.array([0, 0, 1])
    return Networks(static(sizes), layers, seeds, sources, images, PixelStatistics((0.5,), (0.3,)), rows, labels, None)


def one(networks, place):
    own = slice(place, place + 1)
    changes = {name: getattr(networks, name)[own] for name in ("seeds", "sources", "rows", "labels")}
    return networks._replace(layers=jax.tree.map(lambda leaf: leaf[own], networks.layers), **changes)


@pytest.mark.slow
def test_a_row_for_each_network_set_and_radius_as_if_measured_alone(networks):
    found = critical_samples.measure(networks)
    assert {len(values) for values in found.values()} == {3 * 2 * len(RADII)}
    alone = critical_samples.measure(one(networks, 2))
    own = found["network"] == 2
    assert found["inputs"][own].tolist() == alone["inputs"].tolist()
    np.testing.assert_allclose(found["critical_sample_ratio"][own], alone["critical_sample_ratio"], atol=0.03)
    for kind, count in (("test", 40), ("train", 60)):
        assert set(found["n"][found["inputs"] == kind]) == {count}
    ratios = found["critical_sample_ratio"].reshape(2, 3, len(RADII))
    assert (np.diff(ratios, axis=2) >= 0).all()
    assert ratios[:, :, -1].min() > 0
    fine = critical_samples.measure_fine(networks)
    assert fine["radius"].tolist() == [*critical_samples.FINE_RADII] * 3 and set(fine["n"]) == {40}
    same = {
        key: own[(own["inputs"] == "test") & (own["radius"] == 0.3)]
        for key, own in (("few", pd.DataFrame(found)), ("fine", pd.DataFrame(fine)))
    }
    np.testing.assert_allclose(same["fine"]["critical_sample_ratio"], same["few"]["critical_sample_ratio"], atol=0.03)


@pytest.mark.slow
def test_a_lost_network_has_no_ratio_and_no_answers(networks):
    first = networks.layers[0]
    lost = networks._replace(layers=(first._replace(biases=first.biases.at[1, 0].set(jnp.nan)), *networks.layers[1:]))
    found = critical_samples.measure(lost)
    missing = np.isnan(found["critical_sample_ratio"])
    assert (missing == (found["network"] == 1)).all()
    answers = training_answers.measure(lost)["training_answers"]
    assert [set(np.frombuffer(row, np.uint8)) == {255} for row in answers] == [False, True, False]


def test_answers_to_training_images_are_numpys(networks):
    found = training_answers.measure(networks)
    assert found["network"].tolist() == [0, 1, 2]
    for place, row in enumerate(found["training_answers"]):
        pixels = np.asarray(networks.images.train, float)[networks.sources[place], networks.rows[place]] / 255
        first, last = ([np.asarray(part[place], float) for part in layer] for layer in networks.layers)
        outputs = np.maximum(pixels @ first[0] + first[1], 0) @ last[0] + last[1]
        np.testing.assert_array_equal(np.frombuffer(row, np.uint8), np.argmax(outputs, axis=1))
    watched = networks._replace(rows=np.tile(networks.rows, 20)[:, :1150])
    assert len(training_answers.measure(watched)["training_answers"][0]) == training_answers.WATCHED
