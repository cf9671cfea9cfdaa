"""IDX, the format of MNIST's files."""

import math
from collections.abc import Mapping

import numpy as np

from memo.errors import DataError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def parse_idx(data: bytes, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes: a read-only uint8 view of `data` with that many dimensions.

    Raises DataError unless the magic number, the dimensions and the length agree.
    """
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise DataError(f"truncated, {len(data)} bytes are less than an IDX header of {start}")
    magic = bytes((0, 0, 8, dimensions))  # 8 = unsigned byte
    if data[:4] != magic:
        raise DataError(f"not IDX, it starts with {data[:4].hex()} where {magic.hex()} is due")
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4))
    if 0 in shape:
        raise DataError(f"empty, its header announces dimensions {shape}")
    due = start + math.prod(shape)
    if len(data) != due:
        raise DataError(f"{'truncated' if len(data) < due else 'too long'}, {len(data)} bytes where {due} are due")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_idx(files: Mapping[str, bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images [N, pixels] and labels [N], test images and labels, of the four files in FILES."""
    train, train_labels, test, test_labels = (parse_idx(files[file], _dimensions(file)) for file in FILES)
    return train.reshape(len(train), -1), train_labels, test.reshape(len(test), -1), test_labels


def explain_idx(file: str, data: bytes) -> None:
    """Raise DataError where a file of FILES is no IDX file of its dimensions; it says more than a wrong hash does."""
    if file in FILES:
        parse_idx(data, _dimensions(file))


def _dimensions(file: str) -> int:
    """Return the number of dimensions that the name of an IDX file ends with, such as -idx3-ubyte."""
    return int(file.split("-idx")[1][0])
