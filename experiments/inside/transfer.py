"""Networks pre-trained with random labels, trained on other images, beside the same networks from scratch."""

from dataclasses import replace

import jax
import numpy as np
import pandas as pd

from experiments.inside.networks import BY_LABELS, on_other_images, stacked, to_fit
from memo.config import Labels, Trial, make_recipe
from memo.data.datasets import Dataset
from memo.data.randomness import generator
from memo.networks.mlp import Layer, Layers
from memo.training.execution import train
from memo.training.population import Population, signature
from memo.training.starts import Start

SCRATCH, PRETRAINED = "from scratch", "pre-trained"
# Added to a seed for its labels of other images, which would else be those of pre-training in the same order.
OTHER_LABELS = 1_000_000


def rescaled(layers: Layers, start: Layers) -> Layers:
    """Return a network whose layers' weights have the Euclidean lengths of those of `start`.

    Biases are scaled by the product of the factors up to their layer: a ReLU network's outputs are then multiplied by one number.
    """
    found, product = [], 1.0
    for (weights, biases), (begun, _) in zip(layers, start):
        factor = float(np.linalg.norm(begun) / np.linalg.norm(weights))
        product *= factor
        found.append(Layer(np.asarray(weights) * factor, np.asarray(biases) * product))
    return tuple(found)


def times(trial: Trial, dataset: Dataset, used: np.ndarray, start: Layers, pretrained: Layers) -> pd.DataFrame:
    """Return epochs to 99 % and test accuracy on images other than those at the rows `used` of the training files, by start and labels.

    As many images as the trial has, with true and with new random labels, by its recipe.
    """
    others = np.setdiff1d(np.arange(len(dataset.train_labels)), used)
    chosen = np.sort(generator(trial.seed, "subset", "transfer").permutation(others)[: len(used)])
    data = replace(dataset, train_images=dataset.train_images[chosen], train_labels=dataset.train_labels[chosen])
    asked, trials, starts = [], [], []
    for kind in BY_LABELS:
        labels = Labels() if kind == "true" else Labels(kind=kind, seed=trial.seed + OTHER_LABELS)
        recipe = make_recipe(on_other_images(trial.recipe, len(chosen), labels=labels))
        for way, layers in ((SCRATCH, start), (PRETRAINED, rescaled(pretrained, start))):
            asked.append({"seed": trial.seed, "labels": kind, "start": way})
            trials.append(Trial(recipe, trial.seed))
            starts.append(layers)
    population = Population(signature(trials[0]), tuple(trials))
    trained = train(population, data, start=Start(stacked(starts)))
    per_epoch = float(population.signature.static.steps_per_epoch)
    curves = zip(trained.curve_steps / per_epoch, np.asarray(trained.curves.train_accuracy))
    found = jax.tree.map(np.asarray, trained.final.test_accuracy)
    return pd.DataFrame(
        [
            row | {"t99": _time(epochs, accuracies), "test_accuracy": float(test), "status": status}
            for row, (epochs, accuracies), test, status in zip(asked, curves, found, trained.status)
        ]
    )


def _time(epochs: np.ndarray, accuracies: np.ndarray) -> float:
    """Return the epochs to 99 % of a curve that is NaN after its end; NaN where it is too short."""
    known = np.isfinite(accuracies)
    return to_fit(epochs[known], accuracies[known]) if known.sum() > 1 else np.nan
