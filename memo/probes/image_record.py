"""How each image of a network's pool is answered, those that it was not trained on among them: for scores by example.

At the end, or along training as `image_record@n`, from which forgetting, margins and data maps follow
(`memo.measures.per_example`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from memo.networks import mlp
from memo.networks.losses import LOSSES, of_class
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_seen
from memo.probes.answers import NO_ANSWER
from memo.probes.networks import Networks, finite
from memo.probes.pool import by_image, pool_of

# Columns of numbers, little-endian: 7 bytes for each image.
_TYPES = {"answers": "u1", "margins": "<f2", "logits": "<f2", "errors": "<f2"}


class Record(NamedTuple):
    """R rows of the probe on pools of N images."""

    members: np.ndarray  # [R, N] bool, whether the network was trained on the image
    answers: np.ndarray  # [R, N] uint8
    margins: np.ndarray  # [R, N] float32
    logits: np.ndarray  # [R, N] float32
    errors: np.ndarray  # [R, N] float32


def _record(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array) -> tuple[jax.Array, ...]:
    """Return what `measure` stores of one network's images [b, pixels], each [b]."""
    outputs = mlp.apply(layers, as_seen(static, pixels), static.activation)
    given = jax.nn.one_hot(labels, outputs.shape[-1])
    own, others = of_class(outputs, labels), jnp.where(given > 0, -jnp.inf, outputs)
    known = jnp.isfinite(outputs).all(axis=-1) & finite(jax.tree.map(lambda leaf: leaf[None], layers))[0]
    numbers = (
        own - jnp.max(others, axis=-1),
        own - jax.nn.logsumexp(others, axis=-1),
        jnp.linalg.norm(LOSSES[static.loss].activate(outputs) - given, axis=-1),
    )
    answers = jnp.where(known, jnp.argmax(outputs, axis=-1).astype(jnp.uint8), jnp.uint8(NO_ANSWER))
    return answers, *(jnp.where(known, values, jnp.nan).astype(jnp.float16) for values in numbers)


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network: bytes with one number for each of the N `images` of its pool, by their rows.

    - `members`: bits, 1 where the network was trained on the image (`numpy.packbits`).
    - `answers`: uint8, 255 for none (the numbers are then NaN).
    - `margins`: float16, output of the given label minus the largest other output.
    - `logits`: float16, log(p / (1 - p)) of the softmax probability p of the given label; the loss is softplus(-logit).
    - `errors`: float16, Euclidean distance of the outputs (after softmax or sigmoid) from the given label's one-hot vector.
    """
    pool = pool_of(networks)
    found = by_image(_record, networks, pool)
    columns = {"members": [row.tobytes() for row in np.packbits(pool.members, axis=1)]}
    for (name, kind), values in zip(_TYPES.items(), found):
        columns[name] = [row.tobytes() for row in values.astype(kind)]
    count = len(pool.rows)
    return {"network": np.arange(count), "images": np.full(count, pool.rows.shape[1])} | {
        name: np.array(rows, object) for name, rows in columns.items()
    }


def read(rows: Mapping[str, Sequence[bytes]]) -> Record:
    """Return the record of R rows, by the names of their columns (a data frame); ValueError where pools differ in size."""
    sizes = {len(row) for row in rows["answers"]}
    if len(sizes) > 1:
        raise ValueError(f"Pools of {', '.join(map(str, sorted(sizes)))} images cannot be read together.")
    count = sizes.pop() if sizes else 0
    bits = np.array([np.unpackbits(np.frombuffer(row, np.uint8), count=count) for row in rows["members"]], bool)
    found = [np.array([np.frombuffer(row, kind) for row in rows[name]]) for name, kind in _TYPES.items()]
    answers, *numbers = (values.reshape(-1, count) for values in found)
    return Record(bits.reshape(-1, count), answers.astype(np.uint8), *(each.astype(np.float32) for each in numbers))
