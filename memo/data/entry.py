"""The definition of a data set: its shape, the hashes of its files, their sources, and how they are read."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from memo.data.idx import explain_idx, read_idx

MOST_CLASSES = 255  # labels and answers are bytes, of which 255 stands for an image without one


@dataclass(frozen=True)
class Shape:
    """How many images a data set has, how large they are, and in how many classes; ValueError for too many of these."""

    train_images: int
    test_images: int
    side: int  # in pixels; images are square
    channels: int
    classes: int

    def __post_init__(self) -> None:
        if self.classes > MOST_CLASSES:
            raise ValueError(f"A data set has at most {MOST_CLASSES} classes, not {self.classes}.")

    @property
    def pixels(self) -> int:
        """The numbers that an image consists of."""
        return self.channels * self.side**2


Files = Generator[tuple[str, bytes], None, None]


@dataclass(frozen=True)
class Source:
    """A place to look: the generator `fetch(files)` yields (file, its raw or gzipped bytes), unchecked."""

    label: str
    fetch: Callable[[Sequence[str]], Files]


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Entry:
    """The definition of a data set: the SHA-256 of its uncompressed files by name, their sources, how to read them.

    `read(files)` takes their bytes by name and returns uint8 arrays: training images [N, pixels] and labels [N], test images
    and labels. Channels follow each other whole (all red pixels, all green ones, ...). `explain(file, data)` raises a
    DataError where it can say more of a file than that its hash is wrong.
    """

    sha256: Mapping[str, str]
    sources: tuple[Source, ...]
    shape: Shape
    read: Callable[[Mapping[str, bytes]], Arrays] = read_idx
    explain: Callable[[str, bytes], None] = explain_idx

    @property
    def most_bytes(self) -> int:
        """The bytes that a file may have once it is uncompressed: four for each number of all images, and a megabyte."""
        return 4 * (self.shape.pixels + 1) * (self.shape.train_images + self.shape.test_images) + 2**20
