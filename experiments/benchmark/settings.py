"""What is compared: the sizes that a configuration asks for, and the work (populations) that they make."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from memo import config
from memo.data.datasets import Dataset
from memo.data.mnist import MNIST
from memo.errors import Refusal

KEYS = "experiment.settings"
COMPARISON, GROWTH, PUBLISHED = "comparison", "growth", "published"  # parts, as they stand in the tables
BATCH, MOMENTUM = 128, 0.9
EPOCHS = 24  # at least: our three evaluations are to weigh little
LEARNING_RATES = (0.005, 0.01, 0.0025, 0.02)  # none of the benchmark's networks diverges with them

# Images uint8 [n, 784]; labels uint8 [2, n], the true ones and shuffled ones.
Examples = tuple[np.ndarray, np.ndarray]


class Work(NamedTuple):
    """A population of MLPs with `hidden` widths, each trained by SGD with momentum on `images` for `epochs`."""

    part: str
    hidden: tuple[int, ...]
    networks: int
    images: int
    epochs: int
    learning_rates: tuple[float, ...] = LEARNING_RATES  # peers train with the first

    @property
    def name(self) -> str:
        """The name of its setting in the journal, which holds all that readings depend on."""
        sizes = "-".join(map(str, self.sizes))
        return f"{self.part}: {sizes} × {self.networks}, {self.images} images, {self.epochs} epochs"

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

    def fitting(self, epochs: float) -> int:
        """Return how many networks, of those of the population, train within the time of so many epochs of one."""
        return int(np.clip(round(epochs / self.epochs), 1, self.networks))


def examples(dataset: Dataset, count: int) -> Examples:
    """Return the first `count` training images with true and with shuffled labels."""
    true = dataset.train_labels[:count]
    return dataset.train_images[:count], np.stack([true, np.random.default_rng(0).permutation(true)])


def data(name: str) -> list[dict[str, Any]]:
    """Return the entries of one of the YAML files beside this module."""
    return yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))


def _key(allowed: str, check: Callable[[Any], object]) -> Any:
    return field(metadata={"allowed": allowed, "check": check})


def _counts(*values: Any) -> bool:
    return all(type(value) is int and value >= 1 for value in values)


GROUPS = list(dict.fromkeys(each["group"] for each in data("commands")))


@dataclass(frozen=True)
class Sizes:
    """What is compared, how often, and for how long: the keys of `experiment.settings`."""

    widths: list = _key(
        "a list of [width, networks], each a whole number from 1",
        lambda value: value and all(_counts(width, networks) for width, networks in value),
    )
    growth: list = _key(
        "a list of [width, [numbers of networks in ascending order]]",
        lambda value: all(_counts(width, *counts) and counts == sorted(set(counts)) for width, counts in value),
    )
    repetitions: int = _key("a whole number from 1", _counts)
    # 10^9 operations of a reading, about; a tenth of them where networks grow in number.
    gflop: float = _key("a number above 0", lambda value: type(value) in (int, float) and 0 < value < 1e6)
    published_networks: int = _key("a whole number from 0", lambda value: value == 0 or _counts(value))
    commands: list = _key(f"a list of {', '.join(GROUPS)}", lambda value: {*value} <= {*GROUPS})
    redraw: bool = _key("true or false", lambda value: type(value) is bool)  # true: only the report is written again


def read(values: Mapping[str, Any]) -> Sizes:
    """Return checked sizes from the keys below KEYS; Refusal for an unknown or missing key or a value out of range."""
    if missing := {key.name for key in fields(Sizes)} - values.keys():
        raise Refusal(f"{KEYS} lacks {', '.join(sorted(missing))}.")
    sizes = config.typed(Sizes, values, KEYS)
    config.check(sizes, f"{KEYS}.")
    return sizes


def listed(sizes: Sizes) -> list[Work]:
    """Return all work in the order of its measuring, growth with ever more networks of one width after another."""
    found = [_sized(COMPARISON, width, count, sizes.gflop) for width, count in sizes.widths]
    if sizes.published_networks:
        # The recipe of published.yaml, on the 70 % of the training images of one of its workloads.
        found.append(Work(PUBLISHED, (512, 256), sizes.published_networks, 42_000, 10, (0.1,)))
    grown = [_sized(GROWTH, width, count, sizes.gflop / 10) for width, counts in sizes.growth for count in counts]
    return found + grown


def _sized(part: str, width: int, networks: int, gflop: float) -> Work:
    """Return work of about so many operations: as many images as they allow, and more epochs where all are in use."""
    least = Work(part, (width, width), networks, BATCH, EPOCHS)
    steps = gflop * 1e9 / (least.flop_per_example * networks * BATCH)
    minibatches = int(np.clip(round(steps / EPOCHS), 1, MNIST.train_images // BATCH))
    return least._replace(images=minibatches * BATCH, epochs=max(EPOCHS, round(steps / minibatches)))
