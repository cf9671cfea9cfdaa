"""Training from given layers: equal to ordinary training from an ordinary start, frozen layers, wrong shapes."""

from itertools import pairwise

import jax
import numpy as np
import pytest

from memo.config import Execution, Trial, make_recipe
from memo.training.execution import train
from memo.training.population import Population, plan
from memo.training.starts import Start

SETTINGS = {
    "dataset.n_train": 120,
    "dataset.n_test": 60,
    "model.widths": [6, 5],
    "batch_size": 32,
    "epochs": 3,
    "evaluations": 4,
    "stop_at_train_accuracy": None,
    "labels.kind": "random",
    "optimizer.weight_decay": 0.01,
}


def population(seeds, **changes) -> Population:
    recipe = make_recipe(SETTINGS | {name.replace("__", "."): value for name, value in changes.items()})
    [own] = plan([Trial(recipe, seed) for seed in seeds])
    return own


def assert_equal(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


@pytest.fixture(scope="module")
def ordinary(mnist):
    own = population(range(3))
    return own, train(own, mnist, observed=range(4))


@pytest.mark.slow
@pytest.mark.parametrize("packs", [1, 2])
def test_from_the_ordinary_start_it_is_ordinary_training(mnist, ordinary, packs):
    """To the bit, whatever the layout, which may leave a place empty."""
    own, trained = ordinary
    again = train(own, mnist, Execution(packs=packs), observed=range(4), start=Start(trained.snapshots[0]))
    reference = train(own, mnist, Execution(packs=packs), observed=range(4))
    assert_equal(
        (again.layers, again.curves, again.snapshots), (reference.layers, reference.curves, reference.snapshots)
    )


@pytest.mark.slow
def test_each_network_has_its_own_start(mnist, ordinary):
    own, trained = ordinary
    turned = jax.tree.map(lambda leaf: np.asarray(leaf)[::-1], trained.layers)
    again = train(own, mnist, observed=[0], start=Start(turned))
    assert_equal(again.snapshots[0], turned)


@pytest.mark.slow
def test_layers_that_do_not_train_stay_to_the_bit(mnist, ordinary):
    """Against weight decay too; all that train are those of ordinary training."""
    own, trained = ordinary
    begun = trained.snapshots[0]
    mask = np.array([[True, True, True], [False, True, True], [False, False, True]])
    again = train(own, mnist, start=Start(begun, mask))
    for network, trains in enumerate(mask):
        for depth, (before, after) in enumerate(zip(begun, again.layers)):
            for one, other in zip(before, after):
                assert np.array_equal(one[network], other[network]) != trains[depth]
    for one, other in zip(again.layers, trained.layers):
        np.testing.assert_allclose(one.weights[0], other.weights[0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_another_order_of_the_same_images(mnist):
    """Two copies of one network on the data of seed 4, in the orders of seeds 50 and 51."""
    [alone] = [population([4])]
    copies = population([50, 51], dataset__subset_seed=4, labels__seed=4)
    begun = train(alone, mnist, observed=[0]).snapshots[0]
    both = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), 2, axis=0), begun)
    trained = train(copies, mnist, observed=[0, 3], start=Start(both))
    rows = train(alone, mnist)
    np.testing.assert_array_equal(trained.rows, np.repeat(rows.rows, 2, axis=0))
    np.testing.assert_array_equal(trained.labels, np.repeat(rows.labels, 2, axis=0))
    first, second = np.asarray(trained.layers[0].weights)
    assert not np.array_equal(first, second)
    assert np.array_equal(trained.curves.train_loss[0, 0], trained.curves.train_loss[1, 0])


def test_a_start_that_does_not_fit_is_refused(mnist, ordinary):
    own, trained = ordinary
    fewer = jax.tree.map(lambda leaf: leaf[:2], trained.layers)
    with pytest.raises(ValueError, match="A start has layers"):
        train(own, mnist, start=Start(fewer))
    with pytest.raises(ValueError, match="`trained` of a start is"):
        train(own, mnist, start=Start(trained.layers, np.ones((3, 2), bool)))


def test_sizes_are_those_of_the_layers(ordinary):
    own, trained = ordinary
    sizes = own.signature.static.sizes
    assert [layer.weights.shape[1:] for layer in trained.layers] == list(pairwise(sizes))
