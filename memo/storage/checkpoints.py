"""Populations in training, on disk: an interrupted command resumes from here, with bit-identical results.

    .unfinished/<hash>/  population.json   which trials, in what layout, for which run folders
                         parts/<n>/        tables of slabs that have finished, and their digests
                         slabs/<slab>-<n>/ checkpoints of slabs in training (orbax)
    .unfinished/<hash>.lock                held by the process that trains it

A population resumes as it was planned: each trial trains beside the same others, so its results are the same, bit for
bit.
"""

import hashlib
import importlib.metadata
import io
import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from memo.config import PROTOCOL, Trial, flatten, unflatten
from memo.errors import Refusal
from memo.probes import along, at_the_end
from memo.storage import locks, run_folders
from memo.storage.tables import ArrowTables
from memo.training.population import Layout, Population, signature

logger = logging.getLogger(__name__)

FOLDER, RECORD, DIGESTS = ".unfinished", "population.json", "digests.json"
FORMAT = 5  # of the arrays of a slab in training; unfinished networks in another format train anew


def root_of(runs: Sequence[Path]) -> Path:
    """Return the folder for unfinished populations of these run folders: beside them, or inside the only one."""
    return Path(os.path.commonpath([run.absolute() for run in runs])) / FOLDER


def roots_of(runs: Iterable[Path]) -> list[Path]:
    """Return every such folder that any command may have used for any of these run folders, which exist."""
    around = {folder for run in runs for folder in (run.absolute(), *run.absolute().parents)}
    return sorted(root for folder in around if (root := folder / FOLDER).is_dir())


