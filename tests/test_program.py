"""One network against plain NumPy, networks together against networks alone, and what one network may do to another."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.config import Execution
from memo.data import treatments
from memo.data.randomness import generator, purpose_key
from memo.networks import mlp, program
from memo.networks.disturbances import Strengths
from memo.networks.optimizers import Hyperparameters
from memo.networks.program import Images, NetworkData, PackData
from memo.training import execution, population, slab
from memo.training.minibatches import Minibatches
from tests import builders

# Losses and weights of networks trained together against alone: float32 sums in another order, 1e-6 seen. It holds
# where training is smooth. Where a loss oscillates (a rate of 0.1 with momentum 0.9) rounding grows, as from any cause.
TOGETHER = 1e-5
# Against float64 NumPy: 6e-7 seen under SGD, 5e-5 under Adam, whose quotient hands on the rounding of small gradients.
REFERENCE = {"sgd": 1e-5, "adam": 3e-4}
# Accuracies: images on the fence. A dead ReLU layer leaves the biases, which Adam's first step leaves tied; 3 seen.
FENCE = 5 / 256

ACTIVATIONS = {
    "relu": (lambda x: np.maximum(x, 0), lambda y: y > 0),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y**2),
}


def train(trials, dataset):
    """Train trials as packs that are as large as can be."""
    (group,) = population.plan(trials)
    assert group.trials == tuple(trials)
    return execution.train(group, dataset, Execution(pack_size=len(trials)))


def results(trained, place):
    """Return a trial's curve [4, E] and its final layers, as NumPy."""
    layers = jax.tree.map(lambda leaf: np.asarray(leaf[place]), trained.layers)
    return np.stack([leaf[place] for leaf in trained.curves[:4]]), layers  # no image is held out


def assert_same(one, other, tolerance):
    (curve, layers), (other_curve, other_layers) = one, other
    np.testing.assert_allclose(curve[::2], other_curve[::2], atol=tolerance, rtol=0)  # losses
    np.testing.assert_allclose(curve[1::2], other_curve[1::2], atol=FENCE, rtol=0)
    for leaf, other_leaf in zip(jax.tree.leaves(layers), jax.tree.leaves(other_layers), strict=True):
        np.testing.assert_allclose(leaf, other_leaf, atol=tolerance, rtol=0)


# The definition of training in plain NumPy, float64: one network, one step at a time.


def forward(layers, pixels, activation):
    """Return the values of every layer, pixels first, the outputs before softmax or sigmoid last."""
    values = [pixels]
    for weights, biases in layers[:-1]:
        values.append(ACTIVATIONS[activation][0](values[-1] @ weights + biases))
    return [*values, values[-1] @ layers[-1][0] + layers[-1][1]]


def losses_and_gradients(outputs, labels, loss):
    targets = np.eye(10)[labels]
    if loss == "cross_entropy":
        shares = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        return -np.log((shares * targets).sum(1)), shares - targets
    firing = 1 / (1 + np.exp(-outputs))
    return ((firing - targets) ** 2).sum(1) / 2, (firing - targets) * firing * (1 - firing)


def measure(layers, pixels, labels, recipe):
    outputs = forward(layers, pixels, recipe.model.activation)[-1]
    return losses_and_gradients(outputs, labels, recipe.loss)[0].mean(), np.mean(outputs.argmax(1) == labels)


def training_set(trial, dataset):
    rows = generator(trial.seed, "subset").permutation(len(dataset.train_labels))[: trial.recipe.dataset.n_train]
    treat = treatments.LABELS[trial.recipe.labels.kind]
    labels = treat(generator(trial.seed, "labels"), dataset.train_labels[rows], trial.recipe.labels.fraction, 10)
    return dataset.train_images[rows] / 255, labels


def held_out(trained):
    return np.asarray(trained.images.test[0]) / 255, np.asarray(trained.images.test_labels)


