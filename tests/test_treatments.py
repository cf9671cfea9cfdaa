import jax
import numpy as np
import pytest

from memo.data import treatments
from memo.data.randomness import PARTS, PURPOSES, generator, part_number, purpose_key
from memo.data.treatments import INPUTS, LABELS, PixelStatistics, gaussian_images
from memo.errors import Refusal

STATISTICS = PixelStatistics((0.13,), (0.31,))
# Images whose pixels tell where they came from, and an identical pair of them.
NUMBERED = np.tile(np.arange(784, dtype=np.uint16), (2, 1))


def treat_labels(kind, labels, fraction=1.0, seed=0):
    return LABELS[kind](generator(seed, "labels"), labels, fraction, 10)


def treat_inputs(kind, train, test, seed=0):
    return INPUTS[kind](generator(seed, "inputs"), train, test, STATISTICS)


@pytest.mark.parametrize("kind", LABELS)
def test_fraction_zero_changes_no_label(mnist, kind):
    np.testing.assert_array_equal(treat_labels(kind, mnist.train_labels, 0.0), mnist.train_labels)


@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_shuffled_labels_keep_class_counts(mnist, fraction):
    labels = treat_labels("shuffled", mnist.train_labels, fraction)
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(mnist.train_labels))
    assert labels.dtype == np.uint8


@pytest.mark.parametrize("fraction", [0.3, 1.0])
@pytest.mark.parametrize("kind", ["shuffled", "random"])
def test_share_of_labels_that_change(mnist, kind, fraction):
    shares = np.bincount(mnist.train_labels) / 60_000
    same = np.square(shares).sum() if kind == "shuffled" else 0.1
    expected = fraction * (1 - same)
    changed = np.mean(treat_labels(kind, mnist.train_labels, fraction) != mnist.train_labels)
    assert changed == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / 60_000))  # 5 binomial sd


def test_random_labels_are_uniform_whatever_the_true_label(mnist):
    labels = treat_labels("random", mnist.train_labels)
    assert labels.dtype == np.uint8
    table = np.zeros((10, 10))
    np.add.at(table, (mnist.train_labels, labels), 1)
    expected = table.sum(1, keepdims=True) / 10
    assert (abs(table - expected) < 5 * np.sqrt(0.9 * expected)).all()  # 5 binomial sd
    # Chi-squared with 90 degrees of freedom: mean 90, sd 13.4.
    assert ((table - expected) ** 2 / expected).sum() < 90 + 5 * 13.4


def table_of(given, true):
    table = np.zeros((10, 10))
    np.add.at(table, (true, given), 1)
    return table / table.sum(1, keepdims=True)


def test_symmetric_noise_takes_every_other_class_equally_often(mnist):
    found = table_of(treat_labels("symmetric", mnist.train_labels, 0.4), mnist.train_labels)
    expected = np.where(np.eye(10, dtype=bool), 0.6, 0.4 / 9)
    least = np.bincount(mnist.train_labels).min()
    np.testing.assert_array_less(abs(found - expected), 5 * np.sqrt(expected / least))  # 5 binomial sd
    assert (treat_labels("symmetric", mnist.train_labels, 1.0) != mnist.train_labels).all()


@pytest.mark.parametrize("kind", ["pair", "similar"])
def test_flips_give_each_class_the_label_of_one_other(mnist, kind):
    nearest = mnist.nearest_classes
    others = (np.arange(10) + 1) % 10 if kind == "pair" else nearest
    own, true = generator(0, "labels"), mnist.train_labels
    given = treatments.treat_labels(kind, own, true, 0.3, 10, False, lambda: nearest)
    assert given.dtype == np.uint8
    changed = given != true
    np.testing.assert_array_equal(given[changed], others[true[changed]])
    shares = np.bincount(true[changed]) / np.bincount(true)
    np.testing.assert_allclose(shares, 0.3, atol=5 * np.sqrt(0.21 / np.bincount(true).min()))
    whole = treatments.treat_labels(kind, generator(0, "labels"), true, 1.0, 10, False, lambda: nearest)
    np.testing.assert_array_equal(whole, others[true])


def test_the_nearest_class_has_the_nearest_mean_image(mnist):
    means = [mnist.train_images[mnist.train_labels == own].astype(float).mean(0) for own in range(10)]
    for own, found in enumerate(mnist.nearest_classes):
        distances = [np.linalg.norm(means[own] - mean) if other != own else np.inf for other, mean in enumerate(means)]
        assert found == np.argmin(distances)
    assert mnist.nearest_classes[[4, 7, 9]].tolist() == [9, 9, 4]  # the digits that people confuse


def test_similarity_noise_needs_the_similarity_of_classes(mnist):
    with pytest.raises(ValueError, match=r"labels\.kind=similar needs the class most similar to each"):
        treatments.treat_labels("similar", generator(0, "labels"), mnist.train_labels, 0.3, 10, False)


