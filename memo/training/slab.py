"""A slab in training: its networks' state, its steps chunk by chunk, what a checkpoint keeps, and what it becomes.

    SlabData ──> Slab: [chunk of steps, evaluation, finished networks dropped]* ──> Trained
                   └──arrays──> checkpoint ──> Slab

A chunk ends at the next evaluation, after seconds, or where a network may have memorised: between evaluations, those that
had nine tenths of `stop_at_train_accuracy` are looked at briefly, so that the step at which each of them stops is known
to a fiftieth. Curves may be measured on a sample of the images; whether a network stops, and its final values, never are. What ends a chunk never changes a result: a slab that goes on from a checkpoint gives the bits of one that was
never interrupted.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jax.stages import Compiled

from memo.config import Trial
from memo.data.treatments import PixelStatistics
from memo.networks import initial, mlp, program
from memo.networks.mlp import Layers
from memo.networks.optimizers import Hyperparameters
from memo.networks.program import Evaluation, Images, LeftOut, NetworkData, PackData, State, Static
from memo.networks.status import COMPLETED, DIVERGED, MEMORISED
from memo.training.inputs import TrainingData
from memo.training.machine import SPEED, arithmetic, look_arithmetic, platform_of
from memo.training.minibatches import Minibatches
from memo.training.population import Population, signature, step_flop
from memo.training.starts import Start

CHUNK_SECONDS = 5.0  # about: the most that lies between two looks at the clock, and so is lost in a crash
# Of the accuracy at which a network stops: from there on it is looked at between evaluations.
NEAR = 0.9
# What a smaller program must save before it is compiled, which takes 2 to 3 seconds for each shape.
RECOMPILE_FLOP = {platform: 5 * speed for platform, speed in SPEED.items()}


@dataclass
class Trained:
    """The results of training by trial (T trials, E evaluations)."""

    trials: tuple[Trial, ...]
    steps: np.ndarray  # [E] int32
    curves: Evaluation  # float32 [T, E], NaN once a trial has ended
    final: Evaluation  # float32 [T], of all images at the last evaluation of each trial; NaN where it diverged
    status: list[str]  # memo.networks.status
    stopped_at: np.ndarray  # [T] int32: the last step of each trial
    labels_changed: np.ndarray  # [T], the share of training labels that differ from the true ones
    layers: Layers  # leaves [T, ...]
    # Likewise, at each evaluation that was to be observed; the last weights once a trial has ended.
    snapshots: list[Layers]
    labels: np.ndarray  # [T, n] uint8, as trained on
    hyper: Hyperparameters  # leaves [T]
    rows: np.ndarray  # [T, n] int32, each training subset as rows of its image source
    left_out: LeftOut  # the other images of its pool
    images: Images
    sources: np.ndarray  # [T], the image source of each
    statistics: PixelStatistics
    seconds: dict[str, float] = field(default_factory=dict)  # prepare, compile, train, and of that evaluate

    @property
    def static(self) -> Static:
        """Return the constants of their program, with what images that none of them was trained on are scaled by."""
        return signature(self.trials[0]).static.knowing(self.statistics.overall)

    @property
    def curve_steps(self) -> np.ndarray:
        """Return the steps of the curves, [T, E]: those of the evaluations, and for who memorised in between its last step."""
        steps = np.tile(self.steps, (len(self.trials), 1))
        memorised = np.flatnonzero(np.array(self.status) == MEMORISED)
        steps[memorised, np.isfinite(self.curves.train_loss[memorised]).cumsum(1).argmax(1)] = self.stopped_at[
            memorised
        ]
        return steps


@dataclass
class SlabState:
    """The state of a slab in a checkpoint, with N places, some of which may be empty or have finished."""

    step: int  # reached by every active network
    places: np.ndarray  # [packs, members] which of the N places are in `running`
    running: State  # leaves [packs, members, ...]
    # Leaves [N, ...] of final layers and steps of divergence; () while all are in `running`.
    settled: tuple[np.ndarray, ...]
    evaluations: int  # made of all active networks
    # [6, evaluations so far, N] float32, the fields of Evaluation; one more where networks have ended since the last one.
    measured: np.ndarray
    # [6, N] float32, the fields of Evaluation of all images where a network has ended; NaN where it has not, or has diverged.
    finals: np.ndarray
    ended: np.ndarray  # [N] int32, the step at which each reached `stop_at_train_accuracy`, -1 where it has not
    snapshots: list[tuple[np.ndarray, ...]] = field(default_factory=list)  # leaves [N, ...] of layers, as observed

    @property
    def active(self) -> np.ndarray:
        """Return which of the networks in `running` still train, [packs, members] bool."""
        return np.asarray(self.running.active)

    def final(self) -> tuple[np.ndarray, ...]:
        """Return leaves [N, ...] of layers and steps of divergence: of networks settled before, and of those running."""
        layers = mlp.turned(jax.tree.map(np.asarray, self.running.layers))
        running = [*jax.tree.leaves(layers), np.asarray(self.running.diverged_at)]
        count = self.measured.shape[2]
        earlier = self.settled or [np.zeros((count, *leaf.shape[2:]), leaf.dtype) for leaf in running]
        joined = tuple(np.array(leaf) for leaf in earlier)
        for leaf, now in zip(joined, running):
            leaf[self.places] = now
        return joined

    def as_arrays(self) -> dict[str, np.ndarray]:
        """Return it as named arrays."""
        arrays = {"places": self.places, "measured": self.measured, "finals": self.finals, "ended": self.ended}
        arrays |= {"step": np.array(self.step), "evaluations": np.array(self.evaluations)}
        arrays |= {f"state_{n:03}": np.asarray(leaf) for n, leaf in enumerate(jax.tree.leaves(self.running))}
        arrays |= {f"settled_{n:03}": leaf for n, leaf in enumerate(self.settled)}
        for at, leaves in enumerate(self.snapshots):
            arrays |= {f"snapshot_{at:06}_{n:03}": leaf for n, leaf in enumerate(leaves)}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], structure: Any) -> "SlabState":
        """Return what `as_arrays` has named; `structure` is the tree of `running`."""
        named = sorted(arrays)
        running = [jnp.asarray(arrays[name]) for name in named if name.startswith("state_")]
        settled = tuple(arrays[name] for name in named if name.startswith("settled_"))
        snapshots: dict[str, list[np.ndarray]] = {}
        for name in named:
            if name.startswith("snapshot_"):
                snapshots.setdefault(name.split("_")[1], []).append(arrays[name])
        return cls(
            step=int(arrays["step"]),
            places=arrays["places"],
            running=jax.tree.unflatten(structure, running),
            settled=settled,
            evaluations=int(arrays["evaluations"]),
            measured=arrays["measured"],
            finals=arrays["finals"],
            ended=arrays["ended"],
            snapshots=[tuple(leaves) for leaves in snapshots.values()],
        )


class Slab:
    """A slab of a population, in training on one device."""

    def __init__(
        self,
        population: Population,
        places: np.ndarray,
        data: TrainingData,
        device: jax.Device,
        observed: Collection[int] = (),
        kept: dict[str, np.ndarray] | None = None,
        start: Start | None = None,
    ):
        """Start at step 0, or where the `arrays` that were kept of it were; from the layers of `start`, or from drawn ones.

        `places` [packs, members] are positions among the trials, -1 for an empty place; `observed` numbers the evaluations
        whose weights are wanted.
        """
        self._trials, self._signature = population.trials, population.signature
        self._static, self._steps = self._signature.static, self._signature.evaluation_steps
        self._brief_steps = program.brief_steps(self._static.steps)
        self._places, self._device, self._observed = places, device, frozenset(observed)
        self._statistics = data.statistics
        self.evaluation_seconds = 0.0
        self._data = data.slab(_read_by(places, population.trials), device)
        given = None if start is None else start.at(places)
        if given is not None and given.trained is not None:
            self._data = self._data._replace(networks=self._data.networks._replace(trained=given.trained))
        if kept is None:
            self._state = self._start(None if given is None else given.layers)
        else:
            state = jax.eval_shape(partial(_initialise, self._static), self._data.keys, self._data.networks)
            self._state = SlabState.from_arrays(kept, jax.tree.structure(state))
        self._take_up()

    def _start(self, layers: Layers | None) -> SlabState:
        state = _initialise(self._static, self._data.keys, self._data.networks, layers)
        return SlabState(
            step=0,
            places=np.arange(self._places.size).reshape(self._places.shape),
            running=state._replace(active=jnp.asarray(self._places >= 0)),
            settled=(),
            evaluations=0,
            measured=np.zeros((len(Evaluation._fields), 0, self._places.size), np.float32),
            finals=np.full((len(Evaluation._fields), self._places.size), np.nan, np.float32),
            ended=np.full(self._places.size, -1, np.int32),
        )

    def _take_up(self) -> None:
        """Put on the device what the networks that run read, and draw the orders of their minibatches."""
        places, slab, static = self._state.places, self._data, self._static
        rows = places[:, 0] // self._places.shape[1]
        packs = jax.tree.map(lambda leaf: leaf[rows], slab.packs)
        networks = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[places], slab.networks)
        self._read: tuple[PackData, NetworkData] = jax.device_put((packs, networks), self._device)
        subsets = np.take_along_axis(packs.rows, packs.by_row, -1)
        self._same_subset = bool((subsets == subsets[0]).all())
        count, members = places.shape
        self._arithmetic = arithmetic(static, count, members, self._device, slab.images)
        together = places.size if self._same_subset else members
        self._look_arithmetic = look_arithmetic(static, together, self._device, slab.images)
        # Steps a second: an expectation, until a chunk has been timed.
        self._pace = SPEED[platform_of(self._device)] / (step_flop(static) * places.size)
        orders, images = slab.orders[rows], self._signature.n_train
        self._minibatches = Minibatches(orders, images, static.batch_size, static.steps, self._device)

    def compile(self) -> None:
        """Compile the programs that `advance` runs at first, and that of its orders by drawing some."""
        self._minibatches.at(0)
        self._look()
        self._train()

    @property
    def step(self) -> int:
        """Return the step that every active network has reached."""
        return self._state.step

    @property
    def evaluations(self) -> int:
        """Return how many evaluations have been made."""
        return self._state.evaluations

    @property
    def finished(self) -> bool:
        """Return whether no network is left to train."""
        return self.evaluations == len(self._steps) or not self._state.active.any()

    def accuracies(self) -> np.ndarray:
        """Return the last training accuracies of the networks that train on."""
        return self._last_accuracies()[self._state.active]

    def _last_accuracies(self) -> np.ndarray:
        """Return the training accuracies [packs, members] at the last evaluation, 0 before the first."""
        state = self._state
        return (
            state.measured[1, state.evaluations - 1, state.places]
            if state.evaluations
            else np.zeros(state.places.shape)
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a checkpoint is to keep."""
        return self._state.as_arrays()

    def advance(self) -> None:
        """Take one chunk: to the next evaluation, or as far as seconds or the minibatches drawn go."""
        state = self._state
        target = int(self._steps[self.evaluations])
        near = state.active & (self._last_accuracies() >= NEAR * np.asarray(self._read[1].stop_at))
        brief = (
            int(self._brief_steps[np.searchsorted(self._brief_steps, state.step, "right")]) if near.any() else target
        )
        most = max(1, int(CHUNK_SECONDS * self._pace))
        since, until, minibatches = self._minibatches.at(state.step)
        last = min(target, brief, state.step + most, until)
        if last > state.step:
            span, train = (np.int32(since), np.int32(state.step), np.int32(last)), self._train()
            begun = time.perf_counter()
            state.running = jax.block_until_ready(
                train(self._data.images, *self._read, state.running, minibatches, *span)
            )
            self._pace = (last - state.step) / (time.perf_counter() - begun)
        state.step = last
        begun = time.perf_counter()
        if last == target:
            self._evaluate()
        elif last == brief:
            memorised = self._memorised(near)
            if memorised.any():
                self._record(self._evaluation(self._of_curves), memorised)
                self._end(memorised, memorised)
        self.evaluation_seconds += time.perf_counter() - begun
        self._drop_finished()

    @property
    def _of_curves(self) -> np.int32:
        """What the evaluations of curves read (memo.networks.program)."""
        return program.ALL if self._signature.evaluation_images is None else program.SAMPLE

    def _evaluate(self) -> None:
        """Make the next of the evaluations: add it to the curves, and end the networks that have memorised, diverged or come to the end."""
        state, stop_at = self._state, np.asarray(self._read[1].stop_at)
        found, active = self._evaluation(self._of_curves), state.active
        self._record(found, active)
        # By the sample, or what all images say.
        hopeful = active & (found.train_accuracy >= (stop_at if self._of_curves == program.ALL else NEAR * stop_at))
        memorised = self._memorised(hopeful) if self._of_curves == program.SAMPLE and hopeful.any() else hopeful
        last = state.evaluations == len(self._steps) - 1
        self._end(active if last else memorised, memorised, found)
        if self.evaluations in self._observed:
            state.snapshots.append(state.final()[:-1])
        state.evaluations += 1

    def _memorised(self, hopeful: np.ndarray) -> np.ndarray:
        """Return which of some networks [packs, members] have reached the accuracy at which they stop, on all training images."""
        reached = self._evaluation(program.BRIEF, hopeful).train_accuracy >= np.asarray(self._read[1].stop_at)
        return hopeful & reached

    def _evaluation(self, reading: np.int32, only: np.ndarray | None = None) -> Evaluation:
        """Return NumPy arrays [packs, members], of what `reading` says; a brief look is at some networks only."""
        packs, networks = self._read
        if only is not None:  # of the others no image is read: no accuracy is 2
            networks = networks._replace(stop_at=np.where(only, networks.stop_at, np.float32(2)))
        seen = self._look()(self._data.images, packs, networks, self._state.running.layers, reading)
        nothing = np.full(self._state.places.shape, np.nan, np.float32)  # where no image is held out
        return jax.tree.map(lambda values: nothing if values is None else np.asarray(values), seen, is_leaf=_is_none)

    def _train(self) -> Compiled:
        steps = (np.int32(0),) * 3  # since, first, last
        read = self._data.images, *self._read, self._state.running, self._minibatches.shape, *steps
        return _program(program.make_train, (self._static, self._arithmetic), self._device, *read, donated=3)

    def _look(self) -> Compiled:
        static, running = self._static, self._state.running
        read = self._data.images, *self._read, running.layers, program.ALL
        sampled = self._signature.evaluation_images
        choices = static.activation, static.loss, self._look_arithmetic, sampled, self._same_subset
        return _program(program.make_look, choices, self._device, *read)

    def _record(self, evaluation: Evaluation, seen: np.ndarray) -> None:
        """Add an evaluation of the networks `seen` [packs, members] to their curves; those that diverged end with it."""
        state, place = self._state, self._state.evaluations
        if state.measured.shape[1] == place:
            empty = np.full((len(evaluation), 1, state.measured.shape[2]), np.nan, np.float32)
            state.measured = np.concatenate([state.measured, empty], axis=1)
        state.measured[:, place, state.places[seen]] = np.stack(evaluation)[:, seen]
        diverged_at = np.array(state.running.diverged_at)
        diverged_at[seen & (diverged_at < 0) & ~np.isfinite(evaluation.train_loss)] = state.step
        active = state.active & ~(seen & (diverged_at >= 0))
        state.running = state.running._replace(active=jnp.asarray(active), diverged_at=jnp.asarray(diverged_at))

    def _end(self, ended: np.ndarray, memorised: np.ndarray, found: Evaluation | None = None) -> None:
        """Keep the final values of networks that have come to their end, some by having memorised; not of those that diverged.

        `found` is the evaluation just made of them, which are the final values where it has read all images.
        """
        state = self._state
        ended, memorised = ended & state.active, memorised & state.active
        if not ended.any():
            return
        whole = found if found and self._of_curves == program.ALL else self._evaluation(program.ALL)
        state.finals[:, state.places[ended]] = np.stack(whole)[:, ended]
        state.ended[state.places[memorised]] = state.step
        state.running = state.running._replace(active=jnp.asarray(state.active & ~memorised))

    def _drop_finished(self) -> None:
        """Drop finished networks, where the steps that are left repay compiling a smaller program."""
        state, active = self._state, self._state.active
        rows, columns = _smaller(active)
        flop = step_flop(self._static) * (self._static.steps - state.step)
        if active.any() and flop * (active.size - rows.size) >= RECOMPILE_FLOP[platform_of(self._device)]:
            state.settled = state.final()
            state.places = state.places[rows, columns]
            state.running = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[rows, columns]), state.running)
            self._take_up()

    def result(self) -> Trained:
        """Return what its networks became, without those of empty places."""
        state, networks, packs, members = self._state, self._data.networks, self._data.packs, self._places.shape[1]
        occupied = np.flatnonzero(self._places.ravel() >= 0)
        final = state.final()
        diverged_at = final[-1][occupied]
        steps, curves, last = self._curves(occupied)
        ended = state.ended[occupied]
        structure = jax.tree.structure(state.running.layers)
        # A slab whose networks have all ended before an evaluation is observed there as it ended.
        observed = state.snapshots + [final[:-1]] * (len(self._observed) - len(state.snapshots))

        def of_trials(leaves: tuple[np.ndarray, ...]) -> Layers:
            return jax.tree.unflatten(structure, [jnp.asarray(leaf[occupied]) for leaf in leaves])

        return Trained(
            trials=tuple(self._trials[place] for place in self._places.ravel()[occupied]),
            steps=steps,
            curves=curves,
            final=Evaluation(*(values[occupied] for values in state.finals)),
            status=[
                DIVERGED if at >= 0 else MEMORISED if end >= 0 else COMPLETED for at, end in zip(diverged_at, ended)
            ],
            stopped_at=np.where(diverged_at >= 0, diverged_at, np.where(ended >= 0, ended, last)),
            labels_changed=self._data.labels_changed.ravel()[occupied],
            layers=of_trials(final[:-1]),
            snapshots=[of_trials(leaves) for leaves in observed],
            labels=np.asarray(networks.labels).reshape(-1, networks.labels.shape[-1])[occupied],
            hyper=jax.tree.map(lambda leaf: leaf.ravel()[occupied], networks.hyper),
            rows=np.repeat(packs.rows, members, axis=0)[occupied],
            left_out=jax.tree.map(lambda leaf: leaf.reshape(self._places.size, -1)[occupied], self._data.left_out),
            images=self._data.images,
            sources=np.repeat(packs.source, members)[occupied],
            statistics=self._statistics,
        )

    def _curves(self, occupied: np.ndarray) -> tuple[np.ndarray, Evaluation, np.ndarray]:
        """Return the steps of evaluations [E], the curves [T, E] at them, and the last step [T] of each curve."""
        curves = Evaluation(*(values[:, occupied].T for values in self._state.measured))
        steps = self._steps[: curves.train_loss.shape[1]]
        # A row with a non-finite number is no evaluation: the curve of a diverged trial ends before it.
        finite = np.isfinite(curves.train_loss) & np.isfinite(curves.test_loss)
        if self._signature.n_validation:
            finite &= np.isfinite(curves.validation_loss)
        ended = steps[np.array([np.flatnonzero(row)[-1] if row.any() else 0 for row in finite])]
        return steps, jax.tree.map(lambda leaf: np.where(finite, leaf, np.nan), curves), ended


