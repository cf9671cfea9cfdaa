"""Trials that share a compiled program, and how such a population is laid out; nothing is trained here.

trials ──plan──> populations ──lay_out──> slabs of packs ──memo.training.execution──> Trained
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from memo.config import Execution, Trial, trained_images
from memo.data import datasets
from memo.data.treatments import AT_PRESENTATION
from memo.errors import Refusal
from memo.networks import mlp, program
from memo.networks.disturbances import DISTURBANCES, Strengths
from memo.networks.optimizers import OPTIMIZERS, Hyperparameters
from memo.networks.program import NetworkData, State, Static
from memo.networks.scaling import SCALINGS
from memo.training.machine import Machine

# Parameters from which a network on CPUs has two cores to itself: on neighbouring cores, two such networks evict each
# other's cache.
WIDE = 2_000_000


class PackRule(NamedTuple):
    """The number of networks that share each minibatch, up to `most_parameters` and from `fewest_images` per minibatch."""

    most_parameters: int
    fewest_images: int
    size: int


# The first rule that fits is taken, else networks share nothing. Sharing makes the first layers of a pack one wide matrix
# product, as long as their weights stay in a core's cache; small minibatches have little to share. docs/performance.md
# has the measurements. On a GPU, eight at a time were measured up to width 512, and no other number.
PACK_RULES = {
    "cpu": (PackRule(30_000, 1, 8), PackRule(100_000, 64, 4)),
    "gpu": (PackRule(1_000_000, 1, 8),),
}

# Operations of a step below which CPUs take several packs together: what XLA spends on starting a step's 30 operations is
# then spent once for all of them. 1.2 times as fast for 784-16-16-10 in batches of 10; two packs of 784-30-10: no gain.
SMALL_STEP = 800_000
PACKS_OF_SMALL_STEPS = 4


@dataclass(frozen=True)
class Signature:
    """The common properties of the trials of one population: the program's static choices and the data it reads."""

    static: Static
    dataset: str
    pool: int  # images, of which each network is trained on `n_train`
    n_train: int
    n_test: int
    n_validation: int
    crop: int | None
    image_side: int | None
    subset: str
    subset_seed: int | None
    inputs: str
    inputs_fraction: float
    inputs_seed: int | None
    evaluations: int
    spacing: str
    evaluation_images: int | None
    batch_order: str

    @property
    def evaluation_steps(self) -> np.ndarray:
        """Return the steps at which every network is evaluated, int32, ascending from 0."""
        return program.evaluation_steps(self.static.steps_per_epoch, self.static.steps, self.evaluations, self.spacing)


@dataclass(frozen=True)
class Population:
    """Trials that train inside one program: the unit of work, picklable, trainable wherever the data set is."""

    signature: Signature
    trials: tuple[Trial, ...]


def signature(trial: Trial) -> Signature:
    """Return what must be equal for two trials to train inside one program."""
    recipe = trial.recipe
    shape = datasets.shape(recipe.dataset.name)
    side = recipe.dataset.image_side or recipe.dataset.crop or shape.side
    pool = recipe.dataset.n_train or shape.train_images
    n_train = trained_images(recipe.dataset.name, pool, recipe.dataset.share)
    steps_per_epoch = Fraction(n_train, recipe.batch_size)
    static = Static(
        sizes=(shape.channels * side**2, *recipe.model.widths, shape.classes),
        activation=recipe.model.activation,
        init=recipe.model.init,
        loss=recipe.loss,
        optimizer=recipe.optimizer.name,
        schedule=recipe.optimizer.schedule,
        decay=recipe.optimizer.decay,
        batch_size=recipe.batch_size,
        steps_per_epoch=steps_per_epoch,
        steps=math.ceil(recipe.epochs * steps_per_epoch),
        receptive_field=recipe.model.receptive_field,
        disturbances=tuple(name for name in DISTURBANCES if getattr(recipe.regularization, name) > 0),
        noise_images=round(recipe.regularization.noise_images * recipe.batch_size),
        adversarial=recipe.regularization.adversarial > 0,
        early_learning=recipe.regularization.early_learning > 0,
        presentation=recipe.labels.kind if recipe.labels.kind in AT_PRESENTATION else None,
        momentum=recipe.optimizer.momentum > 0,
        scaling=recipe.inputs.scaling,
    )
    return Signature(
        static=static,
        dataset=recipe.dataset.name,
        pool=pool,
        n_train=n_train,
        n_test=recipe.dataset.n_test or shape.test_images,
        n_validation=recipe.dataset.n_validation,
        crop=recipe.dataset.crop,
        image_side=recipe.dataset.image_side,
        subset=recipe.dataset.subset,
        subset_seed=recipe.dataset.subset_seed,
        inputs=recipe.inputs.kind,
        inputs_fraction=recipe.inputs.fraction,
        inputs_seed=recipe.inputs.seed,
        evaluations=recipe.evaluations,
        evaluation_images=recipe.evaluation_images,
        spacing=recipe.spacing,
        batch_order=recipe.batch_order,
    )


