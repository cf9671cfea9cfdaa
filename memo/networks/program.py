"""Training networks side by side as one pure function: those that share minibatches, and packs of them.

    images, rows, labels ──> minibatches ──> steps
                         └─> evaluation on all images

A *pack* is a few networks that share their training subset and the order of its minibatches: those of one seed (a
network with true labels and its twin with shuffled ones), or of all seeds where the recipe says so. Inside a pack the
images have no network axis, so that the first layers of all its networks are one matrix product. A *slab* is a few packs
that are trained together.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from memo.data.treatments import AT_PRESENTATION
from memo.networks import early_learning, mlp
from memo.networks.arithmetic import PLAIN, Arithmetic
from memo.networks.disturbances import Strengths, disturb
from memo.networks.losses import LOSSES, Loss
from memo.networks.mlp import Layers
from memo.networks.optimizers import Hyperparameters, make_optimizer
from memo.networks.scaling import Overall, numbers, scaled


@dataclass(frozen=True)
class Static:
    """The constants of a compiled program: every choice made in Python, and every shape that its arrays do not determine."""

    sizes: tuple[int, ...]
    activation: str
    init: str
    loss: str
    optimizer: str
    schedule: str
    decay: float
    batch_size: int
    steps_per_epoch: int | Fraction  # images / batch_size: minibatches run on over the ends of epochs
    steps: int
    receptive_field: int | None = None  # side in pixels of the patch that a unit of the first layer sees; None: all
    disturbances: tuple[str, ...] = ()  # by their names in memo.networks.disturbances
    noise_images: int = 0  # of uniform noise in every minibatch, with the uniform distribution as target
    adversarial: bool = False  # also trains on images moved by the fast gradient sign method
    early_learning: bool = False  # whether averages of a network's answers to its training images are kept
    presentation: str | None = None  # how labels are redrawn whenever an image is presented (memo.data.treatments)
    momentum: bool = True  # whether it is above 0
    scaling: str = "unit"  # of the pixels, by its name in memo.networks.scaling
    # Of all training pixels, where a measurement shows images that `Images` has no numbers of.
    overall: Overall | None = None

    def knowing(self, overall: Overall) -> "Static":
        """Return these constants with what any image is scaled by, where images are scaled."""
        return self if self.scaling == "unit" else replace(self, overall=overall)


class Images(NamedTuple):
    """The images of all networks, from G image sources (1 where the seeds share their pixels)."""

    train: mlp.Array  # [G, N, pixels] uint8, or float32 where the treatment leaves the range of a byte
    test: mlp.Array  # [G, M, pixels]
    test_labels: mlp.Array  # [M] uint8
    train_scaling: mlp.Array | None = None  # [G, N, 2] of memo.networks.scaling; None where pixels are read as they are
    test_scaling: mlp.Array | None = None  # [G, M, 2]


class PackData(NamedTuple):
    """Data shared by the networks of one pack."""

    source: mlp.Array  # [] int32, which of the G image sources
    rows: mlp.Array  # [n] int32, the training subset as rows of it
    by_row: mlp.Array  # [n] int32, the subset's positions in the order of their rows
    validation: mlp.Array | None = None  # [v] int32, the images held out, as rows of it; None where there are none
    validation_labels: mlp.Array | None = None  # [v] uint8, their true labels


class LeftOut(NamedTuple):
    """The images of the pool on which T networks were not trained; the same number k for all, 0 where they read the whole pool."""

    rows: np.ndarray  # [T, k] int32, as rows of each network's image source
    labels: np.ndarray  # [T, k] uint8, those that it would have been trained on


class Redrawn(NamedTuple):
    """The labels that a network is given anew whenever an image is presented."""

    key: mlp.Array  # [] of all draws; a step has its own
    fraction: mlp.Array  # [] float32, of the labels


class NetworkData(NamedTuple):
    """Data of a single network."""

    labels: mlp.Array  # [n] uint8, aligned with its pack's rows
    hyper: Hyperparameters
    strengths: Strengths
    draws: mlp.Array  # [] key of the disturbances of its training
    stop_at: mlp.Array  # [] float32 training accuracy; above 1 never stops
    trained: Any = None  # [layers] float32, 1 where a layer trains and 0 where it stays; None: all train
    redrawn: Redrawn | None = None  # None where the labels stay


class State(NamedTuple):
    """A network in training, its weights turned (memo.networks.mlp.turned) from its first step to its last."""

    layers: Layers
    optimizer: Any  # optax's state
    active: jax.Array  # [] bool: still training
    diverged_at: jax.Array  # [] int32: first step with a non-finite loss, -1 where there was none
    averages: Any = ()  # [n, classes] of answers (memo.networks.early_learning), or nothing


class Evaluation(NamedTuple):
    """Passes of one fixed network over its training subset, test and validation images, float32 scalars."""

    train_loss: jax.Array
    train_accuracy: jax.Array
    test_loss: jax.Array
    test_accuracy: jax.Array
    validation_loss: Any = None  # of images held out, also an array; None where there are none
    validation_accuracy: Any = None


def as_pixels(images: jax.Array) -> jax.Array:
    """Return images [..., pixels], bytes or float32, as float32 on the scale where black is 0 and white is 1."""
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


def as_seen(static: Static, pixels: jax.Array) -> jax.Array:
    """Return any images [..., pixels], black 0 and white 1, as networks trained with these choices read them."""
    if static.scaling == "unit":
        return pixels
    if static.overall is None:
        raise ValueError(
            f"Images can be scaled ({static.scaling}) only where `overall` is known of the training images."
        )
    return scaled(pixels, numbers(static.scaling, pixels, static.overall))


def evaluation_steps(steps_per_epoch: int | Fraction, steps: int, evaluations: int, spacing: str) -> np.ndarray:
    """Return the steps at which to evaluate: 0, then at most `evaluations` points up to `steps`, int32, ascending.

    `log` spaces them evenly on a log axis, the end of the first epoch among them. The first lies a sixteenth of an
    epoch in, so that they are dense where half the accuracy on true labels is gained, and spread by a constant factor.
    `log_steps` begins at the first step. `epochs` takes the ends of epochs, all of them or evenly spaced ones.
    """
    if spacing == "epochs":
        epochs = int(steps // steps_per_epoch)
        ends = np.round(np.linspace(1, epochs, min(epochs, evaluations))) if evaluations > 1 else np.array([epochs])
        return np.array([0, *(math.ceil(steps_per_epoch * int(end)) for end in ends)], np.int32)
    first = 1 if spacing == "log_steps" else max(1, int(steps_per_epoch // 16))
    spaced = np.geomspace(first, steps, max(2, evaluations - 1))[1 - evaluations :]
    return np.unique(np.concatenate([[0, math.ceil(steps_per_epoch)], np.round(spaced)])).astype(np.int32)


@lru_cache(maxsize=64)
def brief_steps(steps: int) -> np.ndarray:
    """Return the steps at which to look whether a network has memorised: every one at first, then a fiftieth apart, int32."""
    taken = [1]
    while taken[-1] < steps:
        taken.append(taken[-1] + max(1, taken[-1] // 50))
    return np.array(taken, np.int32)


def _optimizer(static: Static) -> Callable[[Hyperparameters], optax.GradientTransformation]:
    plan = static.schedule, static.steps, static.steps_per_epoch, static.decay
    return make_optimizer(static.optimizer, static.momentum, *plan)


def make_start(static: Static) -> Callable[[Layers, NetworkData], State]:
    """Return `start(layers, network) -> State` at step 0, for the layers that `memo.networks.mlp.initialise` has drawn."""
    optimizer = _optimizer(static)

    def start(layers: Layers, network: NetworkData) -> State:
        layers = mlp.turned(layers)
        averages = jnp.zeros((len(network.labels), static.sizes[-1])) if static.early_learning else ()
        moments = optimizer(network.hyper).init(layers)
        return State(layers, moments, jnp.array(True), jnp.array(-1, jnp.int32), averages)

    return start


def _read(
    images: mlp.Array, scaling: mlp.Array | None, source: mlp.Array, rows: jax.Array, arithmetic: Arithmetic
) -> jax.Array:
    """Return images at rows of a source as the first layer takes them: a sparse one takes bytes, never scaled."""
    if arithmetic.sparse:
        return images[source, rows]
    return scaled(as_pixels(images[source, rows]), None if scaling is None else scaling[source, rows])


# What a look reads: of training and test images all, or the sample that curves are measured on; or as many training images
# as show that an accuracy is not reached, and nothing else.
ALL, SAMPLE, BRIEF = np.int32(0), np.int32(1), np.int32(2)


def make_evaluate(
    activation: str, loss_name: str, arithmetic: Arithmetic = PLAIN
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return `evaluate(layers, images [G, N, pixels], source, rows, labels, scaling, least, count) -> (loss, accuracy)`.

    Of the networks of a slab, `layers` and results [P, members]. `source` is [P], or None for the only one. `rows` [P, n] of
    each pack or [n] of all, `labels` [P, members, n] of each network, [P, n] or [n]; of them the first `count` (None: all).
    `scaling` [G, N, 2] are numbers for each image (memo.networks.scaling); None does not scale. It stops early where no
    accuracy can reach its `least` [P, members] or [] any more (0 or less: never); an accuracy below it is then an upper bound,
    and the losses are meaningless.
    """
    return partial(_evaluate, partial(_lost_and_missed, activation, LOSSES[loss_name], arithmetic), arithmetic)


