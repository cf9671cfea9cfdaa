"""What the networks of a slab read: which of it seeds share, and what is always their own."""

import jax
import numpy as np
import pytest

from memo.training.inputs import TrainingData
from memo.training.population import signature

SHUFFLED = {"labels.kind": "shuffled"}


@pytest.fixture
def read(trials, small_mnist):
    """Return what a slab of two packs reads: true and shuffled labels of seed 0, and of seed 1."""

    def read(settings):
        packs = [trials(settings | {"seed": seed}, {}, SHUFFLED) for seed in (0, 1)]
        return TrainingData(signature(packs[0][0]), small_mnist).slab(packs, jax.devices()[0])

    return read


def key_bits(keys):
    return np.asarray(jax.random.key_data(keys))


def test_seeds_see_images_of_their_own(read):
    slab = read({})
    assert slab.packs.rows.shape == (2, 256)
    assert not np.array_equal(*slab.packs.rows)
    assert not np.array_equal(*key_bits(slab.orders))
    assert slab.images.train.shape[0] == 1


def test_in_a_shared_order_only_weights_and_treatment_are_a_seeds_own(read):
    slab, own = read({"batch_order": "shared"}), read({})
    np.testing.assert_array_equal(*slab.packs.rows)
    np.testing.assert_array_equal(*key_bits(slab.orders))
    np.testing.assert_array_equal(slab.packs.rows[0], own.packs.rows[0])  # those of seed 0
    np.testing.assert_array_equal(key_bits(slab.keys), key_bits(own.keys))
    true, shuffled = slab.networks.labels[:, 0], slab.networks.labels[:, 1]
    np.testing.assert_array_equal(*true)
    assert not np.array_equal(*shuffled)
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(true))


@pytest.mark.parametrize("order", ["per_seed", "shared"])
def test_networks_of_a_seed_share_weights_and_differ_in_labels(read, order):
    slab = read({"batch_order": order})
    for pack in range(2):
        np.testing.assert_array_equal(*key_bits(slab.keys[pack]))
        np.testing.assert_allclose(slab.labels_changed[pack], [0, 0.9], atol=0.06)
    assert not np.array_equal(key_bits(slab.keys[0, 0]), key_bits(slab.keys[1, 0]))


def test_treated_images_are_a_source_a_pack(read, small_mnist):
    slab = read({"inputs.kind": "random_pixels"})
    assert slab.packs.source.tolist() == [0, 1]
    assert slab.images.train.shape == (2, 256, 784)
    np.testing.assert_array_equal(slab.packs.rows, np.tile(np.arange(256), (2, 1)))
    assert not np.array_equal(slab.images.train[0], slab.images.train[1])


def test_labels_belong_to_the_images_beside_them(read, small_mnist):
    slab = read({})
    np.testing.assert_array_equal(slab.networks.labels[0, 0], small_mnist.train_labels[slab.packs.rows[0]])
    np.testing.assert_array_equal(slab.images.train[0], small_mnist.train_images)


def test_images_held_out_are_each_seeds_own_and_the_same_beside_every_number_of_training_images(read, small_mnist):
    few, many, none = (
        read({"dataset.n_validation": v, "dataset.n_train": n}) for n, v in ((256, 300), (1700, 300), (256, 0))
    )
    np.testing.assert_array_equal(few.packs.validation, many.packs.validation)
    np.testing.assert_array_equal(few.packs.rows, none.packs.rows)
    assert none.packs.validation is none.packs.validation_labels is None
    assert not np.array_equal(*few.packs.validation)
    for rows, held_out, labels in zip(many.packs.rows, many.packs.validation, many.packs.validation_labels):
        assert len({*rows, *held_out}) == 2000  # each image once
        np.testing.assert_array_equal(labels, small_mnist.train_labels[held_out])


def test_the_first_images_of_the_files_are_every_seeds_and_the_last_are_held_out(read):
    slab = read({"dataset.subset": "first", "dataset.n_validation": 300})
    for rows, held_out in zip(slab.packs.rows, slab.packs.validation):
        assert rows.tolist() == list(range(256))
        assert held_out.tolist() == list(range(1700, 2000))


def test_one_draw_of_images_for_all_seeds_is_one_of_those_held_out(read):
    np.testing.assert_array_equal(*read({"dataset.n_validation": 9, "dataset.subset_seed": 4}).packs.validation)


