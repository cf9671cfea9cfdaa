"""Training a population on all of a machine: slabs go to worker threads (a core or a GPU each), chunk by chunk.

slabs ──queue──> worker: [chunk of steps, evaluation, checkpoint]* ──> Trained, handed over as soon as a slab is done

A chunk ends at the next evaluation, or after seconds. What ends a chunk never changes a result: a slab that goes on
from a checkpoint gives the bits of one that was never interrupted.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.stages import Compiled

from memo.config import Execution, Trial
from memo.data.datasets import Dataset
from memo.data.treatments import PixelStatistics
from memo.networks import program
from memo.networks.optimizers import Hyperparameters
from memo.networks.program import Evaluation, Images, State, Static
from memo.training.inputs import SlabData, TrainingData
from memo.training.minibatches import Orders
from memo.training.population import Layout, Machine, Population, lay_out, slabs, step_flop

# About five seconds of a core or of a GPU: the most that lies between two looks at the clock, and so is lost in a crash.
CHUNK_FLOP = {"cpu": 3e11, "gpu": 1e14}
# What a smaller program must save before it is compiled: a compilation takes 2 to 3 seconds, once for each shape.
RECOMPILE_FLOP = {"cpu": 3e11, "gpu": 1e14}


@dataclass
class Progress:
    """A slab in training, all that a checkpoint needs; N places, some of which may be empty or have finished."""

    step: int  # reached by every active network
    places: np.ndarray  # [packs, members] which of the N places are in `state`
    state: State  # leaves [packs, members, ...]
    settled: tuple[
        np.ndarray, ...
    ]  # leaves [N, ...] of final layers and steps of divergence; () while all are in state
    measured: np.ndarray  # [4, evaluations so far, N] float32, the fields of Evaluation
    snapshots: list[tuple[np.ndarray, ...]] = field(default_factory=list)  # leaves [N, ...] of layers, as observed


class Checkpoints(Protocol):
    """Where slabs in training are kept; called from several threads."""

    def restore(self, slab: int) -> dict[str, np.ndarray] | None:
        """Return what was last kept of a slab, or None."""

    def keep(self, slab: int, arrays: Callable[[], dict[str, np.ndarray]], now: bool) -> None:
        """Keep a slab's arrays if it is time to, or `now`."""


@dataclass
class Trained:
    """What training gives, trial by trial (T trials, E evaluations)."""

    trials: tuple[Trial, ...]
    steps: np.ndarray  # [E] int32
    curves: Evaluation  # float32 [T, E], NaN once a trial has ended
    status: list[str]  # completed, memorised or diverged
    stopped_at: np.ndarray  # [T] int32: the last step of each trial
    labels_changed: np.ndarray  # [T], the share of training labels that differ from the true ones
    layers: Any  # leaves [T, ...]
    # Likewise, at each evaluation that was to be observed; the last weights once a trial has ended.
    snapshots: list[Any]
    labels: np.ndarray  # [T, n] uint8, as trained on
    hyper: Hyperparameters  # leaves [T]
    rows: np.ndarray  # [T, n] int32, each training subset as rows of its image source
    images: Images
    sources: np.ndarray  # [T], the image source of each
    statistics: PixelStatistics
    seconds: dict[str, float] = field(default_factory=dict)  # prepare, compile, train


def use_every_core() -> None:
    """Let each CPU core train a slab of its own, unless JAX runs already.

    Independent networks on separate cores beat two threads inside one small matrix product (docs/performance.md); a
    program that is dispatched synchronously runs in the thread that calls it.
    """
    with contextlib.suppress(RuntimeError):  # refused once JAX runs: a notebook or a test has chosen its devices
        jax.config.update("jax_num_cpu_devices", jax.config.jax_num_cpu_devices)  # type: ignore[attr-defined]
        jax.config.update("jax_cpu_enable_async_dispatch", False)


