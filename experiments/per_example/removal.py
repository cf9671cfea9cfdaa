"""Networks trained without some images of the pool: the most memorised, or as many random ones."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from memo.config import Execution, Recipe, Trial, make_recipe
from memo.data.datasets import Dataset
from memo.data.randomness import generator
from memo.training.execution import train as train_population
from memo.training.machine import this_machine, use_every_core
from memo.training.population import plan

MEMORISED, RANDOM = "memorised", "random"


def accuracies(
    dataset: Dataset, recipe: Recipe, pool: np.ndarray, labels: np.ndarray, most: np.ndarray, seeds: int
) -> pd.DataFrame:
    """Return test accuracies of networks trained on true labels without `most` of the pool [N], and without as many random images.

    Columns seed, removed (MEMORISED, RANDOM), images (left) and test_accuracy. Each seed draws its own random images; its two
    networks start with the same weights. `recipe` is that of networks trained on the whole pool, rows of the training files, with
    `labels` [N].
    """
    kept = len(pool) - len(most)
    images, given = replace(recipe.dataset, n_train=kept), replace(recipe.labels, file=None)
    own = make_recipe(replace(recipe, dataset=images, labels=given, evaluations=2))

    def train(case: tuple[int, str]) -> dict[str, Any]:
        seed, removed = case
        others = generator(seed, "subset", "removed").permutation(pool)[: len(most)]
        left = ~np.isin(pool, most if removed == MEMORISED else others)
        data = replace(dataset, train_images=dataset.train_images[pool[left]], train_labels=labels[left])
        [population] = plan([Trial(own, seed)])
        accuracy = float(train_population(population, data).final.test_accuracy[0])
        return {"seed": seed, "removed": removed, "images": kept, "test_accuracy": accuracy}

    use_every_core()
    # Each has a data set of its own, and so is a population of one network: one for each core.
    with ThreadPoolExecutor(this_machine(Execution()).workers) as workers:
        return pd.DataFrame(list(workers.map(train, product(range(seeds), (MEMORISED, RANDOM)))))
