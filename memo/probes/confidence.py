"""How sure a network is of its answer: on test images, and on inputs that show nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from memo.losses import LOSSES
from memo.probes.networks import INPUTS, Networks, draw, outputs
from memo.training import Static

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 50  # of the histogram over [0, 1]


@partial(jax.jit, static_argnums=0)
def _answers(static: Static, layers, pixels):
    """Return confidence, answer and entropy, each [m, M]; see `measure` for their definitions."""
    values = outputs(static, layers, pixels)
    activations = LOSSES[static.loss].activate(values)
    total = jnp.sum(activations, axis=-1, keepdims=True)
    # Where every sigmoid underflows, sigmoid(x) is exp(x), so that its shares are the softmax.
    shares = jnp.where(total > 0, activations / total, jax.nn.softmax(values))
    entropy = jnp.sum(jax.scipy.special.entr(shares), axis=-1)
    return jnp.max(activations, axis=-1), jnp.argmax(activations, axis=-1), entropy


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the probability that a random positive scores above a random negative, ties counting half."""
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")
    return float(below.mean() / (2 * len(negatives)))


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network and kind of input, over as many inputs as there are test images.

    Confidence is the largest softmax probability, or the largest sigmoid output under squared error. `entropy` is
    the mean entropy in nats of the softmax, or of the sigmoid outputs divided by their sum. `auroc_vs_test` is the
    probability that a test image is answered with more confidence than an input of this kind (0.5 for test itself).
    `share_class_k` is how often the answer is class k; `histogram` counts confidences in 50 equal bins over [0, 1].
    """
    rows = []
    for seed, members, layers, pixels in networks.by_seed():
        on_test = None
        for kind in INPUTS:
            shown = draw(kind, seed, pixels, networks.statistics)
            confidence, answer, entropy = jax.tree.map(np.asarray, _answers(networks.static, layers, shown))
            on_test = confidence if kind == "test" else on_test
            for place, network in enumerate(members):
                rows.append(
                    {"network": network, "inputs": kind}
                    | _summary(confidence[place], answer[place], entropy[place], on_test[place], networks.static)
                )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _summary(confidence, answer, entropy, on_test, static):
    classes = static.sizes[-1]
    shares = np.bincount(answer, minlength=classes) / len(answer)
    summary = {
        "n": len(confidence),
        "mean_confidence": confidence.mean(dtype=np.float64),
        **{f"q{100 * q:02.0f}": np.quantile(confidence, q) for q in QUANTILES},
        "share_above_0.9": np.mean(confidence > 0.9),
        "entropy": entropy.mean(dtype=np.float64),
        "auroc_vs_test": auroc(on_test, confidence),
        **{f"share_class_{k}": shares[k] for k in range(classes)},
        "histogram": np.histogram(confidence, BINS, (0, 1))[0],
    }
    if np.isfinite(confidence).all():
        return summary
    return {name: value if name in ("n", "histogram") else np.nan for name, value in summary.items()}
