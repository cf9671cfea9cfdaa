"""Networks trained on shares of one labelled pool, and the record of every image of it."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from memo.config import Execution, make_recipe, recipe_hash
from memo.measures.per_example.input_curvature import curvature
from memo.networks import mlp
from memo.networks.program import as_pixels
from memo.probes import image_record, input_curvature, observed, pool
from memo.training.execution import lay_out, train, train_slabs
from memo.training.inputs import TrainingData
from memo.training.machine import this_machine
from memo.training.measurement import measure
from memo.training.population import plan, signature

POOL = {
    "dataset.subset_seed": 0,
    "dataset.share": 0.75,
    "labels.kind": "random",
    "labels.fraction": 0.3,
    "labels.seed": 0,
}
PROBES = ["image_record", "image_record@3", "input_curvature"]


@pytest.fixture(scope="module")
def group(trials):
    return plan(trials(POOL | {"stop_at_train_accuracy": None, "seeds": 4}))[0]


@pytest.fixture(scope="module")
def trained(group, small_mnist):
    return train(group, small_mnist, observed=observed(PROBES, len(group.signature.evaluation_steps)))


@pytest.mark.parametrize("inputs", ["natural", "gaussian"])
def test_every_seed_draws_from_the_same_labelled_images(trials, small_mnist, inputs):
    packs = [trials(POOL | {"seed": seed, "inputs.kind": inputs, "inputs.seed": 0}) for seed in (0, 1)]
    data = TrainingData(signature(packs[0][0]), small_mnist)
    slab = data.slab(packs, jax.devices()[0])
    assert slab.packs.rows.shape == (2, 192)
    rows = np.concatenate([slab.packs.rows, slab.left_out.rows[:, 0]], axis=1)
    labels = np.concatenate([slab.networks.labels[:, 0], slab.left_out.labels[:, 0]], axis=1)
    order = np.argsort(rows, axis=1)
    rows, labels = (np.take_along_axis(each, order, axis=1) for each in (rows, labels))
    np.testing.assert_array_equal(*rows)
    np.testing.assert_array_equal(*labels)
    assert len(np.unique(rows[0])) == 256
    assert not np.array_equal(*map(np.sort, slab.packs.rows))
    if inputs == "natural":
        own, given = data.pool(packs[1][0])
        np.testing.assert_array_equal(rows[0], own)
        np.testing.assert_array_equal(labels[0], given)
        assert 0.15 < np.mean(given != small_mnist.train_labels[own]) < 0.4
        np.testing.assert_array_equal(data.given(packs[1][0])[0], slab.packs.rows[1])


def test_the_pool_is_that_of_networks_trained_on_all_of_it(trials, small_mnist):
    part, whole = ([trials(POOL | {"dataset.share": share})] for share in (0.75, 1.0))
    read = [TrainingData(signature(each[0][0]), small_mnist) for each in (part, whole)]
    for one, other in zip(*(data.pool(each[0][0]) for data, each in zip(read, (part, whole)))):
        np.testing.assert_array_equal(one, other)
    assert read[1].slab(whole, jax.devices()[0]).left_out.rows.shape == (1, 1, 0)


def test_a_whole_share_is_the_recipe_of_before():
    assert recipe_hash(make_recipe({"dataset.share": 1})) == recipe_hash(make_recipe({}))
    assert recipe_hash(make_recipe({"dataset.share": 0.5})) != recipe_hash(make_recipe({}))


def numpy_record(trained, place, dataset):
    """Return rows, labels, members and outputs of a network's pool by NumPy, ascending by row."""
    rows = np.concatenate([trained.rows[place], trained.left_out.rows[place]])
    labels = np.concatenate([trained.labels[place], trained.left_out.labels[place]])
    members = np.arange(len(rows)) < len(trained.rows[place])
    order = np.argsort(rows)
    values = dataset.train_images[rows[order]] / 255
    for depth, layer in enumerate(trained.layers):
        values = (np.maximum(values, 0) if depth else values) @ np.asarray(layer.weights[place], float)
        values += np.asarray(layer.biases[place], float)
    return labels[order], members[order], values


