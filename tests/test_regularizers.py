"""Disturbances by themselves, in the loss of a minibatch, and in training: drawn by seed and step, never evaluated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.config import Execution
from memo.data.randomness import purpose_key
from memo.networks import mlp, program
from memo.networks.disturbances import DISTURBANCES, Strengths, disturb
from memo.networks.losses import LOSSES
from memo.networks.optimizers import Hyperparameters
from memo.networks.program import NetworkData
from memo.probes import confidence
from memo.probes.networks import Networks
from memo.training import execution
from memo.training.inputs import TrainingData
from memo.training.population import plan
from tests import builders

STRENGTHS = {"dropout": 0.5, "input_dropout": 0.3, "hidden_noise": 0.5, "input_noise": 0.2}
OF_THE_LOSS = {"adversarial", "adversarial_radius", "early_learning", "early_learning_memory"}
REGULARIZED = {f"regularization.{name}": value for name, value in STRENGTHS.items()} | {
    "regularization.noise_images": 0.5
}
# test_program.TOGETHER: float32 sums in another order.
TOGETHER = 1e-5


def strengths(name, value):
    return Strengths(**{other: jnp.float32(value if other == name else 0) for other in Strengths._fields})


def disturbed(name, value, values, key=0, depth=None):
    of_images, _ = DISTURBANCES[name]
    read = disturb((name,), strengths(name, value), jax.random.key(key))
    return np.asarray(read(0 if of_images else 1, values) if depth is None else read(depth, values))


def test_every_strength_has_its_disturbance():
    assert set(DISTURBANCES) == set(Strengths._fields) - OF_THE_LOSS == set(STRENGTHS)


@pytest.mark.parametrize("name", ["dropout", "input_dropout"])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_its_share(name, rate):
    found = disturbed(name, rate, jnp.full((500, 400), 3.0))
    kept = found != 0
    np.testing.assert_allclose(found[kept], 3 / (1 - rate), rtol=1e-6)
    error = np.sqrt(rate * (1 - rate) / found.size)
    assert np.mean(~kept) == pytest.approx(rate, abs=5 * error)
    assert found.mean() == pytest.approx(3, abs=5 * 3 * error / (1 - rate))
    # Each value of each image on its own.
    for axis in (0, 1):
        spread = np.std(kept.mean(axis)) / np.sqrt(rate * (1 - rate) / kept.shape[axis])
        assert spread == pytest.approx(1, abs=5 / np.sqrt(2 * kept.shape[1 - axis]))


@pytest.mark.parametrize("name", ["hidden_noise", "input_noise"])
def test_noise_has_mean_zero_and_its_standard_deviation(name):
    found = disturbed(name, 0.3, jnp.full((500, 400), 3.0)) - 3
    assert found.mean() == pytest.approx(0, abs=5 * 0.3 / np.sqrt(found.size))
    assert found.std() == pytest.approx(0.3, abs=5 * 0.3 / np.sqrt(2 * found.size))
    assert abs(np.corrcoef(found[0], found[1])[0, 1]) < 5 / np.sqrt(400)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_disturbance_acts_where_it_belongs_and_draws_on_its_own(name):
    values = jnp.linspace(0.1, 1, 2000).reshape(20, 100)
    of_images, _ = DISTURBANCES[name]
    for depth in range(4):
        changed = disturbed(name, 0.5, values, depth=depth) != values
        assert changed.any() == (of_images == (depth == 0))
    np.testing.assert_array_equal(disturbed(name, 0, values), values)
    one, again, other = (disturbed(name, 0.5, values, key) for key in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    others = [other] if of_images else [other, disturbed(name, 0.5, values, depth=2)]
    for independent in others:
        relative = [(drawn / values).ravel() for drawn in (one, independent)]
        assert abs(np.corrcoef(*relative)[0, 1]) < 5 / np.sqrt(values.size)


def test_disturbances_draw_apart_from_each_other():
    ones = jnp.ones((100, 100))
    own = strengths("dropout", 0.5)._replace(hidden_noise=jnp.float32(1))
    both = disturb(("dropout", "hidden_noise"), own, jax.random.key(0))(1, ones)
    kept = disturbed("dropout", 0.5, ones) != 0
    # Dropped values are noise around 0, the others around 2; were both drawn from one key, noise would tell which.
    noise = np.asarray(both) - 2 * kept
    assert abs(np.corrcoef(noise.ravel(), kept.ravel())[0, 1]) < 5 / np.sqrt(ones.size)
    assert noise.std() == pytest.approx(1, abs=5 / np.sqrt(2 * ones.size))


# The loss of a minibatch


def static(sizes, **changes):
    return builders.static(sizes, **{"batch_size": 6, "steps_per_epoch": 3, "steps": 12} | changes)


def one_network(seed=0, **each):
    hyper = Hyperparameters(*(jnp.float32(value) for value in (0.1, 0, 0)))
    own = Strengths(**{name: jnp.float32(each.get(name, 0)) for name in Strengths._fields})
    return NetworkData(jnp.zeros(1, jnp.uint8), hyper, own, purpose_key(seed, "regularization"), jnp.float32(2))


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_noise_images_weigh_as_much_as_images_and_are_to_be_answered_evenly(loss):
    """A network that sees nothing answers every image by its biases alone, so the loss has a closed form."""
    biases = np.random.default_rng(0).normal(size=10).astype(np.float32)
    layers = (mlp.Layer(jnp.zeros((784, 10)), jnp.asarray(biases)),)
    labels = jnp.array([3, 1, 4, 1])
    minibatch_loss = program.make_minibatch_loss(static((784, 10), loss=loss, noise_images=3))
    found = minibatch_loss(layers, jnp.ones((4, 784)), labels, one_network(), jnp.int32(0))
    if loss == "cross_entropy":
        each, even = np.log(np.exp(biases).sum()) - biases, np.log(np.exp(biases).sum()) - biases.mean()
    elif loss == "sigmoid_cross_entropy":
        on, off = np.log1p(np.exp(-biases)), np.log1p(np.exp(biases))  # of an output that should fire, and should not
        each, even = [(target * on + (1 - target) * off).sum() for target in np.eye(10)], (0.1 * on + 0.9 * off).sum()
    elif loss == "generalised_cross_entropy":
        each = (1 - (np.exp(biases) / np.exp(biases).sum()) ** 0.7) / 0.7
        even = each.mean()
    elif loss == "linear_squared_error":
        each = [((biases - target) ** 2).sum() / 2 for target in np.eye(10)]
        even = ((biases - 0.1) ** 2).sum() / 2
    else:
        firing = 1 / (1 + np.exp(-biases))
        each = [((firing - target) ** 2).sum() / 2 for target in np.eye(10)]
        even = ((firing - 0.1) ** 2).sum() / 2
    assert found == pytest.approx((np.take(each, labels).sum() + 3 * even) / 7, rel=1e-5)


@pytest.mark.slow
def test_noise_images_are_uniform_and_new_in_every_step_and_seed():
    """Of black images and one of noise, a linear network's gradient is that of the noise: pixels times a known factor."""
    layers = (mlp.Layer(jnp.zeros((784, 10)), jnp.arange(10.0)),)
    minibatch_loss = program.make_minibatch_loss(static((784, 10), noise_images=1))
    shares = np.exp(np.arange(10)) / np.exp(np.arange(10)).sum()

    def noise(seed, step):
        arguments = jnp.zeros((4, 784)), jnp.zeros(4, jnp.int32), one_network(seed), jnp.int32(step)
        gradients = jax.grad(minibatch_loss)(layers, *arguments)
        return np.asarray(gradients[0].weights)[:, 9] * 5 / (shares[9] - 0.1)

    shown = np.array([noise(seed, step) for seed in range(3) for step in range(10)])
    assert shown.min() >= 0
    assert shown.max() <= 1 + 1e-5
    # Of a uniform variable, here with the 256 values of a byte: mean 1/2, variance 1/12 (257/255 of it).
    assert shown.mean() == pytest.approx(0.5, abs=5 * np.sqrt(1 / 12 / shown.size))
    assert shown.var() == pytest.approx(257 / 255 / 12, abs=5 * np.sqrt(1 / 180 / shown.size))
    assert abs(np.corrcoef(shown) - np.eye(30)).max() < 6 / np.sqrt(784)  # 435 pairs
    np.testing.assert_array_equal(noise(1, 4), shown[14])


