"""Means over images, a block of them at a time: what bounds the memory of a measurement."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from memo.networks.mlp import BLOCK


def mean_over_blocks(total: Callable[[jax.Array, jax.Array], Any], count: int) -> Any:
    """Return the mean over images 0 .. count - 1 of whatever `total(places [block], weights [block])` sums.

    `total` is to sum over the images at these places, each times its weight: 1 / count, or 0 for a place that fills up
    the last block. It may return any tree of arrays. Gradients do not pass through: take them inside `total`.
    """
    block = min(BLOCK, count)
    starts = jnp.arange(0, count, block, dtype=jnp.int32)

    def of_block(start: jax.Array) -> Any:
        places = start + jnp.arange(block, dtype=jnp.int32)
        weights = jnp.where(places < count, jnp.float32(1 / count), jnp.float32(0))
        return total(jnp.minimum(places, count - 1), weights)

    shapes = jax.eval_shape(of_block, jax.ShapeDtypeStruct((), jnp.int32))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return lax.scan(lambda sums, start: (jax.tree.map(jnp.add, sums, of_block(start)), None), zeros, starts)[0]
