"""From trials to run folders: what is missing is planned, trained, probed and stored, population by population."""

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from memo.config import Execution, Trial, flatten
from memo.data import datasets
from memo.errors import Refusal
from memo.networks import mlp
from memo.networks.status import DIVERGED
from memo.probes import observed
from memo.storage import checkpoints, provenance, run_folders, throughput
from memo.storage.progress_bar import Progress
from memo.training import execution, machine, population
from memo.training.measurement import measure

logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """What is wanted of one measurement: trials by run folder, probes, where the data lie, how to train."""

    requests: Mapping[Path, Sequence[Trial]]
    probes: Sequence[str]
    folder: str | None
    how: Execution

    @property
    def trials(self) -> list[Trial]:
        """Return the trials of all run folders."""
        return [trial for trials in self.requests.values() for trial in trials]


def show_plan(groups: Mapping[tuple[str, ...], Mapping[Path, Sequence[Trial]]], how: Execution) -> None:
    """Print the programs that `complete` would train for each list of probes, and train nothing."""
    machine.use_every_core()
    here = machine.this_machine(how)
    rows: list[dict[str, Any]] = []
    lacking = [missing(requests, probes) for probes, requests in groups.items()]
    plans = [population.plan([trial for trial, _ in found.values()]) for found in lacking]
    for group in itertools.chain(*plans):
        static, flop = group.signature.static, population.most_flop(group)
        layout = population.lay_out(group, here, how)
        rows.append(
            {
                "network": "-".join(map(str, static.sizes)),
                "networks": len(group.trials),
                "share minibatches": layout.pack_size,
                "at once": layout.workers * layout.packs * layout.pack_size,
                "parameters": mlp.count_parameters(static.sizes, static.receptive_field),
                "images": group.signature.n_train,
                "steps": static.steps,
                "TFLOP at most": round(flop / 1e12, 3),
                "MB": round(population.held_bytes(group.signature, layout) / 1e6, 1),
            }
        )
    wanted = sum(len(trials) for requests in groups.values() for trials in requests.values())
    stored = wanted - sum(row["networks"] for row in rows)
    print(f"{wanted} networks: {stored} stored, {wanted - stored} to train as {len(rows)} programs.")
    if rows:
        print(pd.DataFrame(rows).to_string(index=False))


def missing(requests: Mapping[Path, Sequence[Trial]], probes: Sequence[str]) -> dict[str, tuple[Trial, Path]]:
    """Return the trials that their run folders lack, or lack with some of these probes, each with its folder, by id."""
    found: dict[str, tuple[Trial, Path]] = {}
    for run, trials in requests.items():
        have = run_folders.finished(run, list(probes))
        found |= {trial.id: (trial, run) for trial in trials if trial.id not in have}
    return found


def complete(
    requests: Mapping[Path, Sequence[Trial]],
    probes: Sequence[str],
    folder: str | None = None,
    how: Execution | None = None,
    root: Path | None = None,
    told: Callable[[float], None] | None = None,
) -> int:
    """Train the trials that their run folders lack and return how many those were.

    `requests` are the trials wanted in each run folder; `folder` is where the data set's files lie, or None. What an
    earlier command was stopped in goes on from its checkpoints, which lie below `root` (None: memo.storage.checkpoints.root_of
    these run folders). `told` hears the arithmetic that is left (memo.storage.progress_bar), about once a second.

    Raises:
        Refusal: a run folder that cannot be written, or a data set that cannot be loaded.
    """
    how = how or Execution()
    for run in requests:
        run_folders.make_ready(run)
    lacking = missing(requests, probes)
    wanted = sum(len(trials) for trials in requests.values())
    if not lacking:
        logger.info("Every trial asked for (%d) is already stored; nothing to train.", wanted)
        return 0

    machine.use_every_core()
    _keep_compiled_programs()
    root = root or checkpoints.root_of(list(requests))
    work = [
        left
        for left in checkpoints.find(root, how.checkpoint_seconds)
        if left.runs.keys() & lacking.keys() and set(probes) <= set(left.probes)
    ]
    if work:
        logger.info(
            "Going on with %d networks that an earlier command left unfinished.", sum(len(left.runs) for left in work)
        )
    covered = set().union(*(left.runs for left in work))
    runs = {trial_id: run for trial_id, (_, run) in lacking.items()}
    here = machine.this_machine(how)
    work += [
        checkpoints.Unfinished(root, group, population.lay_out(group, here, how), runs, probes, how.checkpoint_seconds)
        for group in population.plan([trial for trial, _ in lacking.values() if trial.id not in covered])
    ]
    names = {job.population.signature.dataset for job in work}
    data = {name: datasets.load(name, folder) for name in names}
    with Progress([job.population for job in work], wanted - len(lacking), told) as progress:
        for job in work:
            progress.start(job.population, len(population.slabs(job.population, job.layout)))
            with job.open():
                stored = set().union(*(run_folders.finished(run, job.probes) for run in set(job.runs.values())))
                if not job.runs.keys() <= stored:  # no other process has trained it while this one waited
                    _train(job, data[job.population.signature.dataset], progress)
                job.remove()
            progress.finish()
    return len(lacking)


