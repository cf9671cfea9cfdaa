"""The order of minibatches: JAX's permutations, however they are drawn, and whatever window they are drawn in."""

import jax
import numpy as np
import pytest

from memo.training import minibatches
from memo.training.minibatches import Minibatches, by_permutation, by_sorting

KEYS = jax.random.split(jax.random.key(3), 2)
EPOCHS = np.array([0, 1, 7], np.int32)


# None, one and two rounds of sorting.
@pytest.mark.parametrize("n", [1, 19, 1627, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 1625, 60_000))])
def test_sorting_on_the_host_gives_the_bits_of_jax(n):
    drawn = by_sorting(KEYS, EPOCHS, n)
    assert drawn.dtype == np.int32 and drawn.shape == (2, 3, n)
    np.testing.assert_array_equal(drawn, by_permutation(KEYS, EPOCHS, n))
    for key, of_key in zip(KEYS, drawn):
        for epoch, order in zip(EPOCHS, of_key):
            np.testing.assert_array_equal(order, jax.random.permutation(jax.random.fold_in(key, epoch), n))


def test_equal_random_numbers_leave_positions_in_their_order(monkeypatch):
    numbers = np.random.default_rng(0).integers(0, 5, (2, 1, 1, 400), dtype=np.uint32)
    monkeypatch.setattr(minibatches, "_sort_keys", lambda keys, epochs, n: numbers)
    first, second = (np.argsort(row[0, 0], kind="stable") for row in numbers)
    np.testing.assert_array_equal(by_sorting(KEYS[:1], EPOCHS[:1], 400)[0, 0], first[second])


def sequence(n, batch, steps, keys=KEYS):
    """Return the images of so many steps one after the other, [P, steps * batch], drawn step by step."""
    minibatches, found = Minibatches(keys, n, batch, steps, jax.devices()[0]), []
    for step in range(steps):
        since, until, drawn = minibatches.at(step)
        assert since <= step < until and drawn.shape == minibatches.shape.shape
        found.append(np.asarray(drawn[:, step - since]))
    return np.concatenate(found, axis=1)


CASES = [
    *((50, 7), (10, 25), (1, 3)),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in ((50, 10), (50, 50), (50, 49), (47, 10), (7, 50))),
]


# Positions: an epoch at a time, or as few as a minibatch needs; some; all.
@pytest.mark.parametrize(
    "at_once", [pytest.param(1, marks=pytest.mark.slow), 150, pytest.param(10**9, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("n", "batch"), CASES)
def test_every_image_is_presented_once_in_each_epoch(n, batch, at_once, monkeypatch):
    """However the epochs are drawn: n presentations that follow a multiple of n are a permutation, that of jax.random."""
    monkeypatch.setitem(minibatches.AT_ONCE, "cpu", at_once)
    steps = 2 * n // batch + 9
    presented = sequence(n, batch, steps)
    epochs = steps * batch // n
    expected = by_permutation(KEYS, np.arange(epochs, dtype=np.int32), n)
    np.testing.assert_array_equal(presented[:, : epochs * n].reshape(2, epochs, n), expected)
    np.testing.assert_array_equal(np.sort(expected), np.broadcast_to(np.arange(n), expected.shape))


def test_where_drawing_begins_does_not_matter(monkeypatch):
    """As a slab that goes on from a checkpoint, and one that goes back."""
    monkeypatch.setitem(minibatches.AT_ONCE, "cpu", 200)
    whole = sequence(50, 7, 60)
    drawn = Minibatches(KEYS, 50, 7, 60, jax.devices()[0])
    for step in (43, 59, 0, 14, 15, 13):
        since, _, found = drawn.at(step)
        np.testing.assert_array_equal(found[:, step - since], whole[:, 7 * step : 7 * step + 7])


def test_an_epoch_is_drawn_once(monkeypatch):
    asked = []
    draw = minibatches.by_sorting
    monkeypatch.setattr(
        minibatches, "by_sorting", lambda keys, epochs, n: (asked.extend(epochs), draw(keys, epochs, n))[1]
    )
    monkeypatch.setitem(minibatches.AT_ONCE, "cpu", 300)
    sequence(50, 7, 60)
    assert asked == sorted(set(asked))
