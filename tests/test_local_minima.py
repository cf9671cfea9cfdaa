"""Local minima: every statistic of its chapters against known answers, its arms, and the command once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.local_minima import barriers, curvature, minima, networks, structure
from memo.commands import arms
from memo.config import make_trials
from memo.reporting import declarations
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.statistics.intervals import Estimate
from memo.storage.run_folders import Tables
from tests import builders, reports

ROOT = Path(__file__).resolve().parent.parent


def test_unlucky_minima_are_held_against_the_median_of_their_own_width():
    assert minima.unlucky(np.array([1.0, 1.2, 1.3, 2.0])).tolist() == [False, False, False, True]  # above 1.375


def test_correlations_along_training_are_of_the_networks_at_one_step():
    widths = pd.DataFrame({"trial": list("abcd"), "width": [25, 25, 25, 50]})
    train = np.array([[3, 3, 3, 3], [1, 2, 3, 9], [1, 2, 4, 9]], float)
    test = np.array([[3, 3, 3, 3], [2, 4, 6, 9], [4, 3, 1, 9]], float)
    curves = pd.DataFrame(
        {
            "trial": np.tile(list("abcd"), 3),
            "step": np.repeat([0, 10, 20], 4),
            "epoch": np.repeat([0, 1, 2], 4),
            "train_loss": train.ravel(),
            "test_loss": test.ravel(),
        }
    )
    found = minima.correlations_along(curves.merge(widths, on="trial"))
    assert found["width"].tolist() == [25, 25]  # one network has no correlation
    assert found["step"].tolist() == [10, 20]
    np.testing.assert_allclose(found["correlation"], [1, -1])


def test_what_is_matched_is_taken_where_the_loss_is_first_reached(monkeypatch):
    monkeypatch.setattr(structure, "LEVELS", (1.5, 0.2))
    steps = np.array([0, 10, 20])
    top = pd.DataFrame({"step": [0, 20], "top": [1.0, 4.0]})
    curve = pd.DataFrame({"step": steps, "train_loss": [2.0, 1.0, 0.1], "test_loss": [2.0, 1.2, 0.6]})
    first, last = structure.at_levels(curve, top)
    assert first["step"] == pytest.approx(5) and first["test_loss"] == pytest.approx(1.6) and first["given"] == 20
    # A share of the way in the logarithm of the loss from 2 to 0.1 is that share of it in the logarithm of the eigenvalue.
    assert first["top"] == pytest.approx(4 ** (np.log(2 / 1.5) / np.log(2 / 0.1)))
    assert last["step"] == pytest.approx(10 + 10 * 0.8 / 0.9)
    slow = pd.DataFrame({"step": steps, "train_loss": [2.0, 1.8, 1.0], "test_loss": [2.0, 3.0, 7.0]})
    first, last = structure.at_levels(slow, top)
    assert first["step"] == pytest.approx(10 + 10 * 0.3 / 0.8)
    assert np.isnan([last[name] for name in ("step", "test_loss", "top")]).all()


def test_pairs_are_of_seeds_with_both_kinds():
    kinds = ["true", "shuffled", "true", "true", "shuffled"]
    frame = pd.DataFrame(
        {"trial": list("abcde"), "seed": [0, 0, 1, 2, 2], "width": 25, "labels": kinds, "step": [1.0, 2, 3, 4, np.nan]}
    )
    found = networks.pairs(frame, 25, "step")
    assert found.index.tolist() == [0, 2] and found.columns.tolist() == ["true", "shuffled"]
    assert found["true"].tolist() == [1, 4] and np.isnan(found.loc[2, "shuffled"])
    estimate, note = structure.longer(frame.assign(given=8), 25)
    # The one that never gets there counts with the 8 steps it was given.
    assert estimate.value == pytest.approx((2 / 1 * 8 / 4) ** 0.5) and estimate.high == np.inf
    assert note == "a lower bound: 1 of 2 shuffled curves never reach the level"


def test_the_ratio_of_spreads_has_its_own_scale_out():
    values = np.random.default_rng(0).normal(5, 1, 50)
    mean = values.mean()
    wider = mean + 3 * (values - mean)
    assert structure.spread_ratio(7 * wider, values).value == pytest.approx(3)
    assert np.isnan(structure.spread_ratio(np.array([1.0, 2, 3, 4]), np.ones(4)).value)


def test_negative_eigenvalues_are_counted_among_those_that_differ_from_0():
    shares = curvature.negative_share(pd.Series([0.01, 0.0, 0.0]), pd.Series([0.03, 0.2, 0.0]))
    assert shares.tolist()[:2] == [0.25, 0] and np.isnan(shares[2])


def test_barriers_are_read_from_lines_and_matching_removes_a_share():
    lines = pd.concat(
        pd.DataFrame({"width": 25, "labels": labels, "way": way, "pair": pair, "point": [0, 0.5, 1], "loss": loss})
        for pair in (0, 1)
        for labels, way, loss in (
            ("true", "as", [0.1, 0.6, 0.3]),
            ("true", "matched", [0.1, 0.3, 0.3]),
            ("shuffled", "as", [0, 2.0, 0]),
            ("shuffled", "matched", [0, 1.0, 0]),
        )
    )
    answers = Answers(declared(), 500)
    networks = pd.DataFrame(
        {"arm": "twins", "width": 25, "labels": "true", "seed": [0], "status": "completed", "images": 400}
    )
    barriers.answer(Tables(lines=lines, networks=networks), answers)
    assert answers.images == 400
    # 0.6 and 0.3 above a line that is at 0.2 in the middle; 2 and 1 above 0.
    assert answers["barrier-true-25"].value == pytest.approx(0.4)
    assert answers["matching-true-25"].value == pytest.approx(0.75)
    assert answers["matching-shuffled-25"].value == pytest.approx(0.5)
    assert answers["barrier-gap-as-25"].value == pytest.approx(1.6)
    assert answers["barrier-gap-matched-25"].value == pytest.approx(0.9)


def declared():
    return declarations.read(ROOT / "experiments" / "local_minima" / "claims.yaml")


def test_pairs_of_starts_are_disjoint():
    assert barriers.disjoint([3, 5, 8, 9, 11]) == [(3, 5), (8, 9)]
    assert barriers.disjoint([3]) == []


@pytest.fixture(scope="module")
def composed():
    """Return the configs of each arm at `standard`."""
    return arms.arms(builders.compose("local_minima"))


def test_the_arms_are_the_papers_networks_and_twins_on_the_same_images(composed):
    assert [one.model.widths for one in composed["minima"]] == [[width] for width in minima.PAPER]
    for name, each in composed.items():
        for one in each:
            assert (one.dataset.image_side, one.dataset.subset_seed, one.labels.seed) == (10, 0, 0), name
            assert one.batch_order == "per_seed"
            assert one.stop_at_train_accuracy is None
            assert one.seeds >= 5
    for name in ("twins", "index_10", "index_25", "index_wider"):
        kinds = {}
        for one in composed[name]:
            kinds.setdefault(one.labels.kind, set()).update((t.seed, *one.model.widths) for t in make_trials(one))
        assert kinds["true"] == kinds["shuffled"]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a run of the whole command with a few networks of two widths."""
    folder = tmp_path_factory.mktemp("local_minima")
    small = [
        *(
            "experiment.arms.minima.epochs=2",
            "experiment.arms.minima.seeds=6",
            "experiment.arms.minima.dataset.n_train=250",
        ),
        *(
            "experiment.arms.twins.epochs=20",
            "experiment.arms.twins.dataset.n_train=100",
            "experiment.arms.index_10.epochs=4",
        ),
        *("experiment.arms.index_25.seeds=1", "experiment.arms.index_25.model.widths=[4]"),
        "experiment.arms.index_wider.sweep.model.widths=[[30]]",
    ]
    builders.python("-m", "experiments.local_minima", "scale=quick", f"hydra.run.dir={folder}", *small, check=True)
    return folder


