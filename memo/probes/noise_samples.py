"""A few inputs of each kind with a network's predictions, for the strips in a report."""

import numpy as np

from memo.networks.losses import LOSSES
from memo.probes.networks import INPUTS, Networks, draw, outputs

SAMPLES = 8


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return a row for each network, kind of input and one of the first 8 inputs: `answer`, `confidence`, `pixels`.

    `pixels` are bytes, row by row, 255 for white.
    """
    columns: dict[str, list] = {name: [] for name in ("network", "inputs", "sample", "answer", "confidence", "pixels")}
    for seed, members, layers, pixels in networks.by_seed():
        for kind in INPUTS:
            # Draws fill images one after the other, so these are the first inputs of the confidence probe.
            shown = draw(kind, seed, pixels[:SAMPLES], networks.statistics)
            activations = LOSSES[networks.static.loss].activate(outputs(networks.static, layers, shown))
            activations = np.asarray(activations)
            grey = np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8)
            for place, network in enumerate(members):
                for sample in range(len(shown)):
                    best = activations[place, sample]
                    row = (network, kind, sample, best.argmax(), best.max(), grey[sample].tobytes())
                    for column, value in zip(columns.values(), row):
                        column.append(value)
    return {name: np.array(values, dtype=object if name == "pixels" else None) for name, values in columns.items()}
