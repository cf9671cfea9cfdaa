"""The gradient of the cost: its norm, its largest components, and the decrease of the cost by each step.

    each network's own training images ──> gradient ──> its components, layer by layer
                                             └──> steps: along it, along random directions, of its largest components

The cost is the mean loss alone: without weight decay, and without the disturbances of training.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from memo.data.randomness import generator
from memo.measures.batched_mean import mean_over_blocks
from memo.networks import mlp
from memo.networks.losses import LOSSES
from memo.networks.mlp import BLOCK, Layers
from memo.networks.optimizers import SCHEDULES
from memo.networks.program import Static, as_pixels, as_seen
from memo.probes.networks import Networks

SAMPLE = 1_000  # images at most, the first of each training subset
QUANTILES = (0.1, 0.5, 0.9, 0.99)
PERCENT = (1, 10)  # of the components: the largest, or as many random ones
DIRECTIONS = 100
DRAWS = 20  # of random components
MINIBATCHES = 20
# Of the small steps, as a share of the norm of all weights and biases. Against float64, on 784-16-16-10 and 2,000 images,
# slopes are then off by 1e-5 (0.7e-5 to 1.5e-5), ten times more over a step ten times shorter. Over one ten times
# longer it is a tenth of that, but the curvature takes over: at a cost of 0.0002 the step down the gradient led up.
LENGTH = 1e-4
# Numbers that are held at a time: of moves, or of activations in a block of images (32 MB).
HELD = 2**23

# Images, which of their sources, its rows [n], and the labels [m, n] of m networks.
Shown = tuple[mlp.Array, np.int32, np.ndarray, np.ndarray]
Places = np.ndarray | slice

_OF_ALL_LAYERS = (
    "cost",
    "slope_length",
    "slope_gradient",
    "slope_random_mean",
    "slope_random_sd",
    "slope_random_best",
    "rank",
    "decrease_full",
    *(f"decrease_{kind}_{share}" for kind in ("top", "random") for share in PERCENT),
    "minibatch_norm",
    "step_length",
)


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network and `layer` (0: all layers together; 1: the first), over its first 1,000 images.

    `norm` is the length of the gradient; `largest` and `q10` ... `q99` are of the absolute components; `share_top_1`
    and `share_top_10` are the largest 1 % and 10 % of the components' shares of the squared norm (NaN for norm 0).

    The other columns are NaN but in layer 0. `cost`: the mean loss. `slope_gradient`: how much it falls per unit length
    over a step of `slope_length` (1e-4 of the norm of all weights) down the gradient; `slope_random_mean`, `_sd` and
    `_best`: the same over 100 random directions; `rank`: the share of these that lead further down. `decrease_full`:
    how much the cost falls in one step of the recipe's learning rate along the gradient; `decrease_top_1`, `_top_10`:
    where only the largest 1 % or 10 % of the components move; `decrease_random_1`, `_random_10`: where as many random
    ones do, the mean over 20 draws. `minibatch_norm`: the mean norm of the gradient of 20 minibatches of the recipe's
    size; `step_length`: that times the learning rate and its schedule's factor at this step (NaN at the end of
    training, where networks are at different steps): the length of a plain step of gradient descent, without momentum,
    weight decay, or Adam's scaling.

    Slopes are finite differences, so the curvature over the step is in them: where the gradient has become short, the
    step down it may lead up. Rounding is about 1e-5 in a slope and 1e-8 in a decrease; smaller values are meaningless.
    Directions, components and minibatches are drawn by seed, the same for all networks of it.
    """
    networks = networks._replace(layers=jax.tree.map(np.asarray, networks.layers))
    rows = []
    for seed, members in _sharing(networks):
        rows += _rows(networks, seed, members)
    rows.sort(key=lambda row: (row["network"], row["layer"]))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _sharing(networks: Networks) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (seed, positions [m]) of the networks of one seed that train on the same images."""
    keys = [
        (int(seed), int(source), rows.tobytes())
        for seed, source, rows in zip(networks.seeds, networks.sources, np.asarray(networks.rows))
    ]
    for key in dict.fromkeys(keys):
        yield key[0], np.flatnonzero([other == key for other in keys])


def _rows(networks: Networks, seed: int, members: np.ndarray) -> list[dict[str, Any]]:
    static, layers = networks.static, jax.tree.map(itemgetter(members), networks.layers)
    rows, labels = np.asarray(networks.rows)[members[0]], np.asarray(networks.labels)[members]
    train, source = networks.images.train, networks.sources[members[0]]
    shown = train, np.int32(source), rows[:SAMPLE], labels[:, :SAMPLE]
    free = _free(static)

    cost, gradients = _gradients(static, layers, *shown)
    cost, gradients, weights = np.asarray(cost), _flat(gradients), _flat(layers)
    finite = np.isfinite(cost) & np.isfinite(weights).all(axis=1) & np.isfinite(gradients).all(axis=1)
    lengths = LENGTH * _norm(np.where(finite[:, None], weights[:, free], 0))
    rates = np.asarray(networks.hyper.learning_rate)[members]
    falls = _along_random_directions(static, seed, free, layers, lengths, shown)
    components = _random_components(seed, np.flatnonzero(free))
    minibatch = _mean_minibatch_norms(static, seed, layers, train, source, rows, labels)
    factor = np.nan if networks.step is None else _schedule_factor(static, networks.step)

    found = []
    for place, network in enumerate(members):
        of_all = dict.fromkeys(_OF_ALL_LAYERS, np.nan)
        if finite[place]:
            of_all["cost"], of_all["slope_length"] = float(cost[place]), float(lengths[place])
            of_all["minibatch_norm"] = float(minibatch[place])
            of_all["step_length"] = float(rates[place] * factor * minibatch[place])
            one = jax.tree.map(itemgetter(slice(place, place + 1)), layers)
            own = (*shown[:3], labels[place : place + 1, :SAMPLE])
            of_all |= _steps(static, one, gradients[place], free, lengths[place], rates[place], components, own)
            of_all |= _slopes(of_all["slope_gradient"], falls[place] / lengths[place])
        nothing = dict.fromkeys(of_all, np.nan)
        for layer, part in enumerate([slice(None), *_parts(static)]):
            summary = _summary(gradients[place, part][free[part]])
            summary = summary if finite[place] else dict.fromkeys(summary, np.nan)
            found.append({"network": network, "layer": layer} | summary | (nothing if layer else of_all))
    return found


def _slopes(down_gradient: float, random: np.ndarray) -> dict[str, float]:
    return {
        "slope_random_mean": random.mean(),
        "slope_random_sd": random.std(ddof=1),
        "slope_random_best": random.max(),
        "rank": np.mean(random > down_gradient),
    }


def _steps(
    static: Static,
    layers: Layers,
    gradient: np.ndarray,
    free: np.ndarray,
    length: float,
    rate: float,
    components: dict[int, np.ndarray],
    shown: Shown,
) -> dict[str, float]:
    """Return the columns on steps along the gradient [P] of one network, whole and in part."""
    norm = _norm(gradient)
    moves: list[tuple[float, Places]] = [
        (-length / float(norm) if norm > 0 else 0.0, slice(None)),
        (-rate, slice(None)),
        *((-rate, _largest(gradient, free, share)) for share in PERCENT),
        *((-rate, places) for share in PERCENT for places in components[share]),
    ]
    along, full, *parts = _falls_along(static, layers, gradient, moves, shown)
    top, random = parts[: len(PERCENT)], np.reshape(parts[len(PERCENT) :], (len(PERCENT), DRAWS)).mean(axis=1)
    return {
        "slope_gradient": along / length,
        "decrease_full": full,
        **{f"decrease_top_{share}": value for share, value in zip(PERCENT, top)},
        **{f"decrease_random_{share}": value for share, value in zip(PERCENT, random)},
    }


def _summary(components: np.ndarray) -> dict[str, float]:
    ordered = np.sort(np.abs(components.astype(np.float64)))[::-1]
    squares = np.cumsum(ordered**2)
    tops = [squares[_count(share, len(ordered)) - 1] for share in PERCENT]
    return {
        "norm": np.sqrt(squares[-1]),
        "largest": ordered[0],
        **{f"q{100 * q:.0f}": np.quantile(ordered, q) for q in QUANTILES},
        **{f"share_top_{share}": top / squares[-1] if squares[-1] else np.nan for share, top in zip(PERCENT, tops)},
    }


def _norm(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(np.square(values), axis=-1, dtype=np.float64))


def _count(percent: int, components: int) -> int:
    return max(1, round(components * percent / 100))


# Parameters, as a flat row: layer by layer, weights and then biases


def _flat(layers: Layers) -> np.ndarray:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(layers)]
    return np.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


def _stacked(flat: np.ndarray, sizes: tuple[int, ...]) -> Layers:
    layers, start = [], 0
    for inputs, outputs in pairwise(sizes):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        layers.append(mlp.Layer(flat[:, start:middle].reshape(-1, inputs, outputs), flat[:, middle:end]))
        start = end
    return tuple(layers)


def _parts(static: Static) -> list[slice]:
    """Return the slice of each layer."""
    ends = np.cumsum([0] + [(inputs + 1) * outputs for inputs, outputs in pairwise(static.sizes)])
    return [slice(start, end) for start, end in pairwise(ends)]


def _free(static: Static) -> np.ndarray:
    """Return which parameters can be trained, bool [P]: all but the weights outside of a receptive field."""
    free = np.ones(mlp.count_parameters(static.sizes), bool)
    if static.receptive_field is not None:
        seen = mlp.patches(static.sizes, static.receptive_field).ravel() > 0
        free[: seen.size] = seen
    return free


def _largest(gradient: np.ndarray, free: np.ndarray, percent: int) -> np.ndarray:
    """Return the places of the largest components, ties in the order of their places."""
    order = np.argsort(-np.abs(np.where(free, gradient, 0)), kind="stable")
    return order[: _count(percent, int(np.count_nonzero(free)))]


def _random_components(seed: int, places: np.ndarray) -> dict[int, np.ndarray]:
    """Return {percent: places of as many random components [20, count]}."""
    return {
        share: np.stack([draws.choice(places, _count(share, len(places)), replace=False) for _ in range(DRAWS)])
        for share, draws in ((share, generator(seed, "directions", "random_components", share)) for share in PERCENT)
    }


# Costs, gradients and steps


def _gradient_of(static: Static) -> Callable[..., tuple[jax.Array, Layers]]:
    """Return `of(layers, pixels [n, pixels], labels [n], weights [n]) -> (cost, gradient)`, each image by its weight."""
    loss = LOSSES[static.loss]
    seen = None if static.receptive_field is None else mlp.patches(static.sizes, static.receptive_field)

    def cost(layers: Layers, pixels: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.sum(weights * loss.per_example(mlp.apply(layers, pixels, static.activation), labels))

    def of(layers: Layers, pixels: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, Layers]:
        value, gradient = jax.value_and_grad(cost)(layers, pixels, labels, weights)
        if seen is not None:
            gradient = (gradient[0]._replace(weights=gradient[0].weights * seen), *gradient[1:])
        return value, gradient

    return of


@partial(jax.jit, static_argnums=0)
def _gradients(
    static: Static, layers: Layers, train: jax.Array, source: jax.Array, rows: jax.Array, labels: jax.Array
) -> tuple[jax.Array, Layers]:
    """Return cost [m] and gradient [m, ...] of m networks over rows [n] of an image source with labels [m, n]."""
    of = jax.vmap(_gradient_of(static), (0, None, 0, None))

    def total(places: jax.Array, weights: jax.Array) -> tuple[jax.Array, Layers]:
        return of(
            layers,
            as_seen(static, as_pixels(train[source, rows[places]])),
            labels[:, places].astype(jnp.int32),
            weights,
        )

    return mean_over_blocks(total, rows.shape[0])


@partial(jax.jit, static_argnums=0)
def _minibatch_norms(
    static: Static, layers: Layers, train: jax.Array, source: jax.Array, rows: jax.Array, labels: jax.Array
) -> jax.Array:
    """Return the norms [20, m] of the gradients of m networks on minibatches rows [20, B] with labels [m, 20, B]."""
    of = jax.vmap(_gradient_of(static), (0, None, 0, None))

    def norms(minibatch: tuple[jax.Array, jax.Array]) -> jax.Array:
        rows, labels = minibatch
        weights = jnp.full(rows.shape, 1 / rows.shape[0], jnp.float32)
        _, gradient = of(layers, as_seen(static, as_pixels(train[source, rows])), labels.astype(jnp.int32), weights)
        squares = [jnp.sum(jnp.square(leaf), axis=range(1, leaf.ndim)) for leaf in jax.tree.leaves(gradient)]
        return jnp.sqrt(sum(squares))

    return lax.map(norms, (rows, jnp.moveaxis(labels, 1, 0)))


def _mean_minibatch_norms(
    static: Static, seed: int, layers: Layers, train: mlp.Array, source: int, rows: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Return the mean norm [m] of the gradients of 20 random minibatches, each without repetition."""
    draws, size = generator(seed, "directions", "minibatches"), min(static.batch_size, len(rows))
    places = np.stack([draws.choice(len(rows), size, replace=False) for _ in range(MINIBATCHES)])
    norms = _minibatch_norms(static, layers, train, np.int32(source), rows[places], labels[:, places])
    return np.asarray(norms).mean(axis=0, dtype=np.float64)


