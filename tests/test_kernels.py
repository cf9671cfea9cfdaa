"""Kernel interpolation and the linear solution of least norm, against NumPy's dense solvers and on real images."""

import tracemalloc

import numpy as np
import pytest

from memo.data.randomness import generator
from memo.measures import kernels
from memo.measures.kernels import error, gaussian_kernel, interpolate, minimum_norm, one_hot, predict

BANDWIDTH = 5.0


@pytest.fixture(scope="module")
def digits(mnist):
    """Return `digits(n, dtype) -> images, one-hot targets` of n real images with random labels."""

    def draw(n, dtype=np.float64):
        labels = generator(0, "labels").integers(0, 10, n)
        return mnist.train_images[:n].astype(dtype) / dtype(255), one_hot(labels, dtype, 10)

    return draw


def brute_force(a, b, bandwidth):
    squares = np.array([np.square(b - one).sum(1) for one in a.astype(float)])
    return np.exp(-squares / (2 * bandwidth**2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_is_numpys(digits, monkeypatch, dtype):
    monkeypatch.setattr(kernels, "BLOCK", 16)  # so that there are several, the last of them short
    images = digits(70, dtype)[0]
    for bandwidth in (0.5, 3.0, 20.0):
        kernel = gaussian_kernel(images[:40], images, bandwidth)
        assert kernel.dtype == dtype
        tolerance = 2 * np.finfo(dtype).eps * max(1, np.square(images).sum(1).max() / bandwidth**2)
        np.testing.assert_allclose(kernel, brute_force(images[:40], images, bandwidth), atol=tolerance)
        assert kernel.max() <= 1


def test_two_points_by_hand():
    images, targets = np.array([[0.0], [2.0]]), np.array([[1.0], [0.0]])
    near = np.exp(-2)  # distance 2, bandwidth 1
    fit = interpolate(images, targets, 1.0)
    np.testing.assert_allclose(fit.alpha[:, 0], np.array([1, -near]) / (1 - near**2), rtol=1e-14)
    assert (fit.jitter, fit.residual) == (0, pytest.approx(0, abs=1e-15))
    assert fit.norm == pytest.approx(np.sqrt(1 / (1 - near**2)))
    np.testing.assert_allclose(interpolate(images, targets, 1.0, ridge=1.0).alpha[:, 0] * (4 - near**2), [2, -near])


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_coefficients_solve_the_dense_system(digits, ridge):
    images, targets = digits(200)
    fit = interpolate(images, targets, BANDWIDTH, ridge)
    kernel = brute_force(images, images, BANDWIDTH)
    expected = np.linalg.solve(kernel + ridge * np.eye(200), targets)
    np.testing.assert_allclose(fit.alpha, expected, atol=1e-9 * np.abs(expected).max())
    assert fit.jitter == 0
    assert fit.norm == pytest.approx(np.sqrt(np.trace(expected.T @ kernel @ expected)))
    found = np.abs((kernel + ridge * np.eye(200)) @ fit.alpha - targets).max()
    assert found < 1e-10
    assert fit.residual < 1e-10


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-3), (np.float64, 1e-10)])
def test_random_training_labels_are_reproduced(digits, dtype, tolerance):
    images, targets = digits(1050, dtype)
    fit = interpolate(images, targets, BANDWIDTH)
    values = predict(images, fit.alpha, BANDWIDTH, images)
    assert values.dtype == fit.alpha.dtype == dtype
    np.testing.assert_allclose(values, targets, atol=tolerance)
    assert error(values, targets.argmax(1)) == 0
    shrunk = predict(images, interpolate(images, targets, BANDWIDTH, ridge=10.0).alpha, BANDWIDTH, images)
    assert error(shrunk, targets.argmax(1)) > 0


def test_a_narrow_kernel_answers_as_the_nearest_image(digits, mnist):
    images, targets = digits(200)
    queries = mnist.test_images[:300] / 255
    values = predict(images, interpolate(images, targets, 0.5).alpha, 0.5, queries)
    nearest = np.array([np.square(images - query).sum(1).argmin() for query in queries])
    np.testing.assert_array_equal(values.argmax(1), targets[nearest].argmax(1))


def test_equal_images_get_the_smallest_jitter_and_the_residual_says_so(digits, monkeypatch):
    images, targets = digits(120)
    images[60:] = images[:60]
    whole = interpolate(images, targets, BANDWIDTH)
    contradicted = (targets[60:] != targets[:60]).any(1)
    assert contradicted.any()
    assert whole.residual > 0.49  # equal images have one answer: half-way between two labels at best
    monkeypatch.setattr(kernels, "BLOCK", 32)  # the kernel that failed is mended in blocks
    blocks = interpolate(images, targets, BANDWIDTH)
    kernel = brute_force(images, images, BANDWIDTH)
    for fit in (whole, blocks):
        assert 0 < fit.jitter < 1e-12  # whether the first or the second step succeeds is up to rounding
        jittered = kernel + fit.jitter * np.eye(120)
        # Coefficients of 1 / jitter: what float64 leaves of the system is their rounding.
        tolerance = 120 * np.finfo(float).eps * np.abs(fit.alpha).max()
        np.testing.assert_allclose(jittered @ fit.alpha, targets, atol=max(tolerance, 1e-6))