@pytest.mark.slow
def test_the_gradient_sees_one_draw_of_each_disturbance():
    """Dropped pixels have no gradient, and are others in another step."""
    minibatch_loss = program.make_minibatch_loss(static((784, 10), disturbances=("input_dropout",)))
    layers = mlp.initialise(jax.random.key(0), (784, 10), "he")

    def seen(step):
        arguments = jnp.ones((1, 784)), jnp.zeros(1, jnp.int32), one_network(input_dropout=0.4), jnp.int32(step)
        return np.any(np.asarray(jax.grad(minibatch_loss)(layers, *arguments)[0].weights) != 0, axis=1)

    shares = [np.mean(seen(step)) for step in range(5)]
    np.testing.assert_allclose(shares, 0.6, atol=5 * np.sqrt(0.24 / 784))
    assert not np.array_equal(seen(0), seen(1))


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_adversarial_images_are_moved_against_the_network_before_it_learns(loss):
    """Against the same by hand, image by image; the move itself has no gradient."""
    rng = np.random.default_rng(0)
    layers = mlp.initialise(jax.random.key(0), (784, 6, 10), "he")
    pixels, labels = jnp.asarray(rng.random((4, 784), np.float32)), jnp.array([3, 1, 4, 1])
    minibatch_loss = program.make_minibatch_loss(static((784, 6, 10), loss=loss, adversarial=True))
    network = one_network(adversarial=0.3, adversarial_radius=0.05)

    def cost(layers, pixels):
        return jnp.mean(LOSSES[loss].per_example(mlp.apply(layers, pixels, "relu"), labels))

    moved = pixels + 0.05 * jnp.sign(jax.grad(cost, 1)(layers, pixels))
    assert cost(layers, moved) > cost(layers, pixels)

    def expected(layers):
        return 0.7 * cost(layers, pixels) + 0.3 * cost(layers, moved)

    value, slope = jax.value_and_grad(minibatch_loss)(layers, pixels, labels, network, jnp.int32(0))
    assert value == pytest.approx(float(expected(layers)), rel=1e-5)
    for leaf, by_hand in zip(jax.tree.leaves(slope), jax.tree.leaves(jax.grad(expected)(layers))):
        np.testing.assert_allclose(leaf, by_hand, atol=1e-6)


