"""The experiment on label noise: answers from made-up tables, its turning points, its arms, and the command once."""

import numpy as np
import pandas as pd
import pytest

from experiments.label_noise import descent, early, kinds, massive, networks
from memo.commands import arms
from memo.config import flatten, make_trials
from memo.reporting import claims, declarations
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import Tables
from tests import builders, reports
from tests.builders import ROOT

SEEDS = [0, 1, 2]
JITTER = np.array([-0.01, 0.0, 0.01])
WIDTHS = {8: 0.30, 12: 0.25, 50: 0.35, 100: 0.30, 1000: 0.20}


def declared():
    return declarations.read(ROOT / "experiments" / "label_noise" / "claims.yaml")


def rows(arm, **columns):
    """Return the networks of an arm, three seeds; a number stands for values around it."""
    spread = {name: value + JITTER if isinstance(value, float) else value for name, value in columns.items()}
    name = "-".join([arm, *(f"{columns[key]}" for key in ("copies", "batch", "width") if key in columns)])
    return pd.DataFrame(
        {"trial": [f"{name}-{seed}" for seed in SEEDS], "arm": arm, "seed": SEEDS, "images": 100, **spread}
    )


@pytest.fixture(scope="module")
def tables():
    """Tables of networks whose every answer is known."""
    own = {
        "noisy": (0.9, 0.7, 0.9, 0.02, 0.95),
        "elr": (0.92, 0.92, 0.9, 0.02, 0.03),
        "elr_strong": (0.94, 0.94, 0.92, 0.01, 0.02),
        "gce": (0.9, 0.85, 0.9, 0.02, 0.2),
        "linear": (0.85, 0.8, 0.82, 0.03, 0.2),
        "linear_few": (0.7, 0.5, 0.6, 0.1, 0.8),
        "symmetric": (0.9, 0.7, 0.9, 0.02, 0.95),
        "pair": (0.88, 0.6, 0.85, 0.05, 0.95),
        "similar": (0.84, 0.58, 0.8, 0.1, 0.97),
    }
    names = (
        "stopped_test_accuracy",
        "last_test_accuracy",
        "stopped_true_class",
        "stopped_given_label",
        "last_given_label",
    )
    parts = [rows(arm, **dict(zip(names, values))) for arm, values in own.items()]
    parts[-2]["half_memorised"], parts[-1]["half_memorised"] = [8.0, 10.0, 12.0], [4.0, 5.0, 6.0]
    for arm, accuracies in {
        "fresh": {10: 0.95, 20: 0.92},
        "fresh_100": {100: 0.5},
        "fixed": {10: 0.7, 20: 0.6},
    }.items():
        parts += [
            rows(arm, copies=copies, batch=128, final_test_accuracy=value) for copies, value in accuracies.items()
        ]
    parts.append(rows("rates", copies=20, batch=1024, final_test_accuracy=0.96))
    for batch, value in {32: 0.85, 1024: 0.94}.items():
        parts.append(rows("batches", copies=20, batch=batch, final_test_accuracy=value))
    for width, loss in WIDTHS.items():
        turning = {"stopped_loss": loss / 2, "highest_loss": loss + 0.1, "stopped_error": 0.1}
        turning |= {"highest_error": 0.3, "last_error": 0.2}
        # Without jitter in their differences, but over seeds.
        parts.append(rows("widths_noisy", width=width, last_loss=loss, **turning))
        parts.append(rows("widths", width=width, last_loss=0.1 - width / 1e5, stopped_loss=0.1))
    return Tables(networks=pd.concat(parts, ignore_index=True))


@pytest.fixture(scope="module")
def answers(tables):
    found = Answers(declared(), 100)
    for module in (early, massive, descent, kinds):
        module.answer(tables, found)
    return found


