"""The order in which minibatches take a training subset: a permutation for every epoch, the same for a pack's networks.

It is `jax.random.permutation` bit for bit, on CPUs by NumPy's sort: for 60,000 images JAX's takes 33 to 45 ms there,
about a third of a small network's epoch, and NumPy's 3 ms.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from memo.training.machine import platform_of

# Positions drawn at a time: as many epochs of all packs as fit, and at least one. The GPU's number is a guess.
AT_ONCE = {"cpu": 2**17, "gpu": 2**27}


class Orders:
    """The minibatch orders of a slab's packs, some epochs at a time; `keys` [P] of P packs with n training images each."""

    def __init__(self, keys: jax.Array, n: int, epochs: int, device: jax.Device):
        """Draw for at most `epochs` epochs, on a device."""
        self._keys, self._n, self._device = keys, n, device
        self._at_once = max(1, min(epochs, AT_ONCE[platform_of(device)] // (len(keys) * n)))
        self._drawn: tuple[int, jax.Array] | None = None

    @property
    def shape(self) -> jax.ShapeDtypeStruct:
        """Return the shape of what `at` draws, [P, epochs at a time, n] int32."""
        return jax.ShapeDtypeStruct((len(self._keys), self._at_once, self._n), jnp.int32)

    def at(self, epoch: int) -> tuple[int, jax.Array]:
        """Return a first epoch, and the orders [P, epochs, n] from it on, int32, that of this epoch among them."""
        if self._drawn is None or not 0 <= epoch - self._drawn[0] < self._at_once:
            epochs = np.arange(epoch, epoch + self._at_once, dtype=np.int32)
            draw = by_sorting if platform_of(self._device) == "cpu" else by_permutation
            self._drawn = epoch, jax.device_put(draw(self._keys, epochs, self._n), self._device)
        return self._drawn


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
