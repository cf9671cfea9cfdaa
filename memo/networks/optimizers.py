"""Optimisers and schedules through optax, with the hyper-parameters that may differ between networks as arrays."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from memo.networks.mlp import Array


class Hyperparameters(NamedTuple):
    """Per network, float32 scalars: what differs inside one compiled program."""

    learning_rate: Array
    momentum: Array
    weight_decay: Array


def _weights(layers):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, layers)


def _l2(weight_decay):
    # Coupled L2 as in Zhang et al.: the gradient of (weight_decay / 2) * sum of squares, of weights and not of biases.
    return optax.add_decayed_weights(weight_decay, mask=_weights)


def _sgd(hyper, momentum):
    l2 = _l2(hyper.weight_decay)
    return optax.chain(l2, optax.trace(decay=hyper.momentum)) if momentum else l2


def _adam(hyper, momentum):
    return optax.chain(_l2(hyper.weight_decay), optax.scale_by_adam(b1=hyper.momentum))


# (hyper-parameters, whether any momentum is above 0) -> what is done to the gradient.
OPTIMIZERS: dict[str, Callable[[Hyperparameters, bool], optax.GradientTransformation]] = {"sgd": _sgd, "adam": _adam}


def _drop_once(steps, steps_per_epoch, decay):
    """Multiply by `decay` once, for the last third of the epochs (of 30, from the 21st on)."""
    start = steps_per_epoch * round(2 * (steps // steps_per_epoch) / 3)
    return lambda step: jnp.where(step < start, jnp.float32(1), jnp.float32(decay))


# Each takes (steps in all, steps an epoch, decay an epoch) and returns the factor on the learning rate by step.
SCHEDULES = {
    "constant": lambda steps, steps_per_epoch, decay: optax.constant_schedule(1.0),
    "cosine": lambda steps, steps_per_epoch, decay: optax.cosine_decay_schedule(1.0, steps),
    # Not optax.exponential_decay(staircase=True): its floor of a float32 quotient comes a step late in some epochs.
    "exponential": lambda steps, steps_per_epoch, decay: (
        lambda step: decay ** (step // steps_per_epoch).astype(jnp.float32)
    ),
    "step": _drop_once,
}


def make_optimizer(
    name: str, momentum: bool, schedule: str, steps: int, steps_per_epoch: int, decay: float
) -> Callable[[Hyperparameters], optax.GradientTransformation]:
    """Return a function from one network's hyper-parameters to its optax optimiser; their momentum is Adam's b1.

    Without `momentum`, gradient descent keeps no running mean: 1.1 to 1.3 times as fast at minibatches of 10.
    """
    factor = SCHEDULES[schedule](steps, steps_per_epoch, decay)

    def optimizer(hyper: Hyperparameters) -> optax.GradientTransformation:
        return optax.chain(
            OPTIMIZERS[name](hyper, momentum), optax.scale_by_schedule(lambda step: -hyper.learning_rate * factor(step))
        )

    return optimizer
