"""The predicted class of each of a network's first training images, for comparison with the given and the true label."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels
from memo.probes.answers import NO_ANSWER
from memo.probes.networks import Networks, finite
from memo.probes.networks import outputs as outputs_of

WATCHED = 1000  # the first of each training subset


@partial(jax.jit, static_argnums=0)
def _answers(static: Static, layers: Layers, images: jax.Array, sources: jax.Array, rows: jax.Array) -> jax.Array:
    """Return the answers [T, W] uint8 of T networks to the images in `rows` [T, W] of their sources."""

    def of_network(own: tuple[Layers, jax.Array, jax.Array]) -> jax.Array:
        layers, source, rows = own
        stacked = jax.tree.map(lambda leaf: leaf[None], layers)
        outputs = outputs_of(static, stacked, as_pixels(images[source, rows]))[0]
        known = finite(stacked) & jnp.isfinite(outputs).all(axis=-1)
        return jnp.where(known, jnp.argmax(outputs, axis=-1).astype(jnp.uint8), jnp.uint8(NO_ANSWER))

    return jax.lax.map(of_network, (layers, sources, rows))


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network: `training_answers`, bytes with one uint8 for each of the first 1,000 training images.

    In the order of the training subset, and so of the labels of `memo.training.inputs.TrainingData.given`; 255 for no prediction
    (an output is not a number).
    """
    rows = networks.rows[:, :WATCHED]
    found = _answers(networks.static, networks.layers, networks.images.train, networks.sources, rows)
    answers = [row.tobytes() for row in np.asarray(found)]
    return {"network": np.arange(len(answers)), "training_answers": np.array(answers, object)}
