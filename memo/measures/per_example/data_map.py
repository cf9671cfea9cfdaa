"""Data maps: Swayamdipta et al. 2020, arXiv:2009.10795."""

from typing import NamedTuple

import numpy as np
from scipy import special


class DataMap(NamedTuple):
    """Where examples lie on the map, [..., N]."""

    confidence: np.ndarray  # mean probability of the given label over evaluations
    variability: np.ndarray  # its standard deviation over them


def data_map(logits: np.ndarray) -> DataMap:
    """Return the data map from log(p / (1 - p)) [..., E, N] of the given label's probability p at E evaluations."""
    p = special.expit(logits)
    return DataMap(p.mean(axis=-2), p.std(axis=-2))
