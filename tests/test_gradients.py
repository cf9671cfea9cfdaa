from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.data.randomness import generator
from memo.networks import mlp
from memo.networks.optimizers import Hyperparameters
from memo.networks.program import Images
from memo.probes import gradients
from memo.probes.networks import Networks
from tests import builders

SEEDS = np.array([5, 3, 5])
IMAGES, TRAINED_ON, STEP = 900, 620, 7
RATE = 0.5


def static_of(sizes=(36, 6, 5, 4), loss="cross_entropy", receptive_field=None):
    own = {"schedule": "exponential", "decay": 0.9, "batch_size": 50, "steps_per_epoch": 5, "steps": 20}
    return builders.static(sizes, "tanh", "glorot", loss, receptive_field=receptive_field, **own)


@pytest.fixture(scope="module")
def networks():
    """Return `networks(static) -> three random networks`: the first and the last share images, not labels."""

    def make(static=None, step=STEP):
        static, rng = static or static_of(), np.random.default_rng(1)
        pixels = rng.integers(0, 256, (1, IMAGES, static.sizes[0]), np.uint8)
        pairs = list(zip(static.sizes, static.sizes[1:]))
        shapes = [mlp.Layer((3, inputs, outputs), (3, outputs)) for inputs, outputs in pairs]
        layers = [mlp.Layer(*(rng.normal(0, 0.4, shape).astype(np.float32) for shape in layer)) for layer in shapes]
        if static.receptive_field:
            seen = mlp.patches(static.sizes, static.receptive_field)
            layers[0] = layers[0]._replace(weights=layers[0].weights * seen)
        stacked = jax.tree.map(jnp.asarray, tuple(layers))
        of_seed = {seed: rng.permutation(IMAGES)[:TRAINED_ON].astype(np.int32) for seed in (3, 5)}
        rows = np.stack([of_seed[seed] for seed in SEEDS])
        labels = rng.integers(0, static.sizes[-1], rows.shape).astype(np.uint8)
        rates = Hyperparameters(*np.tile(np.float32([[RATE], [0.9], [0]]), 3))
        images = Images(jnp.asarray(pixels), None, None)
        return Networks(static, stacked, SEEDS, np.zeros(3, int), images, None, rows, labels, rates, step)

    return make


# The network again, in float64 NumPy, with its parameters as one row


def flat(networks, place):
    leaves = [np.asarray(leaf[place], float).ravel() for leaf in jax.tree.leaves(networks.layers)]
    return np.concatenate(leaves)


def cost(networks, place, parameters, taken=slice(None)):
    static, start = networks.static, 0
    values = np.asarray(networks.images.train[0])[networks.rows[place][taken]] / 255
    labels = networks.labels[place][taken]
    for depth, (inputs, outputs) in enumerate(zip(static.sizes, static.sizes[1:])):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        values = np.tanh(values) if depth else values
        values = values @ parameters[start:middle].reshape(inputs, outputs) + parameters[middle:end]
        start = end
    if static.loss == "squared_error":
        return np.sum((1 / (1 + np.exp(-values)) - np.eye(values.shape[1])[labels]) ** 2, 1).mean() / 2
    return np.mean(np.log(np.exp(values).sum(1)) - values[np.arange(len(labels)), labels])


def numerical_gradient(networks, place, taken=slice(None)):
    parameters, step = flat(networks, place), 1e-5
    moves = step * np.eye(parameters.size)
    return np.array(
        [
            (cost(networks, place, parameters + move, taken) - cost(networks, place, parameters - move, taken))
            / (2 * step)
            for move in moves
        ]
    )


def only(networks, place):
    """Return one of the networks, as a population."""
    mine = slice(place, place + 1)
    return networks._replace(
        layers=jax.tree.map(itemgetter(mine), networks.layers),
        hyper=jax.tree.map(itemgetter(mine), networks.hyper),
        **{name: getattr(networks, name)[mine] for name in ("seeds", "sources", "rows", "labels")},
    )


