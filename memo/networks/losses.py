"""Loss functions, each with the output activation that defines confidence. A new loss is one entry in LOSSES.

LOSSES["my_loss"] = make_loss(per_example, jax.nn.softmax)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

PerExample = Callable[[jax.Array, jax.Array], jax.Array]
OfOutputs = Callable[[jax.Array], jax.Array]

GENERALISED_Q = (
    0.7  # of Zhang and Sabuncu 2018, arXiv:1805.07836: between cross-entropy (0) and the mean absolute error (1)
)


class Loss(NamedTuple):
    """`per_example(outputs [batch, classes], labels [batch]) -> [batch]`; `activate(outputs) -> [batch, classes]`.

    `even(outputs) -> [batch]` is the loss where every class is as likely as any other. `score(outputs, classes [batch]) ->
    [batch]` is maximised to draw an image of a class (memo.probes.drawings).
    """

    per_example: PerExample
    activate: OfOutputs
    even: OfOutputs
    score: PerExample

    @property
    def of_softmax(self) -> bool:
        """Whether the outputs are those of a softmax, whose temperature can be fitted."""
        return self.activate is jax.nn.softmax

    @property
    def of_probabilities(self) -> bool:
        """Whether activations are probabilities, the largest of which is a network's confidence; else it has none."""
        return self.activate is not as_they_are

    def confidence(self, outputs: jax.Array) -> jax.Array:
        """Return the largest activation [...] of outputs [..., classes], NaN where activations are no probabilities."""
        return jnp.max(self.activate(outputs) if self.of_probabilities else jnp.full_like(outputs, jnp.nan), axis=-1)


def make_loss(
    per_example: PerExample, activate: OfOutputs, even: OfOutputs | None = None, score: PerExample | None = None
) -> Loss:
    """Return a loss; by default `even` is its mean over all labels, and `score` its negative."""

    def mean_over_labels(outputs: jax.Array) -> jax.Array:
        labels = jnp.arange(outputs.shape[-1])
        return jnp.mean(
            jax.vmap(lambda label: per_example(outputs, jnp.full(outputs.shape[:-1], label)))(labels), axis=0
        )

    def negative(outputs: jax.Array, classes: jax.Array) -> jax.Array:
        return -per_example(outputs, classes)

    return Loss(per_example, activate, even or mean_over_labels, score or negative)


def of_class(values: jax.Array, classes: jax.Array) -> jax.Array:
    """Return the value [batch] of each row's class, of values [batch, classes]."""
    return jnp.take_along_axis(values, classes[:, None], axis=-1)[:, 0]


def _half_squared_distance(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    return _half_squares(outputs, jax.nn.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype))


def _half_squares(outputs: jax.Array, targets: jax.Array | float) -> jax.Array:
    return 0.5 * jnp.sum(jnp.square(jax.nn.sigmoid(outputs) - targets), axis=-1)


def _half_squared_distance_to_even(outputs: jax.Array) -> jax.Array:
    return _half_squares(outputs, 1 / outputs.shape[-1])


def _cross_entropy_of_even(outputs: jax.Array) -> jax.Array:
    return -jnp.mean(jax.nn.log_softmax(outputs), axis=-1)


def _generalised_cross_entropy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return (1 − p^q) / q of the probability p of each label: cross-entropy at q → 0, mean absolute error at q = 1."""
    return (1 - jnp.exp(GENERALISED_Q * _log_softmax(outputs, labels))) / GENERALISED_Q


def _generalised_cross_entropy_of_even(outputs: jax.Array) -> jax.Array:
    return jnp.mean(1 - jnp.exp(GENERALISED_Q * jax.nn.log_softmax(outputs)), axis=-1) / GENERALISED_Q


def _half_squared_distance_of_outputs(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    targets = jax.nn.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    return 0.5 * jnp.sum(jnp.square(outputs - targets), axis=-1)


def _half_squared_distance_of_outputs_to_even(outputs: jax.Array) -> jax.Array:
    return 0.5 * jnp.sum(jnp.square(outputs - 1 / outputs.shape[-1]), axis=-1)


def as_they_are(outputs: jax.Array) -> jax.Array:
    """Return the outputs: the activation of a loss on outputs that are no probabilities."""
    return outputs


def _sigmoid_cross_entropy(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    targets = jax.nn.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    return jnp.sum(optax.sigmoid_binary_cross_entropy(outputs, targets), axis=-1)


def _sigmoid_cross_entropy_of_even(outputs: jax.Array) -> jax.Array:
    return jnp.sum(optax.sigmoid_binary_cross_entropy(outputs, jnp.full_like(outputs, 1 / outputs.shape[-1])), axis=-1)


def _log_softmax(outputs: jax.Array, classes: jax.Array) -> jax.Array:
    return of_class(jax.nn.log_softmax(outputs), classes)


def _log_one_hot(outputs: jax.Array, classes: jax.Array) -> jax.Array:
    """Return the log probability of the one-hot target where each sigmoid output is a probability of its own."""
    wanted = jax.nn.one_hot(classes, outputs.shape[-1], dtype=outputs.dtype) > 0
    return jnp.sum(jax.nn.log_sigmoid(jnp.where(wanted, outputs, -outputs)), axis=-1)


# squared_error and sigmoid_cross_entropy: Nielsen's quadratic and cross-entropy costs, on the sigmoid of the outputs. The
# gradient of the squared error vanishes where a sigmoid saturates, so an image of a class is drawn by log probabilities.
# linear_squared_error: the squared loss of the outputs themselves on one-hot labels, as Belkin et al. 2019 have it; its outputs are no
# probabilities and give no confidence, and an image of a class is drawn by raising that output. generalised_cross_entropy: Zhang and Sabuncu 2018.
LOSSES: dict[str, Loss] = {
    "cross_entropy": make_loss(
        optax.softmax_cross_entropy_with_integer_labels, jax.nn.softmax, _cross_entropy_of_even, _log_softmax
    ),
    "sigmoid_cross_entropy": make_loss(
        _sigmoid_cross_entropy, jax.nn.sigmoid, _sigmoid_cross_entropy_of_even, _log_one_hot
    ),
    "squared_error": make_loss(_half_squared_distance, jax.nn.sigmoid, _half_squared_distance_to_even, _log_one_hot),
    "linear_squared_error": make_loss(
        _half_squared_distance_of_outputs, as_they_are, _half_squared_distance_of_outputs_to_even, of_class
    ),
    "generalised_cross_entropy": make_loss(
        _generalised_cross_entropy, jax.nn.softmax, _generalised_cross_entropy_of_even, _log_softmax
    ),
}
