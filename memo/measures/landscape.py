"""The cost between and around networks: along a line, over a plane, and where networks lie in it.

    networks ──> points between or around them ──> cost at each: a line and its barrier, a plane
             └─> the same function with its hidden units in another order (matching), before two are compared

A network here is a tuple of layers as `memo.networks.mlp` has it; the cost is its recipe's mean loss over the images given,
without weight decay. Networks at points are sums of others, so the first layer's response to the images is computed
once, whatever the number of points.
"""

from collections.abc import Sequence
from functools import partial
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from memo.measures.batched_mean import mean_over_blocks
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.mlp import BLOCK, Layers
from memo.networks.program import Static, as_pixels, as_seen

# Activations that are held at a time, in points x images of a block x units (4 MB).
HELD = 2**20


def line(
    static: Static, a: Layers, b: Layers, pixels: ArrayLike, labels: ArrayLike, points: int = 25
) -> tuple[np.ndarray, np.ndarray]:
    """Return losses and accuracies, each [points], on the straight line from network a to b, both ends included.

    `pixels` [n, pixels] are float32 or bytes, `labels` [n]. Networks with numbers that are not finite give NaN losses.
    """
    along = np.linspace(0, 1, points)
    return mixtures(static, (a, b), np.stack([1 - along, along], axis=1), pixels, labels)


