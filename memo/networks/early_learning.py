"""The early-learning regulariser: Liu, Niles-Weed, Razavian and Fernandez-Granda 2020, arXiv:2007.00151.

A moving average of a network's own answers to each training image draws later answers to earlier ones, which were given
before wrong labels were memorised. The averages are part of a network's state (memo.networks.program.State).
"""

import jax
import jax.numpy as jnp

# The authors' bounds on probabilities (github.com/shengliu66/ELR, ELR/model/loss.py): no logarithm is infinite.
LEAST = 1e-4


def remember(averages: jax.Array, answers: jax.Array, memory: jax.Array | float) -> jax.Array:
    """Return the averages [batch, classes] after new answers [batch, classes]: memory × average + (1 − memory) × answer, no gradient.

    Averages begin at 0, so that the penalty sets in over the first presentations of an image.
    """
    bounded = jax.lax.stop_gradient(jnp.clip(answers, LEAST, 1 - LEAST))
    return memory * averages + (1 - memory) * bounded / jnp.sum(bounded, axis=-1, keepdims=True)


def penalty(answers: jax.Array, averages: jax.Array) -> jax.Array:
    """Return log(1 − answer · average), [batch], of answers and averages [batch, classes]; smallest where they agree."""
    return jnp.log(1 - jnp.sum(averages * jnp.clip(answers, LEAST, 1 - LEAST), axis=-1))
