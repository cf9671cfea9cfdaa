"""The files of a data set, each checked by SHA-256: from a named folder alone, or from the cache and then the sources."""

import contextlib
import gzip
import hashlib
import io
import logging
import os
import re
import secrets
import subprocess
import tarfile
import textwrap
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from memo.data.entry import Entry
from memo.errors import DataError

logger = logging.getLogger(__name__)

LARGEST_FILE = 2**30  # bytes; no source may make us hold more than this for one file
DEEP, LOOKED_AT, SHOWN = 3, 10_000, 8  # of a folder that a person names: levels, files looked at, files named
FAILURES = (DataError, OSError, ValueError, EOFError, zlib.error, tarfile.TarError, subprocess.SubprocessError)


def cache_folder() -> Path:
    """Return the folder with one subfolder per data set: $MEMO_CACHE, else the user's cache of this suite."""
    if os.environ.get("MEMO_CACHE"):
        return Path(os.environ["MEMO_CACHE"]).expanduser()
    import pooch

    return Path(pooch.os_cache("memorization-suite"))


def from_named_folder(folder: Path, entry: Entry) -> dict[str, bytes]:
    """Return the bytes of a data set's files by name from a folder, as `copies` finds them; DataError for one that is wrong or missing."""
    require(folder, entry)
    try:
        found = {file: _read(folder, file, entry) for file in entry.sha256}
    except DataError as error:
        raise DataError(f"dataset.folder: {error}; no other copy was tried.") from error
    return {file: raw for file, raw in found.items() if raw is not None}


def require(folder: Path, entry: Entry) -> None:
    """Raise DataError, which says what is there, unless a folder has a copy of every file of a data set, right or wrong."""
    if not folder.is_dir():
        raise DataError(f"dataset.folder={folder} is not a folder; no other copy was tried.")
    lacking = [file for file in entry.sha256 if next(copies(folder, file), None) is None]
    if lacking:
        there = [" ".join(path.relative_to(folder).as_posix().split()) for path in _below(folder)]
        shown = ", ".join(sorted(there)[:SHOWN]) + (f" and {len(there) - SHOWN} more" if len(there) > SHOWN else "")
        raise DataError(
            f"dataset.folder={folder} lacks {', '.join(lacking)} (raw or .gz, there or in a folder below); it holds "
            f"{shown or 'no file'}; no other copy was tried."
        )


def copies(folder: Path, file: str) -> Iterator[Path]:
    """Yield the files below a folder that are called `file`, or that as people have it: with .gz, (1), dots or underscores."""
    exact = [path for path in (folder / file, folder / f"{file}.gz") if path.is_file()]
    yield from exact
    yield from (path for path in _below(folder) if _plain(path.name) == _plain(file) and path not in exact)


def _plain(name: str) -> str:
    """Return what is left of a file's name without what programs change: train-images.idx3-ubyte (1).GZ is train-images-idx3-ubyte."""
    return re.sub(r"[._]", "-", re.sub(r"( ?\(\d+\))?(\.gz)?( ?\(\d+\))?$", "", name.lower()))


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of the folders below it, not deeper than DEEP, of the first LOOKED_AT names."""
    seen = 0
    for parent, below, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        if len(here.relative_to(folder).parts) >= DEEP:
            below.clear()
        for name in sorted(names):
            seen += 1
            if seen > LOOKED_AT:
                return
            yield here / name


def from_cache_or_sources(name: str, entry: Entry) -> dict[str, bytes]:
    """Return the bytes of a data set's files by name, and leave in the cache what was fetched; DataError where all failed."""
    files, _ = _cached(name, entry)
    if len(files) == len(entry.sha256):
        return files
    with _alone(name):
        files, refused = _cached(name, entry)  # another process may have filled it meanwhile
        for error in refused:
            logger.warning("%s; it is fetched again.", error)
        missing = [file for file in entry.sha256 if file not in files]
        return files | (_fetched(name, entry, missing) if missing else {})


