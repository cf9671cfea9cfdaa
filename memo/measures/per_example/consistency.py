"""C-scores, how consistent an example is with the rest: Jiang, Zhang, Talwar and Mozer 2021, arXiv:2002.03206.

The C-score is the chance that a network which was not trained on an example gives it its label, averaged over the sizes of random
training subsets.
"""

import numpy as np


def consistency(correct: np.ndarray, members: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the C-scores [N] and their standard errors [N], from T networks trained on `shares` [T] of the pool.

    `correct` [T, N]: whether a network gives the example its label; `members` [T, N]: whether it was trained on it. Every share
    counts alike; NaN where all networks of a share were trained on the example, and without any network.
    """
    if not len(shares):
        return np.full(correct.shape[1:], np.nan), np.full(correct.shape[1:], np.nan)
    means, variances = [], []
    for share in np.unique(shares):
        own = shares == share
        out = ~members[own]
        n, hits = out.sum(axis=0), (correct[own] & out).sum(axis=0)
        means.append(np.divide(hits, n, out=np.full(len(n), np.nan), where=n > 0))
        p = (hits + 1) / (n + 2)  # without one success and one failure more, 0 of n would have no error
        variances.append(p * (1 - p) / (n + 2))
    scores = np.mean(means, axis=0)
    return scores, np.where(np.isnan(scores), np.nan, np.sqrt(np.sum(variances, axis=0)) / len(means))
