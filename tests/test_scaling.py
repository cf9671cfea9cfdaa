"""How pixels are scaled: the numbers, what a network reads while it trains, is evaluated and measured, and colour images."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import memo
from memo.commands.evidence import Evidence
from memo.config import Config, Experiment
from memo.data import datasets
from memo.data.datasets import Dataset
from memo.data.entry import Entry, Shape
from memo.data.treatments import INPUTS
from memo.networks import scaling
from memo.networks.program import as_seen
from memo.networks.status import COMPLETED
from memo.probes.networks import draw
from tests import builders

COLOURS = Shape(train_images=200, test_images=90, side=6, channels=3, classes=4)
SETTINGS = {"batch_size": 20, "model.widths": [12], "epochs": 4, "evaluations": 4, "optimizer.learning_rate": 0.02}


@pytest.fixture(scope="module")
def colours():
    """A data set of colour images that is registered while this module runs."""
    rng = np.random.default_rng(0)
    counts = (COLOURS.train_images, COLOURS.test_images)
    images = [
        (rng.normal(90, 40, (n, COLOURS.pixels)).clip(0, 255) * rng.random((n, 1))).astype(np.uint8) for n in counts
    ]
    labels = [rng.integers(0, COLOURS.classes, n, np.uint8) for n in counts]
    data = Dataset("colours", images[0], labels[0], images[1], labels[1], {}, COLOURS.channels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(datasets.REGISTRY, "colours", Entry({}, (), COLOURS))
        yield data


def standardised(images):
    """Return bytes [n, pixels] as TensorFlow's per_image_standardization has them, in float64."""
    pixels = np.asarray(images, float) / 255
    floor = 1 / np.sqrt(pixels.shape[-1])
    return (pixels - pixels.mean(-1, keepdims=True)) / np.maximum(pixels.std(-1, keepdims=True), floor)


def whole_set(images, data):
    every = data.train_images / 255
    return (np.asarray(images, float) / 255 - every.mean()) / every.std()


EXPECTED = {
    "unit": lambda images, data: np.asarray(images, float) / 255,
    "per_image": lambda images, data: standardised(images),
    "global": whole_set,
}


def trained(data, kind, **settings):
    recipe = memo.make_recipe(SETTINGS | {"dataset.name": "colours", "inputs.scaling": kind} | settings)
    [population] = memo.plan([memo.Trial(recipe, seed) for seed in range(2)])
    return memo.train(population, data)


def forward(layers, place, pixels):
    (weights, biases), (last, offset) = ([np.asarray(leaf[place], float) for leaf in layer] for layer in layers)
    return np.maximum(pixels @ weights + biases, 0) @ last + offset


def log_softmax(values):
    return values - np.log(np.exp(values).sum(-1, keepdims=True))


def test_an_even_image_is_divided_by_the_floor():
    numbers = np.asarray(scaling.numbers("per_image", jnp.full((1, 16), 0.5), (0.0, 1.0)))
    np.testing.assert_allclose(numbers, [[0.5, 4]], rtol=1e-6)  # 1 / (1 / sqrt(16))
    np.testing.assert_array_equal(scaling.scaled(jnp.full((1, 16), 0.5), numbers), np.zeros((1, 16)))


@pytest.mark.parametrize("kind", EXPECTED)
def test_any_images_are_read_as_they_are_scaled(colours, kind):
    mean_and_sd = (float(colours.train_images.mean() / 255), float(colours.train_images.std() / 255))
    static = builders.static((COLOURS.pixels, 4), scaling=kind, overall=mean_and_sd)
    read = as_seen(static, jnp.asarray(colours.test_images, jnp.float32) / 255)
    np.testing.assert_allclose(read, EXPECTED[kind](colours.test_images, colours), atol=2e-5)


