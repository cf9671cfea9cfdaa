"""A file that says how far a long command has come, for whoever looks at a folder rather than at the terminal that fills it.

requests ──> progress.json: networks wanted and stored, and how long the rest takes at most; removed when nothing is left
"""

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from memo.storage import run_folders
from memo.storage.progress_bar import total_cost
from memo.storage.sweep import Request
from memo.training.population import plan

NAME = "progress.json"
# Seconds between two writings of the file, and those of the recent past from which the speed is read.
EVERY, RECENT = 30.0, 600.0


class ProgressFile:
    """The file `progress.json` in the folder of a command that trains several requests one after the other."""

    def __init__(self, folder: Path, requests: Sequence[Request]):
        self._file, self._requests = folder / NAME, requests
        self._left = [total_cost(plan([trial for trial, _ in request.lacking().values()])) for request in requests]
        self._taken = 0.0
        self._seen: deque[tuple[float, float]] = deque()
        self._written = float("-inf")

    def of(self, place: int) -> Callable[[float, float], None]:
        """Return what takes the cost of one request that remains and that of the steps taken, and writes the file."""

        def note(left: float, taken: float) -> None:
            self._left[place] = left
            self._taken += taken
            now = time.monotonic()
            self._seen.append((now, self._taken))
            while now - self._seen[0][0] > RECENT:
                self._seen.popleft()
            if now - self._written >= EVERY:
                self._written = now
                self.write()

        return note

    def write(self) -> None:
        """Write the file whole, or not at all."""
        with run_folders.replacing(self._file, synced=False) as path:
            path.write_text(json.dumps(self.state(), indent=2) + "\n", encoding="utf-8")

    def state(self) -> dict[str, Any]:
        """Return what the file says; `hours_left_at_most` is null before two reports of this command."""
        wanted = {trial.id for request in self._requests for trial in request.trials}
        lacking = set().union(*(request.lacking() for request in self._requests))
        return {
            "networks": len(wanted),
            "stored": len(wanted - lacking),
            "hours_left_at_most": self._hours_left(),
            "written": datetime.now().astimezone().isoformat(timespec="seconds"),
        }

    def _hours_left(self) -> float | None:
        (began, before), (now, taken) = self._seen[0], self._seen[-1]
        speed = (taken - before) / (now - began) if now > began else 0.0
        return round(sum(self._left) / speed / 3600, 2) if speed > 0 else None

    def remove(self) -> None:
        """Remove the file: all is stored."""
        self._file.unlink(missing_ok=True)
        run_folders.clear_strays(self._file.parent, f".{NAME}.*")
