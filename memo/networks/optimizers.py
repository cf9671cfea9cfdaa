"""Optimisers and schedules through optax, with the hyper-parameters that may differ between networks as arrays.

A new optimiser is one entry in OPTIMIZERS; a recipe sets hyper-parameters of its own as `optimizer.options`.

    OPTIMIZERS["adam_b2"] = Update(lambda hyper, momentum: optax.scale_by_adam(hyper.momentum, hyper.options["b2"]), {"b2": 0.999})
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from memo.networks.mlp import Array, Layers


class Hyperparameters(NamedTuple):
    """Hyper-parameters per network, float32 scalars, which may differ inside one compiled program."""

    learning_rate: Array
    momentum: Array
    weight_decay: Array
    options: Mapping[str, Array] = {}


class Update(NamedTuple):
    """The transformation of the gradient before it is scaled: `make(hyper-parameters, whether any momentum is above 0)`.

    `options` are the optimiser's own hyper-parameters, finite numbers, with their defaults.
    """

    make: Callable[[Hyperparameters, bool], optax.GradientTransformation]
    options: Mapping[str, float] = {}


def _weights(layers: Layers) -> Layers:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, layers)


def _l2(weight_decay: Array) -> optax.GradientTransformation:
    # Coupled L2 as in Zhang et al.: the gradient of (weight_decay / 2) * sum of squares, of weights and not of biases.
    return optax.add_decayed_weights(weight_decay, mask=_weights)


def _sgd(hyper: Hyperparameters, momentum: bool) -> optax.GradientTransformation:
    l2 = _l2(hyper.weight_decay)
    return optax.chain(l2, optax.trace(decay=hyper.momentum)) if momentum else l2


def _adam(hyper: Hyperparameters, momentum: bool) -> optax.GradientTransformation:
    return optax.chain(_l2(hyper.weight_decay), optax.scale_by_adam(b1=hyper.momentum))


OPTIMIZERS: dict[str, Update] = {"sgd": Update(_sgd), "adam": Update(_adam)}

Factor = Callable[[jax.Array], jax.Array]


def epoch_of(step: jax.Array, steps_per_epoch: int | Fraction) -> jax.Array:
    """Return the passes over the data that are complete when a step begins, int32; it may end in the next one."""
    images, batch = steps_per_epoch.numerator, steps_per_epoch.denominator  # over their common divisor
    whole, rest = step // images, (step % images).astype(jnp.uint32)
    return whole * batch + (rest * jnp.uint32(batch) // jnp.uint32(images)).astype(jnp.int32) if batch > 1 else whole


def _drop_once(steps: int, steps_per_epoch: int | Fraction, decay: float) -> Factor:
    """Multiply by `decay` once, for the last third of the epochs (of 30, from the 21st on)."""
    start = math.ceil(steps_per_epoch * round(2 * int(steps // steps_per_epoch) / 3))
    return lambda step: jnp.where(step < start, jnp.float32(1), jnp.float32(decay))


# Each takes (all steps, steps per epoch, decay) and returns the factor on the learning rate by step.
SCHEDULES: dict[str, Callable[[int, int | Fraction, float], Factor]] = {
    "constant": lambda steps, steps_per_epoch, decay: optax.constant_schedule(1.0),
    "cosine": lambda steps, steps_per_epoch, decay: optax.cosine_decay_schedule(1.0, steps),
    # Not optax.exponential_decay(staircase=True): its floor of a float32 quotient comes a step late in some epochs.
    "exponential": lambda steps, steps_per_epoch, decay: (
        lambda step: decay ** epoch_of(step, steps_per_epoch).astype(jnp.float32)
    ),
    "step": _drop_once,
}


def make_optimizer(
    name: str, momentum: bool, schedule: str, steps: int, steps_per_epoch: int | Fraction, decay: float
) -> Callable[[Hyperparameters], optax.GradientTransformation]:
    """Return a function from one network's hyper-parameters to its optax optimiser; their momentum is Adam's b1.

    Without `momentum`, gradient descent keeps no running mean: 1.1 to 1.3 times as fast at minibatches of 10.
    """
    factor = SCHEDULES[schedule](steps, steps_per_epoch, decay)

    def optimizer(hyper: Hyperparameters) -> optax.GradientTransformation:
        return optax.chain(
            OPTIMIZERS[name].make(hyper, momentum),
            optax.scale_by_schedule(lambda step: -hyper.learning_rate * factor(step)),
        )

    return optimizer
