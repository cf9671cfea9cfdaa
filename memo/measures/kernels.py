"""Fits that need no training: interpolation with a Gaussian kernel, and the linear solution of minimum norm.

    K alpha = y, K_ij = exp(-|x_i - x_j|^2 / (2 bandwidth^2)): Zhang et al. 2017, section 5, their equation 3

A *linear* kernel cannot do this. X X^T of n images has at most the rank of X, which is at most their number of pixels however
many images there are, so that beyond that number no alpha gives arbitrary labels: `minimum_norm` then is least squares.

Images are floats on the scale 0..1, and their dtype, float32 or float64, is that of all arithmetic.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from scipy.linalg import cholesky, solve_triangular

BLOCK = 500  # rows of a kernel computed, columns of it factorised at once
JITTER_STEP = 10  # each jitter tried is this many times the one before


class Interpolation(NamedTuple):
    """Coefficients of the training images and how well they solve the system.

    `alpha` [n, classes]; `jitter` added to the diagonal beyond the ridge so that the factorisation succeeds;
    `residual` max |(K + ridge) alpha - y|, without the jitter; `norm` sqrt(sum(alpha K alpha)) of the function in the
    kernel's space, over all classes.
    """

    alpha: np.ndarray
    jitter: float
    residual: float
    norm: float


class Linear(NamedTuple):
    """`weights` [d, classes] without an intercept, and the `rank` of the images above the cutoff."""

    weights: np.ndarray
    rank: int


def gaussian_kernel(a: np.ndarray, b: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return exp(-|a_i - b_j|^2 / (2 bandwidth^2)) [n, m] for a [n, d] and b [m, d] of one dtype, in blocks of rows.

    Its error is about epsilon x max(1, |a|^2 / bandwidth^2): distances come from products, as |a|^2 + |b|^2 - 2 a b.
    Raises ValueError for a bandwidth that is not above 0, and for two dtypes.
    """
    if not (bandwidth > 0 and math.isfinite(bandwidth)):
        raise ValueError(f"A bandwidth is a finite number above 0, not {bandwidth}.")
    if a.dtype != b.dtype:
        raise ValueError(f"Both sets of images have one dtype, not {a.dtype} and {b.dtype}.")
    a, b = _scaled(a, bandwidth), _scaled(b, bandwidth)
    half_a, half_b = (np.einsum("ij,ij->i", x, x) / 2 for x in (a, b))
    kernel = np.empty((len(a), len(b)), a.dtype)
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        exponents = np.matmul(a[rows], b.T, out=kernel[rows])
        exponents -= half_a[rows, None]
        exponents -= half_b
        np.minimum(exponents, 0, out=exponents)  # rounding may put equal images at a negative squared distance
        np.exp(exponents, out=exponents)
    return kernel


def interpolate(images: np.ndarray, targets: np.ndarray, bandwidth: float, ridge: float = 0.0) -> Interpolation:
    """Solve (K + ridge) alpha = targets for images [n, d] and targets [n, classes] by Cholesky factorisation, in place.

    Where K is not positive definite in the images' dtype, the diagonal gets the smallest jitter that makes it so, of
    0 and the dtype's epsilon times powers of ten; so small a jitter leaves large coefficients, as the residual shows.
    Memory: one kernel matrix, and n rows of twice the pixels or three blocks. Raises ValueError for a ridge below 0, images
    that are not finite, or a dtype other than float32 and float64.
    """
    if not (ridge >= 0 and math.isfinite(ridge)):
        raise ValueError(f"A ridge is a finite number of at least 0, not {ridge}.")
    if images.dtype not in (np.float32, np.float64):
        raise ValueError(f"Images are float32 or float64, not {images.dtype}.")
    if not np.isfinite(images).all():
        raise ValueError("Some images are not finite.")
    targets = np.asarray(targets, images.dtype)
    kernel = gaussian_kernel(images, images, bandwidth)
    jitter = 0.0
    np.fill_diagonal(kernel, 1 + ridge)
    while not _factorise(kernel):
        jitter = JITTER_STEP * jitter or float(np.finfo(images.dtype).eps)
        _restore(kernel)
        np.fill_diagonal(kernel, 1 + ridge + jitter)
    alpha = _solve(kernel, targets)
    np.fill_diagonal(kernel, 1 + ridge)
    fitted = _multiply(kernel, alpha)
    squared_norm = np.sum(alpha * (fitted - images.dtype.type(ridge) * alpha), dtype=np.float64)
    return Interpolation(alpha, jitter, float(np.abs(fitted - targets).max()), math.sqrt(max(squared_norm, 0)))


