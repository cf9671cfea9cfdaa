"""Fully connected networks as tuples of layers, written for one network and one batch; `jax.vmap` makes populations."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "gelu": jax.nn.gelu}


# Images taken at a time in a pass over many: enough for the matrix product, few enough to stay in the cache.
BLOCK = 500

# On a device, or still (or again) on the host.
Array = jax.Array | np.ndarray


class Layer(NamedTuple):
    """`weights` [inputs, outputs] and `biases` [outputs], float32."""

    weights: Array
    biases: Array


Layers = tuple[Layer, ...]


class Initialiser(NamedTuple):
    """Standard draws, and the scale of a layer's weights and biases by its numbers of inputs and outputs."""

    draw: Callable[..., jax.Array]  # (key, shape) -> float32
    weights: Callable[[int, int], float]
    biases: float


def _symmetric_uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.uniform(key, shape, minval=-1, maxval=1)


INITIALISERS = {
    # He et al. 2015, Gaussian; Glorot and Bengio 2010, uniform; the "large" initialisation of Nielsen's book.
    "he": Initialiser(jax.random.normal, lambda inputs, outputs: math.sqrt(2 / inputs), 0.0),
    "glorot": Initialiser(_symmetric_uniform, lambda inputs, outputs: math.sqrt(6 / (inputs + outputs)), 0.0),
    "normal": Initialiser(jax.random.normal, lambda inputs, outputs: 1.0, 1.0),
    # LeCun et al. 1998: a unit's weights have a length of about 1.
    "lecun": Initialiser(jax.random.normal, lambda inputs, outputs: math.sqrt(1 / inputs), 0.0),
}


def initialise(key: jax.Array, sizes: tuple[int, ...], init: str, receptive_field: int | None = None) -> Layers:
    """Return the layers of a network with `sizes` units (inputs first, classes last).

    Where `receptive_field` is a side in pixels, a unit of the first layer has weights inside its patch only.
    """
    initialiser = INITIALISERS[init]
    # One draw for all layers: a program with one random generator in it compiles more than twice as fast.
    draws = initialiser.draw(key, (count_parameters(sizes),))
    layers, start = [], 0
    for inputs, outputs in pairwise(sizes):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        weights = draws[start:middle].reshape(inputs, outputs)
        if start == 0 and receptive_field is not None:
            weights = initialiser.weights(receptive_field**2, outputs) * weights * patches(sizes, receptive_field)
        else:
            weights = initialiser.weights(inputs, outputs) * weights
        layers.append(Layer(weights, initialiser.biases * draws[middle:end]))
        start = end
    return tuple(layers)


def turned(layers: Layers) -> Layers:
    """Return layers with weights as [outputs, inputs] instead of [inputs, outputs], or back; leading axes stay.

    Networks train turned: the first layer's gradient is then a product of a few rows by the images as they lie in memory, and
    the networks of a pack are rows of one matrix, 1.2 to 1.4 times as fast for single networks of up to 100 units in batches of
    up to 64 (docs/performance.md).
    """
    return tuple(layer._replace(weights=layer.weights.swapaxes(-1, -2)) for layer in layers)


def patches(sizes: tuple[int, ...], side: int) -> np.ndarray:
    """Return the mask of pixels that each unit of the first layer sees, float32 [pixels, units] of 0 and 1.

    The patches are squares of `side` by `side` pixels, row by row from the top left, spread from edge to edge of the
    (square) image. As many rows as there are units in a row, as nearly as their number allows.
    """
    whole, units = math.isqrt(sizes[0]), sizes[1]

    def spread(count: int) -> np.ndarray:
        return np.round(np.linspace(0, whole - side, count) if count > 1 else [(whole - side) / 2]).astype(int)

    rows = round(math.sqrt(units))
    corners = [
        (top, left) for row, top in enumerate(spread(rows)) for left in spread(units // rows + (row < units % rows))
    ]
    seen = np.zeros((whole, whole, units), np.float32)
    for unit, (top, left) in enumerate(corners):
        seen[top : top + side, left : left + side, unit] = 1
    return seen.reshape(sizes[0], units)


def _as_it_is(depth: int, values: jax.Array) -> jax.Array:
    return values


def _product(depth: int, values: jax.Array, weights: Array) -> jax.Array:
    return values @ weights


def apply(
    layers: Layers,
    images: jax.Array,
    activation: str,
    read: Callable[[int, jax.Array], jax.Array] = _as_it_is,
    product: Callable[[int, jax.Array, Array], jax.Array] = _product,
) -> jax.Array:
    """Return the outputs [batch, classes] before softmax or sigmoid for `images` [batch, pixels].

    `read(depth, values)` may change the input of a layer: the images at depth 0, then each hidden layer's activations.
    `product(depth, values, weights)` multiplies the two, by the fastest method (`memo.networks.arithmetic`).
    """
    values = read(0, images)
    for depth, layer in enumerate(layers[:-1]):
        values = product(depth, values, layer.weights) + layer.biases[None]
        values = read(depth + 1, ACTIVATIONS[activation](values))
    return product(len(layers) - 1, values, layers[-1].weights) + layers[-1].biases[None]


def describe_widths(widths: Sequence[int], style: Literal["x", "-", "×"] = "x") -> str:
    """Return layers as text: 64x64 (hidden ones), 784-16-10 (all), or 64, 1×64, 3×64 for two, one, three equal ones.

    Layers that are not equal are all named, 64×32. A network without hidden layers is `linear`, and its width (×) is 0.
    """
    if not widths:
        return "0" if style == "×" else "linear"
    if style == "×" and len(set(widths)) == 1:
        return str(widths[0]) if len(widths) == 2 else f"{len(widths)}×{widths[0]}"
    return style.join(map(str, widths))


def count_parameters(sizes: tuple[int, ...], receptive_field: int | None = None) -> int:
    """Return the number of weights and biases; 13,002 for (784, 16, 16, 10)."""
    dense = sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
    return dense if receptive_field is None else dense - sizes[1] * (sizes[0] - receptive_field**2)
