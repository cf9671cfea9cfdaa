"""Loss sensitivity (Arpit et al. 2017, section 3.2): the effect of each training image on the loss after training.

After t updates of minibatch gradient descent from theta_0, theta_{s+1} = theta_s - eta grad l(theta_s; x_{B_s}), the loss is
L_t = L(theta_t; x), the mean over all n training images; all of it depends on the pixels of an image x_i. Its sensitivity is

    g_i^t = || dL_t / dx_i ||_1,

the total derivative: through every update that used x_i, and directly through the term that x_i has in L_t. It is exact.
With lambda_t = dL_t/dtheta_t one sweep back over the updates gives, for every t at once,

    dL_t/dx_{B_s} -= eta d/dx (grad_theta l(theta_s; x_{B_s}) . lambda)
    lambda        -= eta d/dtheta (grad_theta l(theta_s; x_{B_s}) . lambda)

which needs the weights theta_s of all updates (14 kB each for 196-16-16-10) and a Hessian-vector product per step and
adjoint. The loss of the images of one class alone gives the sensitivity of a class to the images of another.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.mlp import Layers


class Setting(NamedTuple):
    """The training: plain gradient descent on minibatches, without momentum."""

    sizes: tuple[int, ...]
    activation: str
    init: str
    batch_size: int
    updates: int


class Sensitivity(NamedTuple):
    """For T networks, K numbers of updates t, n training images; non-finite values are NaN."""

    images: np.ndarray  # [T, K, n], g_i^t
    # [T, classes, classes]: mean over images of a class (column) of ||dL^class(row)/dx||_1, at the last t
    classes: np.ndarray
    train_loss: np.ndarray  # [T, K]
    train_accuracy: np.ndarray  # [T, K]


def gini(values: np.ndarray) -> np.ndarray:
    """Return the Gini coefficient of values [..., n] not below 0: 0 where all are equal, 1 - 1/n where one has all.

    Half the mean absolute difference between two values over their mean; NaN where all are 0 or one is not finite.
    """
    values = np.sort(np.asarray(values, float), axis=-1)
    n = values.shape[-1]
    total = values.sum(axis=-1)
    weighted = (values * (2 * np.arange(1, n + 1) - n - 1)).sum(axis=-1)
    return np.divide(weighted, n * total, out=np.full(total.shape, np.nan), where=total > 0)


def train(
    setting: Setting, rate: jax.Array, key: jax.Array, order: jax.Array, images: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the flat weights before each update [updates + 1, parameters], and the images of each update."""
    layers = mlp.initialise(key, setting.sizes, setting.init)
    start, unravel = ravel_pytree(layers)
    n = len(images)
    epochs = -(-setting.updates * setting.batch_size // n)
    keys = jax.vmap(lambda epoch: jax.random.fold_in(order, epoch))(jnp.arange(epochs))
    shuffled = jax.vmap(lambda key: jax.random.permutation(key, n))(keys).ravel()  # over the ends of epochs
    batches = shuffled[: setting.updates * setting.batch_size].reshape(-1, setting.batch_size)

    def step(flat: jax.Array, batch: jax.Array) -> tuple[jax.Array, jax.Array]:
        slope = jax.grad(lambda flat: _cost(setting, unravel, flat, images[batch], labels[batch]))(flat)
        return flat - rate * slope, flat

    last, before = lax.scan(step, start, batches)
    return jnp.concatenate([before, last[None]]), batches


Unravel = Callable[[jax.Array], Layers]


def _outputs(setting: Setting, unravel: Unravel, flat: jax.Array, images: jax.Array) -> jax.Array:
    return mlp.apply(unravel(flat), images, setting.activation)


def _cost(setting: Setting, unravel: Unravel, flat: jax.Array, images: jax.Array, labels: jax.Array) -> jax.Array:
    return jnp.mean(LOSSES["cross_entropy"].per_example(_outputs(setting, unravel, flat, images), labels))


def gradients(
    setting: Setting,
    rate: jax.Array,
    path: jax.Array,
    batches: jax.Array,
    images: jax.Array,
    labels: jax.Array,
    times: jax.Array,
    shares: jax.Array,
) -> jax.Array:
    """Return dF_a/dx [A, n, pixels] for A losses F_a = sum_i shares[a, i] l(theta_{times[a]}; x_i), through all updates.

    `path` [updates + 1, parameters] and `batches` [updates, batch] are those of `train`; `times` [A] int32.
    """
    layers = jax.eval_shape(lambda: mlp.initialise(jax.random.key(0), setting.sizes, setting.init))
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), layers))

    def weighted(flat: jax.Array, images: jax.Array, share: jax.Array) -> jax.Array:
        return jnp.sum(share * LOSSES["cross_entropy"].per_example(_outputs(setting, unravel, flat, images), labels))

    # The direct part, and where each adjoint starts.
    starts, direct = jax.vmap(jax.grad(weighted, (0, 1)), (0, None, 0))(path[times], images, shares)

    def slope_along(flat: jax.Array, pixels: jax.Array, own: jax.Array, direction: jax.Array) -> jax.Array:
        return jax.jvp(lambda flat: _cost(setting, unravel, flat, pixels, own), (flat,), (direction,))[1]

    def back(
        state: tuple[jax.Array, jax.Array], update: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        adjoints, total = state
        number, flat, batch = update
        adjoints = jnp.where((times == number + 1)[:, None], starts, adjoints)
        products = jax.vmap(jax.grad(slope_along, (0, 1)), (None, None, None, 0))
        of_weights, of_pixels = products(flat, images[batch], labels[batch], adjoints)
        total = total.at[:, batch].add(-rate * of_pixels)
        return (adjoints - rate * of_weights, total), None

    updates = jnp.arange(len(batches), dtype=jnp.int32), path[:-1], batches
    _, total = lax.scan(back, (jnp.zeros_like(starts), direct), updates, reverse=True)[0]
    return total


@partial(jax.jit, static_argnums=(0, 1))
def _of_network(
    setting: Setting,
    times: tuple[int, ...],
    rate: jax.Array,
    key: jax.Array,
    order: jax.Array,
    images: jax.Array,
    labels: jax.Array,
) -> tuple[jax.Array, ...]:
    n, count, classes = len(images), len(times), setting.sizes[-1]
    path, batches = train(setting, rate, key, order, images, labels)
    of_class = (labels[None] == jnp.arange(classes)[:, None]).astype(jnp.float32)
    class_sizes = jnp.maximum(jnp.sum(of_class, axis=1), 1)
    shares = jnp.concatenate([jnp.full((count, n), 1 / n, jnp.float32), of_class / class_sizes[:, None]])
    asked = jnp.array([*times, *[times[-1]] * classes], jnp.int32)
    slopes = gradients(setting, rate, path, batches, images, labels, asked, shares)
    sizes = jnp.sum(jnp.abs(slopes), axis=-1)
    by_class = sizes[count:] @ of_class.T / class_sizes[None]

    layers = jax.eval_shape(lambda: mlp.initialise(jax.random.key(0), setting.sizes, setting.init))
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), layers))
    seen = path[jnp.array(times, jnp.int32)]
    outputs = jax.vmap(lambda flat: _outputs(setting, unravel, flat, images))(seen)
    losses = jax.vmap(lambda values: jnp.mean(LOSSES["cross_entropy"].per_example(values, labels)))(outputs)
    hits = jnp.mean((jnp.argmax(outputs, axis=-1) == labels[None]).astype(jnp.float32), axis=-1)
    return sizes[:count], by_class, losses, hits