def backward(layers, pixels, labels, recipe):
    """Return the gradient of the mean loss and of (weight decay / 2) * sum of squared weights."""
    values = forward(layers, pixels, recipe.model.activation)
    delta = losses_and_gradients(values[-1], labels, recipe.loss)[1] / len(labels)
    gradients = []
    for (weights, _), below in zip(reversed(layers), values[-2::-1]):
        gradients.insert(0, [below.T @ delta + recipe.optimizer.weight_decay * weights, delta.sum(0)])
        delta = delta @ weights.T * ACTIVATIONS[recipe.model.activation][1](below)
    return gradients


def move(name, gradient, memory, momentum):
    """Return the step that an optimiser takes for a learning rate of 1, and keep its averages in `memory`."""
    if name == "sgd":
        memory["mean"] = momentum * memory.get("mean", 0) + gradient
        return memory["mean"]
    memory["count"] = memory.get("count", 0) + 1
    memory["mean"] = momentum * memory.get("mean", 0) + (1 - momentum) * gradient
    memory["square"] = 0.999 * memory.get("square", 0) + 0.001 * gradient**2
    spread = np.sqrt(memory["square"] / (1 - 0.999 ** memory["count"]))
    return memory["mean"] / (1 - momentum ** memory["count"]) / (spread + 1e-8)


def reference(trial, dataset, test, evaluate_at):
    """Return (curve [4, E], layers) of one trial under the exponential schedule."""
    recipe, settings = trial.recipe, trial.recipe.optimizer
    pixels, labels = training_set(trial, dataset)
    sizes = (784, *recipe.model.widths, 10)
    initial = mlp.initialise(purpose_key(trial.seed, "initialisation"), sizes, recipe.model.init)
    layers = [[np.asarray(leaf, float) for leaf in layer] for layer in initial]
    memories = [[{}, {}] for _ in layers]
    curve, presented, orders = [], 0, np.array([], int)
    for step in range(evaluate_at[-1] + 1):
        if step in evaluate_at:
            curve.append([*measure(layers, pixels, labels, recipe), *measure(layers, *test, recipe)])
        epoch = presented // len(labels)
        while len(orders) < presented + recipe.batch_size:  # minibatches run on over the ends of epochs
            key = jax.random.fold_in(purpose_key(trial.seed, "order"), len(orders) // len(labels))
            orders = np.append(orders, jax.random.permutation(key, len(labels)))
        if step < evaluate_at[-1]:
            chosen = orders[presented : presented + recipe.batch_size]
            presented += recipe.batch_size
            rate = settings.learning_rate * settings.decay**epoch
            gradients = backward(layers, pixels[chosen], labels[chosen], recipe)
            for layer, gradient, memory in zip(layers, gradients, memories):
                for place in (0, 1):
                    change = move(settings.name, gradient[place], memory[place], settings.momentum)
                    layer[place] = layer[place] - rate * change
    return np.array(curve).T, layers


# Each optimiser, loss and activation in one that is not slow.
QUICK = [("sgd", "cross_entropy", "relu"), ("adam", "squared_error", "sigmoid"), ("sgd", "squared_error", "tanh")]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, id="-".join(each), marks=[] if each in QUICK else pytest.mark.slow)
        for each in itertools.product(REFERENCE, ("cross_entropy", "squared_error"), ACTIVATIONS)
    ],
)
def together(request, trials, small_mnist):
    """Pairs of true and shuffled labels for three seeds, trained together: (trials, what training found)."""
    optimizer, loss, activation = request.param
    common = {
        "loss": loss,
        "model.activation": activation,
        "optimizer.name": optimizer,
        "optimizer.learning_rate": {"sgd": 0.1, "adam": 0.01}[optimizer],
        "optimizer.schedule": "exponential",
        "optimizer.decay": 0.8,
        "optimizer.weight_decay": 1e-3,
        "seeds": 3,
    }
    pairs = sorted(trials(common, {}, {"labels.kind": "shuffled"}), key=lambda trial: trial.seed)
    return pairs, train(pairs, small_mnist)