@partial(jax.jit, static_argnums=0)
def _falls(
    static: Static,
    layers: Layers,
    moves: Layers,
    lengths: jax.Array,
    train: jax.Array,
    source: jax.Array,
    rows: jax.Array,
    labels: jax.Array,
) -> jax.Array:
    """Return how much the cost of m networks falls, [m, C], in each of C moves times the network's length [m].

    Losses are subtracted image by image: their mean keeps digits that the difference of two means has lost.
    """
    per_example = LOSSES[static.loss].per_example
    rest_of = jax.vmap(lambda layers, values: mlp.apply(layers, values, static.activation))

    def total(places: jax.Array, weights: jax.Array) -> jax.Array:
        pixels = as_seen(static, as_pixels(train[source, rows[places]]))
        # Nearly all of the work, and the same for all networks: what each move adds in the first layer, [C, n, units].
        added = jnp.einsum("np,cpu->cnu", pixels, moves[0].weights) + moves[0].biases[:, None]

        def of_network(network: tuple[Layers, jax.Array, jax.Array]) -> jax.Array:
            layers, length, labels = network
            first = pixels @ layers[0].weights + layers[0].biases[None]
            moved = first[None] + length * added
            before, after = first, moved
            if layers[1:]:
                act = mlp.ACTIVATIONS[static.activation]
                before = mlp.apply(layers[1:], act(first), static.activation)
                rest = jax.tree.map(lambda leaf, move: leaf[None] + length * move, layers[1:], moves[1:])
                after = rest_of(rest, act(moved))
            losses = jax.vmap(per_example, (0, None))(after, labels)
            return jnp.sum(weights[None] * (per_example(before, labels)[None] - losses), axis=1)

        return lax.map(of_network, (layers, lengths, labels[:, places].astype(jnp.int32)))

    return mean_over_blocks(total, rows.shape[0])


