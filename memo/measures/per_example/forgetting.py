"""Forgetting events: Toneva et al. 2019, arXiv:1812.05159; second-split forgetting: Maini et al. 2022, arXiv:2210.15031.

An example is forgotten where it is classified correctly at one evaluation and not at the next. They count where a minibatch presents
the example; here all examples are evaluated together, at the ends of epochs.
"""

import numpy as np


def forgetting_events(correct: np.ndarray) -> np.ndarray:
    """Return how often each of N examples is forgotten, [..., N], from `correct` [..., E, N] at E evaluations."""
    return (correct[..., :-1, :] & ~correct[..., 1:, :]).sum(axis=-2)


def never_forgotten(correct: np.ndarray) -> np.ndarray:
    """Return which examples are learned and never forgotten after it, [..., N] bool, from `correct` [..., E, N]."""
    return correct.any(axis=-2) & (forgetting_events(correct) == 0)


def first_learned(correct: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the first of the `times` [E] at which each example is classified correctly, [..., N]; infinite where none is."""
    return np.where(correct.any(axis=-2), np.asarray(times, float)[correct.argmax(axis=-2)], np.inf)


def lost_for_good(correct: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the first of the `times` [E] from which on each example is misclassified, [..., N]; infinite where it is not at the end.

    Of networks that train on without these examples, it is the time of second-split forgetting (Maini et al. 2022).
    """
    right_later = np.flip(np.logical_or.accumulate(np.flip(correct, axis=-2), axis=-2), axis=-2)
    return np.where(correct[..., -1, :], np.inf, np.asarray(times, float)[right_later.sum(axis=-2) % len(times)])
