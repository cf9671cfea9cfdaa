"""Loss sensitivity: the derivative through all updates against finite differences of retraining, and the Gini."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from memo.measures import sensitivity
from memo.measures.sensitivity import Setting, gini
from memo.networks import mlp

SETTING = Setting((6, 4, 3), "tanh", "he", 5, 9)
RATE = 0.5


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.random((12, 6), np.float32), np.arange(12, dtype=np.int32) % 3


def path_and_batches(images, labels):
    return sensitivity.train(SETTING, jnp.float32(RATE), jax.random.key(1), jax.random.key(2), images, labels)


def losses_in_numpy(images, labels, start, unravel, batches, times):
    """The mean loss after each number of updates, in float64: an independent retraining."""

    layers = [[np.asarray(part, float) for part in layer] for layer in unravel(start)]

    def passed(layers, x):
        hidden = np.tanh(x @ layers[0][0] + layers[0][1])
        logits = hidden @ layers[1][0] + layers[1][1]
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return hidden, shares / shares.sum(1, keepdims=True)

    found = {}
    for step in range(len(batches) + 1):
        if step in times:
            shares = passed(layers, images)[1]
            found[step] = -np.log(shares[np.arange(len(labels)), labels])
        if step == len(batches):
            break
        x, y = images[batches[step]], labels[batches[step]]
        hidden, shares = passed(layers, x)
        error = (shares - np.eye(3)[y]) / len(y)
        back = (error @ layers[1][0].T) * (1 - hidden**2)
        slopes = [[x.T @ back, back.sum(0)], [hidden.T @ error, error.sum(0)]]
        layers = [[part - RATE * slope for part, slope in zip(*pair)] for pair in zip(layers, slopes)]
    return np.stack([found[time] for time in times])


@pytest.mark.slow
def test_the_derivative_is_that_of_retraining_with_another_pixel(data):
    images, labels = data
    times = (1, 4, 9)
    path, batches = path_and_batches(jnp.asarray(images), jnp.asarray(labels))
    _, unravel = ravel_pytree(mlp.initialise(jax.random.key(1), SETTING.sizes, SETTING.init))
    batches = np.asarray(batches)
    assert batches.shape == (9, 5)
    passes = batches.ravel()[:36].reshape(3, 12)  # over the ends of epochs, no image left out
    np.testing.assert_array_equal(np.sort(passes), np.tile(np.arange(12), (3, 1)))
    share = np.random.default_rng(3).random(12).astype(np.float32)
    shares = np.stack([np.full(12, 1 / 12, np.float32)] * 3 + [share])
    asked = np.array([*times, 9], np.int32)
    found = sensitivity.gradients(
        SETTING, jnp.float32(RATE), path, jnp.asarray(batches), jnp.asarray(images), jnp.asarray(labels),
        jnp.asarray(asked), jnp.asarray(shares),
    )  # fmt: skip
    assert found.shape == (4, 12, 6)
    wide = images.astype(float)
    for image, pixel in [(0, 0), (3, 2), (7, 5), (11, 1)]:
        each = []
        for sign in (1, -1):
            moved = wide.copy()
            moved[image, pixel] += sign * 1e-5
            each.append(losses_in_numpy(moved, labels, path[0], unravel, batches, times))
        slope = (each[0] - each[1]) / 2e-5  # [times, images], of each image's loss
        expected = [*slope.mean(axis=1), slope[-1] @ share]
        np.testing.assert_allclose(found[:, image, pixel], expected, rtol=2e-3, atol=2e-6)


@pytest.mark.slow
def test_measure_sums_pixels_and_averages_classes(data):
    images, labels = data
    keys, orders = [jax.random.key(1)], [jax.random.key(2)]
    found = sensitivity.measure(SETTING, RATE, (4, 9), keys, orders, images[None], labels[None])
    path, batches = path_and_batches(jnp.asarray(images), jnp.asarray(labels))
    arguments = SETTING, jnp.float32(RATE), path, batches, jnp.asarray(images), jnp.asarray(labels)
    of_class = np.where(labels == 2, 0.25, 0).astype(np.float32)
    shares = np.stack([np.full(12, 1 / 12, np.float32)] * 2 + [of_class])
    *slopes, slope = sensitivity.gradients(*arguments, jnp.array([4, 9, 9]), jnp.asarray(shares))
    np.testing.assert_allclose(found.images[0], np.abs(slopes).sum(-1), rtol=1e-4)
    sizes = np.abs(slope).sum(-1)
    np.testing.assert_allclose(found.classes[0, 2], [sizes[labels == k].mean() for k in range(3)], rtol=1e-4)
    assert found.classes.shape == (1, 3, 3)
    assert found.train_accuracy.shape == found.train_loss.shape == (1, 2)
    assert found.train_loss[0, 1] < found.train_loss[0, 0]


@pytest.mark.slow
def test_updates_that_never_saw_an_image_leave_its_own_term(data):
    """One update on five of twelve images: the others move the loss only by their own share of it."""
    images, labels = (jnp.asarray(part) for part in data)
    path, batches = path_and_batches(images, labels)
    _, unravel = ravel_pytree(mlp.initialise(jax.random.key(1), SETTING.sizes, SETTING.init))
    shares = jnp.full((1, 12), 1 / 12)
    found = sensitivity.gradients(SETTING, jnp.float32(RATE), path, batches, images, labels, jnp.array([1]), shares)

    def own(images):
        outputs = mlp.apply(unravel(path[1]), images, "tanh")
        return -jnp.mean(jax.nn.log_softmax(outputs)[jnp.arange(12), labels])

    unseen = np.setdiff1d(np.arange(12), batches[0])
    np.testing.assert_allclose(found[0, unseen], jax.grad(own)(images)[unseen], atol=1e-7)


@pytest.mark.slow
def test_a_network_that_is_lost_has_no_sensitivity(data):
    images, labels = data
    hot = sensitivity.measure(
        SETTING._replace(activation="relu"),
        1e30,
        (9,),
        [jax.random.key(1)],
        [jax.random.key(2)],
        images[None],
        labels[None],
    )
    assert not np.isfinite(hot.images).all()
    assert np.isnan(gini(hot.images)).all()


@pytest.mark.parametrize("times", [(), (0, 3), (3, 3), (4, 2), (10,)])
def test_times_outside_of_the_run_are_refused(data, times):
    with pytest.raises(ValueError, match="ascend from 1 to 9"):
        sensitivity.measure(SETTING, RATE, times, [], [], [], [])


def test_gini_has_its_known_values():
    assert gini(np.ones(7)) == pytest.approx(0)
    assert gini(np.eye(8)[3]) == pytest.approx(1 - 1 / 8)
    assert gini(np.array([1, 3])) == pytest.approx(0.25)
    values = np.random.default_rng(0).random((3, 40))
    pairs = np.abs(values[:, :, None] - values[:, None]).mean((1, 2)) / (2 * values.mean(1))
    np.testing.assert_allclose(gini(values), pairs)
    np.testing.assert_allclose(gini(5 * values), pairs)
    # Of an exponential distribution it is 1/2.
    assert gini(np.random.default_rng(0).exponential(size=100_000)) == pytest.approx(0.5, abs=0.01)
    assert np.isnan(gini(np.zeros(4)))
    assert np.isnan(gini(np.array([1, np.nan])))
