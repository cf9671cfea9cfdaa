"""The sparse first layer and canonical gradients: the same numbers as the plain product, side by side and alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.networks.arithmetic import PLAIN, SPARSE, Arithmetic, density
from memo.training import execution, machine
from memo.training.population import plan

pytest.importorskip("numba", reason="needs the extra [fast]")
from memo.networks import sparse

LOUD = {
    "model.widths": [32],
    "dataset.n_train": 300,
    "epochs": 3,
    "evaluations": 3,
    "batch_size": 64,
    "optimizer.learning_rate": 0.05,
}


def sparse_images(*shape):
    rng = np.random.default_rng(sum(shape))
    return jnp.asarray(np.where(rng.random(shape) < 0.2, rng.integers(0, 256, shape), 0).astype(np.uint8))


def plain(images, weights):
    return images.astype(jnp.float32) / 255 @ weights


def slopes_of(product):
    def value(weights, images):
        return jnp.sum(jnp.sin(product(images, weights)))

    return jax.grad(value)


HALF_EPS = 2.0**-24  # of a float32: the share of a number by which rounding changes it, at most


def exact(images, weights):
    """Return the product, and the gradient of the sum of its sines, in float64, each with how far off float32 may be.

    A sum of n products passes at most n + 2 roundings on to a term, in whichever order a CPU adds, with fused products or without:
    it is off by that many times HALF_EPS of the sum of absolute terms (Higham 2002, section 3.1). Cosines have the error of
    the product, and of their own a few times HALF_EPS.
    """
    pixels, weights = np.asarray(images, float) / 255, np.asarray(weights, float)
    of_image, of_pixel = (np.count_nonzero(pixels, axis)[:, None] + 2 for axis in (1, 0))
    product, off = pixels @ weights, of_image * HALF_EPS * (pixels @ abs(weights))
    cosines, off_cosines = np.cos(product), off + 4 * HALF_EPS
    off_slope = pixels.T @ off_cosines + of_pixel * HALF_EPS * (pixels.T @ (abs(cosines) + off_cosines))
    return (product, off), (pixels.T @ cosines, off_slope)


def close(found, expected):
    value, off = expected
    return bool((abs(np.asarray(found, float) - value) <= off).all())


@pytest.mark.parametrize(
    ("batch", "pixels", "units"), [(128, 784, 128), (10, 100, 16), (7, 50, 3), (1, 3, 65), (64, 8, 64)]
)
def test_product_and_gradient_are_the_dense_ones(batch, pixels, units):
    images = sparse_images(batch, pixels)
    weights = jax.random.normal(jax.random.key(0), (pixels, units))
    value, slope = exact(images, weights)
    for product in (sparse.product, plain):
        assert close(jax.jit(product)(images, weights), value)
        assert close(jax.jit(slopes_of(product))(weights, images), slope)
    # What is allowed for rounding would not hide a term: not the last one of a sum, nor a factor that is 1/255 off.
    darker = np.array(images)
    darker[np.nonzero(darker)] -= 1
    shorter = np.array(images)
    shorter[-1, np.flatnonzero(shorter[-1])[-1:]] = 0
    for wrong in (darker, shorter) if images.any() else ():  # the one of three pixels is black
        assert not close(plain(jnp.asarray(wrong), weights), value)
        assert not close(slopes_of(plain)(weights, jnp.asarray(wrong)), slope)


def test_images_that_are_all_black_or_all_white():
    weights = jax.random.normal(jax.random.key(0), (20, 6))
    for value in (0, 255):
        images = jnp.full((3, 20), value, jnp.uint8)
        np.testing.assert_allclose(sparse.product(images, weights), plain(images, weights), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_side_by_side_is_one_after_the_other():
    images = sparse_images(3, 20, 60)
    weights = jax.random.normal(jax.random.key(0), (3, 4, 60, 16))
    slopes = slopes_of(sparse.product)
    together = jax.jit(jax.vmap(jax.vmap(slopes, (0, None))))(weights, images)  # packs of networks with the same images
    alone = [[slopes(own, images[pack]) for own in weights[pack]] for pack in range(3)]
    np.testing.assert_array_equal(together, np.array(alone))
    packs_of_one = jax.jit(jax.vmap(slopes))(weights[:, 0], images)
    np.testing.assert_array_equal(packs_of_one, np.array(alone)[:, 0])


@pytest.mark.parametrize("batch", [20, sparse.LISTED, 2 * sparse.LISTED + 3])
def test_networks_that_read_the_same_images_are_one_product(batch):
    images, weights = sparse_images(batch, 60), jax.random.normal(jax.random.key(0), (3, 4, 60, 16))
    together = jax.jit(jax.vmap(jax.vmap(sparse.product, (None, 0)), (None, 0)))
    np.testing.assert_array_equal(
        together(images, weights), [[sparse.product(images, own) for own in pack] for pack in weights]
    )
    called = together.lower(images, weights).as_text()
    assert called.count("memo_sparse_product") == 1 and f"tensor<{batch}x192xf32>" in called  # 12 networks of 16 units
    sums = jax.jit(jax.grad(lambda weights: sparse.product(images, weights).sum()))(weights[0, 0])
    np.testing.assert_allclose(sums, np.repeat(np.asarray(images, np.float32).sum(0)[:, None] / 255, 16, 1), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("widths", [[], [32, 8]])
def test_networks_train_to_the_same_weights(trials, small_mnist, monkeypatch, widths):
    (group,) = plan(trials(LOUD | {"model.widths": widths, "seeds": 2}, {}, {"labels.kind": "shuffled"}))
    monkeypatch.setattr(machine, "SPARSE_UNITS", 1)  # of softmax regression too, which has fewer than repay it
    chosen = []

    def train(fast):
        monkeypatch.setattr(machine, "sparse_is_possible", lambda: fast)
        return execution.train(group, small_mnist)

    def choose(*read):
        chosen.append(choice := machine.arithmetic(*read))
        return choice

    monkeypatch.setattr("memo.training.slab.arithmetic", choose)
    dense, fast = train(False), train(True)
    assert {choice.sparse for choice in chosen} == {False, True}
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6), dense.layers, fast.layers
    )
    assert dense.final.train_accuracy.max() > 0.3  # it learns
    np.testing.assert_allclose(dense.curves.test_loss, fast.curves.test_loss, rtol=1e-4)


def test_canonical_gradients_are_the_plain_ones():
    images, weights = jax.random.normal(jax.random.key(1), (40, 30)), jax.random.normal(jax.random.key(2), (30, 20))

    def slopes(choice):
        return jax.grad(lambda x, w: jnp.sum(jnp.sin(choice.product(1, x, w))), (0, 1))(images, weights)

    for own, plain in zip(slopes(Arithmetic(canonical=True)), slopes(PLAIN)):
        np.testing.assert_allclose(own, plain, rtol=1e-5, atol=1e-5)


def test_dense_images_are_read_whole(trials, mnist, small_mnist):
    assert density(mnist.train_images[None]) < SPARSE
    images, device = small_mnist.train_images[None], jax.devices()[0]
    for own, repays in (
        ({}, True),
        ({"batch_size": 10}, False),
        ({"regularization.dropout": 0.5}, False),
        ({"model.receptive_field": 7}, False),
        ({"model.widths": [16]}, False),  # two networks have 32 units
    ):
        (group,) = plan(trials(LOUD | own))
        for these, sparse_ones in ((images, True), (images.astype(np.float32), False), (images | np.uint8(1), False)):
            read = execution.Images(these, these, np.zeros(1))
            assert machine.arithmetic(group.signature.static, 1, 2, device, read).sparse is (repays and sparse_ones)
