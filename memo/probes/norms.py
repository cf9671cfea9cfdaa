"""Norms of the weights, and margins on the images that a network was trained on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from memo.measures import norms
from memo.networks import initial
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels, as_seen
from memo.probes.networks import Networks, finite, outputs

QUANTILES = (5, 10, 25, 50, 75, 90)  # of the margins, per cent


def measure(networks: Networks) -> dict[str, np.ndarray]:
    """Return one row for each network, over the images and labels that it was trained on; NaN where it is not finite.

    - `lipschitz`: the product of the spectral norms of its layers' weights.
    - `complexity`, `complexity_start`: the spectral complexity, with distances from 0 and from the weights that its seed draws.
    - `distance_start`: the Euclidean distance of all weights from those; `length`: of all weights.
    - `log_l2`, `log_l1_path`, `log_l2_path`, `log_spectral`: logarithms of the capacities of Neyshabur et al. 2017, before they are
      divided by the squared margin.
    - `margin_5` ... `margin_90`: quantiles of the margins; `size`: the Euclidean norm of all its images together.
    """
    count = len(networks.seeds)
    sound = np.asarray(finite(networks.layers))
    starts = initial.by_seed(networks.static, networks.seeds)
    columns = {name: np.asarray(values, float) for name, values in _norms(networks.layers, starts).items()}
    columns |= {f"margin_{level}": np.full(count, np.nan) for level in QUANTILES}
    columns["size"] = np.full(count, np.nan)
    for place in np.flatnonzero(sound):
        layers = jax.tree.map(lambda leaf, at=place: leaf[at : at + 1], networks.layers)
        pixels = networks.images.train[networks.sources[place], networks.rows[place]]
        found, size = _margins(networks.static, layers, pixels, jnp.asarray(networks.labels[place]))
        columns["size"][place] = float(size)
        for level, value in zip(QUANTILES, np.percentile(np.asarray(found, float), QUANTILES)):
            columns[f"margin_{level}"][place] = value
    return {"network": np.arange(count)} | {name: np.where(sound, each, np.nan) for name, each in columns.items()}


@jax.jit
def _norms(layers: Layers, starts: Layers) -> dict[str, jax.Array]:
    """Return the columns [T] that depend on the weights alone."""

    def of_one(layers: Layers, start: Layers) -> dict[str, jax.Array]:
        spectral = norms.spectral_norms(layers)
        changes = jax.tree.map(jnp.subtract, layers, start)
        return {
            "lipschitz": jnp.prod(spectral),
            "complexity": norms.spectral_complexity(spectral, norms.unit_distances(layers)),
            "complexity_start": norms.spectral_complexity(spectral, norms.unit_distances(layers, start)),
            "length": jnp.linalg.norm(norms.frobenius_norms(layers)),
            "distance_start": jnp.linalg.norm(norms.frobenius_norms(changes)),
            **{f"log_{name}": value for name, value in norms.capacities(layers).items()},
        }

    return jax.lax.map(lambda pair: of_one(*pair), (layers, starts))


@partial(jax.jit, static_argnums=0)
def _margins(static: Static, layers: Layers, pixels: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the margins [n] of one network (leaves [1, ...]), and the norm of the images as it reads them."""
    read = as_pixels(jnp.asarray(pixels))
    return norms.margins(outputs(static, layers, read)[0], labels), jnp.linalg.norm(as_seen(static, read))