@pytest.mark.parametrize("n", [1, 3, 10])
def test_factorisation_in_blocks_is_numpys_and_keeps_the_upper_triangle(monkeypatch, n):
    monkeypatch.setattr(kernels, "BLOCK", 3)
    rng = np.random.default_rng(0)
    root = rng.standard_normal((n, n + 2))
    matrix, values = root @ root.T, rng.standard_normal((n, 2))
    factorised = matrix.copy()
    assert kernels._factorise(factorised)
    np.testing.assert_allclose(np.tril(factorised), np.linalg.cholesky(matrix), atol=1e-12)
    np.testing.assert_array_equal(np.triu(factorised, 1), np.triu(matrix, 1))
    np.testing.assert_allclose(matrix @ kernels._solve(factorised, values), values, atol=1e-9)
    np.fill_diagonal(factorised, matrix.diagonal())
    np.testing.assert_allclose(kernels._multiply(factorised, values), matrix @ values, atol=1e-12)
    indefinite = matrix - 2 * np.outer(*[np.eye(n)[-1] * np.sqrt(matrix[-1, -1])] * 2)  # in its last block
    spoiled = indefinite.copy()
    assert not kernels._factorise(spoiled)
    kernels._restore(spoiled)
    np.fill_diagonal(spoiled, indefinite.diagonal())
    np.testing.assert_allclose(spoiled, indefinite, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_is_one_kernel_matrix_and_little_else(digits, dtype):
    for n in (300, 1100):
        # Of each image: twice its pixels, scaled, or three panels of the kernel; targets and fits. And six blocks.
        numbers = n * n + n * (max(2 * 784, 3 * kernels.BLOCK) + 5 * 10 + 5) + 6 * kernels.BLOCK**2
        images, targets = digits(n, dtype)
        tracemalloc.start()
        interpolate(images, targets, BANDWIDTH)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n * n * images.itemsize < peak <= numbers * images.itemsize


@pytest.mark.parametrize("n", [40, 300])
def test_minimum_norm_is_numpys(n):
    rng = np.random.default_rng(0)
    images, targets = rng.standard_normal((n, 60)) @ rng.standard_normal((60, 200)), rng.standard_normal((n, 3))
    found = minimum_norm(images, targets)
    assert found.rank == min(n, 60)
    np.testing.assert_allclose(found.weights, np.linalg.lstsq(images, targets, rcond=1e-6)[0], atol=1e-9)


def test_minimum_norm_interpolates_few_images(digits):
    images, targets = digits(150)
    found = minimum_norm(images, targets)
    assert found.rank == 150
    np.testing.assert_allclose(images @ found.weights, targets, atol=1e-6)


@pytest.mark.slow
def test_a_linear_kernel_cannot_interpolate_more_images_than_pixels(digits):
    images, targets = digits(1200)
    gram = images @ images.T
    assert np.linalg.matrix_rank(gram, hermitian=True) < 784
    found = minimum_norm(images, targets)
    assert found.rank < 784
    values = images @ found.weights
    # The residual is orthogonal to all that the images span, so that no coefficients of the Gram come nearer.
    missed = targets - values
    assert np.abs(gram @ missed).max() < 1e-4 * np.abs(gram @ targets).max()
    assert np.square(missed).sum() > 0.25 * np.square(targets).sum()
    assert error(values, targets.argmax(1)) > 0.1
    fit = interpolate(images, targets, BANDWIDTH)
    assert error(predict(images, fit.alpha, BANDWIDTH, images), targets.argmax(1)) == 0


def test_what_cannot_be_computed_is_refused(digits):
    images, targets = digits(5)
    for bandwidth in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="A bandwidth is"):
            interpolate(images, targets, bandwidth)
    with pytest.raises(ValueError, match="A ridge is"):
        interpolate(images, targets, BANDWIDTH, ridge=-1e-3)
    with pytest.raises(ValueError, match="not uint8"):
        interpolate(np.zeros((5, 784), np.uint8), targets, BANDWIDTH)
    with pytest.raises(ValueError, match="not finite"):
        interpolate(np.full((5, 784), np.nan), targets, BANDWIDTH)
    with pytest.raises(ValueError, match="one dtype"):
        gaussian_kernel(images, images.astype(np.float32), BANDWIDTH)
