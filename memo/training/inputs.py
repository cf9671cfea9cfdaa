"""The inputs of the networks of a slab: images, training subsets, treated labels, keys; for a trial the same everywhere."""

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from memo.config import Recipe, Trial
from memo.data import label_files, treatments
from memo.data.datasets import Dataset
from memo.data.randomness import generator, purpose_key
from memo.networks import initial
from memo.networks.disturbances import Strengths
from memo.networks.optimizers import Hyperparameters
from memo.networks.program import Images, LeftOut, NetworkData, PackData, Redrawn, as_pixels
from memo.networks.scaling import SCALINGS, numbers
from memo.training.population import Signature

_keys_of = jax.jit(jax.vmap(purpose_key, (0, None)), static_argnums=1)

# The seed whose subset and order of minibatches all others take where the recipe says `batch_order: shared`.
SHARED_SEED = 0
SCALED_AT_ONCE = 5000  # images, as float32: 61 MB of CIFAR-10's


class SlabData(NamedTuple):
    """What a slab of P packs of m networks reads; leading axes [P] of `packs`, [P, m] of `networks` and `keys`."""

    images: Images
    packs: PackData
    networks: NetworkData
    keys: jax.Array  # of the initial weights
    orders: jax.Array  # [P] keys of the order of minibatches
    labels_changed: np.ndarray  # [P, m], the share of training labels, as presented, that differ from the true ones
    left_out: LeftOut  # leaves [P, m, k]


