"""Calibration: the agreement of a network's confidence with its accuracy.

    confidence, correct ──> bins ──> expected calibration error

Source: Guo, Pleiss, Sun and Weinberger 2017, On calibration of modern neural networks, arXiv:1706.04599.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> dict[str, np.ndarray]:
    """Return a table of equal bins over [0, 1], each column [bins], for confidence [M] in 0..1 and correct [M] bool.

    `low` and `high` bound a bin, which holds `high` but not `low` (the first holds 0 as well); `count` of the predictions
    in it, their mean `confidence` and `accuracy`, both NaN in an empty one.
    Raises ValueError for no predictions, unequal lengths, fewer than one bin, and confidences outside 0..1.
    """
    edges, count, sure, right = _binned(confidence, correct, bins)
    means = np.full((2, bins), np.nan)
    np.divide([sure, right], count, out=means, where=count > 0)
    return {"low": edges[:-1], "high": edges[1:], "count": count, "confidence": means[0], "accuracy": means[1]}


def pooled(count: ArrayLike, confidence: ArrayLike, accuracy: ArrayLike) -> dict[str, np.ndarray]:
    """Return the table of all networks' predictions together, from the same bins of each: three arrays [networks, bins].

    The columns of `reliability`: bins that are empty in one network add nothing, and are NaN where they are in all.
    """
    counts = np.asarray(count, float)
    edges, total = np.linspace(0, 1, counts.shape[1] + 1), counts.sum(axis=0)
    means = np.full((2, counts.shape[1]), np.nan)
    sums = [np.nansum(counts * np.asarray(values, float), axis=0) for values in (confidence, accuracy)]
    np.divide(sums, total, out=means, where=total > 0)
    return {"low": edges[:-1], "high": edges[1:], "count": total, "confidence": means[0], "accuracy": means[1]}


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Return the mean over predictions [n] of |accuracy - confidence| of their bin, in 0..1; ValueError as in `reliability`.

    Biased upwards: with few predictions per bin, their accuracy scatters about the confidence even for a calibrated network.
    """
    _, count, sure, right = _binned(confidence, correct, bins)
    return float(np.abs(right - sure).sum() / count.sum())


def _binned(
    confidence: ArrayLike, correct: ArrayLike, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return edges [bins + 1], and count, sum of confidence and number right [bins]."""
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, bool)
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise ValueError(f"Answers come as two rows of equal length, not {confidence.shape} and {correct.shape}.")
    if bins < 1 or not ((confidence >= 0) & (confidence <= 1)).all():  # NaN is neither
        raise ValueError("Calibration needs at least one bin and confidences between 0 and 1.")
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence)  # left: a confidence on an edge belongs to the bin below
    count, sure, right = (np.bincount(place, weights, bins) for weights in (None, confidence, correct))
    return edges, count, sure, right


def fit_temperature(outputs: ArrayLike, labels: ArrayLike) -> float:
    """Return the T > 0 that minimises the cross-entropy of softmax(outputs / T), outputs [M, K] and labels [M].

    The cross-entropy is convex in 1/T, so it has one minimum. It lies at no positive T in two cases: 0.0 is returned where every prediction is correct, and inf where the outputs of the labels are on average no larger than the others.
    Fit on images other than those on which it is evaluated (Guo et al. fit on a validation set).
    Raises ValueError for no outputs, unequal lengths, and outputs that are not finite.
    """
    outputs, labels = np.asarray(outputs, float), np.asarray(labels)
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1] or not outputs.size or not np.isfinite(outputs).all():
        raise ValueError(
            f"A temperature needs finite outputs [M, K] and labels [M], not {outputs.shape}, {labels.shape}."
        )
    margins = outputs - np.take_along_axis(outputs, labels[:, None].astype(int), axis=1)
    if margins.mean() >= 0:  # the slope of the cross-entropy at 1/T = 0
        return math.inf
    if margins.max() <= 0:
        return 0.0

    def cross_entropy(log_temperature: float) -> float:
        return logsumexp(margins / math.exp(log_temperature), axis=1).mean()

    scale = math.log(np.abs(margins).mean())
    return math.exp(minimize_scalar(cross_entropy, bracket=(scale, scale + 1)).x)


def log_probabilities(outputs: ArrayLike, temperature: float) -> np.ndarray:
    """Return log softmax(outputs / T), [M, K], for a `fit_temperature`: at 0 all on the largest output, at inf even."""
    outputs = np.asarray(outputs, float)
    if temperature == 0:
        largest = outputs == outputs.max(axis=-1, keepdims=True)
        with np.errstate(divide="ignore"):
            return np.log(largest / largest.sum(axis=-1, keepdims=True))
    return log_softmax(outputs / temperature, axis=-1)
