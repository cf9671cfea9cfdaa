"""The experiment on the inside of networks: answers from made-up tables, its arms, what it computes of curves, and the command once."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.inside import connectivity, kernel, layers, norms, pretraining, stability
from experiments.inside.analysis import CHAPTERS
from experiments.inside.copies import APART, CURVE, LINE, PARTINGS
from experiments.inside.retraining import with_layer
from experiments.inside.transfer import rescaled
from memo.commands import arms
from memo.config import make_trials
from memo.networks import mlp
from memo.networks.mlp import Layer
from memo.probes.norms import QUANTILES
from memo.reporting import claims, declarations
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import Tables
from tests import builders, reports
from tests.builders import ROOT

SEEDS, COUNTS = range(6), (1000, 3000)


def declared():
    return declarations.read(ROOT / "experiments" / "inside" / "claims.yaml")


def spread(value):
    """Return values by seed whose geometric mean is `value`."""
    return value * np.exp(0.01 * (np.arange(len(SEEDS)) - 2.5))


def networks():
    """Networks of which random labels double norms, and divide margins and multiply times by four."""
    rows = []
    for n in COUNTS:
        for arm, labels, factor in (("learned", "true", 1), ("memorised", "random", 4)):
            own = pd.DataFrame(
                {"trial": [f"{arm}{n}{s}" for s in SEEDS], "arm": arm, "seed": SEEDS, "labels": labels, "images": n}
            )
            own["lipschitz"], own["complexity"], own["complexity_start"] = spread(10 * factor**0.5), 100.0, 50.0
            own["size"], own["loss_level"] = 10.0, 0.05
            for level in QUANTILES:
                own[f"margin_{level}"] = spread(level / factor)
            for name in norms.CAPACITIES:
                own[f"log_{name}"] = np.log(n) * (1 if arm == "learned" else 2) + 2 * np.log(own["margin_5"])
            own["t99"], own["linear_t99"] = spread(5.0 * factor), spread(10.0 * factor * (n / 1000) ** 0.5)
            own["linear_given"] = 400.0
            own["inverse_energy"], own["top_energy"] = spread(7.0 * factor), 0.8 / factor
            if n == COUNTS[-1]:
                own["aligned"], own["aligned_start"] = spread(2.0), spread(0.9)
                own["dead_first"], own["dead_last"], own["active_last"] = (
                    0.0,
                    0.1,
                    0.8 / factor + 0.002 * factor * (np.arange(6) - 2.5),
                )
            rows.append(own)
    for arm in ("half", "gaussian"):
        own = rows[2].assign(
            arm=arm, trial=[f"{arm}{s}" for s in SEEDS], t99=spread(10.0), linear_t99=spread(20.0 * 3**0.5)
        )
        rows.append(own.drop(columns=["aligned", "aligned_start", "dead_first", "dead_last", "active_last"]))
    for labels, rate in (("true", 0.05), ("true", 0.1), ("random", 0.05), ("random", 0.1)):
        own = pd.DataFrame(
            {
                "trial": [f"e{labels}{rate}{s}" for s in SEEDS],
                "arm": "edge",
                "seed": SEEDS,
                "labels": labels,
                "images": 500,
            }
        )
        rows.append(own.assign(rate=rate, edge_largest=spread(1.1), edge_stays=spread(1.0) if rate == 0.1 else np.nan))
    rows.append(
        pd.DataFrame(
            {"trial": [f"n{s}" for s in SEEDS], "arm": "noisy", "seed": SEEDS, "labels": "random", "images": 3000}
        )
    )
    return pd.concat(rows, ignore_index=True).assign(status="completed", network="784-256-256-10")


def by_layer():
    """Five layers, of which the second holds all wrong labels and the last a fifth."""
    kept = {1: 0.9, 2: 0.1, 3: 0.9, 4: 0.9, 5: 0.8}
    rows = [{"way": layers.WHOLE, "layer": 0, "noisy": 1.0, "test": 0.8}]
    rows.append({"way": layers.LAST_TWO, "layer": 0, "noisy": 0.7, "test": 0.85})
    for way in layers.WAYS:
        rows += [{"way": way, "layer": layer, "noisy": value, "test": 0.8} for layer, value in kept.items()]
    table = pd.concat([pd.DataFrame(rows).assign(seed=seed) for seed in SEEDS], ignore_index=True)
    table["noisy"] += 0.001 * table["seed"] * (table["way"] == layers.RETRAINED)
    table["test"] += 0.001 * table["seed"] * (table["way"] == layers.LAST_TWO)
    return table.assign(clean=0.99, layers=5, before_epoch=2.0, before_accuracy=0.7)


def valleys():
    heights = {"start": 0.3, "half": 0.1, "late": 0.004, APART: 0.6}
    rows = []
    for labels in ("true", "random"):
        for parting, way in [*((name, LINE) for name in (*PARTINGS, APART)), (APART, CURVE)]:
            height = 0.01 if way == CURVE else heights[parting] * (labels == "random" or 0.01)
            for seed in SEEDS:
                error = 0.02 + np.array([0, 1, 0]) * height * (1 + 0.01 * seed)
                rows.append(
                    pd.DataFrame(
                        {"labels": labels, "parting": parting, "way": way, "seed": seed, "along": [0, 0.5, 1]}
                        | dict.fromkeys(["train_error", "test_error", "train_loss"], error)
                    )
                )
    return pd.concat(rows, ignore_index=True).assign(epoch=1.0, images=3000)


def moved():
    rows = [
        pd.DataFrame(
            {
                "seed": SEEDS,
                "labels": labels,
                "start": start,
                "t99": spread(time),
                "test_accuracy": 0.9,
                "status": "memorised",
            }
        )
        for labels, slow in (("true", 6), ("random", 20))
        for start, time in ((pretraining.SCRATCH, slow), (pretraining.PRETRAINED, slow / 2))
    ]
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def tables():
    return Tables(
        {
            "networks": networks(),
            "layers": by_layer(),
            "connectivity": valleys(),
            "transfer": moved(),
            "edge": pd.DataFrame(),
        }
    )


@pytest.fixture(scope="module")
def answers(tables):
    found = Answers(declared(), 3000)
    for module in CHAPTERS:
        module.answer(tables, found)
    return found


def test_every_claim_is_answered(answers):
    ledger = answers.ledger("standard").set_index("claim")
    assert (ledger.loc[["lipschitz-60000", "inverse-10000"], "verdict"] == claims.NOT_YET_MEASURED).all()
    assert ledger.loc["hover-true-0.05", "verdict"] == claims.NOT_APPLICABLE
    assert ledger.loc["aligned-start", "verdict"] == claims.CONTROL


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("lipschitz-3000", 2),
        ("margin-10-1000", 4),
        ("margin-90-3000", 4),
        ("margin-start-1000", 4),
        ("margin-every-3000", 1),
        ("growth-l2", 2),
        ("growth-gap-spectral", 1),
        ("inverse-1000", 4),
        ("energy-3000", 0.6),
        ("explains-random-3000", 1),
        ("explains-half", 1),
        ("explains-growth", 0),
        ("restored", 0.0525),
        ("deeper", 0.1),
        ("redundant-most", 0.9025),
        ("redundant-last", 0.8025),
        ("not-last", 0.1),
        ("aligned-random", 2),
        ("aligned-start", 0.9),
        ("transfer-true", 2),
        ("sparse-late", 0.6),
        ("stable-start", 1),
        ("unstable-start", 0),
        ("unstable-half", 0),
        ("stable-late", 1),
        ("curved-random", 1),
        ("edge-random-0.1", 1.1),
        ("hover-true-0.1", 1),
    ],
)
def test_answers_are_those_of_the_tables(answers, claim, value):
    assert answers[claim].value == pytest.approx(value, abs=1e-9)


def test_linearised_training_that_never_fits_gives_a_lower_bound():
    own = networks()
    own.loc[(own["arm"] == "memorised") & (own["seed"] == 0), "linear_t99"] = np.nan
    estimate, note = kernel.explained(own, "memorised", 3000)
    assert np.isinf(estimate.high) and "lower bound" in note


def test_norms_are_interpolated_where_the_loss_first_falls_to_the_level():
    """Half-way in the logarithm of the loss, positive numbers by their logarithms."""
    names = [*norms.POSITIVE, *(f"log_{name}" for name in norms.CAPACITIES), *norms.MARGINS, "size"]
    own = pd.DataFrame({key: [1.0, 4.0, 9.0] for key in names})
    found = norms.at_loss(own, np.array([1, 0.01, 1e-4]), 0.1)
    assert found["lipschitz"] == pytest.approx(2) and found["margin_50"] == pytest.approx(2.5)
    assert np.isnan(norms.at_loss(own, np.array([1, 0.5, 0.2]), 0.1)["lipschitz"])


def test_sharpness_counts_from_the_edge_to_fitted_labels():
    edge = np.array([0.2, 0.6, 1.0, 1.2, 1.1, 0.3])
    accuracies = np.array([0.1, 0.5, 0.8, 0.9, 0.95, 1.0])
    assert stability.of_curve(edge, accuracies) == {"edge_largest": 1.2, "edge_stays": 1.1}
    assert np.isnan(stability.of_curve(0.5 * edge, accuracies)["edge_stays"])


def test_instability_is_the_largest_error_above_the_mean_of_the_ends():
    table = pd.DataFrame(
        {
            "labels": "true",
            "parting": "start",
            "way": LINE,
            "seed": 0,
            "along": [0, 0.5, 1],
            "train_error": [0.1, 0.6, 0.3],
        }
    )
    assert connectivity.instability(table, "true", "start").tolist() == pytest.approx([0.4])
    assert connectivity.instability(table, "random", "start").empty


def test_rescaling_keeps_answers_and_gives_the_lengths_of_the_start():
    rng = np.random.default_rng(0)

    def network(scale):
        return tuple(
            Layer(scale * rng.normal(size=size).astype(np.float32), rng.normal(size=size[1]).astype(np.float32))
            for size in ((5, 4), (4, 4), (4, 3))
        )

    trained, start = network(3), network(1)
    found = rescaled(trained, start)
    for own, begun in zip(found, start):
        assert np.linalg.norm(own.weights) == pytest.approx(np.linalg.norm(begun.weights), rel=1e-5)
    pixels = jnp.asarray(rng.random((9, 5)), jnp.float32)
    one, other = (np.asarray(mlp.apply(each, pixels, "relu")) for each in (trained, found))
    np.testing.assert_allclose(other / other[0, 0], one / one[0, 0], rtol=1e-4)


def test_a_layer_is_taken_from_another_network():
    one, other = (tuple(Layer(np.full((2, 2), value), np.full(2, value)) for _ in range(3)) for value in (0.0, 1.0))
    found = with_layer(one, other, 1, 2)
    assert [leaf.flat[0] for leaf in jax.tree.leaves(found)] == [0, 0, 1, 1, 1, 1]


def test_arms_share_images_and_starts():
    config = builders.compose("inside")
    trials = {name: [t for one in each for t in make_trials(one)] for name, each in arms.compared(config).items()}
    assert {len({trial.seed for trial in own}) for own in trials.values()} == {
        6
    }  # five for a verdict, six for a share above a half
    for name in ("learned", "memorised", "half", "gaussian"):
        for trial in trials[name]:
            recipe = trial.recipe
            assert (recipe.dataset.subset_seed, recipe.labels.seed, recipe.optimizer.learning_rate) == (
                None,
                None,
                0.05,
            )
    settings = config.experiment.settings
    counts = {trial.recipe.dataset.n_train for trial in trials["memorised"]}
    assert counts == {trial.recipe.dataset.n_train for trial in trials["learned"]}
    assert {
        *settings["kernel"]["images"],
        settings["pretraining"]["images"],
        settings["connectivity"]["images"],
    } <= counts
    for trial in trials["edge"]:
        assert trial.recipe.batch_size == trial.recipe.dataset.n_train and trial.recipe.optimizer.momentum == 0


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inside")
    builders.python("-m", "experiments.inside", "scale=quick", f"hydra.run.dir={folder}", check=True)
    return folder


ABOVE, BELOW, BOTH = Estimate(2.0, 1.5, 2.5, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0.1, -0.2, 1.6, 5)


def at_rate(random, true):
    return {"edge": {"0.1": {"true": true, "random": random}}}


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        ("stability", "finding", at_rate(None, None), "is not known from this run"),
        ("stability", "finding", at_rate(ABOVE, BELOW), "with random labels, and not with true ones"),
        ("stability", "finding", at_rate(BOTH, ABOVE), "not clearly with random labels, but with true ones"),
        ("stability", "edge_caption", at_rate(None, ABOVE), "Lines: means"),
        ("stability", "edge_caption", at_rate(ABOVE, BOTH), "at 1 of 1 learning rates; with true labels, at 0."),
        ("layers", "finding", {"deeper": None, "most": None, "restored": None}, "is not known from this run."),
        (
            "layers",
            "finding",
            {"deeper": BELOW, "most": None, "restored": ABOVE},
            "Rewinding the last two layers raises",
        ),
        ("layers", "finding", {"deeper": ABOVE, "most": ABOVE, "restored": None}, "of the wrong labels in place."),
        ("layers", "finding", {"deeper": BOTH, "most": ABOVE, "restored": BOTH}, "costs not detectably more or less"),
        ("pretraining", "alignment_caption", {"aligned": {"random": BELOW, "true": ABOVE}}, "true labels do. Dotted"),
        ("pretraining", "alignment_caption", {"aligned": {"random": ABOVE, "true": ABOVE}}, "true labels do so too."),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = {"reached": 0.95, "seeds": 5, "depth": 5, "costliest": 1, "least": 0.1, "percentile": 99}
    text = Text("experiments.inside", chapter).block(block, **facts | found)
    assert said in text and text.endswith(".") and "n/a" not in text and ".." not in text


@pytest.mark.slow
def test_the_report_is_whole_and_can_be_audited(report):
    assert reports.check(report, "inside").numbers > 20


@pytest.mark.slow
def test_copies_that_part_have_one_start_and_two_ends(report):
    table = pd.read_csv(report / "tables" / "connectivity.csv")
    assert set(table["parting"]) == {*PARTINGS, APART} and set(table["way"]) == {LINE, CURVE}
    # Those that part late may have fitted all labels already.
    ends = table[table["along"].isin([0, 1]) & table["parting"].isin(["start", APART])]
    assert ends.groupby(["labels", "seed", "parting", "way"])["train_loss"].nunique().min() == 2
