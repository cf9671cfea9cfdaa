"""Loss functions, each with the output activation that its confidence is read from."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class Loss(NamedTuple):
    """`per_example(outputs [batch, classes], labels [batch]) -> [batch]`; `activate(outputs) -> [batch, classes]`.

    `even(outputs) -> [batch]` is the loss where every class is as likely as any other.
    """

    per_example: Callable[[jax.Array, jax.Array], jax.Array]
    activate: Callable[[jax.Array], jax.Array]
    even: Callable[[jax.Array], jax.Array]


def _half_squared_distance(outputs, labels):
    return _half_squares(outputs, jax.nn.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype))


def _half_squares(outputs, targets):
    return 0.5 * jnp.sum(jnp.square(jax.nn.sigmoid(outputs) - targets), axis=-1)


def _half_squared_distance_to_even(outputs):
    return _half_squares(outputs, 1 / outputs.shape[-1])


def _cross_entropy_of_even(outputs):
    return -jnp.mean(jax.nn.log_softmax(outputs), axis=-1)


def _sigmoid_cross_entropy(outputs, labels):
    targets = jax.nn.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    return jnp.sum(optax.sigmoid_binary_cross_entropy(outputs, targets), axis=-1)


def _sigmoid_cross_entropy_of_even(outputs):
    return jnp.sum(optax.sigmoid_binary_cross_entropy(outputs, jnp.full_like(outputs, 1 / outputs.shape[-1])), axis=-1)


# squared_error and sigmoid_cross_entropy: Nielsen's quadratic and cross-entropy costs, on the sigmoid of the outputs.
LOSSES = {
    "cross_entropy": Loss(optax.softmax_cross_entropy_with_integer_labels, jax.nn.softmax, _cross_entropy_of_even),
    "sigmoid_cross_entropy": Loss(_sigmoid_cross_entropy, jax.nn.sigmoid, _sigmoid_cross_entropy_of_even),
    "squared_error": Loss(_half_squared_distance, jax.nn.sigmoid, _half_squared_distance_to_even),
}
