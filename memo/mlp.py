"""Fully connected networks as tuples of layers, written for one network and one batch; `jax.vmap` makes populations."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


class Layer(NamedTuple):
    """`weights` [inputs, outputs] and `biases` [outputs], float32."""

    weights: jax.Array
    biases: jax.Array


class Initialiser(NamedTuple):
    """Standard draws, and the scale of a layer's weights and biases by its numbers of inputs and outputs."""

    draw: Callable[..., jax.Array]  # (key, shape) -> float32
    weights: Callable[[int, int], float]
    biases: float


def _symmetric_uniform(key, shape):
    return jax.random.uniform(key, shape, minval=-1, maxval=1)


INITIALISERS = {
    # He et al. 2015, Gaussian; Glorot and Bengio 2010, uniform; the "large" initialisation of Nielsen's book.
    "he": Initialiser(jax.random.normal, lambda inputs, outputs: math.sqrt(2 / inputs), 0.0),
    "glorot": Initialiser(_symmetric_uniform, lambda inputs, outputs: math.sqrt(6 / (inputs + outputs)), 0.0),
    "normal": Initialiser(jax.random.normal, lambda inputs, outputs: 1.0, 1.0),
}


def initialise(key: jax.Array, sizes: tuple[int, ...], init: str) -> tuple[Layer, ...]:
    """Return the layers of a network with `sizes` units (inputs first, classes last)."""
    initialiser = INITIALISERS[init]
    # One draw for all layers: a program with one random generator in it compiles more than twice as fast.
    draws = initialiser.draw(key, (count_parameters(sizes),))
    layers, start = [], 0
    for inputs, outputs in pairwise(sizes):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        weights = initialiser.weights(inputs, outputs) * draws[start:middle].reshape(inputs, outputs)
        layers.append(Layer(weights, initialiser.biases * draws[middle:end]))
        start = end
    return tuple(layers)


def apply(layers: tuple[Layer, ...], images: jax.Array, activation: str) -> jax.Array:
    """Return the outputs [batch, classes] before softmax or sigmoid for `images` [batch, pixels]."""
    for layer in layers[:-1]:
        images = ACTIVATIONS[activation](images @ layer.weights + layer.biases[None])
    return images @ layers[-1].weights + layers[-1].biases[None]


def count_parameters(sizes: tuple[int, ...]) -> int:
    """Return the number of weights and biases; 13,002 for (784, 16, 16, 10)."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