@pytest.mark.slow
def test_together_is_alone(together, small_mnist):
    pairs, found = together
    for place, trial in enumerate(pairs):
        assert_same(results(found, place), results(train([trial], small_mnist), 0), TOGETHER)


def test_training_is_plain_numpys(together, small_mnist):
    pairs, found = together
    for place, trial in enumerate(pairs):
        expected = reference(trial, small_mnist, held_out(found), found.steps)
        assert_same(results(found, place), expected, REFERENCE[trial.recipe.optimizer.name])


# Where and on what networks are evaluated.


@pytest.mark.parametrize("spacing", ["log", "log_steps"])
@pytest.mark.parametrize("evaluations", [2, 3, 8, 64])
def test_evaluation_steps(evaluations, spacing):
    for steps_per_epoch, epochs in itertools.product((1, 4, 15, 16, 78, 468), (1, 2, 20, 300)):
        steps = program.evaluation_steps(steps_per_epoch, steps_per_epoch * epochs, evaluations, spacing)
        assert steps.dtype == np.int32
        assert (steps[0], steps[-1]) == (0, steps_per_epoch * epochs)
        assert (np.diff(steps) > 0).all()
        assert steps_per_epoch in steps
        assert len(steps) <= evaluations + 1


@pytest.mark.parametrize(("steps_per_epoch", "epochs", "evaluations"), [(3, 20, 20), (23, 300, 40), (468, 300, 64)])
def test_evaluations_are_dense_inside_the_first_epoch(steps_per_epoch, epochs, evaluations):
    steps = program.evaluation_steps(steps_per_epoch, steps_per_epoch * epochs, evaluations, "log")
    inside = np.sum((steps > 0) & (steps < steps_per_epoch))
    assert inside >= min(steps_per_epoch - 1, 8)


def test_evaluations_are_dense_from_the_first_step_on():
    assert program.evaluation_steps(468, 468, 64, "log_steps")[:9].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("evaluations", [2, 3, 20, 64])
def test_evaluations_at_the_ends_of_epochs(evaluations):
    for steps_per_epoch, epochs in itertools.product((1, 4, 468), (1, 2, 3, 20, 21, 300)):
        steps = program.evaluation_steps(steps_per_epoch, steps_per_epoch * epochs, evaluations, "epochs")
        assert steps.dtype == np.int32
        assert (steps[0], steps[1], steps[-1]) == (0, steps_per_epoch, steps_per_epoch * epochs)
        assert (steps % steps_per_epoch == 0).all()
        between = np.diff(steps[1:]) // steps_per_epoch
        assert (between > 0).all() and np.ptp([*between, *between[:1]] or [0]) <= 1
        assert len(steps) == 1 + min(epochs, evaluations)
    assert program.evaluation_steps(Fraction(50, 16), 10, 64, "epochs").tolist() == [0, 4, 7, 10]  # 3.1, 6.3 and 9.4
    assert program.evaluation_steps(4, 12, 64, "epochs").tolist() == [0, 4, 8, 12]


def static(sizes, **changes):
    return builders.static(sizes, **{"batch_size": 6, "steps_per_epoch": 3, "steps": 12} | changes)


@pytest.mark.parametrize("n", [37, 47, 500, 501, 1203])
def test_evaluation_is_a_full_pass(mnist, n):
    assert mlp.BLOCK == 500  # the counts above are below it, at it, and past it by a part of a block
    layers = [mlp.initialise(jax.random.key(seed), (784, 8, 10), "he") for seed in (0, 1)]
    layers = jax.tree.map(np.asarray, layers)
    rows = np.random.default_rng(0).permutation(60_000)[:n]
    outputs = [forward(network, mnist.train_images[rows] / 255, "relu")[-1] for network in layers]
    # The first network answers the true labels as badly as it does; the second knows all of its own.
    labels = np.stack([mnist.train_labels[rows], outputs[1].argmax(1).astype(np.uint8)])
    evaluate = jax.jit(program.make_evaluate("relu", "cross_entropy"))
    pack = jax.tree.map(lambda *leaves: jnp.stack(leaves)[None], *layers)
    losses, accuracies = evaluate(pack, jnp.asarray(mnist.train_images[None]), None, rows[None], labels[None])
    (losses,), (accuracies,) = losses, accuracies
    expected = [losses_and_gradients(*pair, "cross_entropy")[0].mean() for pair in zip(outputs, labels)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)  # float32 sums
    assert accuracies[0] == pytest.approx(np.mean(outputs[0].argmax(1) == labels[0]), abs=1e-6)
    assert accuracies[1] == 1  # exactly, or `stop_at_train_accuracy=1` never stops


