"""From trials to run folders: missing networks are planned, trained, probed and stored, population by population.

Request ──lacking──> Unfinished: those left by an earlier command, and new ones
                       └──> train, measure ──> tables of slabs ──> run folders
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from memo.config import Execution, Trial
from memo.data import datasets
from memo.data.files import cache_folder
from memo.errors import Refusal
from memo.networks import mlp
from memo.probes import known, observed
from memo.storage import checkpoints, provenance, run_folders, throughput
from memo.storage.checkpoints import Unfinished
from memo.storage.progress_bar import ProgressBar
from memo.storage.tables import tables_of
from memo.training import execution, machine, population
from memo.training.execution import Prepared
from memo.training.measurement import measure
from memo.training.slab import Trained

logger = logging.getLogger(__name__)

# Populations whose programs are compiled before they are due, each in a thread; images are held for as many.
PREPARED_AHEAD = 2

Lacking = Mapping[str, tuple[Trial, Path]]  # trials with their run folders, by their ids


class Request(NamedTuple):
    """Trials wanted in their run folders, measured by the same probes."""

    runs: Mapping[Path, Sequence[Trial]]
    probes: Sequence[str]
    folder: str | None  # of the data set's files; None: wherever they are found
    how: Execution

    @property
    def trials(self) -> list[Trial]:
        """Return the trials of all run folders."""
        return [trial for trials in self.runs.values() for trial in trials]

    def make_ready(self) -> None:
        """Raise Refusal unless every run folder can be written."""
        for run in self.runs:
            run_folders.make_ready(run)

    def require(self) -> None:
        """Raise Refusal where a network of this request is too large for this machine, or a data set's own folder lacks files."""
        groups = population.plan([trials[0] for trials in self.runs.values() if trials])
        for group in groups:
            _laid_out(group, self.how)
        for name in {group.signature.dataset for group in groups} if self.folder is not None else ():
            datasets.require_files(name, str(self.folder))

    def lacking(self) -> Lacking:
        """Return the trials that their run folders lack, or hold without some of the probes."""
        found: dict[str, tuple[Trial, Path]] = {}
        for run, trials in self.runs.items():
            have = run_folders.finished(run, self.probes)
            found |= {trial.id: (trial, run) for trial in trials if trial.id not in have}
        return found

    def unfinished(self, lacking: Lacking, root: Path | None = None) -> list[Unfinished]:
        """Return the unfinished populations of earlier commands with trials that are lacking, whatever those commands were.

        `root` as in `complete`. A trial's tables go to the run folder that this request names.
        """
        roots = dict.fromkeys([*([root] if root else []), *checkpoints.roots_of(self.runs)])
        found = []
        seconds = self.how.checkpoint_seconds
        for left in (left for root in roots for left in checkpoints.find(root, seconds, lacking)):
            wanted = left.runs.keys() & lacking.keys()
            if not set(self.probes) <= set(left.probes):
                asked = "%s holds %d of these networks, unfinished and measured by %s only: they train from the start."
                logger.warning(asked, left.folder, len(wanted), ", ".join(left.probes) or "no probe")
            else:
                left.runs |= {trial: lacking[trial][1] for trial in wanted}
                found.append(left)
        return found

    def clear(self) -> None:
        """Remove what was left unfinished, by a crash at the very end, of trials that are all stored."""
        for root in checkpoints.roots_of(self.runs):
            checkpoints.clear(root, self.how.checkpoint_seconds, {trial.id for trial in self.trials})


def require(requests: Sequence[Request]) -> None:
    """Raise Refusal where this machine has no device, or what is lacking needs more memory or files than it has."""
    machine.use_every_core()
    machine.worker_devices()
    for request in requests:
        try:
            request.require()
        except Refusal:
            if request.lacking():  # what is stored needs neither
                raise


def say_all_is_stored(requests: Sequence[Request]) -> None:
    """Log that nothing is to be trained."""
    wanted = sum(len(request.trials) for request in requests)
    logger.info("Every trial asked for (%d) is already stored; nothing to train.", wanted)


