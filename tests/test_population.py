import itertools
import pickle

import jax
import numpy as np
import pytest

from memo import mlp, population
from memo.population import Population, lay_out, plan
from memo.training import evaluation_steps

SHARED = [
    {"optimizer.learning_rate": 0.2},
    {"optimizer.momentum": 0.5},
    {"optimizer.weight_decay": 1e-4},
    {"labels.kind": "shuffled"},
    {"labels.kind": "random", "labels.fraction": 0.5},
    {"stop_at_train_accuracy": None},
    {"seed": 7},
]
SPLITTING = [
    {"dataset.name": "fashion_mnist"},
    {"dataset.n_train": 255},
    {"dataset.n_test": 299},
    {"inputs.kind": "gaussian"},
    {"model.widths": [9]},
    {"model.activation": "tanh"},
    {"model.init": "glorot"},
    {"loss": "squared_error"},
    {"optimizer.name": "adam"},
    {"optimizer.schedule": "cosine"},
    {"optimizer.decay": 0.9},
    {"batch_size": 32},
    {"epochs": 6},
    {"evaluations": 9},
]


def test_what_may_differ_inside_one_population(trials):
    (group,) = plan(trials({}, {}, *SHARED))
    assert [trial.seed for trial in group.trials] == [0] * len(SHARED) + [7]


@pytest.mark.parametrize("settings", SPLITTING, ids=str)
def test_what_splits_a_population(trials, settings):
    groups = plan(trials({}, {}, settings))
    assert [len(group.trials) for group in groups] == [1, 1]


def test_plan_keeps_every_trial_and_sorts_by_size(trials):
    asked = trials({"seeds": 3}, {"model.widths": [32]}, {"labels.kind": "shuffled"}, {}, {"model.widths": []})
    groups = plan(asked)
    assert [group.signature.static.sizes for group in groups] == [(784, 8, 10), (784, 10), (784, 32, 10)]
    assert sorted(trial.id for group in groups for trial in group.trials) == sorted(trial.id for trial in asked)
    assert [trial.seed for trial in groups[0].trials] == [0, 0, 1, 1, 2, 2]


def test_population_survives_pickling(trials):
    (group,) = plan(trials({"seeds": 2}, {}, {"labels.kind": "shuffled"}))
    again = pickle.loads(pickle.dumps(group))
    assert again == group
    assert [trial.id for trial in again.trials] == [trial.id for trial in group.trials]
    assert again.pack_size == group.pack_size


def test_lay_out_places_every_trial_once_in_a_pack_of_its_seed():
    for trials, pack_size, devices in itertools.product(range(1, 6), range(1, 5), range(1, 4)):
        for seeds in itertools.product(range(3), repeat=trials):
            pack, member, packs = lay_out(seeds, pack_size, devices)
            assert len(set(zip(pack, member))) == trials
            assert max(member) < pack_size
            assert len(set(zip(pack, seeds))) == len(set(pack)) == max(pack) + 1  # one seed a pack, and none skipped
            assert packs % devices == 0
            assert 0 <= packs - len(set(pack)) < devices
            assert len(set(pack)) == sum(-(-seeds.count(seed) // pack_size) for seed in set(seeds))


def outcome(trained, place=slice(None)):
    """Return the curves and final layers of all trials, or of those in a place."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[place]), (trained.curves, trained.layers))


def assert_close(one, other):
    # test_training.TOGETHER: float32 sums in another order.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=0), one, other)


@pytest.fixture(scope="module")
def mixed(trials):
    """Four trials of seed 0 and three of seed 1, interleaved: no pack size above 1 divides them."""
    recipes = ({}, {"labels.kind": "shuffled"}, {"labels.kind": "random", "labels.fraction": 0.5})
    zero = trials({}, *recipes, {"optimizer.learning_rate": 0.02, "optimizer.momentum": 0.0})
    one = trials({"seed": 1}, *recipes)
    (group,) = plan(zero + one)
    return Population(group.signature, (*itertools.chain(*zip(zero, one)), zero[3]))


@pytest.fixture(scope="module")
def apart(mixed, small_mnist):
    return population.train(mixed, small_mnist, pack_size=1)


@pytest.mark.parametrize("pack_size", [2, 4])
def test_pack_size_changes_nothing(mixed, apart, small_mnist, pack_size):
    assert jax.device_count() == 2
    assert_close(outcome(population.train(mixed, small_mnist, pack_size=pack_size)), outcome(apart))


def test_results_are_in_the_order_of_the_trials(mixed, apart, small_mnist):
    backwards = Population(mixed.signature, mixed.trials[::-1])
    again = population.train(backwards, small_mnist, pack_size=1)
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
    assert apart.parameters == mlp.count_parameters((784, 8, 10)) == 6370
    assert apart.curves.train_loss.shape == (7, len(apart.steps))
    assert apart.status == ["completed"] * 7
    assert set(apart.seconds) >= {"prepare", "compile", "train"}


@pytest.mark.parametrize("kind", ["shuffled_pixels", "random_pixels", "gaussian"])
def test_treated_inputs_are_one_source_a_seed(trials, small_mnist, kind):
    common = {"inputs.kind": kind, "model.widths": [], "epochs": 1, "seeds": 2}
    (group,) = plan(trials(common, {}, {"labels.kind": "shuffled"}))
    trained = population.train(group, small_mnist)
    assert trained.sources.tolist() == [0, 0, 1, 1]
    assert trained.images.train.shape == (2, 256, 784)
    assert trained.images.test.shape == (2, 300, 784)
    assert not np.array_equal(trained.images.test[0], trained.images.test[1])
    if kind != "gaussian":
        known = {np.sort(image).tobytes() for image in small_mnist.train_images}
        assert {np.sort(image).tobytes() for image in np.asarray(trained.images.train).reshape(-1, 784)} <= known
    scale = 255 if trained.images.test.dtype == np.uint8 else 1
    for place, source in enumerate(trained.sources):
        ((weights, biases),) = outcome(trained, place)[1]
        answers = (np.asarray(trained.images.test[source], float) / scale @ weights + biases).argmax(1)
        expected = np.mean(answers == np.asarray(trained.images.test_labels))
        assert trained.curves.test_accuracy[place, -1] == pytest.approx(expected, abs=1.5 / 300)  # one on the fence


def test_cost_of_one_network_by_hand(trials):
    (group,) = population.plan(trials({"model.widths": [16, 16], "epochs": 3, "evaluations": 4, "labels.kind": "true"}))
    weights = 784 * 16 + 16 * 16 + 16 * 10
    # 256 images in batches of 64 are 4 steps an epoch; evaluations lie at steps 0, 1, 3 or 4, ... up to 12.
    steps, points = 12, len(evaluation_steps(4, 12, 4))
    training = steps * 64 * (6 * weights - 2 * 784 * 16)
    assert population.cost(group).flop == training + points * 2 * weights * (256 + 300)
    double = population.plan(
        [*group.trials, *trials({"model.widths": [16, 16], "epochs": 3, "evaluations": 4, "seed": 1})]
    )
    assert population.cost(double[0]).flop == 2 * population.cost(group).flop
    assert population.cost(double[0]).bytes > population.cost(group).bytes
