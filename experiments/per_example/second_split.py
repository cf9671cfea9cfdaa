"""Second-split forgetting: networks that learned one half of the pool, trained on with the other. Source: Maini et al. 2022, arXiv:2210.15031."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from memo.config import Execution, Labels, Recipe, Trial, make_recipe
from memo.data.datasets import Dataset
from memo.data.randomness import generator
from memo.measures.per_example.forgetting import lost_for_good
from memo.networks import mlp
from memo.networks.mlp import Layers
from memo.networks.program import Static, as_pixels, as_seen
from memo.training.execution import train
from memo.training.machine import this_machine, use_every_core
from memo.training.population import plan
from memo.training.slab import Trained
from memo.training.starts import Start


def forgotten(
    dataset: Dataset, recipe: Recipe, pool: np.ndarray, labels: np.ndarray, seeds: int, epochs: int
) -> pd.DataFrame:
    """Return by image of the pool [N], a column for each seed, the epoch on the other half from which on its label is lost for good.

    0 where the first half's training had not fitted it, `epochs` + 1 where it is never lost. Each seed halves the pool at random, and
    trains two networks, each on one half by the `recipe` and then for `epochs` on the other, with labels [N] as given.
    """

    def of(seed: int) -> np.ndarray:
        order = generator(seed, "subset", "halves").permutation(len(pool))
        halves = order[: len(pool) // 2], order[len(pool) // 2 :]
        found = np.empty(len(pool))
        for first, second in (halves, halves[::-1]):
            parts = [(dataset.train_images[pool[half]], labels[half]) for half in (first, second)]
            begun = _trained(dataset, recipe, *parts[0], seed, recipe.epochs)
            along = _trained(dataset, recipe, *parts[1], seed, epochs, Start(begun.snapshots[-1]))
            found[first] = lost_for_good(_answers(along, parts[0][0]) == parts[0][1], np.arange(epochs + 1))
        return np.minimum(found, epochs + 1)

    use_every_core()
    with ThreadPoolExecutor(this_machine(Execution()).workers) as workers:
        return pd.DataFrame(dict(zip(map(str, range(seeds)), workers.map(of, range(seeds)))))


def _trained(
    dataset: Dataset,
    recipe: Recipe,
    images: np.ndarray,
    labels: np.ndarray,
    seed: int,
    epochs: int,
    start: Start | None = None,
) -> Trained:
    """Return one network trained on these images, with its weights before each epoch and after the last."""
    asked = replace(recipe.dataset, n_train=len(images), subset_seed=None)
    own = replace(recipe, dataset=asked, labels=Labels(), epochs=epochs, evaluations=epochs, spacing="epochs")
    [population] = plan([Trial(make_recipe(own), seed)])
    data = replace(dataset, train_images=images, train_labels=labels)
    return train(population, data, observed=range(epochs + 1), start=start)


def _answers(along: Trained, images: np.ndarray) -> np.ndarray:
    """Return the answers of a network along training, [E, n]."""
    pixels = jnp.asarray(images)
    return np.stack([np.asarray(_answer(along.static, layers, pixels))[0] for layers in along.snapshots])


@partial(jax.jit, static_argnums=0)
def _answer(static: Static, layers: Layers, pixels: jax.Array) -> jax.Array:
    seen = as_seen(static, as_pixels(pixels))
    return jax.vmap(lambda own: jnp.argmax(mlp.apply(own, seen, static.activation), axis=-1))(layers)
