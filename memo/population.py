"""Trials that share a compiled program: planned here, trained here, on every device of the machine.

trials ──plan──> populations ──train──> Trained (learning curves, status, final networks)
"""

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from memo import datasets, mlp, training, treatments
from memo.config import Trial
from memo.optimizers import Hyperparameters
from memo.randomness import generator, purpose_key
from memo.training import Evaluation, Images, Network, Pack, Static

CLASSES = 10

# Networks that share each minibatch, by the most parameters a network may have. Measured on two AVX-512 cores, one run
# each, two hidden layers: at width 16 packs of 4 train 1.2 times as fast as packs of 2; at 64 packs of 2 are 1.2 times
# as fast as networks alone, at 512 slower (0.9). Only a whole pack can stop costing: with true and shuffled labels,
# width 64 took 15.5 s alone and 23.4 s in packs of 2.
PACK_SIZES = ((20_000, 4),)


@dataclass(frozen=True)
class Signature:
    """What the trials of one population have in common: the program's static choices and the data it reads."""

    static: Static
    dataset: str
    n_train: int
    n_test: int
    inputs: str
    evaluations: int


@dataclass(frozen=True)
class Population:
    """The unit of work: picklable, trainable anywhere that has the data set."""

    signature: Signature
    trials: tuple[Trial, ...]

    @property
    def pack_size(self) -> int:
        """Return how many networks share each minibatch and its matrix product."""
        parameters = mlp.count_parameters(self.signature.static.sizes)
        return next((size for most, size in PACK_SIZES if parameters <= most), 1)


@dataclass
class Trained:
    """What training a population gives, trial by trial in the population's order (T trials, E evaluations)."""

    steps: np.ndarray  # [E] int32
    curves: Evaluation  # float32 [T, E], NaN once a trial has ended
    status: list[str]  # completed, memorised or diverged
    stopped_at: np.ndarray  # [T] int32: the last step of each trial
    labels_changed: np.ndarray  # [T], the share of training labels that differ from the true ones
    parameters: int  # of each network
    layers: Any  # leaves [T, ...]
    images: Images
    sources: np.ndarray  # [T]
    statistics: treatments.PixelStatistics
    seconds: dict[str, float] = field(default_factory=dict)  # prepare, compile, train


