"""The digit network's chapters: their statistics against known answers, and the whole report from a tiny run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiments.digits import accuracy, book, descent, doubt, first_layer, mistakes, networks, noise, valleys
from experiments.digits.analysis import CHAPTERS, analyse
from memo.commands import arms
from memo.commands.evidence import paired
from memo.config import make_trials
from memo.networks import mlp
from memo.probes import drawings
from memo.reporting import claims, declarations
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.statistics.intervals import Estimate, accuracy_interval, share
from memo.storage.run_folders import Tables
from tests import reports
from tests.builders import ROOT, compose, python


def test_errors_that_all_networks_share_are_shared_by_most():
    wrong = np.zeros((4, 20), bool)
    wrong[:, :5] = True
    assert (mistakes.shared_errors(wrong) == 1).all()


def test_errors_that_are_independent_are_not_shared():
    wrong = np.random.default_rng(0).random((6, 40_000)) < 0.1
    assert (mistakes.shared_errors(wrong) < 0.05).all()


def test_errors_of_half_of_the_others_are_not_of_most():
    wrong = np.array([[True, True], [True, False], [False, False]])
    assert mistakes.shared_errors(wrong)[:2].tolist() == [0, 0]
    assert mistakes.shared_errors(np.array([[True, True], [True, False]])).tolist() == [0.5, 1]


def test_errors_of_a_network_alone_or_without_any_are_not_shared():
    assert np.isnan(mistakes.shared_errors(np.ones((1, 5), bool))).all()
    some = np.array([[True, False], [False, False], [False, True]])
    assert np.isnan(mistakes.shared_errors(some)).tolist() == [False, True, False]


def test_paired_takes_the_seeds_that_both_have():
    left = pd.DataFrame({"seed": [0, 1, 2], "x": [1.0, 2.0, 3.0]})
    right = pd.DataFrame({"seed": [2, 0, 5], "x": [30.0, 10.0, 50.0]})
    both = paired(left, right, "x")
    assert both.to_numpy().tolist() == [[1, 10], [3, 30]]


def test_test_images_are_weighted_by_the_answers_to_noise():
    columns = {f"share_class_{k}": [0.0, 0.0] for k in range(10)}
    columns |= {f"mean_confidence_class_{k}": [np.nan, 0.9] for k in range(10)}
    frame = pd.DataFrame(columns, index=[7, 8])
    frame.loc[7, ["share_class_1", "share_class_5"]] = 0.25, 0.75
    frame.loc[7, ["mean_confidence_class_1", "mean_confidence_class_5"]] = 0.8, 0.4
    frame.loc[8, "share_class_3"] = 1.0
    assert noise.same_answers(frame, frame).to_dict() == pytest.approx({7: 0.25 * 0.8 + 0.75 * 0.4, 8: 0.9})
    frame.loc[8, "mean_confidence_class_3"] = np.nan  # noise is called 3, and no test image
    assert np.isnan(noise.same_answers(frame, frame)[8])


def test_drawings_are_read_by_the_others():
    right = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 0, 0]], bool)
    found = drawings.read_by_others(right, np.array([4, 5, 6]), np.array([4, 4, 5, 5]))
    # Of the drawings of 4, network 5 reads the first and 6 none; of those of 5, network 4 the second and 6 none.
    assert found.tolist() == [1 / 2, 0, 0, 1 / 2]
    assert np.isnan(drawings.read_by_others(right[:1, :2], np.array([4]), np.array([4, 4]))).all()


def test_digits_that_are_never_right_are_counted():
    labels = np.array([0, 0, 1, 1, 2])
    called = np.array([[0, 1, 1, 1, 2], [1, 1, 1, 0, 1], [3, 3, 3, 3, 3]])
    assert book.never_right(called, labels).tolist() == [0, 2, 3]


def test_along_training_the_best_epoch_is_a_trained_one():
    curve = pd.DataFrame(
        {
            "step": [0, 5, 10, 20],
            "epoch": [0, 0.5, 1, 2],
            "test_accuracy": [0.99, 0.5, 0.7, 0.6],
            "train_loss": [2.0, 1, 0.5, 0.4],
            "validation_accuracy": [0.98, 0.4, 0.65, 0.75],
        }
    )
    keys = {"trial": "a", "arm": "nielsen", "seed": 3}
    (row,) = accuracy.along(SimpleNamespace(curves=lambda: [(keys, curve)])).to_dict("records")
    measured = {"initial_accuracy": 0.99, "initial_cost": 2, "first_epoch": 0.7, "best_epoch": 0.7, "evaluated": 3}
    assert row == keys | measured | {"best_validation": 0.75}
    curve = curve.drop(columns="validation_accuracy")  # of networks without validation images
    (row,) = accuracy.along(SimpleNamespace(curves=lambda: [(keys, curve)])).to_dict("records")
    assert np.isnan(row["best_validation"])


def test_counts_of_images_give_the_interval_of_the_images_themselves():
    right = np.random.default_rng(1).random((6, 50)) < np.linspace(0.5, 1, 50)
    counts = accuracy.images_right("nielsen", right)
    assert counts["images"].sum() == 50
    frame = pd.DataFrame({"arm": "nielsen", "seed": range(6), "status": "completed", "test_images": 50})
    found, note = networks.accuracy(frame.assign(final_test_accuracy=right.mean(1)), "nielsen", counts)
    assert found[:4] == pytest.approx(accuracy_interval(right.mean(1), 50, right.mean(0))[:4])
    assert note == ""


def test_a_barrier_is_of_the_pair_and_of_its_own_cost():
    lines = [
        (first, first + 1, way, along, cost, 1.0)
        for first, tops in ((0, (5, 3)), (2, (9, 1)))
        for way, top in zip(valleys.WAYS, tops)
        for along, cost in ((0, 1), (0.5, top), (1, 1))
    ]
    lines = pd.DataFrame(lines, columns=["first", "second", "way", "along", "cost", "accuracy"])
    found = valleys.barriers(lines.sample(frac=1, random_state=0))
    assert found.to_numpy().tolist() == [[0, 1, 4, 2, 1], [2, 3, 8, 0, 1]]


def test_steps_that_follow_the_cost_have_rank_correlation_one():
    rows = pd.DataFrame({"seed": [1, 1, 1, 2, 2], "cost": [3.0, 2, 1, 2, 1], "step_length": [9.0, 4, 1, 2, 1]})
    found = descent.rank_correlations(rows)
    assert found[1] == pytest.approx(1)
    assert np.isnan(found[2])  # two moments always rank alike, or the other way round


def test_change_of_the_first_layer_is_between_its_first_and_last_moment():
    start = np.random.default_rng(2).normal(size=784).astype("<f4")
    bright = np.zeros((28, 28), "<f4")
    bright[10:18, 10:18] = 1
    rows = [
        {"step": step, "unit": 0, "weights": weights.tobytes(), "autocorrelation": at, "participation": 0, "middle": at}
        for step, weights, at in ((0, start, 0.1), (9, start + bright.ravel(), 0.4))
    ]
    found = first_layer.stages(pd.DataFrame(rows))
    assert [found[stage]["middle"] for stage in ("start", "end")] == [0.1, 0.4]
    assert found["change"]["middle"] == pytest.approx(1, abs=1e-5)


def frame(**columns):
    """Return a table of networks of one arm, one of which diverged."""
    return pd.DataFrame({"arm": "nielsen", "seed": range(6), "status": ["completed"] * 5 + ["diverged"]} | columns)


def test_diverged_networks_are_counted_and_never_averaged():
    own = frame(x=[1.0, 2, 3, 4, 5, 99])
    found, note = networks.over_arm(own, "nielsen", "x")
    assert (found.value, found.n) == (3, 5)
    assert note == "1 of 6 networks have no value: 1 with a diverged network"
    both = pd.concat([own, own.assign(arm="chosen", status="completed", x=1.0)])
    found, note = networks.between(both, "nielsen", "chosen", "x")
    assert (found.value, found.n) == (2, 5)
    assert "1 with a diverged network" in note
    which = (networks.by_seed(own, "nielsen", "x") > 1).astype(float).mask(own.set_index("seed")["x"] > 50)
    assert networks.share_of(own, "nielsen", which)[0] == share([False, True, True, True, True])
    assert networks.over_arm(own, "relu", "x")[0] is None


def test_declared_claims_read_and_none_is_certain():
    declared = declarations.read(ROOT / "experiments" / "digits" / "claims.yaml")
    assert not any(claim.accept == (0, 1) for claim in declared.claims)
    assert {change["claim"] for change in declared.changes} >= {"parameters", "steepest-{stage}", "draws-far-{start}"}


def test_an_answer_decides_as_declared():
    """Made-up networks that are as confident on noise as on digits, and never silent."""
    answers = Answers(declarations.read(ROOT / "experiments" / "digits" / "claims.yaml"))
    jitter = np.random.default_rng(0).uniform(0, 0.01, 8)
    own = pd.DataFrame({"seed": range(8), "status": "completed", "images": 100, "even": 0.0, "silent": 0.01 + jitter})
    own = own.assign(confidence_uniform=0.95 + jitter, same_answers_uniform=0.96, one_answer=0.3 + jitter)
    table = pd.concat([own.assign(arm=arm) for arm in networks.RECIPES], ignore_index=True)
    noise.answer(Tables({"networks": table}), answers)
    verdicts = {
        "as-sure": claims.REPRODUCED,
        "never-even": claims.REPRODUCED,
        "never-silent": claims.REPRODUCED,
        "one-answer": claims.NOT_REPRODUCED,
    }
    for name, verdict in verdicts.items():
        assert answers.verdict(f"{name}-nielsen") == verdict, name
    assert answers.verdict("confident-noise-relu") == claims.REPRODUCED


@pytest.fixture(scope="module")
def composed():
    """The arms of the experiment as it stands in conf/, at standard scale."""
    return {name: one for name, (one,) in arms.arms(compose("digits")).items()}


def test_the_talks_network_is_the_talks(composed):
    for name in (*networks.RECIPES, *first_layer.ARMS, *doubt.ARMS):
        assert mlp.count_parameters((784, *composed[name].model.widths, 10)) == 13_002
    assert composed["nielsen"].seeds >= 32
    nielsen = composed["nielsen"]
    assert (nielsen.optimizer.learning_rate, nielsen.optimizer.momentum, nielsen.batch_size) == (3, 0, 10)
    assert (nielsen.epochs, nielsen.dataset.n_train, nielsen.model.init) == (30, 50_000, "normal")


def test_the_books_rows_are_trained_as_in_the_book(composed):
    """Weight decay is lambda / n: 5 / 50,000 and 0.1 / 1,000."""
    assert set(book.ROWS) == {name for name in composed if name.startswith("book")}
    for name in book.ROWS:
        if name == "book_100_small_start":
            continue
        one = composed[name]
        assert one.seeds >= 5
        assert one.optimizer.weight_decay == pytest.approx(1e-4 if name.endswith("l2") else 0)
        assert one.dataset.n_train == (1000 if "1000" in name else 50_000)
        assert (one.dataset.subset, one.dataset.n_validation) == ("first", 0 if "1000" in name else 10_000)
        assert one.epochs == (400 if "1000" in name else 30)
        quadratic = name.endswith("quadratic")
        assert one.loss == ("squared_error" if quadratic else "sigmoid_cross_entropy")
        assert one.optimizer.learning_rate == (3 if quadratic else 0.5)


def test_the_ranges_of_the_books_rows_are_about_its_numbers():
    declared = declarations.read(ROOT / "experiments" / "digits" / "claims.yaml").by_id
    others = {f"{arm}-first": arm for arm in book.FIRST} | {f"{book.VALIDATED}-validation": book.VALIDATED}
    for claim, arm in others.items():
        assert np.mean(declared[claim].accept) == pytest.approx(book.ROWS[arm].number, abs=1e-4)
    for arm in book.COMPARABLE:
        assert np.mean(declared[arm].accept) == pytest.approx(book.ROWS[arm].number)
        assert np.ptp(declared[arm].accept) == pytest.approx(2 * book.TOLERANCE)


def test_every_change_is_paired_with_the_network_it_changes(composed):
    seeds = {trial.seed for trial in make_trials(composed["chosen"])}
    for name in ("incentive", "decay", "dropout", "patches"):
        assert {trial.seed for trial in make_trials(composed[name])} <= seeds
        assert composed[name].epochs == composed["chosen"].epochs
    true, shuffled = (make_trials(composed[name]) for name in ("few", "shuffled"))
    assert [trial.seed for trial in true] == [trial.seed for trial in shuffled]
    assert composed["few"].dataset.n_train == composed["shuffled"].dataset.n_train == 500


def test_patterns_of_shuffled_labels_are_those_of_networks_that_fit_them():
    networks = pd.DataFrame(
        {"arm": np.repeat(["few", "shuffled"], 5), "seed": [*range(5)] * 2, "status": "completed", "images": 500}
    )
    change = np.repeat([0.7, 0.5], 5) + np.tile([0.0, 0.01, 0.02, 0.01, 0.0], 2)
    for fits, expected in ((0.95, 0.2), (0.5, None)):
        own = networks.assign(autocorrelation_change=change, final_train_accuracy=np.repeat([1.0, fits], 5))
        (found, note), fitting = first_layer.patterns(own), first_layer.fitting(own)[0]
        assert (found and found.value) == (expected and pytest.approx(expected)) and bool(note) == (expected is None)
        assert fitting.value == (fits >= 0.9)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a run of the whole command with three seeds of each network at most, and a hundred images."""
    folder = tmp_path_factory.mktemp("digits")
    roots = ("nielsen", "chosen", "tweak_64", "book_1000")
    small = [f"experiment.arms.{name}.{key}" for name in roots for key in ("epochs=1", "evaluations=2")]
    small += [f"experiment.arms.{name}.dataset.n_train=100" for name in ("nielsen", "chosen", "few")]
    small.append("experiment.arms.few.epochs=1")
    small += ["experiment.arms.book_1000.dataset.n_train=100", "dataset.n_test=300"]
    python("-m", "experiments.digits", "scale=quick", f"hydra.run.dir={folder}", *small, check=True)
    return folder


