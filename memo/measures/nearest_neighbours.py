"""The nearest of many images by Euclidean distance: all are compared, in blocks of matrix products.

|q - x|² = |q|² - 2 q·x + |x|². Where both sides are bytes, 128 is taken off first: then all of these are whole numbers
that float32 (the products) and int32 (their sum) hold exactly, so that ties and copies are recognised exactly.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from memo.networks import mlp
from memo.networks.program import as_pixels

# Images, and queries, that are compared at a time: a block takes 4 bytes for each pair, and its images as float32.
BLOCK, QUERIES = 2000, 500
# Pixels up to which a product of bytes less 128 stays within the 2^24 whole numbers of float32.
EXACT_PIXELS = 2**24 // 128**2


def nearest(queries: mlp.Array, images: mlp.Array, block: int = BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance [Q] float32 of each query to the image nearest to it, and that image's row [Q] int32.

    `queries` [Q, pixels] and `images` [N, pixels] are uint8, or float32 with black 0 and white 1, in which distances
    are. Of images equally near the first is taken. Where both sides are uint8 (of up to 1,024 pixels) the answer is
    exact; otherwise images whose squared distances agree within the rounding of float32 sums, about 1e-4 for digits,
    may be taken for each other. Distances are those to the image returned, 0 for a copy. A query with a pixel that is
    not finite has distance NaN and row -1.

    Raises ValueError where there are no images.
    """
    queries, images = jnp.asarray(queries), jnp.asarray(images)
    if not len(images):
        raise ValueError("There are no images among which to find the nearest.")
    if not len(queries):
        return np.zeros(0, np.float32), np.zeros(0, np.int32)
    distances, rows = _search(queries, images, min(block, len(images)))
    return np.asarray(distances), np.asarray(rows)


def classify(queries: mlp.Array, images: mlp.Array, labels: np.ndarray, block: int = BLOCK) -> np.ndarray:
    """Return for each query [Q, pixels] the label of the image nearest to it, of `labels` [N]; see `nearest`.

    Raises ValueError where there is no image, or a query is not finite.
    """
    rows = nearest(queries, images, block)[1]
    if (rows < 0).any():
        raise ValueError(f"{np.count_nonzero(rows < 0)} of {len(rows)} queries are not finite.")
    return np.asarray(labels)[rows]


@partial(jax.jit, static_argnums=2)
def _search(queries: jax.Array, images: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    whole = queries.dtype == images.dtype == jnp.uint8 and queries.shape[1] <= EXACT_PIXELS
    count, total = len(queries), len(images)
    width = min(QUERIES, count)
    kind = jnp.int32 if whole else jnp.float32

    def read(pixels: jax.Array) -> jax.Array:
        return pixels.astype(jnp.float32) - 128 if whole else as_pixels(pixels)

    def squares(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(values), axis=1).astype(kind)

    def search_for(start: jax.Array) -> tuple[jax.Array, jax.Array]:
        shown = queries[jnp.minimum(start + jnp.arange(width), count - 1)]  # the last block may reach past the end
        values = read(shown)

        def compare(number: jax.Array, best: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            first = jnp.minimum(number * block, total - block)  # the last block may overlap the one before
            part = read(lax.dynamic_slice_in_dim(images, first, block))
            products = jnp.matmul(values, part.T, precision=lax.Precision.HIGHEST).astype(kind)
            scores = squares(part)[None] - 2 * products
            least = jnp.min(scores, axis=1)
            # Faster than argmin, which XLA's CPU backend does not vectorise.
            places = jnp.where(scores == least[:, None], jnp.arange(block, dtype=jnp.int32)[None], block)
            nearer = least < best[0]
            rows = jnp.where(nearer, first.astype(jnp.int32) + jnp.min(places, axis=1), best[1])
            return jnp.where(nearer, least, best[0]), rows

        most = jnp.iinfo(kind).max if whole else jnp.inf
        nothing = jnp.full(width, most, kind), jnp.full(width, -1, jnp.int32)
        _, rows = lax.fori_loop(0, -(-total // block), compare, nothing)
        # Anew, from differences: floats round where the terms of the sums above cancel.
        differences = (values - read(images[jnp.maximum(rows, 0)])).astype(kind)
        distances = jnp.sqrt(jnp.sum(jnp.square(differences), axis=1).astype(jnp.float32)) / (255 if whole else 1)
        found = jnp.isfinite(values).all(axis=1)
        return jnp.where(found, distances, jnp.nan), jnp.where(found, rows, -1)

    distances, rows = lax.map(search_for, jnp.arange(0, count, width))
    return distances.reshape(-1)[:count], rows.reshape(-1)[:count]