def test_labels_redrawn_at_each_presentation_are_those_of_random_labels():
    """By frequency; independent draws by key; and none where the share is 0."""
    true = np.repeat(np.arange(10, dtype=np.uint8), 20_000)
    redraw = jax.jit(treatments.AT_PRESENTATION["fresh"], static_argnums=3)
    first, second = (np.asarray(redraw(jax.random.key(seed), true, np.float32(0.5), 10)) for seed in (0, 1))
    expected = np.where(np.eye(10, dtype=bool), 0.55, 0.05)
    np.testing.assert_array_less(abs(table_of(first, true) - expected), 5 * np.sqrt(expected / 20_000))
    # Wrong in both draws as often as independent ones are.
    both = np.mean((first != true) & (second != true))
    assert both == pytest.approx(0.45**2, abs=5 * np.sqrt(0.45**2 / len(true)))
    np.testing.assert_array_equal(redraw(jax.random.key(0), true, np.float32(0), 10), true)


def test_fresh_labels_are_true_ones_until_they_are_presented(mnist):
    given = treatments.treat_labels("fresh", generator(0, "labels"), mnist.train_labels, 0.9, 10, False)
    np.testing.assert_array_equal(given, mnist.train_labels)


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (lambda labels: labels + 1, "labels from 1 to 10"),
        (lambda labels: labels.astype(int) - 1, "labels from -1 to 8"),
        (lambda labels: labels.astype(float), "the type float64"),
        (lambda labels: labels.astype(bool), "the type bool"),
        (lambda labels: labels[:-1], r"the shape \(59999,\)"),
        (lambda labels: labels[:, None], "the shape"),
        (lambda labels: None, "the shape"),
    ],
)
def test_labels_of_a_treatment_that_are_none_are_refused(mnist, monkeypatch, returned, named):
    monkeypatch.setitem(LABELS, "mine", lambda generator, labels, fraction, classes: returned(labels))
    with pytest.raises(Refusal, match=f"labels.kind is mine; its treatment returned {named}"):
        treatments.treat_labels("mine", generator(0, "labels"), mnist.train_labels, 1.0, 10, False)


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        (lambda train, test: (train / 255, test / 255), "the type float64"),
        (lambda train, test: (train[:1], test), "the shape"),
        (lambda train, test: (train * np.float32(np.nan), test * np.float32(1)), "pixels that are not finite"),
        (lambda train, test: (train, test.astype(np.float32)), "two types"),
    ],
)
def test_images_of_a_treatment_that_are_none_are_refused(monkeypatch, returned, named):
    monkeypatch.setitem(INPUTS, "mine", lambda generator, train, test, statistics: returned(train, test))
    images = NUMBERED.astype(np.uint8)
    with pytest.raises(Refusal, match=f"inputs.kind is mine; its treatment returned {named}"):
        treatments.treat_inputs("mine", 1.0, 0, images, images, STATISTICS)


def test_shuffled_pixels_is_one_permutation_for_train_and_test(mnist):
    train, test = treat_inputs("shuffled_pixels", NUMBERED, NUMBERED)
    order = train[0]
    np.testing.assert_array_equal(np.sort(order), np.arange(784))
    assert (order != np.arange(784)).mean() > 0.9
    np.testing.assert_array_equal(np.concatenate([train, test]), np.tile(order, (4, 1)))
    for images, treated in zip(
        (mnist.train_images, mnist.test_images),
        treat_inputs("shuffled_pixels", mnist.train_images, mnist.test_images),
    ):
        np.testing.assert_array_equal(treated[:, np.argsort(order)], images)


def test_random_pixels_is_one_permutation_an_image(mnist):
    orders = np.concatenate(treat_inputs("random_pixels", NUMBERED, NUMBERED))
    assert len(np.unique(orders, axis=0)) == 4
    train, test = treat_inputs("random_pixels", mnist.train_images[:500], mnist.test_images[:500])
    np.testing.assert_array_equal(np.sort(train, 1), np.sort(mnist.train_images[:500], 1))
    np.testing.assert_array_equal(np.sort(test, 1), np.sort(mnist.test_images[:500], 1))


def test_gaussian_has_the_datas_mean_and_sd(mnist):
    # Known to everyone who normalises MNIST.
    assert np.ravel(mnist.pixel_statistics) == pytest.approx((0.1307, 0.3081), abs=5e-5)
    statistics = PixelStatistics(*mnist.pixel_statistics)
    sets = INPUTS["gaussian"](generator(0, "inputs"), mnist.train_images[:500], mnist.test_images[:400], statistics)
    assert [images.shape for images in sets] == [(500, 784), (400, 784)]
    for images in sets:
        assert images.dtype == np.float32
        (mean,), (sd,) = statistics
        error = sd / np.sqrt(images.size)
        assert images.mean() == pytest.approx(mean, abs=5 * error)
        assert images.std() == pytest.approx(sd, abs=5 * error / np.sqrt(2))
    assert abs(np.corrcoef(sets[0][:400].ravel(), sets[1].ravel())[0, 1]) < 5 / np.sqrt(sets[1].size)


