"""What whole commands (commands.yaml) cost, from the shell to the report: each a process of its own.

Results go to an empty folder. The programs that XLA compiles lie in a cache that is empty for each reading, or warm: shared,
and filled by a run before.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from experiments.benchmark.interleaving import Contestant, LeftOut, Reading, interleave, timed
from experiments.benchmark.journal import ROOT, Journal
from experiments.benchmark.settings import Sizes, data
from memo.errors import Refusal
from memo.reporting import report
from memo.storage import run_folders

SETTING, UNIT = "whole commands", "jobs"


class Command(NamedTuple):
    """An entry of commands.yaml."""

    group: str
    name: str
    words: str
    cache: str = "empty"
    jobs: int = 1
    commit: str = ""
    earlier: str = ""
    shorter: str = ""


def listed(sizes: Sizes) -> list[Command]:
    """Return the commands that are timed."""
    return [command for each in data("commands") if (command := Command(**each)).group in sizes.commands]


def measure(journal: Journal, sizes: Sizes, dataset: str | None) -> None:
    """Time the commands that the journal lacks, those with a warm cache after a warm-up each."""
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("empty", "warm"):
            taking_part = [
                Contestant(each.name, UNIT, partial(_start, each, Path(folder), dataset))
                for each in listed(sizes)
                if each.cache == cache
            ]
            interleave(journal, SETTING, taking_part, sizes.repetitions, warm_up=cache == "warm")


def _start(command: Command, folder: Path, dataset: str | None) -> Callable[[], Reading]:
    code = _checkout(command.commit, folder) if command.commit else ROOT
    return lambda: take(command, code, folder, dataset)


def _checkout(commit: str, folder: Path) -> Path:
    """Return a folder with the code of a commit; LeftOut where this is no clone that has it."""
    git = ["git", "-C", str(ROOT), "archive", commit, "memo", "experiments", "hydra_plugins", "conf"]
    done = subprocess.run(git, capture_output=True)
    if done.returncode:
        raise LeftOut(f"needs a clone of the repository with commit {commit}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder / commit, filter="data")
    return folder / commit


def take(command: Command, code: Path, folder: Path, dataset: str | None = None) -> Reading:
    """Run a command with its results in a new folder below `folder`; return its seconds, and those of its parts."""
    words = [sys.executable, "-m", *command.words.split(), *([f"dataset.folder={dataset}"] if dataset else [])]
    with tempfile.TemporaryDirectory(dir=folder) as own:
        programs = folder / "programs" if command.cache == "warm" else Path(own) / "programs"
        # The second is as the suite's commands set it.
        cache = {"JAX_COMPILATION_CACHE_DIR": str(programs), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}

        def run() -> None:
            environment = os.environ | {"PYTHONPATH": str(code)} | cache
            done = subprocess.run(words, cwd=own, env=environment, capture_output=True, text=True)
            if done.returncode:
                said = (done.stderr.strip() or done.stdout.strip() or str(done.returncode)).splitlines()
                raise Refusal(f"The command {command.name} failed: {said[-1]}")

        return Reading(timed(run), command.jobs, note=breakdown(Path(own)))


def breakdown(folder: Path) -> dict[str, float]:
    """Return the seconds of a command's parts by their names, as it has stored them: the one place where they are read.

    Of the training sessions, every `<part>_seconds` of provenance.json; of the report, how long it was drawn.
    """
    parts: dict[str, float] = {}
    for session in report.apart(run_folders.provenance(folder)):
        for key, value in session.items():
            if key.endswith("_seconds"):
                parts[key] = round(parts.get(key, 0.0) + value, 3)
    for path in folder.rglob(report.STORED):
        drawn = json.loads(path.read_text(encoding="utf-8")).get("drawn")  # an earlier commit does not say
        parts |= {"drawing_seconds": drawn["seconds"]} if drawn else {}
    return parts
