"""Copies of one network that part at some step of its training, and networks of the same data from other initial weights."""

from dataclasses import replace

import jax
import numpy as np
import pandas as pd

from experiments.inside.networks import one, stacked
from memo.config import Execution, Trial, make_recipe
from memo.data.datasets import Dataset
from memo.data.randomness import generator
from memo.measures import curves, landscape
from memo.networks import initial
from memo.networks.mlp import Layers
from memo.networks.program import Static
from memo.training.execution import train
from memo.training.inputs import test_rows
from memo.training.population import Population, plan, signature
from memo.training.shown import shown
from memo.training.starts import Start

# Training accuracies of a network at which its copies part; 0 is before training.
PARTINGS = {"start": 0.0, "half": 0.5, "late": 0.9}
APART = "apart"  # from initial weights of their own
LINE, CURVE = "line", "curve"
# Added to a seed for the orders of its copies, which no other network has.
ORDERS = (2_000_000, 3_000_000)
LOOKS = 16  # evaluations of copies, whose curves nobody reads
ONE_BY_ONE = Execution(pack_size=1)  # one program for all, however narrow


def ends(trial: Trial, dataset: Dataset) -> tuple[dict[str, tuple[Layers, Layers]], dict[str, float]]:
    """Return the pairs of trained networks by the step at which they part, and the epoch of each parting that the network got to.

    Both copies are trained by the trial's recipe on its images and labels, each in an order of minibatches of its own.
    """
    [alone] = plan([trial])
    steps = alone.signature.evaluation_steps
    parent = train(alone, dataset, ONE_BY_ONE, observed=range(len(steps)))
    accuracies = np.asarray(parent.curves.train_accuracy)[0]
    running = accuracies[np.isfinite(accuracies)][:-1]  # copies of a network at its end would be equal
    reached = {name: np.flatnonzero(running >= level) for name, level in PARTINGS.items()}
    places = {name: int(own[0]) for name, own in reached.items() if len(own)}
    begun = {name: one(parent.snapshots[place], 0) for name, place in places.items()}
    recipe = trial.recipe
    labels = recipe.labels if recipe.labels.kind == "true" else replace(recipe.labels, seed=trial.seed)
    data = replace(recipe.dataset, subset_seed=trial.seed)
    own = make_recipe(replace(recipe, dataset=data, labels=labels, evaluations=min(LOOKS, recipe.evaluations)))
    pair = [Trial(own, trial.seed + order) for order in ORDERS]
    apart = initial.by_seed(alone.signature.static, [each.seed for each in pair])
    starts = [begun[name] for name in places for _ in pair] + [one(apart, place) for place in range(len(pair))]
    population = Population(signature(pair[0]), tuple(pair) * (len(places) + 1))
    trained = jax.tree.map(np.asarray, train(population, dataset, ONE_BY_ONE, start=Start(stacked(starts))).layers)
    names = [*places, APART]
    found = {name: (one(trained, 2 * place), one(trained, 2 * place + 1)) for place, name in enumerate(names)}
    per_epoch = float(alone.signature.static.steps_per_epoch)
    return found, {name: float(parent.curve_steps[0][place]) / per_epoch for name, place in places.items()}


def between(trial: Trial, dataset: Dataset, points: int, curve_steps: int) -> pd.DataFrame:
    """Return training loss, training and test error along the lines between pairs of networks, and along a curve between those from other initial weights.

    Columns seed, parting, epoch (of the parting, NaN for none), way, along (0 to 1), train_loss, train_error, test_error.
    """
    static = signature(trial).static
    seen = shown(trial, dataset, 1)
    rows = test_rows(len(dataset.test_labels), signature(trial).n_test)
    sets = {"train": (seen.pixels, seen.labels), "test": (dataset.test_images[rows], dataset.test_labels[rows])}
    pairs, epochs = ends(trial, dataset)
    parts = []
    for name, (a, b) in pairs.items():
        found = {part: landscape.line(static, a, b, *each, points) for part, each in sets.items()}
        parts.append(_rows(trial, name, epochs.get(name, np.nan), LINE, found))
    a, b = pairs[APART]
    middle = _middle(static, trial, a, b, seen.pixels, seen.labels, curve_steps)
    found = {part: curves.along(static, a, middle, b, *each, points) for part, each in sets.items()}
    parts.append(_rows(trial, APART, np.nan, CURVE, found))
    return pd.concat(parts, ignore_index=True)


def _middle(
    static: Static, trial: Trial, a: Layers, b: Layers, pixels: np.ndarray, labels: np.ndarray, steps: int
) -> Layers:
    rates = trial.recipe.optimizer.learning_rate, trial.recipe.optimizer.momentum
    return curves.middle_point(static, a, b, pixels, labels, generator(trial.seed, "order", "curve"), steps, *rates)


def _rows(
    trial: Trial, parting: str, epoch: float, way: str, found: dict[str, tuple[np.ndarray, np.ndarray]]
) -> pd.DataFrame:
    losses, right = found["train"]
    facts = {
        "seed": trial.seed,
        "parting": parting,
        "epoch": epoch,
        "way": way,
        "along": np.linspace(0, 1, len(losses)),
    }
    return pd.DataFrame(facts | {"train_loss": losses, "train_error": 1 - right, "test_error": 1 - found["test"][1]})