def plan(trials: Sequence[Trial]) -> list[Population]:
    """Group trials into populations, smallest networks first, seed by seed."""
    groups: dict[Signature, list[Trial]] = defaultdict(list)
    of_recipe: dict[int, Signature] = {}  # by the identity of a recipe, which the seeds of a command share
    for trial in trials:
        if id(trial.recipe) not in of_recipe:
            of_recipe[id(trial.recipe)] = signature(trial)
        groups[of_recipe[id(trial.recipe)]].append(trial)
    populations = [
        Population(common, tuple(sorted(group, key=lambda trial: trial.seed))) for common, group in groups.items()
    ]
    return sorted(populations, key=lambda population: mlp.count_parameters(population.signature.static.sizes))


def step_flop(static: Static) -> int:
    """Return the operations of one network's step: 6 per weight and example, less 2 for the input's gradient."""
    weights = sum(inputs * outputs for inputs, outputs in pairwise(static.sizes))
    once = (6 * weights - 2 * static.sizes[0] * static.sizes[1]) * (static.batch_size + static.noise_images)
    # Adversarial images: a forward and a backward pass down to the pixels, then a second step.
    return once + (once + 4 * weights * static.batch_size if static.adversarial else 0)


def network_bytes(common: Signature) -> int:
    """Return the bytes of one network in training: weights, gradients, optimiser, labels, activations of a block."""
    static = common.static

    def start() -> State:
        key, number = jax.random.key(0), jnp.float32(0)
        hyper = Hyperparameters(number, number, number, dict.fromkeys(OPTIMIZERS[static.optimizer].options, number))
        strengths = Strengths(*[number] * len(Strengths._fields))
        labels = jnp.zeros(common.n_train, jnp.uint8)
        network = NetworkData(labels=labels, hyper=hyper, strengths=strengths, draws=key, stop_at=number)
        return program.make_start(static)(mlp.initialise(key, static.sizes, static.init), network)

    state = jax.eval_shape(start)
    own = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    examples = static.batch_size + static.noise_images
    activations = 4 * max(examples, mlp.BLOCK) * sum(static.sizes[1:])
    # Disturbed images are each network's own; others have no network axis.
    images = 4 * examples * static.sizes[0] if static.disturbances or static.noise_images or static.adversarial else 0
    return common.n_train + own + 4 * mlp.count_parameters(static.sizes) + activations + images


def images_bytes(common: Signature) -> int:
    """Return the bytes of the images that the networks of one seed read."""
    scaling = 0 if SCALINGS[common.static.scaling] is None else 8
    if common.inputs == "natural":
        return (datasets.shape(common.dataset).train_images + common.n_test) * (common.static.sizes[0] + scaling)
    bytes_each = 4 if common.inputs == "gaussian" else 1
    return (common.pool + common.n_validation + common.n_test) * (common.static.sizes[0] * bytes_each + scaling)


def most_flop(population: Population) -> float:
    """Return the operations of training a population whose networks never stop early, evaluations included."""
    common, networks = population.signature, len(population.trials)
    return networks * flop(common, common.static.steps, len(common.evaluation_steps))


def flop(common: Signature, steps: int, evaluations: int) -> float:
    """Return the operations of `steps` steps and `evaluations`, of one network or of many together.

    An evaluation takes 2 operations per weight and image.
    """
    weights = sum(inputs * outputs for inputs, outputs in pairwise(common.static.sizes))
    most = common.evaluation_images or math.inf
    seen = min(common.n_train, most) + common.n_validation + min(common.n_test, most)
    return float(step_flop(common.static) * steps + 2 * weights * seen * evaluations)


class Layout(NamedTuple):
    """The shape of every slab of a population, [packs, pack_size] networks, and how many train at a time."""

    packs: int
    pack_size: int
    workers: int


