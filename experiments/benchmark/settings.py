"""What is compared: the sizes that a configuration asks for, and the populations (settings) that they make."""

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
LEARNING_RATES = (0.005, 0.01, 0.0025, 0.02)  # none of the benchmark's networks diverges with them


class Work(NamedTuple):
    """A population of MLPs with `hidden` widths, each trained by SGD with momentum on `images` for `epochs`."""

    hidden: tuple[int, ...]
    networks: int
    images: int
    epochs: int
    learning_rates: tuple[float, ...] = LEARNING_RATES  # peers train with the first

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
        """Memory traffic per training example that cannot be avoided: 20 bytes per weight and step.

        Each weight is read in the forward and in the backward pass and written, its momentum read and written.
        """
        return 5 * 4 * self.weights / BATCH

    def fitting(self, epochs: float) -> int:
        """Return how many networks, of those of the population, train within the time of so many epochs of one."""
        return int(np.clip(round(epochs / self.epochs), 1, self.networks))


class Setting(NamedTuple):
    """A population in which contestants meet."""

    part: str
    work: Work

    @property
    def name(self) -> str:
        """Its name in the journal, which holds all that its readings depend on."""
        sizes = "-".join(map(str, self.work.sizes))
        return f"{self.part}: {sizes} × {self.work.networks}, {self.work.images} images, {self.work.epochs} epochs"


class Examples(NamedTuple):
    """What peers train on: `images` uint8 [n, 784]; `labels` uint8 [2, n], the true ones and shuffled ones."""

    images: np.ndarray
    labels: np.ndarray


def examples(dataset: Dataset, count: int) -> Examples:
    """Return the first `count` training images with true and with shuffled labels."""
    true = dataset.train_labels[:count]
    return Examples(dataset.train_images[:count], np.stack([true, np.random.default_rng(0).permutation(true)]))


def data(name: str) -> list[dict[str, Any]]:
    """Return the entries of one of the YAML files beside this module."""
    return yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))


def _key(allowed: str, check: Callable[[Any], object]) -> Any:
    return field(metadata={"allowed": allowed, "check": check})


def _count(low: int = 1) -> Any:
    return _key(f"a whole number from {low}", lambda value: type(value) is int and value >= low)


def _amount() -> Any:
    return _key("a number above 0", lambda value: type(value) in (int, float) and 0 < value < 1e6)


def _whole(*values: Any) -> bool:
    return all(type(value) is int and value >= 1 for value in values)


GROUPS = list(dict.fromkeys(each["group"] for each in data("commands")))


@dataclass(frozen=True)
class Sizes:
    """What is compared, how often, and for how long: the keys of `experiment.settings`."""

    widths: list = _key(
        "a list of [width, networks], each a whole number from 1",
        lambda value: value and all(_whole(width, networks) for width, networks in value),
    )
    growth: list = _key(
        "a list of [width, [numbers of networks in ascending order]]",
        lambda value: all(_whole(width, *counts) and counts == sorted(set(counts)) for width, counts in value),
    )
    repetitions: int = _count()
    gflop: float = _amount()  # 10^9 operations of a reading, about
    growth_gflop: float = _amount()  # likewise, where networks grow in number
    epochs: int = _count()  # our three evaluations are to weigh little
    seconds: float = _amount()  # of a reading of a loop, about
    limit_sides: list = _key("a list of sides of square matrices", lambda value: value and _whole(*value))
    copy_megabytes: int = _count()
    published_networks: int = _count(0)
    commands: list = _key(f"a list of {', '.join(GROUPS)}", lambda value: {*value} <= {*GROUPS})
    command_repetitions: int = _count()
    redraw: bool = _key("true or false", lambda value: type(value) is bool)  # true: only the report is written again


def read(values: Mapping[str, Any]) -> Sizes:
    """Return checked sizes from the keys below KEYS; Refusal for an unknown or missing key or a value out of range."""
    known = {key.name for key in fields(Sizes)}
    if values.keys() < known:
        raise Refusal(f"{KEYS} lacks {', '.join(sorted(known - values.keys()))}.")
    sizes = config.typed(Sizes, values, KEYS)
    config.check(sizes, f"{KEYS}.")
    return sizes


def listed(sizes: Sizes) -> list[Setting]:
    """Return all settings in the order of their measuring, growth with ever more networks of one width after another."""
    found = [Setting(COMPARISON, _sized(width, count, sizes.epochs, sizes.gflop)) for width, count in sizes.widths]
    if sizes.published_networks:
        # The recipe of published.yaml, on the 70 % of the training images of one of its workloads.
        found.append(Setting(PUBLISHED, Work((512, 256), sizes.published_networks, 42_000, 10, (0.1,))))
    grown = [(width, count) for width, counts in sizes.growth for count in counts]
    return found + [Setting(GROWTH, _sized(*each, sizes.epochs, sizes.growth_gflop)) for each in grown]


def _sized(width: int, networks: int, epochs: int, gflop: float) -> Work:
    """Return work of about so many operations: as many images as they allow, and more epochs where all are in use."""
    least = Work((width, width), networks, BATCH, epochs)
    steps = gflop * 1e9 / (least.flop_per_example * networks * BATCH)
    minibatches = int(np.clip(round(steps / epochs), 1, MNIST.train_images // BATCH))
    return Work(least.hidden, networks, minibatches * BATCH, max(epochs, round(steps / minibatches)))
