import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.data.treatments import PixelStatistics
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.program import Images
from memo.probes import PROBES, drawings
from memo.probes.networks import Networks, draw
from tests import builders

STATISTICS = PixelStatistics((0.1307,), (0.3081,))
SEEDS = np.array([5, 3, 5])
COLUMNS = "network digit start confidence answer iterations pixels distance nearest self_distance".split()


def static(loss, sizes=(784, 8, 10), activation="sigmoid"):
    return builders.static(sizes, activation, "normal", loss)


@pytest.fixture(scope="module")
def networks(mnist):
    """Return `networks(loss) -> three random networks` of two seeds, trained on 100 of 300 real images."""

    def make(loss="squared_error", seeds=SEEDS, sizes=(784, 8, 10)):
        layers = [mlp.initialise(jax.random.key(number), sizes, "normal") for number in range(3)]
        images = Images(jnp.asarray(mnist.train_images[None, :300]), None, None)
        rows = np.stack([np.random.default_rng(seed).permutation(300)[:100] for seed in seeds]).astype(np.int32)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
        return Networks(static(loss), stacked, seeds, np.zeros(3, int), images, STATISTICS, rows, None, None)

    return make


def pixels_of(rows):
    return np.stack([np.frombuffer(image, np.uint8) for image in rows["pixels"]])


def one_of(networks, place):
    return jax.tree.map(lambda leaf: leaf[place], networks.layers)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_rows_say_what_is_in_their_pixels(networks, loss):
    shown_to = networks(loss)
    rows = PROBES["drawings"](shown_to)
    assert list(rows) == COLUMNS
    assert {len(column) for column in rows.values()} == {3 * 2 * 10}
    assert set(zip(rows["network"], rows["digit"], rows["start"])) == {
        (network, digit, start) for network in range(3) for digit in range(10) for start in ("blank", "noise")
    }
    pixels = pixels_of(rows)
    assert pixels.shape == (60, 784)
    train = np.asarray(shown_to.images.train[0], float)
    for number, network in enumerate(rows["network"]):
        shown = jnp.asarray(pixels[number, None] / np.float32(255))
        outputs = mlp.apply(one_of(shown_to, network), shown, "sigmoid")
        activations = np.asarray(LOSSES[loss].activate(outputs))[0]
        assert rows["answer"][number] == activations.argmax()
        # Float32 sums of 784 pixels, in another order.
        assert rows["confidence"][number] == pytest.approx(activations[rows["digit"][number]], abs=1e-4)
        distances = np.sqrt(((train - pixels[number]) ** 2).sum(1)) / 255
        assert rows["nearest"][number] == distances.argmin()
        assert rows["distance"][number] == pytest.approx(distances.min(), rel=1e-5)
        assert rows["self_distance"][number] == pytest.approx(distances[shown_to.rows[network]].min(), rel=1e-5)
    assert (rows["self_distance"] >= rows["distance"]).all()
    assert (rows["self_distance"] > rows["distance"]).any()


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_linear_network_draws_what_its_weights_say(loss):
    # One class against another: every pixel goes where its weight raises the digit, and stays there.
    rng = np.random.default_rng(0)
    weights = rng.choice([-1, 1], (30, 2)) * rng.uniform(0.1, 1, (30, 2))
    weights[:, 1] = -weights[:, 0]  # so that raising one output lowers the other
    layers = (mlp.Layer(jnp.asarray(weights, jnp.float32), jnp.zeros(2)),)
    digits = jnp.array([0, 1, 0, 1], jnp.int32)
    shown = jnp.asarray(np.concatenate([np.zeros((2, 30)), rng.random((2, 30))]), jnp.float32)
    pixels, _ = drawings.ascend(static(loss, (30, 2)), layers, shown, digits)
    np.testing.assert_array_equal(pixels, weights.T[np.asarray(digits)] > 0)


@pytest.mark.slow
def test_the_iteration_told_is_the_first_that_passes(monkeypatch):
    # Outputs 4 x and -4 x for x the sum of ten pixels that rise together.
    layers = (mlp.Layer(jnp.concatenate([jnp.full((10, 1), 4.0), jnp.full((10, 1), -4.0)], 1), jnp.zeros(2)),)
    for start, step in ((0.0, 0.01), (0.0, 0.0013), (0.0, 0.001), (1.0, 0.01)):
        monkeypatch.setattr(drawings, "STEP", step)
        shown = jnp.full((2, 10), start)
        pixels, first = drawings.ascend(static("squared_error", (10, 2)), layers, shown, jnp.array([0, 1], jnp.int32))
        # sigmoid(40 x) passes 0.99 where 40 x is above log 99; steps fall from `step` to 0.
        levels = start + np.concatenate([[0], np.cumsum(step * (1 - np.arange(200) / 200))])
        sure = 40 * levels > np.log(99)
        expected = int(sure.argmax()) if sure.any() else -1
        assert first.tolist() == [expected, -1]
        assert ((pixels >= 0) & (pixels <= 1)).all()