ABOVE, BELOW, BOTH = Estimate(2.0, 1.5, 2.5, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0.1, -0.2, 1.6, 5)


def of_both(name, first, second):
    return {name: {"true": first, "shuffled": second}}


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        ("barriers", "finding", of_both("barrier", None, ABOVE), "is not known for both kinds of labels."),
        ("barriers", "finding", of_both("barrier", BOTH, ABOVE), "do not detectably lie in different valleys"),
        ("barriers", "finding", of_both("barrier", ABOVE, ABOVE), "initialisations lie in different valleys"),
        ("barriers", "barriers_caption", {"gap": None}, "Lines: means over pairs"),
        ("curvature", "finding", {"worst": {}, "start": None}, "is not known from this run."),
        (
            "curvature",
            "finding",
            {"worst": {"true": 0.0}, "start": ABOVE},
            "stops, no directions of negative curvature",
        ),
        ("curvature", "finding", {"worst": {"true": 0.0, "shuffled": 0.01}, "start": None}, "almost no directions of"),
        (
            "curvature",
            "finding",
            {"worst": {"true": 0.3}, "start": None},
            "stops, directions of negative curvature are",
        ),
        ("curvature", "spectra_caption", {"worst": {"true": 0.3}, "majority": False}, "of 0 are in the bin"),
        ("minima", "quality", {"ratio": None}, "is not known from this run."),
        ("minima", "quality", {"ratio": BELOW}, "Wide networks end at less equal test losses"),
        ("minima", "quality", {"ratio": BOTH}, "do not end at detectably more equal"),
        ("minima", "correlation", {"gap": None}, "is not known from this run."),
        ("minima", "correlation", {"gap": BELOW}, "is stronger at width 500"),
        (
            "structure",
            "finding",
            {"longer": {25: None, 500: ABOVE}},
            "is not known at the smallest and the largest width.",
        ),
        ("structure", "finding", {"longer": {25: BOTH, 500: ABOVE}}, "are not detectably easier to fit at every width"),
        ("structure", "finding", {"longer": {25: ABOVE, 500: ABOVE}}, "Structured labels are easier to fit"),
        ("in_short", "narrows", {"answers": {"sd-falls-ends": None}}, "is not known"),
        ("in_short", "narrows", {"answers": {"sd-falls-ends": BOTH}}, "are not detectably more alike"),
        ("in_short", "flatter", {"answers": {}}, "is not known"),
        ("in_short", "flatter", {"answers": {"sharper-0.2-25": BELOW}}, "lie in flatter regions"),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = {"first": 25, "last": 500, "deep": 0.2, "zero": 0.001, "few": curvature.FEW, "narrowest": 10}
    facts |= {name: {25: ABOVE, 500: BOTH} for name in ("sds", "rho")} | {"sharper": {25: None, 500: None}}
    facts["removed"] = {"true": None, "shuffled": None}
    text = Text("experiments.local_minima", chapter).block(block, **facts | found)
    assert said in text and text.endswith(".") and "n/a" not in text and ".." not in text


@pytest.mark.slow
def test_the_report_is_whole_and_can_be_audited(report):
    assert reports.check(report, "local_minima").numbers > 20