def use_every_core() -> None:
    """Make each CPU core a device of its own, unless JAX has been used already.

    Independent networks on separate cores beat two threads inside one small matrix product, nearly twice at width 16.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # a notebook or a test has chosen its devices already
        jax.config.update("jax_num_cpu_devices", cores)


def signature(trial: Trial) -> Signature:
    """Return what must be equal for two trials to train inside one program."""
    recipe = trial.recipe
    n_train = recipe.dataset.n_train or datasets.TRAIN_IMAGES
    steps_per_epoch = n_train // recipe.batch_size
    static = Static(
        sizes=(datasets.PIXELS, *recipe.model.widths, CLASSES),
        activation=recipe.model.activation,
        init=recipe.model.init,
        loss=recipe.loss,
        optimizer=recipe.optimizer.name,
        schedule=recipe.optimizer.schedule,
        decay=recipe.optimizer.decay,
        batch_size=recipe.batch_size,
        steps_per_epoch=steps_per_epoch,
        steps=recipe.epochs * steps_per_epoch,
    )
    n_test = recipe.dataset.n_test or datasets.TEST_IMAGES
    return Signature(static, recipe.dataset.name, n_train, n_test, recipe.inputs.kind, recipe.evaluations)


def plan(trials: Sequence[Trial]) -> list[Population]:
    """Group trials into populations, smallest networks first; the trials of one seed stay together."""
    groups = defaultdict(list)
    for trial in trials:
        groups[signature(trial)].append(trial)
    populations = [
        Population(common, tuple(sorted(group, key=lambda trial: trial.seed))) for common, group in groups.items()
    ]
    return sorted(populations, key=lambda population: mlp.count_parameters(population.signature.static.sizes))


class Cost(NamedTuple):
    """What training a population takes at most (no network stops early): operations, and bytes held on the devices."""

    flop: float
    bytes: int


def cost(population: Population) -> Cost:
    """Return the cost of a population, evaluations included.

    A step is 6 operations a weight and example, less 2 for the first layer, whose inputs take no gradient; an
    evaluation is 2. Bytes are images, labels and, for each network, weights, gradients and the optimiser's moments.
    """
    common, networks = population.signature, len(population.trials)
    static = common.static
    weights = sum(inputs * outputs for inputs, outputs in pairwise(static.sizes))
    step = (6 * weights - 2 * static.sizes[0] * static.sizes[1]) * static.batch_size
    points = len(training.evaluation_steps(static.steps_per_epoch, static.steps, common.evaluations))
    passes = 2 * weights * (common.n_train + common.n_test) * points
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    network = Network(
        jax.ShapeDtypeStruct((common.n_train,), jnp.uint8), Hyperparameters(scalar, scalar, scalar), scalar
    )
    state = jax.eval_shape(training.make_init(static), jax.eval_shape(lambda: jax.random.key(0)), network)
    own = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    seeds = len({trial.seed for trial in population.trials})
    pixel = 4 if common.inputs == "gaussian" else 1
    images = (
        datasets.TRAIN_IMAGES + common.n_test
        if common.inputs == "natural"
        else seeds * (common.n_train + common.n_test)
    )
    gradients = 4 * mlp.count_parameters(static.sizes)
    held = images * datasets.PIXELS * pixel + networks * (common.n_train + own + gradients)
    return Cost(float(networks * (step * static.steps + passes)), held + 4 * seeds * common.n_train)


def train(
    population: Population,
    dataset: datasets.Dataset,
    on_evaluation: Callable[[int, int, np.ndarray], None] = lambda step, running, accuracies: None,
    pack_size: int | None = None,
) -> Trained:
    """Train a population on every device and return its curves and networks.

    `on_evaluation(step, trials still training, their training accuracies)` is called at each evaluation.
    """
    clock = {"prepare": -time.perf_counter()}
    common = population.signature
    mesh = Mesh(np.array(jax.devices()), ("device",))
    prepared = _prepare(population, dataset, pack_size or population.pack_size, mesh)
    places, images, packs, networks, keys = prepared.places, *prepared.arrays
    state = _initialise(common.static, mesh)(keys, networks)
    # Padding (a pack short of members, a device short of packs) is inactive from the start and so is skipped.
    state = state._replace(active=jax.device_put(prepared.occupied, state.active.sharding))
    clock["prepare"] += time.perf_counter()

    clock["compile"] = -time.perf_counter()
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
        (images, packs, networks, state),
    )
    leaves, structure = jax.tree.flatten(shapes)
    advance = _compile(common.static, mesh, structure, tuple(leaves))
    clock["compile"] += time.perf_counter()

    clock["train"] = -time.perf_counter()
    steps = training.evaluation_steps(common.static.steps_per_epoch, common.static.steps, common.evaluations)
    measured, first = [], np.int32(0)
    for last in steps:
        state, evaluation = advance(images, packs, networks, state, first, last)
        measured.append(jax.tree.map(lambda leaf: np.asarray(leaf)[places], evaluation))
        active = np.asarray(state.active)[places]
        on_evaluation(int(last), int(active.sum()), measured[-1].train_accuracy)
        first = last
        if not active.any():
            break
    clock["train"] += time.perf_counter()

    curves = jax.tree.map(lambda *points: np.stack(points, axis=1), *measured)
    diverged_at = np.asarray(state.diverged_at)[places]
    # A row with a non-finite number is no evaluation: the curve of a diverged trial ends before it.
    finite = np.isfinite(curves.train_loss) & np.isfinite(curves.test_loss)
    curves = jax.tree.map(lambda leaf: np.where(finite, leaf, np.nan), curves)
    ended = steps[np.array([np.flatnonzero(row)[-1] if row.any() else 0 for row in finite])]
    stop_at = np.asarray(networks.stop_at)[places]
    reached = np.nanmax(np.where(finite, curves.train_accuracy, -1), axis=1) >= stop_at
    return Trained(
        steps=steps[: len(measured)],
        curves=curves,
        status=[
            "diverged" if at >= 0 else "memorised" if hit else "completed" for at, hit in zip(diverged_at, reached)
        ],
        stopped_at=np.where(diverged_at >= 0, diverged_at, ended),
        labels_changed=prepared.labels_changed,
        parameters=mlp.count_parameters(common.static.sizes),
        layers=jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[places]), state.layers),
        images=prepared.local_images,
        sources=prepared.sources,
        statistics=prepared.statistics,
        seconds=clock,
    )


@dataclass
class _Prepared:
    """A population's data laid out as packs: `places` are each trial's (pack, member)."""

    places: tuple[np.ndarray, np.ndarray]
    occupied: np.ndarray  # [P, members] bool
    arrays: tuple[Images, Pack, Network, jax.Array]
    local_images: Images
    sources: np.ndarray
    labels_changed: np.ndarray
    statistics: treatments.PixelStatistics


def lay_out(seeds: Sequence[int], pack_size: int, devices: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return (pack [T], member [T], number of packs) so that a pack holds one seed and each device as many packs."""
    packs: list[list[int]] = []
    for seed in dict.fromkeys(seeds):
        trials = [place for place, other in enumerate(seeds) if other == seed]
        packs += [trials[start : start + pack_size] for start in range(0, len(trials), pack_size)]
    pack, member = np.zeros(len(seeds), int), np.zeros(len(seeds), int)
    for number, trials in enumerate(packs):
        pack[trials] = number
        member[trials] = np.arange(len(trials))
    return pack, member, -(-len(packs) // devices) * devices


def _prepare(population, dataset, pack_size, mesh):
    trials, common = population.trials, population.signature
    seeds = [trial.seed for trial in trials]
    pack_size = min(pack_size, max(seeds.count(seed) for seed in set(seeds)))
    pack, member, packs = lay_out(seeds, pack_size, mesh.size)
    # An empty place repeats the first trial: it must hold something, and it never trains.
    filled = np.zeros((packs, pack_size), int)
    filled[pack, member] = np.arange(len(trials))
    occupied = np.zeros((packs, pack_size), bool)
    occupied[pack, member] = True

    statistics = treatments.PixelStatistics(*dataset.pixel_statistics)
    test_rows = _test_rows(len(dataset.test_labels), common.n_test)
    distinct = list(dict.fromkeys(seeds))
    subsets = {seed: _subset(seed, len(dataset.train_labels), common.n_train) for seed in distinct}
    treat = treatments.INPUTS[common.inputs]
    test = dataset.test_images[test_rows]
    if treat is None:
        sources = np.zeros(len(trials), np.int32)
        rows = {seed: subsets[seed] for seed in distinct}
        train_images, test_images = dataset.train_images[None], test[None]
    else:
        sources = np.array([distinct.index(seed) for seed in seeds], np.int32)
        rows = {seed: np.arange(common.n_train, dtype=np.int32) for seed in distinct}
        treated = [
            treat(generator(seed, "inputs"), dataset.train_images[subsets[seed]], test, statistics) for seed in distinct
        ]
        train_images, test_images = map(np.stack, zip(*treated))

    true = {seed: dataset.train_labels[subsets[seed]] for seed in distinct}
    labels = [_labels(trial, true[trial.seed]) for trial in trials]
    changed = np.array([np.mean(own != true[trial.seed]) for own, trial in zip(labels, trials)])

    def numbers(pick):
        return np.array([pick(trial.recipe) for trial in trials], np.float32)[filled]

    networks = Network(
        np.stack(labels)[filled],
        Hyperparameters(
            numbers(lambda recipe: recipe.optimizer.learning_rate),
            numbers(lambda recipe: recipe.optimizer.momentum),
            numbers(lambda recipe: recipe.optimizer.weight_decay),
        ),
        numbers(lambda recipe: 2.0 if recipe.stop_at_train_accuracy is None else recipe.stop_at_train_accuracy),
    )
    head = filled[:, 0]
    keys_of = jax.jit(jax.vmap(purpose_key, (0, None)), static_argnums=1)
    all_seeds = np.array(seeds, np.int32)
    order = keys_of(all_seeds[head], "order")
    shared = Pack(sources[head], np.stack([rows[seeds[trial]] for trial in head]), order)
    keys = keys_of(all_seeds[filled].ravel(), "initialisation").reshape(filled.shape)
    local = Images(jnp.asarray(train_images), jnp.asarray(test_images), jnp.asarray(dataset.test_labels[test_rows]))
    everywhere, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("device"))
    arrays = jax.device_put((local, shared, networks, keys), (everywhere, split, split, split))
    return _Prepared((pack, member), occupied, arrays, local, sources, changed, statistics)


