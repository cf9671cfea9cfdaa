"""Critical samples (Arpit et al. 2017): images with a different prediction nearby, found by Langevin search (LASS).

An image x is critical at a radius r where some x' with max |x - x'| <= r is classified differently. The search moves
x' by a sign(gradient) + b eta, eta standard normal, and projects it back onto the box. As in the authors' code (the paper
prints the opposite sign) the gradient is that of the cross-entropy of the network's own prediction, which is ascended, and there
is no projection onto [0, 1].
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from memo.data.randomness import purpose_key
from memo.networks import mlp
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels, as_seen
from memo.probes.networks import Networks, finite

# In units where white is 255; the authors' is 0.3, their steps a = 0.25 and b = 0.2 (of which a larger box needs larger).
RADII = (0.3, 3.0, 10.0, 30.0)
STEP, NOISE = 0.25 / 0.3, 0.2 / 0.3  # of the radius
ITERATIONS = 100  # at most
STALLED = 20 / 500  # stop where fewer images than this share turn critical in an iteration; the authors have 500 images
SAMPLES = 500
# Of more test images, at radii at which neither almost none nor almost all of them are critical.
FINE_RADII, FINE_SAMPLES = (0.3, 1.0, 5.0), 5000

# Iterations taken, the moved images, which were found critical, and how many of them in the last iteration.
Search = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def search(
    static: Static, layers: Layers, images: jax.Array, radius: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return which of the images [n, pixels] are critical for one network, [n] bool, and the iterations it took.

    `radius` is on the scale of the images. An image once found critical stays counted.
    """

    def outputs(pixels: jax.Array) -> jax.Array:
        return mlp.apply(layers, as_seen(static, pixels), static.activation)

    own = jnp.argmax(outputs(images), axis=-1)
    few = STALLED * len(images)

    def cost(pixels: jax.Array) -> jax.Array:
        return jnp.sum(optax.softmax_cross_entropy_with_integer_labels(outputs(pixels), own))

    def going(state: Search) -> jax.Array:
        iteration, _, _, new = state
        return (iteration < ITERATIONS) & (new >= few)

    def step(state: Search) -> Search:
        iteration, moved, critical, _ = state
        eta = jax.random.normal(jax.random.fold_in(key, iteration), images.shape)
        moved = moved + radius * (STEP * jnp.sign(jax.grad(cost)(moved)) + NOISE * eta)
        moved = jnp.clip(moved, images - radius, images + radius)
        found = critical | (jnp.argmax(outputs(moved), axis=-1) != own)
        return iteration + 1, moved, found, jnp.sum(found & ~critical).astype(jnp.float32)

    start = jnp.int32(0), images, jnp.zeros(len(images), bool), jnp.float32(jnp.inf)
    iterations, _, critical, _ = lax.while_loop(going, step, start)
    return critical, iterations


@partial(jax.jit, static_argnums=(0, 1))
def _ratios(
    static: Static,
    radii: tuple[float, ...],
    layers: Layers,
    images: jax.Array,
    sources: jax.Array,
    rows: jax.Array,
    keys: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return shares of critical samples and iterations, each [T, radii], for images [G, N, pixels] at rows [T, n]."""

    def of_network(own: tuple[Layers, jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        layers, source, rows, key = own
        pixels = as_pixels(images[source, rows])

        def of_radius(radius: jax.Array) -> tuple[jax.Array, jax.Array]:
            critical, iterations = search(static, layers, pixels, radius, key)
            return jnp.mean(critical.astype(jnp.float32)), iterations

        share, iterations = lax.map(of_radius, jnp.array(radii, jnp.float32) / 255)
        known = finite(jax.tree.map(lambda leaf: leaf[None], layers))[0]
        return jnp.where(known, share, jnp.nan), iterations

    # One network at a time: each ends its own search, and memory holds a few copies of its images only.
    return lax.map(of_network, (layers, sources, rows, keys))


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network, set of images (`inputs`: test, train) and `radius` (white is 255).

    `critical_sample_ratio` is the share of the first `n` (at most 500) images of the set that are critical, NaN for a
    network with non-finite weights; `iterations` are those of the search, which stops after 100 or where fewer than 4 % of
    the images turn critical in one. Costs 1 to 100 passes forth and back over the images for each row.
    """
    shown = {
        "test": (networks.images.test, _test_rows(networks)),
        "train": (networks.images.train, networks.rows),
    }
    parts = [_measured(networks, kind, images, rows[:, :SAMPLES], RADII) for kind, (images, rows) in shown.items()]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def measure_fine(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network and `radius` of FINE_RADII, as `measure` does: of the first 5,000 test images."""
    return _measured(networks, "test", networks.images.test, _test_rows(networks)[:, :FINE_SAMPLES], FINE_RADII)


def _test_rows(networks: Networks) -> np.ndarray:
    return np.tile(np.arange(networks.images.test.shape[1], dtype=np.int32), (len(networks.seeds), 1))


def _measured(
    networks: Networks, kind: str, images: mlp.Array, rows: np.ndarray, radii: tuple[float, ...]
) -> dict[str, np.ndarray]:
    count = len(networks.seeds)
    keys = jnp.stack([purpose_key(int(seed), "critical") for seed in networks.seeds])
    share, iterations = _ratios(networks.static, radii, networks.layers, images, networks.sources, rows, keys)
    return {
        "network": np.repeat(np.arange(count), len(radii)),
        "inputs": np.full(count * len(radii), kind, object),
        "radius": np.tile(radii, count),
        "n": np.full(count * len(radii), rows.shape[1]),
        "critical_sample_ratio": np.asarray(share).ravel(),
        "iterations": np.asarray(iterations).ravel(),
    }
