"""Randomness by purpose: one root per seed, so that no draw depends on what else is drawn or trained beside it.

What is drawn once, on the host (subsets, treatments, noise), comes from NumPy generators; what compiled programs draw
(initial weights, the order of minibatches) comes from JAX keys.
"""

import hashlib

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

# Parts of a purpose, each a stream of its own. The numbers are those that stored results were drawn with. A new part needs
# no number: one that is not listed has the hash of its name.
PARTS: dict[str, dict[str, int]] = {
    "inputs": {"replaced": 1},  # which of the training images a treatment replaces
    "noise": {
        # the inputs of memo.probes.networks
        "test": 0,
        "uniform": 1,
        "gaussian": 2,
        "random_pixels": 3,
        # the noise that memo.probes.drawings starts from, by digit
        **{f"drawing_{digit}": 100 + digit for digit in range(100)},
        "normal": 200,  # memo.probes.out_of_distribution
        # analyses of experiments
        "pixel_permutations": 1000,
        "matching": 2000,
        "plane_across": 2001,
        "plane_up": 2002,
        "barrier_matching": 2100,
    },
    "directions": {
        # memo.probes.gradients
        "random_directions": 0,
        "random_components": 1,
        "minibatches": 2,
        # memo.probes.hessian
        "hessian_shares": 300,
        "hessian_top": 301,
    },
}


def purpose_key(seed: int, purpose: str) -> jax.Array:
    """Return the JAX key of one purpose for one seed; ValueError for an unknown purpose."""
    return jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))


def generator(seed: int, purpose: str, part: str | None = None, *numbers: int) -> np.random.Generator:
    """Return the NumPy generator of one purpose, or of one part of it, for one seed; `numbers` divide the part further.

    Raises ValueError for an unknown purpose.
    """
    key: tuple[int, ...] = (PURPOSES.index(purpose),)
    if part is not None:
        key += (part_number(purpose, part), *numbers)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def part_number(purpose: str, part: str) -> int:
    """Return the number of a part: that of PARTS, or the hash of its name, which is above all of them (2^63 to 2^64)."""
    known = PARTS.get(purpose, {})
    if part in known:
        return known[part]
    return 2**63 | int.from_bytes(hashlib.sha256(part.encode()).digest()[:8])
