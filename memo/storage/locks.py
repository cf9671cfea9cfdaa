"""Locks between processes: a file for one writer, and each network for the one process that trains it."""

import fcntl
import hashlib
import itertools
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from memo.errors import Refusal

logger = logging.getLogger(__name__)

FILE = ".training.lock"


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a file for this process, after waiting for any other; Refusal where the file system has no locks."""
    lock = FileLock(path, thread_local=False)
    with lockable(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def folder(path: Path) -> Iterator[bool]:
    """Hold a folder for this process, after waiting for any other, and leave no file; yield False where that cannot be."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            held = True
        except OSError:  # NFS locks no folders
            held = False
        yield held
    finally:
        os.close(descriptor)


@contextmanager
def lockable(path: Path) -> Iterator[None]:
    """Raise Refusal where a file cannot be locked in the block."""
    try:
        yield
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refusal(f"{path} cannot be locked ({reason}); write to a file system with locks.") from error


@contextmanager
def training(networks: Mapping[Path, Iterable[int]]) -> Iterator[None]:
    """Hold networks, seeds by run folder, for this process, after waiting for others that train any of them.

    In a file beside the run folders each network has a byte of its own, which depends on nothing but its folder and seed:
    all commands lock the same one, whatever else they train. The operating system frees what a killed process held.
    Threads of a process do not exclude each other.
    """
    ranges: dict[Path, set[tuple[int, int]]] = {}
    for run, seeds in networks.items():
        run = Path(os.path.realpath(run))
        folder = run.parent if os.access(run.parent, os.W_OK) else run
        first = int.from_bytes(hashlib.sha256(run.name.encode()).digest()[:4]) << 31  # seeds are below 2**31
        ranges.setdefault(folder / FILE, set()).update((first + start, count) for start, count in _stretches(seeds))
    with ExitStack() as held:
        for path in sorted(ranges):  # in one order, so that no two processes wait for each other
            held.enter_context(_bytes_of(path, sorted(ranges[path])))
        yield


def _stretches(seeds: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield each stretch of consecutive numbers as its first one and its length."""
    for _, stretch in itertools.groupby(enumerate(sorted(set(seeds))), lambda pair: pair[1] - pair[0]):
        found = [seed for _, seed in stretch]
        yield found[0], len(found)


@contextmanager
def _bytes_of(path: Path, ranges: Collection[tuple[int, int]]) -> Iterator[None]:
    with lockable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, ranges)
    try:
        yield
    finally:
        with suppress(OSError):  # others hold some of it, or have removed it
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        os.close(descriptor)


def _locked(path: Path, ranges: Collection[tuple[int, int]]) -> int:
    """Return the descriptor of a file of which these ranges are locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            for start, count in ranges:
                try:
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count, start)
                except (BlockingIOError, PermissionError):
                    logger.info("Another command trains some of these networks; waiting for it.")
                    fcntl.lockf(descriptor, fcntl.LOCK_EX, count, start)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):  # else its last holder has removed it meanwhile
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
