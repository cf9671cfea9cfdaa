"""The order of minibatches: JAX's permutations, however they are drawn, and whatever window they are drawn in."""

import jax
import numpy as np
import pytest

from memo.training import minibatches
from memo.training.minibatches import Orders, by_permutation, by_sorting

KEYS = jax.random.split(jax.random.key(3), 2)
EPOCHS = np.array([0, 1, 7], np.int32)


@pytest.mark.parametrize("n", [1, 2, 19, 1625, 1627, 60_000])  # none, one and two rounds of sorting
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


def test_an_epochs_order_does_not_depend_on_where_drawing_began(monkeypatch):
    device = jax.devices()[0]
    expected = by_permutation(KEYS, np.arange(9, dtype=np.int32), 50)
    for at_once in (1, 300, 10**9):  # positions: one epoch of both packs, three, all
        monkeypatch.setitem(minibatches.AT_ONCE, "cpu", at_once)
        orders = Orders(KEYS, 50, 9, device)
        for epoch in (0, 1, 1, 4, 2, 8):  # also back, as a slab that shrinks may not, but a reader might
            since, drawn = orders.at(epoch)
            assert drawn.shape == orders.shape.shape and drawn.shape[1] <= 9
            np.testing.assert_array_equal(drawn[:, epoch - since], expected[:, epoch])
