from fractions import Fraction

import jax
import numpy as np
import optax
import pytest

from memo import Trial, make_recipe, plan, train
from memo.config import flatten, unflatten
from memo.errors import Refusal
from memo.networks.mlp import Layer
from memo.networks.optimizers import OPTIMIZERS, SCHEDULES, Hyperparameters, Update, epoch_of, make_optimizer

STEPS, STEPS_PER_EPOCH, DECAY = 12, 4, 0.95
FACTORS = {
    "constant": lambda step: 1,
    "cosine": lambda step: (1 + np.cos(np.pi * step / STEPS)) / 2,
    "exponential": lambda step: DECAY ** (step // STEPS_PER_EPOCH),
    "step": lambda step: 1 if step < 8 else DECAY,
}


def sgd(gradient, memory, momentum):
    memory["velocity"] = momentum * memory.get("velocity", 0) + gradient
    return memory["velocity"]


def adam(gradient, memory, b1, b2=0.999, epsilon=1e-8):
    memory["step"] = memory.get("step", 0) + 1
    memory["mean"] = b1 * memory.get("mean", 0) + (1 - b1) * gradient
    memory["square"] = b2 * memory.get("square", 0) + (1 - b2) * gradient**2
    corrected = memory["square"] / (1 - b2 ** memory["step"])
    return memory["mean"] / (1 - b1 ** memory["step"]) / (np.sqrt(corrected) + epsilon)


def take_steps(name, schedule, gradients, learning_rate=0.1, momentum=0.8, weight_decay=0.03):
    """Return the layers after each step, from ones."""
    make = make_optimizer(name, momentum > 0, schedule, STEPS, STEPS_PER_EPOCH, DECAY)

    @jax.jit
    def step(hyper, gradients, state, layers):
        updates, state = make(hyper).update(gradients, state, layers)
        return jax.tree.map(lambda leaf, update: leaf + update, layers, updates), state

    hyper = Hyperparameters(*np.float32([learning_rate, momentum, weight_decay]))
    layers = (Layer(np.ones((3, 2), np.float32), np.ones(2, np.float32)),)
    state, taken = make(hyper).init(layers), []
    for weights, biases in gradients:
        layers, state = step(hyper, (Layer(np.float32(weights), np.float32(biases)),), state, layers)
        taken.append(layers[0])
    return taken


@pytest.mark.parametrize("momentum", [0, 0.8])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("name", "direction"), [("sgd", sgd), ("adam", adam)])
def test_each_step_is_numpys(name, direction, schedule, momentum):
    rng = np.random.default_rng(0)
    gradients = [(rng.normal(size=(3, 2)), rng.normal(size=2)) for _ in range(STEPS)]
    taken = take_steps(name, schedule, gradients, momentum=momentum)
    weights, biases, memories = np.ones((3, 2)), np.ones(2), ({}, {})
    for step, (of_weights, of_biases) in enumerate(gradients):
        rate = 0.1 * FACTORS[schedule](step)
        weights = weights - rate * direction(of_weights + 0.03 * weights, memories[0], momentum)
        biases = biases - rate * direction(of_biases, memories[1], momentum)
        # float32 rounding of up to 12 steps of values up to 3; Adam's 1 - b2 ** t loses three digits at first.
        np.testing.assert_allclose(taken[step].weights, weights, atol=1e-4 if name == "adam" else 3e-6)
        np.testing.assert_allclose(taken[step].biases, biases, atol=1e-4 if name == "adam" else 3e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_shrinks_weights_and_not_biases(name):
    *_, last = take_steps(name, "constant", [(np.zeros((3, 2)), np.zeros(2))] * 3)
    assert (last.weights < 1).all()
    np.testing.assert_array_equal(last.biases, 1)


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        ("constant", {0: 1, 50: 1, 99: 1}),
        ("cosine", {0: 1, 25: (1 + np.sqrt(0.5)) / 2, 50: 0.5, 100: 0}),
        ("exponential", {0: 1, 9: 1, 10: 0.95, 19: 0.95, 20: 0.95**2, 99: 0.95**9}),
        ("step", {0: 1, 69: 1, 70: 0.95, 99: 0.95}),  # 10 epochs: the last third begins with the 8th
    ],
)
def test_schedule_at_known_steps(schedule, points):
    factor = SCHEDULES[schedule](100, 10, 0.95)
    assert [float(factor(np.int32(step))) for step in points] == pytest.approx(list(points.values()), abs=1e-6)


@pytest.mark.parametrize(("n", "batch"), [(2000, 128), (60_000, 128), (60_000, 59_999), (50, 7), (512, 64)])
def test_epochs_are_whole_passes_over_the_images(n, batch):
    """Also where step * batch is beyond int32."""
    steps = np.array(
        [0, 1, n // batch, -(-n // batch), 999, 2**20 + 1, 2**31 // batch * n // n, 2**31 // 60_000 + 7], np.int32
    )
    found = jax.jit(lambda step: epoch_of(step, Fraction(n, batch)))(steps)
    assert found.tolist() == [int(step) * batch // n for step in steps]


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 61, 468])
def test_exponential_decays_at_the_first_step_of_an_epoch_when_compiled(steps_per_epoch):
    factor = jax.jit(SCHEDULES["exponential"](20 * steps_per_epoch, steps_per_epoch, 0.95))
    for epoch in range(1, 20):
        around = [float(factor(np.int32(epoch * steps_per_epoch + offset))) for offset in (-1, 0)]
        assert around == pytest.approx([0.95 ** (epoch - 1), 0.95**epoch], rel=1e-5)


@pytest.mark.slow
def test_an_optimizer_of_ones_own_has_options_of_its_own(monkeypatch, small_mnist):
    """Two networks of one population with different values of the option, and one with its default."""

    def adam_b2(hyper, momentum):
        return optax.scale_by_adam(b1=hyper.momentum, b2=hyper.options["b2"])

    monkeypatch.setitem(OPTIMIZERS, "adam_b2", Update(adam_b2, {"b2": 0.999}))
    keys = {
        "dataset.n_train": 256, "dataset.n_test": 100, "model.widths": [8], "batch_size": 64, "epochs": 2, "evaluations": 2,
        "optimizer.learning_rate": 0.01,
    }  # fmt: skip
    asked = [{"optimizer.name": "adam_b2"} | {f"optimizer.options.{name}": value for name, value in options.items()}
             for options in ({}, {"b2": 0.999}, {"b2": 0.5})]  # fmt: skip
    recipes = [make_recipe(keys | own) for own in (*asked, {"optimizer.name": "adam"})]
    trials = [Trial(recipe, 0) for recipe in recipes]
    assert trials[0].id == trials[1].id != trials[2].id
    assert [flatten(recipe).get("optimizer.options.b2") for recipe in recipes] == [0.999, 0.999, 0.5, None]
    assert unflatten(flatten(recipes[2])) == recipes[2]
    own, built_in = plan(trials[1:])
    assert (len(own.trials), len(built_in.trials)) == (2, 1)
    default, other, adam = (loss for of in (own, built_in) for loss in train(of, small_mnist).curves.train_loss[:, -1])
    assert default == pytest.approx(adam, rel=1e-5)
    assert abs(other - default) > 1e-3


def test_options_are_refused_by_name_and_value():
    with pytest.raises(Refusal, match=r"optimizer.options.b2 is not an option of sgd, which has none"):
        make_recipe({"optimizer.options.b2": 0.9})
    with pytest.raises(Refusal, match=r"optimizer.options is \{'b2': nan\}; allowed is finite numbers"):
        make_recipe({"optimizer.options.b2": float("nan")})
