"""The digit network's chapters: their statistics against known answers, and the whole report from a tiny run."""

import re

import numpy as np
import pandas as pd
import pytest

from experiments.digits import mistakes
from experiments.digits.accuracy import BOOK_ROWS
from memo.commands import arms
from memo.commands.evidence import paired
from memo.config import make_trials
from memo.networks import mlp
from memo.reporting import claims
from tests import builders
from tests.pages import NO_NUMBER, visible


def test_errors_that_all_networks_share_are_shared_by_most():
    wrong = np.zeros((4, 20), bool)
    wrong[:, :5] = True  # a quarter of the images, the same for all
    found = mistakes.shared_errors(wrong)
    assert (found["majority"] == 1).all()
    assert found["lift"].to_numpy() == pytest.approx(4)  # certain, where a quarter is usual


def test_independent_errors_have_no_lift():
    wrong = np.random.default_rng(0).random((6, 40_000)) < 0.1
    found = mistakes.shared_errors(wrong)
    assert found["lift"].to_numpy() == pytest.approx(1, abs=0.06)
    assert (found["majority"] < 0.05).all()


def test_errors_of_a_network_alone_or_without_any_are_not_shared():
    assert mistakes.shared_errors(np.ones((1, 5), bool)).isna().all(axis=None)
    some = np.array([[True, False], [False, False], [False, True]])
    assert mistakes.shared_errors(some)["majority"].isna().tolist() == [False, True, False]


def test_paired_takes_the_seeds_that_both_have():
    left = pd.DataFrame({"seed": [0, 1, 2], "x": [1.0, 2.0, 3.0]})
    right = pd.DataFrame({"seed": [2, 0, 5], "x": [30.0, 10.0, 50.0]})
    both = paired(left, right, "x")
    assert both.to_numpy().tolist() == [[1, 10], [3, 30]]


@pytest.fixture(scope="module")
def composed():
    """The arms of the experiment as it stands in conf/, at standard scale."""
    return {name: one for name, (one,) in arms.arms(builders.compose("digits")).items()}


def test_the_talks_network_is_the_talks(composed):
    for name in ("nielsen", "chosen", "relu", "shuffled", "incentive", "decay", "dropout"):
        assert mlp.count_parameters((784, *composed[name].model.widths, 10)) == 13_002
    assert composed["nielsen"].seeds >= 32
    nielsen = composed["nielsen"]
    assert (nielsen.optimizer.learning_rate, nielsen.optimizer.momentum, nielsen.batch_size) == (3, 0, 10)
    assert (nielsen.epochs, nielsen.dataset.n_train, nielsen.model.init) == (30, 50_000, "normal")


def test_the_books_rows_are_trained_as_in_the_book(composed):
    """Weight decay is lambda / n: 5 / 50,000 and 0.1 / 1,000."""
    assert set(BOOK_ROWS) == {name for name in composed if name.startswith("book")}
    for name in BOOK_ROWS:
        if name == "book_100_small_start":
            continue
        one = composed[name]
        assert one.seeds >= 5
        assert one.optimizer.weight_decay == pytest.approx(1e-4 if name.endswith("l2") else 0)
        assert one.dataset.n_train == (1000 if "1000" in name else 50_000)
        assert one.epochs == (400 if "1000" in name else 30)
        quadratic = name.endswith("quadratic")
        assert one.loss == ("squared_error" if quadratic else "sigmoid_cross_entropy")
        assert one.optimizer.learning_rate == (3 if quadratic else 0.5)


def test_every_change_is_paired_with_the_network_it_changes(composed):
    seeds = {trial.seed for trial in make_trials(composed["chosen"])}
    for name in ("shuffled", "incentive", "decay", "dropout", "patches"):
        assert {trial.seed for trial in make_trials(composed[name])} <= seeds
        assert composed[name].epochs == composed["chosen"].epochs


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a run of the whole command with three seeds of each network at most, and a hundred images."""
    folder = tmp_path_factory.mktemp("digits")
    roots = ("nielsen", "chosen", "tweak_64", "book_1000")
    small = [f"experiment.arms.{name}.{key}" for name in roots for key in ("epochs=1", "evaluations=2")]
    small += [f"experiment.arms.{name}.dataset.n_train=100" for name in ("nielsen", "chosen")]
    small += ["experiment.arms.book_1000.dataset.n_train=100", "dataset.n_test=300"]
    builders.python("-m", "experiments.digits", "scale=quick", f"hydra.run.dir={folder}", *small, check=True)
    return folder


@pytest.mark.slow
def test_every_statement_has_a_row_and_a_figure(report):
    ledger = pd.read_csv(report / "claims.csv", keep_default_na=False)
    assert list(ledger.columns) == list(claims.COLUMNS)
    due = (
        "13,002 weights",
        "performs pretty horribly",
        "about 96 %",
        "up to 98 %",
        "book's rows",
        "cut it a little slack",
        "very loose patterns in the middle",
        "an actual image of a five",
        "no idea how to draw",
        "most quickly",
        "which changes to which weights matter the most",
        "smaller and smaller",
        "many possible valleys",
        "no incentive to be anything but utterly confident",
        "better pick up on edges",
    )
    for words in due:
        assert ledger["statement"].str.contains(words, regex=False).any(), words
    drawn = {path.stem for path in (report / "figures").iterdir()}
    assert set(ledger["figure"]) - {""} <= drawn
    assert (ledger["verdict"] == "undecided").any()  # three seeds decide nothing


@pytest.mark.slow
def test_the_report_is_complete_and_its_words_are_numbers(report):
    page = (report / "report.html").read_text()
    words = visible(page)
    assert not re.search(NO_NUMBER, words)
    assert page.count("<figure") == len(list((report / "figures").iterdir()))
    assert "Nielsen's book beside ours" in words
