"""The arguments of a probe: the trained networks of a population, and kinds of inputs on which to evaluate them."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from memo.data.randomness import generator
from memo.data.treatments import PixelStatistics, gaussian_images, permute_each
from memo.networks import mlp
from memo.networks.mlp import BLOCK, Layers
from memo.networks.optimizers import Hyperparameters
from memo.networks.program import Images, LeftOut, Static, as_pixels, as_seen

# Inputs kept between calls: they are slow to draw (a fifth of a second for 10,000 images with permuted pixels), and every
# slab with networks of the seed asks for them again at every evaluation that a probe sees.
KEPT_BYTES = 400_000_000


class Networks(NamedTuple):
    """T networks, trained or in training, that differ in weights and seed but not in shape."""

    static: Static
    layers: Layers  # leaves [T, ...]
    seeds: np.ndarray  # [T]
    sources: np.ndarray  # [T], the image source of each network's images
    images: Images
    statistics: PixelStatistics
    rows: np.ndarray  # [T, n] int32, each training subset as rows of its image source
    labels: np.ndarray  # [T, n] uint8, its labels as trained on
    hyper: Hyperparameters  # leaves [T]
    step: int | None = None  # taken so far; None for networks at the end of their training, which end at different ones
    left_out: LeftOut | None = None  # the images of their pool that they were not trained on

    def by_seed(self) -> Iterator[tuple[int, np.ndarray, Layers, np.ndarray]]:
        """Yield (seed, positions [m], layers [m, ...], test pixels [M, pixels]) for the networks of each seed.

        Networks of one seed had the same treatment of the images, and are evaluated on the same noise.
        """
        for seed in np.unique(self.seeds):
            members = np.flatnonzero(self.seeds == seed)
            layers = jax.tree.map(itemgetter(members), self.layers)
            yield int(seed), members, layers, np.asarray(as_pixels(self.images.test[self.sources[members[0]]]))


def _uniform(generator: np.random.Generator, pixels: np.ndarray, statistics: PixelStatistics) -> np.ndarray:
    return generator.random(pixels.shape, np.float32)


def _clipped_gaussian(generator: np.random.Generator, pixels: np.ndarray, statistics: PixelStatistics) -> np.ndarray:
    drawn = gaussian_images(generator, pixels.shape, statistics)
    return np.clip(drawn, 0, 1, out=drawn)


# (generator, test pixels [M, pixels], statistics) -> pixels [M, pixels].
INPUTS: dict[str, Callable[[np.random.Generator, np.ndarray, PixelStatistics], np.ndarray]] = {
    "test": lambda generator, pixels, statistics: pixels,
    "uniform": _uniform,
    "gaussian": _clipped_gaussian,
    "random_pixels": lambda generator, pixels, statistics: permute_each(generator, pixels, len(statistics.mean)),
}


def draw(kind: str, seed: int, pixels: np.ndarray, statistics: PixelStatistics) -> np.ndarray:
    """Return the inputs [M, pixels] float32 of one kind, the same for all networks of a seed."""
    return INPUTS[kind](generator(seed, "noise", kind), pixels, statistics)


class _Kept:
    """The last draws, at most KEPT_BYTES of them; called from several threads."""

    def __init__(self) -> None:
        self._drawn: OrderedDict[tuple, tuple[Any, np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple, owner: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return what is kept under a key, or what `make` returns; `owner` lives as long as it is kept."""
        with self._lock:
            if key in self._drawn:
                self._drawn.move_to_end(key)
                return self._drawn[key][1]
        made = make()
        with self._lock:
            self._drawn[key] = owner, made
            while sum(array.nbytes for _, array in self._drawn.values()) > KEPT_BYTES and len(self._drawn) > 1:
                self._drawn.popitem(last=False)
        return made


_kept = _Kept()


def shown(networks: Networks, kind: str, seed: int, member: int, pixels: np.ndarray) -> np.ndarray:
    """Return `draw` for the networks of a seed, of which `member` is one, with test pixels [M, pixels]; not to be written to.

    Drawn once for all slabs and evaluations that ask for it soon after each other.
    """
    if kind == "test":
        return pixels
    # By the identity of the test images, which the entry keeps alive, so that no other array takes it over.
    images = networks.images.test
    key = kind, seed, id(images), int(networks.sources[member]), networks.statistics, pixels.shape
    return _kept.get(key, images, lambda: draw(kind, seed, pixels, networks.statistics))


def outputs(static: Static, layers: Layers, pixels: mlp.Array) -> jax.Array:
    """Return outputs [m, M, classes] before softmax or sigmoid of m networks for the same pixels [M, pixels], yet unscaled."""
    of_read = jax.vmap(lambda layers, read: mlp.apply(layers, read, static.activation), (0, None))

    def apply(layers: Layers, block: mlp.Array) -> jax.Array:
        return of_read(layers, as_seen(static, jnp.asarray(block)))

    count = pixels.shape[0]
    whole = count - count % BLOCK
    parts = []
    if whole:
        blocks = lax.map(lambda block: apply(layers, block), pixels[:whole].reshape(-1, BLOCK, pixels.shape[1]))
        parts.append(jnp.moveaxis(blocks, 0, 1).reshape(blocks.shape[1], whole, blocks.shape[-1]))
    if whole < count:
        parts.append(apply(layers, pixels[whole:]))
    return jnp.concatenate(parts, axis=1)


def finite(layers: Layers) -> jax.Array:
    """Return which of m networks (leaves [m, ...]) have finite weights and biases only, [m] bool."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(layers)]
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))) for leaf in leaves]), axis=0)