# The order of minibatches, seen in which rows of a linear network's weights change: image i is white at pixel i alone.


@pytest.fixture(scope="module")
def one_hot():
    """Return (advance(state, first, last) -> state, evaluate(state), the initial state) for 18 of 20 one-hot images."""
    images = Images(jnp.eye(20)[None], jnp.eye(20)[None], jnp.arange(20, dtype=jnp.uint8) % 10)
    rows = jnp.arange(1, 19, dtype=jnp.int32)
    packs = PackData(jnp.zeros(1, jnp.int32), rows[None], jnp.arange(18, dtype=jnp.int32)[None])
    keys = purpose_key(0, "order")[None]
    _, _, minibatches = Minibatches(keys, len(rows), 5, 18, jax.devices()[0]).at(0)
    hyper = Hyperparameters(*(jnp.full((1, 1), value, jnp.float32) for value in (0.1, 0.0, 0.0)))
    strengths = Strengths(*(jnp.zeros((1, 1)) for _ in Strengths._fields))
    draws = purpose_key(0, "regularization")[None, None]
    networks = NetworkData((rows % 10).astype(jnp.uint8)[None, None], hyper, strengths, draws, jnp.full((1, 1), 2.0))
    choices = static((20, 10), batch_size=5)
    layers = mlp.initialise(jax.random.key(0), choices.sizes, choices.init)
    state = program.make_start(choices)(layers, jax.tree.map(lambda leaf: leaf[0, 0], networks))
    train, look = jax.jit(program.make_train(choices)), jax.jit(program.make_look(choices.activation, choices.loss))

    def advance(state, first, last):
        return train(images, packs, networks, state, minibatches, np.int32(0), np.int32(first), np.int32(last))

    def evaluate(state, briefly=False, stop_at=2.0):
        asked = networks._replace(stop_at=jnp.full((1, 1), stop_at, jnp.float32))
        return look(images, packs, asked, state.layers, program.BRIEF if briefly else program.ALL)

    return advance, evaluate, jax.tree.map(lambda leaf: leaf[None, None], state)


def test_training_visits_every_image_as_often(one_hot):
    """18 steps with 5 images each are 5 passes over 18 images, and no two passes take them in the same minibatches."""
    advance, _, state = one_hot
    visits, visited = np.zeros(20, int), []
    for step in range(18):
        before, state = state, advance(state, step, step + 1)
        changed = np.any(state.layers[0].weights != before.layers[0].weights, axis=-2)  # turned
        visited.append(tuple(np.flatnonzero(changed[0, 0])))
        # Where a pass ends inside a minibatch, an image may be in it twice.
        assert len(visited[-1]) == 5 if 18 - step * 5 % 18 >= 5 else 3 <= len(visited[-1]) <= 5
        visits[list(visited[-1])] += 1
    assert set(np.concatenate(visited)) == set(range(1, 19))
    assert (visits[1:19] <= 5).all() and visits.sum() >= 18 * 5 - 2 * 4
    assert len(set(visited)) == 18


def test_what_ends_a_chunk_does_not_change_training(one_hot):
    advance, _, start = one_hot
    whole, parts = advance(start, 0, 12), start
    for first, last in ((0, 0), (0, 1), (1, 5), (5, 6), (6, 12)):
        parts = advance(parts, first, last)
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_a_finished_network_alone_keeps_its_state(one_hot):
    advance, _, start = one_hot
    trained = advance(start, 0, 4)
    for finished in (
        trained._replace(active=jnp.zeros((1, 1), bool)),
        trained._replace(diverged_at=jnp.full((1, 1), 3, jnp.int32)),
    ):
        jax.tree.map(np.testing.assert_array_equal, advance(finished, 4, 9), finished)