def test_the_record_of_a_pool_is_numpys(trained, small_mnist):
    found = image_record.read(measure(trained, PROBES)["image_record"])
    for place in range(4):
        labels, members, outputs = numpy_record(trained, place, small_mnist)
        each = np.arange(len(labels))
        np.testing.assert_array_equal(found.members[place], members)
        assert found.members[place].sum() == 192
        assert np.mean(found.answers[place] == outputs.argmax(axis=1)) > 0.99
        own, others = outputs[each, labels], outputs.copy()
        others[each, labels] = -np.inf
        np.testing.assert_allclose(found.margins[place], own - others.max(axis=1), rtol=2e-3, atol=1e-3)
        np.testing.assert_allclose(found.logits[place], own - np.log(np.exp(others).sum(axis=1)), rtol=2e-3, atol=1e-3)
        p = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        p[each, labels] -= 1
        np.testing.assert_allclose(found.errors[place], np.linalg.norm(p, axis=1), rtol=2e-3, atol=1e-3)


def test_accuracy_on_members_is_that_of_training(trained):
    columns = measure(trained, ["image_record"])["image_record"]
    found = image_record.read(columns)
    right = found.margins > 0
    shares = (right & found.members).sum(axis=1) / found.members.sum(axis=1)
    np.testing.assert_allclose(
        shares, trained.final.train_accuracy, atol=1.01 / 192
    )  # float16 hides the smallest margins


def test_along_training_the_record_ends_with_the_last_one(trained):
    measured = measure(trained, PROBES)
    along, final = measured["image_record_along"], measured["image_record"]
    last = along["step"] == along["step"].max()
    assert len(np.unique(along["step"])) == 3
    for name in ("members", "answers", "logits"):
        assert along[name][last].tolist() == final[name].tolist()


def test_curvatures_are_those_of_single_images(trained, small_mnist):
    found = input_curvature.read(measure(trained, ["input_curvature"])["input_curvature"]["curvatures"])
    assert found.shape == (4, 256)
    layers = jax.tree.map(lambda leaf: leaf[2], trained.layers)
    rows = np.sort(np.concatenate([trained.rows[2], trained.left_out.rows[2]]))[[0, 7, 255]]
    static = signature(trained.trials[0]).static
    due = curvature(static, layers, as_pixels(jax.numpy.asarray(small_mnist.train_images[rows])), np.zeros(3, int))
    np.testing.assert_allclose(found[2, [0, 7, 255]], due, rtol=1e-4)


def test_networks_trained_beside_others_are_those_trained_alone(trained, group, small_mnist):
    beside = image_record.read(measure(trained, ["image_record"])["image_record"])
    for place in (0, 3):
        own = train(replace(group, trials=(group.trials[place],)), small_mnist)
        alone = image_record.read(measure(own, ["image_record"])["image_record"])
        np.testing.assert_array_equal(alone.members[0], beside.members[place])
        np.testing.assert_allclose(alone.logits[0], beside.logits[place], rtol=2e-3, atol=2e-3)


class Kept:
    """Checkpoints in memory; the training they belong to is stopped after `chunks` of them."""

    def __init__(self, chunks):
        self.left, self.arrays = chunks, {}

    def restore(self, slab):
        return self.arrays.get(slab)

    def keep(self, slab, arrays, now):
        self.arrays[slab] = {name: np.array(value) for name, value in arrays().items()}
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_an_interruption_changes_no_bit_of_the_record(group, small_mnist):
    seen = observed(PROBES, len(group.signature.evaluation_steps))
    layout = lay_out(group, this_machine(Execution(cores=1)), Execution(cores=1))

    def records(checkpoints):
        found = {}

        def finish(slab, trained):
            found[slab] = measure(trained, PROBES)

        train_slabs(group, layout, small_mnist, finish, checkpoints=checkpoints, observed=seen)
        return found

    whole = records(None)
    kept = Kept(chunks=5)
    with pytest.raises(KeyboardInterrupt):
        records(kept)
    again = records(kept)
    assert again.keys() == whole.keys()
    assert kept.left < 0  # it went on from there
    for slab, tables in again.items():
        for name, columns in tables.items():
            for column, values in columns.items():
                assert values.tolist() == whole[slab][name][column].tolist(), (name, column)


def test_a_pool_is_read_a_block_at_a_time(group):
    images, count = 20 * mlp.BLOCK, 784
    layers = jax.eval_shape(lambda key: mlp.initialise(key, group.signature.static.sizes, "he"), jax.random.key(0))
    layers = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), layers)
    shapes = [((1, images, count), np.uint8), ((1,), np.int32), ((1, images), np.int32), ((1, images), np.uint8)]
    read = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    program = pool._of_networks.lower(image_record._record, group.signature.static, layers, *read).compile()
    # Of the float32 pixels of the whole pool, which a block of images holds a twentieth of.
    assert program.memory_analysis().temp_size_in_bytes < 0.2 * images * count * 4
