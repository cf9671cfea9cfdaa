"""The share of images for which each hidden unit is active."""

from functools import partial

import jax
import jax.numpy as jnp

from memo.measures.batched_mean import mean_over_blocks
from memo.networks import mlp
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels, as_seen


@partial(jax.jit, static_argnums=0)
def activity(static: Static, layers: Layers, pixels: jax.Array) -> tuple[jax.Array, ...]:
    """Return for each hidden layer the share of images [n, pixels] for which a unit's output is above 0, [units] each.

    Of one network; a ReLU unit with a share of 0 is dead on these images.
    """

    def total(places: jax.Array, weights: jax.Array) -> tuple[jax.Array, ...]:
        read: list[jax.Array] = []

        def keep(depth: int, values: jax.Array) -> jax.Array:
            read.append(values)
            return values

        mlp.apply(layers, as_seen(static, as_pixels(pixels[places])), static.activation, read=keep)
        return tuple(weights @ (values > 0).astype(jnp.float32) for values in read[1:])

    return mean_over_blocks(total, pixels.shape[0])
