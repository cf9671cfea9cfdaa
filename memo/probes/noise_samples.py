"""A few inputs of each kind with a network's predictions, for the strips in a report."""

import numpy as np

from memo.networks.losses import LOSSES
from memo.probes.networks import INPUTS, Networks, draw, outputs

SAMPLES = 8


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return a row for each network, kind of input and one of the first 8 inputs: `answer`, `confidence`, `pixels`.

    `pixels` are bytes, row by row, 255 for white; confidence is that of the probe `confidence`.
    """
    columns: dict[str, list] = {name: [] for name in ("network", "inputs", "sample", "answer", "confidence", "pixels")}
    for seed, members, layers, pixels in networks.by_seed():
        for kind in INPUTS:
            # Draws fill images one after the other, so these are the first inputs of the confidence probe.
            shown = draw(kind, seed, pixels[:SAMPLES], networks.statistics)
            values, loss = outputs(networks.static, layers, shown), LOSSES[networks.static.loss]
            answer, confidence = np.asarray(loss.activate(values)).argmax(-1), np.asarray(loss.confidence(values))
            grey = np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8)
            for place, network in enumerate(members):
                for sample in range(len(shown)):
                    found = answer[place, sample], confidence[place, sample]
                    row = (network, kind, sample, *found, grey[sample].tobytes())
                    for column, value in zip(columns.values(), row):
                        column.append(value)
    return {name: np.array(values, dtype=object if name == "pixels" else None) for name, values in columns.items()}