@pytest.mark.parametrize(("loss", "activate"), [("cross_entropy", jax.nn.softmax), ("squared_error", jax.nn.sigmoid)])
def test_objectives_are_those_of_the_docstring(loss, activate):
    outputs = np.random.default_rng(0).normal(0, 3, (6, 10))
    digits = np.array([0, 9, 3, 3, 5, 1])
    shares = np.asarray(activate(jnp.asarray(outputs, jnp.float32)))
    own = shares[np.arange(6), digits]
    expected = np.log(own)
    if loss == "squared_error":
        expected = expected + np.log(1 - shares).sum(1) - np.log(1 - own)
    found = LOSSES[loss].score(jnp.asarray(outputs, jnp.float32), jnp.asarray(digits, jnp.int32))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_the_objective_rises(networks, loss):
    # Not always the confidence: of an untrained network's outputs, one may have to fall for the others to fall more.
    shown_to = networks(loss)
    rows = drawings.measure(shown_to)
    digits = jnp.tile(jnp.arange(10, dtype=jnp.int32), 2)
    for place, seed in enumerate(SEEDS):
        begin = np.concatenate(list(drawings.starts(seed, 10, 784).values()))
        end = pixels_of(rows)[rows["network"] == place] / np.float32(255)
        before, after = (
            np.asarray(LOSSES[loss].score(mlp.apply(one_of(shown_to, place), pixels, "sigmoid"), digits))
            for pixels in (begin, end)
        )
        assert (after > before).all()
    assert set(rows["iterations"]) <= set(range(-1, drawings.STEPS + 1))


@pytest.mark.slow
def test_networks_side_by_side_draw_as_one_does(networks):
    # Where the gradient of a pixel is near 0, its sign may differ by rounding.
    together = networks("cross_entropy")
    rows = drawings.measure(together)

    def alone(place):
        own = {name: getattr(together, name) for name in ("layers", "seeds", "sources", "rows")}
        return together._replace(**jax.tree.map(lambda leaf: leaf[place : place + 1], own))

    for place in range(3):
        expected, mine = drawings.measure(alone(place)), rows["network"] == place
        same = (pixels_of(expected) == pixels_of(rows)[mine]).mean()
        assert same > 0.99
        np.testing.assert_allclose(rows["confidence"][mine], expected["confidence"], atol=0.01)


@pytest.mark.slow
def test_twins_of_one_seed_begin_alike(networks):
    shown_to = networks()
    twins = shown_to._replace(layers=jax.tree.map(lambda leaf: leaf[jnp.array([0, 0, 0])], shown_to.layers))
    rows = drawings.measure(twins)
    for column in ("pixels", "confidence", "distance"):
        first, other_seed, twin = (rows[column][rows["network"] == place] for place in range(3))
        np.testing.assert_array_equal(first, twin)
        noise = rows["start"][rows["network"] == 0] == "noise"
        np.testing.assert_array_equal(first[~noise], other_seed[~noise])
        if column == "pixels":
            assert (first != other_seed)[noise].all()


def test_starts_are_draws_of_their_own():
    begin = drawings.starts(0, 10, 784)
    assert list(begin) == ["blank", "noise"]
    assert not begin["blank"].any()
    shown = draw("uniform", 0, np.zeros((10, 784), np.float32), STATISTICS)
    correlations = np.corrcoef(np.concatenate([begin["noise"], shown]))
    assert abs(correlations[~np.eye(20, dtype=bool)]).max() < 5 / np.sqrt(784)
    np.testing.assert_array_equal(begin["noise"], drawings.starts(0, 10, 784)["noise"])


def test_a_diverged_network_gives_no_number_and_disturbs_no_other(networks):
    whole = networks()
    expected = drawings.measure(whole)
    for value in (jnp.nan, jnp.inf):
        diverged = jax.tree.map(lambda leaf, value=value: leaf.at[0].set(value), whole.layers)
        rows = drawings.measure(whole._replace(layers=diverged))
        lost = rows["network"] == 0
        assert lost.sum() == 20  # counted, not dropped
        for name in ("confidence", "distance", "self_distance"):
            assert np.isnan(rows[name][lost]).all()
            np.testing.assert_array_equal(rows[name][~lost], expected[name][~lost])
        for name in ("answer", "iterations", "nearest"):
            assert (rows[name][lost] == -1).all()


def test_each_source_is_searched_on_its_own(networks):
    one = networks()
    train = jnp.concatenate([one.images.train, one.images.train[:, ::-1]])
    rows = drawings.measure(one)
    other = drawings.measure(one._replace(images=Images(train, None, None), sources=np.array([0, 1, 0])))
    turned = rows["network"] == 1
    np.testing.assert_array_equal(other["nearest"][~turned], rows["nearest"][~turned])
    np.testing.assert_array_equal(other["distance"], rows["distance"])
    ours = np.asarray(train[1], float)[other["nearest"][turned]] - pixels_of(rows)[turned]
    np.testing.assert_allclose(np.sqrt((ours**2).sum(1)) / 255, rows["distance"][turned], rtol=1e-5)


def test_a_network_reads_its_own_drawings_as_it_drew_them(networks):
    shown_to = networks()
    rows = drawings.measure(shown_to)
    pixels = pixels_of(rows)
    read = drawings.read_by(shown_to.static, shown_to.layers, pixels)
    assert read.shape == (3, 60, 10)
    own = read[rows["network"], np.arange(60)]
    np.testing.assert_allclose(own[np.arange(60), rows["digit"]], rows["confidence"], atol=1e-4)
    np.testing.assert_array_equal(own.argmax(1), rows["answer"])
