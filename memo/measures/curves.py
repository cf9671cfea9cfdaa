"""Curves of low loss between two networks: a quadratic Bézier curve whose middle point is trained.

    ends a, b ──> middle point, from their mean ──steps at random places of the curve──> curve ──> losses and accuracies along it

Source: Garipov et al. 2018, arXiv:1802.10026, section 3.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from memo.measures.landscape import mixtures
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels, as_seen


def coordinates(places: np.ndarray) -> np.ndarray:
    """Return the weights [S, 3] of end a, middle point and end b at `places` [S] from 0 to 1 of the curve."""
    along = np.asarray(places, float)
    return np.stack([(1 - along) ** 2, 2 * along * (1 - along), along**2], axis=1)


def along(
    static: Static, a: Layers, middle: Layers, b: Layers, pixels: np.ndarray, labels: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return losses and accuracies, each [count], at even places on the curve, both ends included."""
    return mixtures(static, (a, middle, b), coordinates(np.linspace(0, 1, count)), pixels, labels)


@partial(jax.jit, static_argnums=0)
def _train(
    static: Static,
    a: Layers,
    b: Layers,
    pixels: jax.Array,
    labels: jax.Array,
    minibatches: jax.Array,
    places: jax.Array,
    learning_rate: jax.Array,
    momentum: jax.Array,
) -> Layers:
    per_example = LOSSES[static.loss].per_example

    def loss(middle: Layers, place: jax.Array, shown: jax.Array, own: jax.Array) -> jax.Array:
        weights = (1 - place) ** 2, 2 * place * (1 - place), place**2
        point = jax.tree.map(lambda *leaves: sum(w * leaf for w, leaf in zip(weights, leaves)), a, middle, b)
        return jnp.mean(per_example(mlp.apply(point, shown, static.activation), own))

    def step(state: tuple[Layers, Layers], drawn: tuple[jax.Array, jax.Array]) -> tuple[tuple[Layers, Layers], None]:
        (middle, moved), (batch, place) = state, drawn
        shown = as_seen(static, as_pixels(pixels[batch]))
        slopes = jax.grad(loss)(middle, place, shown, labels[batch])
        moved = jax.tree.map(lambda m, slope: momentum * m + slope, moved, slopes)
        return (jax.tree.map(lambda w, m: w - learning_rate * m, middle, moved), moved), None

    start = jax.tree.map(lambda one, other: (one + other) / 2, a, b)
    (middle, _), _ = lax.scan(step, (start, jax.tree.map(jnp.zeros_like, start)), (minibatches, places))
    return middle


def middle_point(
    static: Static,
    a: Layers,
    b: Layers,
    pixels: np.ndarray,
    labels: np.ndarray,
    generator: np.random.Generator,
    steps: int,
    learning_rate: float,
    momentum: float,
) -> Layers:
    """Return the middle point of a curve from network a to b, trained from the mean of both to a low expected loss along the curve.

    Each step is a gradient, with momentum, of the mean loss on a minibatch of `pixels` [n, pixels] with `labels` [n] at a place drawn
    uniformly from the curve.
    """
    batch = min(static.batch_size, len(labels))
    drawn = [generator.permutation(len(labels)) for _ in range(-(-steps * batch // len(labels)))]
    minibatches = np.concatenate(drawn)[: steps * batch].reshape(steps, batch)
    ends = (jax.tree.map(jnp.asarray, each) for each in (a, b))
    data = jnp.asarray(pixels), jnp.asarray(labels).astype(jnp.int32), jnp.asarray(minibatches, jnp.int32)
    places = jnp.asarray(generator.random(steps), jnp.float32)
    return _train(static, *ends, *data, places, jnp.float32(learning_rate), jnp.float32(momentum))
