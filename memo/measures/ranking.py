"""Separation of two sets of inputs by one score: the area under the ROC curve, and that under precision by recall.

Source of their use on confidences: Hendrycks and Gimpel 2017, arXiv:1610.02136.
"""

import numpy as np
from numpy.typing import ArrayLike


def auroc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Return the probability that a random positive [P] scores above a random negative [N], ties counting half.

    0.5 is chance. NaN where either set is empty or a score is NaN.
    """
    positives, ordered = np.asarray(positives), np.sort(negatives)
    if not (positives.size and ordered.size) or np.isnan(positives).any() or np.isnan(ordered[-1]):
        return np.nan
    below = np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")
    return float(below.mean() / (2 * len(ordered)))


def average_precision(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Return the area under the curve of precision by recall, as the sum of precision times gained recall.

    Each distinct score is a threshold, so that ties are taken together. Chance is the base rate P / (P + N). NaN where
    either set is empty or a score is NaN.
    """
    positives, negatives = np.asarray(positives), np.asarray(negatives)
    scores = np.concatenate([positives, negatives])
    if not (len(positives) and len(negatives)) or np.isnan(scores).any():
        return np.nan
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(order < len(positives))[last_of_ties]
    called = np.flatnonzero(last_of_ties) + 1
    return float(np.sum(np.diff(found, prepend=0) * found / called) / len(positives))