@pytest.mark.slow
def test_adversarial_training_makes_the_attack_weaker(trials, small_mnist):
    common = {"dataset.n_train": 1000, "model.widths": [32], "optimizer.learning_rate": 0.05, "epochs": 30}
    common["stop_at_train_accuracy"] = None
    attacked = []
    for own in ({}, {"regularization.adversarial": 0.5, "regularization.adversarial_radius": 0.1}):
        (group,) = plan(trials(common | own))
        trained = execution.train(group, small_mnist)
        layers = jax.tree.map(lambda leaf: leaf[0], trained.layers)
        pixels, labels = (
            jnp.asarray(small_mnist.test_images / np.float32(255)),
            jnp.asarray(small_mnist.test_labels, jnp.int32),
        )

        def cost(pixels, layers=layers, labels=labels):
            return jnp.mean(LOSSES["cross_entropy"].per_example(mlp.apply(layers, pixels, "relu"), labels))

        moved = pixels + 0.1 * jnp.sign(jax.grad(cost)(pixels))
        answers = np.asarray(mlp.apply(layers, moved, "relu")).argmax(axis=1)
        attacked.append(np.mean(answers == small_mnist.test_labels))
        assert trained.curves.test_accuracy[0, -1] > 0.8
    assert attacked[1] > attacked[0] + 0.1


# Training


def train(trials, dataset):
    (group,) = plan(trials)
    assert group.trials == tuple(trials)
    return execution.train(group, dataset, Execution(pack_size=len(trials)))


def results(trained, place):
    """Return a trial's losses and final weights as one list of arrays."""
    losses = np.stack([trained.curves.train_loss[place], trained.curves.test_loss[place]])
    return [losses, *(np.asarray(leaf[place]) for leaf in jax.tree.leaves(trained.layers))]


def assert_same(one, other, tolerance=TOGETHER):
    for leaf, other_leaf in zip(one, other, strict=True):
        np.testing.assert_allclose(leaf, other_leaf, atol=tolerance, rtol=0)


@pytest.fixture(scope="module")
def alone(trials, small_mnist):
    """Seed 0 under every disturbance at once."""
    return results(train(trials(REGULARIZED), small_mnist), 0)


@pytest.mark.slow
def test_evaluation_never_sees_a_disturbance(trials, small_mnist):
    """At a rate that no weight notices, only a disturbed evaluation would change from step to step."""
    still = {"optimizer.learning_rate": 1e-30}
    found, plain = (train(trials(still | own), small_mnist).curves for own in (REGULARIZED, {}))
    for curve, other in zip(found[:4], plain[:4]):  # of training and test images; none is held out
        assert np.ptp(curve) == 0
        np.testing.assert_allclose(curve, other, rtol=1e-6)


@pytest.mark.slow
def test_a_network_does_not_depend_on_its_neighbours(alone, trials, small_mnist):
    pair = train(trials(REGULARIZED, {}, {"optimizer.learning_rate": 0.03}), small_mnist)
    assert_same(results(pair, 0), alone)
    stronger = {name: value / 2 for name, value in REGULARIZED.items() if name != "regularization.noise_images"}
    pair = train(trials(REGULARIZED, {}, stronger), small_mnist)
    assert_same(results(pair, 0), alone)
    assert np.abs(results(pair, 1)[0] - alone[0]).max() > 1e-3


