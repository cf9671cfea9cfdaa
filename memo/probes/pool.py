"""The pool of images that a network's were drawn from, those left out among them, image by image.

Images are in the order of their rows: for natural images that of the data set's files, the same for all networks of one pool.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from memo.networks.mlp import BLOCK, Layers
from memo.networks.program import Static, as_pixels
from memo.probes.networks import Networks

# (static, layers of one network, pixels [b, pixels], labels [b]) -> a tree of arrays [b, ...]
OfImages = Callable[[Static, Layers, jax.Array, jax.Array], Any]


class Pool(NamedTuple):
    """The pool of each of T networks: N images by their rows, ascending."""

    rows: np.ndarray  # [T, N] int32, of each network's image source
    labels: np.ndarray  # [T, N] uint8, as given
    members: np.ndarray  # [T, N] bool, whether the network was trained on them


def pool_of(networks: Networks) -> Pool:
    """Return the pools of some networks."""
    rows, labels, members = networks.rows, networks.labels, np.ones(networks.rows.shape, bool)
    if networks.left_out is not None:
        others = np.zeros(networks.left_out.rows.shape, bool)
        parts = zip((rows, labels, members), (*networks.left_out, others))
        rows, labels, members = (np.concatenate(each, axis=1) for each in parts)
    order = np.argsort(rows, axis=1)
    return Pool(*(np.take_along_axis(each, order, axis=1) for each in (rows, labels, members)))


def by_image(measure: OfImages, networks: Networks, pool: Pool) -> Any:
    """Return `measure` of each network's images, leaves [T, N, ...], a block of images at a time."""
    read = networks.layers, networks.images.train, networks.sources, pool.rows, pool.labels
    return jax.tree.map(np.asarray, _of_networks(measure, networks.static, *read))


@partial(jax.jit, static_argnums=(0, 1))
def _of_networks(
    measure: OfImages,
    static: Static,
    layers: Layers,
    images: jax.Array,
    sources: jax.Array,
    rows: jax.Array,
    labels: jax.Array,
) -> Any:
    count = rows.shape[1]
    block = min(BLOCK, count)
    # The last block repeats the last image.
    places = jnp.minimum(jnp.arange(-(-count // block) * block), count - 1).reshape(-1, block)

    def of_network(own: tuple[Layers, jax.Array, jax.Array, jax.Array]) -> Any:
        layers, source, rows, labels = own

        def of_block(places: jax.Array) -> Any:
            return measure(static, layers, as_pixels(images[source, rows[places]]), labels[places].astype(jnp.int32))

        found = lax.map(of_block, places)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)

    return lax.map(of_network, (layers, sources, rows, labels))
