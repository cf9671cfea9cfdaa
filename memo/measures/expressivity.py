"""Two layers of 2n + d weights that fit any n labels: Theorem 1 of Zhang et al. 2017, built rather than trained.

    c(x) = sum_j w_j max(<a, x> - b_j, 0)

A random direction a [d] puts the images on a line, at z_1 < z_2 < ... < z_n. Biases between them, b_1 < z_1 < b_2 <
z_2 < ..., make max(z_i - b_j, 0) lower triangular with a positive diagonal, so that forward substitution gives w.

Rounding limits n. The smallest of n gaps on a line shrinks as 1/n^2, and c climbs from one label to another
within it. Where the biases lie in the gaps matters as much: with b_j a share s of the gap z_j - z_{j-1} below z_j, the
slope of c behind b_j is

    S_j = ((y_j - y_{j-1}) / (z_j - z_{j-1}) - (1 - s) S_{j-1}) / s

so an error grows by (1 - s) / s from each image to the next: without bound below s = 1/2, not at all in the midpoints,
and it is forgotten above. At s = 1 the bias lies on the image before, and c is the broken line through the labels.
Largest of two residuals on the first 5,000 images of MNIST with random labels:

    s            0.4    0.5    0.6    0.75   1
    float64      inf    2e-5   8e-8   3e-8   1e-8
    float32      inf    inf    25     3      4
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from scipy.linalg import solve_triangular

BLOCK = 1000  # images evaluated at once, each by all n units
MIDPOINT = 0.5


class Tie(ValueError):
    """Two images coincide on the line."""


class Interpolant(NamedTuple):
    """`projection` a [d], `biases` b [n], ascending, and `weights` w [n], all of one dtype."""

    projection: np.ndarray
    biases: np.ndarray
    weights: np.ndarray


class Fits(NamedTuple):
    """`largest` n up to which all fits are within the tolerance (0: none), and the `residuals` by n (inf: a tie)."""

    largest: int
    residuals: dict[int, float]


def construct(
    inputs: np.ndarray,
    targets: np.ndarray,
    generator: np.random.Generator,
    dtype: DTypeLike = np.float64,
    share: float = MIDPOINT,
) -> Interpolant:
    """Return the network that fits targets [n] on inputs [n, d], with all arithmetic in `dtype`.

    Each bias lies `share` (0 < share <= 1) of the gap below its image; the first as much of the mean gap. Holds n^2
    numbers of `dtype`. Raises Tie, a ValueError, where two images fall on one point of the line, or too close for a bias
    between them (equal images, or a gap that `dtype` does not resolve), and ValueError for a share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"The share of a gap lies above 0 and at most at 1, not at {share}.")
    dtype = np.dtype(dtype)
    n, pixels = inputs.shape
    projection = np.asarray(generator.standard_normal(pixels), dtype)
    points = inputs.astype(dtype, copy=False) @ projection
    order = np.argsort(points, kind="stable")
    points = points[order]
    gaps = np.diff(points)
    one, between, part = np.array([1, max(n - 1, 1), share], dtype)
    mean_gap = (points[-1] - points[0]) / between if n > 1 else one
    biases = points - part * np.concatenate([[mean_gap], gaps])
    # A gap of one unit in the last place has no room: the bias rounds onto the image, and the diagonal is 0.
    lost = np.flatnonzero(biases >= points)
    if len(lost):
        one, other = order[max(lost[0] - 1, 0)], order[lost[0]]
        why = (
            "their inputs are equal"
            if np.array_equal(inputs[one], inputs[other])
            else f"{dtype} does not resolve their gap"
        )
        raise Tie(f"Images {one} and {other} fall on one point of the line: {why}.")
    with np.errstate(over="ignore", invalid="ignore"):  # a share below 1/2; the residual shows it
        system = np.maximum(points[:, None] - biases, 0)
        weights = solve_triangular(
            system, targets[order].astype(dtype), lower=True, overwrite_b=True, check_finite=False
        )
    return Interpolant(projection, biases, weights)


def evaluate(network: Interpolant, inputs: np.ndarray) -> np.ndarray:
    """Return c(x) [m] of inputs [m, d], in the network's dtype, in blocks of images."""
    points = inputs.astype(network.projection.dtype, copy=False) @ network.projection
    values = np.empty_like(points)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(points), BLOCK):
            block = slice(start, start + BLOCK)
            values[block] = np.maximum(points[block, None] - network.biases, 0) @ network.weights
    return values


def residual(network: Interpolant, inputs: np.ndarray, targets: np.ndarray) -> float:
    """Return max |c(x_i) - y_i| / max |y_i| over inputs [n, d] and targets [n]; inf where c is not finite.

    Rounding c gives all labels 0..9 correctly where it is below 1/18.
    """
    difference = np.abs(evaluate(network, inputs).astype(np.float64) - targets)
    scale = np.abs(targets).max()
    return float(difference.max() / (scale if scale > 0 else 1)) if np.isfinite(difference).all() else float("inf")


def largest_fit(
    inputs: np.ndarray,
    targets: np.ndarray,
    dtype: DTypeLike,
    tolerance: float,
    counts: Sequence[int],
    generator: np.random.Generator,
    share: float = MIDPOINT,
) -> Fits:
    """Return the largest of `counts` up to which the first n of inputs [N, d] and targets [N] are fitted, and each residual.

    Each count has a projection of its own, drawn from the generator in ascending order of n.
    """
    residuals = {}
    for n in sorted(counts):
        try:
            network = construct(inputs[:n], targets[:n], generator, dtype, share)
            residuals[n] = residual(network, inputs[:n], targets[:n])
        except Tie:
            residuals[n] = float("inf")
    largest = 0
    for n, found in residuals.items():
        if not found <= tolerance:
            break
        largest = n
    return Fits(largest, residuals)


def count_weights(n: int, pixels: int) -> int:
    """Return 2n + d; 120,784 for 60,000 images of 784 pixels."""
    return 2 * n + pixels
