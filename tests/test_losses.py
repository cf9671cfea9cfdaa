import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.networks.losses import LOSSES, make_loss

OUTPUTS = np.random.default_rng(0).normal(0, 3, (6, 10))
LABELS = np.array([0, 9, 3, 3, 5, 1])
ONE_HOT = np.eye(10)[LABELS]
SOFTMAX = np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-OUTPUTS))


def per_example(loss, outputs, labels):
    return LOSSES[loss].per_example(jnp.asarray(outputs, jnp.float32), jnp.asarray(labels, jnp.int32))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("cross_entropy", -np.log(SOFTMAX[np.arange(6), LABELS])),
        ("squared_error", ((SIGMOID - ONE_HOT) ** 2).sum(1) / 2),
        ("sigmoid_cross_entropy", -np.log(np.where(ONE_HOT, SIGMOID, 1 - SIGMOID)).sum(1)),
        ("linear_squared_error", ((OUTPUTS - ONE_HOT) ** 2).sum(1) / 2),
        ("generalised_cross_entropy", (1 - SOFTMAX[np.arange(6), LABELS] ** 0.7) / 0.7),
    ],
)
def test_closed_form(loss, expected):
    np.testing.assert_allclose(per_example(loss, OUTPUTS, LABELS), expected, rtol=1e-5)  # float32


def test_known_values():
    assert per_example("cross_entropy", np.zeros((1, 10)), [4]) == pytest.approx(np.log(10))
    # Nielsen: sigmoid(0) = 1/2, so half of (1/2 - 1)^2 + (1/2)^2.
    assert per_example("squared_error", np.zeros((1, 2)), [0]) == pytest.approx(0.25)


@pytest.mark.parametrize("loss", LOSSES)
def test_large_outputs_stay_finite(loss):
    outputs = np.array([[1e4, -1e4], [-1e4, 1e4]])
    expected = {
        "cross_entropy": [0, 2e4],
        "squared_error": [0, 1],
        "sigmoid_cross_entropy": [0, 2e4],
        "linear_squared_error": [(9999**2 + 1e8) / 2, (10_001**2 + 1e8) / 2],
        "generalised_cross_entropy": [0, 1 / 0.7],
    }
    np.testing.assert_allclose(per_example(loss, outputs, [0, 0]), expected[loss], rtol=1e-6)
    gradients = jax.grad(lambda outputs: per_example(loss, outputs, [0, 0]).sum())(jnp.asarray(outputs, jnp.float32))
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("cross_entropy", SOFTMAX - ONE_HOT),
        ("squared_error", (SIGMOID - ONE_HOT) * SIGMOID * (1 - SIGMOID)),
        ("sigmoid_cross_entropy", SIGMOID - ONE_HOT),
        ("linear_squared_error", OUTPUTS - ONE_HOT),
        # The gradient of cross-entropy, weighted by the probability of the label to the power q.
        ("generalised_cross_entropy", (SOFTMAX[np.arange(6), LABELS] ** 0.7)[:, None] * (SOFTMAX - ONE_HOT)),
    ],
)
def test_gradient_is_the_analytic_one(loss, expected):
    gradients = jax.grad(lambda outputs: per_example(loss, outputs, LABELS).sum())(jnp.asarray(OUTPUTS, jnp.float32))
    np.testing.assert_allclose(gradients, expected, atol=1e-6)  # float32, values up to 1


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("cross_entropy", SOFTMAX),
        ("squared_error", SIGMOID),
        ("sigmoid_cross_entropy", SIGMOID),
        ("linear_squared_error", OUTPUTS),
        ("generalised_cross_entropy", SOFTMAX),
    ],
)
def test_confidence_is_read_from(loss, expected):
    np.testing.assert_allclose(LOSSES[loss].activate(jnp.asarray(OUTPUTS, jnp.float32)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("cross_entropy", -np.log(SOFTMAX).mean(1)),
        ("squared_error", ((SIGMOID - 0.1) ** 2).sum(1) / 2),
        ("sigmoid_cross_entropy", -(0.1 * np.log(SIGMOID) + 0.9 * np.log(1 - SIGMOID)).sum(1)),
        ("linear_squared_error", ((OUTPUTS - 0.1) ** 2).sum(1) / 2),
        ("generalised_cross_entropy", ((1 - SOFTMAX**0.7) / 0.7).mean(1)),
    ],
)
def test_loss_of_an_even_answer(loss, expected):
    np.testing.assert_allclose(LOSSES[loss].even(jnp.asarray(OUTPUTS, jnp.float32)), expected, rtol=1e-5)  # float32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "even", "least"),
    [
        ("cross_entropy", 0.0, np.log(10)),
        ("squared_error", -np.log(9), 0),
        ("sigmoid_cross_entropy", -np.log(9), -10 * (0.1 * np.log(0.1) + 0.9 * np.log(0.9))),
        ("linear_squared_error", 0.1, 0),
        ("generalised_cross_entropy", 0.0, (1 - 0.1**0.7) / 0.7),
    ],
)
def test_an_even_answer_is_the_one_minimum(loss, even, least):
    """The softmax is even where all outputs are equal, the sigmoids are 1/10 where all outputs are -log 9."""
    outputs = jnp.full(10, even, jnp.float32)
    assert LOSSES[loss].even(outputs) == pytest.approx(least, abs=1e-6)
    np.testing.assert_allclose(jax.grad(LOSSES[loss].even)(outputs), 0, atol=1e-7)
    directions = np.random.default_rng(0).normal(size=(200, 10))
    directions -= directions.mean(1, keepdims=True)  # a softmax does not see what all outputs share
    for size in (0.03, 0.3, 3):
        assert (LOSSES[loss].even(outputs[None] + jnp.asarray(size * directions, jnp.float32)) > least).all()


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_of_ones_own_needs_no_more_than_its_value_per_example(loss):
    own = make_loss(LOSSES[loss].per_example, LOSSES[loss].activate)
    outputs, labels = jnp.asarray(OUTPUTS, jnp.float32), jnp.asarray(LABELS, jnp.int32)
    np.testing.assert_allclose(own.score(outputs, labels), -per_example(loss, OUTPUTS, LABELS), rtol=1e-6)
    # The mean over labels differs from the loss of the even target by what no network changes.
    gradients = [
        jax.grad(lambda outputs, even=even: even(outputs).sum())(outputs) for even in (own.even, LOSSES[loss].even)
    ]
    np.testing.assert_allclose(*gradients, atol=1e-6)
