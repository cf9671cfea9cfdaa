"""Randomness by purpose: one root a seed, so that no draw depends on what else is drawn or trained beside it.

What is drawn once, on the host (subsets, treatments, noise), comes from NumPy generators; what compiled programs draw
(initial weights, the order of minibatches) comes from JAX keys.
"""

import jax
import numpy as np

# The position in this tuple is what is folded into the root: append, never reorder.
PURPOSES = (
    "initialisation",
    "subset",
    "labels",
    "inputs",
    "order",
    "noise",
    "regularization",
    "directions",
    "critical",
)


def purpose_key(seed: int, purpose: str) -> jax.Array:
    """Return the JAX key of one purpose for one seed; ValueError for an unknown purpose."""
    return jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))


def generator(seed: int, purpose: str, *parts: int) -> np.random.Generator:
    """Return the NumPy generator of one purpose (and numbered part of it) for one seed; ValueError likewise."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), *parts)))
