"""Disturbances of a network during training, absent in evaluation. A new one is one function and one key.

A disturbance acts on the input of a layer: the images (depth 0) or the activations of a hidden layer.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from memo.networks.mlp import Array


class Strengths(NamedTuple):
    """Per network, float32 scalars: the strength of each disturbance and of what is added to the loss; 0 is none."""

    dropout: Array  # probability
    input_dropout: Array  # probability
    hidden_noise: Array  # standard deviation
    input_noise: Array  # standard deviation, on the scale where white is 1
    adversarial: Array  # weight of the loss on adversarial images
    adversarial_radius: Array  # by how much a pixel is moved
    early_learning: Array  # weight of the regulariser of memo.networks.early_learning
    early_learning_memory: Array  # share of its averages that is kept


def _drop(key: jax.Array, rate: Array, values: jax.Array) -> jax.Array:
    """Set a share of the values to 0 and scale the others up, so that means are kept (inverted dropout)."""
    return jnp.where(jax.random.bernoulli(key, 1 - rate, values.shape), values / (1 - rate), 0)


def _add_gaussian(key: jax.Array, sd: Array, values: jax.Array) -> jax.Array:
    return values + sd * jax.random.normal(key, values.shape)


# By the names of Strengths: whether it acts on the images (or else on the hidden layers), and how. Adversarial training and
# the early-learning regulariser are not among them: they act on the loss (memo.networks.program).
DISTURBANCES: dict[str, tuple[bool, Callable[..., jax.Array]]] = {
    "dropout": (False, _drop),
    "input_dropout": (True, _drop),
    "hidden_noise": (False, _add_gaussian),
    "input_noise": (True, _add_gaussian),
}


def disturb(names: tuple[str, ...], strengths: Strengths, key: jax.Array) -> Callable[[int, jax.Array], jax.Array]:
    """Return `read(depth, values) -> values` for `memo.networks.mlp.apply`, one draw of the disturbances in `names`."""

    def read(depth: int, values: jax.Array) -> jax.Array:
        for number, name in enumerate(names):
            of_images, act = DISTURBANCES[name]
            if of_images == (depth == 0):
                own = jax.random.fold_in(jax.random.fold_in(key, depth), number)
                values = act(own, getattr(strengths, name), values)
        return values

    return read
