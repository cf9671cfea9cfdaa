"""The early-learning regulariser, and labels redrawn at each presentation, in the programs that train with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.config import Execution, make_recipe
from memo.errors import Refusal
from memo.networks import early_learning, mlp, program
from memo.networks.losses import LOSSES
from memo.training import execution
from memo.training.inputs import TrainingData
from memo.training.population import network_bytes, plan
from memo.training.slab import Slab
from tests import builders
from tests.test_regularizers import one_network
from tests.test_regularizers import results as results_of

RNG = np.random.default_rng(0)
AVERAGES = RNG.dirichlet(np.ones(10), 5).astype(np.float32)
OUTPUTS = RNG.normal(0, 2, (5, 10)).astype(np.float32)
SOFTMAX = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(1, keepdims=True)
LABELS = jnp.array([0, 9, 3, 3, 5])
ELR = {"regularization.early_learning": 3.0, "labels.kind": "symmetric", "labels.fraction": 0.4}
SMALL = {"dataset.n_train": 200, "model.widths": [8], "epochs": 3, "batch_size": 32, "stop_at_train_accuracy": None}


def test_an_average_moves_towards_the_answer():
    found = early_learning.remember(jnp.asarray(AVERAGES), jnp.asarray(SOFTMAX), 0.7)
    bounded = np.clip(SOFTMAX, 1e-4, 1 - 1e-4)
    np.testing.assert_allclose(found, 0.7 * AVERAGES + 0.3 * bounded / bounded.sum(1, keepdims=True), rtol=1e-6)
    # The same answer again and again: 1 − memory^k of it.
    averages = jnp.zeros((1, 2))
    for _ in range(5):
        averages = early_learning.remember(averages, jnp.array([[0.25, 0.75]]), 0.6)
    np.testing.assert_allclose(averages[0], (1 - 0.6**5) * np.array([0.25, 0.75]), rtol=1e-6)


def test_the_penalty_in_closed_form():
    found = early_learning.penalty(jnp.asarray(SOFTMAX), jnp.asarray(AVERAGES))
    np.testing.assert_allclose(found, np.log(1 - (SOFTMAX * AVERAGES).sum(1)), rtol=1e-4)
    certain = jnp.eye(2)
    assert np.isfinite(early_learning.penalty(certain, early_learning.remember(certain, certain, 0.9))).all()


@pytest.mark.slow
def test_the_loss_of_a_minibatch_and_its_gradient():
    """Of a network that sees nothing, by its biases; the gradient of the averages themselves is left out, as in the source."""
    static = builders.static((4, 10), early_learning=True)
    layers = (mlp.Layer(jnp.zeros((4, 10)), jnp.asarray(OUTPUTS[0])),)
    network = one_network(early_learning=3.0, early_learning_memory=0.7)
    arguments = jnp.ones((5, 4)), LABELS, network, jnp.int32(0), jnp.asarray(AVERAGES)
    loss = program.make_remembering_loss(static)
    (value, after), slope = jax.value_and_grad(loss, has_aux=True)(layers, *arguments)
    answer = np.tile(SOFTMAX[0], (5, 1))
    bounded = np.clip(answer, 1e-4, 1 - 1e-4)
    averages = 0.7 * AVERAGES + 0.3 * bounded / bounded.sum(1, keepdims=True)
    np.testing.assert_allclose(after, averages, rtol=1e-5)

    def by_hand(biases):
        shares = np.exp(biases) / np.exp(biases).sum()
        return np.mean(-np.log(shares[np.asarray(LABELS)]) + 3 * np.log(1 - averages @ shares))

    biases = OUTPUTS[0].astype(float)
    assert value == pytest.approx(by_hand(biases), rel=1e-5)
    steps = 1e-5 * np.eye(10)
    differences = [(by_hand(biases + step) - by_hand(biases - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(slope[0].biases, differences, atol=1e-5)


def test_a_weight_of_nothing_leaves_the_loss_of_the_labels():
    static = builders.static((4, 10), early_learning=True)
    layers = mlp.initialise(jax.random.key(0), (4, 10), "he")
    pixels = jnp.asarray(RNG.random((5, 4), np.float32))
    arguments = pixels, LABELS, one_network(early_learning=0.0, early_learning_memory=0.7), jnp.int32(0)
    found, _ = program.make_remembering_loss(static)(layers, *arguments, jnp.asarray(AVERAGES))
    expected = LOSSES["cross_entropy"].per_example(mlp.apply(layers, pixels, "relu"), LABELS).mean()
    assert found == pytest.approx(float(expected), rel=1e-6)


def test_only_networks_with_the_regulariser_hold_averages(trials):
    (plain,), (kept,) = plan(trials(SMALL)), plan(trials(SMALL | ELR))
    assert network_bytes(kept.signature) - network_bytes(plain.signature) == 4 * 200 * 10
    start = program.make_start(plain.signature.static)
    layers = mlp.initialise(jax.random.key(0), plain.signature.static.sizes, "he")
    assert jax.eval_shape(start, layers, one_network()).averages == ()


@pytest.mark.slow
@pytest.mark.parametrize("own", [ELR, {"labels.kind": "fresh", "labels.fraction": 0.5}], ids=["elr", "fresh"])
def test_a_network_does_not_depend_on_its_neighbours(trials, small_mnist, own):
    """Its averages and its draws are its own: beside another, which differs in them, it ends at the same weights."""
    other = {"regularization.early_learning": 1.0} if own is ELR else {"labels.fraction": 0.9}
    found = []
    for asked in (trials(SMALL | own), trials(SMALL | own, {}, other)):
        (group,) = plan(asked)
        found.append(execution.train(group, small_mnist, Execution(pack_size=len(asked))))
    alone, pair = found
    for one, leaf in zip(results_of(alone, 0), results_of(pair, 0), strict=True):
        np.testing.assert_allclose(one, leaf, atol=1e-5, rtol=0)
    assert np.abs(results_of(pair, 1)[0] - results_of(pair, 0)[0]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("own", [ELR, {"labels.kind": "fresh", "labels.fraction": 0.5}], ids=["elr", "fresh"])
def test_a_network_goes_on_from_a_checkpoint_bit_for_bit(trials, small_mnist, own):
    """Its averages are kept, and its draws depend on the step alone."""
    (group,) = plan(trials(SMALL | own))
    data, places, device = TrainingData(group.signature, small_mnist), np.array([[0]]), jax.devices()[0]

    def ended(slab):
        while not slab.finished:
            slab.advance()
        return slab.result()

    slab = Slab(group, places, data, device)
    for _ in range(3):
        slab.advance()
    kept = {name: np.array(leaf) for name, leaf in slab.arrays().items()}
    assert 0 < slab.step < group.signature.static.steps
    whole, resumed = ended(slab), ended(Slab(group, places, data, device, kept=kept))
    jax.tree.map(np.testing.assert_array_equal, whole.layers, resumed.layers)
    np.testing.assert_array_equal(whole.curves.train_loss, resumed.curves.train_loss)


@pytest.mark.slow
def test_redrawn_labels_cannot_be_memorised(trials, small_mnist):
    """At a share of 1 no label says anything: a network that would memorise 20 images answers none better than chance."""
    common = SMALL | {"dataset.n_train": 20, "batch_size": 20, "epochs": 200, "labels.fraction": 1.0}
    (fixed,), (fresh,) = (plan(trials(common | {"labels.kind": kind})) for kind in ("random", "fresh"))
    fixed, fresh = (execution.train(group, small_mnist) for group in (fixed, fresh))
    assert fixed.final.train_accuracy[0] == 1
    assert fresh.final.train_accuracy[0] < 0.5  # of the true labels
    assert fresh.labels_changed[0] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"loss": "squared_error"},
            "loss is squared_error; with regularization.early_learning=3.0 allowed is cross_entropy",
        ),
        ({"regularization.noise_images": 0.5}, "regularization.noise_images is 0.5; with .* allowed is 0"),
        ({"regularization.adversarial": 0.5}, "regularization.adversarial is 0.5; with .* allowed is 0"),
    ],
)
def test_what_does_not_go_with_it_is_refused(settings, sentence):
    with pytest.raises(Refusal, match=sentence):
        make_recipe(ELR | settings)
