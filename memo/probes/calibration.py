"""Confidence on test images: detection of errors by confidence, and calibration."""

from typing import Any

import numpy as np
from scipy.special import log_softmax

from memo.measures import calibration
from memo.measures.ranking import auroc, average_precision
from memo.networks.losses import LOSSES
from memo.probes.networks import Networks, finite, outputs

BINS = 15  # Guo et al. 2017


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network, NaN where a weight of it is not finite, and under linear_squared_error (no confidences).

    On all test images: `accuracy`, `mean_confidence`, and that of the `right` and the `wrong` predictions; `overconfidence`
    (mean confidence - accuracy); `error_auroc` and `error_aupr`, detection of wrong predictions by their low confidence
    (chance: 0.5, and 1 - accuracy), `success_aupr` (chance: accuracy); the expected calibration error `ece`.

    `temperature` is fitted on every second test image and evaluated on the others: `ece_before` and `ece_after`, `nll_before`
    and `nll_after` (nats), `confidence_after`. It is 0 or inf where no T in between is best (memo.measures.calibration), and all
    of these are NaN under losses on sigmoid outputs. `bin_count_before`,
    `bin_confidence_before`, `bin_accuracy_before` and the same `after` are what a reliability diagram of these others shows,
    each [15].
    """
    rows = []
    loss = LOSSES[networks.static.loss]
    true = np.asarray(networks.images.test_labels).astype(int)
    for _, members, layers, pixels in networks.by_seed():
        values = outputs(networks.static, layers, pixels)
        confidence = np.asarray(loss.confidence(values), float)
        values, sound = np.asarray(values, float), np.asarray(finite(layers)) & loss.of_probabilities
        for place, network in enumerate(members):
            known = sound[place]
            one = np.where(known, values[place], 0), np.where(known, confidence[place], 1)
            found = _of_network(*one, true, loss.of_softmax)
            unknown = {name: np.full(np.shape(value), np.nan) for name, value in found.items()}
            rows.append({"network": network} | (found if known else unknown))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _of_network(values: np.ndarray, confidence: np.ndarray, true: np.ndarray, softmax: bool) -> dict[str, Any]:
    right = values.argmax(-1) == true
    found = {
        "accuracy": right.mean(),
        "mean_confidence": confidence.mean(),
        "mean_confidence_right": confidence[right].mean() if right.any() else np.nan,
        "mean_confidence_wrong": confidence[~right].mean() if not right.all() else np.nan,
        "overconfidence": confidence.mean() - right.mean(),
        "error_auroc": auroc(-confidence[~right], -confidence[right]),
        "error_aupr": average_precision(-confidence[~right], -confidence[right]),
        "success_aupr": average_precision(confidence[right], confidence[~right]),
        "ece": calibration.expected_calibration_error(confidence, right, BINS),
    }
    temperature = calibration.fit_temperature(values[::2], true[::2]) if softmax else None
    return found | _scaled(values[1::2], confidence[1::2], true[1::2], temperature)


def _scaled(values: np.ndarray, confidence: np.ndarray, true: np.ndarray, temperature: float | None) -> dict[str, Any]:
    """Return the statistics of a temperature on images to which it was not fitted; None stands for no temperature."""
    right = values.argmax(-1) == true
    found = {
        "temperature": np.nan,
        "ece_before": calibration.expected_calibration_error(confidence, right, BINS),
        "ece_after": np.nan,
        "nll_before": np.nan,
        "nll_after": np.nan,
        "confidence_after": np.nan,
        **_bins(confidence, right, "before"),
        **{name: np.full(BINS, np.nan) for name in _bins(confidence, right, "after")},
    }
    if temperature is None:
        return found
    after = calibration.log_probabilities(values, temperature)
    sure = np.exp(after).max(-1)
    places = np.arange(len(true))
    return found | {
        "temperature": temperature,
        "ece_after": calibration.expected_calibration_error(sure, right, BINS),
        "nll_before": -log_softmax(values, axis=-1)[places, true].mean(),
        "nll_after": -after[places, true].mean(),
        "confidence_after": sure.mean(),
        **_bins(sure, right, "after"),
    }


def _bins(confidence: np.ndarray, right: np.ndarray, when: str) -> dict[str, np.ndarray]:
    table = calibration.reliability(confidence, right, BINS)
    return {f"bin_{name}_{when}": table[name].astype(float) for name in ("count", "confidence", "accuracy")}
