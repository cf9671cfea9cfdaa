"""Whether the first layer's weights vary along the same directions as the images."""

from typing import NamedTuple

import numpy as np


class Alignment(NamedTuple):
    """How diagonal the covariance of the weights is in the eigenvectors of the images' covariance, and in random bases.

    `share`: of the squared entries of the covariance, on its diagonal; 1 where both have the same eigenvectors. `random`: the same in
    random orthonormal bases of the same space, ascending.
    """

    share: float
    random: np.ndarray


def principal_directions(images: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` eigenvectors [pixels, count] of the covariance of images [n, pixels] with the largest eigenvalues, float64."""
    images = np.asarray(images, np.float64)
    spread = images - images.mean(axis=0)
    return np.linalg.eigh(spread.T @ spread)[1][:, ::-1][:, :count]


def alignment(
    weights: np.ndarray, directions: np.ndarray, generator: np.random.Generator, draws: int = 200
) -> Alignment:
    """Return the alignment of weights [pixels, units] with orthonormal `directions` [pixels, d], beside `draws` random bases of these.

    Where pixels hardly vary, weights stay what they were drawn as: so only directions along which the images vary are to be given.
    Source: the alignment of covariances of Maennel et al. 2020, arXiv:2006.10455; the share as its measure is ours.
    """
    inside = np.asarray(directions, np.float64).T @ np.asarray(weights, np.float64)
    covariance = np.cov(inside)
    drawn = []
    for _ in range(draws):
        basis, triangle = np.linalg.qr(generator.standard_normal(covariance.shape))
        basis = basis * np.sign(np.diag(triangle))  # uniform over all bases (Mezzadri 2007)
        drawn.append(_diagonal_share(basis.T @ covariance @ basis))
    return Alignment(_diagonal_share(covariance), np.sort(drawn))


def _diagonal_share(matrix: np.ndarray) -> float:
    return float(np.sum(np.diag(matrix) ** 2) / np.sum(matrix**2))