def _at_a_time(static: Static) -> int:
    """Return how many moves are held at a time."""
    return max(1, HELD // max(mlp.count_parameters(static.sizes), BLOCK * max(static.sizes[1:])))


def _along_random_directions(
    static: Static, seed: int, free: np.ndarray, layers: Layers, lengths: np.ndarray, shown: Shown
) -> np.ndarray:
    """Return how much the cost of m networks falls, [m, 100], over a step of `lengths` [m] in random directions."""
    draws, found = generator(seed, "directions", "random_directions"), []
    for start in range(0, DIRECTIONS, _at_a_time(static)):
        directions = np.zeros((min(_at_a_time(static), DIRECTIONS - start), free.size), np.float32)
        drawn = draws.standard_normal((len(directions), np.count_nonzero(free)), np.float32)
        directions[:, free] = drawn / _norm(drawn)[:, None].astype(np.float32)
        moves = _stacked(directions, static.sizes)
        found.append(np.asarray(_falls(static, layers, moves, lengths.astype(np.float32), *shown)))
    return np.concatenate(found, axis=1, dtype=np.float64)


def _falls_along(
    static: Static, layers: Layers, gradient: np.ndarray, moves: Sequence[tuple[float, Places]], shown: Shown
) -> np.ndarray:
    """Return how much the cost of one network falls, [C], for each of the moves: (factor, which components it moves)."""
    found = []
    for start in range(0, len(moves), _at_a_time(static)):
        chunk = moves[start : start + _at_a_time(static)]
        flat = np.zeros((len(chunk), gradient.size), np.float32)
        for row, (factor, places) in zip(flat, chunk):
            row[places] = factor * gradient[places]
        once = np.ones(1, np.float32)
        found.append(np.asarray(_falls(static, layers, _stacked(flat, static.sizes), once, *shown))[0])
    return np.concatenate(found, dtype=np.float64)


def _schedule_factor(static: Static, step: int) -> float:
    factor = SCHEDULES[static.schedule](static.steps, static.steps_per_epoch, static.decay)
    return float(factor(jnp.int32(step)))
