"""The confidence of a network: on test images, and on inputs that show no digit."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memo.measures.ranking import auroc
from memo.networks.losses import LOSSES
from memo.networks.mlp import Layers
from memo.networks.program import Static
from memo.probes.networks import INPUTS, Networks, outputs, shown

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 50  # of the histogram over [0, 1]
EVEN = 0.95  # of the largest possible entropy: from there on an output counts as even


@partial(jax.jit, static_argnums=0)
def respond(static: Static, layers: Layers, pixels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return confidence, answer, entropy and total activation, each [m, M]; see `measure` for their definitions."""
    values, loss = outputs(static, layers, pixels), LOSSES[static.loss]
    activations = loss.activate(values)
    total = jnp.sum(activations, axis=-1, keepdims=True)
    # Where every sigmoid underflows, sigmoid(x) is exp(x), so that its shares are the softmax.
    shares = jnp.where(total > 0, activations / total, jax.nn.softmax(values))
    entropy = jnp.sum(jax.scipy.special.entr(shares), axis=-1)
    return loss.confidence(values), jnp.argmax(activations, axis=-1), entropy, total[..., 0]


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network and kind of input, over as many inputs as there are test images.

    Confidence is the largest softmax probability, or the largest sigmoid output under squared error; under
    linear_squared_error, whose outputs are no probabilities, every number is NaN. `entropy` is
    the mean entropy in nats of the softmax, or of the sigmoid outputs divided by their sum. `auroc_vs_test` is the
    probability that a test image is classified with more confidence than an input of this kind (0.5 for test itself).
    `share_class_k` is how often the predicted class is k; `histogram` counts confidences in 50 equal bins over [0, 1].
    `mean_confidence_class_k` is the mean confidence where the predicted class is k, NaN if it never is. `share_even`
    is how often all classes are activated about evenly: with an entropy above 0.95 of its maximum (ln 10).
    `mean_total_activation` is the mean sum of the activations: 1 under softmax, 0 to 10 of sigmoid outputs.
    """
    rows = []
    for seed, members, layers, pixels in networks.by_seed():
        on_test: list[np.ndarray] = []  # of the first kind
        for kind in INPUTS:
            inputs = shown(networks, kind, seed, members[0], pixels)
            found = [np.asarray(array) for array in respond(networks.static, layers, inputs)]
            on_test = on_test or found
            for place, network in enumerate(members):
                confidence, answer, entropy, total = (array[place] for array in found)
                summary = _summary(confidence, answer, entropy, total, on_test[0][place], networks.static)
                rows.append({"network": network, "inputs": kind} | summary)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _summary(
    confidence: np.ndarray,
    answer: np.ndarray,
    entropy: np.ndarray,
    total: np.ndarray,
    on_test: np.ndarray,
    static: Static,
) -> dict[str, Any]:
    classes = static.sizes[-1]
    # XLA's maximum over numbers that are none is NaN or -inf, as it compiles the program.
    confidence = np.where(np.isfinite(confidence), confidence, np.float32(np.nan))
    counts = np.bincount(answer, minlength=classes)
    shares = counts / len(answer)
    sure = np.full(classes, np.nan)
    np.divide(np.bincount(answer, confidence, classes), counts, out=sure, where=counts > 0)
    summary = {
        "n": len(confidence),
        "mean_confidence": confidence.mean(dtype=np.float64),
        **{f"q{100 * q:02.0f}": value for q, value in zip(QUANTILES, np.quantile(confidence, QUANTILES))},
        "share_above_0.9": np.mean(confidence > 0.9),
        "entropy": entropy.mean(dtype=np.float64),
        "auroc_vs_test": auroc(on_test, confidence),
        **{f"share_class_{k}": shares[k] for k in range(classes)},
        "histogram": np.histogram(confidence, BINS, (0, 1))[0],
        **{f"mean_confidence_class_{k}": sure[k] for k in range(classes)},
        "share_even": np.mean(entropy > EVEN * np.log(classes)),
        "share_below_0.5": np.mean(confidence < 0.5),
        "mean_total_activation": total.mean(dtype=np.float64),
    }
    if np.isfinite(confidence).all():
        return summary
    return {name: value if name in ("n", "histogram") else np.nan for name, value in summary.items()}
