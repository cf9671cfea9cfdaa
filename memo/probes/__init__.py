"""Measurements on trained networks. A new probe is one module here and one entry in PROBES.

A probe is a function `measure(networks: Networks) -> dict[str, numpy array]`: columns of equal length, one row for
each measurement on each network, with a column `network` (its position in the population).

A configuration requests a probe of the final networks by its name, and one along training by `name@n`: at n (from 2) of
the evaluations, the first (before training) and the last among them. The latter has its own table.
"""

import re
from collections.abc import Sequence

import numpy as np

from memo.probes import (
    answers,
    calibration,
    confidence,
    critical_samples,
    drawings,
    first_layer,
    gradients,
    hessian,
    image_record,
    input_curvature,
    noise_samples,
    norms,
    out_of_distribution,
    training_answers,
    weights,
)

# In the order in which they are named to users.
PROBES = {
    "confidence": confidence.measure,
    "noise_samples": noise_samples.measure,
    "answers": answers.measure,
    "calibration": calibration.measure,
    "critical_samples": critical_samples.measure,
    "critical_samples_fine": critical_samples.measure_fine,
    "drawings": drawings.measure,
    "first_layer": first_layer.measure,
    "gradients": gradients.measure,
    "hessian": hessian.measure,
    "image_record": image_record.measure,
    "input_curvature": input_curvature.measure,
    "norms": norms.measure,
    "sharpness": hessian.measure_sharpness,
    "out_of_distribution": out_of_distribution.measure,
    "training_answers": training_answers.measure,
    "weights": weights.measure,
}

_ALONG = re.compile(r"([a-z_][a-z0-9_]*)@([2-9]|[1-9][0-9]{1,5})")


def along(asked: Sequence[str]) -> dict[str, int]:
    """Return the probes requested along training, by name, and their number of evaluations."""
    return {match[1]: int(match[2]) for match in map(_ALONG.fullmatch, asked) if match}


def at_the_end(asked: Sequence[str]) -> list[str]:
    """Return the probes requested for the final networks."""
    return [name for name in asked if "@" not in name]


def known(asked: Sequence[str]) -> bool:
    """Return whether these can be requested together: each a probe, at most once at the end and once along training."""
    if not all(isinstance(each, str) for each in asked):  # a list within the list, on a command line
        return False
    during, final = along(asked), at_the_end(asked)
    distinct = len(set(final)) == len(final) and len(during) + len(final) == len(asked)
    return distinct and set(final) | set(during) <= set(PROBES)


def places(count: int, evaluations: int) -> np.ndarray:
    """Return the indices of the evaluations at which a probe with `count` evaluations along training measures: int, ascending, both ends."""
    return np.unique(np.round(np.linspace(0, evaluations - 1, min(count, evaluations))).astype(int))


def observed(asked: Sequence[str], evaluations: int) -> list[int]:
    """Return the indices of the evaluations at which any of these probes measures, ascending."""
    return sorted(set().union(*(places(count, evaluations).tolist() for count in along(asked).values())))