def test_a_brief_look_tells_whether_an_accuracy_is_reached(one_hot):
    advance, evaluate, start = one_hot
    state = advance(start, 0, 12)
    full = evaluate(state)
    accuracy = float(full.train_accuracy[0, 0])
    assert 0 < accuracy < 1
    for stop_at in (accuracy - 0.01, accuracy, accuracy + 0.01, 1.0, 2.0):
        brief = evaluate(state, True, stop_at)
        reached = np.float32(brief.train_accuracy[0, 0]) >= np.float32(stop_at)
        assert reached == (np.float32(accuracy) >= np.float32(stop_at))
        if reached:
            assert brief.train_accuracy == full.train_accuracy
            assert brief.train_loss == full.train_loss


# What one network of a pair may do to the other: 16x16, one seed, true and shuffled labels.

LONG = {"model.widths": [16, 16], "optimizer.momentum": 0.5, "epochs": 60, "evaluations": 16}
SHUFFLED = {"labels.kind": "shuffled"}
ENDLESS = {"stop_at_train_accuracy": None}


@pytest.fixture(scope="module")
def endless_pair(trials, small_mnist):
    return train(trials(LONG | ENDLESS, {}, SHUFFLED), small_mnist)


@pytest.fixture(scope="module")
def shuffled_alone(trials, small_mnist):
    return train(trials(LONG | ENDLESS, SHUFFLED), small_mnist)


@pytest.mark.slow
def test_a_pair_shares_initial_weights(endless_pair):
    curves = endless_pair.curves
    assert curves.test_loss[0, 0] == curves.test_loss[1, 0]
    assert curves.train_loss[0, 0] != curves.train_loss[1, 0]
    assert (curves.test_loss[0, 1:] != curves.test_loss[1, 1:]).all()


@pytest.mark.slow
def test_a_pair_shares_its_subset_and_order(endless_pair, trials, small_mnist):
    # A twin that shuffles none of its labels is the same network throughout.
    none = train(trials(LONG | ENDLESS, {}, SHUFFLED | {"labels.fraction": 0.0}), small_mnist)
    assert list(none.labels_changed) == [0, 0]
    for place in (0, 1):
        assert_same(results(none, place), results(endless_pair, 0), TOGETHER)


@pytest.mark.slow
def test_training_twice_is_bit_identical(endless_pair, trials, small_mnist):
    again = train(trials(LONG | ENDLESS, {}, SHUFFLED), small_mnist)
    for place in (0, 1):
        jax.tree.map(np.testing.assert_array_equal, results(again, place), results(endless_pair, place))


@pytest.mark.slow
def test_without_a_stop_training_goes_to_the_end(endless_pair):
    assert endless_pair.curves.train_accuracy[0].max() == 1  # there was a reason to stop
    assert endless_pair.status == ["completed", "completed"]
    assert list(endless_pair.stopped_at) == [240, 240]
    assert np.isfinite(np.stack(endless_pair.curves[:4])).all()


@pytest.mark.slow
def test_final_networks_are_those_of_the_last_evaluation(endless_pair, trials, small_mnist):
    for place, trial in enumerate(trials(LONG, {}, SHUFFLED)):
        curve, layers = results(endless_pair, place)
        sets = (training_set(trial, small_mnist), held_out(endless_pair))
        expected = np.concatenate([measure(layers, *images, trial.recipe) for images in sets])
        np.testing.assert_allclose(curve[:, -1], expected, rtol=1e-4)  # float32 over losses down to 1e-3


