"""Training networks side by side as one pure function: those that share minibatches, and packs of them.

    images, rows, labels ──> minibatches ──> steps ──> evaluation on all images

A *pack* is a few networks that share their training subset and the order of its minibatches: those of one seed (a
network with true labels and its twin with shuffled ones), or of all seeds where the recipe says so. Inside a pack the
images have no network axis, so that the first layers of all its networks are one matrix product. A *slab* is a few packs
that take their steps together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from memo.networks import mlp
from memo.networks.disturbances import Strengths, disturb
from memo.networks.losses import LOSSES
from memo.networks.mlp import Layers
from memo.networks.optimizers import Hyperparameters, make_optimizer


@dataclass(frozen=True)
class Static:
    """What a compiled program fixes: every choice made in Python, and every shape that its arrays do not tell."""

    sizes: tuple[int, ...]
    activation: str
    init: str
    loss: str
    optimizer: str
    schedule: str
    decay: float
    batch_size: int
    steps_per_epoch: int
    steps: int
    receptive_field: int | None = None  # side in pixels of the patch that a unit of the first layer sees; None: all
    disturbances: tuple[str, ...] = ()  # by their names in memo.networks.disturbances
    noise_images: int = 0  # of uniform noise in every minibatch, with the uniform distribution as target
    adversarial: bool = False  # also trains on images moved by the fast gradient sign method
    momentum: bool = True  # whether it is above 0


class Images(NamedTuple):
    """What all networks read, from G image sources (1 where the seeds share their pixels)."""

    train: mlp.Array  # [G, N, pixels] uint8, or float32 where the treatment leaves the range of a byte
    test: mlp.Array  # [G, M, pixels]
    test_labels: mlp.Array  # [M] uint8


class PackData(NamedTuple):
    """What the networks of one pack share."""

    source: mlp.Array  # [] int32, which of the G image sources
    rows: mlp.Array  # [n] int32, the training subset as rows of it
    by_row: mlp.Array  # [n] int32, the subset's positions in the order of their rows


class NetworkData(NamedTuple):
    """What each network has of its own."""

    labels: mlp.Array  # [n] uint8, aligned with its pack's rows
    hyper: Hyperparameters
    strengths: Strengths
    draws: mlp.Array  # [] key of the disturbances of its training
    stop_at: mlp.Array  # [] float32 training accuracy; above 1 never stops


class State(NamedTuple):
    """A network in training, its weights turned (memo.networks.mlp.turned) from its first step to its last."""

    layers: Layers
    optimizer: Any  # optax's state
    active: jax.Array  # [] bool: still training
    diverged_at: jax.Array  # [] int32: first step with a non-finite loss, -1 where there was none


class Evaluation(NamedTuple):
    """Full passes of one fixed network over its training subset and the test images, float32 scalars."""

    train_loss: jax.Array
    train_accuracy: jax.Array
    test_loss: jax.Array
    test_accuracy: jax.Array


def as_pixels(images: jax.Array) -> jax.Array:
    """Return images [..., pixels], bytes or float32, as float32 on the scale where black is 0 and white is 1."""
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


def evaluation_steps(steps_per_epoch: int, steps: int, evaluations: int, spacing: str) -> np.ndarray:
    """Return the steps at which to evaluate: 0, then at most `evaluations` points up to `steps`, int32, ascending.

    `log` spaces them evenly on a log axis, the end of the first epoch among them. The first lies a sixteenth of an
    epoch in, so that they are dense where half the accuracy on true labels is gained, and spread by a constant factor.
    `epochs` takes the ends of epochs, all of them or evenly spaced ones.
    """
    if spacing == "epochs":
        epochs = steps // steps_per_epoch
        ends = np.round(np.linspace(1, epochs, min(epochs, evaluations))) if evaluations > 1 else np.array([epochs])
        return np.concatenate([[0], steps_per_epoch * ends]).astype(np.int32)
    spaced = np.geomspace(max(1, steps_per_epoch // 16), steps, max(2, evaluations - 1))[1 - evaluations :]
    return np.unique(np.concatenate([[0, steps_per_epoch], np.round(spaced)])).astype(np.int32)


def _optimizer(static: Static) -> Callable[[Hyperparameters], optax.GradientTransformation]:
    plan = static.schedule, static.steps, static.steps_per_epoch, static.decay
    return make_optimizer(static.optimizer, static.momentum, *plan)


def make_init(static: Static) -> Callable[[jax.Array, NetworkData], State]:
    """Return `init(key, network) -> State` for one network at step 0."""
    optimizer = _optimizer(static)

    def init(key: jax.Array, network: NetworkData) -> State:
        layers = mlp.turned(mlp.initialise(key, static.sizes, static.init, static.receptive_field))
        return State(layers, optimizer(network.hyper).init(layers), jnp.array(True), jnp.array(-1, jnp.int32))

    return init


def make_evaluate(static: Static) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Return `evaluate(layers, images [G, N, pixels], source, rows [n], labels [n]) -> (loss, accuracy)` of one network."""
    loss = LOSSES[static.loss]

    def evaluate(
        layers: Layers, images: mlp.Array, source: mlp.Array, rows: mlp.Array, labels: mlp.Array
    ) -> tuple[jax.Array, jax.Array]:
        n = rows.shape[0]
        block = min(mlp.BLOCK, n)

        def block_totals(start: jax.Array) -> tuple[jax.Array, jax.Array]:
            places = start + jnp.arange(block)
            counted = places < n  # the last block may reach past the end
            places = jnp.minimum(places, n - 1)
            outputs = mlp.apply(layers, as_pixels(images[source, rows[places]]), static.activation)
            own = labels[places].astype(jnp.int32)
            losses = jnp.where(counted, loss.per_example(outputs, own), 0)
            return jnp.sum(losses), jnp.sum(counted & (jnp.argmax(outputs, axis=-1) == own))

        losses, hits = lax.map(block_totals, jnp.arange(0, n, block))
        # Hidden from XLA, which multiplies by the reciprocal of a constant: 47 hits of 47 would be 0.99999994.
        count = lax.optimization_barrier(jnp.float32(n))
        return jnp.sum(losses) / count, jnp.sum(hits).astype(jnp.float32) / count

    return evaluate


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


