import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.data.treatments import PixelStatistics
from memo.networks import mlp
from memo.networks.mlp import BLOCK
from memo.networks.program import Images
from memo.probes import PROBES, answers, calibration, confidence, noise_samples
from memo.probes.networks import INPUTS, Networks, draw, outputs
from tests import builders

STATISTICS = PixelStatistics((0.1307,), (0.3081,))
SEEDS = np.array([5, 3, 5])


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def networks(mnist):
    """Return `networks(loss, count) -> three random networks` of two seeds, on real test images."""

    def make(loss="cross_entropy", count=60):
        static = builders.static((784, 8, 10), "tanh", "normal", loss)
        layers = [mlp.initialise(jax.random.key(number), static.sizes, "normal") for number in range(3)]
        images = Images(None, jnp.asarray(mnist.test_images[None, :count]), jnp.asarray(mnist.test_labels[:count]))
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
        return Networks(static, stacked, SEEDS, np.zeros(3, int), images, STATISTICS, None, None, None)

    return make


def numpy_outputs(networks, place, pixels):
    (weights, biases), (last, offset) = jax.tree.map(lambda leaf: np.asarray(leaf[place], float), networks.layers)
    return np.tanh(pixels @ weights + biases) @ last + offset


def pixels_of(networks):
    return np.asarray(networks.images.test[0], np.float32) / np.float32(255)


def test_auroc_is_the_share_of_pairs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        positives, negatives = rng.integers(0, 6, 17), rng.integers(0, 5, 23)
        pairs = positives[:, None] - negatives[None]
        assert confidence.auroc(positives, negatives) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    assert confidence.auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert confidence.auroc(np.array([0.5, 0.5]), np.array([0.5])) == 0.5


@pytest.mark.parametrize(("loss", "activate"), [("cross_entropy", softmax), ("squared_error", sigmoid)])
def test_confidence_rows_are_numpys(networks, loss, activate):
    shown_to = networks(loss)
    rows = confidence.measure(shown_to)
    assert len(rows["network"]) == 3 * len(INPUTS)
    assert set(zip(rows["network"], rows["inputs"])) == {(n, kind) for n in range(3) for kind in INPUTS}
    for number, (place, kind) in enumerate(zip(rows["network"], rows["inputs"])):
        row = {name: column[number] for name, column in rows.items()}
        activations = {
            shown: activate(numpy_outputs(shown_to, place, draw(shown, SEEDS[place], pixels_of(shown_to), STATISTICS)))
            for shown in ("test", kind)
        }
        sure = activations[kind].max(1)
        shares = activations[kind] / activations[kind].sum(1, keepdims=True)
        # float32 through two layers; quantiles of 60 numbers pass the rounding on.
        assert row["n"] == 60
        assert row["mean_confidence"] == pytest.approx(sure.mean(), abs=1e-5)
        assert row["entropy"] == pytest.approx(-(shares * np.log(shares)).sum(1).mean(), abs=1e-5)
        quantiles = [row[name] for name in ("q05", "q25", "q50", "q75", "q95")]
        assert quantiles == pytest.approx(np.quantile(sure, [0.05, 0.25, 0.5, 0.75, 0.95]), abs=1e-5)
        assert row["share_above_0.9"] == pytest.approx(np.mean(sure > 0.9))
        pairs = activations["test"].max(1)[:, None] - sure[None]
        # A pair closer than float32 tells apart may count as a tie: a few of 3,600.
        assert row["auroc_vs_test"] == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)), abs=2e-3)
        counts = np.bincount(activations[kind].argmax(1), minlength=10)
        assert [row[f"share_class_{k}"] for k in range(10)] == pytest.approx(counts / 60)
        assert sum(row[f"share_class_{k}"] for k in range(10)) == pytest.approx(1)
        with_none = [np.mean(sure[activations[kind].argmax(1) == k]) if counts[k] else np.nan for k in range(10)]
        found = [row[f"mean_confidence_class_{k}"] for k in range(10)]
        assert found == pytest.approx(with_none, abs=1e-5, nan_ok=True)
        assert row["share_even"] == np.mean(-(shares * np.log(shares)).sum(1) > 0.95 * np.log(10))
        assert row["share_below_0.5"] == pytest.approx(np.mean(sure < 0.5))
        assert row["mean_total_activation"] == pytest.approx(activations[kind].sum(1).mean(), abs=1e-5)
        assert row["histogram"].shape == (50,)
        assert row["histogram"].sum() == 60
        # A value on the edge of a bin may fall to either side.
        assert abs(np.cumsum(row["histogram"]) - np.cumsum(np.histogram(sure, 50, (0, 1))[0])).max() <= 1
    assert (rows["auroc_vs_test"][rows["inputs"] == "test"] == 0.5).all()