def worker_devices(cores: int | None = None) -> list[jax.Device]:
    """Return the device of each worker: every device once, and a CPU device once a core where calls run in parallel.

    `cores` are those to use, all that this process may where it is None.
    """
    devices = jax.local_devices()
    if devices[0].platform == "cpu" and not jax.config.read("jax_cpu_enable_async_dispatch"):
        return devices * max(1, min(_cores(), cores or _cores()) // len(devices))
    return devices


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def this_machine(execution: Execution) -> Machine:
    """Return the machine that this process trains on, with the memory that it may take."""
    devices = worker_devices(execution.cores)
    if execution.memory_gb is not None:
        memory = int(1e9 * execution.memory_gb)
    elif devices[0].platform == "cpu":
        memory = _host_memory() // 2
    else:
        memory = len(devices) * int(0.8 * devices[0].memory_stats()["bytes_limit"])
    return Machine(devices[0].platform, len(devices), memory)


def _host_memory():
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError):  # a container may be given less than the machine has
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits)


def train(
    population: Population,
    dataset: Dataset,
    execution: Execution | None = None,
    checkpoints: Checkpoints | None = None,
    observed: Collection[int] = (),
) -> Trained:
    """Train a population and return everything in the order of its trials; holds all networks in memory.

    `dataset` is the one that its recipes name, whole (`memo.data.datasets.load`). On CPUs every core trains, unless JAX has run
    in this process before: then each of its devices does. `observed` numbers the evaluations whose weights are returned
    as well (`Trained.snapshots`), from which `memo.training.measurement.measure` takes probes along training.
    """
    use_every_core()
    execution = execution or Execution()
    layout = lay_out(population, this_machine(execution), execution)
    arranged = slabs(population, layout)
    parts: dict[int, Trained] = {}
    seconds = train_slabs(population, layout, dataset, parts.__setitem__, checkpoints=checkpoints, observed=observed)
    ordered = [parts[number] for number in range(len(arranged))]
    positions = np.concatenate([places[places >= 0] for places in arranged])
    order = np.argsort(positions)

    def join(arrays):
        return np.concatenate(arrays)[order]

    most = max(len(part.steps) for part in ordered)
    curves = [jax.tree.map(lambda leaf: _pad(leaf, most), part.curves) for part in ordered]
    sources, images = _join_images(ordered, population.signature.inputs == "natural")
    return Trained(
        trials=population.trials,
        steps=max((part.steps for part in ordered), key=len),
        curves=jax.tree.map(lambda *leaves: join(leaves), *curves),
        status=join([part.status for part in ordered]).tolist(),
        stopped_at=join([part.stopped_at for part in ordered]),
        labels_changed=join([part.labels_changed for part in ordered]),
        layers=_join_leaves(join, [part.layers for part in ordered]),
        snapshots=[_join_leaves(join, at_one) for at_one in zip(*(part.snapshots for part in ordered))],
        labels=join([part.labels for part in ordered]),
        hyper=_join_leaves(join, [part.hyper for part in ordered]),
        rows=join([part.rows for part in ordered]),
        images=images,
        sources=sources[order],
        statistics=ordered[0].statistics,
        seconds=seconds,
    )


def _join_leaves(join, trees):
    return jax.tree.map(lambda *leaves: join([np.asarray(leaf) for leaf in leaves]), *trees)


def _pad(curves, evaluations):
    return np.pad(curves, ((0, 0), (0, evaluations - curves.shape[1])), constant_values=np.nan)


def _join_images(parts, one_source):
    if one_source:
        return np.concatenate([part.sources for part in parts]), parts[0].images
    starts = np.cumsum([0] + [len(part.images.train) for part in parts])
    sources = np.concatenate([part.sources + start for part, start in zip(parts, starts)])
    train, test = (
        jnp.asarray(np.concatenate([np.asarray(getattr(part.images, name)) for part in parts]))
        for name in ("train", "test")
    )
    return sources.astype(np.int32), Images(train, test, parts[0].images.test_labels)


