"""The predicted class of each test image, and its confidence: for every analysis of errors by image."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from memo.data.entry import MOST_CLASSES
from memo.networks.losses import LOSSES
from memo.networks.mlp import Layers
from memo.networks.program import Static
from memo.probes.networks import Networks, finite, outputs

NO_ANSWER = MOST_CLASSES  # no class: where an output is not a number


@partial(jax.jit, static_argnums=0)
def _answers(static: Static, layers: Layers, pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return answer uint8 and confidence float32, each [m, M]."""
    values, loss, sound = outputs(static, layers, pixels), LOSSES[static.loss], finite(layers)[:, None]
    known = sound & jnp.isfinite(values).all(axis=-1)
    # Of the outputs, as accuracy counts: float32 sigmoids are all 1 from an output of 17 on.
    answer = jnp.argmax(values, axis=-1).astype(jnp.uint8)
    return jnp.where(known, answer, jnp.uint8(NO_ANSWER)), jnp.where(known, loss.confidence(values), jnp.nan)


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network: `answers` and `confidences`, bytes with one number for each test image.

    The images are those of `memo.training.inputs.test_rows`, in that order. Answers are uint8, 255 for none (the
    confidence is then NaN). Confidences are little-endian float16, the largest softmax probability or sigmoid output:
    off by at most 0.00025, so that from 0.99976 on they read 1; NaN under linear_squared_error.
    """
    columns: dict[str, list] = {"network": [], "answers": [], "confidences": []}
    for _, members, layers, pixels in networks.by_seed():
        answers, confidences = jax.tree.map(np.asarray, _answers(networks.static, layers, pixels))
        columns["network"].extend(members)
        columns["answers"].extend(row.tobytes() for row in answers)
        columns["confidences"].extend(row.tobytes() for row in confidences.astype("<f2"))
    return {name: np.array(values, int if name == "network" else object) for name, values in columns.items()}


def read(answers: Sequence[bytes], confidences: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return answers [T, M] uint8 and confidences [T, M] float32 of T rows; ValueError where rows differ in length."""
    found = np.stack([np.frombuffer(row, np.uint8) for row in answers])
    sure = np.stack([np.frombuffer(row, "<f2") for row in confidences]).astype(np.float32)
    if found.shape != sure.shape:
        raise ValueError(f"Answers {found.shape} and confidences {sure.shape} are not of the same images.")
    return found, sure
