"""Images as bytes at other sizes: averaged down, and cut to their centre."""

import math

import numpy as np


def area_average(images: np.ndarray, side: int, channels: int = 1) -> np.ndarray:
    """Return images [N, channels * pixels] uint8, square, as [N, channels * side * side] uint8.

    Each pixel is the mean of the area that it covers, where a pixel covered in part counts by that part. The mean is exact
    and rounded to the nearest byte (halves up), so that the bytes are the same on every machine.
    """
    whole = math.isqrt(images.shape[1] // channels)
    at, of = np.arange(side)[:, None], np.arange(whole)[None]
    # In units of 1 / side of a pixel all overlaps are whole numbers, and float32 holds every sum of them.
    overlap = np.minimum((at + 1) * whole, (of + 1) * side) - np.maximum(at * whole, of * side)
    weights = np.maximum(overlap, 0).astype(np.float32)
    area = whole**2
    parts = []
    for start in range(0, len(images), 5000):  # 16 MB of float32 at a time, of 28 x 28 pixels
        block = images[start : start + 5000].reshape(-1, whole, whole).astype(np.float32)
        total = np.matmul(np.matmul(weights, block), weights.T).astype(np.int32)
        parts.append(((2 * total + area) // (2 * area)).astype(np.uint8).reshape(-1, channels * side**2))
    return np.concatenate(parts)


def centre_crop(images: np.ndarray, side: int, channels: int = 1) -> np.ndarray:
    """Return the middle [N, channels * side * side] of square images [N, channels * pixels].

    Where an odd number of rows is cut off, one more goes at the bottom (and at the right) than at the top.
    """
    whole = math.isqrt(images.shape[1] // channels)
    start = (whole - side) // 2
    middle = images.reshape(-1, channels, whole, whole)[:, :, start : start + side, start : start + side]
    return middle.reshape(len(images), -1)
