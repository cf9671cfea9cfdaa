"""Drawings by a network: images optimised by gradient ascent to be classified as a digit (Nguyen et al. 2015)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from memo.data.randomness import generator
from memo.measures.nearest_neighbours import nearest
from memo.networks import mlp
from memo.networks.losses import LOSSES, of_class
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels, as_seen
from memo.probes.networks import Networks, outputs

# Tried on 4 networks (784-16-16-10, sigmoid, squared error, 10 epochs of 10,000 images with true labels), 10 digits each;
# mean confidence from black and from noise, with steps that fall to 0. Along the sign of the gradient: 0.99 and 0.36
# with a first step of 0.01, 0.99 and 0.66 with 0.03, 0.99 and 0.95 with 0.1, 0.99 and 0.99 with 0.4. Of a length in L2:
# 0.99 and 0.71 with 1, 0.98 and 0.89 with 4, 0.99 and 0.98 with 10. The last image instead of the best: 0.91 and 0.93
# along signs with 0.4.
STEPS, STEP = 200, 0.4
SURE = 0.99  # the confidence whose first iteration is reported


def starts(seed: int, digits: int, pixels: int) -> dict[str, np.ndarray]:
    """Return the images [digits, pixels] float32 that the networks of a seed begin from: black, and uniform noise."""
    noise = [generator(seed, "noise", f"drawing_{digit}").random(pixels, np.float32) for digit in range(digits)]
    return {"blank": np.zeros((digits, pixels), np.float32), "noise": np.stack(noise)}


def ascend(static: Static, layers: Layers, shown: jax.Array, digits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return one network's drawings [D, pixels] and the iterations [D] at which each first passed SURE, -1 for never.

    `shown` [D, pixels] are the images to begin from, `digits` [D] int32 the target class of each. A drawing is the best of
    all images on the way.
    """
    loss = LOSSES[static.loss]

    def objective(pixels: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        values = mlp.apply(layers, as_seen(static, pixels), static.activation)
        scores = loss.score(values, digits)
        return jnp.sum(scores), (scores, values)

    def observe(
        iteration: jax.Array | int,
        pixels: jax.Array,
        scores: jax.Array,
        values: jax.Array,
        best: jax.Array,
        highest: jax.Array,
        first: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        higher = scores >= highest  # and never where it is NaN
        passed = (first < 0) & (of_class(loss.activate(values), digits) > SURE)
        return (
            jnp.where(higher[:, None], pixels, best),
            jnp.where(higher, scores, highest),
            jnp.where(passed, iteration, first),
        )

    def step(iteration: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        pixels, *seen = carry
        gradient, (scores, values) = jax.grad(objective, has_aux=True)(pixels)
        length = STEP * (1 - iteration.astype(jnp.float32) / STEPS)
        moved = jnp.clip(pixels + length * jnp.sign(gradient), 0, 1)
        return moved, *observe(iteration, pixels, scores, values, *seen)

    count = len(digits)
    nothing = shown, jnp.full(count, -jnp.inf), jnp.full(count, -1, jnp.int32)
    last, *seen = lax.fori_loop(0, STEPS, step, (shown, *nothing))
    best, _, first = observe(STEPS, last, *objective(last)[1], *seen)
    return best, first


@partial(jax.jit, static_argnums=0)
def _draw(
    static: Static, layers: Layers, shown: jax.Array, digits: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return drawings [T, D, pixels] uint8, the activations [T, D, classes] they reach, and iterations [T, D]."""

    def draw(layers: Layers, shown: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        pixels, first = ascend(static, layers, shown, digits)
        grey = jnp.round(255 * jnp.nan_to_num(pixels)).astype(jnp.uint8)
        values = mlp.apply(layers, as_seen(static, as_pixels(grey)), static.activation)
        return grey, LOSSES[static.loss].activate(values), first

    return jax.vmap(draw)(layers, shown)


def read_by(static: Static, layers: Layers, pixels: np.ndarray) -> np.ndarray:
    """Return the activations [T, D, classes] of T networks (leaves [T, ...]) for drawings [D, pixels] uint8 of any."""
    return np.asarray(LOSSES[static.loss].activate(outputs(static, layers, as_pixels(jnp.asarray(pixels)))))


def read_by_others(right: np.ndarray, readers: np.ndarray, drawers: np.ndarray) -> np.ndarray:
    """Return the share [D] of the other networks that classify each drawing correctly, of right [R, D].

    `readers` [R] and `drawers` [D] name networks; NaN where the only reader is the network that drew.
    """
    others = np.asarray(readers)[:, None] != np.asarray(drawers)
    readings = others.sum(0)
    return np.divide((right & others).sum(0), readings, out=np.full(len(readings), np.nan), where=readings > 0)


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network, `digit` and `start` ("blank": all black; "noise": uniform, by seed and digit).

    Each of 200 iterations moves every pixel by a step, which falls from 0.4 to 0, in the direction that raises the log
    softmax of the digit (under squared error: log sigmoid of its output and log(1 - sigmoid) of the others, summed),
    and clips it to [0, 1]; the drawing is the image at which that was highest.

    `pixels` are the drawing as bytes, row by row, 255 for white, and the other columns are about these bytes:
    `confidence` is the activation of the digit, `answer` the class with the largest one. `iterations` is when the
    activation first passed 0.99 (0: at the start; -1: never). `distance` is that to the nearest of all training images
    of the network's source, and `nearest` its row there; `self_distance` is that to the nearest of those images that
    the network itself was trained on. Both are L2, with white 1. Where weights or activations are not finite, these
    are NaN and -1, and the pixels are meaningless.
    """
    static = networks.static
    classes = static.sizes[-1]
    begin = {int(seed): starts(int(seed), classes, static.sizes[0]) for seed in np.unique(networks.seeds)}
    names = list(next(iter(begin.values())))
    shown = np.stack([np.concatenate(list(begin[int(seed)].values())) for seed in networks.seeds])
    digits = np.tile(np.arange(classes, dtype=np.int32), len(names))
    drawn = _draw(static, networks.layers, jnp.asarray(shown), jnp.asarray(digits))
    grey, activations, iterations = jax.tree.map(np.asarray, drawn)
    confidence = activations[:, np.arange(len(digits)), digits]
    finite = [np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in jax.tree.leaves(networks.layers)]
    lost = ~(np.isfinite(activations).all(axis=2) & np.all(finite, axis=0)[:, None])
    distance, rows, own = _distances(networks, grey)
    count = len(grey)
    return {
        "network": np.repeat(np.arange(count), len(digits)),
        "digit": np.tile(digits, count),
        "start": np.tile(np.repeat(names, classes), count),
        "confidence": np.where(lost, np.nan, confidence).ravel(),
        "answer": np.where(lost, -1, activations.argmax(axis=2)).ravel(),
        "iterations": np.where(lost, -1, iterations).ravel(),
        "pixels": np.array([image.tobytes() for image in grey.reshape(-1, grey.shape[2])], dtype=object),
        "distance": np.where(lost, np.nan, distance).ravel(),
        "nearest": np.where(lost, -1, rows).ravel(),
        "self_distance": np.where(lost, np.nan, own).ravel(),
    }


def _distances(networks: Networks, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distance to the nearest image, its row, and the distance to the nearest trained on, each [T, D]."""
    distance, own = np.zeros((2, *grey.shape[:2]), np.float32)
    rows = np.zeros(grey.shape[:2], np.int32)
    sources = np.asarray(networks.sources)
    for source in np.unique(sources):
        images, members = networks.images.train[source], np.flatnonzero(sources == source)
        distance[members], rows[members] = _nearest(grey[members], images)
        own[members] = distance[members]
        if networks.rows.shape[1] == len(images):
            continue
        subsets, subset = np.unique(networks.rows[members], axis=0, return_inverse=True)
        for number, trained_on in enumerate(subsets):
            sharing = members[subset.ravel() == number]
            own[sharing], _ = _nearest(grey[sharing], images[trained_on])
    return distance, rows, own


def _nearest(grey: np.ndarray, images: mlp.Array) -> list[np.ndarray]:
    return [found.reshape(grey.shape[:2]) for found in nearest(grey.reshape(-1, grey.shape[2]), images)]