@pytest.mark.slow
def test_a_memorised_network_stops_and_its_twin_trains_on(endless_pair, shuffled_alone, trials, small_mnist):
    pair = train(trials(LONG, {}, SHUFFLED | ENDLESS), small_mnist)
    assert pair.status == ["memorised", "completed"]
    accuracy = endless_pair.curves.train_accuracy[0]
    stop = np.argmax(accuracy == 1)
    assert 0 < stop < len(pair.steps) - 1
    last = int(pair.stopped_at[0])
    assert pair.steps[stop - 1] < last <= pair.steps[stop]
    assert pair.curve_steps[0, stop] == last
    assert pair.stopped_at[1] == 240
    # The same program as without a stop, so the same bits: its curve up to there, then nothing.
    curve, layers = results(pair, 0)
    np.testing.assert_array_equal(curve[:, :stop], results(endless_pair, 0)[0][:, :stop])
    assert curve[1, stop] == 1
    assert np.isnan(curve[:, stop + 1 :]).all()
    # Its weights are those that were evaluated at its stop.
    measured = measure(layers, *held_out(pair), trials(LONG)[0].recipe)
    np.testing.assert_allclose(curve[2:, stop], measured, rtol=1e-4)
    assert_same(results(pair, 1), results(shuffled_alone, 0), TOGETHER)


@pytest.mark.slow
def test_training_ends_with_its_last_network(trials, small_mnist):
    pair = train(trials(LONG, {}, SHUFFLED | {"stop_at_train_accuracy": 0.2}), small_mnist)
    assert pair.status == ["memorised", "memorised"]
    assert max(pair.stopped_at) <= pair.steps[-1] < 240
    assert pair.curves.train_loss.shape == (2, len(pair.steps))


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [0.9, 1.0])
def test_a_network_stops_within_a_fiftieth_of_the_first_step_at_which_it_could(trials, small_mnist, stop_at):
    """Where it had nine tenths of that accuracy at the evaluation before; otherwise at the next evaluation at the latest."""
    own = {}, {"optimizer.learning_rate": 0.1}
    seldom = train(trials(LONG | {"stop_at_train_accuracy": stop_at}, *own), small_mnist)
    densely = train(trials(LONG | ENDLESS | {"evaluations": 1000}, *own), small_mnist)
    looked_at = []
    for place, accuracy in enumerate(densely.curves.train_accuracy):
        first = densely.steps[np.argmax(accuracy >= stop_at)]
        before, after = (seldom.steps[np.searchsorted(seldom.steps, first) - back] for back in (1, 0))
        near = accuracy[densely.steps == before] >= slab.NEAR * stop_at
        assert first <= seldom.stopped_at[place] <= (max(first + 1, 1.02 * first) if near else after)
        assert seldom.final.train_accuracy[place] >= stop_at
        looked_at.append(bool(near) and first < after)
    assert any(looked_at)


@pytest.mark.slow
def test_divergence_is_seen_at_its_step_between_evaluations(trials, small_mnist):
    diverging = {"optimizer.learning_rate": 1e6}
    often, seldom = (
        train(trials(LONG | ENDLESS | own, diverging, SHUFFLED), small_mnist) for own in ({}, {"evaluations": 3})
    )
    assert often.stopped_at[0] in often.steps
    assert seldom.stopped_at[0] not in seldom.steps
    assert seldom.stopped_at[0] == often.stopped_at[0]


@pytest.mark.slow
def test_a_diverged_network_is_told_with_its_step_and_leaves_its_twin_alone(shuffled_alone, trials, small_mnist):
    pair = train(trials(LONG | ENDLESS, {"optimizer.learning_rate": 1e6}, SHUFFLED), small_mnist)
    assert pair.status == ["diverged", "completed"]
    assert 0 < pair.stopped_at[0] < 10  # a rate of 1e6 multiplies the weights so at every step
    curve, _ = results(pair, 0)
    np.testing.assert_array_equal(np.isfinite(curve), np.tile(pair.steps < pair.stopped_at[0], (4, 1)))
    assert_same(results(pair, 1), results(shuffled_alone, 0), TOGETHER)