def train_slabs(
    population: Population,
    layout: Layout,
    dataset: Dataset,
    finish: Callable[[int, Trained], None],
    *,
    skip: Collection[int] = (),
    checkpoints: Checkpoints | None = None,
    advanced: Callable[[int, int, np.ndarray], None] = lambda slab, step, accuracies: None,
    observed: Collection[int] = (),
) -> dict[str, float]:
    """Train the slabs of a population but those in `skip`, and return seconds to prepare, compile and train.

    `finish(slab, trained)` is called by the worker that trained it, and `advanced(slab, step, training accuracies of
    the networks that train on)` after each chunk. `observed` numbers the evaluations whose weights are handed over as
    well (`Trained.snapshots`). An exception in any worker stops the others after their chunk.
    """
    started = time.perf_counter()
    run = _Run(population, layout, dataset, checkpoints, advanced, frozenset(observed))
    waiting = [(number, places) for number, places in enumerate(run.arranged) if number not in skip]
    devices = worker_devices()[: layout.workers]
    if not waiting:
        return {"prepare": 0.0, "compile": 0.0, "train": 0.0}
    prepared = time.perf_counter()
    for device in dict.fromkeys(devices):
        run.compile_first(waiting[0][1], device)
    compiled = time.perf_counter()

    tasks, taking = iter(waiting), threading.Lock()

    def work(device):
        while not run.stopped.is_set():
            with taking:
                task = next(tasks, None)
            if task is None:
                return
            number, places = task
            with jax.default_device(device):
                trained = run.train(number, places, device)
                if trained is not None:
                    finish(number, trained)

    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            for future in wait([pool.submit(work, device) for device in devices], return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            run.stopped.set()
    return {
        "prepare": prepared - started,
        "compile": compiled - prepared,
        "train": time.perf_counter() - compiled,
    }


class _Run:
    """What the workers of one population share."""

    def __init__(self, population, layout, dataset, checkpoints, advanced, observed):
        self.population, self.common = population, population.signature
        self.arranged = slabs(population, layout)
        self.data = TrainingData(self.common, dataset)
        self.checkpoints, self.advanced, self.observed = checkpoints, advanced, observed
        self.stopped = threading.Event()
        platform = "cpu" if worker_devices()[0].platform == "cpu" else "gpu"
        self.chunk_flop, self.recompile_flop = CHUNK_FLOP[platform], RECOMPILE_FLOP[platform]

    def read(self, places: np.ndarray, device: jax.Device) -> SlabData:
        first = self.population.trials[places.flat[0]]
        # An empty place repeats a trial: it must hold something, and it never trains.
        packs = [
            [self.population.trials[place if place >= 0 else pack[0]] for place in pack]
            if pack[0] >= 0
            else [first] * len(pack)
            for pack in places
        ]
        return self.data.slab(packs, device)

    def compile_first(self, places, device):
        slab = self.read(places, device)
        with jax.default_device(device):
            state = _initialise(self.common.static)(slab.keys, slab.networks)
        orders = self.orders(slab.orders, device).shape
        _program(self.common.static, device, slab.images, slab.packs, slab.networks, state, orders)

    def orders(self, keys: jax.Array, device: jax.Device) -> Orders:
        static = self.common.static
        return Orders(keys, self.common.n_train, static.steps // static.steps_per_epoch, device)

    def train(self, number: int, places: np.ndarray, device: jax.Device) -> Trained | None:
        """Return what a slab became, or None where the run was stopped before."""
        slab, static = self.read(places, device), self.common.static
        kept = self.checkpoints and self.checkpoints.restore(number)
        progress = _from_arrays(kept, slab, static) if kept else self._begin(slab, places)
        reads, orders = self._still_training(slab, progress.places, device)
        steps = self.common.evaluation_steps
        while progress.measured.shape[1] < len(steps) and np.asarray(progress.state.active).any():
            if self.stopped.is_set():
                if self.checkpoints and progress.measured.size:
                    self.checkpoints.keep(number, lambda: _to_arrays(progress), now=True)
                return None
            self._advance(progress, slab.images, reads, orders, device)
            if self._shrink(progress):
                reads, orders = self._still_training(slab, progress.places, device)
            active = np.asarray(progress.state.active)
            last = progress.measured[1, -1, progress.places[active]] if progress.measured.shape[1] else np.array([])
            self.advanced(number, progress.step, last)
            if self.checkpoints:
                self.checkpoints.keep(number, lambda: _to_arrays(progress), now=False)
        return self._result(progress, slab, places)

    def _begin(self, slab, places):
        state = _initialise(self.common.static)(slab.keys, slab.networks)
        state = state._replace(active=jnp.asarray(places >= 0))
        everywhere = np.arange(places.size).reshape(places.shape)
        return Progress(0, everywhere, state, (), np.zeros((len(Evaluation._fields), 0, places.size), np.float32))

    def _still_training(self, slab, places, device):
        """Return what the packs and networks in these places read, on the device, and the orders of their minibatches."""
        members = slab.networks.stop_at.shape[1]
        rows = places[:, 0] // members
        packs = jax.tree.map(lambda leaf: leaf[rows], slab.packs)
        networks = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[places], slab.networks)
        return jax.device_put((packs, networks), device), self.orders(slab.orders[rows], device)

    def _advance(self, progress, images, reads, orders, device):
        """Take one chunk: to the next evaluation, or as far as seconds or the orders drawn go."""
        static = self.common.static
        target = int(self.common.evaluation_steps[progress.measured.shape[1]])
        most = max(1, int(self.chunk_flop / (step_flop(static) * progress.places.size)))
        since, drawn = orders.at(progress.step // static.steps_per_epoch)
        last = min(target, progress.step + most, (since + drawn.shape[1]) * static.steps_per_epoch)
        advance = _program(static, device, images, *reads, progress.state, drawn)
        span = np.int32(since), np.int32(progress.step), np.int32(last)
        progress.state, evaluation = advance(images, *reads, progress.state, drawn, *span, np.bool_(last == target))
        progress.step = last
        if last == target:
            measured = np.full((len(evaluation), 1, progress.measured.shape[2]), np.nan, np.float32)
            measured[:, 0, progress.places] = np.stack([np.asarray(leaf) for leaf in evaluation])
            progress.measured = np.concatenate([progress.measured, measured], axis=1)
            if progress.measured.shape[1] - 1 in self.observed:
                progress.snapshots.append(_settle(progress)[:-1])

    def _shrink(self, progress: Progress) -> bool:
        """Drop finished networks, where the steps that are left repay compiling a smaller program."""
        active = np.asarray(progress.state.active)
        rows, columns = _smaller(active)
        flop = step_flop(self.common.static) * (self.common.static.steps - progress.step)
        if not active.any() or flop * (active.size - rows.size) < self.recompile_flop:
            return False
        progress.settled = _settle(progress)
        progress.places = progress.places[rows, columns]
        progress.state = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[rows, columns]), progress.state)
        return True

    def _result(self, progress, slab, places):
        occupied = np.flatnonzero(places.ravel() >= 0)
        *leaves, diverged_at = (leaf[occupied] for leaf in _settle(progress))
        curves = Evaluation(*(values[:, occupied].T for values in progress.measured))
        steps = self.common.evaluation_steps[: progress.measured.shape[1]]
        # A row with a non-finite number is no evaluation: the curve of a diverged trial ends before it.
        finite = np.isfinite(curves.train_loss) & np.isfinite(curves.test_loss)
        curves = jax.tree.map(lambda leaf: np.where(finite, leaf, np.nan), curves)
        ended = steps[np.array([np.flatnonzero(row)[-1] if row.any() else 0 for row in finite])]
        best = np.max(np.where(finite, curves.train_accuracy, -1), axis=1)
        reached = best >= slab.networks.stop_at.ravel()[occupied]
        structure = jax.tree.structure(progress.state.layers)
        return Trained(
            trials=tuple(self.population.trials[place] for place in places.ravel()[occupied]),
            steps=steps,
            curves=curves,
            status=[
                "diverged" if at >= 0 else "memorised" if hit else "completed" for at, hit in zip(diverged_at, reached)
            ],
            stopped_at=np.where(diverged_at >= 0, diverged_at, ended),
            labels_changed=slab.labels_changed.ravel()[occupied],
            layers=jax.tree.unflatten(structure, map(jnp.asarray, leaves)),
            snapshots=[
                jax.tree.unflatten(structure, [jnp.asarray(leaf[occupied]) for leaf in at_one])
                for at_one in progress.snapshots
                + [_settle(progress)[:-1]] * (len(self.observed) - len(progress.snapshots))
            ],
            labels=slab.networks.labels.reshape(-1, slab.networks.labels.shape[-1])[occupied],
            hyper=jax.tree.map(lambda leaf: leaf.ravel()[occupied], slab.networks.hyper),
            rows=np.repeat(slab.packs.rows, places.shape[1], axis=0)[occupied],
            images=slab.images,
            sources=np.repeat(slab.packs.source, places.shape[1])[occupied],
            statistics=self.data.statistics,
        )