def _lost_and_missed(
    activation: str,
    loss: Loss,
    arithmetic: Arithmetic,
    layers: Layers,
    labels: jax.Array,
    pixels: jax.Array,
    counted: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Return the summed loss of a network on the images that are counted, and how many of them it misclassifies."""
    outputs = mlp.apply(layers, pixels, activation, product=arithmetic.product)
    losses = jnp.where(counted, loss.per_example(outputs, labels), 0)
    missed = jnp.sum(counted & (jnp.argmax(outputs, axis=-1) != labels), dtype=jnp.int32)
    return jnp.sum(losses), missed


def _evaluate(
    of_network: Callable[..., tuple[jax.Array, jax.Array]],
    arithmetic: Arithmetic,
    layers: Layers,
    images: mlp.Array,
    source: mlp.Array | None,
    rows: mlp.Array,
    labels: mlp.Array,
    scaling: mlp.Array | None = None,
    least: jax.Array | float = 0.0,
    count: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    most = rows.shape[-1]
    block = min(mlp.BLOCK, most)
    n = jnp.int32(most) if count is None else count
    # Hidden from XLA, which multiplies by the reciprocal of a constant: 47 hits of 47 would be 0.99999994.
    size = lax.optimization_barrier(n.astype(jnp.float32))
    by_pack, by_network = (None if labels.ndim < axes else 0 for axes in (2, 3))

    def share(wrong: jax.Array) -> jax.Array:
        return (n - wrong).astype(jnp.float32) / size

    def of_pack(
        layers: Layers, source: jax.Array, rows: jax.Array, labels: jax.Array, counted: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        pixels = _read(images, scaling, source, rows, arithmetic)
        return side_by_side(of_network, (0, by_network, None, None))(layers, labels, pixels, counted)

    of_slab = side_by_side(of_pack, (0, None if source is None else 0, None if rows.ndim == 1 else 0, by_pack, None))

    def goes_on(totals: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        start, _, wrong = totals
        return (start < n) & jnp.any(share(wrong) >= least)

    def add_block(totals: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        start, lost, wrong = totals
        places = start + jnp.arange(block)
        counted = places < n  # the last block may reach past the end
        places = jnp.minimum(places, most - 1)
        own = labels[..., places].astype(jnp.int32)
        losses, missed = of_slab(layers, jnp.int32(0) if source is None else source, rows[..., places], own, counted)
        return start + block, lost + losses, wrong + missed

    networks = layers[0].biases.shape[:2]
    nothing = jnp.int32(0), jnp.zeros(networks, jnp.float32), jnp.zeros(networks, jnp.int32)
    _, lost, wrong = lax.while_loop(goes_on, add_block, nothing)
    return lost / size, share(wrong)


def sample_first(images: int, sampled: int | None) -> np.ndarray:
    """Return the numbers of test images [images] int32, an evenly spaced sample of them first, each part ascending."""
    every = np.arange(images, dtype=np.int32)
    if sampled is None or sampled >= images:
        return every
    first = np.zeros(images, bool)
    first[np.linspace(0, images - 1, sampled).round().astype(int)] = True
    return np.concatenate([every[first], every[~first]])


def _read_of(images: int, sampled: int | None, reading: jax.Array) -> jax.Array:
    """Return how many of so many images a look reads, [] int32."""
    sample = images if sampled is None else min(sampled, images)
    return jnp.where(reading == SAMPLE, jnp.int32(sample), jnp.int32(images))


def side_by_side(function: Callable, in_axes: tuple[int | None, ...]) -> Callable:
    """Return `jax.vmap(function, in_axes)`, for axes 0 or None, but without the axis where it has one entry only.

    XLA's CPU backend trains a batch of one network at width 2048 at half the speed of the network itself: it computes
    the gradients' transposes and turns them while it updates the weights (docs/performance.md).
    """

    def call(*arguments: Any) -> Any:
        mapped = next(argument for argument, axis in zip(arguments, in_axes) if axis == 0)
        if jax.tree.leaves(mapped)[0].shape[0] > 1:
            return jax.vmap(function, in_axes)(*arguments)
        only = [jax.tree.map(itemgetter(0), a) if axis == 0 else a for a, axis in zip(arguments, in_axes)]
        return jax.tree.map(lambda leaf: leaf[None], function(*only))

    return call


def make_minibatch_loss(static: Static, arithmetic: Arithmetic = PLAIN) -> Callable[..., jax.Array]:
    """Return `minibatch_loss(layers, pixels [batch, pixels], labels [batch], network, step) -> []`, disturbed as it trains."""
    loss = LOSSES[static.loss]
    apply = partial(mlp.apply, activation=static.activation, product=arithmetic.product)

    def minibatch_loss(
        layers: Layers, pixels: jax.Array, labels: jax.Array, network: NetworkData, step: jax.Array
    ) -> jax.Array:
        if not static.disturbances and not static.noise_images and not static.adversarial:
            return jnp.mean(loss.per_example(apply(layers, pixels), labels))
        disturbing, drawing = jax.random.split(jax.random.fold_in(network.draws, step))
        read = disturb(static.disturbances, network.strengths, disturbing)
        noise = as_pixels(jax.random.bits(drawing, (static.noise_images, pixels.shape[1]), jnp.uint8))

        def disturbed(pixels: jax.Array) -> jax.Array:
            outputs = apply(layers, jnp.concatenate([pixels, noise]), read=read)
            of_images = loss.per_example(outputs[: len(pixels)], labels)
            return jnp.mean(jnp.concatenate([of_images, loss.even(outputs[len(pixels) :])]))

        if not static.adversarial:
            return disturbed(pixels)
        # Goodfellow et al. 2015, the equation of section 6; one dropout mask serves the attack and the loss after it.
        own, slope = jax.value_and_grad(disturbed)(pixels)
        moved = lax.stop_gradient(pixels + network.strengths.adversarial_radius * jnp.sign(slope))
        weight = network.strengths.adversarial
        return (1 - weight) * own + weight * disturbed(moved)

    return minibatch_loss


def make_remembering_loss(static: Static, arithmetic: Arithmetic = PLAIN) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return the loss of a minibatch with the early-learning regulariser.

    `loss(layers, pixels [batch, pixels], labels [batch], network, step, averages [batch, classes]) -> ([], averages)`, those after
    this step. Noise and adversarial images, which are no training images, have no part in it. Probes measure the loss without it.
    """
    loss = LOSSES[static.loss]

    def remembering_loss(
        layers: Layers, pixels: jax.Array, labels: jax.Array, network: NetworkData, step: jax.Array, averages: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        disturbing, _ = jax.random.split(jax.random.fold_in(network.draws, step))  # as in `make_minibatch_loss`
        read = disturb(static.disturbances, network.strengths, disturbing)
        outputs = mlp.apply(layers, pixels, static.activation, read, arithmetic.product)
        answers = loss.activate(outputs)
        averages = early_learning.remember(averages, answers, jnp.asarray(network.strengths.early_learning_memory))
        added = network.strengths.early_learning * early_learning.penalty(answers, averages)
        return jnp.mean(loss.per_example(outputs, labels) + added), averages

    return remembering_loss


def _make_update(static: Static, arithmetic: Arithmetic) -> Callable[..., State]:
    """Return `update(state, network, step, places, pixels, labels) -> state`: one step of a network, laid out as its products ask."""
    optimizer = _optimizer(static)
    make_loss = make_remembering_loss if static.early_learning else make_minibatch_loss
    minibatch_loss = make_loss(static, arithmetic)
    seen = None if static.receptive_field is None else mlp.patches(static.sizes, static.receptive_field).T

    def turned_loss(layers: Layers, *arguments: Any) -> Any:
        return minibatch_loss(mlp.turned(arithmetic.laid_out(layers)), *arguments)

    def update(
        state: State, network: NetworkData, step: jax.Array, places: jax.Array, pixels: jax.Array, labels: jax.Array
    ) -> State:
        read, averages = (pixels, labels.astype(jnp.int32), network, step), state.averages
        if static.early_learning:
            before = averages[places]
            (value, after), gradients = jax.value_and_grad(turned_loss, has_aux=True)(state.layers, *read, before)
            # As changes: an image that stands twice in a minibatch, at the end of an epoch, has both.
            averages = averages.at[places].add(after - before)
        else:
            value, gradients = jax.value_and_grad(turned_loss)(state.layers, *read)
        if seen is not None:  # weights outside of the patches are 0 and stay so
            first = gradients[0]
            gradients = (first._replace(weights=first.weights * seen), *gradients[1:])
        updates, moments = optimizer(network.hyper).update(gradients, state.optimizer, state.layers)
        if network.trained is not None:  # of the updates, not of the gradients, to which weight decay is added
            updates = tuple(mlp.Layer(*(own * leaf for leaf in layer)) for own, layer in zip(network.trained, updates))
        layers = jax.tree.map(jnp.add, state.layers, updates)
        failed = (state.diverged_at < 0) & ~jnp.isfinite(value)
        return State(layers, moments, state.active, jnp.where(failed, step, state.diverged_at), averages)

    return update


def _laid_out(state: State, arithmetic: Arithmetic) -> State:
    """Return a state with weights, and what the optimiser keeps of each, as steps hold them; or back."""

    def are_layers(tree: Any) -> bool:
        return isinstance(tree, tuple) and len(tree) > 0 and isinstance(tree[0], mlp.Layer)

    def lay_out(tree: Any) -> Any:
        return arithmetic.laid_out(tree) if are_layers(tree) else tree

    return jax.tree.map(lay_out, state, is_leaf=are_layers)


def _make_run(static: Static, arithmetic: Arithmetic) -> Callable[..., State]:
    """Return `run(images, pack, network, state, minibatches [S, batch], since, first, last) -> state`: a network's steps."""
    update = _make_update(static, arithmetic)
    redraw = None if static.presentation is None else AT_PRESENTATION[static.presentation]

    def labels_at(network: NetworkData, step: jax.Array, places: jax.Array) -> jax.Array:
        labels = network.labels[places]
        if redraw is None or network.redrawn is None:
            return labels
        key, fraction = network.redrawn
        return redraw(jax.random.fold_in(key, step), jnp.asarray(labels), jnp.asarray(fraction), static.sizes[-1])

    def run(
        images: Images,
        pack: PackData,
        network: NetworkData,
        state: State,
        minibatches: jax.Array,
        since: jax.Array,
        first: jax.Array,
        last: jax.Array,
    ) -> State:
        def run_step(step: jax.Array, state: State) -> State:
            places = lax.dynamic_index_in_dim(minibatches, step - since, keepdims=False)
            pixels = _read(images.train, images.train_scaling, pack.source, pack.rows[places], arithmetic)
            return update(state, network, step, places, pixels, labels_at(network, step, places))

        return _laid_out(lax.fori_loop(first, last, run_step, _laid_out(state, arithmetic)), arithmetic)

    return run


def make_train(static: Static, arithmetic: Arithmetic = PLAIN) -> Callable[..., State]:
    """Return `train(images, packs, networks, state, minibatches, since, first, last) -> state`, not yet compiled.

    Takes the active networks of a slab from step `first` to step `last`. Leading axes: packs [P], networks and state
    [P, members]. `minibatches` [P, S, batch] are those of S steps from the step `since` on, with all of these steps among them:
    positions among the n images. A network that is no longer active, or has diverged, keeps its state.

    The steps are a `lax.fori_loop` rather than a `lax.scan`: evaluations lie one step apart at first and epochs apart
    later, and a loop with traced bounds lets one compiled program serve every interval.
    """
    run = _make_run(static, arithmetic)

    def train_network(
        alone: bool, images: Images, pack: PackData, network: NetworkData, state: State, *steps: jax.Array
    ) -> State:
        *span, first, last = steps
        trains = state.active & (state.diverged_at < 0)
        if alone:  # takes no steps once it has finished, so that no old weights need to be kept (docs/performance.md)
            return run(images, pack, network, state, *span, first, jnp.where(trains, last, first))
        # A finished network shares its pack's steps with those still training, but keeps its own weights.
        ran = run(images, pack, network, state, *span, first, last)
        return jax.tree.map(lambda old, new: jnp.where(trains, new, old), state, ran)

    def train(images: Images, packs: PackData, networks: NetworkData, *rest: Any) -> State:
        alone = networks.labels.shape[:2] == (1, 1)
        train_pack = side_by_side(partial(train_network, alone), (None, None, 0, 0, None, None, None, None))
        return side_by_side(train_pack, (None, 0, 0, 0, 0, None, None, None))(images, packs, networks, *rest)

    return train


def make_look(
    activation: str,
    loss_name: str,
    arithmetic: Arithmetic = PLAIN,
    sampled: int | None = None,
    same_subset: bool = False,
) -> Callable[..., Evaluation]:
    """Return `look(images, packs, networks, layers, reading) -> evaluation`, not yet compiled.

    Evaluates the networks of a slab, weights turned as in `State`, leading axes as in `make_train`. `reading` is ALL; SAMPLE,
    which reads `sampled` training images and as many test images (None: all), and all held out; or BRIEF, which reads no test or
    validation image, and only as many training images as are needed to show that an accuracy of `stop_at` is not reached: a
    training accuracy of at least that is exact, one below it an upper bound. `same_subset` says that all packs train on the same
    images, in whichever order: they are then read once for all.
    """
    evaluate = make_evaluate(activation, loss_name, arithmetic)

    def look(images: Images, packs: PackData, networks: NetworkData, layers: Layers, reading: jax.Array) -> Evaluation:
        layers = mlp.turned(layers)
        # Where there is one source, test images are read once for all packs, and so is a training subset that they share.
        source = None if images.train.shape[0] == 1 else packs.source
        least = jnp.where(reading == BRIEF, networks.stop_at, 0)
        # In the order in which they lie in memory: a third faster than in the order in which they were drawn.
        rows = jnp.take_along_axis(packs.rows, packs.by_row, -1)
        labels = jnp.take_along_axis(networks.labels, packs.by_row[:, None], -1)
        rows = rows[0] if same_subset and source is None else rows
        every = jnp.asarray(sample_first(images.test.shape[1], sampled))
        counts = [_read_of(of.shape[-1], sampled, reading) for of in (rows, every)]
        train = evaluate(layers, images.train, source, rows, labels, images.train_scaling, least, counts[0])
        none = jnp.where(reading == BRIEF, 2.0, 0.0)  # of the test images: no accuracy is 2
        tested = every, images.test_labels[every], images.test_scaling, none, counts[1]
        test = evaluate(layers, images.test, source, *tested)
        if packs.validation is None:
            return Evaluation(*train, *test)
        held_out = source, packs.validation, packs.validation_labels
        return Evaluation(*train, *test, *evaluate(layers, images.train, *held_out, images.train_scaling, none))

    return look