def _read_by(places: np.ndarray, trials: tuple[Trial, ...]) -> list[list[Trial]]:
    """Return trials by place. An empty place repeats a trial: it must hold something, and it never trains."""
    first = trials[places.flat[0]]
    return [
        [trials[place if place >= 0 else pack[0]] for place in pack] if pack[0] >= 0 else [first] * len(pack)
        for pack in places
    ]


def _is_none(leaf: Any) -> bool:
    return leaf is None


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


def _initialise(static: Static, keys: jax.Array, networks: NetworkData, layers: Layers | None = None) -> State:
    """Return networks before their first step, leaves [packs, members, ...]: of the layers given, or of those drawn by the keys."""
    if layers is None:
        # Apart from what follows, because the drawing compiles slowly, and populations of the same sizes share it.
        layers = initial.drawing(static.sizes, static.init, static.receptive_field)(keys)
    # What a start does not depend on is set aside: populations with the same optimiser share this program too.
    shared = replace(static, activation="", loss="", batch_size=0, disturbances=(), noise_images=0, adversarial=False)
    return _start(shared)(layers, networks)


@lru_cache(maxsize=16)
def _start(static: Static) -> Callable[[Layers, NetworkData], State]:
    return jax.jit(jax.vmap(jax.vmap(program.make_start(static))))


class _Slot:
    """A place for one compiled program; workers that need the same program wait for the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.program: Compiled | None = None


@lru_cache(maxsize=64)
def _slot(*key: Any) -> _Slot:
    return _Slot()


def _program(
    make: Callable[..., Callable], choices: tuple, device: jax.Device, *arguments: Any, donated: int | None = None
) -> Compiled:
    """Return the compiled program `make(*choices)` for arguments of these shapes on a device."""
    sharding = SingleDeviceSharding(device)
    leaves, structure = jax.tree.flatten(arguments)
    shapes = [
        jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=None if isinstance(leaf, np.generic) else sharding)
        for leaf in leaves
    ]
    slot = _slot(make, choices, structure, *shapes)
    with slot.lock:
        if slot.program is None:
            jitted = jax.jit(make(*choices), donate_argnums=() if donated is None else donated)
            slot.program = jitted.lower(*jax.tree.unflatten(structure, shapes)).compile()
        return slot.program