def _train(job: checkpoints.Unfinished, dataset: datasets.Dataset, progress: Progress) -> None:
    """Train, probe and store one population."""
    started = time.perf_counter()
    whole = not job.begun
    job.begin()
    group, probing, trained_flop = job.population, [], []

    def finish(slab, trained):
        begun = time.perf_counter()
        evaluations = int(np.count_nonzero(np.isfinite(trained.curves.train_loss)))
        trained_flop.append(population.flop(group.signature, int(trained.stopped_at.sum()), evaluations))
        measured = measure(trained, job.probes)
        probing.append(time.perf_counter() - begun)
        job.add(slab, _tables(group.signature, trained, measured, job.probes))

    seconds = execution.train_slabs(
        group,
        job.layout,
        dataset,
        finish,
        skip=job.finished,
        checkpoints=job,
        advanced=progress.advanced,
        observed=observed(job.probes, len(group.signature.evaluation_steps)),
    )
    tables = job.tables()
    if whole:
        device = jax.devices()[0]
        kind = provenance.processor() if device.platform == "cpu" else device.device_kind
        workers = job.layout.workers * population.cores_each(group.signature, device.platform)
        throughput.record(group.signature, kind, device.platform, workers, sum(trained_flop), seconds["train"])
    # Workers probe side by side, each when its slab has finished.
    seconds["probe"] = sum(probing) / job.layout.workers
    seconds["train"] -= seconds["probe"]
    seconds["program"] = time.perf_counter() - started
    session = provenance.session(dataset, seconds, len(group.trials), job.layout)
    run_folders.write_runs(tables, job.runs, session)


def _keep_compiled_programs():
    """Let JAX reuse the programs that earlier commands compiled, unless the user has chosen a place for them."""
    folder = datasets.cache_folder() / "programs"
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        with contextlib.suppress(Refusal, OSError):  # without a cache, programs are compiled again
            run_folders.require_writable(folder)
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def _tables(common, trained, measured, probes):
    trials = trained.trials
    ids = np.array([trial.id for trial in trials])
    seeds = np.array([trial.seed for trial in trials])
    recipes = [flatten(trial.recipe) for trial in trials]
    count, evaluations = trained.curves.train_loss.shape
    curves = pd.DataFrame(
        {
            "trial": np.repeat(ids, evaluations),
            "seed": np.repeat(seeds, evaluations),
            "step": np.tile(trained.steps, count),
            "epoch": np.tile(trained.steps / common.static.steps_per_epoch, count),
        }
        | {name: values.ravel() for name, values in trained.curves._asdict().items()}
    )
    curves = curves[np.isfinite(curves["train_loss"])].reset_index(drop=True)
    last = curves.groupby("trial").last().reindex(ids)
    diverged = np.array(trained.status) == DIVERGED
    summary = pd.DataFrame(
        {
            "trial": ids,
            "seed": seeds,
            **{name: [recipe[name] for recipe in recipes] for name in recipes[0]},
            "labels.changed": trained.labels_changed,
            "parameters": mlp.count_parameters(common.static.sizes, common.static.receptive_field),
            "status": trained.status,
            "steps": trained.stopped_at,
            **{
                f"final_{name}": np.where(diverged, np.nan, last[name])
                for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
            },
            "probes": [list(probes)] * count,
        }
    )
    tables = {"trials": summary, "curves": curves}
    for name, columns in measured.items():
        frame = run_folders.as_frame(columns)
        network = frame.pop("network")
        frame.insert(0, "trial", ids[network])
        frame.insert(1, "seed", seeds[network])
        tables[name] = frame
    return {name: run_folders.as_table(frame) for name, frame in tables.items()}