def row_of(rows, network, layer=0):
    (place,) = np.flatnonzero((rows["network"] == network) & (rows["layer"] == layer))
    return {name: column[place] for name, column in rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_components_are_those_of_finite_differences(networks, loss):
    of = networks(static_of(loss=loss))
    # A loss more is a program more to compile: of one network, for the second.
    of = of if loss == "cross_entropy" else only(of, 0)
    rows, count = gradients.measure(of), len(of.seeds)
    assert rows["network"].tolist() == np.repeat(range(count), 4).tolist()
    assert rows["layer"].tolist() == count * [0, 1, 2, 3]
    ends = np.cumsum([0, 37 * 6, 7 * 5, 6 * 4])
    for place in range(count):
        whole = numerical_gradient(of, place)
        for layer in range(4):
            part = whole if layer == 0 else whole[ends[layer - 1] : ends[layer]]
            sizes = np.sort(np.abs(part))
            row = row_of(rows, place, layer)
            assert row["norm"] == pytest.approx(np.sqrt((part**2).sum()), rel=1e-5)
            assert row["largest"] == pytest.approx(sizes[-1], rel=1e-5)
            quantiles = [row[name] for name in ("q10", "q50", "q90", "q99")]
            assert quantiles == pytest.approx(np.quantile(sizes, [0.1, 0.5, 0.9, 0.99]), rel=1e-4, abs=1e-7)
            for percent in (1, 10):
                top = sizes[-max(1, round(len(sizes) * percent / 100)) :]
                assert row[f"share_top_{percent}"] == pytest.approx((top**2).sum() / (sizes**2).sum(), rel=1e-5)
            assert np.isnan(row["cost"]) == (layer > 0)
        assert row_of(rows, place)["cost"] == pytest.approx(cost(of, place, flat(of, place)), rel=1e-6)


def fall(of, place, move):
    """Return how much the cost falls when all parameters move so."""
    parameters = flat(of, place)
    return cost(of, place, parameters) - cost(of, place, parameters + move)


def fall_of(of, place, gradient, kept):
    """Return how much it falls in one step of the learning rate along these components of the gradient."""
    move = np.zeros_like(gradient)
    move[kept] = -RATE * gradient[kept]
    return fall(of, place, move)


@pytest.mark.slow
def test_slopes_are_those_of_float64(networks):
    of = networks()
    rows = gradients.measure(of)
    for place, seed in enumerate(SEEDS):
        row, parameters = row_of(rows, place), flat(of, place)
        length = 1e-4 * np.sqrt((parameters**2).sum())
        assert row["slope_length"] == pytest.approx(length, rel=1e-6)
        directions = generator(seed, "directions", "random_directions").standard_normal(
            (100, parameters.size), np.float32
        )
        directions = np.concatenate([-numerical_gradient(of, place)[None], directions])
        units = directions / np.sqrt((directions**2).sum(1, keepdims=True))
        down, *random = (fall(of, place, length * unit) / length for unit in units)
        # float32 parameters and losses; of a slope of about 0.01 in a random direction.
        assert row["slope_gradient"] == pytest.approx(down, abs=2e-4)
        assert row["slope_random_mean"] == pytest.approx(np.mean(random), abs=2e-4)
        assert row["slope_random_sd"] == pytest.approx(np.std(random, ddof=1), abs=2e-4)
        assert row["slope_random_best"] == pytest.approx(max(random), abs=2e-4)
        assert row["rank"] == np.mean(np.array(random) > down) == 0
        # No curvature to speak of over so short a step: the slope is the norm, and no direction has a steeper one.
        assert row["slope_gradient"] == pytest.approx(row["norm"], rel=0.01)
        # A random unit direction has one component in so many of the gradient.
        assert row["slope_random_sd"] == pytest.approx(row["norm"] / np.sqrt(parameters.size), rel=0.3)


@pytest.mark.slow
def test_steps_move_the_components_that_they_name(networks):
    of = networks()
    rows = gradients.measure(of)
    for place, seed in enumerate(SEEDS):
        row, gradient = row_of(rows, place), numerical_gradient(of, place)
        assert row["decrease_full"] == pytest.approx(fall_of(of, place, gradient, slice(None)), rel=1e-4)
        for percent in (1, 10):
            count = round(gradient.size * percent / 100)
            top = fall_of(of, place, gradient, np.argsort(-np.abs(gradient))[:count])
            assert row[f"decrease_top_{percent}"] == pytest.approx(top, rel=1e-4)
            draws = generator(seed, "directions", "random_components", percent)
            drawn = [draws.choice(gradient.size, count, replace=False) for _ in range(20)]
            expected = np.mean([fall_of(of, place, gradient, kept) for kept in drawn])
            assert row[f"decrease_random_{percent}"] == pytest.approx(expected, rel=1e-3, abs=1e-7)


@pytest.mark.slow
def test_minibatches_are_of_the_recipes_size(networks):
    of = networks()
    rows, draws = gradients.measure(of), generator(SEEDS[1], "directions", "minibatches")
    minibatches = [draws.choice(TRAINED_ON, 50, replace=False) for _ in range(20)]
    norms = [np.sqrt((numerical_gradient(of, 1, taken) ** 2).sum()) for taken in minibatches]
    row = row_of(rows, 1)
    assert row["minibatch_norm"] == pytest.approx(np.mean(norms), rel=1e-4)
    # Step 7 lies in the second epoch of 5 steps: one decay.
    assert row["step_length"] == pytest.approx(RATE * 0.9 * np.mean(norms), rel=1e-4)
    assert np.isnan(row_of(gradients.measure(networks(step=None)), 1)["step_length"])


@pytest.mark.slow
def test_a_linear_softmax_has_the_textbook_gradient(networks):
    of = only(networks(static_of(sizes=(36, 4))), 0)
    rows = gradients.measure(of)
    pixels = np.asarray(of.images.train[0])[of.rows[0]] / 255
    weights, biases = (np.asarray(leaf[0], float) for leaf in of.layers[0])
    powers = np.exp(pixels @ weights + biases)
    error = powers / powers.sum(1, keepdims=True) - np.eye(4)[of.labels[0]]
    norm = np.sqrt(((pixels.T @ error / TRAINED_ON) ** 2).sum() + (error.mean(0) ** 2).sum())
    assert row_of(rows, 0)["norm"] == pytest.approx(norm, rel=1e-5)
    assert row_of(rows, 0, 1)["norm"] == pytest.approx(norm, rel=1e-5)
    assert (rows["layer"] <= 1).all()


@pytest.mark.slow
def test_only_the_first_images_of_the_subset_count(networks, monkeypatch):
    monkeypatch.setattr(gradients, "SAMPLE", 100)
    of = only(networks(), 0)
    first = of._replace(rows=of.rows[:, :100], labels=of.labels[:, :100])
    rows, expected = gradients.measure(of), gradients.measure(first)
    for name in set(rows) - {"minibatch_norm", "step_length"}:  # minibatches are of the whole subset
        np.testing.assert_array_equal(rows[name], expected[name])


@pytest.mark.slow
def test_together_is_one_at_a_time(networks, monkeypatch):
    of = networks()
    together = gradients.measure(of)
    # Alone also in chunks: 64 moves at a time, which do not divide the 100 directions and are drawn the same.
    monkeypatch.setattr(gradients, "HELD", 64 * 500 * 6)
    for place in range(3):
        alone = gradients.measure(only(of, place))
        mine = together["network"] == place
        for name in set(together) - {"network"}:
            np.testing.assert_allclose(alone[name], together[name][mine], rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_weights_outside_of_a_receptive_field_do_not_count(networks):
    of = only(networks(static_of(receptive_field=3)), 0)
    rows = gradients.measure(of)
    seen = np.ones(mlp.count_parameters(of.static.sizes), bool)
    seen[: 36 * 6] = mlp.patches(of.static.sizes, 3).ravel() > 0
    part = np.abs(numerical_gradient(of, 0)[seen])
    row = row_of(rows, 0)
    assert len(part) == mlp.count_parameters(of.static.sizes, 3)
    assert row["norm"] == pytest.approx(np.sqrt((part**2).sum()), rel=1e-5)
    assert row["q50"] == pytest.approx(np.median(part), rel=1e-4)
    assert row["slope_gradient"] == pytest.approx(row["norm"], rel=0.02)
    assert row["slope_random_sd"] == pytest.approx(row["norm"] / np.sqrt(len(part)), rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_network_gives_no_number_and_disturbs_no_other(networks, value):
    whole = networks()
    diverged = jax.tree.map(lambda leaf: leaf.at[0].set(value), whole.layers)
    rows, expected = gradients.measure(whole._replace(layers=diverged)), gradients.measure(whole)
    lost = rows["network"] == 0
    assert lost.sum() == 4  # counted, not dropped
    for name in set(rows) - {"network", "layer"}:
        np.testing.assert_array_equal(rows[name][~lost], expected[name][~lost])
        assert np.isnan(rows[name][lost]).all(), f"{name} of a diverged network is {rows[name][lost]}"


@pytest.mark.slow
def test_a_network_without_a_gradient_has_no_share_of_it(networks):
    of = only(networks(static_of(loss="squared_error")), 0)
    # Every sigmoid underflows, and its slope with it.
    silent = [mlp.Layer(0.1 * layer.weights, 0 * layer.biases - 200) for layer in of.layers]
    row = row_of(gradients.measure(of._replace(layers=tuple(silent))), 0)
    assert row["norm"] == row["slope_gradient"] == row["decrease_full"] == row["rank"] == 0
    assert np.isnan(row["share_top_1"])
    assert row["cost"] == pytest.approx(0.5)