def _cached(name: str, entry: Entry) -> tuple[dict[str, bytes], list[DataError]]:
    """Return the good files of the cache by name, and what is wrong with others there."""
    folder, refused = cache_folder() / name, list[DataError]()
    files = {}
    for file in entry.sha256:
        try:
            raw = _read(folder, file, entry)
        except DataError as error:
            refused.append(error)
            continue
        if raw is not None:
            files[file] = raw
    return files, refused


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Let one process fetch a data set at a time, so that many jobs do it once; where nothing can be locked, all do."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):
            downloads = cache_folder() / "downloads"
            downloads.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(downloads / f"{name}.lock"))
        yield


def _fetched(name: str, entry: Entry, missing: list[str]) -> dict[str, bytes]:
    folder, fetched = cache_folder() / name, dict[str, bytes]()
    failed = [f"cache {folder}: no good copy of {', '.join(missing)}"]
    for source in entry.sources:
        wanted = [file for file in missing if file not in fetched]
        if not wanted:
            break
        try:
            with contextlib.closing(source.fetch(wanted)) as found:
                for file, raw in found:
                    fetched[file] = verified(raw, file, entry.sha256[file], file, entry.explain, entry.most_bytes)
        except FAILURES as error:
            failed.append(f"{source.label}: {_reason(error)}")
            logger.info("%s", failed[-1])
    _fill_cache(folder, fetched)
    if len(fetched) < len(missing):
        raise DataError(
            f"{name} could not be loaded; every source failed:\n  - "
            + "\n  - ".join(failed)
            + f"\nTo put it in place by hand, copy {', '.join(entry.sha256)} (raw or .gz) into {folder}, "
            "or into a folder of your own that you name with dataset.folder=<folder>."
        )
    return fetched


def _reason(error: Exception) -> str:
    # requests wraps the one telling sentence ("Failed to resolve ...") in an error that holds it as `reason`.
    cause = getattr(error.args[0], "reason", error) if error.args else error
    return textwrap.shorten(str(cause) or type(cause).__name__, 300)


def verified(
    raw: bytes, file: str, sha256: str, where: str, explain: Callable[[str, bytes], None], most: int | None = None
) -> bytes:
    """Return the uncompressed bytes of `file` if they have this hash, else raise DataError naming `where` they came from.

    They are at most `most`; None: LARGEST_FILE.
    """
    try:
        data = _gunzipped(raw, LARGEST_FILE if most is None else most) if raw[:2] == b"\x1f\x8b" else raw
        actual = hashlib.sha256(data).hexdigest()
        if actual == sha256:
            return data
        explain(file, data)
        raise DataError(f"its SHA-256 is {actual} where {sha256} is due")
    except (DataError, zlib.error) as error:
        raise DataError(f"{where} is refused: {error}") from error


def _gunzipped(raw: bytes, most: int) -> bytes:
    """Return the content of a gzip file, which may have several members, as `cat a.gz b.gz` makes them."""
    try:
        with gzip.open(io.BytesIO(raw)) as stream:
            data = stream.read(most + 1)
    except EOFError:
        raise DataError("truncated, its gzip stream does not end") from None
    except OSError as error:
        raise DataError(f"no whole gzip file: {error}") from error
    if len(data) > most:
        raise DataError(f"its gzip stream does not end within {most} bytes of content")
    return data


def _read(folder: Path, file: str, entry: Entry) -> bytes | None:
    """The bytes of `file` in a folder, None if there is no copy of it; DataError names one that is wrong where none is right."""
    refused = None
    for path in copies(folder, file):
        try:
            return verified(path.read_bytes(), file, entry.sha256[file], str(path), entry.explain, entry.most_bytes)
        except DataError as error:
            refused = refused or error
        except OSError as error:
            refused = refused or DataError(f"{path} is refused: {error.strerror}")
    if refused is not None:
        raise refused
    return None


def _fill_cache(folder: Path, files: dict[str, bytes]) -> None:
    try:
        for file, data in files.items():
            write(folder / file, data)
    except OSError as error:
        logger.warning("The cache %s cannot be written (%s); the data is used from memory.", folder, error)


def write(path: Path, data: bytes) -> None:
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
