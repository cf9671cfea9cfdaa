"""Memorisation of training examples and influence on others: Feldman and Zhang 2020, arXiv:2008.03703.

Networks are trained on random subsets of one pool. An example is memorised by as much as those that were trained on it are more
often correct on it than those that were not; its influence on another example is the same difference there.
"""

from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """Accuracy of the networks that were trained on an example minus that of the others, and its standard error.

    Of N examples, or of N on each of M others; NaN where all networks were trained on it, or none was.
    """

    value: np.ndarray
    error: np.ndarray
    seen: np.ndarray  # accuracy of the networks trained on it
    unseen: np.ndarray  # of the others


def memorisation(correct: np.ndarray, members: np.ndarray) -> Difference:
    """Return how much each of N examples is memorised, [N], from T networks.

    `correct` [T, N]: whether a network gives the example its label; `members` [T, N]: whether it was trained on it.
    """
    hits, inside = correct & members, members.sum(axis=0)
    return _difference(hits.sum(axis=0), inside, (correct & ~members).sum(axis=0), len(members) - inside)


def influence(correct: np.ndarray, members: np.ndarray) -> Difference:
    """Return the influence [N, M] of N training examples on M others, from `members` [T, N] and `correct` [T, M]."""
    inside = members.sum(axis=0)[:, None]
    hits = members.T.astype(np.float32) @ correct.astype(np.float32)
    return _difference(hits, inside, correct.sum(axis=0) - hits, len(members) - inside)


def error_bound(share: float, networks: int) -> float:
    """Return the bound on the mean squared error of both, for networks trained on a `share` of the pool (their lemma 2.1)."""
    p = min(share, 1 - share)
    return 1 / (p * networks) + 1 / ((1 - p) * networks) + np.exp(-p * networks / 16) / 2


def _difference(hits: np.ndarray, inside: np.ndarray, others: np.ndarray, outside: np.ndarray) -> Difference:
    """Return the difference of two shares, with the error of Agresti and Caffo 2000.

    That is, with one success and one failure added to both: without them 0 of n would have none.
    """
    known = (inside > 0) & (outside > 0)
    seen, unseen = (
        np.divide(successes, n, out=np.full(np.shape(hits), np.nan), where=known)
        for successes, n in ((hits, inside), (others, outside))
    )
    variances = [_variance(successes, n) for successes, n in ((hits, inside), (others, outside))]
    error = np.where(known, np.sqrt(variances[0] + variances[1]), np.nan)
    return Difference(seen - unseen, error, seen, unseen)


def _variance(successes: np.ndarray, n: np.ndarray) -> np.ndarray:
    p = (successes + 1) / (n + 2)
    return p * (1 - p) / (n + 2)
