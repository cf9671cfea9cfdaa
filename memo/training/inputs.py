"""What the networks of a slab read: images, training subsets, treated labels, keys. The same for a trial anywhere."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from memo.config import Trial
from memo.data import treatments
from memo.data.datasets import CLASSES, Dataset
from memo.data.randomness import generator, purpose_key
from memo.networks.disturbances import Strengths
from memo.networks.optimizers import Hyperparameters
from memo.networks.program import Images, Network, Pack
from memo.training.population import Signature

_keys_of = jax.jit(jax.vmap(purpose_key, (0, None)), static_argnums=1)

# Whose subset and order of minibatches all seeds take where the recipe says `batch_order: shared`.
SHARED_SEED = 0


class SlabData(NamedTuple):
    """What a slab of P packs of m networks reads; leading axes [P] of `packs`, [P, m] of `networks` and `keys`."""

    images: Images
    packs: Pack
    networks: Network
    keys: jax.Array  # of the initial weights
    orders: jax.Array  # [P] keys of the order of minibatches
    labels_changed: np.ndarray  # [P, m], the share of training labels that differ from the true ones


class TrainingData:
    """A data set as the networks of one population read it."""

    def __init__(self, common: Signature, dataset: Dataset):
        dataset = dataset.at_side(common.image_side)
        self._common, self._dataset = common, dataset
        self.statistics = treatments.PixelStatistics(*dataset.pixel_statistics)
        rows = test_rows(len(dataset.test_labels), common.n_test)
        self._test, self._test_labels = dataset.test_images[rows], dataset.test_labels[rows]
        self._natural: dict[jax.Device, Images] = {}
        self._copying = threading.Lock()

    def slab(self, trials: Sequence[Sequence[Trial]], device: jax.Device) -> SlabData:
        """Return what the networks of `trials` [P][m] read, the images on the device and the rest as NumPy."""
        seeds = [pack[0].seed for pack in trials]
        subsets = [self._subset(seed) for seed in seeds]
        if treatments.INPUTS[self._common.inputs] is None:
            images, sources, rows = self._natural_images(device), np.zeros(len(seeds), np.int32), np.stack(subsets)
        else:
            drawn = [self._inputs_seed(seed) for seed in seeds]
            distinct = sorted(dict(zip(zip(drawn, map(self._subset_seed, seeds)), seeds)).items())
            images = self._treated_images([seed for _, seed in distinct], device)
            places = {key: place for place, (key, _) in enumerate(distinct)}
            sources = np.array([places[key] for key in zip(drawn, map(self._subset_seed, seeds))], np.int32)
            rows = np.tile(np.arange(self._common.n_train, dtype=np.int32), (len(seeds), 1))
        true = [self._dataset.train_labels[subset] for subset in subsets]
        labels = np.array([[self._labels(trial, own) for trial in pack] for pack, own in zip(trials, true)])

        def numbers(pick):
            return np.array([[pick(trial.recipe) for trial in pack] for pack in trials], np.float32)

        own_seeds = np.array([[trial.seed for trial in pack] for pack in trials], np.int32)
        networks = Network(
            labels,
            Hyperparameters(
                numbers(lambda recipe: recipe.optimizer.learning_rate),
                numbers(lambda recipe: recipe.optimizer.momentum),
                numbers(lambda recipe: recipe.optimizer.weight_decay),
            ),
            Strengths(
                *(numbers(lambda recipe, name=name: getattr(recipe.regularization, name)) for name in Strengths._fields)
            ),
            _keys_of(own_seeds.ravel(), "regularization").reshape(own_seeds.shape),
            numbers(lambda recipe: 2.0 if recipe.stop_at_train_accuracy is None else recipe.stop_at_train_accuracy),
        )
        orders = _keys_of(np.array([self._order_seed(seed) for seed in seeds], np.int32), "order")
        keys = _keys_of(own_seeds.ravel(), "initialisation").reshape(own_seeds.shape)
        changed = np.array([np.mean(pack != own, axis=-1) for pack, own in zip(labels, true)])
        return SlabData(images, Pack(sources, rows, np.argsort(rows).astype(np.int32)), networks, keys, orders, changed)

    def given(self, trial: Trial) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows [n] int32 of the training images that a trial reads, and the labels [n] uint8 it is given."""
        rows = self._subset(trial.seed)
        return rows, self._labels(trial, self._dataset.train_labels[rows])

    def _order_seed(self, seed):
        return SHARED_SEED if self._common.batch_order == "shared" else seed

    def _subset(self, seed):
        available = len(self._dataset.train_labels)
        drawn = generator(self._subset_seed(seed), "subset").permutation(available)
        return drawn[: self._common.n_train].astype(np.int32)

    def _subset_seed(self, seed):
        return self._order_seed(seed) if self._common.subset_seed is None else self._common.subset_seed

    def _inputs_seed(self, seed):
        return seed if self._common.inputs_seed is None else self._common.inputs_seed

    def _labels(self, trial, true):
        treat = treatments.LABELS[trial.recipe.labels.kind]
        chosen = trial.recipe.labels.seed
        seed = trial.seed if chosen is None else chosen
        return treat(generator(seed, "labels"), true, trial.recipe.labels.fraction, CLASSES)

    def _natural_images(self, device):
        with self._copying:
            if device not in self._natural:
                images = Images(self._dataset.train_images[None], self._test[None], self._test_labels)
                self._natural[device] = jax.device_put(images, device)
            return self._natural[device]

    def _treated_images(self, seeds, device):
        treated = [
            treatments.treat_inputs(
                self._common.inputs,
                self._common.inputs_fraction,
                self._inputs_seed(seed),
                self._dataset.train_images[self._subset(seed)],
                self._test,
                self.statistics,
            )
            for seed in seeds
        ]
        train, test = map(np.stack, zip(*treated))
        return jax.device_put(Images(train, test, self._test_labels), device)


def test_rows(available: int, wanted: int) -> np.ndarray:
    """Return which of the `available` test images every recipe with `n_test: wanted` is tested on, ascending.

    A fixed draw, the same for every seed, and not the first images: a file's order need not be a random one.
    """
    if wanted == available:
        return np.arange(available)
    return np.sort(np.random.default_rng(0).permutation(available)[:wanted])
