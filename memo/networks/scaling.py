"""How pixels are scaled before a network reads them: by two numbers for each image. A new scaling is one entry in SCALINGS.

    pixels, black 0 and white 1 ──> (pixels − offset) × factor

So images stay bytes in memory, and minibatches are scaled as they are read.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from memo.networks.mlp import Array

Overall = tuple[float, float]  # mean and standard deviation of all training pixels


def _per_image(pixels: jax.Array, overall: Overall) -> tuple[jax.Array, jax.Array]:
    """Zhang et al. 2017, by TensorFlow's per_image_standardization: an even image has a deviation of 1 / sqrt(pixels)."""
    floor = 1 / math.sqrt(pixels.shape[-1])
    return pixels.mean(axis=-1), 1 / jnp.maximum(pixels.std(axis=-1), floor)


def _by_training_set(pixels: jax.Array, overall: Overall) -> tuple[jax.Array, jax.Array]:
    mean, sd = (jnp.full(pixels.shape[:-1], value, jnp.float32) for value in overall)
    return mean, 1 / sd


# (pixels [..., pixels] float32, of all training pixels) -> offset [...], factor [...]. `unit` has no function: its pixels are
# read as they are.
SCALINGS: dict[str, Callable[[jax.Array, Overall], tuple[jax.Array, jax.Array]] | None] = {
    "unit": None,
    "per_image": _per_image,
    "global": _by_training_set,
}


def numbers(name: str, pixels: jax.Array, overall: Overall) -> jax.Array | None:
    """Return the offset and the factor of each of the images [..., pixels], float32 [..., 2]; None where nothing is scaled."""
    scaling = SCALINGS[name]
    return None if scaling is None else jnp.stack(scaling(pixels, overall), axis=-1)


def scaled(pixels: jax.Array, numbers: Array | None) -> jax.Array:
    """Return images [..., pixels] by their `numbers` [..., 2]."""
    return pixels if numbers is None else (pixels - numbers[..., :1]) * numbers[..., 1:]
