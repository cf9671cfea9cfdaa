"""The type of critical point found by training, and its sharpness, from second derivatives of the loss."""

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import jax
import numpy as np

from memo.data.randomness import generator
from memo.measures import hessian
from memo.networks.mlp import Layers
from memo.networks.program import Static
from memo.probes.networks import Networks, finite

# Eigenvalues that are smaller count as 0. Ours: a third party recalls it as the paper's (Choromanska et al. 2015).
ZERO = 1e-3
# Parameters up to which all eigenvalues are computed: 3,000 take about 10 s of a core at 1,000 images.
EXACT = 3000
# Products a start, and random starts, of the quadrature; for the share of negative eigenvalues.
STEPS, STARTS = 80, 10
# Products for the largest eigenvalue alone, from one start: within 1 % on trained networks (tests/test_hessian.py).
TOP_STEPS = 20

# A network's layers, its images [n, pixels] and labels [n], and random starts [starts, P].
Inputs = tuple[Layers, jax.Array, jax.Array, np.ndarray]


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network, over the images and labels that it was trained on; NaN where it is not finite.

    - `gradient_norm`: of the gradient of the mean training loss, without weight decay.
    - `top`, `bottom`: the largest and the smallest eigenvalue of the Hessian of the mean training loss.
    - `index`: the share of eigenvalues below -0.001; `positive`: the share above 0.001.
    - `exact`: whether these come from all eigenvalues (networks of up to 3,000 parameters) or from Lanczos, 10 random starts
      of 80 products each; `index_lanczos` is the share that this gives in either case.
    - `eigenvalues`: bytes of all of them, little-endian float64, ascending; empty where they are not exact.
    """
    rows = [
        _of_network(networks.static, *inputs) if inputs else None
        for inputs in _inputs(networks, "hessian_shares", STARTS, np.sign)
    ]
    unknown: dict[str, Any] = dict.fromkeys(
        ("gradient_norm", "top", "bottom", "index", "positive", "index_lanczos"), np.nan
    )
    unknown |= {"exact": False, "eigenvalues": b""}
    columns = {name: [(row or unknown)[name] for row in rows] for name in unknown}
    eigenvalues = np.array(columns.pop("eigenvalues"), object)
    return {
        "network": np.arange(len(rows)),
        **{name: np.array(values) for name, values in columns.items()},
        "eigenvalues": eigenvalues,
    }


def measure_sharpness(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network: `top` and `gradient_norm`, NaN where a weight is not finite.

    `top` is the largest eigenvalue of the Hessian of the mean training loss, by Lanczos with 20 products, from inside the
    spectrum; the gradient is that of the same loss.
    """
    found = []
    for inputs in _inputs(networks, "hessian_top", 1, lambda draws: draws):
        if inputs is None:
            found.append((np.nan, np.nan))
            continue
        layers, pixels, labels, starts = inputs
        [(values, _)] = hessian.spectrum(networks.static, layers, pixels, labels, starts, TOP_STEPS)
        found.append((values[-1], _norm(networks.static, layers, pixels, labels)))
    top, norm = np.array(found, float).T
    return {"network": np.arange(len(found)), "top": top, "gradient_norm": norm}


def eigenvalues(row: bytes) -> np.ndarray:
    """Return the eigenvalues [P] float64 of a row of `measure`, ascending; none [0] where they were not computed."""
    return np.frombuffer(row, "<f8")


def _inputs(
    networks: Networks, part: str, starts: int, shape: Callable[[np.ndarray], np.ndarray]
) -> Iterator[Inputs | None]:
    """Yield for each network its layers, images, labels and random starts [starts, P], None where it is not finite."""
    sound = np.asarray(finite(networks.layers))
    for place, known in enumerate(sound):
        if not known:
            yield None
            continue
        layers = jax.tree.map(itemgetter(place), networks.layers)
        count = sum(leaf.size for leaf in jax.tree.leaves(layers))
        draws = generator(int(networks.seeds[place]), "directions", part).standard_normal((starts, count))
        pixels = networks.images.train[networks.sources[place], networks.rows[place]]
        yield layers, pixels, networks.labels[place], shape(draws)


def _norm(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array) -> float:
    return float(np.linalg.norm(np.asarray(hessian.gradient(static, layers, pixels, labels), np.float64)))


def _of_network(
    static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array, starts: np.ndarray
) -> dict[str, Any]:
    found = hessian.spectrum(static, layers, pixels, labels, starts, STEPS)
    row = {"gradient_norm": _norm(static, layers, pixels, labels), "index_lanczos": hessian.share_below(found, -ZERO)}
    if starts.shape[1] <= EXACT:
        every = np.linalg.eigvalsh(hessian.exact(static, layers, pixels, labels))
        shares = {"index": np.mean(every < -ZERO), "positive": np.mean(every > ZERO)}
        return (
            row
            | shares
            | {
                "top": every[-1],
                "bottom": every[0],
                "exact": True,
                "eigenvalues": every.astype("<f8").tobytes(),
            }
        )
    return row | {
        "top": max(values[-1] for values, _ in found),
        "bottom": min(values[0] for values, _ in found),
        "index": row["index_lanczos"],
        "positive": 1 - hessian.share_below(found, ZERO),
        "exact": False,
        "eigenvalues": b"",
    }