def test_every_claim_is_answered(answers):
    ledger = answers.ledger("standard").set_index("claim")
    assert not (ledger["verdict"] == claims.NOT_YET_MEASURED).any()
    assert ledger["measured"].notna().all()


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("first-true", 0.9),
        ("first-memorised", 0.02),
        ("late-memorised", 1),
        ("linear-true", 0.82),
        ("linear-late", 0.7),
        ("kept-elr", 0.0),
        ("better-elr", 0.22),
        ("beyond-elr", 0.02),
        ("kept-gce", -0.05),
        ("memorised-gce", 0.2),
        ("beyond-gce", -0.05),
        ("massive-ten", 0.95),
        ("massive-100", 0.5),
        ("fresh-10", 0.25),
        ("batches", 0.09),
        ("batches-rate", 0.04),
        ("peak-rises", 0.1),
        ("peak-falls", 0.15),
        ("kept-elr_strong", 0.0),
        ("elsewhere-rises", 0.1),
        ("elsewhere-falls", 0.15),
        ("peak-noise", 0.15 - 950 / 1e5),
        ("stopped-peak", 0.075),
        ("stopped-gains", 0.175),
        ("epochs-rises-loss", 0.2),
        ("epochs-falls-error", 0.1),
        ("robust-similar", 0.84),
        ("spread-last", 0.1),
        ("similar-stopped", 0.04),
        ("similar-sooner", 2),
    ],
)
def test_answers_are_those_of_the_tables(answers, claim, value):
    assert answers[claim].value == pytest.approx(value)


def test_a_peak_that_the_other_seeds_choose_is_none_of_noise():
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 4)), columns=[12, 50, 100, 1000])
    widths = descent.chosen(noise)
    highest = descent.at(noise, widths["top"])
    for found in (highest - descent.at(noise, widths["low"]), highest - noise[1000]):
        assert abs(found.mean()) < 0.3 and found.notna().sum() == 300
    assert descent.peak_width(noise)[0].value > 12  # while the highest of each seed is somewhere


def test_without_the_widths_that_are_compared_claims_on_them_have_no_estimate(tables):
    few = tables["networks"]
    found = Answers(declared(), 100)
    descent.answer(Tables(networks=few[few["width"].isin([8, 12]) | few["width"].isna()]), found)
    assert found["peak-rises"] is None and found["peak-width"] is None and found["epochs-falls-loss"] is None


def test_a_peak_between_widths_is_found():
    widths = np.array([12, 25, 50, 100, 1000.0])
    assert descent.vertex(widths, 1 - (np.log(widths) - np.log(60)) ** 2) == pytest.approx(60)
    assert descent.vertex(widths, np.array([1, 2, 3, 4, 5.0])) == 1000  # no peak inside


def test_turning_points_are_those_of_validation():
    """The lowest validation loss after the start, the highest one after it, and the end; test values are only read there."""
    curve = pd.DataFrame({"step": range(6), "epoch": np.arange(6) / 2, "test_loss": [9, 1, 2, 3, 4, 5.0]})
    curve["validation_loss"] = [0.0, 3, 1, 4, 5, 2]
    curve["test_accuracy"] = 1 - curve["test_loss"] / 10
    found = descent.turns(curve)
    assert [found[f"{name}_loss"] for name in ("stopped", "highest", "last")] == [2, 4, 5]
    assert found["highest_error"] == pytest.approx(0.4)
    assert (found["stopped_epoch"], found["highest_epoch"]) == (1, 2)
    falling = descent.turns(curve.assign(validation_loss=[9, 5, 4, 3, 2, 1]))
    assert falling["stopped_loss"] == falling["highest_loss"] == falling["last_loss"]


def test_a_network_is_stopped_by_validation_images():
    along = pd.DataFrame({"trial": "t", "arm": "noisy", "seed": 3, "step": [0, 1, 2, 3], "epoch": [0, 0.5, 1, 2]})
    along["validation_accuracy"] = [
        1.0,
        0.6,
        0.8,
        0.8,
    ]  # that before training does not count, and the first of the best does
    along["test_accuracy"] = [0.1, 0.9, 0.7, 0.5]
    along["true_class"], along["given_label"] = [0.1, 0.5, 0.6, 0.2], [0.1, 0.0, 0.2, 0.7]
    (found,) = networks.stopped_and_last(along.sample(frac=1, random_state=0)).to_dict("records")
    assert (found["stopped_epoch"], found["stopped_test_accuracy"], found["last_test_accuracy"]) == (1, 0.7, 0.5)
    assert (found["stopped_true_class"], found["last_given_label"]) == (0.6, 0.7)


def test_the_time_to_memorise_half_lies_between_evaluations():
    along = pd.DataFrame({"step": [0, 1, 2], "epoch": [0.0, 2.0, 4.0], "given_label": [0.0, 0.2, 0.8]})
    assert kinds.half_memorised(along) == pytest.approx(3)
    assert np.isnan(kinds.half_memorised(along.assign(given_label=[0.0, 0.1, 0.2])))