@pytest.mark.slow
def test_outputs_that_are_no_probabilities_give_answers_and_no_confidence(networks):
    shown_to = networks("linear_squared_error")
    values = np.stack([numpy_outputs(shown_to, place, pixels_of(shown_to)) for place in range(3)])
    assert values.max() > 1  # as a confidence, it would lie in no bin
    for probe in (confidence, calibration):
        rows = probe.measure(shown_to)
        for name in set(rows) - {"network", "inputs", "n", "histogram"}:
            assert np.isnan(rows[name]).all(), name
    rows = answers.measure(shown_to)
    found, sure = answers.read(rows["answers"], rows["confidences"])
    np.testing.assert_array_equal(found, values[rows["network"]].argmax(-1))
    assert np.isnan(sure).all()
    rows = noise_samples.measure(shown_to)
    on_test = (rows["inputs"] == "test") & (rows["network"] == 1)
    np.testing.assert_array_equal(rows["answer"][on_test], values[1, : noise_samples.SAMPLES].argmax(-1))
    assert np.isnan(rows["confidence"]).all()


def test_entropy_is_defined_where_every_sigmoid_underflows(networks):
    silent = networks("squared_error")
    layers = [mlp.Layer(0 * layer.weights, 0 * layer.biases - 200) for layer in silent.layers]
    silent = silent._replace(layers=tuple(layers))
    rows = confidence.measure(silent)
    np.testing.assert_array_equal(rows["mean_confidence"], 0)
    assert ((rows["entropy"] >= 0) & (rows["entropy"] <= np.log(10) + 1e-6)).all()


def test_even_activations_and_their_total(networks):
    for loss, total in (("cross_entropy", 1), ("squared_error", 5)):
        even = networks(loss)
        rows = confidence.measure(even._replace(layers=jax.tree.map(jnp.zeros_like, even.layers)))
        assert (rows["share_even"] == 1).all()
        np.testing.assert_allclose(rows["mean_total_activation"], total, rtol=1e-6)
        np.testing.assert_allclose(rows["mean_confidence_class_0"], total / 10, rtol=1e-6)  # ties go to the first
        assert np.isnan(rows["mean_confidence_class_1"]).all()
        assert (rows["share_below_0.5"] == (loss == "cross_entropy")).all()  # a sigmoid of 0 is 0.5 exactly


def test_a_diverged_network_gives_no_number_and_disturbs_no_other(networks):
    whole = networks()
    diverged = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), whole.layers)
    rows, expected = confidence.measure(whole._replace(layers=diverged)), confidence.measure(whole)
    lost = rows["network"] == 0
    assert lost.sum() == len(INPUTS)  # counted, not dropped
    for name in set(rows) - {"network", "inputs", "n", "histogram"}:
        np.testing.assert_array_equal(rows[name][~lost], expected[name][~lost])
        assert np.isnan(rows[name][lost]).all(), f"{name} of a diverged network is {rows[name][lost]}"


def test_outputs_of_many_images_are_those_of_each(networks):
    many = networks(count=2 * BLOCK + 203)
    pixels = pixels_of(many)
    found = outputs(many.static, many.layers, jnp.asarray(pixels))
    expected = np.stack([numpy_outputs(many, place, pixels.astype(float)) for place in range(3)])
    np.testing.assert_allclose(found, expected, atol=1e-3)  # float32: tanh of sums of 100 terms, then values up to 10


