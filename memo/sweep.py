"""From trials to run folders: what is missing is planned, trained, probed and stored, population by population."""

import contextlib
import importlib.metadata
import logging
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from memo import datasets, mlp, population, store
from memo.config import PROTOCOL, Trial, flatten
from memo.errors import Refusal
from memo.probes import PROBES
from memo.probes.networks import Networks
from memo.progress import Progress

logger = logging.getLogger(__name__)

PACKAGES = ("jax", "jaxlib", "optax", "numpy", "pandas", "pyarrow", "scipy", "hydra-core")


def show_plan(requests: Mapping[Path, Sequence[Trial]], probes: Sequence[str]) -> None:
    """Print the programs that `complete` would train, and train nothing."""
    missing = _missing(requests, probes)
    rows = []
    for group in population.plan([trial for trial, _ in missing.values()]):
        static, most = group.signature.static, population.cost(group)
        rows.append(
            {
                "network": "-".join(map(str, static.sizes)),
                "networks": len(group.trials),
                "parameters": mlp.count_parameters(static.sizes),
                "images": group.signature.n_train,
                "steps": static.steps,
                "TFLOP at most": round(most.flop / 1e12, 3),
                "MB": round(most.bytes / 1e6, 1),
            }
        )
    wanted = sum(len(trials) for trials in requests.values())
    stored = wanted - sum(row["networks"] for row in rows)
    print(f"{wanted} networks: {stored} stored, {wanted - stored} to train as {len(rows)} programs.")
    if rows:
        print(pd.DataFrame(rows).to_string(index=False))


def _missing(requests: Mapping[Path, Sequence[Trial]], probes: Sequence[str]) -> dict[str, tuple[Trial, Path]]:
    missing = {}
    for run, trials in requests.items():
        have = store.finished(run, list(probes))
        missing |= {trial_id: (trial, run) for trial in trials if (trial_id := trial.id) not in have}
    return missing


def complete(requests: Mapping[Path, Sequence[Trial]], probes: Sequence[str], folder: str | None = None) -> int:
    """Train the trials that their run folders lack and return how many those were.

    `requests` are the trials wanted in each run folder; `folder` is where the data set's files lie, or None. Each
    population is stored as soon as it is trained, so an interruption loses the one in flight and no other.

    Raises:
        Refusal: a run folder that cannot be written, or a data set that cannot be loaded.
    """
    for run in requests:
        store.require_writable(run)
        if (run / store.TRIALS).exists() and not (run / store.DONE).exists():
            store.finish(run)
    missing = _missing(requests, probes)
    wanted = sum(len(trials) for trials in requests.values())
    if not missing:
        logger.info("Every trial asked for (%d) is already stored; nothing to train.", wanted)
        return 0

    population.use_every_core()
    _keep_compiled_programs()
    runs = {trial_id: run for trial_id, (_, run) in missing.items()}
    populations = population.plan([trial for trial, _ in missing.values()])
    data = {name: datasets.load(name, folder) for name in {group.signature.dataset for group in populations}}
    with Progress(populations, stored=wanted - len(missing)) as progress:
        for group in populations:
            started = time.perf_counter()
            progress.start(group)
            dataset = data[group.signature.dataset]
            trained = population.train(group, dataset, progress.evaluated)
            networks = Networks(
                group.signature.static,
                trained.layers,
                np.array([trial.seed for trial in group.trials]),
                trained.sources,
                trained.images,
                trained.statistics,
            )
            probing = time.perf_counter()
            measured = {name: PROBES[name](networks) for name in probes}
            seconds = trained.seconds | {"probe": time.perf_counter() - probing}
            tables = _tables(group, trained, measured)
            seconds["program"] = time.perf_counter() - started
            session = _provenance(dataset, seconds, len(group.trials))
            by_run = {name: dict(list(frame.groupby(frame["trial"].map(runs)))) for name, frame in tables.items()}
            for run in by_run["trials"]:
                store.write(run, {name: frames[run] for name, frames in by_run.items()}, session)
            progress.finish()
    return len(missing)


def _keep_compiled_programs():
    """Let JAX reuse the programs that earlier commands compiled, unless the user has chosen a place for them."""
    folder = datasets.cache_folder() / "programs"
    if jax.config.jax_compilation_cache_dir is None:
        with contextlib.suppress(Refusal, OSError):  # without a cache, programs are compiled again
            store.require_writable(folder)
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _tables(group, trained, measured):
    trials = group.trials
    ids = np.array([trial.id for trial in trials])
    seeds = np.array([trial.seed for trial in trials])
    count, evaluations = trained.curves.train_loss.shape
    curves = pd.DataFrame(
        {
            "trial": np.repeat(ids, evaluations),
            "seed": np.repeat(seeds, evaluations),
            "step": np.tile(trained.steps, count),
            "epoch": np.tile(trained.steps / group.signature.static.steps_per_epoch, count),
        }
        | {name: values.ravel() for name, values in trained.curves._asdict().items()}
    )
    curves = curves[np.isfinite(curves["train_loss"])].reset_index(drop=True)
    last = curves.groupby("trial").last().reindex(ids)
    diverged = np.array(trained.status) == "diverged"
    summary = pd.DataFrame(
        {
            "trial": ids,
            "seed": seeds,
            **{name: [flatten(trial.recipe)[name] for trial in trials] for name in flatten(trials[0].recipe)},
            "labels.changed": trained.labels_changed,
            "parameters": trained.parameters,
            "status": trained.status,
            "steps": trained.stopped_at,
            **{
                f"final_{name}": np.where(diverged, np.nan, last[name])
                for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
            },
            "probes": [list(measured)] * count,
        }
    )
    tables = {"trials": summary, "curves": curves}
    for name, columns in measured.items():
        frame = store.as_frame(columns)
        network = frame.pop("network")
        frame.insert(0, "trial", ids[network])
        frame.insert(1, "seed", seeds[network])
        tables[name] = frame
    return tables


def _provenance(dataset, seconds, networks):
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "networks": networks,
        **{f"{name}_seconds": round(value, 3) for name, value in seconds.items()},
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": {
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "processor": _processor(),
        },
        "git": _git(),
        "data": {dataset.name: dataset.sha256},
        "protocol": PROTOCOL,
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _git():
    def ask(*words):
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        # Changed means the code: what commands write below results/ is no change of it.
        changed = ask("status", "--porcelain", "--", ":/", ":(top,exclude)results")
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None