def lines(
    static: Static,
    pairs: Sequence[tuple[Layers, Layers]],
    generators: Sequence[np.random.Generator],
    pixels: ArrayLike,
    labels: ArrayLike,
    points: int = 25,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return losses and accuracies, each [pairs, points], on the lines between pairs of networks, by way.

    `as they are`, and `matched`: to the second network with its hidden units in the order that brings it nearest to the first
    (`match`, which draws from the pair's generator).
    """
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"as they are": [], "matched": []}
    for (a, b), generator in zip(pairs, generators, strict=True):
        for way, end in (("as they are", b), ("matched", match(a, b, generator))):
            found[way].append(line(static, a, end, pixels, labels, points))
    return {
        way: (
            np.reshape([losses for losses, _ in each], (-1, points)),
            np.reshape([hits for _, hits in each], (-1, points)),
        )
        for way, each in found.items()
    }


def barrier(losses: ArrayLike) -> float:
    """Return the largest excess of losses [points], evenly spaced on a line between networks, over linear interpolation of its ends.

    The largest difference between the loss of the mixture and the mixture of the two end losses: 0 where it never
    rises. Source: Entezari et al. 2022, arXiv:2110.06296. NaN where a loss is not finite.
    """
    losses = np.asarray(losses, float)
    if not np.isfinite(losses).all():
        return float("nan")
    # Rounding at the ends would else make a barrier of 1e-17, or a negative one.
    above = losses - np.linspace(losses[0], losses[-1], len(losses))
    return float(max(0.0, above.max()))


def plane(
    static: Static,
    origin: Layers,
    across: Layers,
    up: Layers,
    alphas: ArrayLike,
    betas: ArrayLike,
    pixels: ArrayLike,
    labels: ArrayLike,
) -> np.ndarray:
    """Return the losses [A, B] of the networks origin + alpha * across + beta * up, over `pixels` and `labels` [n]."""
    alphas, betas = np.asarray(alphas), np.asarray(betas)
    grid = np.stack(np.meshgrid(alphas, betas, indexing="ij"), axis=-1).reshape(-1, 2)
    coordinates = np.concatenate([np.ones((len(grid), 1)), grid], axis=1)
    losses, _ = mixtures(static, (origin, across, up), coordinates, pixels, labels)
    return losses.reshape(len(alphas), len(betas))


def mixtures(
    static: Static, basis: Sequence[Layers], coordinates: np.ndarray, pixels: ArrayLike, labels: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return losses and accuracies [S] of the sums of K networks that coordinates [S, K] weigh."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *basis)
    found = _evaluate(
        static, stacked, np.float32(coordinates), jnp.asarray(pixels), jnp.asarray(labels).astype(jnp.int32)
    )
    losses, accuracies = (np.asarray(values) for values in found)
    return losses, np.where(np.isfinite(losses), accuracies, np.nan)


@partial(jax.jit, static_argnums=0)
def _evaluate(
    static: Static, basis: Layers, coordinates: jax.Array, pixels: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return losses and accuracies [S] for basis [K, ...], coordinates [S, K], pixels [n, pixels], labels [n]."""
    per_example = LOSSES[static.loss].per_example
    at_a_time = max(1, HELD // (BLOCK * max(static.sizes[1:])))

    def total(places: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        shown, own = as_seen(static, as_pixels(pixels[places])), labels[places]
        first = jnp.einsum("np,kpu->knu", shown, basis[0].weights) + basis[0].biases[:, None]

        def of_point(mixture: jax.Array) -> tuple[jax.Array, jax.Array]:
            values, *rest = jax.tree.map(lambda leaf: jnp.tensordot(mixture, leaf, 1), (first, *basis[1:]))
            if rest:
                values = mlp.apply(tuple(rest), mlp.ACTIVATIONS[static.activation](values), static.activation)
            hits = jnp.argmax(values, axis=-1) == own
            return jnp.sum(weights * per_example(values, own)), jnp.sum(weights * hits.astype(jnp.float32))

        return lax.map(of_point, coordinates, batch_size=min(at_a_time, coordinates.shape[0]))

    return mean_over_blocks(total, pixels.shape[0])


# Where networks lie


def _flat(layers: Layers) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(layers)])


def _like(flat: np.ndarray, layers: Layers) -> Layers:
    leaves, structure = jax.tree.flatten(layers)
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = [part.reshape(leaf.shape).astype(np.float32) for part, leaf in zip(np.split(flat, ends), leaves)]
    return jax.tree.unflatten(structure, [jnp.asarray(part) for part in parts])


def random_direction(generator: np.random.Generator, layers: Layers) -> Layers:
    """Return a Gaussian direction in which each unit's incoming weights are as long as its weights in `layers`; biases 0.

    Source: the filter normalisation of Li et al. 2018, arXiv:1712.09913.
    """
    direction = []
    for weights, biases in layers:
        weights = np.asarray(weights, np.float64)
        drawn = generator.standard_normal(weights.shape)
        drawn *= np.linalg.norm(weights, axis=0) / np.linalg.norm(drawn, axis=0)
        direction.append(mlp.Layer(jnp.asarray(drawn, jnp.float32), jnp.zeros_like(biases)))
    return tuple(direction)


def through_three(a: Layers, b: Layers, c: Layers) -> tuple[Layers, Layers, Layers, np.ndarray]:
    """Return (origin, across, up, coordinates [3, 2]) of the plane through three networks: origin a, across towards b.

    `across` and `up` have length 1 and stand at right angles; row i of the coordinates is where network i lies.
    Raises ValueError where the three lie on a line, or have numbers that are not finite.
    """
    start, to_b, to_c = _flat(a), _flat(b) - _flat(a), _flat(c) - _flat(a)
    width = np.linalg.norm(to_b)
    across = to_b / width if width > 0 else to_b
    along = across @ to_c
    rest = to_c - along * across
    height = np.linalg.norm(rest)
    # The rounding residue of float32 weights on a line.
    if not (width > 0 and height > 1e-6 * np.linalg.norm(to_c) and np.isfinite(start).all()):
        raise ValueError("Three networks on a line, or with numbers that are not finite, span no plane.")
    coordinates = np.array([[0, 0], [width, 0], [along, height]])
    return a, _like(across, a), _like(rest / height, a), coordinates


def project(stack: Layers, origin: Layers, across: Layers, up: Layers) -> tuple[np.ndarray, np.ndarray]:
    """Return where networks (leaves [S, ...]) lie in a plane, [S, 2], and how far from it, [S].

    Coordinates count `across` and `up`, which need neither be at right angles nor have length 1; the point they name is
    the plane's nearest to the network.
    """
    networks = np.concatenate(
        [np.asarray(leaf, np.float64).reshape(len(leaf), -1) for leaf in jax.tree.leaves(stack)], axis=1
    )
    offsets, axes = networks - _flat(origin), np.stack([_flat(across), _flat(up)])
    coordinates = np.linalg.solve(axes @ axes.T, axes @ offsets.T).T
    return coordinates, np.sqrt(np.sum((offsets - coordinates @ axes) ** 2, axis=1))


# The order of hidden units


def permute(layers: Layers, orders: list[np.ndarray]) -> Layers:
    """Return the same function with hidden layer k's unit orders[k][i] in place i."""
    permuted = list(layers)
    for depth, order in enumerate(orders):
        weights, biases = permuted[depth]
        permuted[depth] = mlp.Layer(weights[:, order], biases[order])
        permuted[depth + 1] = permuted[depth + 1]._replace(weights=permuted[depth + 1].weights[order])
    return tuple(permuted)


def match(a: Layers, b: Layers, generator: np.random.Generator, attempts: int = 5) -> Layers:
    """Return b with the hidden units of each layer in the order that brings its weights and biases nearest to a's.

    Layer by layer, in random order, each layer's units are assigned to those of a with the other layers as they are,
    until no layer changes; the nearest result of some attempts, the first of which begins with b as it is, the others
    with random orders. Source: weight matching of Git Re-Basin, Ainsworth et al. 2023, arXiv:2209.04836.
    Raises ValueError where weights are not finite.
    """
    target, moving = (
        tuple(mlp.Layer(*(np.asarray(leaf, np.float64) for leaf in layer)) for layer in layers) for layers in (a, b)
    )
    units = [len(layer.biases) for layer in moving[:-1]]
    if not (np.isfinite(_flat(target)).all() and np.isfinite(_flat(moving)).all()):
        raise ValueError("Networks with numbers that are not finite cannot be matched.")
    found = []
    for attempt in range(attempts):
        orders = [np.arange(count) if attempt == 0 else generator.permutation(count) for count in units]
        _assign(target, moving, orders, generator)
        found.append((float(np.linalg.norm(_flat(permute(moving, orders)) - _flat(target))), orders))
    _, best = min(found, key=itemgetter(0))
    return permute(b, best)


def _assign(target: Layers, moving: Layers, orders: list[np.ndarray], generator: np.random.Generator) -> None:
    """Improve the orders in place until none changes."""
    changed = True
    while changed:
        changed = False
        for depth in generator.permutation(len(orders)):
            read = moving[depth].weights if depth == 0 else moving[depth].weights[orders[depth - 1]]
            written = moving[depth + 1].weights
            written = written if depth + 1 == len(orders) else written[:, orders[depth + 1]]
            alike = target[depth].weights.T @ read
            alike += np.outer(target[depth].biases, moving[depth].biases) + target[depth + 1].weights @ written.T
            places = np.arange(len(alike))
            found = linear_sum_assignment(alike, maximize=True)[1]
            gain = alike[places, found].sum() - alike[places, orders[depth]].sum()
            # More than rounding: equally good orders would else take turns for ever.
            if gain > 1e-12 * np.abs(alike).sum():
                orders[depth], changed = found, True
