"""The tangent kernel of a network, what it says of labels, and the training of the network that it stands for.

    network, images ──> kernel [n, n] ──> eigenvectors ──> share of the labels' energy, y' K^-1 y
                                     └──> training of the linearised network ──> accuracy by step

The kernel is the mean over the classes of that of each output with itself: the products of the gradients, in all weights and
biases, of one output at two images. Between different outputs it is taken for 0, as it is for an infinitely wide network (Jacot et al.
2018, arXiv:1806.07572); for a network without hidden layers both hold exactly.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels, as_seen


class Spectrum(NamedTuple):
    """Eigenvalues [n], descending, and the eigenvectors [n, n] in the columns."""

    values: np.ndarray
    vectors: np.ndarray


class Fit(NamedTuple):
    """The training of k linearised networks: loss and accuracy on all n images at the steps looked at, [looks, k]."""

    loss: np.ndarray
    accuracy: np.ndarray


@partial(jax.jit, static_argnums=0)
def _features(static: Static, layers: Layers, pixels: jax.Array) -> tuple[list[jax.Array], list[jax.Array], jax.Array]:
    """Return each layer's inputs [n, inputs], the slopes [n, classes, units] of all outputs in its sums, and the outputs."""
    inputs: list[jax.Array] = []

    def outputs(shifts: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        def product(depth: int, values: jax.Array, weights: mlp.Array) -> jax.Array:
            inputs.append(values)
            return values @ weights + shifts[depth]

        found = mlp.apply(layers, as_seen(static, as_pixels(pixels)), static.activation, product=product)
        return found, list(inputs)

    zeros = [jnp.zeros((pixels.shape[0], units), jnp.float32) for units in static.sizes[1:]]
    found, back, read = jax.vjp(outputs, zeros, has_aux=True)
    every = jnp.eye(static.sizes[-1], dtype=jnp.float32)
    [slopes] = jax.vmap(lambda one: back(jnp.broadcast_to(one, found.shape)), out_axes=1)(every)
    return read, slopes, found


def kernel(static: Static, layers: Layers, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the tangent kernel [n, n] float64 of one network over `pixels` [n, pixels], and its outputs [n, classes].

    `pixels` are uint8 or float32, as they are before any scaling of the recipe. About n^2 x classes x all units x 2 operations.
    """
    inputs, slopes, outputs = _features(static, layers, jnp.asarray(pixels))
    classes = static.sizes[-1]
    total = np.zeros((len(pixels), len(pixels)))
    for read, slope in zip(inputs, slopes):
        own, back = np.asarray(read, np.float64), np.asarray(slope, np.float64).reshape(len(pixels), -1)
        total += (own @ own.T + 1) * (back @ back.T)  # the bias reads 1
    return total / classes, np.asarray(outputs)


def spectrum(matrix: np.ndarray) -> Spectrum:
    """Return the eigenvalues and eigenvectors of a symmetric matrix [n, n], in float64; n^3 operations times about 9."""
    values, vectors = np.linalg.eigh(matrix)
    return Spectrum(values[::-1], vectors[:, ::-1])


def centred(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return targets [n, classes] float64 of labels [n]: 1 for the label and 0 else, less the mean 1 / classes."""
    return np.eye(classes)[labels] - 1 / classes


def energy_in_top(found: Spectrum, targets: np.ndarray, share: float = 0.1) -> float:
    """Return the share of the squared length of targets [n, classes] that lies along the top `share` of the eigenvectors."""
    top = found.vectors[:, : max(1, round(share * len(targets)))]
    return float(np.sum((top.T @ targets) ** 2) / np.sum(targets**2))


def inverse_energy(found: Spectrum, targets: np.ndarray) -> float:
    """Return y' K^-1 y summed over the columns of targets [n, classes]; eigenvalues below n x epsilon x the largest count as that.

    The square of the norm of the interpolating function; over n, the square of Arora et al. 2019's bound (arXiv:1901.08584,
    theorem 5.1) but for a factor of 2.
    """
    least = len(targets) * np.finfo(np.float64).eps * found.values[0]
    return float(np.sum((found.vectors.T @ targets) ** 2 / np.maximum(found.values, least)[:, None]))


def train(
    static: Static,
    matrix: np.ndarray,
    outputs: np.ndarray,
    labels: np.ndarray,
    minibatches: np.ndarray,
    learning_rate: float,
    momentum: float,
    looks: np.ndarray,
) -> Fit:
    """Train linearised networks with this kernel [n, n] from the same outputs [n, classes], one for each row of `labels` [k, n].

    By gradient descent with momentum on `minibatches` [steps, batch] of places among the images, and the loss of the recipe: each step moves
    the output at image i by what the kernel says of i and the images of the minibatch, so that no weights are needed. `looks` are
    numbers of steps from 0, ascending, the last at most all.
    """
    data = jnp.asarray(matrix, jnp.float32), jnp.asarray(outputs, jnp.float32), jnp.asarray(labels, jnp.int32)
    rates = jnp.float32(learning_rate), jnp.float32(momentum)
    looked = np.isin(np.arange(len(minibatches) + 1), looks)
    loss, accuracy = _train(static.loss, *data, jnp.asarray(minibatches, jnp.int32), jnp.asarray(looked[:-1]), *rates)
    return Fit(np.asarray(loss)[looked], np.asarray(accuracy)[looked])


@partial(jax.jit, static_argnums=0)
def _train(
    loss: str,
    matrix: jax.Array,
    outputs: jax.Array,
    labels: jax.Array,
    minibatches: jax.Array,
    looked: jax.Array,
    learning_rate: jax.Array,
    momentum: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return losses and accuracies [steps + 1, k] before each step and after the last, NaN before one that is not `looked` at."""
    per_example = LOSSES[loss].per_example
    unseen = jnp.full(labels.shape[0], jnp.nan, jnp.float32)

    def look(outputs: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        hits = (jnp.argmax(outputs, axis=-1) == labels).astype(jnp.float32)
        return jnp.mean(per_example(outputs, labels)), jnp.mean(hits)

    def step(state: tuple[jax.Array, jax.Array], one: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
        (now, moved), (places, look_now) = state, one  # [k, n, classes]

        def slopes(now: jax.Array, labels: jax.Array) -> jax.Array:
            return jax.grad(lambda at: jnp.mean(per_example(at, labels[places])))(now[places])

        pull = jnp.einsum("bn,kbc->knc", matrix[places], jax.vmap(slopes)(now, labels))
        moved = momentum * moved + pull
        found = lax.cond(look_now, lambda at: jax.vmap(look)(at, labels), lambda at: (unseen, unseen), now)
        return (now - learning_rate * moved, moved), found

    start = jnp.broadcast_to(outputs[None], (labels.shape[0], *outputs.shape))
    (last, _), (losses, accuracies) = lax.scan(step, (start, jnp.zeros_like(start)), (minibatches, looked))
    ends = jax.vmap(look)(last, labels)
    return jnp.concatenate([losses, ends[0][None]]), jnp.concatenate([accuracies, ends[1][None]])
