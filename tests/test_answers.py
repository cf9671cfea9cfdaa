from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import memo
from memo.data import datasets
from memo.data.treatments import PixelStatistics
from memo.networks import mlp
from memo.networks.mlp import BLOCK
from memo.networks.program import Images
from memo.probes import answers, weights
from memo.probes.networks import Networks, finite
from memo.storage import sweep
from memo.storage.tables import as_frame, as_table
from memo.training import inputs
from tests import builders

SIZES = (784, 8, 6, 10)
SEEDS = np.array([5, 3, 5, 4])


@pytest.fixture(scope="module")
def networks(mnist):
    """Return `networks(loss, seeds) -> four random networks` on more real test images than a block holds."""

    def make(loss="cross_entropy", seeds=SEEDS):
        static = builders.static(SIZES, "tanh", "normal", loss)
        rng = np.random.default_rng(0)
        count = BLOCK + 70
        images = Images(None, jnp.asarray(mnist.test_images[None, :count]), jnp.asarray(mnist.test_labels[:count]))
        layers = tuple(
            mlp.Layer(*(jnp.asarray(rng.standard_normal((4, *shape), np.float32)) for shape in (ends, ends[1:])))
            for ends in pairwise(SIZES)
        )
        sources = np.zeros(4, int)
        return Networks(static, layers, seeds, sources, images, PixelStatistics((0.1307,), (0.3081,)), None, None, None)

    return make


def numpy_outputs(networks, place):
    values = np.asarray(networks.images.test[0], float) / 255
    for depth, layer in enumerate(networks.layers):
        values = (np.tanh(values) if depth else values) @ np.asarray(layer.weights[place], float)
        values += np.asarray(layer.biases[place], float)
    return values


def lost(networks, place, layer):
    """The same networks, one of them with a weight (or bias) that is not finite."""
    layers = list(networks.layers)
    layers[layer] = layers[layer]._replace(biases=layers[layer].biases.at[place, 0].set(jnp.inf))
    return networks._replace(layers=tuple(layers))


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_answers_are_numpys(networks, loss):
    shown_to = networks(loss)
    rows = answers.measure(shown_to)
    assert sorted(rows["network"]) == [0, 1, 2, 3]
    found, sure = answers.read(rows["answers"], rows["confidences"])
    assert (found.dtype, sure.dtype) == (np.uint8, np.float32)
    for place, answered, confidences in zip(rows["network"], found, sure):
        outputs = numpy_outputs(shown_to, place)
        ordered = np.sort(outputs, axis=1)
        clear = ordered[:, -1] - ordered[:, -2] > 1e-4  # closer ones are told apart by rounding
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(answered[clear], outputs.argmax(1)[clear])
        with np.errstate(over="ignore"):
            sigmoid = 1 / (1 + np.exp(-outputs))
        softmax = np.exp(outputs - ordered[:, -1:])
        softmax /= softmax.sum(1, keepdims=True)
        expected = {"cross_entropy": softmax, "squared_error": sigmoid}[loss].max(1)
        np.testing.assert_allclose(confidences, expected, atol=2.6e-4)  # half of float16's last place below 1, 2^-12


def test_the_answer_is_the_largest_output_where_sigmoids_are_all_1(networks):
    saturated = networks("squared_error")
    last = saturated.layers[-1]
    biases = jnp.broadcast_to(100 + jnp.arange(10.0), last.biases.shape)
    layers = (*saturated.layers[:-1], mlp.Layer(jnp.zeros_like(last.weights), biases))
    rows = answers.measure(saturated._replace(layers=layers))
    found, sure = answers.read(rows["answers"], rows["confidences"])
    assert (found == 9).all()
    assert (sure == 1).all()