# Noise


@pytest.fixture(scope="module")
def pixels(mnist):
    return np.asarray(mnist.test_images[:400], np.float32) / np.float32(255)


def test_test_images_are_shown_as_they_are(pixels):
    np.testing.assert_array_equal(draw("test", 0, pixels, STATISTICS), pixels)


def test_uniform_noise(pixels):
    noise = draw("uniform", 0, pixels, STATISTICS)
    assert noise.min() >= 0
    assert noise.max() <= 1
    error = np.sqrt(1 / 12 / noise.size)
    assert noise.mean() == pytest.approx(0.5, abs=5 * error)
    assert noise.std() == pytest.approx(np.sqrt(1 / 12), abs=5 * error)


def test_gaussian_noise_is_clipped(pixels):
    noise = draw("gaussian", 0, pixels, STATISTICS)
    assert (noise.min(), noise.max()) == (0, 1)
    # Below 0 lies the mass beyond mean / sd = 0.4242 standard deviations, above 1 that beyond 2.8215.
    for share, expected in ((np.mean(noise == 0), 0.33571), (np.mean(noise == 1), 0.00239)):
        assert share == pytest.approx(expected, abs=5 * np.sqrt(expected / noise.size) + 1e-5)
    inside = noise[(noise > 0.13) & (noise < 1)]  # the upper half, from the mean up, is a half-normal
    assert np.median(inside) == pytest.approx(0.1307 + 0.6745 * 0.3081, abs=0.005)


def test_random_pixels_keep_each_images_pixels(pixels):
    noise = draw("random_pixels", 0, pixels, STATISTICS)
    np.testing.assert_array_equal(np.sort(noise, 1), np.sort(pixels, 1))
    numbered = np.tile(np.arange(784, dtype=np.float32), (50, 1))
    assert len(np.unique(draw("random_pixels", 0, numbered, STATISTICS), axis=0)) == 50


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "random_pixels"])
def test_noise_is_drawn_by_seed(pixels, kind):
    one, again, other = (draw(kind, seed, pixels, STATISTICS) for seed in (0, 0, 1))
    assert one.dtype == np.float32
    assert one.shape == pixels.shape
    np.testing.assert_array_equal(one, again)
    assert (one != other).any(axis=1).all()


def test_kinds_of_noise_are_drawn_apart(pixels, monkeypatch):
    monkeypatch.setitem(INPUTS, "uniform again", INPUTS["uniform"])
    one, other = (draw(kind, 0, pixels, STATISTICS) for kind in ("uniform", "uniform again"))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(pixels.size)


def test_twins_of_one_seed_are_shown_the_same(networks):
    shown_to = networks()
    twins = shown_to._replace(layers=jax.tree.map(lambda leaf: leaf[jnp.array([0, 0, 0])], shown_to.layers))
    for name in ("confidence", "noise_samples"):
        rows = PROBES[name](twins)
        values = rows["mean_confidence"] if name == "confidence" else rows["pixels"]
        first, other_seed, twin = (values[rows["network"] == place] for place in range(3))
        np.testing.assert_array_equal(first, twin)
        noise = rows["inputs"][rows["network"] == 0] != "test"
        assert (first != other_seed)[noise].all()
        np.testing.assert_array_equal(first[~noise], other_seed[~noise])


def test_noise_samples_are_what_was_shown_and_answered(networks):
    shown_to = networks()
    rows = noise_samples.measure(shown_to)
    assert len(rows["network"]) == 3 * len(INPUTS) * noise_samples.SAMPLES
    for network, kind, sample, answer, sure, stored in zip(*rows.values()):
        shown = draw(kind, SEEDS[network], pixels_of(shown_to), STATISTICS)[sample]
        np.testing.assert_allclose(np.frombuffer(stored, np.uint8) / 255, shown, atol=0.5 / 255 + 1e-6)
        shares = softmax(numpy_outputs(shown_to, network, shown[None]))[0]
        assert (answer, sure) == (shares.argmax(), pytest.approx(shares.max(), abs=1e-5))