class TrainingData:
    """A data set as the networks of one population read it."""

    def __init__(self, common: Signature, dataset: Dataset):
        dataset = dataset.at(common.crop, common.image_side)
        self._common, self._dataset = common, dataset
        self.statistics = treatments.PixelStatistics(*dataset.pixel_statistics)
        rows = test_rows(len(dataset.test_labels), common.n_test)
        self._test, self._test_labels = dataset.test_images[rows], dataset.test_labels[rows]
        self._natural: dict[jax.Device, Images] = {}
        self._copying = threading.Lock()

    def slab(self, trials: Sequence[Sequence[Trial]], device: jax.Device) -> SlabData:
        """Return what the networks of `trials` [P][m] read, the images on the device and the rest as NumPy."""
        seeds = [pack[0].seed for pack in trials]
        images, packs, left_out = self._images(seeds, device)
        of_pool = np.array([[self._labels(trial) for trial in pack] for pack in trials])
        members, others = map(np.stack, zip(*map(self._division, seeds)))
        labels = np.take_along_axis(of_pool, members[:, None], axis=-1)
        true = np.stack([self._dataset.train_labels[self._subset(seed)] for seed in seeds])[:, None]
        left_labels = np.take_along_axis(of_pool, others[:, None], axis=-1)
        left_rows = np.broadcast_to(left_out[:, None], left_labels.shape)
        own_seeds = np.array([[trial.seed for trial in pack] for pack in trials], np.int32)
        return SlabData(
            images=images,
            packs=packs,
            networks=_own(
                trials, labels, _keys_of(own_seeds.ravel(), "regularization").reshape(own_seeds.shape)
            )._replace(redrawn=self._redrawn(trials)),
            keys=initial.keys(own_seeds),
            orders=_keys_of(np.array([self._order_seed(seed) for seed in seeds], np.int32), "order"),
            labels_changed=self._changed_at_presentation(trials, np.mean(labels != true, axis=-1)),
            left_out=LeftOut(left_rows, left_labels),
        )

    def _images(self, seeds: Sequence[int], device: jax.Device) -> tuple[Images, PackData, np.ndarray]:
        """Return the images that packs of these seeds read, what each reads of them, and the rows [P, k] left out of its pool."""
        held_out = [self._held_out(seed) for seed in seeds]
        members, others = map(np.stack, zip(*map(self._division, seeds)))
        if treatments.INPUTS[self._common.inputs] is None:
            pools = np.stack([self._pool(seed) for seed in seeds])
            rows, left = (np.take_along_axis(pools, part, axis=1) for part in (members, others))
            packs = self._packs(np.zeros(len(seeds), np.int32), rows, held_out, held_out)
            return self._natural_images(device), packs, left
        drawn = [(self._inputs_seed(seed), self._subset_seed(seed)) for seed in seeds]
        distinct = sorted(dict(zip(drawn, seeds)).items())
        places = {key: place for place, (key, _) in enumerate(distinct)}
        sources = np.array([places[key] for key in drawn], np.int32)
        # Each source has the images of its own pool, then those held out.
        after = np.arange(self._common.pool, self._common.pool + self._common.n_validation, dtype=np.int32)
        packs = self._packs(sources, members, [after] * len(seeds), held_out)
        return self._treated_images([seed for _, seed in distinct], device), packs, others

    def _packs(
        self, sources: np.ndarray, rows: np.ndarray, validation: Sequence[np.ndarray], held_out: Sequence[np.ndarray]
    ) -> PackData:
        """Return what packs read of the image `sources` [P]: `rows` [P, n], and in `validation` the images `held_out` of the files."""
        packs = PackData(sources, rows, self._by_row(rows))
        if not self._common.n_validation:
            return packs
        true = np.stack([self._dataset.train_labels[own] for own in held_out])
        return packs._replace(validation=np.stack(validation), validation_labels=true)

    def _by_row(self, rows: np.ndarray) -> np.ndarray:
        """Return the positions [P, n] of training subsets as evaluations read them: the sample of curves first, each part by its rows."""
        sampled = min(self._common.evaluation_images or 0, rows.shape[1])
        parts = [np.argsort(rows[:, :sampled]), sampled + np.argsort(rows[:, sampled:])]
        return np.concatenate(parts, axis=1).astype(np.int32)

    def given(self, trial: Trial) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows [n] int32 of the training images that a trial reads, and the labels [n] uint8 it trains on."""
        members, _ = self._division(trial.seed)
        return self._pool(trial.seed)[members], self._labels(trial)[members]

    def pool(self, trial: Trial) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows [N] int32 of the images from which a trial's are drawn, and their labels [N] as given.

        In the order in which probes see them (`memo.probes.pool`): ascending, or as drawn where inputs are treated.
        """
        rows = self._pool(trial.seed)
        natural = treatments.INPUTS[self._common.inputs] is None
        order = np.argsort(rows) if natural else np.arange(len(rows))
        return rows[order], self._labels(trial)[order]

    def held_out(self, trial: Trial) -> np.ndarray:
        """Return the rows [v] int32 of the training images that a trial is validated on, ascending."""
        return self._held_out(trial.seed)

    def _order_seed(self, seed: int) -> int:
        return SHARED_SEED if self._common.batch_order == "shared" else seed

    def _drawn(self, seed: int) -> np.ndarray:
        """Return all images of the training files in the order in which this seed draws them, int32."""
        rows = np.arange(len(self._dataset.train_labels), dtype=np.int32)
        if self._common.subset == "first":
            return rows
        return generator(self._subset_seed(seed), "subset").permutation(rows)

    def _pool(self, seed: int) -> np.ndarray:
        return self._drawn(seed)[: self._common.pool]

    def _division(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions in its pool of the images that a seed is trained on, [n], and of those left out, [k], int32."""
        places = np.arange(self._common.pool, dtype=np.int32)
        if self._common.n_train < self._common.pool:
            places = generator(self._order_seed(seed), "subset", "share").permutation(places)
        return places[: self._common.n_train], places[self._common.n_train :]

    def _subset(self, seed: int) -> np.ndarray:
        """Return the rows of the training files that a seed is trained on."""
        return self._pool(seed)[self._division(seed)[0]]

    def _held_out(self, seed: int) -> np.ndarray:
        """Return the validation images, ascending: the last of those drawn, and so the same beside every number of training images."""
        return np.sort(self._drawn(seed)[len(self._dataset.train_labels) - self._common.n_validation :])

    def _subset_seed(self, seed: int) -> int:
        return self._order_seed(seed) if self._common.subset_seed is None else self._common.subset_seed

    def _inputs_seed(self, seed: int) -> int:
        return seed if self._common.inputs_seed is None else self._common.inputs_seed

    def _labels(self, trial: Trial) -> np.ndarray:
        """Return the labels of a trial's pool as given, in the order in which its images were drawn."""
        asked, labels = trial.recipe.labels, self._dataset.train_labels
        if asked.file is not None:
            labels = label_files.load(asked.file, labels)
        true = labels[self._pool(trial.seed)]
        own = generator(trial.seed if asked.seed is None else asked.seed, "labels")
        return treatments.treat_labels(
            asked.kind,
            own,
            true,
            asked.fraction,
            self._common.static.sizes[-1],
            asked.stratified,
            lambda: self._dataset.nearest_classes,
        )

    def _redrawn(self, trials: Sequence[Sequence[Trial]]) -> Redrawn | None:
        """Return what redraws the labels of the networks of `trials` [P][m] at each presentation, leading axes [P, m]; None if nothing."""
        if self._common.static.presentation is None:
            return None
        asked = [[(trial.recipe.labels, trial.seed) for trial in pack] for pack in trials]
        seeds = np.array([[seed if own.seed is None else own.seed for own, seed in pack] for pack in asked], np.int32)
        fractions = np.array([[own.fraction for own, _ in pack] for pack in asked], np.float32)
        return Redrawn(_keys_of(seeds.ravel(), "labels").reshape(seeds.shape), fractions)

    def _changed_at_presentation(self, trials: Sequence[Sequence[Trial]], wrong: np.ndarray) -> np.ndarray:
        """Return the share [P, m] of presentations with a wrong label, on average over draws, if it is `wrong` of those given."""
        if self._common.static.presentation is None:
            return wrong
        fractions = np.array([[trial.recipe.labels.fraction for trial in pack] for pack in trials])
        return (1 - fractions) * wrong + fractions * (1 - 1 / self._common.static.sizes[-1])

    def _natural_images(self, device: jax.Device) -> Images:
        with self._copying:
            if device not in self._natural:
                images = self._as_images(self._dataset.train_images[None], self._test[None])
                self._natural[device] = jax.device_put(images, device)
            return self._natural[device]

    def _treated_images(self, seeds: Sequence[int], device: jax.Device) -> Images:
        sources = [self._treated(seed) for seed in seeds]
        train, test = map(np.stack, zip(*sources))
        return jax.device_put(self._as_images(train, test), device)

    def _treated(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the training images of a seed, followed by those held out, and the test images; both held out are treated alike."""
        common, images = self._common, self._dataset.train_images
        unseen = np.concatenate([self._test, images[self._held_out(seed)]])
        asked = common.inputs, common.inputs_fraction, self._inputs_seed(seed)
        train, unseen = treatments.treat_inputs(*asked, images[self._pool(seed)], unseen, self.statistics)
        test, validation = np.split(unseen, [len(self._test)])
        if train.dtype != validation.dtype:  # bytes beside floats, which lie on the scale where white is 1
            validation = validation.astype(train.dtype) / np.float32(255)
        return np.concatenate([train, validation]), test

    def _as_images(self, train: np.ndarray, test: np.ndarray) -> Images:
        """Return images [G, N, pixels] and [G, M, pixels] with the numbers by which they are scaled."""
        return Images(train, test, self._test_labels, self._scaling(train), self._scaling(test))

    def _scaling(self, images: np.ndarray) -> np.ndarray | None:
        if SCALINGS[self._common.static.scaling] is None:
            return None
        blocks = np.array_split(images, math.ceil(images.shape[1] / SCALED_AT_ONCE), axis=1)
        of = jax.jit(partial(numbers, self._common.static.scaling, overall=self.statistics.overall))
        return np.concatenate([np.asarray(of(as_pixels(jnp.asarray(block)))) for block in blocks], axis=1)


def _own(trials: Sequence[Sequence[Trial]], labels: np.ndarray, draws: jax.Array) -> NetworkData:
    """Return what each of the networks of `trials` [P][m] has of its own, leading axes [P, m]."""

    def numbers(pick: Callable[[Recipe], float]) -> np.ndarray:
        return np.array([[pick(trial.recipe) for trial in pack] for pack in trials], np.float32)

    def keys(group: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        return {name: numbers(attrgetter(f"{group}.{name}")) for name in names}

    def option(name: str) -> np.ndarray:
        return numbers(lambda recipe: recipe.optimizer.options[name])

    options = {name: option(name) for name in trials[0][0].recipe.optimizer.options}
    return NetworkData(
        labels=labels,
        hyper=Hyperparameters(**keys("optimizer", ("learning_rate", "momentum", "weight_decay")), options=options),
        strengths=Strengths(**keys("regularization", Strengths._fields)),
        draws=draws,
        # No accuracy is above 1.
        stop_at=numbers(lambda recipe: 2 if recipe.stop_at_train_accuracy is None else recipe.stop_at_train_accuracy),
    )


def test_rows(available: int, wanted: int) -> np.ndarray:
    """Return which of the `available` test images every recipe with `n_test: wanted` is tested on, ascending.

    A fixed draw, the same for every seed, and not the first images: a file need not be in random order.
    """
    if wanted == available:
        return np.arange(available)
    return np.sort(np.random.default_rng(0).permutation(available)[:wanted])