@pytest.mark.parametrize("scale", ["standard", "quick", "reference"])
def test_arms_that_are_compared_differ_in_what_is_compared_alone(scale):
    config = builders.compose("label_noise", f"scale={scale}")
    trials = {name: [t for one in each for t in make_trials(one)] for name, each in arms.compared(config).items()}
    recipes = {name: flatten(own[0].recipe) for name, own in trials.items()}

    def differ(one, other):
        return {key for key in recipes[one] if recipes[one][key] != recipes[other][key]}

    assert differ("noisy", "elr") == {"regularization.early_learning"}
    assert differ("noisy", "gce") == {"loss"}
    assert differ("noisy", "linear") == {"model.widths"}
    assert differ("symmetric", "pair") == differ("pair", "similar") == {"labels.kind"}
    assert differ("widths", "widths_noisy") == {"labels.kind", "labels.fraction"}
    assert differ("fresh", "fixed") == {"labels.kind"}
    counts = {name: len({trial.seed for trial in own}) for name, own in trials.items()}
    assert len(set(counts.values())) == 1
    if scale != "quick":
        assert counts["noisy"] >= 5
        assert trials["fresh"][0].recipe.dataset.n_train is None


ABOVE, BELOW, BOTH = Estimate(0.6, 0.55, 0.7, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0.1, -0.2, 0.6, 5)
UNKNOWN = dict.fromkeys(("first-true", "spread-last"))


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        ("early", "finding", {"first": None, "kept": None}, "is not known to change from where validation images"),
        ("early", "finding", {"first": BOTH, "kept": BELOW}, "not detectably answered with their true class first"),
        ("early", "finding", {"first": ABOVE, "kept": BELOW}, "falls from there to the end (−0.200"),
        ("early", "early_caption", {"first": None, "memorised": None}, "it is not known what networks learn first."),
        ("early", "early_caption", {"first": ABOVE, "memorised": None}, "first learn and then memorise."),
        (
            "early",
            "early_caption",
            {"first": BOTH, "memorised": BELOW},
            "keeps most wrong labels from being memorised.",
        ),
        ("massive", "finding", {"massive": {10: None}, "fresh": {10: None}}, "test accuracy is not known."),
        ("massive", "finding", {"massive": {10: ABOVE}, "fresh": {10: ABOVE, 20: None}}, "It is higher at 10 (0.600"),
        (
            "massive",
            "massive_caption",
            {"fresh": {10: None}, "batches": None},
            "Test accuracy by number of copies. Whether",
        ),
        ("massive", "massive_caption", {"fresh": {10: BOTH}, "batches": BELOW}, "Larger minibatches harm ("),
        ("descent", "descent_caption", {"noise": None, "again": None}, "no detectable peak. Left"),
        (
            "descent",
            "descent_caption",
            {"noise": BOTH, "again": BELOW},
            "it is not detectably different with wrong labels",
        ),
        ("kinds", "finding", {"spread": {"last": None}, "similar": {"last": None}}, "is not known from this run."),
        (
            "kinds",
            "finding",
            {"spread": {"last": BOTH}, "similar": {"last": ABOVE}},
            "is not detectably different where",
        ),
        ("in_short", "spread", {"answers": UNKNOWN}, "is not known"),
        ("in_short", "early_learning", {"answers": UNKNOWN}, "is not known"),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = dict.fromkeys(("kept_strong", "kept_gce", "beyond", "linear", "scaled", "width", "up", "down", "stopped"))
    facts |= {
        "first_memorised": BOTH,
        "last": ABOVE,
        "strong": 10,
        "clean": np.nan,
        "large": 1024,
        "small": 32,
        "at": 20,
    }
    facts |= {
        "seeds": 5,
        "images": 500,
        "share": 0.2,
        "rises": BOTH,
        "falls": BOTH,
        "again_error": BELOW,
        "widest": 1000,
    }
    facts |= {"below": 12, "threshold": 50, "beyond": 1000} if chapter == "descent" else {}
    facts["networks"] = pd.DataFrame({"arm": ["noisy"], "last_given_label": [np.nan]})
    text = Text("experiments.label_noise", chapter).block(block, **facts | found)
    assert said in text and text.endswith(".") and "n/a" not in text and ".." not in text


@pytest.mark.slow
def test_the_report_is_whole_and_can_be_audited(tmp_path):
    builders.python("-m", "experiments.label_noise", "scale=quick", f"hydra.run.dir={tmp_path}", check=True)
    assert reports.check(tmp_path, "label_noise").numbers > 20
