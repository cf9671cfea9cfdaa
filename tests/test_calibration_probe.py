"""The probe of errors told by confidence, and of calibration, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memo.measures.calibration import expected_calibration_error, fit_temperature, log_probabilities
from memo.measures.ranking import auroc, average_precision
from memo.networks import mlp
from memo.networks.program import Images
from memo.probes import calibration
from memo.probes.networks import Networks, outputs
from tests import builders

SEEDS = np.array([0, 1])


@pytest.fixture(scope="module")
def make(mnist):
    """Return `make(loss) -> two linear networks`: the digits' means as weights, and none."""

    def make(loss="cross_entropy", scale=0.2):
        static = builders.static((784, 10), loss=loss)
        images = mnist.train_images[:5000].astype(np.float32) / 255
        means = np.stack([images[mnist.train_labels[:5000] == digit].mean(0) for digit in range(10)], 1)
        biases = -0.5 * np.sum(means**2, 0)
        weights = np.stack([scale * means, 0 * means])
        layers = (mlp.Layer(jnp.asarray(weights), jnp.asarray(np.stack([scale * biases, 0 * biases]))),)
        shown = Images(None, jnp.asarray(mnist.test_images[None, :600]), jnp.asarray(mnist.test_labels[:600]))
        return Networks(static, layers, SEEDS, np.zeros(2, int), shown, None, None, None, None)

    return make


def test_columns_are_numpys(make):
    networks = make()
    columns = calibration.measure(networks)
    assert columns["network"].tolist() == [0, 1]
    values = np.asarray(outputs(networks.static, networks.layers, networks.images.test[0].astype(jnp.float32) / 255))[0]
    true = np.asarray(networks.images.test_labels).astype(int)
    shares = np.exp(log_probabilities(values, 1.0))
    sure, right = shares.max(1), values.argmax(1) == true
    expected = {
        "accuracy": right.mean(),
        "mean_confidence": sure.mean(),
        "mean_confidence_right": sure[right].mean(),
        "mean_confidence_wrong": sure[~right].mean(),
        "overconfidence": sure.mean() - right.mean(),
        "error_auroc": auroc(sure[right], sure[~right]),
        "error_aupr": average_precision(-sure[~right], -sure[right]),
        "success_aupr": average_precision(sure[right], sure[~right]),
        "ece": expected_calibration_error(sure, right),
    }
    temperature = fit_temperature(values[::2], true[::2])
    after = np.exp(log_probabilities(values[1::2], temperature))
    expected |= {
        "temperature": temperature,
        "ece_before": expected_calibration_error(sure[1::2], right[1::2]),
        "ece_after": expected_calibration_error(after.max(1), right[1::2]),
        "nll_before": -np.log(shares[np.arange(600), true])[1::2].mean(),
        "nll_after": -np.log(after[np.arange(300), true[1::2]]).mean(),
        "confidence_after": after.max(1).mean(),
    }
    assert 0.7 < right.mean() < 0.9
    assert temperature < 1  # weights this small are not sure enough
    assert {name: columns[name][0] for name in expected} == pytest.approx(expected, abs=1e-3)
    assert expected["ece_after"] < expected["ece_before"]
    for when in ("before", "after"):
        counts, sures, rights = (columns[f"bin_{name}_{when}"] for name in ("count", "confidence", "accuracy"))
        assert counts.shape == sures.shape == rights.shape == (2, 15)
        assert counts[0].sum() == 300
        gaps = np.abs(np.nan_to_num(sures[0]) - np.nan_to_num(rights[0])) * counts[0] / 300
        assert gaps.sum() == pytest.approx(expected[f"ece_{when}"], abs=1e-3)


def test_outputs_that_say_nothing_have_an_infinite_temperature(make):
    columns = calibration.measure(make())
    digits = np.asarray(make().images.test_labels)
    assert columns["temperature"][1] == np.inf
    assert columns["confidence_after"][1] == pytest.approx(0.1)
    assert columns["accuracy"][1] == np.mean(digits == 0)  # ties go to the first
    assert columns["error_auroc"][1] == 0.5
    assert columns["nll_after"][1] == pytest.approx(np.log(10))


def test_a_network_that_is_always_right_has_no_errors_to_tell(make):
    networks = make(scale=3.0)
    called = np.asarray(outputs(networks.static, networks.layers, networks.images.test[0].astype(jnp.float32) / 255))
    labels = jnp.asarray(called[0].argmax(1).astype(np.uint8))
    columns = calibration.measure(networks._replace(images=networks.images._replace(test_labels=labels)))
    assert columns["accuracy"][0] == 1
    assert np.isnan([columns[name][0] for name in ("mean_confidence_wrong", "error_auroc", "error_aupr")]).all()
    assert columns["temperature"][0] == 0
    assert columns["ece_after"][0] == columns["nll_after"][0] == 0
    assert columns["confidence_after"][0] == 1


def test_sigmoid_outputs_have_no_temperature(make):
    columns = calibration.measure(make("squared_error"))
    assert np.isnan([columns[name] for name in ("temperature", "ece_after", "nll_before", "nll_after")]).all()
    assert np.isfinite([columns[name][0] for name in ("ece", "ece_before", "error_auroc", "overconfidence")]).all()


def test_a_diverged_network_gives_no_number_and_disturbs_no_other(make):
    whole = make()
    lost = whole._replace(layers=jax.tree.map(lambda leaf: leaf.at[1, 0].set(jnp.nan), whole.layers))
    columns, expected = calibration.measure(lost), calibration.measure(whole)
    for name in set(columns) - {"network"}:
        assert np.isnan(columns[name][1]).all()
        np.testing.assert_array_equal(columns[name][0], expected[name][0])
