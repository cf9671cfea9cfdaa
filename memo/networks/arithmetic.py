"""Alternative computations of a layer's product, equal within rounding; the fastest depends on the machine."""

import importlib.util
from typing import NamedTuple

import jax
import numpy as np
from jax import lax

from memo.networks import mlp
from memo.networks.mlp import Layers

# Images in a minibatch below which canonical gradients are faster for packs too (784-16-16-10 in batches of 10: 1.08 and 1.09).
SMALL_BATCH = 64
# Share of pixels that are not zero up to which reading only those is faster. Of MNIST 0.19 are not, of Fashion-MNIST 0.50.
SPARSE = 1 / 3
# Units of first layers that read the same images from which listing those pixels repays; at 16 it takes 1.6 times as long.
SPARSE_UNITS = 64


class Arithmetic(NamedTuple):
    """The choices; the default computes everything as it is written, and serves every device and every image.

    `canonical`: gradients of weights as products of arrays as they lie in memory, which XLA hands to its fastest product on
    CPUs: 1.07 and 1.13 times as fast at width 512 in two runs, no clear gain at other widths (docs/performance.md). `sparse`:
    the first layer reads bytes, and of those only what is not zero (`memo.networks.sparse`).
    """

    canonical: bool = False
    sparse: bool = False

    def product(self, depth: int, values: jax.Array, weights: mlp.Array) -> jax.Array:
        """Return values [batch, inputs] times weights [inputs, outputs] of the layer at this depth."""
        if depth == 0 and self.sparse:
            from memo.networks import sparse

            return sparse.product(values, weights)
        return _canonical(values, weights) if self.canonical else values @ weights

    def laid_out(self, layers: Layers) -> Layers:
        """Return turned layers (`memo.networks.mlp.turned`) as steps hold them, or back: a sparse first layer is not turned."""
        return (*mlp.turned(layers[:1]), *layers[1:]) if self.sparse else layers


PLAIN = Arithmetic()


def sparse_is_possible() -> bool:
    """Return whether numba is there: the extra [fast]."""
    return importlib.util.find_spec("numba") is not None


def density(images: mlp.Array) -> float:
    """Return the share of pixels that are not zero, of up to 1,000 training images of each source [G, N, pixels]."""
    some = np.asarray(images)[:, :1000]
    return float(np.count_nonzero(some) / max(1, some.size))


@jax.custom_vjp
def _canonical(values: jax.Array, weights: jax.Array) -> jax.Array:
    return values @ weights


def _forward(values: jax.Array, weights: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return values @ weights, (values, weights)


def _backward(read: tuple[jax.Array, jax.Array], slopes: jax.Array) -> tuple[jax.Array, jax.Array]:
    values, weights = read
    # The barrier keeps the transpose out of the product, where XLA would take Eigen's way instead of its own.
    return slopes @ weights.T, (lax.optimization_barrier(slopes.T) @ values).T


_canonical.defvjp(_forward, _backward)