def measure(
    setting: Setting,
    rate: float,
    times: tuple[int, ...],
    keys: Sequence[jax.Array],
    orders: Sequence[jax.Array],
    images: np.ndarray,
    labels: np.ndarray,
) -> Sensitivity:
    """Return the sensitivities of T networks, one after the other; `keys`, `orders` [T] JAX keys.

    Takes images [T, n, pixels] float32, labels [T, n] integers, numbers of updates `times`, ascending, the last at most
    `setting.updates`. Memory: the weights of all updates, and (len(times) + 10) times the images. Raises ValueError where
    times are not ascending from 1 to `setting.updates`.
    """
    if not times or list(times) != sorted(set(times)) or times[0] < 1 or times[-1] > setting.updates:
        raise ValueError(f"Numbers of updates ascend from 1 to {setting.updates}, not {times}.")
    found = [
        _of_network(
            setting, tuple(times), jnp.float32(rate), key, order, jnp.asarray(own), jnp.asarray(given, jnp.int32)
        )
        for key, order, own, given in zip(keys, orders, images, labels)
    ]
    stacked = (np.stack([np.asarray(leaf) for leaf in leaves]) for leaves in zip(*found))
    return Sensitivity(*(np.where(np.isfinite(leaf), leaf, np.nan) for leaf in stacked))
