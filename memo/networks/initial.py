"""The weights that networks start from, as their seeds draw them."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memo.data.randomness import purpose_key
from memo.networks import mlp
from memo.networks.mlp import Layers
from memo.networks.program import Static

_keys_of = jax.jit(jax.vmap(purpose_key, (0, None)), static_argnums=1)


def keys(seeds: np.ndarray) -> jax.Array:
    """Return the keys [...] of the initial weights for seeds [...]."""
    seeds = np.asarray(seeds, np.int32)
    return _keys_of(seeds.ravel(), "initialisation").reshape(seeds.shape)


@lru_cache(maxsize=16)
def drawing(*choices: Any) -> Callable[[jax.Array], Layers]:
    """Return the compiled function from keys [packs, members] to layers, for `memo.networks.mlp.initialise`'s other arguments.

    Mapped, not vmapped: it runs once, and the program of one network compiles several times faster.
    """
    return jax.jit(
        lambda keys: jax.lax.map(lambda pack: jax.lax.map(lambda key: mlp.initialise(key, *choices), pack), keys)
    )


def by_seed(static: Static, seeds: Sequence[int] | np.ndarray) -> Layers:
    """Return the layers, leaves [T, ...], that networks of T seeds start from."""
    draw = drawing(static.sizes, static.init, static.receptive_field)
    # One by one: a single program whatever their number.
    drawn = [draw(keys(np.array([[seed]]))) for seed in seeds]
    return jax.tree.map(lambda *leaves: jnp.concatenate([leaf[0] for leaf in leaves]), *drawn)
