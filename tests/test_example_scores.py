"""Scores of single examples: closed forms, brute force, and simulated networks whose scores are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from memo.measures.per_example.consistency import consistency
from memo.measures.per_example.data_map import data_map
from memo.measures.per_example.error_norm import el2n
from memo.measures.per_example.forgetting import first_learned, forgetting_events, lost_for_good, never_forgotten
from memo.measures.per_example.input_curvature import curvature
from memo.measures.per_example.margin_area import area_under_the_margin
from memo.measures.per_example.membership import attack_scores, true_positive_rate
from memo.measures.per_example.memorisation import error_bound, influence, memorisation
from memo.networks import mlp
from memo.statistics.rank_agreement import separation, spearman
from tests import builders


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_memorisation_is_the_difference_of_accuracies_example_by_example(rng):
    correct, members = rng.random((40, 7)) < 0.6, rng.random((40, 7)) < 0.7
    found = memorisation(correct, members)
    for i in range(7):
        inside, outside = correct[members[:, i], i], correct[~members[:, i], i]
        assert found.value[i] == pytest.approx(inside.mean() - outside.mean())
        assert (found.seen[i], found.unseen[i]) == (pytest.approx(inside.mean()), pytest.approx(outside.mean()))


def test_memorisation_is_unknown_where_all_networks_have_seen_the_example():
    found = memorisation(np.ones((3, 2), bool), np.array([[True, True], [True, False], [True, False]]))
    np.testing.assert_array_equal(np.isnan(found.value), [True, False])
    np.testing.assert_array_equal(np.isnan(found.error), [True, False])


def test_errors_of_memorisation_are_those_of_repeated_populations(rng):
    seen, unseen = np.array([1.0, 0.9, 0.5]), np.array([0.1, 0.5, 0.5])
    values, errors = [], []
    for _ in range(2000):
        members = rng.permuted(np.arange(60)[:, None] < 42, axis=0).repeat(3, axis=1)
        correct = rng.random((60, 3)) < np.where(members, seen, unseen)
        found = memorisation(correct, members)
        values.append(found.value)
        errors.append(found.error)
    np.testing.assert_allclose(np.mean(values, axis=0), seen - unseen, atol=0.01)
    np.testing.assert_allclose(np.mean(errors, axis=0), np.std(values, axis=0), rtol=0.12)
    assert (np.var(values, axis=0) < error_bound(0.7, 60)).all()


def test_influence_of_an_example_on_itself_is_its_memorisation(rng):
    correct, members = rng.random((30, 5)) < 0.6, rng.random((30, 5)) < 0.7
    found, own = influence(correct, members), memorisation(correct, members)
    for part, mine in zip(found, own):
        np.testing.assert_allclose(np.diag(part), mine, atol=1e-6)
    i, j = 1, 3
    inside = members[:, i]
    assert found.value[i, j] == pytest.approx(correct[inside, j].mean() - correct[~inside, j].mean(), abs=1e-6)


def test_consistency_averages_over_shares_however_many_networks_each_has(rng):
    shares = np.array([0.2] * 30 + [0.8] * 10)
    correct, members = rng.random((40, 4)) < 0.5, rng.random((40, 4)) < shares[:, None]
    members[-1] = False
    scores, errors = consistency(correct, members, shares)
    for i in range(4):
        each = [correct[(shares == share) & ~members[:, i], i].mean() for share in (0.2, 0.8)]
        assert scores[i] == pytest.approx(np.mean(each))
    assert (errors > 0).all()
    members[shares == 0.8, 2] = True
    assert np.isnan(consistency(correct, members, shares)[0][2])
    for each in consistency(correct[:0], members[:0], shares[:0]):
        np.testing.assert_array_equal(each, np.full(4, np.nan))


def test_an_example_is_lost_for_good_after_its_last_correct_answer(rng):
    correct, times = rng.random((3, 6, 50)) < 0.4, np.array([0, 1, 2, 3, 5, 8])
    for network, found in zip(correct, lost_for_good(correct, times)):
        for example, time in zip(network.T, found):
            later = [own for place, own in enumerate(times) if not example[place:].any()]
            assert time == (later[0] if later else np.inf)


def test_events_of_forgetting_and_first_learning():
    correct = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]], bool)
    assert forgetting_events(correct).tolist() == [1, 0, 2, 0]
    assert never_forgotten(correct).tolist() == [False, True, False, False]
    assert first_learned(correct, np.array([1, 2, 4, 8])).tolist() == [2, 4, 1, np.inf]
    np.testing.assert_array_equal(forgetting_events(np.stack([correct, ~correct]))[0], [1, 0, 2, 0])


def test_margins_errors_and_maps_are_means_along_training():
    logits = np.array([[0.0, 2.0], [0.0, -2.0]])
    assert area_under_the_margin(logits).tolist() == [0, 0]
    confidence, variability = data_map(logits)
    np.testing.assert_allclose(confidence, 0.5)
    np.testing.assert_allclose(variability, [0, 1 / (1 + np.exp(-2)) - 0.5])
    assert el2n(np.array([[0.0, 1.0], [1.0, 1.0]])).tolist() == [0.5, 1]


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(), (7, 5)])
def test_curvature_is_that_of_the_whole_hessian(rng, widths):
    static = builders.static((6, *widths, 4), "relu", "he")
    layers = mlp.initialise(jax.random.key(1), static.sizes, "he")
    pixels, labels = jnp.asarray(rng.random((3, 6), np.float32)), jnp.array([0, 1, 3])

    def loss(image, label):
        return -jax.nn.log_softmax(mlp.apply(layers, image[None], "relu")[0])[label]

    hessians = jax.vmap(jax.hessian(loss))(pixels, labels)
    due = jnp.trace(hessians @ hessians, axis1=1, axis2=2)
    np.testing.assert_allclose(curvature(static, layers, pixels, labels), due, rtol=1e-4)


def test_attack_scores_are_likelihood_ratios_without_the_network_attacked(rng):
    members = rng.random((20, 3)) < 0.5
    logits = rng.normal(size=(20, 3)) + 3 * members
    found = attack_scores(logits, members)
    for t, i in [(0, 0), (7, 1), (13, 2)]:
        others = np.arange(20) != t
        inside, outside = (logits[others & (members[:, i] == kind), i] for kind in (True, False))
        due = stats.norm(inside.mean(), inside.std()).logpdf(logits[t, i])
        due -= stats.norm(outside.mean(), outside.std()).logpdf(logits[t, i])
        assert found[t, i] == pytest.approx(due, abs=1e-3)


def test_an_attack_finds_members_where_they_differ_and_is_at_chance_where_not(rng):
    members = rng.random((200, 50)) < 0.5
    rates = {}
    for shift in (0, 8):
        scores = attack_scores(rng.normal(size=members.shape) + shift * members, members)
        rates[shift] = true_positive_rate(scores[members], scores[~members], 0.01)
    assert rates[0] == pytest.approx(0.01, abs=0.01)
    assert rates[8] > 0.99


def test_the_threshold_lets_no_more_than_the_share_of_others_pass(rng):
    others = rng.normal(size=999)
    assert true_positive_rate(others, others, 0.01) == pytest.approx(9 / 999)
    assert true_positive_rate(np.array([1.0]), np.array([1.0]), 0.01) == 0
    assert np.isnan(true_positive_rate(np.array([]), others, 0.01))


def test_rank_correlation_and_its_interval(rng):
    one = np.repeat(rng.normal(size=100), 2)
    other = one + rng.normal(size=200)
    found = spearman(one, other)
    assert found.value == pytest.approx(stats.spearmanr(one, other).statistic)
    assert found.low < found.value < found.high
    assert np.isnan(spearman(one, np.ones(200)).value)


def test_intervals_of_rank_agreement_cover(rng):
    truth, hits = {"spearman": 6 / np.pi * np.arcsin(0.5 / 2), "separation": stats.norm.cdf(1 / np.sqrt(2))}, []
    for _ in range(1000):
        a, noise = rng.normal(size=(2, 60))
        found = {"spearman": spearman(a, 0.5 * a + np.sqrt(0.75) * noise), "separation": separation(a + 1, noise[:40])}
        hits.append([found[name].low <= value <= found[name].high for name, value in truth.items()])
    assert np.mean(hits, axis=0) == pytest.approx([0.95, 0.95], abs=0.025)


def test_complete_separation_is_not_certainty():
    turned = separation([1, 2, 3, 4], [5, 6, 7])
    assert (turned.value, turned.low, turned.n) == (0, 0, 3)
    assert turned.high == pytest.approx(1 - 0.025 ** (1 / 3))
    found = separation([5, 6, 7], [1, 2, 3, 4])
    assert (found.value, found.high) == (1, 1)
    assert 0 < found.low < 0.5
