"""The experiment on single examples: answers from made-up tables, its arms, and the command once."""

import numpy as np
import pandas as pd
import pytest

from experiments.per_example import (
    agreement,
    attack,
    forgetting,
    held_out,
    influence,
    memorised,
    scores,
    second_split,
    widths,
)
from memo.commands import arms
from memo.config import make_recipe, make_trials
from memo.data import datasets
from memo.probes.image_record import Record
from memo.reporting import claims, declarations
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import Tables
from tests import builders, reports
from tests.builders import ROOT

IMAGES = 40


def declared():
    return declarations.read(ROOT / "experiments" / "per_example" / "claims.yaml")


@pytest.fixture
def tables():
    """Tables of 40 images, the first 8 of them with a redrawn label, and of a few networks."""
    wrong = np.arange(IMAGES) < 8
    rising = np.linspace(0, 1, IMAGES)
    images = pd.DataFrame({"image": np.arange(IMAGES) * 3, "label": wrong.astype(int), "true_label": 0})
    images["memorisation"] = np.where(wrong, 0.9, 0.2 * rising)
    images["memorisation_error"] = 0.05
    images["memorisation_true_labels"] = rising**8
    images["memorisation_true_labels_error"] = 0.05
    for name, score in scores.SCORES.items():
        if name != "memorisation":
            images[name] = score.sign * (np.where(wrong, 2, 0) + rising)
    seeds = np.tile([0, 1, 2], 4)
    arm = np.repeat(["noisy", "whole", "whole_clean", "permuted"], 3)
    networks = pd.DataFrame({"trial": [f"t{n}" for n in range(12)], "arm": arm, "seed": seeds, "images": IMAGES})
    networks["network"] = "784-256-256-10"
    numbers = {
        "injected_seen": [0.9, 1.0, 0.95],
        "injected_unseen": [0.0, 0.05, 0.0],
        "found_redrawn": [0.5, 0.6, 0.7],
        "found_true": [0.1, 0.1, 0.15],
        "events_true": [0.1, 0.2, 0.1],
        "events_redrawn": [1.1, 1.3, 1.0],
        "never_forgotten": [0.9, 0.95, 0.92],
    }
    for name, values in numbers.items():
        where = {"injected": "noisy", "found": "noisy", "events": "whole"}.get(name.split("_")[0])
        for each in [where] if where else ["whole_clean", "permuted"]:
            networks.loc[networks["arm"] == each, name] = values
    removal = pd.DataFrame(
        {
            "seed": np.tile([0, 1, 2], 2),
            "removed": np.repeat(["memorised", "random"], 3),
            "images": IMAGES - 5,
            "test_accuracy": [0.90, 0.91, 0.92, 0.93, 0.94, 0.96],
            "dataset": "mnist",
        }
    )
    pairs = pd.DataFrame(
        {
            "image": [3, 3, 6, 9],
            "test_image": [0, 1, 1, 2],
            "influence": [0.5, 0.4, 0.3, 0.1],
            "error": 0.05,
            "first_half": [0.5, 0.4, 0.1, 0.3],
            "second_half": [0.4, 0.3, 0.2, 0.1],
            "first_error": 0.06,
        }
    )
    left = pd.DataFrame(
        {
            "share": np.repeat([0.1, 0.7], 3),
            "seed": np.tile([0, 1, 2], 2),
            "left_true": [0.8, 0.81, 0.82, 0.9, 0.92, 0.91],
        }
    )
    halves = pd.DataFrame(
        {"score": ["memorisation", "c_score"], "images": "tail", "correlation": [0.9, np.nan], "n": [100, 0]}
    )
    by_width = images[["image", "label", "true_label"]].assign(
        width_256=images["memorisation"], width_16=images["memorisation"] ** 2
    )
    exposed = pd.DataFrame({"image": images["image"], "found": images["memorisation"] / 2})
    parts = {"images": images, "networks": networks, "removal": removal, "pairs": pairs, "held_out": left}
    return Tables(parts | {"reliability": halves, "widths": by_width, "attack": exposed})


@pytest.fixture
def answers(tables):
    found = Answers(declared(), IMAGES)
    for module in (memorised, influence, held_out, forgetting, agreement, attack, widths):
        module.answer(tables, found)
    return found


