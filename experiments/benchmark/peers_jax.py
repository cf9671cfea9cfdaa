"""The JAX peer: one network at a time, its whole training one jitted program, as a careful user would write it."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmark.interleaving import Reading, timed
from experiments.benchmark.settings import BATCH, MOMENTUM, Examples, Work

# Weights [inputs, outputs] and biases [outputs] of each layer in turn.
Parameters = tuple[jax.Array, ...]


def initialise(sizes: tuple[int, ...], seed: int) -> Parameters:
    """Return a network with He's initial weights."""
    random, parameters = np.random.default_rng(seed), []
    for inputs, outputs in pairwise(sizes):
        weights = random.standard_normal((inputs, outputs), np.float32) * np.float32(np.sqrt(2 / inputs))
        parameters += [jnp.asarray(weights), jnp.zeros(outputs)]
    return tuple(parameters)


def minibatch_loss(parameters: Parameters, pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of pixels [batch, 784] (0 to 1) and labels [batch]."""
    for layer in range(0, len(parameters), 2):
        pixels = (jax.nn.relu(pixels) if layer else pixels) @ parameters[layer] + parameters[layer + 1][None]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(pixels), labels[:, None].astype(jnp.int32), axis=1)
    return -jnp.mean(chosen)


@partial(jax.jit, static_argnames="rate", donate_argnums=0)
def train(
    parameters: Parameters, images: jax.Array, labels: jax.Array, key: jax.Array, epochs: jax.Array, *, rate: float
) -> Parameters:
    """Return a network trained on images [n, 784] uint8 with labels [n], a new order in each epoch."""

    def run_step(step: jax.Array, state: tuple[Any, ...]) -> tuple[Any, ...]:
        rows, parameters, momentum = state
        places = lax.dynamic_slice(rows, (step * BATCH,), (BATCH,))
        pixels = images[places].astype(jnp.float32) / 255
        gradients = jax.grad(minibatch_loss)(parameters, pixels, labels[places])
        momentum = tuple(MOMENTUM * old + new for old, new in zip(momentum, gradients))
        return rows, tuple(leaf - rate * move for leaf, move in zip(parameters, momentum)), momentum

    def run_epoch(epoch: jax.Array, state: tuple[Any, ...]) -> tuple[Any, ...]:
        rows = jax.random.permutation(jax.random.fold_in(key, epoch), len(images))
        return lax.fori_loop(0, len(images) // BATCH, run_step, (rows, *state))[1:]

    return lax.fori_loop(0, epochs, run_epoch, (parameters, tuple(map(jnp.zeros_like, parameters))))[0]


def start(work: Work, data: Examples, seconds: float) -> Callable[[], Reading]:
    """Compile the program, and return the function that trains as many networks as take about `seconds`."""
    inputs = jnp.asarray(data[0]), jnp.asarray(data[1][0]), jax.random.key(0)
    first, rate, compiled = initialise(work.sizes, 0), work.learning_rates[0], []
    compiling = timed(lambda: compiled.append(train.lower(first, *inputs, 1, rate=rate).compile()))

    def run(networks: int, epochs: int) -> float:
        starts = jax.block_until_ready([initialise(work.sizes, seed) for seed in range(networks)])
        return timed(lambda: [jax.block_until_ready(compiled[0](each, *inputs, epochs)) for each in starts])

    networks = work.fitting(seconds / min(run(1, 1) for _ in range(3)))
    return lambda: Reading(run(networks, work.epochs), networks * work.examples, compiling, f"{networks} networks")
