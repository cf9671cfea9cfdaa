"""A layer of a trained network, put back to the start and trained on clean images alone, the others as they are."""

from dataclasses import replace

import numpy as np

from experiments.inside.networks import on_other_images, stacked
from memo.config import Labels, Trial, make_recipe
from memo.data.datasets import Dataset
from memo.networks.mlp import Layers
from memo.training.execution import train
from memo.training.population import Population, signature
from memo.training.starts import Start


def with_layer(layers: Layers, other: Layers, *depths: int) -> Layers:
    """Return a network with its layers at these depths (from 0) as in another one."""
    return tuple(another if depth in depths else own for depth, (own, another) in enumerate(zip(layers, other)))


def retrained(
    trial: Trial, dataset: Dataset, rows: np.ndarray, labels: np.ndarray, final: Layers, start: Layers, epochs: int
) -> Layers:
    """Return networks [layers, ...], one for each layer that begins as in `start` and trains, while the others are as in `final`.

    On the images at `rows` [n] of the training files with `labels` [n], by the trial's recipe, without stopping early.
    """
    depths = range(len(final))
    own = on_other_images(
        trial.recipe, len(rows), labels=Labels(), epochs=epochs, evaluations=2, stop_at_train_accuracy=None
    )
    clean = replace(dataset, train_images=dataset.train_images[rows], train_labels=labels)
    again = Trial(make_recipe(own), trial.seed)
    population = Population(signature(again), (again,) * len(final))
    begun = stacked([with_layer(final, start, depth) for depth in depths])
    return train(population, clean, start=Start(begun, np.eye(len(final), dtype=bool))).layers
