"""Finished readings as JSON lines, one written at a time: an interrupted benchmark goes on where it stopped.

line 1   the environment that everything below was measured in
after    a reading (setting, contestant, repetition, seconds, amount, unit), or why a contestant has none
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

from memo.errors import Refusal

logger = logging.getLogger(__name__)

FILE, EARLIER = "measurements.jsonl", "measurements.earlier.jsonl"
WARM_UP = 0  # the repetition that no statistic counts


class Journal:
    """The readings of one environment in a folder."""

    def __init__(self, folder: Path, environment: dict[str, Any], origin: dict[str, Any]):
        """Open the journal of a folder; one of another environment is set aside, and the log says so.

        `origin` is what a new journal says about itself and readings may differ in.
        """
        self.path = folder / FILE
        environment = json.loads(json.dumps(environment))  # as it comes back from the file
        self.environment = environment
        found = _read(self.path)
        self.records: list[dict[str, Any]] = found[1:]
        self.origin = found[0].get("origin", {}) if found else origin
        if found and found[0].get("environment") == environment:
            return
        self.records, self.origin = [], origin
        if found:
            changed = ", ".join(_differences(found[0].get("environment", {}), environment))
            os.replace(self.path, folder / EARLIER)
            logger.warning(
                "%s was measured in another environment (%s): starting anew; the earlier readings are in %s.",
                self.path,
                changed,
                EARLIER,
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._append({"environment": environment, "origin": origin}, "w")

    def add(self, **record: Any) -> None:
        """Write one record to the disk."""
        self._append(record, "a")
        self.records.append(record)

    def _append(self, record, mode):
        # One short line, forced to the disk: an interruption can only tear the last one, and `_read` drops that.
        try:
            with self.path.open(mode, encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise Refusal(f"{self.path} cannot be written: {error.strerror}.") from error

    def find(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the records with these values, in the order of their writing."""
        return [record for record in self.records if wanted.items() <= _scalars(record)]

    def failure(self, setting: str, contestant: str) -> str | None:
        """Return why a contestant has no readings in a setting, or None."""
        return next(
            (r["failure"] for r in self.find(setting=setting, contestant=contestant) if "failure" in r),
            None,
        )

    def has(self, setting: str, contestant: str, repetition: int) -> bool:
        """Return whether that reading is stored."""
        return bool(self.find(setting=setting, contestant=contestant, repetition=repetition))


def stored(folder: Path) -> Journal:
    """Return the journal of a folder in whatever environment it was written; Refusal where there is none."""
    found = _read(folder / FILE)
    if not found or "environment" not in found[0]:
        raise Refusal(f"{folder} holds no {FILE} to draw from.")
    return Journal(folder, found[0]["environment"], {})


def _scalars(record):
    return {(name, value) for name, value in record.items() if not isinstance(value, (list, dict))}


def _read(path):
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            _mend(path, records)
            break
    return records


def _mend(path, records):
    """Drop a torn last line, or the next one would be glued to it."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _differences(old, new, prefix=""):
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            yield f"{prefix}{name} {before} → {after}"