def predict(images: np.ndarray, alpha: np.ndarray, bandwidth: float, queries: np.ndarray) -> np.ndarray:
    """Return the values [m, classes] at queries [m, d] of the fit with coefficients alpha [n, classes], in blocks."""
    values = np.empty((len(queries), alpha.shape[1]), alpha.dtype)
    for start in range(0, len(queries), BLOCK):
        block = slice(start, start + BLOCK)
        values[block] = gaussian_kernel(queries[block], images, bandwidth) @ alpha
    return values


def minimum_norm(images: np.ndarray, targets: np.ndarray) -> Linear:
    """Return the weights [d, k] of least norm among those that bring images [n, d] @ weights closest to targets [n, k].

    In least squares. From the eigenvectors, in float64, of the smaller of X^T X and X X^T. Eigenvalues at most max(n, d) x epsilon x the
    largest count as 0, because rounding makes such ones; singular values are cut at the root of that.
    """
    images, targets = images.astype(np.float64, copy=False), targets.astype(np.float64, copy=False)
    n, pixels = images.shape
    values, vectors = np.linalg.eigh(images @ images.T if n < pixels else images.T @ images)
    kept = values > max(n, pixels) * np.finfo(np.float64).eps * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    if n < pixels:
        weights = images.T @ (vectors @ (vectors.T @ targets / values[:, None]))
    else:
        weights = vectors @ (vectors.T @ (images.T @ targets) / values[:, None])
    return Linear(weights, len(values))


def one_hot(labels: np.ndarray, dtype: DTypeLike, classes: int) -> np.ndarray:
    """Return targets [n, classes] of 0 and 1 for labels [n]."""
    return np.eye(classes, dtype=dtype)[labels]


def error(values: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows of values [m, classes] whose largest is not at the label [m]."""
    return float(np.mean(values.argmax(axis=1) != labels))


def _scaled(images: np.ndarray, bandwidth: float) -> np.ndarray:
    return images * images.dtype.type(1 / bandwidth)


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def _factorise(kernel: np.ndarray) -> bool:
    """Write the Cholesky factor over the lower triangle, and return whether there is one; the upper stays as it is.

    By columns of blocks rather than by LAPACK: the potrf of scipy 1.17's OpenBLAS, on two threads, ends the process at
    n = 30,000 in float32.
    """
    for own in _blocks(len(kernel)):
        panel = kernel[own.start :, own] - kernel[own.start :, : own.start] @ kernel[own, : own.start].T
        size = own.stop - own.start
        try:
            factor = cholesky(panel[:size], lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return False
        kernel[own, own] = np.triu(kernel[own, own], 1) + factor
        solved = solve_triangular(factor, panel[size:].T, lower=True, overwrite_b=True, check_finite=False)
        kernel[own.stop :, own] = solved.T
    return True


def _solve(kernel: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return what the matrix whose Cholesky factor is the lower triangle maps to targets [n, classes]."""
    solution = targets.copy()
    blocks = _blocks(len(kernel))
    for own in blocks:
        solution[own] -= kernel[own, : own.start] @ solution[: own.start]
        solution[own] = solve_triangular(kernel[own, own], solution[own], lower=True, check_finite=False)
    for own in reversed(blocks):
        solution[own] -= kernel[own.stop :, own].T @ solution[own.stop :]
        solution[own] = solve_triangular(kernel[own, own], solution[own], lower=True, trans="T", check_finite=False)
    return solution


def _multiply(kernel: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the product of the symmetric matrix whose upper triangle this is with values [n, classes]."""
    product = np.zeros_like(values)
    for own in _blocks(len(kernel)):
        above = np.triu(kernel[own, own])
        product[own] += above @ values[own] + np.triu(above, 1).T @ values[own]
        product[own] += kernel[own, own.stop :] @ values[own.stop :]
        product[own.stop :] += kernel[own, own.stop :].T @ values[own]
    return product


def _restore(kernel: np.ndarray) -> None:
    """Copy the upper triangle onto the lower, in place; the diagonal is lost."""
    for own in _blocks(len(kernel)):
        kernel[own.stop :, own] = kernel[own, own.stop :].T
        above = np.triu(kernel[own, own], 1)
        kernel[own, own] = above + above.T
