"""What every contestant trains: the network, how many, on how many images, for how long, and what that costs."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from memo.data.datasets import MNIST, Dataset

BATCH = 128
LEARNING_RATES = (0.005, 0.01, 0.0025, 0.02)  # none of the benchmark's networks diverges with them
MOMENTUM = 0.9
# A step reads each weight in the forward and in the backward pass, reads and writes its momentum, and writes it.
BYTES_PER_WEIGHT = 5 * 4


@dataclass(frozen=True)
class Work:
    """A population of MLPs with `hidden` widths, each trained by SGD with momentum on `images` for `epochs`."""

    hidden: tuple[int, ...]
    networks: int
    images: int
    epochs: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, inputs first."""
        return (MNIST.pixels, *self.hidden, MNIST.classes)

    @property
    def weights(self) -> int:
        """Matrix weights of one network; biases are not counted."""
        return sum(inputs * outputs for inputs, outputs in pairwise(self.sizes))

    @property
    def examples(self) -> int:
        """Training examples that one network sees in all, in whole minibatches."""
        return self.epochs * (self.images // BATCH) * BATCH

    @property
    def flop_per_example(self) -> int:
        """Operations per training example: 6 per weight, less 2 in the first layer, whose inputs need no gradient."""
        return 6 * self.weights - 2 * self.sizes[0] * self.sizes[1]

    @property
    def bytes_per_example(self) -> float:
        """Memory traffic per training example that SGD with momentum cannot avoid: 20 bytes per weight and step."""
        return BYTES_PER_WEIGHT * self.weights / BATCH

    def fitting(self, epochs: float) -> int:
        """Return how many networks, of those of the population, train within the time of so many epochs of one."""
        return int(np.clip(round(epochs / self.epochs), 1, self.networks))


def sized(work: Work, seconds: float, flops: float, bandwidth: float, minibatches: int) -> Work:
    """Return work that takes its population about `seconds` at half of the machine's limits (FLOP/s and bytes/s).

    There are at least `work.epochs` epochs of at least `minibatches`, so that our three evaluations weigh little. Epochs
    are added only where all training images are in use.
    """
    seconds_per_example = 2 * max(work.flop_per_example / flops, work.bytes_per_example / bandwidth)
    steps = seconds / (seconds_per_example * work.networks * BATCH)
    per_epoch = int(np.clip(round(steps / work.epochs), minibatches, MNIST.train_images // BATCH))
    return Work(work.hidden, work.networks, per_epoch * BATCH, max(work.epochs, round(steps / per_epoch)))


class Examples(NamedTuple):
    """What peers train on: `images` uint8 [n, 784]; `labels` uint8 [2, n], the true ones and shuffled ones."""

    images: np.ndarray
    labels: np.ndarray


def examples(dataset: Dataset, count: int) -> Examples:
    """Return the first `count` training images with true and with shuffled labels."""
    true = dataset.train_labels[:count]
    return Examples(dataset.train_images[:count], np.stack([true, np.random.default_rng(0).permutation(true)]))