def test_images_held_out_are_treated_as_test_images_are(read, small_mnist):
    settings = {"dataset.n_validation": 20, "dataset.subset_seed": 1, "inputs.seed": 1}
    own = read(settings | {"inputs.kind": "shuffled_pixels"})
    held_out = own.images.train[0][own.packs.validation[0]]
    natural = read(settings)
    rows = natural.packs.validation[0]
    # One permutation for training, test and validation images: that which takes natural test images to these.
    shuffled, as_they_were = np.asarray(own.images.test[0]).T, np.asarray(natural.images.test[0]).T
    order = [np.flatnonzero((as_they_were == pixel).all(axis=1)) for pixel in shuffled]
    clear = np.array([len(candidates) == 1 for candidates in order])
    assert clear.sum() > 300
    taken = np.array([candidates[0] for candidates in order])[clear]
    np.testing.assert_array_equal(held_out[:, clear], small_mnist.train_images[rows][:, taken])
    part = read(settings | {"inputs.kind": "gaussian", "inputs.fraction": 0.5})
    kept = np.asarray(part.images.train[0][part.packs.validation[0]])
    np.testing.assert_array_equal(kept, small_mnist.train_images[rows].astype(np.float32) / np.float32(255))


def test_what_a_trial_was_given_is_what_it_reads(trials, small_mnist):
    packs = [trials({"seed": seed}, {}, {"labels.kind": "random", "labels.fraction": 0.5}) for seed in (0, 1)]
    data = TrainingData(signature(packs[0][0]), small_mnist)
    slab = data.slab(packs, jax.devices()[0])
    for p, pack in enumerate(packs):
        for m, trial in enumerate(pack):
            rows, labels = data.given(trial)
            np.testing.assert_array_equal(rows, slab.packs.rows[p])
            np.testing.assert_array_equal(labels, slab.networks.labels[p, m])


def test_small_images_reach_every_treatment(read):
    slab = read({"dataset.image_side": 10})
    assert slab.images.train.shape == (1, 2000, 100)
    assert slab.images.test.shape == (1, 300, 100)
    assert slab.images.train.dtype == np.uint8
    for kind in ("shuffled_pixels", "random_pixels", "gaussian"):
        assert read({"dataset.image_side": 10, "inputs.kind": kind}).images.train.shape == (2, 256, 100)


def test_seeds_may_share_images_and_labels_but_not_their_order(read):
    slab, own = read({"dataset.subset_seed": 1, "labels.seed": 5}), read({})
    np.testing.assert_array_equal(*slab.packs.rows)
    np.testing.assert_array_equal(slab.packs.rows[0], own.packs.rows[1])  # those of seed 1
    np.testing.assert_array_equal(key_bits(slab.orders), key_bits(own.orders))
    np.testing.assert_array_equal(key_bits(slab.keys), key_bits(own.keys))
    np.testing.assert_array_equal(slab.networks.labels[0], slab.networks.labels[1])
    assert np.mean(slab.networks.labels[0, 0] != slab.networks.labels[0, 1]) > 0.8


@pytest.mark.parametrize("kind", ["gaussian", "random_pixels"])
def test_a_share_of_the_inputs_is_replaced_and_a_smaller_one_is_part_of_a_larger(read, small_mnist, kind):
    slabs = {f: read({"inputs.kind": kind, "inputs.fraction": f}) for f in (0.25, 0.75, 1.0)}
    rows = read({}).packs.rows
    for pack in range(2):
        natural = small_mnist.train_images[rows[pack]]
        images = {f: np.asarray(slab.images.train[slab.packs.source[pack]]) for f, slab in slabs.items()}
        if kind == "gaussian":
            natural = natural.astype(np.float32) / np.float32(255)
        replaced = {f: (own != natural).any(axis=1) for f, own in images.items()}
        assert [replaced[f].sum() for f in slabs] == [64, 192, 256]
        assert (replaced[0.25] <= replaced[0.75]).all()
        # Each replaced image is the same at every fraction.
        np.testing.assert_array_equal(images[0.25][replaced[0.25]], images[1.0][replaced[0.25]])
        np.testing.assert_array_equal(images[0.75][replaced[0.75]], images[1.0][replaced[0.75]])
    natural_test = np.asarray(read({}).images.test[0])
    np.testing.assert_array_equal(slabs[0.25].images.test[0], natural_test)
    assert slabs[1.0].images.test.dtype != np.uint8 or not np.array_equal(slabs[1.0].images.test[0], natural_test)


def test_one_draw_of_inputs_for_all_seeds(read):
    own = read({"inputs.kind": "gaussian", "inputs.seed": 3, "dataset.subset_seed": 0})
    assert own.packs.source.tolist() == [0, 0]
    assert own.images.train.shape[0] == 1
    # The noise alone is shared where images are each seed's own.
    apart = read({"inputs.kind": "gaussian", "inputs.seed": 3})
    assert apart.packs.source.tolist() == [0, 1]
    np.testing.assert_array_equal(*np.asarray(apart.images.train))