@pytest.mark.parametrize("kind", ["shuffled", "random"])
def test_labels_are_drawn_by_seed(mnist, kind):
    one, again, other = (treat_labels(kind, mnist.train_labels[:256], seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.5


@pytest.mark.parametrize("kind", ["shuffled_pixels", "random_pixels", "gaussian"])
def test_inputs_are_drawn_by_seed(kind):
    one, again, other = (np.stack(treat_inputs(kind, NUMBERED, NUMBERED, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.9


def test_purposes_and_their_parts_draw_apart():
    draws = [generator(0, purpose).random() for purpose in PURPOSES]
    draws += [
        generator(0, purpose, part).random() for purpose, parts in PARTS.items() for part in (*parts, "a new one")
    ]
    draws += [generator(0, "directions", "random_components", percent).random() for percent in (1, 10)]
    keys = {tuple(jax.random.key_data(purpose_key(0, purpose)).tolist()) for purpose in PURPOSES}
    assert (len(set(draws)), len(keys)) == (len(draws), len(PURPOSES))


@pytest.mark.parametrize("purpose", PARTS)
def test_parts_have_numbers_of_their_own(purpose):
    numbers = [part_number(purpose, part) for part in (*PARTS[purpose], "a new one", "another")]
    assert len(set(numbers)) == len(numbers)


def test_parts_keep_the_numbers_that_results_were_drawn_with():
    stored = {"uniform": 1, "gaussian": 2, "random_pixels": 3, "drawing_7": 107, "normal": 200, "matching": 2000}
    for part, number in stored.items():
        by_number = np.random.default_rng(np.random.SeedSequence(4, spawn_key=(5, number)))
        assert generator(4, "noise", part).random() == by_number.random()


@pytest.mark.parametrize("draw", [generator, purpose_key])
def test_unknown_purpose_is_refused(draw):
    with pytest.raises(ValueError, match="not in tuple"):
        draw(0, "luck")


def test_the_channels_of_a_pixel_are_moved_together():
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 16), np.uint8)
    statistics = PixelStatistics((0.1, 0.5, 0.9), (0.1, 0.2, 0.3))
    flat = images.reshape(20, -1)
    for kind in ("shuffled_pixels", "random_pixels"):
        train, test = treatments.treat_inputs(kind, 1.0, 0, flat, flat[:5], statistics)
        moved = [{tuple(pixel) for pixel in image.reshape(3, 16).T} for image in (*train, *test)]
        assert moved == [{tuple(pixel) for pixel in image.T} for image in (*images, *images[:5])]
        assert not np.array_equal(train, flat)


def test_gaussian_images_have_the_statistics_of_each_channel():
    statistics = PixelStatistics((0.1, 0.5, 0.9), (0.1, 0.2, 0.3))
    drawn = gaussian_images(np.random.default_rng(0), (4000, 12), statistics).reshape(4000, 3, 4)
    # 5 standard errors of 16,000 pixels.
    assert drawn.mean((0, 2)) == pytest.approx(statistics.mean, abs=5 * 0.3 / 16_000**0.5)
    assert drawn.std((0, 2)) == pytest.approx(statistics.sd, rel=5 / 32_000**0.5)
    one = gaussian_images(np.random.default_rng(0), (7, 12), PixelStatistics((0.25,), (0.5,)))
    expected = np.random.default_rng(0).standard_normal((7, 12), np.float32) * np.float32(0.5) + np.float32(0.25)
    np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("counts", [[100] * 10, [50, 10, 30], [7, 7, 7, 7]])
def test_a_stratified_shuffle_gives_each_class_every_label_equally_often(counts):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.uint8)
    one, other = (
        treatments.stratified_shuffle(np.random.default_rng(seed), labels, 1.0, len(counts)) for seed in (0, 1)
    )
    assert not np.array_equal(one, other)
    table = np.zeros((len(counts), len(counts)), int)
    np.add.at(table, (labels, one), 1)
    np.testing.assert_array_equal(table.sum(0), counts)  # a permutation
    assert abs(table - np.outer(counts, counts) / len(labels)).max() <= (0 if counts == [100] * 10 else 2)
    half = treatments.stratified_shuffle(np.random.default_rng(0), labels, 0.5, len(counts))
    assert np.sum(half != labels) <= round(0.5 * len(labels))
    np.testing.assert_array_equal(np.bincount(half, minlength=len(counts)), counts)
