"""The second derivatives of a network's mean loss: all of them for small networks, extreme eigenvalues and spectral shares for others.

    network, images ──> H v ──> H, its eigenvalues
                           └──> Lanczos ──> Ritz values and weights ──> top, bottom, share of negative eigenvalues

The loss is the recipe's mean over the images given, without weight decay. Parameters are one vector, in the order of the
leaves of the layers. ReLU networks have a Hessian almost everywhere: what their kinks would add is not in it.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from scipy.linalg import eigh_tridiagonal

from memo.measures.batched_mean import mean_over_blocks
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.mlp import BLOCK, Layers
from memo.networks.program import Static, as_pixels, as_seen

# Activations that are held at a time, in directions x images of a block x units (8 MB).
HELD = 2**21

Multiply = Callable[[jax.Array], jax.Array]
Unravel = Callable[[jax.Array], Layers]


def _loss(static: Static, unravel: Unravel, pixels: jax.Array, labels: jax.Array) -> Callable[..., jax.Array]:
    """Return the function whose sum over blocks is the mean loss: (flat [P], places, weights) -> []."""
    per_example = LOSSES[static.loss].per_example

    def loss(flat: jax.Array, places: jax.Array, weights: jax.Array) -> jax.Array:
        outputs = mlp.apply(unravel(flat), as_seen(static, as_pixels(pixels[places])), static.activation)
        return jnp.sum(weights * per_example(outputs, labels[places].astype(jnp.int32)))

    return loss


def _multiplier(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array) -> tuple[jax.Array, Multiply]:
    """Return the parameters [P] and the function v [P] -> H v [P]."""
    flat, unravel = ravel_pytree(layers)
    loss = _loss(static, unravel, pixels, labels)

    def multiply(vector: jax.Array) -> jax.Array:
        def total(places: jax.Array, weights: jax.Array) -> jax.Array:
            gradient = jax.grad(lambda at: loss(at, places, weights))
            return jax.jvp(gradient, (flat,), (vector,))[1]

        return mean_over_blocks(total, pixels.shape[0])

    return flat, multiply


@partial(jax.jit, static_argnums=0)
def gradient(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the gradient [P] of the mean loss over `pixels` [n, pixels], uint8 or float32, and `labels` [n]."""
    flat, unravel = ravel_pytree(layers)
    loss = _loss(static, unravel, pixels, labels)
    return mean_over_blocks(lambda places, weights: jax.grad(loss)(flat, places, weights), pixels.shape[0])


@partial(jax.jit, static_argnums=0)
def times(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array, vector: jax.Array) -> jax.Array:
    """Return the Hessian times `vector` [P], [P] float32."""
    return _multiplier(static, layers, pixels, labels)[1](vector)


@partial(jax.jit, static_argnums=0)
def _rows(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array) -> jax.Array:
    flat, multiply = _multiplier(static, layers, pixels, labels)
    at_a_time = max(1, HELD // (min(BLOCK, pixels.shape[0]) * max(static.sizes[1:])))

    def row(place: jax.Array) -> jax.Array:
        return multiply(jnp.zeros_like(flat).at[place].set(1))

    return lax.map(row, jnp.arange(flat.size), batch_size=min(at_a_time, flat.size))


def exact(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array) -> np.ndarray:
    """Return the Hessian [P, P], float64 made symmetric; P^2 products of float32, so for a few thousand parameters."""
    rows = np.asarray(_rows(static, layers, pixels, labels), np.float64)
    return (rows + rows.T) / 2


@partial(jax.jit, static_argnums=(0, 5))
def _lanczos_of_loss(
    static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array, starts: jax.Array, steps: int
) -> tuple[jax.Array, jax.Array]:
    multiply = _multiplier(static, layers, pixels, labels)[1]
    return lax.map(lambda start: lanczos(multiply, start, steps), starts)


def lanczos(multiply: Multiply, start: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Return the diagonal [steps] and the off-diagonal [steps] of the tridiagonal matrix that `multiply` [P] -> [P] gives.

    From `start` [P], which need not have length 1, with every vector made orthogonal to all before it, twice: without
    that, float32 finds its largest eigenvalues again and again. Where the Krylov space ends before `steps`, the off-diagonal
    is (nearly) 0 from there on; its last entry is that of the step after the last.
    """

    def orthogonal(vector: jax.Array, basis: jax.Array) -> jax.Array:
        for _ in range(2):
            vector = vector - basis.T @ (basis @ vector)
        return vector

    def step(
        carry: tuple[jax.Array, jax.Array], place: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        basis, vector = carry
        basis = basis.at[place].set(vector)
        image = multiply(vector)
        diagonal = image @ vector
        rest = orthogonal(image, basis)
        length = jnp.linalg.norm(rest)
        # The rounding residue of an exhausted space is not a direction.
        ended = length <= 1e-6 * jnp.linalg.norm(image)
        following = jnp.where(ended, 0, rest / jnp.where(length > 0, length, 1))
        return (basis, following), (diagonal, jnp.where(ended, 0, length))

    basis = jnp.zeros((steps, start.size), start.dtype)
    _, (diagonal, off) = lax.scan(step, (basis, start / jnp.linalg.norm(start)), jnp.arange(steps))
    return diagonal, off


def ritz(diagonal: np.ndarray, off: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Ritz values [k], ascending, and their weights [k], which sum to 1, of one run of `lanczos`, float64.

    k is the number of steps, fewer where the run ended by itself. The extreme values approach the ends of the spectrum from
    inside; the values at their weights are a quadrature of the spectrum as the start weighs it. Source: Golub and Welsch 1969; for networks Ghorbani et al. 2019, arXiv:1901.10159.
    """
    diagonal, off = np.asarray(diagonal, np.float64), np.asarray(off, np.float64)[:-1]
    ended = np.flatnonzero(off == 0)
    count = ended[0] + 1 if len(ended) else len(diagonal)
    values, vectors = eigh_tridiagonal(diagonal[:count], off[: count - 1])
    return values, vectors[0] ** 2


def spectrum(
    static: Static,
    layers: Layers,
    pixels: jax.Array,
    labels: jax.Array,
    starts: np.ndarray,
    steps: int,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return Ritz values and weights of the Hessian from each of the `starts` [S, P], `steps` products each."""
    diagonals, offs = _lanczos_of_loss(
        static, layers, pixels, labels, jnp.asarray(starts, jnp.float32), min(steps, np.shape(starts)[1])
    )
    return [ritz(diagonal, off) for diagonal, off in zip(np.asarray(diagonals), np.asarray(offs))]


def share_below(found: list[tuple[np.ndarray, np.ndarray]], bound: float) -> float:
    """Return the share of eigenvalues below `bound`, by stochastic quadrature: the mean over starts of the weights there.

    Unbiased up to the quadrature's error where the starts are random signs (Hutchinson) or Gaussian.
    """
    return float(np.mean([weights[values < bound].sum() for values, weights in found]))