@pytest.mark.slow
def test_twins_see_the_same_draws_and_seeds_their_own(alone, trials, small_mnist):
    # A twin that shuffles none of its labels is the same network throughout.
    twins = train(trials(REGULARIZED, {}, {"labels.kind": "shuffled", "labels.fraction": 0.0}), small_mnist)
    for place in (0, 1):
        assert_same(results(twins, place), alone)
    # With everything else shared, another seed is told apart by its draws: here two of one initialisation.
    linear = {"model.widths": [], "model.init": "normal", "batch_order": "shared"} | REGULARIZED
    (group,) = plan(trials(linear | {"seeds": 2}))
    packs = TrainingData(group.signature, small_mnist).slab([list(group.trials)], jax.devices()[0])
    first, second = jax.random.key_data(packs.networks.draws[0])
    assert not np.array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("name", REGULARIZED)
def test_each_key_reaches_the_loss_of_its_network(trials, small_mnist, name):
    layers = mlp.initialise(jax.random.key(0), (784, 8, 10), "he")
    pixels, losses = jnp.asarray(small_mnist.train_images[:64] / np.float32(255)), []
    for strength in (0, REGULARIZED[name], REGULARIZED[name] / 2):
        (group,) = plan(trials({name: strength}))
        slab = TrainingData(group.signature, small_mnist).slab([group.trials], jax.devices()[0])
        network = jax.tree.map(lambda leaf: jnp.asarray(leaf[0, 0]), slab.networks)
        minibatch_loss = program.make_minibatch_loss(group.signature.static)
        losses.append(
            float(minibatch_loss(layers, pixels, network.labels[:64].astype(jnp.int32), network, jnp.int32(0)))
        )
    assert len(set(losses)) == 3


def program_text(trials, dataset):
    """Return the text of the program that trains these trials as one pack."""
    (group,) = plan(trials)
    slab = TrainingData(group.signature, dataset).slab([trials], jax.devices()[0])
    static = group.signature.static
    layers = mlp.initialise(jax.random.key(0), static.sizes, static.init)
    start = jax.vmap(jax.vmap(program.make_start(static), (None, 0)), (None, 0))
    state = jax.eval_shape(start, layers, slab.networks)
    minibatches = jax.ShapeDtypeStruct((1, 4, static.batch_size), jnp.int32)
    numbers = np.int32(0), np.int32(0), np.int32(1)
    read = slab.images, slab.packs, slab.networks, state, minibatches
    return jax.jit(program.make_train(static)).lower(*read, *numbers).as_text()


@pytest.mark.slow
def test_without_disturbances_the_program_is_the_plain_one(trials, small_mnist, monkeypatch):
    pair = {}, {"labels.kind": "shuffled"}
    zeros = dict.fromkeys(REGULARIZED, 0.0)
    default, none = program_text(trials({}, *pair), small_mnist), program_text(trials(zeros, *pair), small_mnist)
    disturbed_program = program_text(trials({"regularization.dropout": 0.5}, *pair), small_mnist)

    def make_plain_loss(static, arithmetic):
        loss = LOSSES[static.loss]
        return lambda layers, pixels, labels, network, step: jnp.mean(
            loss.per_example(mlp.apply(layers, pixels, static.activation), labels)
        )

    monkeypatch.setattr(program, "make_minibatch_loss", make_plain_loss)
    assert default == none == program_text(trials({}, *pair), small_mnist) != disturbed_program


@pytest.mark.slow
def test_trained_on_noise_images_a_network_is_less_sure_of_noise(trials, small_mnist):
    common = {"dataset.n_train": 1000, "model.widths": [32], "optimizer.learning_rate": 0.05, "epochs": 10, "seeds": 3}
    sure = []
    for own in ({}, {"regularization.noise_images": 0.25}):
        asked = trials(common | own)
        (group,) = plan(asked)
        trained = execution.train(group, small_mnist)
        data = trained.sources, trained.images, trained.statistics, trained.rows, trained.labels, trained.hyper
        rows = confidence.measure(Networks(group.signature.static, trained.layers, np.arange(3), *data))
        sure.append({kind: rows["mean_confidence"][rows["inputs"] == kind] for kind in ("test", "uniform")})
        assert trained.curves.test_accuracy[:, -1].min() > 0.8
    plain, told = sure
    assert (told["uniform"] < plain["uniform"] - 0.1).all()
    assert (told["uniform"] < 0.2).all()  # an even answer is 0.1
    assert (told["test"] > 0.6).all()
