import jax.numpy as jnp
import numpy as np
import pytest

from memo.measures import nearest_neighbours as module
from memo.measures.nearest_neighbours import QUERIES, classify, nearest


def brute_force(queries, images):
    """Return every distance, float64 [Q, N], of images on the scale 0..1."""
    return np.sqrt(((queries.astype(float)[:, None] - images.astype(float)[None]) ** 2).sum(-1))


@pytest.fixture(scope="module")
def digits(small_mnist):
    return small_mnist.train_images[:700], small_mnist.test_images[:90]


@pytest.mark.parametrize("block", [1, 64, 5000])
def test_bytes_are_brute_forces(digits, block):
    images, queries = digits
    images, queries = images[:80] if block == 1 else images, queries[:40]
    expected = brute_force(queries, images) / 255
    distances, rows = nearest(queries, images, block)
    assert (distances.dtype, rows.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(rows, expected.argmin(1))
    np.testing.assert_allclose(distances, expected.min(1), rtol=1e-5)


def test_floats_are_brute_forces():
    rng = np.random.default_rng(0)
    images, queries = rng.normal(0, 1, (500, 784)), rng.random((30, 784))
    images, queries = images.astype(np.float32), queries.astype(np.float32)
    expected = brute_force(queries, images)
    distances, rows = nearest(queries, images, 128)
    np.testing.assert_array_equal(rows, expected.argmin(1))
    np.testing.assert_allclose(distances, expected.min(1), rtol=1e-5)


def test_floats_and_bytes_share_a_scale(digits):
    images, queries = digits
    exact, rows = nearest(queries, images)
    for pair in [(queries / np.float32(255), images), (queries, images / np.float32(255))]:
        distances, found = nearest(*pair)
        np.testing.assert_array_equal(found, rows)
        np.testing.assert_allclose(distances, exact, rtol=1e-5)


@pytest.mark.parametrize("scale", [1, np.float32(1 / 255)])
def test_a_copy_lies_at_distance_zero(digits, scale):
    images = digits[0] * scale if scale != 1 else digits[0]
    distances, rows = nearest(images[::-7], images, 64)
    np.testing.assert_array_equal(distances, 0)
    np.testing.assert_array_equal(rows, np.arange(700)[::-7])


def test_the_first_of_equally_near_images_is_taken(digits):
    images, queries = digits
    thrice = np.concatenate([images[:150]] * 3)  # copies in one block, in several, and in the overlap of the last
    expected = nearest(queries, images[:150])[1]
    for block in (40, 299):
        np.testing.assert_array_equal(nearest(queries, thrice, block)[1], expected)
    ties = np.array([[10, 0], [0, 10], [10, 20], [20, 10]], np.uint8)  # all at 10 from the query
    for block in (1, 3):
        assert nearest(np.full((1, 2), 10, np.uint8), ties, block)[1].tolist() == [0]
    assert nearest(np.full((1, 2), 10, np.uint8), ties)[0] == pytest.approx(10 / 255)


def test_extremes_of_bytes_are_exact():
    # The largest sums that whole numbers in float32 must hold, one grey level apart.
    images = np.zeros((3, module.EXACT_PIXELS), np.uint8)
    images[1:] = 255
    images[1, 17] = 254
    distances, rows = nearest(255 - images, images, 2)
    assert rows.tolist() == [2, 0, 0]
    np.testing.assert_allclose(distances, [0, 1 / 255, 0], rtol=1e-6)


def test_more_pixels_than_are_exact_are_compared_as_floats():
    images = np.random.default_rng(0).integers(0, 256, (50, module.EXACT_PIXELS + 1), np.uint8)
    distances, rows = nearest(images, images)
    np.testing.assert_array_equal(rows, np.arange(50))
    np.testing.assert_array_equal(distances, 0)


def test_many_queries_are_answered_as_one_is(digits):
    images, queries = digits
    many = np.resize(queries, (2 * QUERIES + 17, 784))
    distances, rows = nearest(many, images)
    alone = [np.concatenate(part) for part in zip(*(nearest(query[None], images) for query in queries))]
    np.testing.assert_array_equal(rows, np.resize(alone[1], len(many)))
    np.testing.assert_array_equal(distances, np.resize(alone[0], len(many)))


def test_a_query_that_is_not_finite_has_no_nearest_image(digits):
    images, queries = digits
    queries = queries[:4] / np.float32(255)
    expected = nearest(queries, images)
    queries[1, 300], queries[2, 5] = np.nan, np.inf
    distances, rows = nearest(queries, images)
    assert np.isnan(distances).tolist() == [False, True, True, False]
    assert (rows < 0).tolist() == [False, True, True, False]
    np.testing.assert_array_equal(rows[[0, 3]], expected[1][[0, 3]])
    with pytest.raises(ValueError, match="2 of 4 queries"):
        classify(queries, images, np.zeros(len(images)))


def test_no_images_and_no_queries(digits):
    images, queries = digits
    with pytest.raises(ValueError, match="There are no images among which"):
        nearest(queries, images[:0])
    assert [len(found) for found in nearest(queries[:0], images)] == [0, 0]


def test_classify_gives_the_nearest_images_label(small_mnist):
    images, labels = small_mnist.train_images, small_mnist.train_labels
    answers = classify(small_mnist.test_images, images, labels)
    expected = labels[nearest(small_mnist.test_images, images)[1]]
    np.testing.assert_array_equal(answers, expected)
    np.testing.assert_array_equal(classify(images[:100], images, labels), labels[:100])
    # Chance is 0.1; nearest neighbours of 2,000 images answer most digits.
    assert np.mean(answers == small_mnist.test_labels) > 0.8


def test_images_may_lie_on_the_device(digits):
    images, queries = digits
    for found, expected in zip(nearest(jnp.asarray(queries), jnp.asarray(images)), nearest(queries, images)):
        np.testing.assert_array_equal(found, expected)
