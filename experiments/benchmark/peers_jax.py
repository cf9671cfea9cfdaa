"""The JAX peer: one network at a time, its whole training one jitted program, as a careful user would write it."""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmark.work import BATCH, LEARNING_RATES, MOMENTUM


class State(NamedTuple):
    """Weights [inputs, outputs] and biases [outputs] of each layer in turn, and their momentum."""

    parameters: tuple[jax.Array, ...]
    momentum: tuple[jax.Array, ...]


def initialise(sizes: tuple[int, ...], seed: int) -> State:
    """Return a network with He's initial weights."""
    random = np.random.default_rng(seed)
    parameters = []
    for inputs, outputs in pairwise(sizes):
        weights = random.standard_normal((inputs, outputs), np.float32) * np.float32(np.sqrt(2 / inputs))
        parameters += [weights, np.zeros(outputs, np.float32)]
    return State(tuple(map(jnp.asarray, parameters)), tuple(jnp.zeros_like(leaf) for leaf in parameters))


def minibatch_loss(parameters: tuple[jax.Array, ...], pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of pixels [batch, 784] (0 to 1) and labels [batch]."""
    last = len(parameters) - 2
    for layer in range(0, len(parameters), 2):
        pixels = pixels @ parameters[layer] + parameters[layer + 1][None]
        if layer < last:
            pixels = jax.nn.relu(pixels)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(pixels), labels[:, None].astype(jnp.int32), axis=1)
    return -jnp.mean(chosen)


def update(state: State, pixels: jax.Array, labels: jax.Array, learning_rate: float) -> State:
    """Return the network after one step of SGD with momentum on pixels [B, 784] and labels [B]."""
    gradients = jax.grad(minibatch_loss)(state.parameters, pixels, labels)
    momentum = tuple(MOMENTUM * old + new for old, new in zip(state.momentum, gradients))
    return State(tuple(leaf - learning_rate * move for leaf, move in zip(state.parameters, momentum)), momentum)


@cache
def program() -> jax.stages.Wrapped:
    """Return the jitted `train(state, images [n, 784] uint8, labels [n], key, epochs) -> state`."""

    def train(state, images, labels, key, epochs):
        def run_epoch(epoch, state):
            rows = jax.random.permutation(jax.random.fold_in(key, epoch), images.shape[0])

            def run_step(step, state):
                places = lax.dynamic_slice(rows, (step * BATCH,), (BATCH,))
                pixels = images[places].astype(jnp.float32) / 255
                return update(state, pixels, labels[places], LEARNING_RATES[0])

            return lax.fori_loop(0, images.shape[0] // BATCH, run_step, state)

        return lax.fori_loop(0, epochs, run_epoch, state)

    return jax.jit(train, donate_argnums=0)
