"""Local minima: every statistic of its chapters against known answers, its arms, and the command once."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.local_minima import barriers, minima, populations, structure
from experiments.local_minima.sources import CORRELATIONS
from memo.commands import arms, hydra_app
from memo.config import make_trials
from memo.reporting import claims

ROOT = Path(__file__).resolve().parent.parent
NO_NUMBER = r"(?<![\w/])(nan|inf|NaT|None(?! of))(?![\w/])"


def test_poor_minima_are_held_against_the_best_width_and_unlucky_ones_against_their_own():
    losses = {25: np.array([1.0, 1.2, 1.3, 2.0]), 500: np.array([0.9, 1.0, 1.0, 1.3])}
    found = minima.poor(losses)  # medians 1.25 and 1.0: the bound is 1.25
    assert found[25].tolist() == [False, False, True, True]
    assert found[500].tolist() == [False, False, False, True]
    assert minima.unlucky(losses[25]).tolist() == [False, False, False, True]  # above 1.375


def test_correlations_along_training_are_of_the_networks_at_one_step():
    networks = pd.DataFrame({"trial": list("abcd"), "width": [25, 25, 25, 50]})
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
    found = minima.correlations_along(networks, curves)
    assert found["width"].tolist() == [25, 25]  # one network has no correlation
    assert found["step"].tolist() == [10, 20]
    np.testing.assert_allclose(found["correlation"], [1, -1])


@pytest.fixture
def matched():
    networks = pd.DataFrame(
        {"trial": ["t0", "s0", "t1"], "seed": [0, 0, 1], "width": 25, "labels": ["true", "shuffled", "true"]}
    )
    curves = pd.DataFrame(
        {
            "trial": np.repeat(["t0", "s0", "t1"], 3),
            "step": np.tile([0, 10, 20], 3),
            "train_loss": [2.0, 1.0, 0.1, 2.0, 1.8, 1.0, 2.0, 1.9, 1.8],
            "test_loss": [2.0, 1.2, 0.6, 2.0, 3.0, 7.0, 2.0, 1.9, 1.8],
        }
    )
    sharpness = pd.DataFrame(
        {"trial": np.repeat(["t0", "s0", "t1"], 2), "step": np.tile([0, 20], 3), "top": [1.0, 4.0] * 3}
    )
    return populations.at_loss(networks, curves, sharpness, (1.5, 0.2))


def test_what_is_matched_is_taken_where_the_loss_is_first_reached(matched):
    row = matched.set_index(["trial", "level"])
    assert row.loc[("t0", 1.5), "step"] == pytest.approx(5)
    assert row.loc[("t0", 1.5), "test_loss"] == pytest.approx(1.6)
    assert row.loc[("s0", 1.5), "step"] == pytest.approx(10 + 10 * 0.3 / 0.8)
    # Halfway in the logarithm of the loss from 2 to 0.1, the eigenvalue is halfway in its own.
    share = np.log(2 / 1.5) / np.log(2 / 0.1)
    assert row.loc[("t0", 1.5), "top"] == pytest.approx(4**share)
    assert row.loc[("s0", 0.2), ["step", "test_loss", "top"]].isna().all()
    assert (row["given"] == 20).all()


def test_pairs_are_of_seeds_with_both_kinds(matched):
    found = populations.pairs(matched, 25, "step", 1.5)
    assert found.index.tolist() == [0]
    assert found.columns.tolist() == ["true", "shuffled"]
    never = populations.pairs(matched, 25, "step", 0.2)
    assert np.isfinite(never["true"]).all()
    assert never["shuffled"].isna().all()


def test_the_ratio_of_spreads_has_its_own_scale_out():
    values = np.random.default_rng(0).normal(5, 1, 50)
    mean = values.mean()
    wider = mean + 3 * (values - mean)
    assert structure.spread_ratio(np.array([values, 7 * wider])) == pytest.approx(3)
    assert np.isnan(structure.spread_ratio(np.array([np.ones(4), [1, 2, 3, 4]])))


def test_pairs_of_starts_are_disjoint():
    assert barriers.disjoint([3, 5, 8, 9, 11]) == [(3, 5), (8, 9)]
    assert barriers.disjoint([3]) == []


@pytest.fixture(scope="module")
def composed():
    """Return the configs of each arm at `standard`."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return arms.arms(hydra_app.read(compose("config", ["experiment=local_minima"])))


def test_the_arms_are_the_papers_networks_and_twins_on_the_same_images(composed):
    assert [one.model.widths for one in composed["minima"]] == [[width] for width in CORRELATIONS]
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
    command = [sys.executable, "-m", "experiments.local_minima", "scale=quick", f"hydra.run.dir={folder}", *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_statement_has_rows_and_a_figure(report):
    ledger = pd.read_csv(report / "claims.csv", keep_default_na=False)
    assert list(ledger.columns) == list(claims.COLUMNS)
    for words in (
        "narrows with width",
        "of equal quality",
        "correlate the less",
        "Poor minima",
        "next to no directions",
        "near a critical point",
        "If your data set is structured",
        "flatter than those of random ones",
        "different valleys",
        "order of hidden units",
    ):
        assert ledger["statement"].str.contains(words, regex=False).any(), words
    assert set(ledger["figure"]) <= {path.stem for path in (report / "figures").iterdir()}
    assert set(ledger["verdict"]) <= set(claims.VERDICTS)


def test_the_report_is_complete_and_its_words_are_numbers(report):
    page = (report / "report.html").read_text()
    words = re.sub(r"<style>.*?</style>|<img [^>]*>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert not re.search(NO_NUMBER, words)
    assert page.count("<figure") == len(list((report / "figures").iterdir()))
