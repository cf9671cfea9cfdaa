"""What one network is shown in training, step by step, for what is computed beside its training."""

from typing import NamedTuple

import jax
import numpy as np

from memo.config import Trial
from memo.data.datasets import Dataset
from memo.training.inputs import TrainingData
from memo.training.minibatches import by_sorting
from memo.training.population import signature


class Shown(NamedTuple):
    """The images and labels of a network, and the places among them of each minibatch."""

    pixels: np.ndarray  # [n, pixels] uint8 or float32, after their treatment and before scaling
    labels: np.ndarray  # [n] uint8, as trained on
    minibatches: np.ndarray  # [steps, batch] int32


def shown(trial: Trial, dataset: Dataset, steps: int) -> Shown:
    """Return what a trial is trained on; its minibatches are those of the first `steps` steps, or as many beyond its last."""
    common = signature(trial)
    data = TrainingData(common, dataset).slab([[trial]], jax.devices()[0])
    images = np.asarray(data.images.train)[data.packs.source[0], data.packs.rows[0]]
    epochs = np.arange(-(-steps * common.static.batch_size // common.n_train), dtype=np.int32)
    places = by_sorting(data.orders, epochs, common.n_train).reshape(-1)[: steps * common.static.batch_size]
    return Shown(images, np.asarray(data.networks.labels[0, 0]), places.reshape(steps, -1))
