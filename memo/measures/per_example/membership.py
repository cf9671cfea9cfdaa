"""Membership inference by likelihood ratios (LiRA, online): Carlini et al. 2022, arXiv:2112.03570.

The networks of a population attack each other. Of each example, the logits log(p / (1 - p)) of networks that were trained on it,
and of those that were not, are taken to be normal; the score of a network is the log-likelihood ratio of the two, fitted on all
others.
"""

import math

import numpy as np


def attack_scores(logits: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return how much more likely membership makes each logit [T, N] (`members` [T, N] bool), log-likelihood ratios [T, N].

    The network in question is left out of both fits. NaN where fewer than two others were trained on an example, or not trained on it.
    """
    centred = np.asarray(logits, np.float64) - np.mean(logits, axis=0)
    ratio = np.zeros(centred.shape)
    for sign, group in ((1, members), (-1, ~members)):
        # Sums over the group without the network in question, where it belongs to it.
        n = group.sum(axis=0) - group
        total = np.where(group, centred, 0).sum(axis=0) - np.where(group, centred, 0)
        squares = np.where(group, centred**2, 0).sum(axis=0) - np.where(group, centred**2, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / n
            variance = np.where(n > 1, np.maximum(squares / n - mean**2, 0) + _LEAST, np.nan)
        ratio += sign * -0.5 * (np.log(variance) + (centred - mean) ** 2 / variance)
    return ratio


_LEAST = 1e-6  # of a variance: logits that are all equal to rounding in float16


def threshold(others: np.ndarray, false_positives: float) -> float:
    """Return the score that at most a share of `false_positives` of others' scores [Q] lie above; infinite without any."""
    allowed = math.floor(false_positives * len(others))
    return float(np.sort(others)[len(others) - allowed - 1]) if allowed < len(others) else math.inf


def true_positive_rate(scores: np.ndarray, others: np.ndarray, false_positives: float) -> float:
    """Return the share of members' scores [P] above the threshold that at most a share of `false_positives` of others' [Q] pass.

    NaN where either has none.
    """
    if not len(scores) or not len(others):
        return math.nan
    return float(np.mean(scores > threshold(others, false_positives)))