def test_a_network_beside_others_answers_as_alone(networks):
    beside, alone = (answers.measure(networks(seeds=seeds)) for seeds in (SEEDS, np.arange(4)))
    (found, sure), (expected, as_sure) = (
        answers.read(rows["answers"][order], rows["confidences"][order])
        for rows in (beside, alone)
        for order in [np.argsort(rows["network"])]
    )
    assert np.mean(found != expected) < 0.01  # ties but for rounding
    np.testing.assert_allclose(sure, as_sure, atol=1e-3)


@pytest.mark.parametrize("layer", range(3))
def test_a_diverged_network_has_no_answers_and_disturbs_no_other(networks, layer):
    whole = networks("squared_error")
    rows, expected = answers.measure(lost(whole, 2, layer)), answers.measure(whole)
    found, sure = answers.read(rows["answers"], rows["confidences"])
    gone = rows["network"] == 2
    assert (found[gone] == answers.NO_ANSWER).all()
    assert np.isnan(sure[gone]).all()
    for name in ("answers", "confidences"):
        assert (rows[name][~gone] == expected[name][~gone]).all()


def test_finite_networks_are_told_apart(networks):
    whole = networks()
    assert finite(whole.layers).tolist() == [True] * 4
    for place in range(4):
        for layer in range(3):
            assert finite(lost(whole, place, layer).layers).tolist() == [other != place for other in range(4)]


def test_rows_of_different_images_are_refused(networks):
    rows = answers.measure(networks())
    with pytest.raises(ValueError, match="same images"):
        answers.read(rows["answers"], [row[:-2] for row in rows["confidences"]])


def test_stored_weights_are_the_networks_again(networks):
    whole = lost(networks(), 1, 2)  # a diverged network is stored as it is
    rows = weights.measure(whole)
    assert rows["network"].tolist() == [0, 1, 2, 3]
    assert {len(row) for row in rows["weights"]} == {4 * mlp.count_parameters(SIZES)}
    back = weights.layers(rows["weights"], SIZES)
    jax.tree.map(np.testing.assert_array_equal, back, whole.layers)
    assert {leaf.dtype for leaf in jax.tree.leaves(back)} == {np.dtype(np.float32)}
    first, second = whole.layers[0]
    in_order = np.frombuffer(rows["weights"][3], "<f4")
    np.testing.assert_array_equal(in_order[:6272].reshape(784, 8), first[3])
    np.testing.assert_array_equal(in_order[6272:6280], second[3])


def test_weights_of_other_sizes_are_refused(networks):
    rows = weights.measure(networks())["weights"]
    with pytest.raises(ValueError, match="784-8-10 has 6370 parameters"):
        weights.layers(rows, (784, 8, 10))
    assert weights.layers([], SIZES)[0].weights.shape == (0, 784, 8)


@pytest.mark.parametrize("probe", [answers, weights])
def test_bytes_pass_through_a_table(networks, probe):
    rows = probe.measure(networks())
    back = as_table(as_frame(rows)).to_pandas()
    for name in rows:
        assert (back[name].to_numpy() == rows[name]).all()


@pytest.mark.slow
def test_stored_answers_are_right_as_often_as_the_trial(trials, small_mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    sweep.complete({tmp_path / "run": trials({"seeds": 2})}, ["answers", "answers@2", "weights", "first_layer"])
    tables = memo.load(tmp_path)
    assert len(tables.first_layer) == 2 * 8
    assert len(tables.weights) == 2
    labels = small_mnist.test_labels[inputs.test_rows(500, 300)]
    for rows, curve in (
        (tables.answers, tables.trials.rename(columns={"final_test_accuracy": "test_accuracy"})),
        (tables.answers_along, tables.curves),
    ):
        found, _ = answers.read(rows["answers"], rows["confidences"])
        keys = ["trial", "step"] if "step" in rows else ["trial"]
        both = rows.assign(right=(found == labels).mean(axis=1)).merge(curve, on=keys, validate="1:1")
        assert len(both) == len(rows)
        # An answer that is a tie but for rounding: evaluation and probe take their products in other shapes.
        np.testing.assert_allclose(both["right"], both["test_accuracy"], atol=1.01 / 300)
