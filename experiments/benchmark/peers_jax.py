"""The JAX peer: one network at a time, its whole training one jitted program, as a careful user would write it."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

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
    random = np.random.default_rng(seed)
    parameters = []
    for inputs, outputs in pairwise(sizes):
        weights = random.standard_normal((inputs, outputs), np.float32) * np.float32(np.sqrt(2 / inputs))
        parameters += [jnp.asarray(weights), jnp.zeros(outputs)]
    return tuple(parameters)


def minibatch_loss(parameters: Parameters, pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of pixels [batch, 784] (0 to 1) and labels [batch]."""
    last = len(parameters) - 2
    for layer in range(0, len(parameters), 2):
        pixels = pixels @ parameters[layer] + parameters[layer + 1][None]
        if layer < last:
            pixels = jax.nn.relu(pixels)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(pixels), labels[:, None].astype(jnp.int32), axis=1)
    return -jnp.mean(chosen)


@cache
def program(rate: float) -> jax.stages.Wrapped:
    """Return the jitted `train(parameters, images [n, 784] uint8, labels [n], key, epochs) -> parameters`."""

    def train(
        parameters: Parameters, images: jax.Array, labels: jax.Array, key: jax.Array, epochs: jax.Array
    ) -> Parameters:
        def run_epoch(epoch: jax.Array, state: tuple[Parameters, Parameters]) -> tuple[Parameters, Parameters]:
            rows = jax.random.permutation(jax.random.fold_in(key, epoch), images.shape[0])

            def run_step(step: jax.Array, state: tuple[Parameters, Parameters]) -> tuple[Parameters, Parameters]:
                parameters, momentum = state
                places = lax.dynamic_slice(rows, (step * BATCH,), (BATCH,))
                pixels = images[places].astype(jnp.float32) / 255
                gradients = jax.grad(minibatch_loss)(parameters, pixels, labels[places])
                momentum = tuple(MOMENTUM * old + new for old, new in zip(momentum, gradients))
                return tuple(leaf - rate * move for leaf, move in zip(parameters, momentum)), momentum

            return lax.fori_loop(0, images.shape[0] // BATCH, run_step, state)

        return lax.fori_loop(0, epochs, run_epoch, (parameters, tuple(map(jnp.zeros_like, parameters))))[0]

    return jax.jit(train, donate_argnums=0)


def start(work: Work, data: Examples, seconds: float) -> Callable[[], Reading]:
    """Compile the program, and return the function that trains as many networks as take about `seconds`."""
    inputs = jnp.asarray(data.images), jnp.asarray(data.labels[0]), jax.random.key(0)
    compiled: list[jax.stages.Compiled] = []
    make, first = program(work.learning_rates[0]), initialise(work.sizes, 0)
    compiling = timed(lambda: compiled.append(make.lower(first, *inputs, 1).compile()))

    def train(networks: int, epochs: int) -> float:
        starts = [initialise(work.sizes, seed) for seed in range(networks)]
        jax.block_until_ready(starts)
        return timed(lambda: [jax.block_until_ready(compiled[0](each, *inputs, epochs)) for each in starts])

    networks = work.fitting(seconds / min(train(1, 1) for _ in range(3)))
    note = f"{networks} networks"
    return lambda: Reading(train(networks, work.epochs), networks * work.examples, compiling, note)
