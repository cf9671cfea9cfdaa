"""The weights of first-layer units as images, and statistics of their structure.

    weights of a unit ──> statistics ──> beside the same weights with their pixels permuted

A picture of weights proves little by itself, as noise can look structured too. Each statistic has a known value, exactly or on
average, for the same weights with permuted pixels.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from memo.probes.networks import Networks, finite

UNITS = 16  # of each network; wider first layers show their first ones


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network and unit (the first 16): `weights`, bytes of float32 by pixel, and `statistics`.

    The image must be square. Where a unit has a receptive field, its zeros outside count as weights. The statistics
    of a network that holds a number that is not finite, in any layer, are NaN.
    """
    weights = np.asarray(networks.layers[0].weights, "<f4")[:, :, :UNITS].transpose(0, 2, 1)
    count, units, pixels = weights.shape
    flat = weights.reshape(-1, pixels)
    whole = np.repeat(np.asarray(finite(networks.layers)), units)
    return {
        "network": np.repeat(np.arange(count), units),
        "unit": np.tile(np.arange(units), count),
        "weights": np.array([row.tobytes() for row in flat], object),
        **statistics(np.where(whole[:, None], flat, np.nan)),
    }


def statistics(weights: ArrayLike) -> dict[str, np.ndarray]:
    """Return statistics [...] of weights [..., pixels] that lie on a square image, row by row.

    - `autocorrelation`: Moran's I between pixels that share an edge (Moran 1950, Biometrika 37:17-23), the weights'
      mean subtracted; near 1 for smooth images, -1 for a checkerboard. NaN where all weights are equal.
    - `participation`: (sum w^2)^2 / (N sum w^4); 1 where all weights are of one size, 1/3 for Gaussian ones, 1/N for
      a single pixel.
    - `middle`: the share of sum w^2 in the central half of each side, where a pixel counts by its area inside.

    NaN where a weight is not finite or all are 0. Raises ValueError where the image is not square or is one pixel.
    """
    weights = np.asarray(weights, float)
    # Raised to the fourth power, the weights of a diverging network might overflow.
    scale = np.max(np.abs(weights), axis=-1, keepdims=True)
    weights = np.divide(weights, scale, out=np.full_like(weights, np.nan), where=np.isfinite(scale) & (scale > 0))
    count = weights.shape[-1]
    side = _side(count)
    centred = (weights - weights.mean(axis=-1, keepdims=True)).reshape(*weights.shape[:-1], side, side)
    products = _sum_image(centred[..., 1:, :] * centred[..., :-1, :]) + _sum_image(centred[..., 1:] * centred[..., :-1])
    spread = _sum_image(centred**2)
    # Equal weights are equal to their mean but for rounding.
    spread = np.where(np.ptp(weights, axis=-1) > 0, spread, np.nan)
    squares = weights**2
    total = squares.sum(axis=-1)
    return {
        "autocorrelation": count / (2 * side * (side - 1)) * products / spread,
        "participation": total**2 / (count * np.sum(squares**2, axis=-1)),
        "middle": squares @ _middle(side) / total,
    }


def permuted(weights: ArrayLike, generator: np.random.Generator, draws: int) -> dict[str, np.ndarray]:
    """Return the means [...] of the same statistics over random permutations of the pixels, each unit by its own."""
    weights = np.asarray(weights, float)
    drawn = [statistics(generator.permuted(weights, axis=-1)) for _ in range(draws)]
    return {name: np.mean([one[name] for one in drawn], axis=0) for name in drawn[0]}


def expected(weights: ArrayLike) -> dict[str, np.ndarray]:
    """Return the means [...] of the same statistics over all permutations of the pixels.

    They are -1/(N - 1) for `autocorrelation` (Moran 1950), 1/4 for `middle`, and `participation` itself, which does not depend on where a weight lies; NaN where the statistic of these weights is.
    """
    found = statistics(weights)
    means = {"autocorrelation": -1 / (np.shape(weights)[-1] - 1), "middle": 1 / 4}
    return {name: np.where(np.isnan(value), np.nan, means.get(name, value)) for name, value in found.items()}


def _side(pixels: int) -> int:
    side = math.isqrt(pixels)
    if side**2 != pixels or side < 2:
        raise ValueError(f"{pixels} pixels are no square image of at least 2 x 2.")
    return side


def _sum_image(values: np.ndarray) -> np.ndarray:
    return values.sum(axis=(-2, -1))


def _middle(side: int) -> np.ndarray:
    """Return the share of each pixel's area that lies in the central half of each side, [pixels]; their mean is 1/4."""
    starts = np.arange(side)
    inside = np.clip(np.minimum(starts + 1, 3 * side / 4) - np.maximum(starts, side / 4), 0, 1)
    return np.outer(inside, inside).ravel()