def _smaller(active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return indices (rows [p, 1], columns [p, m]) that hold all active places, packs and members halved while they do."""
    rows, columns = np.arange(active.shape[0])[:, None], np.tile(np.arange(active.shape[1]), (active.shape[0], 1))
    while True:
        held = active[rows, columns]
        if len(held) > 1 and held.any(1).sum() <= len(held) // 2:
            keep = np.argsort(~held.any(1), kind="stable")[: len(held) // 2]
            rows, columns = rows[keep], columns[keep]
        elif held.shape[1] > 1 and held.sum(1).max() <= held.shape[1] // 2:
            keep = np.argsort(~held, axis=1, kind="stable")[:, : held.shape[1] // 2]
            columns = np.take_along_axis(columns, keep, axis=1)
        else:
            return rows, columns


def _settle(progress):
    """Return final leaves by place: those that had left the state already, and those that are in it."""
    final = [*jax.tree.leaves(progress.state.layers), progress.state.diverged_at]
    settled = [np.asarray(leaf) for leaf in final]
    count = progress.measured.shape[2]
    earlier = progress.settled or [np.zeros((count, *leaf.shape[2:]), leaf.dtype) for leaf in settled]
    joined = [np.array(leaf) for leaf in earlier]
    for leaf, now in zip(joined, settled):
        leaf[progress.places] = now
    return tuple(joined)


def _to_arrays(progress: Progress) -> dict[str, np.ndarray]:
    """Return a slab in training as named arrays."""
    leaves = {f"state_{n:03}": np.asarray(leaf) for n, leaf in enumerate(jax.tree.leaves(progress.state))}
    settled = {f"settled_{n:03}": leaf for n, leaf in enumerate(progress.settled)}
    head = {"step": np.array(progress.step), "places": progress.places, "measured": progress.measured}
    snapshots = {
        f"snapshot_{at:06}_{n:03}": leaf
        for at, leaves in enumerate(progress.snapshots)
        for n, leaf in enumerate(leaves)
    }
    return head | leaves | settled | snapshots


def _from_arrays(arrays, slab, static):
    structure = jax.tree.structure(jax.eval_shape(_initialise(static), slab.keys, slab.networks))
    state = [jnp.asarray(arrays[name]) for name in sorted(arrays) if name.startswith("state_")]
    settled = tuple(arrays[name] for name in sorted(arrays) if name.startswith("settled_"))
    snapshots: dict[str, list[np.ndarray]] = {}
    for name in sorted(arrays):
        if name.startswith("snapshot_"):
            snapshots.setdefault(name.split("_")[1], []).append(arrays[name])
    state, observed = jax.tree.unflatten(structure, state), [tuple(leaves) for leaves in snapshots.values()]
    return Progress(int(arrays["step"]), arrays["places"], state, settled, arrays["measured"], observed)


@lru_cache(maxsize=16)
def _initialise(static: Static) -> Callable[..., State]:
    one = program.make_init(static)
    # Mapped, not vmapped: it runs once, and the program of one network compiles several times faster.
    return jax.jit(
        lambda keys, networks: jax.lax.map(lambda pack: jax.lax.map(lambda pair: one(*pair), pack), (keys, networks))
    )


_compiling = threading.Lock()


def _program(static: Static, device: jax.Device, *arguments: Any) -> Compiled:
    """Return the compiled program that takes a slab of these shapes through a chunk on a device."""
    sharding = SingleDeviceSharding(device)
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding) for leaf in leaves)
    with _compiling:  # workers that need the same program wait for it
        return _compile(static, structure, shapes)


@lru_cache(maxsize=64)
def _compile(static: Static, structure: Any, shapes: tuple) -> Compiled:
    images, packs, networks, state, orders = jax.tree.unflatten(structure, shapes)
    step, evaluated = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), jnp.bool_)
    train_slab = jax.jit(program.make_train(static), donate_argnums=3)
    return train_slab.lower(images, packs, networks, state, orders, step, step, step, evaluated).compile()
