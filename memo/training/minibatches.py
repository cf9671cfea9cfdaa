"""The order in which minibatches take a training subset: a permutation for every epoch, the same for a pack's networks.

Minibatches run on over the ends of epochs. A permutation is that of `jax.random.permutation` bit for bit, on CPUs by NumPy's
sort: for 60,000 images JAX's takes 33 to 45 ms there, about a third of a small network's epoch, and NumPy's 3 ms.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from memo.training.machine import platform_of

# Positions drawn at a time: as many epochs of all packs as fit, and at least one. On a
# GPU, 0.5 GB, which was seen to fit beside four other processes; other numbers were not tried there.
AT_ONCE = {"cpu": 2**17, "gpu": 2**27}


class Minibatches:
    """What a slab's packs train on, step by step: each pack's passes over its n images follow each other without a gap.

    Step s takes the images at positions s * batch ... (s + 1) * batch - 1 of that sequence, so that none is left out where n is
    no multiple of the batch. Drawn some epochs at a time; `keys` [P] of P packs.
    """

    def __init__(self, keys: jax.Array, n: int, batch: int, steps: int, device: jax.Device):
        """Draw for at most so many steps, on a device."""
        self._keys, self._n, self._batch, self._device = keys, n, batch, device
        fewest, most = math.ceil(batch / n), math.ceil(steps * batch / n)
        self._epochs = max(fewest, min(most, AT_ONCE[platform_of(device)] // (len(keys) * n)))
        self._cut: tuple[int, jax.Array] | None = None
        self._drawn: tuple[int, jax.Array] | None = None

    @property
    def shape(self) -> jax.ShapeDtypeStruct:
        """Return the shape of what `at` draws, [P, steps at a time, batch] int32."""
        return jax.ShapeDtypeStruct(
            (len(self._keys), -(-self._epochs * self._n // self._batch), self._batch), jnp.int32
        )

    def at(self, step: int) -> tuple[int, int, jax.Array]:
        """Return a first step, a last one, and the minibatches [P, steps, batch] between them, int32, this step's among them.

        Those from the last step on mean nothing.
        """
        window = ((step + 1) * self._batch - 1) // (self._epochs * self._n)
        if self._cut is None or self._cut[0] != window:
            self._cut = window, self._minibatches(window)
        return self._first(window), self._first(window + 1), self._cut[1]

    def _first(self, window: int) -> int:
        """Return the first step that ends after the epochs of all earlier windows."""
        return window * self._epochs * self._n // self._batch

    def _minibatches(self, window: int) -> jax.Array:
        left = window * self._epochs * self._n - self._first(window) * self._batch
        earlier = self._positions(window - 1) if left else None  # as a rule it has just been drawn
        own = self._positions(window)
        if own.shape[1] % self._batch == 0:
            return own.reshape(self.shape.shape)
        return _joined(own if earlier is None else earlier, own, np.int32(self._batch - left), self.shape.shape)

    def _positions(self, window: int) -> jax.Array:
        """Return the orders of a window's epochs one after the other, [P, epochs * n]."""
        if self._drawn is None or self._drawn[0] != window:
            epochs = np.arange(window * self._epochs, (window + 1) * self._epochs, dtype=np.int32)
            draw = by_sorting if platform_of(self._device) == "cpu" else by_permutation
            drawn = jax.device_put(draw(self._keys, epochs, self._n), self._device)
            self._drawn = window, drawn.reshape(len(self._keys), -1)
        return self._drawn[1]


@partial(jax.jit, static_argnums=3)
def _joined(earlier: jax.Array, own: jax.Array, skipped: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """Return minibatches of what an earlier window has left over and then of its own positions; of its last batch, some are skipped."""
    packs, steps, batch = shape
    whole = jnp.concatenate([earlier[:, earlier.shape[1] - batch :], own, own[:, :batch]], axis=1)
    return lax.dynamic_slice(whole, (0, skipped), (packs, steps * batch)).reshape(shape)


@partial(jax.jit, static_argnums=2)
def by_permutation(keys: jax.Array, epochs: jax.Array, n: int) -> jax.Array:
    """Return permutations of n positions, [keys, epochs, n] int32, by JAX itself."""

    def draw(key: jax.Array, epoch: jax.Array) -> jax.Array:
        return jax.random.permutation(jax.random.fold_in(key, epoch), n)

    return jax.vmap(jax.vmap(draw, (None, 0)), (0, None))(keys, epochs)


def by_sorting(keys: jax.Array, epochs: np.ndarray, n: int) -> np.ndarray:
    """Return the same permutations, sorted on the host by the random numbers by which JAX sorts."""
    position = np.arange(n, dtype=np.uint64)
    order = np.broadcast_to(position.astype(np.int32), (len(keys), len(epochs), n))
    for numbers in _sort_keys(keys, epochs, n):
        # With the position below each number, all differ: ties stay in their order, as in a stable sort.
        places = numbers.astype(np.uint64) << np.uint64(32) | position
        places.sort(axis=-1)
        order = np.take_along_axis(order, (places & np.uint64(2**32 - 1)).astype(np.int64), axis=-1)
    return order


def _sort_keys(keys: jax.Array, epochs: np.ndarray, n: int) -> np.ndarray:
    """Return [rounds, keys, epochs, n] uint32; with so many rounds, two images tie in all of them next to never."""
    rounds = math.ceil(3 * math.log(max(1, n)) / math.log(2**32 - 1))
    # So many orders at a time, however many are asked for: one compiled program for each n.
    block = 2 ** max(0, min(6, int(math.log2(AT_ONCE["cpu"] / n))))
    count = len(keys) * len(epochs)
    places = np.minimum(np.arange(-(-count // block) * block), count - 1).reshape(-1, block)
    drawn = [_draw(keys[place // len(epochs)], epochs[place % len(epochs)], n, rounds) for place in places]
    return np.concatenate(drawn, axis=1)[:, :count].reshape(rounds, len(keys), len(epochs), n)


@partial(jax.jit, static_argnums=(2, 3))
def _draw(keys: jax.Array, epochs: jax.Array, n: int, rounds: int) -> jax.Array:
    def draw(key: jax.Array, epoch: jax.Array) -> jax.Array:
        key, drawn = jax.random.fold_in(key, epoch), []
        for _ in range(rounds):
            key, own = jax.random.split(key)
            drawn.append(jax.random.bits(own, (n,)))
        return jnp.stack(drawn) if drawn else jnp.zeros((0, n), jnp.uint32)

    return jax.vmap(draw, out_axes=1)(keys, epochs)
