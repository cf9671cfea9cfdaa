"""Where a benchmark was measured: versions, device, processor, threads, and the code's own fingerprint."""

import hashlib
import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from experiments.benchmark import contestants
from memo.storage.provenance import git_state, processor

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("jax", "jaxlib", "optax", "numpy", "torch", "hydra-core")
# What shows results and cannot change a reading: redrawing must not ask for a new measurement.
SHOWING = {
    *("claims.py", "comparisons.py", "curves.py", "figures.py", "plots.py", "report.py", "statistics.py"),
    *("__main__.py", "drawings.py", "goals.py", "page.py", "results.py"),
}


def fingerprint() -> dict[str, Any]:
    """Return what readings must have in common to be compared: another version, device or code measures anew."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "device": {
            "platform": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "torch_threads": _torch_threads(),
        },
        "flags": {name: os.environ[name] for name in ("XLA_FLAGS", "OMP_NUM_THREADS") if name in os.environ},
        "code": _code(),
    }


def origin() -> dict[str, Any]:
    """Return when measuring began, how many processes ran in the minute before, and from which commit.

    `changed` says whether the code differs from the commit; None outside git.
    """
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"started": datetime.now(UTC).isoformat(timespec="seconds"), "load": load, "git": git_state()}


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _torch_threads():
    if not contestants.has_torch():
        return None
    from experiments.benchmark.peers_torch import DEFAULT_THREADS

    return DEFAULT_THREADS


def _code():
    """Return a hash of every module that a reading may depend on, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for folder in ("memo", "experiments/benchmark", "hydra_plugins"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name not in SHOWING:
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