ABOVE, BELOW, BOTH = Estimate(0.6, 0.55, 0.7, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0.1, -0.2, 0.6, 5)


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        ("accuracy", "start", {"start": None}, "is not known"),
        ("book", "finding", {"rows": {"a": "reproduced", "b": "undecided"}}, "The others are undecided at 5 seeds."),
        ("book", "finding", {"rows": {"a": "reproduced"}}, "(± 1.5 for 1,000 images): a. With 100 units"),
        ("book", "finding", {"rows": {"a": "not reproduced"}}, "Not reproduced: a. With"),
        ("book", "finding", {"rows": {"a": "not reproduced", "b": "undecided"}}, "Not reproduced: a; the others are"),
        ("book", "finding", {"rows": {"a": "not applicable"}}, "The others are undecided or not measured"),
        ("valleys", "finding", {"height": {"as they are": None}, "removed": None}, "is not known"),
        ("valleys", "finding", {"height": {"as they are": BOTH}, "removed": None}, "does not rise detectably (0.100"),
        ("valleys", "finding", {"height": {"as they are": ABOVE}, "removed": BOTH}, "does not detectably lower the"),
        ("descent", "components", {"top": {"start": None, "end": ABOVE}}, "is not known"),
        (
            "descent",
            "components",
            {"top": {"start": ABOVE, "end": BOTH}},
            "does not always lower the cost detectably more",
        ),
        ("descent", "components", {"top": {"start": ABOVE, "end": ABOVE}}, "gradient lowers the cost more than"),
        ("doubt", "confident", {"excess": {"one": None}}, "is not known"),
        ("doubt", "confident", {"excess": {"one": ABOVE, "other": BOTH}}, "does not detectably depend on the recipe"),
        ("doubt", "confident", {"excess": {"one": ABOVE, "other": BELOW}}, "depends on the recipe"),
        ("doubt", "incentive", {"uniform": None}, "is not known"),
        ("doubt", "incentive", {"uniform": BELOW, "gaussian": BELOW}, "it falls too, and"),
        ("doubt", "incentive", {"uniform": BELOW, "gaussian": ABOVE}, "it rises, and"),
        ("first_layer", "looks", {"looks": {"nielsen": None, "chosen": ABOVE}}, "is not known"),
        ("first_layer", "looks", {"looks": {"nielsen": BOTH, "chosen": ABOVE}}, "cannot be told from random ones"),
        ("first_layer", "looks", {"looks": {"nielsen": ABOVE, "chosen": ABOVE}}, "do not look random"),
        ("first_layer", "changed", {"smoother": {"decay": None}, "cost": {"decay": None}}, "is not known"),
        ("first_layer", "changed", {"smoother": {"decay": BOTH}, "cost": {"decay": BOTH}}, "none of the three makes"),
        ("in_short", "as_sure", {"answers": {"as-sure-nielsen": BOTH, "confident-noise-nielsen": BOTH}}, "not clearly"),
        (
            "in_short",
            "as_sure",
            {"answers": {"as-sure-nielsen": BELOW, "confident-noise-nielsen": ABOVE}},
            "noise, but its",
        ),
        (
            "in_short",
            "as_sure",
            {"answers": dict.fromkeys(("as-sure-nielsen", "confident-noise-nielsen"))},
            "no network",
        ),
        ("in_short", "valleys", {"answers": {"barrier-matched": BOTH}}, "does not rise detectably after"),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = {"seeds": 5, "pairs": 2, "tolerance": 0.004, "reaches": ABOVE, "lost": 1, "cost": BOTH, "labels": None}
    text = Text("experiments.digits", chapter).block(block, **facts | found)
    assert said in text and text.endswith(".") and "n/a" not in text and ".." not in text


def test_means_that_are_missing_are_unknown():
    columns = ["autocorrelation_start", "autocorrelation_end", "middle_start", "middle_end"]
    means = pd.DataFrame(np.nan, ["nielsen"], columns)
    text = Text("experiments.digits", "first_layer").block("first_layer_statistics_caption", means=means, counts=[])
    assert "changes from unknown to unknown" in text


@pytest.mark.slow
def test_the_report_is_whole_and_can_be_audited(report):
    assert reports.check(report, "digits").numbers > 20
    assert len(CHAPTERS) == len(analyse.chapters)