def test_a_measurement_that_knows_no_statistics_is_refused():
    with pytest.raises(ValueError, match="per_image"):
        as_seen(builders.static((4, 2), scaling="per_image"), jnp.zeros((1, 4)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPECTED)
def test_losses_are_those_of_scaled_images(colours, kind):
    found = trained(colours, kind)
    assert found.images.train.dtype == np.uint8  # memory stays that of bytes
    own = found.images.train_scaling
    assert own is None if kind == "unit" else own.shape == (1, COLOURS.train_images, 2)
    for place in range(2):
        sets = (
            (colours.train_images[found.rows[place]], found.labels[place], found.final.train_loss),
            (colours.test_images, colours.test_labels, found.final.test_loss),
        )
        for images, labels, losses in sets:
            values = log_softmax(forward(found.layers, place, EXPECTED[kind](images, colours)))
            assert losses[place] == pytest.approx(-values[np.arange(len(labels)), labels].mean(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["per_image", "global"])
def test_steps_are_those_on_images_that_were_scaled_before(colours, kind, monkeypatch):
    def before(generator, train, test, statistics):
        return tuple(EXPECTED[kind](images, colours).astype(np.float32) for images in (train, test))

    monkeypatch.setitem(INPUTS, "scaled_before", before)
    one, other = trained(colours, kind), trained(colours, "unit", **{"inputs.kind": "scaled_before"})
    np.testing.assert_allclose(one.curves.train_loss, other.curves.train_loss, rtol=1e-4)
    for layer, expected in zip(one.layers, other.layers):
        np.testing.assert_allclose(layer.weights, expected.weights, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("treatment", ["gaussian", "random_pixels", "shuffled_pixels"])
def test_treated_images_are_scaled_as_well(colours, treatment):
    found = trained(colours, "per_image", **{"inputs.kind": treatment})
    assert found.images.train_scaling.shape == (*found.images.train.shape[:2], 2)
    for place in range(2):
        images = np.asarray(found.images.test[found.sources[place]], float)
        pixels = standardised(images * (255 if treatment == "gaussian" else 1))
        values = log_softmax(forward(found.layers, place, pixels))
        expected = -values[np.arange(len(images)), colours.test_labels].mean()
        assert found.final.test_loss[place] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["per_image", "global"])
def test_probes_show_images_as_they_are_scaled(colours, kind):
    found = trained(colours, kind)
    names = [
        "confidence",
        "answers",
        "calibration",
        "training_answers",
        "gradients",
        "noise_samples",
        "critical_samples",
    ]
    tables = memo.measure(found, [*names, "sharpness", "drawings", "out_of_distribution"])
    pixels = colours.test_images.astype(np.float32) / 255
    for place, trial in enumerate(found.trials):
        for inputs in ("test", "uniform", "random_pixels"):
            shown = draw(inputs, trial.seed, pixels, found.statistics)
            values = np.exp(log_softmax(forward(found.layers, place, EXPECTED[kind](255.0 * shown, colours))))
            rows = tables["confidence"]
            (row,) = np.flatnonzero((rows["network"] == place) & (rows["inputs"] == inputs))
            assert rows["mean_confidence"][row] == pytest.approx(values.max(-1).mean(), rel=1e-4)
        images = EXPECTED[kind](colours.train_images[found.rows[place]], colours)
        values = forward(found.layers, place, images)
        answers = np.frombuffer(tables["training_answers"]["training_answers"][place], np.uint8)
        np.testing.assert_array_equal(answers, values.argmax(-1))
        loss = -log_softmax(values)[np.arange(len(images)), found.labels[place]].mean()
        costs = tables["gradients"]["cost"][tables["gradients"]["network"] == place]
        assert np.nanmax(costs) == pytest.approx(loss, rel=1e-4)
        # The gradient in the biases of the last layer is the mean error of the outputs: a part of all of it.
        error = np.exp(log_softmax(values)) - np.eye(COLOURS.classes)[found.labels[place]]
        assert tables["sharpness"]["gradient_norm"][place] > np.linalg.norm(error.mean(0))
    drawn = tables["drawings"]
    for row in range(0, len(drawn["network"]), 3):
        image = np.frombuffer(drawn["pixels"][row], np.uint8)
        values = np.exp(log_softmax(forward(found.layers, drawn["network"][row], EXPECTED[kind](image[None], colours))))
        assert drawn["confidence"][row] == pytest.approx(values[0, drawn["digit"][row]], rel=1e-3)
    assert {len(row) for row in tables["noise_samples"]["pixels"]} == {COLOURS.pixels}


def test_names_of_cifar10_runs_say_how_images_are_read():
    from memo.config import describe

    recipe = memo.make_recipe({"dataset.name": "cifar10", "dataset.crop": 28, "inputs.scaling": "per_image"})
    assert describe(recipe) == "cifar10-28crop-64x64-true-per_image"


@pytest.mark.parametrize("kind", EXPECTED)
def test_what_an_analysis_shows_to_networks_is_scaled_as_their_images_were(tmp_path, monkeypatch, colours, kind):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: colours)
    recipe = memo.make_recipe(SETTINGS | {"dataset.name": "colours", "inputs.scaling": kind})
    config = Config(**vars(recipe), experiment=Experiment("one", arms={"only": {}}))
    trial = memo.Trial(recipe, config.seed)
    arms = pd.DataFrame({"trial": [trial.id], "arm": ["only"]})
    trials = pd.DataFrame({"trial": [trial.id], "seed": [trial.seed], "status": [COMPLETED]})
    own = Evidence(memo.Tables(trials=trials, arms=arms), config, tmp_path)
    for static in (own.static("only"), own.static_of(trial.id)):
        seen = as_seen(static, jnp.asarray(colours.test_images, jnp.float32) / 255)
        np.testing.assert_allclose(seen, EXPECTED[kind](colours.test_images, colours), rtol=1e-5, atol=1e-5)