def _subset(seed, available, wanted):
    return generator(seed, "subset").permutation(available)[:wanted].astype(np.int32)


def _test_rows(available, wanted):
    # A fixed draw, the same for every seed, and not the first images: a file's order need not be a random one.
    if wanted == available:
        return np.arange(available)
    return np.sort(np.random.default_rng(0).permutation(available)[:wanted])


def _labels(trial, true):
    treat = treatments.LABELS[trial.recipe.labels.kind]
    return treat(generator(trial.seed, "labels"), true, trial.recipe.labels.fraction, CLASSES)


@lru_cache(maxsize=16)
def _initialise(static, mesh):
    one = training.make_init(static)

    def init(keys, networks):
        # Mapped, not vmapped: it runs once, and the program of one network compiles several times faster.
        return jax.lax.map(lambda pack: jax.lax.map(lambda pair: one(*pair), pack), (keys, networks))

    return jax.jit(
        jax.shard_map(init, mesh=mesh, in_specs=(P("device"), P("device")), out_specs=P("device"), check_vma=False)
    )


@lru_cache(maxsize=16)
def _compile(static: Static, mesh: Mesh, structure: Any, shapes: tuple):
    """Return the compiled program that takes a population from one evaluation to the next."""
    images, packs, networks, state = jax.tree.unflatten(structure, shapes)
    split, everywhere = P("device"), P()
    program = jax.shard_map(
        training.make_train(static),
        mesh=mesh,
        in_specs=(everywhere, split, split, split, everywhere, everywhere),
        out_specs=(split, split),
        check_vma=False,  # the core does not know of devices, and nothing is exchanged between them
    )
    step = jax.ShapeDtypeStruct((), jnp.int32)
    return jax.jit(program, donate_argnums=3).lower(images, packs, networks, state, step, step).compile()
