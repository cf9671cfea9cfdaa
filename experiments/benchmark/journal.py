"""Finished readings as JSON lines, one written at a time: an interrupted benchmark goes on where it stopped.

line 1   the environment that everything below was measured in
after    what was asked for, a setting's work, a reading (setting, contestant, repetition, seconds, amount, unit), or why
         a contestant has none
"""

import hashlib
import json
import logging
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import jax

from memo.errors import Refusal
from memo.storage.provenance import git_state, processor

logger = logging.getLogger(__name__)

FILE, EARLIER = "measurements.jsonl", "measurements.earlier.jsonl"
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jax", "jaxlib", "optax", "numpy", "torch", "hydra-core")
# What only shows and judges readings: redrawing must not ask for new ones.
SHOWING = tuple(
    f"experiments/benchmark/{name}"
    for name in ("analysis.py", "tables.py", "drawings.py", "goals.yaml", "text/benchmark.j2")
)
# What a whole command reads beside its modules: configurations, claims, the texts and templates of reports.
READ = (".py", ".yaml", ".j2", ".html", ".md", ".css", ".js")

Record = dict[str, Any]


class Journal:
    """The readings of one environment in a folder."""

    def __init__(self, folder: Path, environment: Record | None = None, origin: Record | None = None):
        """Open the journal of a folder to be continued in an environment, or to be read only where that is None.

        One of another environment is set aside, and the log says so. `origin` is what a new journal says about itself and
        readings may differ in. Raises Refusal where there is nothing to read.
        """
        self.path, self.records = folder / FILE, []
        found = self._stored()
        if environment is None and not found:
            raise Refusal(f"{folder} holds no {FILE} to draw from.")
        known = found[0]["environment"] if found else {}
        # As it comes back from the file.
        self.environment = known if environment is None else json.loads(json.dumps(environment))
        if found and known == self.environment:
            self.origin, self.records = found[0]["origin"], found[1:]
            return
        if found:
            os.replace(self.path, folder / EARLIER)
            changed = ", ".join(name for name, value in self.environment.items() if known.get(name) != value)
            words = "%s was measured in another environment (%s): starting anew; the earlier readings are in %s."
            logger.warning(words, self.path, changed, EARLIER)
        folder.mkdir(parents=True, exist_ok=True)
        self.origin = origin or {}
        self._append({"environment": self.environment, "origin": self.origin})

    def add(self, **record: Any) -> None:
        """Write one record to the disk."""
        self._append(record)
        self.records.append(record)

    def find(self, **wanted: Any) -> list[Record]:
        """Return the records with these values, in the order of their writing."""
        return [record for record in self.records if all(record.get(key) == value for key, value in wanted.items())]

    def last(self, key: str, **wanted: Any) -> Any:
        """Return what the last of the records with these values has under a key, or None."""
        return next((record[key] for record in reversed(self.find(**wanted)) if key in record), None)

    def readings(self, setting: str, contestant: str) -> dict[int, Record]:
        """Return the readings of a contestant by repetition, the warm-up (0) left out."""
        return {
            one["repetition"]: one for one in self.find(setting=setting, contestant=contestant) if one.get("repetition")
        }

    def _append(self, record: Record) -> None:
        # One short line, forced to the disk: an interruption can only tear the last one, and `_stored` drops that.
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _stored(self) -> list[Record]:
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) if self.path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if whole != lines:  # or the next line would be glued to the torn one
            self.path.write_text("".join(whole), encoding="utf-8")
        return [json.loads(line) for line in whole]


def fingerprint() -> Record:
    """Return what readings must have in common to be compared: another version, device or code measures anew."""
    installed = {
        name: next((found.version for found in distributions(name=name)), "not installed") for name in PACKAGES
    }
    told = Path("/proc/cpuinfo")
    flags = told.read_text().split() if told.exists() else []
    return {
        "versions": {"python": platform.python_version()} | installed,
        "device": {
            "platform": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "processor": processor(),
            "vectors": "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "",
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "flags": {name: os.environ[name] for name in ("XLA_FLAGS", "OMP_NUM_THREADS") if name in os.environ},
        "code": code(ROOT),
    }


def code(root: Path) -> str:
    """Return a digest of every file of the code below a folder that a reading may depend on."""
    digest = hashlib.sha256()
    folders = ("memo", "experiments", "hydra_plugins", "conf")
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*") if path.suffix in READ):
        if (name := path.relative_to(root).as_posix()) not in SHOWING:
            digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def origin() -> Record:
    """Return when measuring began, how many processes ran in the minute before, and from which commit."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"started": datetime.now(UTC).isoformat(timespec="seconds"), "load": load, "git": git_state()}
