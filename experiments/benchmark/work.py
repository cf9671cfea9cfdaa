"""What every contestant trains: the network, how many, on how many images, for how long, and what that costs."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from memo.data.datasets import MNIST, Dataset

BATCH = 128
LEARNING_RATES = (0.005, 0.01, 0.0025, 0.02)  # none of the benchmark's networks diverges with them
MOMENTUM = 0.9
# Read the weight in the forward and in the backward pass, read and write its momentum, write it: five floats.
BYTES_PER_WEIGHT = 20


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
        """Matrix weights of one network, biases not counted."""
        return sum(inputs * outputs for inputs, outputs in pairwise(self.sizes))

    @property
    def steps_per_epoch(self) -> int:
        """Minibatches of one network in an epoch."""
        return self.images // BATCH

    @property
    def steps(self) -> int:
        """Minibatches of one network in all."""
        return self.epochs * self.steps_per_epoch

    @property
    def examples(self) -> int:
        """Training examples of one network in all."""
        return self.steps * BATCH

    @property
    def flop_per_example(self) -> int:
        """Operations on one training example: 6 a weight, less 2 in the first layer, whose inputs take no gradient."""
        return 6 * self.weights - 2 * self.sizes[0] * self.sizes[1]

    @property
    def bytes_per_example(self) -> float:
        """Memory traffic that SGD with momentum cannot do without, by the count of 20 bytes a weight and step."""
        return BYTES_PER_WEIGHT * self.weights / BATCH


def sized(
    hidden: tuple[int, ...],
    networks: int,
    seconds: float,
    epochs: int,
    flops: float,
    bandwidth: float,
    minibatches: int = 2,
) -> Work:
    """Return work that takes a population about `seconds` at half of the machine's limits (FLOP/s and bytes/s).

    At least `epochs` epochs, as our training evaluates three times on the way, which is to weigh little; at least
    `minibatches` in each. Epochs grow beyond `epochs` only where all training images are in use.
    """
    least = Work(hidden, networks, BATCH, epochs)
    seconds_per_example = 2 * max(least.flop_per_example / flops, least.bytes_per_example / bandwidth)
    steps = seconds / (seconds_per_example * networks * BATCH)
    per_epoch = int(np.clip(round(steps / epochs), minibatches, MNIST.train_images // BATCH))
    return Work(hidden, networks, per_epoch * BATCH, max(epochs, round(steps / per_epoch)))


def composition(networks: int) -> tuple[int, tuple[str, ...], tuple[float, ...]]:
    """Return (seeds, kinds of labels, learning rates) whose product has that many networks.

    True and shuffled labels by four learning rates a seed where there are 32 networks or more, by two or one where there
    are fewer, as far as the number allows.
    """
    if networks % 8 == 0 and networks >= 32:
        return networks // 8, ("true", "shuffled"), LEARNING_RATES
    if networks % 4 == 0:
        return networks // 4, ("true", "shuffled"), LEARNING_RATES[:2]
    if networks % 2 == 0:
        return networks // 2, ("true", "shuffled"), LEARNING_RATES[:1]
    return networks, ("true",), LEARNING_RATES[:1]


class Examples(NamedTuple):
    """What peers train on: `images` uint8 [n, 784]; `labels` uint8 [2, n], the true ones and shuffled ones."""

    images: np.ndarray
    labels: np.ndarray


def examples(dataset: Dataset, count: int) -> Examples:
    """Return the first `count` training images with true and with shuffled labels."""
    true = dataset.train_labels[:count]
    return Examples(dataset.train_images[:count], np.stack([true, np.random.default_rng(0).permutation(true)]))
