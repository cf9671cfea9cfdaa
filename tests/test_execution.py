"""Training on all workers: the layout changes nothing, and neither does an interruption."""

import itertools
import subprocess
import sys

import jax
import numpy as np
import pytest

from memo.config import Execution
from memo.networks import mlp, program
from memo.training import execution, inputs, slab
from memo.training.inputs import TrainingData
from memo.training.population import Layout, Population, plan


def outcome(trained, place=slice(None)):
    """Return the curves and layers, observed and final, of all trials, or of those in a place."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[place]), (trained.curves, trained.snapshots, trained.layers))


def assert_close(one, other):
    # test_program.TOGETHER: float32 sums in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=0), one, other)


@pytest.fixture(scope="module")
def mixed(trials):
    """Four trials of seed 0 and three of seed 1, interleaved: no pack size above 1 divides them."""
    recipes = ({}, {"labels.kind": "shuffled"}, {"labels.kind": "random", "labels.fraction": 0.5})
    zero = trials({}, *recipes, {"optimizer.learning_rate": 0.02, "optimizer.momentum": 0.5})
    one = trials({"seed": 1}, *recipes)
    (group,) = plan(zero + one)
    return Population(group.signature, (*itertools.chain(*zip(zero, one)), zero[3]))


@pytest.fixture(scope="module")
def apart(mixed, small_mnist):
    return execution.train(mixed, small_mnist, Execution(pack_size=1))


@pytest.mark.parametrize("pack_size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_pack_size_changes_nothing(mixed, apart, small_mnist, pack_size):
    assert_close(outcome(execution.train(mixed, small_mnist, Execution(pack_size=pack_size))), outcome(apart))


def test_results_are_in_the_order_of_the_trials(mixed, apart, small_mnist):
    backwards = Population(mixed.signature, mixed.trials[::-1])
    again = execution.train(backwards, small_mnist, Execution(pack_size=1))
    assert_close(outcome(again, slice(None, None, -1)), outcome(apart))
    np.testing.assert_array_equal(again.labels_changed[::-1], apart.labels_changed)
    for place, trial in enumerate(mixed.trials):
        n = trial.recipe.dataset.n_train
        expected = {"true": 0, "shuffled": 0.9, "random": 0.45}[trial.recipe.labels.kind]
        # Five binomial standard deviations, and 0.02 for classes that are not equally frequent.
        assert apart.labels_changed[place] == pytest.approx(
            expected, abs=5 * np.sqrt(expected * (1 - expected) / n) + 0.02 * (expected > 0)
        )
    # Twins of a seed start from the same weights, and other seeds from others.
    starts = {trial.seed: apart.curves.test_loss[place, 0] for place, trial in enumerate(mixed.trials)}
    np.testing.assert_allclose(apart.curves.test_loss[:, 0], [starts[trial.seed] for trial in mixed.trials])
    assert abs(starts[0] - starts[1]) > 1e-3


def test_test_labels_are_never_touched(apart, small_mnist):
    truth = {image.tobytes(): label for image, label in zip(small_mnist.test_images, small_mnist.test_labels)}
    shown = np.asarray(apart.images.test[0])
    assert shown.shape == (300, 784)
    assert [truth[image.tobytes()] for image in shown] == apart.images.test_labels.tolist()


def test_what_a_population_reports_about_its_networks(mixed, apart):
    assert apart.trials == mixed.trials
    assert apart.curves.train_loss.shape == (7, len(apart.steps))
    assert apart.status == ["completed"] * 7
    assert set(apart.seconds) >= {"prepare", "compile", "train"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shuffled_pixels", "random_pixels", "gaussian"])
def test_treated_inputs_are_one_source_a_seed(trials, small_mnist, kind):
    common = {"inputs.kind": kind, "model.widths": [], "epochs": 1, "seeds": 2}
    (group,) = plan(trials(common, {}, {"labels.kind": "shuffled"}))
    trained = execution.train(group, small_mnist)
    assert trained.sources.tolist() == [0, 0, 1, 1]
    assert trained.images.train.shape == (2, 256, 784)
    assert trained.images.test.shape == (2, 300, 784)
    assert not np.array_equal(trained.images.test[0], trained.images.test[1])
    if kind != "gaussian":
        known = {np.sort(image).tobytes() for image in small_mnist.train_images}
        assert {np.sort(image).tobytes() for image in np.asarray(trained.images.train).reshape(-1, 784)} <= known
    scale = 255 if trained.images.test.dtype == np.uint8 else 1
    for place, source in enumerate(trained.sources):
        ((weights, biases),) = outcome(trained, place)[-1]
        answers = (np.asarray(trained.images.test[source], float) / scale @ weights + biases).argmax(1)
        expected = np.mean(answers == np.asarray(trained.images.test_labels))
        assert trained.curves.test_accuracy[place, -1] == pytest.approx(expected, abs=1.5 / 300)  # one on the fence


# Images held out of the training files.

HELD_OUT = {"dataset.n_validation": 600}  # more than a block


def numpy_network(layers, pixels):
    """Return the log-probabilities of a network of ReLU layers for pixels on the scale 0..1, in NumPy, float64."""
    *hidden, (weights, biases) = [tuple(np.asarray(leaf, float) for leaf in layer) for layer in layers]
    for own, shift in hidden:
        pixels = np.maximum(pixels @ own + shift, 0)
    outputs = pixels @ weights + biases
    return outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"inputs.kind": "random_pixels"},
        {"inputs.kind": "gaussian", "inputs.fraction": 0.5, "dataset.image_side": 10},
    ],
    ids=str,
)
def test_validation_is_a_full_pass_over_images_held_out_with_their_true_labels(trials, small_mnist, settings):
    (group,) = plan(trials(HELD_OUT | settings | {"labels.kind": "random", "epochs": 2, "seeds": 2}))
    trained = execution.train(group, small_mnist)
    data = TrainingData(group.signature, small_mnist)
    for place, trial in enumerate(group.trials):
        unseen = set(range(2000)) - set(data.given(trial)[0].tolist())
        held_out = data.held_out(trial)
        assert set(held_out) < unseen and len(set(held_out)) == 600
        pack = data.slab([[trial]], jax.devices()[0])
        pixels = np.asarray(pack.images.train[0][pack.packs.validation[0]], float)
        pixels /= 255 if pack.images.train.dtype == np.uint8 else 1
        found = numpy_network(outcome(trained, place)[-1], pixels)
        true = small_mnist.train_labels[held_out]
        curves = trained.curves
        assert curves.validation_loss[place, -1] == pytest.approx(-found[np.arange(600), true].mean(), rel=1e-4)
        assert curves.validation_accuracy[place, -1] == pytest.approx(np.mean(found.argmax(1) == true), abs=1.5 / 600)
        assert np.isfinite(curves.validation_loss[place]).all()


@pytest.mark.slow
def test_images_held_out_change_no_bit_of_what_else_is_measured(trials, small_mnist):
    with_them, without = (
        execution.train(plan(trials(settings | {"labels.kind": "shuffled"}))[0], small_mnist)
        for settings in (HELD_OUT, {})
    )
    jax.tree.map(np.testing.assert_array_equal, with_them.layers, without.layers)
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        np.testing.assert_array_equal(getattr(with_them.curves, name), getattr(without.curves, name))
    assert np.isnan(without.curves.validation_loss).all() and np.isnan(without.final.validation_accuracy).all()


def test_without_them_the_program_reads_none(trials, small_mnist):
    def passes(settings):
        """Return over how many sets of images the compiled evaluation loops, each once."""
        (group,) = plan(trials(settings))
        data = TrainingData(group.signature, small_mnist)
        pack = data.slab([[group.trials[0]]], jax.devices()[0])
        layers = jax.tree.map(lambda leaf: leaf[None, None], mlp.initialise(jax.random.key(0), (784, 8, 10), "he"))
        look = program.make_look("relu", "cross_entropy")
        arguments = pack.images, pack.packs, pack.networks, mlp.turned(layers), program.ALL
        return jax.jit(look).lower(*arguments).as_text().count("stablehlo.while")

    assert (passes({}), passes(HELD_OUT)) == (2, 3)


def test_images_that_all_packs_read_are_read_once(trials, small_mnist):
    (group,) = plan(trials({"seeds": 3, "dataset.n_train": 200, "dataset.n_test": 120, "dataset.subset_seed": 0}))
    data = TrainingData(group.signature, small_mnist)
    packs = data.slab([[trial] for trial in group.trials], jax.devices()[0])
    drawn = [mlp.initialise(jax.random.key(seed), (784, 8, 10), "he") for seed in range(3)]
    layers = mlp.turned(jax.tree.map(lambda *leaves: np.stack(leaves)[:, None], *drawn))
    arguments = packs.images, packs.packs, packs.networks, layers, program.ALL
    found = []
    for same, shapes in ((False, {"3x200x784"}), (True, set())):
        look = jax.jit(program.make_look("relu", "cross_entropy", same_subset=same))
        text = look.lower(*arguments).as_text()
        assert {shape for shape in ("3x200x784", "3x120x784") if shape in text} == shapes
        found.append(look(*arguments))
    for one, other in zip(*found):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-6)
    assert len(set(found[0].train_loss.ravel().tolist())) == 3
    subset, labels = data.given(group.trials[0])
    outputs = numpy_network(jax.tree.map(np.asarray, drawn[0]), small_mnist.train_images[subset] / 255.0)
    assert found[1].train_accuracy[0, 0] == pytest.approx(np.mean(outputs.argmax(1) == labels), abs=1e-6)


# Curves measured on a sample.

SAMPLED = {"dataset.n_train": 900, "dataset.n_test": 400, "labels.kind": "random", "epochs": 6, "evaluations": 9}


@pytest.mark.slow
def test_curves_are_of_a_sample_and_final_values_of_all_images(trials, small_mnist):
    wanted = [SAMPLED | {"evaluation_images": count, "seeds": 2} for count in (130, None)]
    sampled, whole = (execution.train(plan(trials(own))[0], small_mnist) for own in wanted)
    jax.tree.map(np.testing.assert_array_equal, sampled.layers, whole.layers)
    for name in whole.final._fields:
        found, due = getattr(sampled.final, name), getattr(whole.final, name)
        np.testing.assert_allclose(found, due, rtol=1e-6, err_msg=name)  # its sums run in another order
        np.testing.assert_array_equal(due, getattr(whole.curves, name)[:, -1])
    assert (sampled.curves.train_accuracy != whole.curves.train_accuracy).mean() > 0.5
    data = TrainingData(plan(trials(wanted[0]))[0].signature, small_mnist)
    for place, trial in enumerate(sampled.trials):
        rows, labels = data.given(trial)  # in the order in which they were drawn
        layers = outcome(sampled, place)[-1]
        tested = np.sort(program.sample_first(400, 130)[:130])
        assert len(set(tested)) == 130 and (tested[0], tested[-1]) == (0, 399)
        kept = inputs.test_rows(len(small_mnist.test_labels), 400)[tested]
        for part, images, own in (
            ("train", small_mnist.train_images[rows[:130]], labels[:130]),
            ("test", small_mnist.test_images[kept], small_mnist.test_labels[kept]),
        ):
            found = numpy_network(layers, images / 255.0)
            last = {kind: getattr(sampled.curves, f"{part}_{kind}")[place, -1] for kind in ("loss", "accuracy")}
            assert last["loss"] == pytest.approx(-found[np.arange(130), own].mean(), rel=1e-4)
            assert last["accuracy"] == pytest.approx(np.mean(found.argmax(1) == own), abs=1.5 / 130)


@pytest.mark.slow
def test_a_network_stops_when_all_images_are_fitted_not_when_the_sample_is(trials, small_mnist):
    """With the same steps: a sample of 20 images is fitted long before all 200 are."""
    own = {"dataset.n_train": 200, "labels.kind": "shuffled", "model.widths": [32], "optimizer.learning_rate": 0.1}
    own |= {"epochs": 400, "evaluations": 40, "seeds": 3}
    sampled, whole = (
        execution.train(plan(trials(own | {"evaluation_images": count}))[0], small_mnist) for count in (20, None)
    )
    assert set(whole.status) == set(sampled.status) == {"memorised"}
    np.testing.assert_allclose(sampled.stopped_at, whole.stopped_at, rtol=0.03)
    assert (sampled.final.train_accuracy == 1).all()
    first = [steps[np.argmax(curve == 1)] for steps, curve in zip(sampled.curve_steps, sampled.curves.train_accuracy)]
    assert (first < sampled.stopped_at).any()


# Interruptions: a slab that goes on from what was kept gives the bits of one that was never stopped.

OBSERVED = (0, 2, 3, 9, 11)
LONG = {
    "epochs": 30, "evaluations": 12, "stop_at_train_accuracy": 0.9, "optimizer.momentum": 0.5, "dataset.n_validation": 70,
    "evaluation_images": 100,
}  # fmt: skip


class Stopped(Exception):
    """A crash, here in the worker."""


class Memory:
    """Checkpoints in memory that crash after so many, or at some arrays; `kept` is what they hold of each slab."""

    def __init__(self, crash_at=lambda arrays: False):
        self.kept, self.left, self.crash_at = {}, None, crash_at

    def restore(self, slab):
        return self.kept.get(slab)

    def keep(self, slab, arrays, now):
        self.kept[slab] = jax.tree.map(np.array, arrays())
        if self.left is not None and not now:
            self.left -= 1
            if self.left < 0:
                raise Stopped
        if self.crash_at(self.kept[slab]) and not now:
            raise Stopped


def train(group, dataset, checkpoints=None, crash=False, **layout):
    """Return what each slab became, with what it was at some evaluations, and what `advanced` was told."""
    parts, told = {}, []
    shape = Layout(**{"packs": 1, "pack_size": 4, "workers": 2} | layout)
    arguments = (group, shape, dataset, parts.__setitem__)
    named = {"checkpoints": checkpoints, "advanced": lambda *call: told.append(call), "observed": OBSERVED}
    if crash:
        with pytest.raises(Stopped):
            execution.train_slabs(*arguments, **named)
    else:
        execution.train_slabs(*arguments, **named)
    return parts, told


@pytest.fixture(scope="module")
def lasting(trials):
    recipes = ({}, {"labels.kind": "shuffled"}, {"optimizer.learning_rate": 0.3}, {"optimizer.learning_rate": 1e30})
    (group,) = plan(trials(LONG | {"seeds": 2}, *recipes))
    return group


@pytest.fixture(scope="module")
def uninterrupted(lasting, small_mnist):
    return train(lasting, small_mnist)


def assert_identical(parts, others):
    assert parts.keys() == others.keys()
    for number, part in parts.items():
        jax.tree.map(np.testing.assert_array_equal, outcome(part), outcome(others[number]))
        assert (part.status, part.stopped_at.tolist()) == (others[number].status, others[number].stopped_at.tolist())


@pytest.mark.slow
def test_going_on_after_a_crash_gives_the_same_bits(lasting, uninterrupted, small_mnist):
    kept = Memory()
    for chunks in (1, 0, 3, 2):
        kept.left = chunks
        train(lasting, small_mnist, kept, crash=True)
    kept.left = None
    assert any(name.startswith("snapshot_") for arrays in kept.kept.values() for name in arrays)
    parts, told = train(lasting, small_mnist, kept)
    assert_identical(parts, uninterrupted[0])
    assert 0 < len(told) < len(uninterrupted[1])
    assert {len(part.snapshots) for part in parts.values()} == {len(OBSERVED)}


@pytest.mark.slow
def test_chunks_between_evaluations_change_nothing(lasting, uninterrupted, small_mnist, monkeypatch):
    monkeypatch.setattr(slab, "CHUNK_SECONDS", 0.0)
    kept = Memory()
    for chunks in (8, 1, 13):
        kept.left = chunks
        train(lasting, small_mnist, kept, crash=True)
    kept.left = None
    assert_identical(train(lasting, small_mnist, kept)[0], uninterrupted[0])
    parts, told = train(lasting, small_mnist)
    assert_identical(parts, uninterrupted[0])
    assert max(np.diff([step for slab, step, _ in told if slab == 0])) == 1


@pytest.mark.slow
def test_finished_networks_are_dropped(lasting, uninterrupted, small_mnist, monkeypatch):
    monkeypatch.setitem(slab.RECOMPILE_FLOP, "cpu", 0)
    kept = Memory()
    parts, _ = train(lasting, small_mnist, kept)
    sizes = [arrays["places"].size for arrays in kept.kept.values()]
    assert max(sizes) < 4
    for number, part in parts.items():
        assert_close(outcome(part), outcome(uninterrupted[0][number]))
        assert part.status == uninterrupted[0][number].status
    # And where the crash comes after a drop.
    again = Memory(crash_at=lambda arrays: arrays["places"].size < 4)
    train(lasting, small_mnist, again, crash=True)
    again.crash_at = lambda arrays: False
    assert_identical(train(lasting, small_mnist, again)[0], parts)


@pytest.mark.slow
def test_packs_that_step_together_train_as_packs_alone(lasting, uninterrupted, small_mnist, monkeypatch):
    monkeypatch.setitem(slab.RECOMPILE_FLOP, "cpu", 0)
    (part,) = train(lasting, small_mnist, packs=2)[0].values()
    assert part.status.count("diverged") == 2
    for row, trial in enumerate(part.trials):
        if part.status[row] == "diverged":
            continue  # the last finite weights before infinity agree in few digits
        number, place = next(
            (number, other.trials.index(trial)) for number, other in uninterrupted[0].items() if trial in other.trials
        )
        assert_close(outcome(part, row), outcome(uninterrupted[0][number], place))


@pytest.mark.slow
def test_progress_is_told_by_slab(lasting, uninterrupted):
    steps = lasting.signature.evaluation_steps
    for own, part in uninterrupted[0].items():
        mine = [(step, accuracies) for number, step, accuracies in uninterrupted[1] if number == own]
        told = [step for step, _ in mine]
        assert told == sorted(set(told))
        assert set(steps[steps <= told[-1]]) <= set(told)
        for step, accuracies in mine:
            point = np.searchsorted(steps, step, "right") - 1  # the last evaluation of all
            running = [row for row in range(4) if part.stopped_at[row] > step or part.status[row] == "completed"]
            assert sorted(accuracies) == sorted(part.curves.train_accuracy[running, point])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 4), (4, 3), (8, 8)])
def test_smaller_shapes_hold_every_active_network(shape):
    rng = np.random.default_rng(0)
    for share in (0.02, 0.1, 0.3, 0.6, 1.0):
        active = rng.random(shape) < share
        rows, columns = slab._smaller(active)
        assert len({*zip(np.broadcast_to(rows, columns.shape).ravel(), columns.ravel())}) == columns.size
        assert active[rows, columns].sum() == active.sum()
        packs, members = columns.shape
        held = active[rows, columns]
        assert packs == 1 or held.any(1).sum() > packs // 2
        assert members == 1 or held.sum(1).max() > members // 2


DEVICES = """
import sys, jax, numpy as np
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
from memo.training import execution, machine
from memo.config import Config, Dataset, Model, make_trials
from memo.training.population import plan
from memo.data import datasets
config = Config(dataset=Dataset(n_train=256, n_test=300), model=Model(widths=[8]), batch_size=64, epochs=4, seeds=5)
(group,) = plan(make_trials(config))
if sys.argv[1] == "1":
    machine.use_every_core()
print(len(machine.worker_devices()), file=sys.stderr)
trained = execution.train(group, datasets.load("mnist", None))
sys.stdout.buffer.write(np.stack(trained.curves).tobytes())
"""


@pytest.mark.slow
def test_several_devices_give_the_tables_of_one():
    curves = []
    for devices in ("1", "3"):
        done = subprocess.run([sys.executable, "-c", DEVICES, devices], capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        curves.append(np.frombuffer(done.stdout, np.float32))
    np.testing.assert_array_equal(*curves)
