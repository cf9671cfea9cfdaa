"""Training a population on all of a machine: slabs go to worker threads, one for each core or GPU.

slabs ──queue──> worker: [chunk of steps, checkpoint]* ──> Trained, handed over as soon as a slab is done
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from memo.config import Execution
from memo.data.datasets import Dataset
from memo.errors import Refusal
from memo.networks.program import Images
from memo.training.inputs import TrainingData
from memo.training.machine import own_modes, this_machine, use_every_core, worker_devices
from memo.training.population import Layout, Population, lay_out, require_memory, slabs
from memo.training.slab import Slab, Trained
from memo.training.starts import Start, require_fit

# Between two looks at what has arrived: the system may hand a signal to any thread, and the main one, were it to wait without
# end, would never act on it.
SIGNAL_SECONDS = 0.5


class Checkpoints(Protocol):
    """Where slabs in training are kept; called from several threads."""

    def restore(self, slab: int) -> dict[str, np.ndarray] | None:
        """Return what was last kept of a slab, or None."""

    def keep(self, slab: int, arrays: Callable[[], dict[str, np.ndarray]], now: bool) -> None:
        """Keep a slab's arrays if it is time to, or `now`."""


@own_modes()
def train(
    population: Population,
    dataset: Dataset,
    execution: Execution | None = None,
    checkpoints: Checkpoints | None = None,
    observed: Collection[int] = (),
    start: Start | None = None,
) -> Trained:
    """Train a population and return everything in the order of its trials; holds all networks in memory.

    `dataset` is the one that its recipes name, whole (`memo.data.datasets.load`). On CPUs every core trains, unless JAX
    has run in this process before: then each of its devices does. `observed` numbers the evaluations whose weights are
    returned as well (`Trained.snapshots`), which `memo.training.measurement.measure` needs for probes along training.
    `start` has the layers that networks start from instead of those that their seeds draw (`memo.training.starts`).

    Raises:
        Refusal: networks that need more memory than there is, or other data than these.
        ValueError: a start whose arrays are not those of these networks.
    """
    named = {trial.recipe.dataset.name for trial in population.trials}
    if named != {dataset.name}:
        raise Refusal(f"The data set is {dataset.name}; allowed is what the recipes name: {', '.join(sorted(named))}.")
    if start is not None:
        require_fit(start, population)
    use_every_core()
    execution = execution or Execution()
    machine = this_machine(execution)
    layout = lay_out(population, machine, execution)
    require_memory(population, machine, layout)
    parts: dict[int, Trained] = {}
    seconds = train_slabs(
        population, layout, dataset, parts.__setitem__, checkpoints=checkpoints, observed=observed, start=start
    )
    positions = np.concatenate([places[places >= 0] for places in slabs(population, layout)])
    return _joined(population, [parts[number] for number in sorted(parts)], np.argsort(positions), seconds)


def _joined(population: Population, parts: Sequence[Trained], order: np.ndarray, seconds: dict[str, float]) -> Trained:
    """Return what the slabs of a population became as one, `order` being that of its trials."""

    def join(arrays: Sequence[Any]) -> np.ndarray:
        return np.concatenate(arrays)[order]

    def join_leaves(trees: Sequence[Any]) -> Any:
        return jax.tree.map(lambda *leaves: join([np.asarray(leaf) for leaf in leaves]), *trees)

    most = max(len(part.steps) for part in parts)
    curves = [jax.tree.map(lambda leaf: _padded(leaf, most), part.curves) for part in parts]
    sources, images = _joined_images(parts, population.signature.inputs == "natural")
    return Trained(
        trials=population.trials,
        steps=max((part.steps for part in parts), key=len),
        curves=join_leaves(curves),
        final=join_leaves([part.final for part in parts]),
        status=join([part.status for part in parts]).tolist(),
        stopped_at=join([part.stopped_at for part in parts]),
        labels_changed=join([part.labels_changed for part in parts]),
        layers=join_leaves([part.layers for part in parts]),
        snapshots=[join_leaves(at_one) for at_one in zip(*(part.snapshots for part in parts))],
        labels=join([part.labels for part in parts]),
        hyper=join_leaves([part.hyper for part in parts]),
        rows=join([part.rows for part in parts]),
        left_out=join_leaves([part.left_out for part in parts]),
        images=images,
        sources=sources[order],
        statistics=parts[0].statistics,
        seconds=seconds,
    )


def _padded(curves: np.ndarray, evaluations: int) -> np.ndarray:
    return np.pad(curves, ((0, 0), (0, evaluations - curves.shape[1])), constant_values=np.nan)


