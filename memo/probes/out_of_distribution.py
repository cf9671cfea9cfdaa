"""Confidence on inputs that show no digit, near the digits and far from them, and how well it separates them from digits."""

from collections.abc import Callable

import numpy as np

from memo.data.randomness import generator
from memo.measures.ranking import auroc, average_precision
from memo.networks.mlp import Layers
from memo.networks.program import Static
from memo.probes.confidence import BINS, QUANTILES, respond
from memo.probes.networks import Networks, shown

FACTORS = (2, 5, 10, 100)  # of the noise of Hein et al. 2019

# (networks, seed, one of its members, test pixels [M, pixels]) -> pixels [M, pixels] float32
Draw = Callable[[Networks, int, int, np.ndarray], np.ndarray]


def _normal(networks: Networks, seed: int, member: int, pixels: np.ndarray) -> np.ndarray:
    return generator(seed, "noise", "normal").standard_normal(pixels.shape, np.float32)


def _constant(networks: Networks, seed: int, member: int, pixels: np.ndarray) -> np.ndarray:
    greys = np.linspace(0, 1, len(pixels), dtype=np.float32)
    return np.repeat(greys[:, None], pixels.shape[1], axis=1)


def _of_confidence(kind: str, factor: int = 1) -> Draw:
    def draw(networks: Networks, seed: int, member: int, pixels: np.ndarray) -> np.ndarray:
        inputs = shown(networks, kind, seed, member, pixels)
        return inputs if factor == 1 else np.float32(factor) * inputs

    return draw


KINDS: dict[str, Draw] = {  # test first
    **{kind: _of_confidence(kind) for kind in ("test", "uniform", "gaussian", "random_pixels")},
    "normal": _normal,
    "constant": _constant,
    **{f"uniform_x{factor}": _of_confidence("uniform", factor) for factor in FACTORS},
}


def describe(confidence: np.ndarray, entropy: np.ndarray, on_test: np.ndarray, right: np.ndarray) -> dict:
    """Return the columns of `measure` of one network: its confidence and entropy, each [M], on inputs of one kind.

    `on_test` are its confidences on the test images and `right` whether it classifies them correctly, each [N].
    """
    columns = {
        "mean_confidence": confidence.mean(dtype=np.float64),
        **{f"q{100 * q:02.0f}": value for q, value in zip(QUANTILES, np.quantile(confidence, QUANTILES))},
        "share_above_0.9": np.mean(confidence > 0.9),
        "share_above_0.999": np.mean(confidence >= 0.999),
        "entropy": entropy.mean(dtype=np.float64),
        "auroc_vs_test": auroc(on_test, confidence),
        "aupr_vs_test": average_precision(on_test, confidence),
        "auroc_vs_right": auroc(on_test[right], confidence),
    }
    sound = np.isfinite(confidence).all() and np.isfinite(on_test).all()
    columns = columns if sound else dict.fromkeys(columns, np.nan)
    return columns | {"n": len(confidence), "histogram": np.histogram(confidence, BINS, (0, 1))[0]}


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network and kind of input in KINDS, over as many inputs as there are test images.

    Beside the kinds of the probe `confidence`, with the same draws: `normal`, N(0, 1) and not clipped (the Gaussian of
    Hendrycks and Gimpel 2017); `constant`, images of one grey, evenly spaced from black to white; `uniform_x2` to
    `uniform_x100`, the uniform images times that factor (Hein et al. 2019).

    Confidence is the largest softmax probability or sigmoid output, `entropy` in nats as in the probe `confidence`,
    `histogram` of confidences in 50 bins over [0, 1]. Separating test images from inputs of this kind by confidence:
    `auroc_vs_test` and `aupr_vs_test` (average precision of test images; chance is 0.5), and `auroc_vs_right` of the correctly classified test images only (NaN where none is).
    """
    rows = []
    true = np.asarray(networks.images.test_labels)
    for seed, members, layers, pixels in networks.by_seed():
        for kind, draw in KINDS.items():
            inputs = draw(networks, seed, members[0], pixels)
            confidence, answer, entropy, _ = map(np.asarray, respond(networks.static, layers, inputs))
            if kind == "test":
                on_test, right = confidence, answer == true[None]
            for place, network in enumerate(members):
                found = describe(confidence[place], entropy[place], on_test[place], right[place])
                rows.append({"network": network, "inputs": kind} | found)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def of_images(static: Static, layers: Layers, images: np.ndarray, test: np.ndarray, labels: np.ndarray) -> list[dict]:
    """Return the columns of `measure` for T networks (leaves [T, ...]) shown other images [M, pixels], both float32."""
    on_test, answer, _, _ = map(np.asarray, respond(static, layers, test))
    confidence, _, entropy, _ = map(np.asarray, respond(static, layers, images))
    return [describe(*rows) for rows in zip(confidence, entropy, on_test, answer == labels[None])]
