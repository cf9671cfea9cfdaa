"""Provenance of results: versions, device, processor, state of the repository."""

import contextlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from memo.config import PROTOCOL
from memo.data.datasets import Dataset
from memo.training import machine
from memo.training.population import Layout

PACKAGES = ("jax", "jaxlib", "optax", "orbax-checkpoint", "numpy", "pandas", "pyarrow", "scipy", "hydra-core", "numba")


def session(dataset: Dataset, seconds: Mapping[str, float], networks: int, layout: Layout) -> dict[str, Any]:
    """Return the provenance of a training session, for provenance.json."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "networks": networks,
        "layout": layout._asdict(),
        **{f"{name}_seconds": round(value, 3) for name, value in seconds.items()},
        "versions": {"python": platform.python_version()} | _versions(),
        "device": {
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "workers": len(machine.worker_devices()),
            "processor": processor(),
        },
        "git": git_state(),
        "data": {dataset.name: dataset.sha256},
        "protocol": PROTOCOL,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # numba is an extra
            found[name] = importlib.metadata.version(name)
    return found


def drawing(seconds: float) -> dict[str, Any]:
    """Return the machine and time at which a report was drawn from its tables, which took `seconds`, for report.json."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "processor": processor(),
        "git": git_state(),
    }


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def git_state() -> dict | None:
    """Return the commit of this code and whether it was changed, or None where no repository tracks it."""
    here = Path(__file__).resolve()
    # A caller's GIT_DIR names another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def ask(*words: str) -> str:
        command = ["git", "-C", str(here.parent), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, env=environment)
        return done.stdout.strip()

    try:
        ask(
            "ls-files", "--error-unmatch", here.name
        )  # installed somewhere inside another repository, it is not tracked
        # The code only: what commands write below results/ does not count as a change.
        changed = ask("status", "--porcelain", "--", ":/", ":(top,exclude)results")
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None
