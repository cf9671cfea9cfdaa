"""Curvature of the loss in the pixels of each image of a network's pool (`memo.measures.per_example.input_curvature`)."""

from collections.abc import Sequence

import numpy as np

from memo.measures.per_example.input_curvature import curvature
from memo.probes.networks import Networks
from memo.probes.pool import by_image, pool_of


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network: `curvatures`, bytes with one little-endian float32 for each image of its pool, by its row.

    Costs about ten backward passes for each image.
    """
    found = by_image(curvature, networks, pool_of(networks))
    rows = [row.tobytes() for row in found.astype("<f4")]
    return {"network": np.arange(len(rows)), "curvatures": np.array(rows, object)}


def read(rows: Sequence[bytes]) -> np.ndarray:
    """Return the curvatures [R, N] float32 of R rows on pools of one size."""
    return np.array([np.frombuffer(row, "<f4") for row in rows], np.float32)