def make_minibatch_loss(static: Static) -> Callable[..., jax.Array]:
    """Return `minibatch_loss(layers, pixels [batch, pixels], labels [batch], network, step) -> []`, disturbed as it trains."""
    loss = LOSSES[static.loss]

    def minibatch_loss(
        layers: Layers, pixels: jax.Array, labels: jax.Array, network: NetworkData, step: jax.Array
    ) -> jax.Array:
        if not static.disturbances and not static.noise_images and not static.adversarial:
            return jnp.mean(loss.per_example(mlp.apply(layers, pixels, static.activation), labels))
        disturbing, drawing = jax.random.split(jax.random.fold_in(network.draws, step))
        read = disturb(static.disturbances, network.strengths, disturbing)
        noise = as_pixels(jax.random.bits(drawing, (static.noise_images, pixels.shape[1]), jnp.uint8))

        def disturbed(pixels: jax.Array) -> jax.Array:
            outputs = mlp.apply(layers, jnp.concatenate([pixels, noise]), static.activation, read)
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


def _make_update(static: Static) -> Callable[..., State]:
    """Return `update(state, network, step, pixels, labels) -> state`: one step of a network."""
    optimizer = _optimizer(static)
    minibatch_loss = make_minibatch_loss(static)
    seen = None if static.receptive_field is None else mlp.patches(static.sizes, static.receptive_field).T

    def turned_loss(layers: Layers, *arguments: Any) -> jax.Array:
        return minibatch_loss(mlp.turned(layers), *arguments)

    def update(state: State, network: NetworkData, step: jax.Array, pixels: jax.Array, labels: jax.Array) -> State:
        value, gradients = jax.value_and_grad(turned_loss)(
            state.layers, pixels, labels.astype(jnp.int32), network, step
        )
        if seen is not None:  # weights outside of the patches are 0 and stay so
            first = gradients[0]
            gradients = (first._replace(weights=first.weights * seen), *gradients[1:])
        updates, moments = optimizer(network.hyper).update(gradients, state.optimizer, state.layers)
        layers = jax.tree.map(jnp.add, state.layers, updates)
        failed = (state.diverged_at < 0) & ~jnp.isfinite(value)
        return State(layers, moments, state.active, jnp.where(failed, step, state.diverged_at))

    return update