def _joined_images(parts: Sequence[Trained], all_read_the_same: bool) -> tuple[np.ndarray, Images]:
    if all_read_the_same:
        return np.concatenate([part.sources for part in parts]), parts[0].images
    starts = np.cumsum([0] + [len(part.images.train) for part in parts])
    sources = np.concatenate([part.sources + start for part, start in zip(parts, starts)])
    first, *others = (part.images for part in parts)
    images = jax.tree.map(lambda *each: jnp.asarray(np.concatenate([np.asarray(one) for one in each])), first, *others)
    return sources.astype(np.int32), images._replace(test_labels=first.test_labels)  # all have the same


class Prepared(NamedTuple):
    """A population's data, its programs being compiled, and the seconds that each took."""

    data: TrainingData
    seconds: dict[str, float]


@own_modes()
def prepare(population: Population, layout: Layout, dataset: Dataset, start: Start | None = None) -> Prepared:
    """Arrange the data of a population and compile its programs: while another one trains, if that is asked in a thread."""
    started = time.perf_counter()
    data = TrainingData(population.signature, dataset)
    arranged = time.perf_counter()
    first = slabs(population, layout)[0]
    for device in dict.fromkeys(worker_devices()[: layout.workers]):
        with jax.default_device(device):
            Slab(population, first, data, device, start=start).compile()
    return Prepared(data, {"prepare": arranged - started, "compile": time.perf_counter() - arranged})


def train_slabs(
    population: Population,
    layout: Layout,
    dataset: Dataset,
    finish: Callable[[int, Trained], None],
    *,
    prepared: Prepared | None = None,
    skip: Collection[int] = (),
    checkpoints: Checkpoints | None = None,
    advanced: Callable[[int, int, np.ndarray], None] = lambda slab, step, accuracies: None,
    observed: Collection[int] = (),
    start: Start | None = None,
) -> dict[str, float]:
    """Train the slabs of a population but those in `skip`; return seconds to prepare, compile, train, and in it evaluate.

    `finish(slab, trained)` is called by the worker that trained it, and `advanced(slab, step, training accuracies of
    the networks that train on)` where it resumes and after each chunk. `observed` numbers the evaluations whose weights are handed over as
    well (`Trained.snapshots`). An exception in any worker stops the others after their chunk.
    """
    data, seconds = prepared or prepare(population, layout, dataset, start)
    started = time.perf_counter()
    arranged = [(number, places) for number, places in enumerate(slabs(population, layout)) if number not in skip]
    waiting, taking, stopped = iter(arranged), threading.Lock(), threading.Event()
    evaluating: list[float] = []

    def work(device: jax.Device) -> None:
        while not stopped.is_set():
            with taking:
                number, places = next(waiting, (None, None))
            if number is None or places is None:
                return
            with jax.default_device(device), own_modes():
                kept = checkpoints.restore(number) if checkpoints else None
                slab = Slab(population, places, data, device, observed, kept, start)
                if _train_slab(slab, number, checkpoints, advanced, stopped):
                    finish(number, slab.result())
                evaluating.append(slab.evaluation_seconds)

    devices = worker_devices()[: layout.workers]
    _on_each(devices, work, stopped)
    # Workers evaluate side by side.
    took = {"train": time.perf_counter() - started, "evaluate": sum(evaluating) / layout.workers}
    return {**seconds, **took}


def _on_each(devices: Sequence[jax.Device], work: Callable[[jax.Device], None], stopped: threading.Event) -> None:
    """Run `work(device)` in a thread for each device; sets `stopped` when one raises, and raises that."""
    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            waiting = {pool.submit(work, device) for device in devices}
            while waiting:
                done, waiting = wait(waiting, SIGNAL_SECONDS, FIRST_EXCEPTION)
                for future in done:
                    future.result()
        finally:
            stopped.set()


def _train_slab(
    slab: Slab,
    number: int,
    checkpoints: Checkpoints | None,
    advanced: Callable[[int, int, np.ndarray], None],
    stopped: threading.Event,
) -> bool:
    """Train a slab chunk by chunk and return whether it has come to its end: not where all was stopped before."""
    if slab.step:  # restored from a checkpoint
        advanced(number, slab.step, np.empty(0))
    while not slab.finished:
        if stopped.is_set():
            if checkpoints and slab.evaluations:
                checkpoints.keep(number, slab.arrays, now=True)
            return False
        slab.advance()
        advanced(number, slab.step, slab.accuracies())
        if checkpoints:
            checkpoints.keep(number, slab.arrays, now=False)
    return True