def lay_out(population: Population, machine: Machine, execution: Execution) -> Layout:
    """Choose the shape of a population's slabs: as large as is fast on this machine, and within its memory."""
    common = population.signature
    groups = [len(group) for group in _sharing(population).values()]
    pack_size = execution.pack_size
    if pack_size is None:
        parameters = mlp.count_parameters(common.static.sizes)
        batch = common.static.batch_size
        fitting = (
            rule.size
            for rule in PACK_RULES[machine.platform]
            if parameters <= rule.most_parameters and batch >= rule.fewest_images
        )
        pack_size = next(fitting, 1)
        # Smaller packs rather than idle workers.
        while pack_size > 1 and sum(math.ceil(group / pack_size) for group in groups) < machine.workers:
            pack_size = math.ceil(pack_size / 2)
        while pack_size > 1 and _pack_bytes(common, pack_size) > machine.memory:
            pack_size = math.ceil(pack_size / 2)
    most = max(groups)
    pack_size = math.ceil(most / math.ceil(most / pack_size))  # 5 networks are packs of 3 and 2, not of 4 and 1
    count = sum(math.ceil(group / pack_size) for group in groups)

    pack_bytes = _pack_bytes(common, pack_size)
    workers = min(machine.workers, count, max(1, machine.memory // pack_bytes))
    workers = min(workers, max(1, machine.workers // cores_each(common, machine.platform)))
    packs = execution.packs
    if packs is None:
        # A core takes its packs one after the other, which keeps their weights in its cache; a GPU takes all that fit in.
        packs = max(1, machine.memory // (workers * pack_bytes))
        if machine.platform == "cpu":
            packs = min(packs, PACKS_OF_SMALL_STEPS if pack_size * step_flop(common.static) < SMALL_STEP else 1)
    packs = min(packs, math.ceil(count / workers))
    return Layout(math.ceil(count / math.ceil(count / packs)), pack_size, workers)


def require_memory(population: Population, machine: Machine, layout: Layout) -> None:
    """Raise Refusal where this layout's networks that share minibatches need more memory than the machine gives them."""
    needed = _pack_bytes(population.signature, layout.pack_size)
    if needed > machine.memory:
        together = "a network" if layout.pack_size == 1 else f"{layout.pack_size} networks at a time"
        raise Refusal(
            f"To train {together} of {mlp.describe_widths(population.signature.static.sizes, '-')} takes "
            f"{needed / 1e9:.3g} GB; {machine.memory / 1e9:.3g} GB are available (execution.memory_gb sets another limit)."
        )


def cores_each(common: Signature, platform: str) -> int:
    """Return how many cores of a machine each worker has to itself."""
    return 2 if platform == "cpu" and mlp.count_parameters(common.static.sizes) >= WIDE else 1


def _pack_bytes(common: Signature, pack_size: int) -> int:
    # The subset's rows, in their order too, and the minibatches of two epochs, int32; validation rows and labels.
    own = pack_size * network_bytes(common) + 16 * common.pool + 5 * common.n_validation
    return own + (0 if common.inputs == "natural" else images_bytes(common))


def held_bytes(common: Signature, layout: Layout) -> int:
    """Return the memory that slabs in training and the images take."""
    at_once = layout.workers * layout.packs * _pack_bytes(common, layout.pack_size)
    return at_once + (images_bytes(common) if common.inputs == "natural" else 0)


def slabs(population: Population, layout: Layout) -> list[np.ndarray]:
    """Return [packs, pack_size] arrays of positions among the trials, -1 where a place is empty.

    Networks that probably train for long (random labels, small learning rates) come first and stand together: a pack takes
    as long as its slowest network, and the last slabs to finish should be short ones.
    """
    rows = [pack + [-1] * (layout.pack_size - len(pack)) for pack in shared_packs(population, layout.pack_size)]
    rows.sort(key=lambda pack: _haste(population.trials[pack[0]]))
    rows += [[-1] * layout.pack_size] * (-len(rows) % layout.packs)
    return list(np.array(rows).reshape(-1, layout.packs, layout.pack_size))


def shared_packs(population: Population, pack_size: int) -> list[list[int]]:
    """Return the positions of trials that share minibatches, at most `pack_size` in a pack, seed by seed."""
    groups = [
        sorted(group, key=lambda place: _haste(population.trials[place])) for group in _sharing(population).values()
    ]
    return [group[start : start + pack_size] for group in groups for start in range(0, len(group), pack_size)]


def _haste(trial: Trial) -> tuple[float, float]:
    return (-trial.recipe.labels.fraction, trial.recipe.optimizer.learning_rate)


def _sharing(population: Population) -> dict[int | None, list[int]]:
    """Return the positions of the trials that see the same images in the same order."""
    groups: dict[int | None, list[int]] = defaultdict(list)
    one_order = population.signature.batch_order == "shared" and population.signature.inputs == "natural"
    for place, trial in enumerate(population.trials):
        groups[None if one_order else trial.seed].append(place)
    return groups
