"""The probe of inputs that are no digits, and what is kept between calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.data.treatments import PixelStatistics
from memo.measures.ranking import auroc, average_precision
from memo.networks import mlp
from memo.networks.program import Images
from memo.probes import confidence, networks, out_of_distribution
from memo.probes.networks import Networks, draw
from memo.probes.out_of_distribution import FACTORS, KINDS
from tests import builders

STATISTICS = PixelStatistics((0.1307,), (0.3081,))
SEEDS = np.array([5, 3, 5])


@pytest.fixture(scope="module")
def make(mnist):
    """Return `make(activation) -> three random networks` of two seeds, on real test images."""

    def make(activation="relu"):
        static = builders.static((784, 12, 10), activation)
        layers = [mlp.initialise(jax.random.key(number), static.sizes, "he") for number in range(3)]
        images = Images(None, jnp.asarray(mnist.test_images[None, :80]), jnp.asarray(mnist.test_labels[:80]))
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
        return Networks(static, stacked, SEEDS, np.zeros(3, int), images, STATISTICS, None, None, None)

    return make


def rows_of(columns):
    return {
        (network, kind): {name: column[place] for name, column in columns.items()}
        for place, (network, kind) in enumerate(zip(columns["network"], columns["inputs"]))
    }


@pytest.mark.slow
def test_a_row_for_each_network_and_kind_as_the_probe_of_confidence_has_it(make):
    shown_to = make()
    rows, others = rows_of(out_of_distribution.measure(shown_to)), rows_of(confidence.measure(shown_to))
    assert set(rows) == {(network, kind) for network in range(3) for kind in KINDS}
    for place, row in others.items():
        for name in set(row) & set(rows[place]):
            np.testing.assert_array_equal(rows[place][name], row[name])


def test_what_is_shown(make):
    shown_to = make()
    seed, (member, *_), _, pixels = next(shown_to.by_seed())
    inputs = {kind: drawn(shown_to, seed, member, pixels) for kind, drawn in KINDS.items()}
    assert {array.dtype for array in inputs.values()} == {np.dtype(np.float32)}
    assert {array.shape for array in inputs.values()} == {pixels.shape}
    assert inputs["normal"].mean() == pytest.approx(0, abs=5 / np.sqrt(pixels.size))
    assert inputs["normal"].std() == pytest.approx(1, abs=5 / np.sqrt(2 * pixels.size))
    assert (inputs["constant"] == inputs["constant"][:, :1]).all()
    np.testing.assert_allclose(inputs["constant"][[0, -1], 0], [0, 1])
    for factor in FACTORS:
        np.testing.assert_allclose(inputs[f"uniform_x{factor}"], factor * inputs["uniform"], rtol=1e-6)
    np.testing.assert_array_equal(inputs["uniform"], draw("uniform", seed, pixels, STATISTICS))


def test_columns_are_numpys(make, mnist):
    shown_to = make()
    rows = rows_of(out_of_distribution.measure(shown_to))
    (weights, biases), (last, offset) = jax.tree.map(lambda leaf: np.asarray(leaf[0], float), shown_to.layers)

    def answers(pixels):
        values = np.maximum(np.asarray(pixels, float) @ weights + biases, 0) @ last + offset
        shares = np.exp(values - values.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True)

    test = np.asarray(shown_to.images.test[0], float) / 255
    on_test = answers(test)
    right = on_test.argmax(1) == mnist.test_labels[:80]
    sure = answers(draw("uniform", 5, test.astype(np.float32), STATISTICS) * np.float32(10)).max(1)
    row = rows[0, "uniform_x10"]
    assert row["mean_confidence"] == pytest.approx(sure.mean(), abs=1e-4)
    assert row["share_above_0.999"] == pytest.approx(np.mean(sure >= 0.999), abs=0.02)
    assert row["auroc_vs_test"] == pytest.approx(auroc(on_test.max(1), sure), abs=2e-3)
    assert row["aupr_vs_test"] == pytest.approx(average_precision(on_test.max(1), sure), abs=2e-3)
    assert row["auroc_vs_right"] == pytest.approx(auroc(on_test.max(1)[right], sure), abs=3e-3)
    assert row["n"] == row["histogram"].sum() == 80
    assert rows[0, "test"]["auroc_vs_test"] == 0.5


def test_relu_grows_sure_with_the_scale_and_tanh_does_not_have_to(make):
    for activation, sure in (("relu", True), ("tanh", False)):
        rows = rows_of(out_of_distribution.measure(make(activation)))
        confidences = [rows[0, f"uniform_x{factor}"]["mean_confidence"] for factor in (2, 10, 100)]
        assert (confidences[-1] > 0.99) == sure
        assert not sure or confidences == sorted(confidences)


def test_a_diverged_network_gives_no_number_and_disturbs_no_other(make):
    whole = make()
    lost = whole._replace(layers=jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), whole.layers))
    rows, expected = rows_of(out_of_distribution.measure(lost)), rows_of(out_of_distribution.measure(whole))
    for (network, kind), row in rows.items():
        for name in set(row) - {"network", "inputs", "n", "histogram"}:
            if network == 1:
                assert np.isnan(row[name])
            else:
                np.testing.assert_array_equal(row[name], expected[network, kind][name])


def test_other_images_are_described_likewise(make):
    shown_to = make()
    rows = rows_of(out_of_distribution.measure(shown_to))
    test, labels = np.asarray(shown_to.images.test[0], np.float32) / 255, np.asarray(shown_to.images.test_labels)
    black = np.zeros((20, 784), np.float32)
    found = out_of_distribution.of_images(shown_to.static, shown_to.layers, test, test, labels)
    assert [row["mean_confidence"] for row in found] == pytest.approx(
        [rows[network, "test"]["mean_confidence"] for network in range(3)], abs=1e-6
    )
    found = out_of_distribution.of_images(shown_to.static, shown_to.layers, black, test, labels)
    assert [row["n"] for row in found] == [20] * 3
    np.testing.assert_allclose([row["mean_confidence"] for row in found], 0.1, rtol=1e-5)  # all biases are 0


# What is kept


def test_inputs_are_drawn_once_and_bounded(make, monkeypatch):
    shown_to, calls = make(), []
    monkeypatch.setattr(networks, "_kept", networks._Kept())
    monkeypatch.setattr(networks, "draw", lambda *arguments: calls.append(arguments[:2]) or draw(*arguments))
    pixels = np.asarray(shown_to.images.test[0], np.float32) / 255
    monkeypatch.setattr(networks, "KEPT_BYTES", 2 * pixels.nbytes)

    def ask(kind, seed, of=shown_to):
        return networks.shown(of, kind, seed, 0, pixels)

    for _ in range(3):
        np.testing.assert_array_equal(ask("uniform", 5), draw("uniform", 5, pixels, STATISTICS))
    assert calls == [("uniform", 5)]
    np.testing.assert_array_equal(ask("uniform", 3), draw("uniform", 3, pixels, STATISTICS))
    ask("uniform", 5)
    assert len(calls) == 2
    ask("gaussian", 5)  # the third: seed 3, not asked for since, makes room
    ask("uniform", 5)
    assert len(calls) == 3
    ask("uniform", 3)
    assert len(calls) == 4
    # Other test images with the same shape are not the same inputs.
    other = shown_to._replace(images=shown_to.images._replace(test=255 - shown_to.images.test))
    ask("random_pixels", 3, other)
    assert calls[-1] == ("random_pixels", 3)
    before = len(calls)
    ask("random_pixels", 3)
    assert len(calls) == before + 1
    assert networks.shown(shown_to, "test", 5, 0, pixels) is pixels