def show_plan(requests: Sequence[Request]) -> None:
    """Print the programs that `complete` would train for these requests, and train nothing."""
    machine.use_every_core()
    rows = [
        _planned(group, request.how)
        for request in requests
        for group in population.plan([trial for trial, _ in request.lacking().values()])
    ]
    wanted, to_train = sum(len(request.trials) for request in requests), sum(row["networks"] for row in rows)
    print(f"{wanted} networks: {wanted - to_train} stored, {to_train} to train as {len(rows)} programs.")
    if rows:
        print(pd.DataFrame(rows).to_string(index=False))


def _planned(group: population.Population, how: Execution) -> dict[str, Any]:
    static = group.signature.static
    layout = _laid_out(group, how)
    return {
        "network": mlp.describe_widths(static.sizes, "-"),
        "networks": len(group.trials),
        "share minibatches": layout.pack_size,
        "at once": layout.workers * layout.packs * layout.pack_size,
        "parameters": mlp.count_parameters(static.sizes, static.receptive_field),
        "images": group.signature.n_train,
        "steps": static.steps,
        "TFLOP at most": round(population.most_flop(group) / 1e12, 3),
        "MB": round(population.held_bytes(group.signature, layout) / 1e6, 1),
    }


def complete(
    requests: Mapping[Path, Sequence[Trial]],
    probes: Sequence[str],
    folder: str | None = None,
    how: Execution | None = None,
    root: Path | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> int:
    """Train the trials that their run folders lack and return how many those were.

    `requests` are the trials wanted in each run folder; `folder` is where the data set's files lie, or None. Populations
    of an interrupted command resume from their checkpoints, which are below `root` (None: the folder that
    `memo.storage.checkpoints.root_of` gives for these run folders). `on_progress` is called as `ProgressBar` says.

    Raises:
        Refusal: a run folder that cannot be written, or a data set that cannot be loaded.
    """
    request = Request(requests, probes, folder, how or Execution())
    request.make_ready()
    lacking = request.lacking()
    if not lacking:
        request.clear()
        say_all_is_stored([request])
        return 0
    started = time.perf_counter()
    machine.use_every_core()
    _keep_compiled_programs()
    work = _work(request, lacking, root or checkpoints.root_of(list(requests)))
    data = {name: datasets.load(name, folder) for name in {part.population.signature.dataset for part in work}}
    stored = len(request.trials) - len(lacking)
    sessions, again = [], set[str]()
    with ProgressBar([part.population for part in work], stored, on_progress) as bar:
        for part, preparing in _prepared_ahead(work, data):
            bar.start(part.population, part.layout)
            with part.open():
                left = part.lacking()  # without those that another process has stored while this one waited
                if left == part.runs.keys() or (left and part.begun):
                    sessions.append(_train(part, data[part.population.signature.dataset], preparing, bar))
                    part.store(sessions[-1])
                    left = set()
                part.remove()
                again |= left
            bar.finish()
    logger.info(where_time_went(sessions, time.perf_counter() - started))
    if again:  # they are a population of their own now
        complete(requests, probes, folder, how, root, on_progress)
    return len(lacking)


def where_time_went(sessions: Sequence[Mapping[str, Any]], whole: float) -> str:
    """Return in words how `whole` seconds were spent on training sessions, as their provenance has them."""

    def total(part: str) -> float:
        return sum(session[f"{part}_seconds"] for session in sessions)

    parts = {
        "waiting for data and compiled programs": total("wait"),
        "steps": total("train") - total("evaluate"),
        "evaluations": total("evaluate"),
        "probes": total("probe"),
    }
    parts["loading and writing"] = whole - sum(parts.values())
    networks = sum(session["networks"] for session in sessions)
    shares = ", ".join(f"{name} {max(0.0, seconds):.1f} s" for name, seconds in parts.items())
    return f"Trained {networks} networks in {whole:.1f} s: {shares}."


def _prepared_ahead(
    work: Sequence[Unfinished], data: Mapping[str, datasets.Dataset]
) -> Iterator[tuple[Unfinished, Future[Prepared]]]:
    """Yield each population with its programs in the making; those of the next ones are compiled while it trains."""
    with ThreadPoolExecutor(PREPARED_AHEAD) as pool:
        made: deque[tuple[Unfinished, Future[Prepared]]] = deque()
        try:
            for part in work:
                dataset = data[part.population.signature.dataset]
                made.append((part, pool.submit(execution.prepare, part.population, part.layout, dataset)))
                if len(made) > PREPARED_AHEAD:
                    yield made.popleft()
            while made:
                yield made.popleft()
        finally:
            pool.shutdown(cancel_futures=True)


def _joint_probes(request: Request, lacking: Lacking) -> list[str]:
    """Return the probes by which lacking trials are measured: also those of them that are stored with other probes."""
    runs = {run for _, run in lacking.values()}
    held = {trial: probes for run in runs for trial, probes in run_folders.measured(run).items() if trial in lacking}
    asked = list(request.probes)
    for probe in dict.fromkeys(probe for probes in held.values() for probe in probes):
        asked += [probe] if known([*asked, probe]) else []
    if held:
        text = "%d stored networks were not measured by all of %s: they train again, for their weights are not stored."
        logger.warning(text, len(held), ", ".join(request.probes))
    return asked


def _work(request: Request, lacking: Lacking, root: Path) -> list[Unfinished]:
    """Return populations with the lacking trials: those left by earlier commands, then new ones."""
    left = request.unfinished(lacking, root)
    if left:
        networks = sum(len(part.runs) for part in left)
        logger.info("Resuming %d networks that an earlier command left unfinished.", networks)
    covered = set().union(*(part.runs for part in left))
    runs = {trial_id: run for trial_id, (_, run) in lacking.items()}
    probes = _joint_probes(request, lacking)
    return left + [
        Unfinished(root, group, _laid_out(group, request.how), runs, probes, request.how.checkpoint_seconds)
        for group in population.plan([trial for trial, _ in lacking.values() if trial.id not in covered])
    ]


def _laid_out(group: population.Population, how: Execution) -> population.Layout:
    """Return how this machine trains a population; Refusal where it has too little memory for that."""
    here = machine.this_machine(how)
    layout = population.lay_out(group, here, how)
    population.require_memory(group, here, layout)
    return layout


def _train(
    part: Unfinished, dataset: datasets.Dataset, preparing: Future[Prepared], bar: ProgressBar
) -> dict[str, Any]:
    """Train and probe a population, and return the provenance of this session."""
    started = time.perf_counter()
    prepared = preparing.result()
    waited = time.perf_counter() - started
    common = part.population.signature
    from_the_start = part.begin()
    probing: list[float] = []
    flop: list[float] = []

    def finish(slab: int, trained: Trained) -> None:
        begun = time.perf_counter()
        evaluations = int(np.count_nonzero(np.isfinite(trained.curves.train_loss)))
        flop.append(population.flop(common, int(trained.stopped_at.sum()), evaluations))
        measured = measure(trained, part.probes)
        probing.append(time.perf_counter() - begun)
        part.add(slab, tables_of(trained, measured, part.probes))

    seconds = execution.train_slabs(
        part.population,
        part.layout,
        dataset,
        finish,
        prepared=prepared,
        skip=part.finished,
        checkpoints=part,
        advanced=bar.advanced,
        observed=observed(part.probes, len(common.evaluation_steps)),
    )
    # Workers probe side by side, each when its slab has finished.
    seconds["probe"] = sum(probing) / part.layout.workers
    seconds["train"] -= seconds["probe"]
    if from_the_start:  # of a session that resumes, only a part of these operations
        throughput.record(common, jax.devices()[0], part.layout, sum(flop), seconds["train"])
    seconds["wait"] = waited  # for its data and programs
    seconds["program"] = time.perf_counter() - started
    return provenance.session(dataset, seconds, len(part.population.trials), part.layout)


def _keep_compiled_programs() -> None:
    """Let JAX reuse the programs that earlier commands compiled, unless the user has chosen a place for them."""
    folder = cache_folder() / "programs"
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        with contextlib.suppress(Refusal, OSError):  # without a cache, programs are compiled again
            run_folders.require_writable(folder)
            folder.mkdir(parents=True, exist_ok=True)
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