def _make_run(static: Static) -> Callable[..., State]:
    """Return `run(images, pack, network, state, orders [K, n], since, first, last) -> state`: a network's steps."""
    update = _make_update(static)

    def run(
        images: Images,
        pack: PackData,
        network: NetworkData,
        state: State,
        orders: jax.Array,
        since: jax.Array,
        first: jax.Array,
        last: jax.Array,
    ) -> State:
        def run_step(step: jax.Array, state: State) -> State:
            epoch, place = jnp.divmod(step, static.steps_per_epoch)
            start = epoch - since, place * static.batch_size
            places = lax.dynamic_slice(orders, start, (1, static.batch_size))[0]
            pixels = as_pixels(images.train[pack.source, pack.rows[places]])
            return update(state, network, step, pixels, network.labels[places])

        return lax.fori_loop(first, last, run_step, state)

    return run


def _make_measure(static: Static) -> Callable[..., Evaluation]:
    """Return `measure(images, pack, network, layers) -> Evaluation`."""
    evaluate = make_evaluate(static)

    def measure(images: Images, pack: PackData, network: NetworkData, layers: Layers) -> Evaluation:
        # In the order in which they lie in memory: a third faster than in the order in which they were drawn.
        train = evaluate(layers, images.train, pack.source, pack.rows[pack.by_row], network.labels[pack.by_row])
        test = evaluate(layers, images.test, pack.source, jnp.arange(images.test.shape[1]), images.test_labels)
        return Evaluation(*train, *test)

    return measure


def make_train(static: Static) -> Callable[..., tuple[State, Evaluation]]:
    """Return `train(images, packs, networks, state, orders, since, first, last, evaluated) -> (state, evaluation)`.

    Not yet compiled. Takes the active networks of a slab from step `first` to step `last` and, where `evaluated` (a
    bool) is true, evaluates them there. Leading axes: packs [P], networks, state and evaluation [P, members]. `orders`
    [P, K, n] are those of minibatches in K epochs from the epoch `since` on, which contain all of these steps. A network
    stops being active when its training accuracy reaches `stop_at` or its loss is no longer finite; it then keeps its
    last state, and its evaluations are NaN.

    The steps are a `lax.fori_loop` rather than a `lax.scan`: evaluations lie one step apart at first and epochs apart
    later, and a loop with traced bounds lets one compiled program serve every interval.
    """
    run, measure = _make_run(static), _make_measure(static)

    def train_network(
        alone: bool, images: Images, pack: PackData, network: NetworkData, state: State, *steps: jax.Array
    ) -> tuple[State, Evaluation]:
        *span, first, last, evaluated = steps
        looked = evaluated & state.active
        if alone:  # takes no steps once it has finished, so that no old weights need to be kept (docs/performance.md)
            ran = run(images, pack, network, state, *span, first, jnp.where(state.active, last, first))
        else:  # a finished network shares its pack's steps with those still training, but keeps its own weights
            ran = run(images, pack, network, state, *span, first, last)
            ran = jax.tree.map(lambda old, new: jnp.where(state.active, new, old), state, ran)
        missing = Evaluation(*[jnp.float32(jnp.nan)] * len(Evaluation._fields))
        measured = lax.cond(evaluated, lambda: measure(images, pack, network, mlp.turned(ran.layers)), lambda: missing)
        found = looked & (ran.diverged_at < 0) & ~jnp.isfinite(measured.train_loss)
        diverged_at = jnp.where(found, last, ran.diverged_at)
        reached = looked & (measured.train_accuracy >= network.stop_at)
        ran = ran._replace(active=state.active & (diverged_at < 0) & ~reached, diverged_at=diverged_at)
        return ran, jax.tree.map(lambda value: jnp.where(looked, value, jnp.nan), measured)

    def train(images: Images, packs: PackData, networks: NetworkData, *rest: Any) -> tuple[State, Evaluation]:
        alone = networks.labels.shape[:2] == (1, 1)
        train_pack = side_by_side(partial(train_network, alone), (None, None, 0, 0, None, None, None, None, None))
        return side_by_side(train_pack, (None, 0, 0, 0, 0, None, None, None, None))(images, packs, networks, *rest)

    return train
