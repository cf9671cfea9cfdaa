"""The networks by arm, number of images and seed, and what several chapters compute of them."""

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

import jax
import numpy as np
import pandas as pd

from memo.commands.evidence import Evidence
from memo.config import Recipe, Trial
from memo.networks.mlp import Layers
from memo.networks.status import DIVERGED
from memo.probes import weights
from memo.reporting import palette
from memo.statistics.curve_shape import rising, time_to
from memo.storage.run_folders import Tables
from memo.training.population import signature

LEARNED, MEMORISED, HALF, GAUSSIAN, NOISY, EDGE = "learned", "memorised", "half", "gaussian", "noisy", "edge"
# Arms that differ in their labels, by the kind of labels as claims and figures name it.
BY_LABELS = {"true": LEARNED, "random": MEMORISED}
LABELS = {kind: palette.LABELS[kind] for kind in BY_LABELS}
FITTED = 0.99  # of the training images: where times are read
DIVERGED_OR_SLOW = "a network that diverged or did not get there"


def images_of(trial: Trial) -> int:
    """Return the number of images that a trial is trained on."""
    return signature(trial).n_train


def trials_of(evidence: Evidence, arm: str, images: int) -> dict[int, Trial]:
    """Return by seed the trials of an arm on so many images that did not diverge."""
    sound = set(evidence.trials["trial"])
    return {
        trial.seed: trial for trial in evidence.asked_trials(arm) if images_of(trial) == images and trial.id in sound
    }


def both(evidence: Evidence, images: int) -> list[int]:
    """Return the seeds that have a network on true and one on random labels of so many images, ascending."""
    return sorted(set.intersection(*(set(trials_of(evidence, arm, images)) for arm in BY_LABELS.values())))


def final_layers(evidence: Evidence, arm: str, trials: Sequence[Trial]) -> Layers:
    """Return the weights of some trials of an arm at their end, leaves [T, ...]."""
    table = evidence.of(arm, "weights").set_index("trial")["weights"]
    return weights.layers([table[trial.id] for trial in trials], evidence.static_of(trials[0].id).sizes)


def one(layers: Layers, place: int) -> Layers:
    """Return one network of several, leaves [T, ...]."""
    return jax.tree.map(itemgetter(place), layers)


def stacked(networks: Sequence[Layers]) -> Layers:
    """Return single networks as one, leaves [T, ...]."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *networks)


def to_fit(epochs: np.ndarray, accuracies: np.ndarray) -> float:
    """Return the epochs until 99 % of the training images are fitted, NaN where they never are."""
    return time_to(epochs, rising(accuracies), FITTED)


def of_arms(tables: Tables, *arms: str) -> pd.DataFrame:
    """Return the networks of some arms, without those that diverged."""
    networks = tables["networks"]
    return networks[networks["arm"].isin(arms) & (networks["status"] != DIVERGED)]


def by_seed(networks: pd.DataFrame, arm: str, images: int, column: str) -> pd.Series:
    """Return a column of an arm's networks on so many images, by seed."""
    own = networks[(networks["arm"] == arm) & (networks["images"] == images)]
    return own.set_index("seed")[column].astype(float)


def by_count(networks: pd.DataFrame, arm: str, column: str) -> pd.DataFrame:
    """Return a column of an arm's networks as one row per seed and one column per number of images, ascending."""
    own = networks[networks["arm"] == arm]
    return own.pivot(index="seed", columns="images", values=column).sort_index(axis=1).astype(float)


def counts(networks: pd.DataFrame) -> list[int]:
    """Return the numbers of images on which there are networks of both kinds of labels, ascending."""
    found = [set(networks.loc[networks["arm"] == arm, "images"]) for arm in BY_LABELS.values()]
    return sorted(int(images) for images in set.intersection(*found))


def on_other_images(recipe: Recipe, images: int, **changes: object) -> Recipe:
    """Return a recipe for a data set that consists of the `images` to train on and no others, with some keys changed."""
    asked = replace(recipe.dataset, n_train=images, subset_seed=None)
    return replace(recipe, dataset=asked, **changes)  # type: ignore[arg-type]
