"""Local receptive fields: which pixels a unit sees, and that training never gives it others."""

import math

import jax
import numpy as np
import pytest

import memo
from memo.data import datasets
from memo.networks import mlp
from memo.storage import sweep
from memo.training import execution
from memo.training.population import plan

SIDES = (1, 2, 5, 7, 14, 27, 28)
UNITS = (1, 2, 3, 5, 10, 16, 60, 64, 128, 784)


def squares(side, units):
    """Return what each unit sees, [units, 28, 28] bool."""
    seen = mlp.patches((784, units, 10), side)
    assert seen.dtype == np.float32
    assert set(np.unique(seen)) <= {0, 1}
    return seen.T.reshape(units, 28, 28) == 1


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("units", UNITS)
def test_a_unit_sees_a_square_and_all_together_the_image(side, units):
    seen = squares(side, units)
    assert (seen.sum((1, 2)) == side**2).all()
    for axis in (1, 2):
        assert (seen.any(axis).sum(1) == side).all()  # side rows and side columns, and so all pixels where they meet
        edges = seen.any(axis)
        assert (edges.argmax(1) + side == 28 - edges[:, ::-1].argmax(1)).all()  # next to each other
    if side * math.isqrt(units) >= 28:
        assert seen.any(0).all()
    if units >= 4:  # from edge to edge
        assert seen[:, 0].any() and seen[:, -1].any() and seen[:, :, 0].any() and seen[:, :, -1].any()


@pytest.mark.parametrize("units", [16, 64, 784])
def test_a_square_number_of_units_is_an_even_grid(units):
    across = math.isqrt(units)
    starts = [round(start) for start in np.linspace(0, 28 - 1, across)]
    expected = np.zeros((units, 28, 28), bool)
    for unit in range(units):
        expected[unit, starts[unit // across], starts[unit % across]] = True
    np.testing.assert_array_equal(squares(1, units), expected)


def test_one_unit_sees_the_middle():
    np.testing.assert_array_equal(np.argwhere(squares(14, 1)[0])[[0, -1]], [[7, 7], [20, 20]])


@pytest.mark.parametrize("init", ["he", "glorot", "normal"])
def test_initial_weights_lie_in_the_patches_at_the_scale_of_their_number(init):
    sizes, side = (784, 400, 10), 5
    seen = mlp.patches(sizes, side) == 1
    first, last = mlp.initialise(jax.random.key(0), sizes, init, side)
    whole, same = mlp.initialise(jax.random.key(0), sizes, init)
    assert (np.asarray(first.weights)[~seen] == 0).all()
    expected = {"he": np.sqrt(2 / 25), "glorot": np.sqrt(2 / (25 + 400)), "normal": 1}[init]
    inside = np.asarray(first.weights)[seen]
    assert inside.std() == pytest.approx(expected, abs=5 * expected / np.sqrt(2 * inside.size))
    # The draws are those of the fully connected network, which every side of the image is.
    np.testing.assert_allclose(inside / np.asarray(whole.weights)[seen], expected / np.std(whole.weights), rtol=0.01)
    np.testing.assert_array_equal(last.weights, same.weights)
    jax.tree.map(np.testing.assert_array_equal, mlp.initialise(jax.random.key(0), sizes, init, 28), (whole, same))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sizes", [(784, 16, 16, 10), (784, 10), (784, 5, 10)])
def test_parameters_are_counted(sizes, side):
    layers = mlp.initialise(jax.random.key(1), sizes, "normal", side)  # no weight and no bias is 0 by chance
    assert mlp.count_parameters(sizes, side) == sum(np.count_nonzero(leaf) for leaf in jax.tree.leaves(layers))
    assert mlp.count_parameters(sizes, 28) == mlp.count_parameters(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_no_unit_ever_sees_another_pixel(trials, small_mnist, optimizer):
    decaying = {"optimizer.name": optimizer, "optimizer.weight_decay": 0.01, "optimizer.learning_rate": 0.01}
    (group,) = plan(trials({"model.receptive_field": 7, "seeds": 2} | decaying, {}, {"labels.kind": "shuffled"}))
    static = group.signature.static
    trained = execution.train(group, small_mnist, observed=[0, 3])
    seen = mlp.patches(static.sizes, 7) == 1
    for layers in (*trained.snapshots, trained.layers):
        weights = np.asarray(layers[0].weights)
        assert (weights[:, ~seen] == 0).all()
        assert (weights[:, seen] != 0).all()
    start, end = (np.asarray(layers[0].weights)[:, seen] for layers in (trained.snapshots[0], trained.layers))
    assert (start != end).mean() > 0.9  # weight decay moves all of them, also those of pixels that are always black
    assert (trained.curves.train_loss[:, -1] < trained.curves.train_loss[:, 0]).all()


@pytest.mark.slow
def test_what_is_stored_and_planned_counts_them(trials, small_mnist, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    requests = {
        tmp_path / str(side): trials({"model.widths": [4], "model.receptive_field": side}) for side in (None, 7)
    }
    sweep.show_plan([sweep.Request(requests, [], None, memo.config.Execution())])
    printed = capsys.readouterr().out
    assert sweep.complete(requests, []) == 2
    rows = memo.load(tmp_path).trials.sort_values("parameters")
    assert rows["parameters"].tolist() == [4 * 50 + 50, 4 * 785 + 50]
    assert rows["model.receptive_field"].isna().tolist() == [False, True]
    assert rows["model.receptive_field"].iloc[0] == 7
    assert " 250 " in printed and " 3190 " in printed
