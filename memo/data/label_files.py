"""A person's own labels of a data set's training images, read from a CSV or NumPy file.

    index,label rows, or one label for each image in the files' order ──> checked, kept in the cache under the hash of its content

A recipe names the hash, so that its networks are found again wherever the file has gone.
"""

import csv
import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from memo.data import datasets
from memo.data.entry import MOST_CLASSES
from memo.data.files import cache_folder
from memo.errors import Refusal

UNLABELLED = MOST_CLASSES  # no class: of an image that the file does not list: it keeps the data set's label
_HASH = re.compile(r"[0-9a-f]{16}")


def keep(file: str, dataset: str) -> str:
    """Return the hash of the labels in a file for a data set's training images, which are kept under it; a hash is returned as it is.

    A CSV file (with a heading or without) or an .npy array of whole numbers: rows of an index into the training files, from 0, and
    a label, or a single label for each image in their order.

    Raises:
        Refusal: a file that cannot be read, of the wrong length, an index or a label out of range, an index that stands twice.
    """
    if _HASH.fullmatch(file):
        return file
    path = Path(file).expanduser()
    try:
        state = path.stat()
    except OSError as error:
        raise Refusal(f"labels.file is {file}; it cannot be read ({error.strerror}).") from error
    return _kept(path, dataset, state.st_mtime_ns, state.st_size)


def load(name: str, labels: np.ndarray) -> np.ndarray:
    """Return a data set's training labels [N] uint8 with those kept under a hash in place of them; Refusal where none are."""
    path = _place(name)
    try:
        own = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Refusal(
            f"labels.file is {name}; {path.parent} has no labels of that hash: name the file itself."
        ) from error
    return np.where(own == UNLABELLED, labels, own)


def _place(name: str) -> Path:
    return cache_folder() / "labels" / f"{name}.npy"


@lru_cache(maxsize=16)
def _kept(path: Path, dataset: str, *_state: int) -> str:
    labels = _read(path, dataset)
    name = hashlib.sha256(dataset.encode() + labels.tobytes()).hexdigest()[:16]
    place = _place(name)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        written = place.with_suffix(f".{secrets.token_hex(4)}.npy")
        np.save(written, labels)
        os.replace(written, place)
    return name


def _read(path: Path, dataset: str) -> np.ndarray:
    """Return the labels [N] uint8 in a file, UNLABELLED where it has none."""
    shape = datasets.shape(dataset)
    rows = _numbers(path)
    if rows.shape[1] == 1:
        if len(rows) != shape.train_images:
            raise Refusal(
                f"labels.file is {path}; it has {len(rows)} labels without an index, and {dataset} has {shape.train_images} training images."
            )
        rows = np.concatenate([np.arange(len(rows))[:, None], rows], axis=1)
    indices, labels = rows.T
    _require(indices, shape.train_images, "index", f"{dataset}'s training images", path)
    _require(labels, shape.classes, "label", f"{dataset}'s classes", path)
    found, counts = np.unique(indices, return_counts=True)
    if (counts > 1).any():
        raise Refusal(f"labels.file is {path}; the index {found[counts > 1][0]} stands twice.")
    own = np.full(shape.train_images, UNLABELLED, np.uint8)
    own[indices] = labels
    return own


def _require(values: np.ndarray, count: int, what: str, of: str, path: Path) -> None:
    wrong = values[(values < 0) | (values >= count)]
    if len(wrong):
        raise Refusal(f"labels.file is {path}; it has the {what} {wrong[0]}, and {of} are 0 to {count - 1}.")


def _numbers(path: Path) -> np.ndarray:
    """Return the whole numbers in a file, [rows, 1 or 2] int64."""
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
            whole = values.dtype.kind in "iu" and values.ndim in (1, 2)
            rows = values.astype(np.int64).reshape(len(values), -1) if whole else np.empty((0, 0), np.int64)
        else:
            with path.open(newline="", encoding="utf-8-sig") as lines:
                rows = _of_lines([line for line in csv.reader(lines) if line])
    except (OSError, ValueError, csv.Error) as error:
        raise Refusal(f"labels.file is {path}; it cannot be read as whole numbers ({error}).") from error
    if not len(rows) or rows.shape[1] not in (1, 2):
        raise Refusal(
            f"labels.file is {path}; allowed are rows of an index and a label, or of a label alone, whole numbers."
        )
    return rows


def _of_lines(lines: Sequence[Sequence[str]]) -> np.ndarray:
    heading = bool(lines) and not any(cell.strip().lstrip("-").isdigit() for cell in lines[0])
    return np.array([[int(cell) for cell in line] for line in lines[heading:]], np.int64)