class Unfinished:
    """A population, its layout, its trials' run folders; keeps its checkpoints (memo.training.execution.Checkpoints)."""

    def __init__(
        self,
        root: Path,
        population: Population,
        layout: Layout,
        runs: Mapping[str, Path],
        probes: Sequence[str],
        seconds: float,
    ):
        """Describe the training, with a checkpoint every `seconds`; nothing is written before `begin`."""
        self.population, self.layout, self.probes = population, layout, list(probes)
        self.runs = {trial.id: runs[trial.id] for trial in population.trials}
        self._record = _as_record(self, root.parent)
        self.folder = root / hashlib.sha256(self._record.encode()).hexdigest()[:16]
        self._seconds = seconds
        self._access = threading.Lock()
        self._tables: dict[int, ArrowTables] = {}  # of every finished slab
        self._unwritten: list[int] = []
        self._written = time.monotonic()
        self._failed = False  # a checkpoint could not be written, and so the run ends
        self._kept: dict[int, tuple[float, int]] = {}  # slab -> when its last checkpoint was made, and its number

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the population for this process, after waiting for any other that holds it."""
        path = self.folder.with_suffix(".lock")
        lock = FileLock(path, thread_local=False)
        while not lock.is_locked:
            # Not found where the process that held it has finished and cleaned up.
            with locks.lockable(path), suppress(FileNotFoundError):
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    logger.info("Another process is training %d of these networks; waiting for it.", len(self.runs))
                    lock.acquire()
        networks: dict[Path, list[int]] = {}
        for trial in self.population.trials:
            networks.setdefault(self.runs[trial.id], []).append(trial.seed)
        try:
            with locks.training(networks):
                yield
        finally:
            if not self.folder.exists():
                path.unlink(missing_ok=True)
                with suppress(OSError):  # others may have unfinished populations here
                    self.folder.parent.rmdir()
            lock.release()

    @property
    def begun(self) -> bool:
        """Return whether its training has begun."""
        return (self.folder / RECORD).exists()

    def begin(self) -> bool:
        """Record the population, or read its finished slabs; return whether nothing had begun."""
        first = not self.begun
        if first:
            shutil.rmtree(self.folder, ignore_errors=True)  # left by a crash while it was being removed
            with run_folders.replacing(self.folder / RECORD) as path:
                path.write_text(self._record, encoding="utf-8")
        for part in self._parts():
            try:
                digests = _digests(part)
                tables = {
                    name: run_folders.read(part / f"{name}.parquet", digests=digests.get(name, ()))
                    for name in self._names
                }
            except Refusal as refusal:
                logger.warning("%s; its networks start again.", str(refusal).split(";")[0])
                continue
            slabs = tables.pop("slabs").to_pydict()
            for number in set(slabs["slab"]):
                own = pa.array([trial for trial, slab in zip(slabs["trial"], slabs["slab"]) if slab == number])
                self._tables[number] = {
                    name: table.filter(pc.is_in(table["trial"], value_set=own)) for name, table in tables.items()
                }
        return first

    @property
    def finished(self) -> set[int]:
        """Return the slabs whose tables are here."""
        return set(self._tables)

    def add(self, slab: int, tables: ArrowTables) -> None:
        """Keep the tables of a slab that has finished, and write them if the last writing is old enough.

        Otherwise they are written with those of a later slab, or at the end; until then its last checkpoint is kept.
        """
        with self._access:
            self._tables[slab] = tables
            self._unwritten.append(slab)
            if time.monotonic() - self._written >= self._seconds:
                self._write()

    def _parts(self) -> list[Path]:
        return sorted(path for path in (self.folder / "parts").glob("*") if path.name.isdigit())

    @property
    def _names(self) -> list[str]:
        return [
            "slabs",
            "trials",
            "curves",
            *at_the_end(self.probes),
            *(f"{name}_along" for name in along(self.probes)),
        ]

    def tables(self) -> ArrowTables:
        """Return the tables of all slabs in the order of the population's trials, after they have been written here."""
        with self._access:
            self._write()
            places = {trial.id: place for place, trial in enumerate(self.population.trials)}
            joined = {}
            for name in self._tables[min(self._tables)]:
                table = _join([self._tables[slab][name] for slab in sorted(self._tables)])
                of_trial = np.array([places[trial] for trial in table["trial"].to_pylist()], np.int64)
                joined[name] = table.take(np.argsort(of_trial, kind="stable"))
            return joined

    def lacking(self) -> set[str]:
        """Return its trials that the run folders do not hold."""
        held = (run_folders.finished(run, self.probes) for run in set(self.runs.values()))
        return self.runs.keys() - set().union(*held)

    def store(self, session: Mapping[str, Any]) -> None:
        """Add the tables of all slabs to the run folders, with the provenance of this session."""
        run_folders.write_runs(self.tables(), self.runs, session)

    def remove(self) -> None:
        """Delete the checkpoints; the record first, without which the rest is meaningless."""
        (self.folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        if not self._unwritten:
            return
        unwritten = [self._tables[slab] for slab in self._unwritten]
        tables = {name: _join([tables[name] for tables in unwritten]) for name in unwritten[0]}
        slab_of = [
            {"trial": trial, "slab": slab}
            for slab in self._unwritten
            for trial in self._tables[slab]["trials"]["trial"].to_pylist()
        ]
        tables["slabs"] = pa.Table.from_pylist(slab_of)
        parts = self.folder / "parts"
        number = 1 + max((int(part.name) for part in self._parts()), default=0)
        with run_folders.replacing(parts / f"{number:06}") as part:
            part.mkdir()
            for name, table in tables.items():
                pq.write_table(table, part / f"{name}.parquet", write_page_checksum=True)
            digests = {name: [run_folders.digest_of(part / f"{name}.parquet")] for name in tables}
            (part / DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
        for slab in self._unwritten:
            self._forget(slab)
        self._unwritten, self._written = [], time.monotonic()

    def restore(self, slab: int) -> dict[str, np.ndarray] | None:
        """Return the last checkpoint of a slab, or None."""
        with self._access:
            self._kept[slab] = (time.monotonic(), -1)
            if not (kept := self._checkpoints(slab)):
                return None
            try:
                with np.load(io.BytesIO(self._orbax.restore(kept[-1])["npz"].tobytes()), allow_pickle=False) as npz:
                    arrays = dict(npz)
            except Exception as error:  # of any kind: orbax and the file system meet half a file
                logger.warning("%s cannot be read (%s); these networks start again.", kept[-1], error)
                return None
            self._kept[slab] = (time.monotonic(), int(kept[-1].name.partition("-")[2]))
            return arrays

    def keep(self, slab: int, arrays: Callable[[], dict[str, np.ndarray]], now: bool = False) -> None:
        """Keep a slab in training if its last checkpoint is old enough, or `now`; raises Refusal."""
        with self._access:
            when, number = self._kept[slab]
            if self._failed or (time.monotonic() - when < self._seconds and not now):
                return
            path = self.folder / "slabs" / f"{slab:06}-{number + 1:06}"
            earlier = self._checkpoints(slab)
            try:
                # As one array: where the disk is full, no further writes are in flight that would print their failures.
                np.savez(npz := io.BytesIO(), **arrays())  # type: ignore[arg-type]  # none is called allow_pickle
                self._orbax.save(path, {"npz": np.frombuffer(npz.getbuffer(), np.uint8)}, force=True)
            except (OSError, ValueError) as error:  # a ValueError is tensorstore's
                self._failed = True
                # The operating system's message is at the end of tensorstore's.
                said = re.search(r"([^:]+) \[os_error_code", str(error))
                reason = said.group(1).strip() if said else str(error).splitlines()[0]
                raise Refusal(f"{path} cannot be written: {reason}.") from error
            for old in earlier:
                shutil.rmtree(old, ignore_errors=True)
            self._kept[slab] = (time.monotonic(), number + 1)

    @cached_property
    def _orbax(self) -> Any:
        # Takes a second to import, and only long trainings need it.
        import orbax.checkpoint

        # It logs every file, and a failed write at length, where `keep` raises one sentence.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        return orbax.checkpoint.Checkpointer(orbax.checkpoint.PyTreeCheckpointHandler())

    def _checkpoints(self, slab: int) -> list[Path]:
        return sorted(path for path in (self.folder / "slabs").glob(f"{slab:06}-*") if path.name[7:].isdigit())

    def _forget(self, slab: int) -> None:
        for path in (self.folder / "slabs").glob(f"{slab:06}-*"):
            shutil.rmtree(path, ignore_errors=True)


def _digests(part: Path) -> dict[str, list[str]]:
    """Return the SHA-256 of each table of a part; none where they were not written down (earlier versions)."""
    try:
        return {str(name): list(digests) for name, digests in json.loads((part / DIGESTS).read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Refusal(f"{part / DIGESTS} is damaged; its networks start again.") from error


def _join(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="permissive")


def find(root: Path, seconds: float, wanted: Collection[str]) -> list[Unfinished]:
    """Return unfinished populations below a root that hold `wanted` trials, also those that other processes are training.

    Those of another version are named and left out: they would not give the same numbers.
    """
    found = []
    for left, by in _recorded(root, seconds):
        if left.runs.keys().isdisjoint(wanted):
            continue
        if by:
            said = "%s was left unfinished by another version (%s); its networks train from the start. %s"
            logger.warning(said, left.folder, by, _KEPT)
        else:
            found.append(left)
    return found


def clear(root: Path, seconds: float, stored: Collection[str]) -> None:
    """Remove the populations below a root that hold some of these trials, and of which nothing is lacking any more."""
    for left, _ in _recorded(root, seconds):
        if not left.runs.keys().isdisjoint(stored) and not left.lacking():
            with left.open():
                left.remove()


_KEPT = "It is not resumed, and it is kept until you delete it."


def _recorded(root: Path, seconds: float) -> Iterator[tuple[Unfinished, str]]:
    """Yield the populations below a root, each with what another version that left it had; empty where it is this one."""
    for path in sorted(root.glob(f"*/{RECORD}")):
        others = {}
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            here, there = _made_by(), dict(record["made_by"])
            others = {name: there.get(name) for name in here | there if there.get(name) != here.get(name)}
            recipes = [unflatten(flat) for flat in record["recipes"]]
            trials = tuple(Trial(recipes[number], seed) for number, seed, _ in record["trials"])
            runs = {trial.id: root.parent / record["runs"][run] for trial, (_, _, run) in zip(trials, record["trials"])}
            population, layout = Population(signature(trials[0]), trials), Layout(*record["layout"])
            left = Unfinished(root, population, layout, runs, record["probes"], seconds)
        except FileNotFoundError:
            continue  # another process has just finished it
        except Exception as error:  # of any kind: the content of the file is not what was written
            if not others:  # else of recipes that this version has not, and nobody asks it for
                logger.warning("%s cannot be read (%s: %s). %s", path, type(error).__name__, error, _KEPT)
            continue
        left.folder = path.parent
        yield left, ", ".join(f"{name} {value}" for name, value in others.items())


def _as_record(unfinished: Unfinished, base: Path) -> str:
    recipes: dict[str, tuple[int, dict]] = {}
    runs: dict[str, int] = {}
    trials = []
    for trial in unfinished.population.trials:
        flat = flatten(trial.recipe)
        recipe = recipes.setdefault(json.dumps(flat), (len(recipes), flat))[0]
        run = runs.setdefault(os.path.relpath(unfinished.runs[trial.id].absolute(), base.absolute()), len(runs))
        trials.append([recipe, trial.seed, run])
    record = {
        "made_by": _made_by(),
        "layout": list(unfinished.layout),
        "probes": unfinished.probes,
        "recipes": [flat for _, flat in recipes.values()],
        "runs": list(runs),
        "trials": trials,
    }
    return json.dumps(record)


def _made_by() -> dict[str, Any]:
    return {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "optax", "numpy")} | {
        "protocol": PROTOCOL,
        "checkpoint": FORMAT,
    }
