"""The size of a network's weights, layer by layer and along its paths, and the margins of its answers.

    layers ──> spectral norms, distances, path norms ──┐
    outputs, labels ──> margins ───────────────────────┴──> margins per complexity, capacities

For one network; `jax.vmap` makes populations. Weights are [inputs, outputs], the transposes of the papers' matrices; biases are
not in any of the norms, as in the papers.
"""

import jax
import jax.numpy as jnp

from memo.networks.mlp import Layers


def spectral_norms(layers: Layers) -> jax.Array:
    """Return the largest singular value of each layer's weights, [layers]; from the smaller product with its transpose."""

    def largest(weights: jax.Array) -> jax.Array:
        inputs, outputs = weights.shape
        product = weights @ weights.T if inputs < outputs else weights.T @ weights
        return jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(product)[-1], 0))

    return jnp.stack([largest(jnp.asarray(layer.weights)) for layer in layers])


def frobenius_norms(layers: Layers) -> jax.Array:
    """Return the root of the sum of squares of each layer's weights, [layers]."""
    return jnp.stack([jnp.linalg.norm(layer.weights) for layer in layers])


def unit_distances(layers: Layers, reference: Layers | None = None) -> jax.Array:
    """Return the sum over units of the Euclidean length of their incoming weights, or of their change from `reference`, [layers].

    The (2, 1) norm of the transposed matrices of Bartlett et al. 2017.
    """
    others = [None] * len(layers) if reference is None else reference
    changes = [
        layer.weights if other is None else layer.weights - other.weights for layer, other in zip(layers, others)
    ]
    return jnp.stack([jnp.sum(jnp.linalg.norm(change, axis=0)) for change in changes])


def spectral_complexity(spectral: jax.Array, distances: jax.Array) -> jax.Array:
    """Return the spectral complexity [] from a network's spectral norms [layers] and its `unit_distances` [layers].

    The product of the spectral norms times (sum over layers of (distance / spectral norm)^(2/3))^(3/2), for activations with slopes
    of at most 1. Source: Bartlett et al. 2017, arXiv:1706.08498, equation 1.2.
    """
    return jnp.prod(spectral) * jnp.sum((distances / spectral) ** (2 / 3)) ** (3 / 2)


def path_norm(layers: Layers, power: int) -> jax.Array:
    """Return the sum over all paths from an input to an output of the product of |weight|^power along it, []."""
    values = jnp.ones(layers[0].weights.shape[0])
    for layer in layers:
        values = values @ jnp.abs(layer.weights) ** power
    return jnp.sum(values)


def capacities(layers: Layers) -> dict[str, jax.Array]:
    """Return the logarithms [] of four products of norms, each to be divided by the squared margin; constant factors left out.

    `l2`: the product of squared Frobenius norms; `l1_path`: the squared path norm; `l2_path`: the path norm of squares times the
    hidden widths; `spectral`: the product of squared spectral norms times the hidden widths. Logarithms, because float32 ends at 3e38.
    Source: Neyshabur et al. 2017, arXiv:1706.08947, section 2.
    """
    widths = jnp.log(jnp.array([layer.weights.shape[1] for layer in layers[:-1]], jnp.float32)).sum()
    return {
        "l2": 2 * jnp.sum(jnp.log(frobenius_norms(layers))),
        "l1_path": 2 * jnp.log(path_norm(layers, 1)),
        "l2_path": jnp.log(path_norm(layers, 2)) + widths,
        "spectral": 2 * jnp.sum(jnp.log(spectral_norms(layers))) + widths,
    }


def margins(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the output at the label minus the largest other output, [n], of outputs [n, classes] and labels [n]."""
    given = jax.nn.one_hot(labels, outputs.shape[-1], dtype=bool)
    own = jnp.sum(jnp.where(given, outputs, 0), axis=-1)
    return own - jnp.max(jnp.where(given, -jnp.inf, outputs), axis=-1)
