"""The final weights themselves, for analyses after training."""

from collections.abc import Sequence
from itertools import pairwise

import jax
import numpy as np

from memo.networks import mlp
from memo.networks.mlp import Layers
from memo.probes.networks import Networks


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network: `weights`, bytes of little-endian float32.

    Layer by layer, first the weights [inputs, outputs] row by row, then the biases; 52,008 bytes for 784-16-16-10.
    """
    leaves = [np.asarray(leaf, "<f4") for layer in networks.layers for leaf in layer]
    flat = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    return {"network": np.arange(len(flat)), "weights": np.array([row.tobytes() for row in flat], object)}


def layers(rows: Sequence[bytes], sizes: tuple[int, ...]) -> Layers:
    """Return the stacked layers (leaves [T, ...] float32) of T rows of networks with `sizes` units.

    Raises ValueError where a row is not as long as such a network.
    """
    parameters = mlp.count_parameters(sizes)
    if any(len(row) != 4 * parameters for row in rows):
        raise ValueError(
            f"A network of {mlp.describe_widths(sizes, '-')} has {parameters} parameters, these rows do not."
        )
    flat = np.frombuffer(b"".join(rows), "<f4").astype(np.float32).reshape(len(rows), parameters)
    found, start = [], 0
    for inputs, outputs in pairwise(sizes):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        found.append(mlp.Layer(flat[:, start:middle].reshape(-1, inputs, outputs), flat[:, middle:end]))
        start = end
    return jax.tree.map(np.ascontiguousarray, tuple(found))