def test_every_claim_is_answered(answers):
    ledger = answers.ledger("standard").set_index("claim")
    assert (ledger.loc[["width-agrees-64", "width-injected-512"], "verdict"] == claims.NOT_YET_MEASURED).all()
    assert ledger.loc["reliable-c_score", "measured"] != ledger.loc["reliable-c_score", "measured"]


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("injected-memorised", np.mean([0.9, 0.95, 0.95])),
        ("injected-found-memorisation", 1.0),
        ("tail-true-labels", np.mean(np.linspace(0, 1, IMAGES) ** 8 >= 0.25)),
        ("removal", 0.1 / 3),
        ("influence-single", 0.5),  # image 1 is influenced by two, image 0 by one, image 2 not enough
        ("influence-confirmed", np.mean([0.4, 0.3, 0.1])),  # those of the first half alone
        ("held-out-rises", 0.1),
        ("injected-found-c_score", 1.0),
        ("noisy-forgotten", 1.0),
        ("never-forgotten", np.mean([0.9, 0.95, 0.92])),
        ("permuted", 0.0),
        ("injected-found-second_split", 1.0),
        ("rare-later", 1.0),
        ("injected-found-aum", 1.0),
        ("cheap-el2n", 1.0),
        ("reliable-memorisation", 0.9),
        ("attack-injected", np.mean([0.4, 0.5, 0.55])),
        ("attack-memorised", 1.0),
        ("width-agrees-16", 1.0),
        ("width-injected-16", 0.09),
    ],
)
def test_answers_are_those_of_the_tables(answers, claim, value):
    assert answers[claim].value == pytest.approx(value)


def test_without_redrawn_labels_claims_on_them_have_no_estimate(tables):
    tables["images"]["label"] = 0
    tables["networks"][["injected_seen", "injected_unseen", "found_redrawn", "events_redrawn"]] = np.nan
    found = Answers(declared(), IMAGES)
    for module in (memorised, forgetting, attack):
        module.answer(tables, found)
    assert found["injected-memorised"] is None and found["attack-injected"] is None
    assert found["noisy-forgotten"] is None and found["injected-found-memorisation"] is None


@pytest.mark.parametrize(("data", "asked"), [("mnist", True), ("fashion_mnist", False)])
def test_a_sentence_on_mnist_is_asked_of_mnist(tables, data, asked):
    tables["removal"]["dataset"] = data
    found = Answers(declared(), IMAGES)
    memorised.answer(tables, found)
    assert (found["tail-true-labels"] is not None) == asked
    assert found["removal"] is not None


def test_scores_along_training_are_each_networks_own():
    given = np.array([0, 1])
    answered = np.array([[[1, 1], [0, 1], [1, 1], [0, 1]], [[0, 0], [0, 0], [0, 0], [0, 0]]], np.uint8)
    numbers = np.arange(16, dtype=np.float32).reshape(2, 4, 2)
    found = scores.by_network(np.array([1, 2, 3, 40]), Record(None, answered, numbers, numbers, numbers), given)
    assert found["forgetting"].tolist() == [[1, 0], [0, 0]]
    assert found["first_learned"].tolist() == [[2, 1], [1, 41]]  # never, of 40 epochs
    np.testing.assert_array_equal(found["el2n"], numbers[:, 2])  # nearest to a tenth of training
    np.testing.assert_array_equal(found["aum"], numbers.mean(axis=1))


def test_arms_draw_from_one_pool():
    config = builders.compose("per_example")
    trials = {name: [t for one in each for t in make_trials(one)] for name, each in arms.compared(config).items()}
    for name, own in trials.items():
        for trial in own:
            recipe = trial.recipe
            assert (recipe.dataset.subset_seed, recipe.dataset.n_train) == (0, 10000), name
            assert recipe.stop_at_train_accuracy is None, name
            assert (recipe.labels.kind, recipe.labels.seed) in [("true", None), ("random", 0)], name
    shares = {trial.recipe.dataset.share for trial in trials["noisy"]}
    assert len(shares) == 1 and shares.isdisjoint(trial.recipe.dataset.share for trial in trials["shares"])


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["unit", "per_image", "global"])
def test_redrawn_labels_are_lost_first_on_the_other_half(small_mnist, scaling):
    rows, wrong = np.arange(400), np.arange(400) % 10 == 0
    labels = np.where(wrong, (small_mnist.train_labels[:400] + 3) % 10, small_mnist.train_labels[:400]).astype(np.uint8)
    asked = {"dataset.n_train": 400, "dataset.n_test": 100, "model.widths": [32], "epochs": 20, "batch_size": 20}
    recipe = make_recipe(asked | {"stop_at_train_accuracy": None, "inputs.scaling": scaling})
    found = second_split.forgotten(small_mnist, recipe, rows, labels, 2, 6)
    assert found.columns.tolist() == ["0", "1"] and len(found) == 400
    assert found.isin(range(8)).all(axis=None) and (found == 7).any(axis=None)
    assert (found[wrong].mean() < found[~wrong].mean() - 2).all()
    pd.testing.assert_frame_equal(found, second_split.forgotten(small_mnist, recipe, rows, labels, 2, 6))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("per_example")
    builders.python("-m", "experiments.per_example", "scale=quick", f"hydra.run.dir={folder}", check=True)
    return folder


ABOVE, BELOW, BOTH = Estimate(0.6, 0.55, 0.7, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0.1, -0.2, 0.6, 5)
NO_NUMBER = Estimate(np.nan, np.nan, np.nan, 0)


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        ("agreement", "finding", {"nearest_value": None, "best_value": NO_NUMBER}, "none could be compared"),
        ("agreement", "finding", {"nearest_value": ABOVE, "best_value": ABOVE}, "a and b rank images"),
        ("agreement", "agreement_caption", {"nearest_value": NO_NUMBER}, "Spearman's correlations: below"),
        (
            "agreement",
            "found_caption",
            {"best_value": ABOVE, "memorisation": NO_NUMBER},
            "finds redrawn labels best. Area",
        ),
        ("attack", "finding", {"redrawn": np.nan, "more": None}, "is not known from this run."),
        ("attack", "finding", {"redrawn": 0.5, "more": BOTH}, "are not detectably more exposed"),
        ("attack", "attack_caption", {"agrees": None}, "Share of the networks"),
        ("attack", "attack_caption", {"agrees": BOTH}, "is not detectably found more often"),
        ("forgetting", "finding", {"never": ABOVE, "more": None}, "never again forgets 60 % of the images."),
        ("forgetting", "finding", {"never": ABOVE, "more": BELOW}, "are forgotten less often"),
        ("held_out", "finding", {"rises": None, "found": ABOVE}, "is not known from this run, and C-scores"),
        ("held_out", "finding", {"rises": BOTH, "found": None}, "does not detectably change"),
        ("influence", "influence_caption", {"least": 0.2}, "The 3 test images"),
        ("influence", "influence_caption", {"least": 0.5}, "are often wrong"),
        ("memorised", "finding", {"unfitted": 0.0}, "by less than a half, and 10 % of the true labels"),
        ("memorised", "finding", {"unfitted": 0.1}, "which the networks had not fitted"),
        ("memorised", "finding_tail", {"tail": None, "removal": None}, "is not known from this run."),
        ("memorised", "finding_tail", {"tail": ABOVE, "removal": BOTH}, "costs no detectably different test accuracy"),
        ("memorised", "tail_caption", {"least": 0.4}, "The 3 most memorised"),
        ("memorised", "tail_caption", {"least": 0.9}, "mostly misclassify them"),
        ("widths", "finding", {"agrees": {16: None}}, "is not known from this run."),
        ("widths", "finding", {"agrees": {16: BOTH}}, "ranked not detectably as at width 256 by networks of width 16"),
        ("in_short", "wrong_labels", {}, "is not known"),
        ("in_short", "few_memorised", {}, "is not known"),
        ("in_short", "tail_useful", {}, "is not known"),
        ("in_short", "forgetting", {}, "is not known"),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = {"nearest": ["a", "b"], "best": ["a"], "clean": 0.1, "false_positives": 0.01, "shares": ["10", "70"]}
    facts |= {"images": 500, "shown": 3, "threshold": 0.25, "left_out": 50, "weak": 0.1, "beside": 0.1, "base": 256}
    facts |= {"injected": {16: None} if chapter == "widths" else ABOVE, "found": ABOVE}
    claims = ("injected-memorised", "injected-found-memorisation", "tail-true-labels", "removal")
    facts["answers"] = dict.fromkeys((*claims, "never-forgotten", "noisy-forgotten"))
    facts["networks"] = pd.DataFrame({"images": [500]})
    text = Text("experiments.per_example", chapter).block(block, **facts | found)
    assert said in text and text.endswith(".") and "n/a" not in text and ".." not in text


@pytest.mark.slow
def test_the_report_is_whole_and_can_be_audited(report):
    assert reports.check(report, "per_example").numbers > 20


@pytest.mark.slow
def test_scores_are_by_place_in_the_files(report, mnist):
    table = pd.read_parquet(report / "scores.parquet")
    assert set(scores.SCORES) < set(table) and table["image"].is_monotonic_increasing
    np.testing.assert_array_equal(mnist.train_labels[table["image"]], table["true_label"])
    assert datasets.load(table["dataset"].iloc[0]).name == "mnist"
    wrong = table["label"] != table["true_label"]
    assert 0.04 < wrong.mean() < 0.14
    assert table.loc[wrong, "memorisation"].mean() > table.loc[~wrong, "memorisation"].mean() + 0.3
