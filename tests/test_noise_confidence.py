"""The experiment on confidence where there is nothing: its statistics by known answers, its command, and poor runs."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import memo
from experiments.noise_confidence import doubt, equal, fooling, hendrycks, populations
from experiments.noise_confidence.analysis import analyse
from memo.commands import experiment
from memo.data import datasets
from memo.reporting import claims, report
from memo.statistics.intervals import Estimate, mean_interval
from memo.storage import run_folders
from tests import builders
from tests.pages import NO_NUMBER, visible

ROOT = Path(__file__).resolve().parent.parent
TINY = (
    "scale=quick",
    "experiment.arms.functions.sweep.loss=[cross_entropy]",
    "experiment.arms.hendrycks.epochs=1",
)


def ways(*networks):
    """Return paths of networks (seed, labels, accuracies, losses, confidences), evaluated at steps 0, 1, 2, ..."""
    rows = [
        {
            "trial": f"{seed}-{labels}",
            "seed": seed,
            "width": "64",
            "labels": labels,
            "inputs": "uniform",
            "step": step,
            "epoch": step / 4,
            "train_accuracy": accuracy,
            "train_loss": loss,
            "mean_confidence": sure,
        }
        for seed, labels, *curves in networks
        for step, (accuracy, loss, sure) in enumerate(zip(*curves))
    ]
    return pd.DataFrame(rows)


NETWORKS = (
    (0, "true", (0.1, 0.9, 1.0), (2.3, 0.3, 0.05), (0.2, 0.6, 0.7)),
    (0, "shuffled", (0.1, 0.5, 0.9, 1.0), (2.3, 1.5, 0.2, 0.1), (0.2, 0.5, 0.8, 0.9)),
    (1, "true", (0.1, 0.8, 1.0), (2.3, 0.3, 0.1), (0.3, 0.5, 0.6)),
    (1, "shuffled", (0.1, 0.5, 0.9, 0.99), (2.3, 1.5, 0.2, 0.15), (0.2, 0.5, 0.8, 0.9)),
)


def test_twins_are_compared_at_the_same_accuracy_and_at_the_same_loss():
    table = equal.at_levels(ways(*NETWORKS), None)
    found = table.set_index(["trial", "measure", "level"])["confidence"]
    assert found["0-true", "accuracy", 0.5] == pytest.approx(0.4)  # half way from 0.1 to 0.9
    assert found["0-shuffled", "accuracy", 0.9] == pytest.approx(0.8)
    assert found["1-true", "accuracy", 0.9] == pytest.approx(0.55)
    assert found["0-true", "loss", 0.1] == pytest.approx(0.68)  # 0.3 to 0.05: four fifths
    assert np.isnan(found["1-shuffled", "accuracy", 1.0])
    assert np.isnan(found["1-shuffled", "loss", 0.1])
    at_end = equal._at(table, "uniform", 1.0)
    # The seed that never gets there is no pair.
    assert equal.within(at_end, "confidence", "64").to_dict() == {0: pytest.approx(0.2)}
    assert equal.within(at_end, "confidence", "128").empty
    differences = equal._differences(table, ["64"], 2).set_index(["measure", "level", "labels"])
    assert differences.loc[("accuracy", 0.9, "shuffled"), "difference"] == pytest.approx((0.2 + 0.25) / 2)
    assert differences.loc[("accuracy", 1.0, "shuffled"), ["n", "missing"]].tolist() == [1, 1]
    assert differences.loc[("accuracy", 1.0, "half"), ["n", "missing"]].tolist() == [0, 2]


def test_twins_are_compared_after_as_many_steps():
    onward = ways((0, "true", (0.1, 1.0, 1.0, 1.0, 1.0), (2, 1, 0.1, 0.01, 0.001), (0.2, 0.6, 0.7, 0.8, 0.9)))
    found = equal.at_same_length(ways(*NETWORKS), onward)
    # Seed 1 never fits its shuffled labels; seed 0 does at step 3.
    assert found[["seed", "step"]].to_numpy().tolist() == [[0, 3]]
    assert found.loc[0, ["shuffled", "true"]].tolist() == pytest.approx([0.9, 0.8])
    coarse = onward[onward["step"] != 3]
    share = (np.log(4) - np.log(3)) / (np.log(5) - np.log(3))
    assert equal.at_same_length(ways(*NETWORKS), coarse).loc[0, "true"] == pytest.approx(0.7 + 0.2 * share)


def test_words_for_the_direction_of_differences():
    above, below, around = Estimate(0.2, 0.1, 0.3, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0, -0.1, 0.1, 5)
    assert equal.direction([above, above]) == "more"
    assert equal.direction([below]) == "less"
    assert equal.direction([around, around]) == "neither"
    assert equal.direction([above, below]) == equal.direction([above, around]) == "mixed"
    assert equal.direction([above._replace(n=4)]) == equal.direction([]) == "undecided"
    assert set(equal.WORDS) == {"more", "less", "neither", "mixed", "undecided"}


def test_what_a_temperature_takes():
    table = pd.DataFrame(
        {"temperature": [2.0, np.inf, 0.0], "ece_before": [0.4, 0.5, 0.1], "ece_after": [0.1, 0.0, 0.2]}
    )
    found = doubt.with_cut(table)
    assert found["inverse_temperature"].tolist() == [0.5, 0, np.inf]
    np.testing.assert_allclose(found["cut"], [0.75, 1, -1])


def test_digits_that_are_reached():
    sure = np.append(np.full(9, 0.99995), 0.5)
    drawn = pd.DataFrame({"trial": "a", "seed": 3, "labels": "true", "confidence": sure, "distance": np.arange(10.0)})
    lost = drawn.assign(trial="b", confidence=np.nan)
    found = fooling.by_network(pd.concat([drawn, lost])).set_index("trial")
    assert found.loc["a", ["share", "least", "distance"]].tolist() == [0.9, 0.5, 4.5]
    assert np.isnan(found.loc["b", "share"])


def test_every_printed_number_has_a_measured_one_beside_it():
    measured = pd.DataFrame({name: [0.4, 0.6] for name in hendrycks.PRINTED})
    table = hendrycks._table(measured)
    assert table.frame.iloc[:, 0].tolist() == list(hendrycks.PRINTED)
    assert set(table.frame["here"]) == {report.with_interval(mean_interval([40.0, 60.0]), count=False)}


# The command


def words(folder):
    return visible((folder / "report.html").read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The experiment by its command, at its smallest: the folder of its results."""
    folder = tmp_path_factory.mktemp("results") / "noise_confidence"
    done = builders.python("-m", "experiments.noise_confidence", *TINY, f"hydra.run.dir={folder}", folder=folder.parent)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.slow
def test_what_the_command_writes(results):
    table = pd.read_csv(results / "claims.csv")
    assert tuple(table.columns) == claims.COLUMNS
    assert set(table["verdict"]) <= {"undecided", "not applicable"}  # two seeds decide nothing
    assert table[table["verdict"] == "not applicable"]["note"].notna().all()
    page = (results / "report.html").read_text()
    for claim in table["claim"]:
        assert page.count(f'id="claim-{claim}"') == 1
    figures = {path.stem for path in (results / "figures").iterdir()}
    assert set(table["figure"]) <= figures
    assert page.count("<img ") == page.count('src="data:image/') == page.count('alt="') == len(figures)
    assert not re.search(NO_NUMBER, words(results))
    # The two sizes, each source and each chapter have their claims.
    for name in ("surer-uniform-100-128", "length-uniform-128", "tells-true-uniform-16", "far-relu-true"):
        assert name in set(table["claim"])
    for name in ("hendrycks-errors", "guo-over-hendrycks", "fools-shuffled"):
        assert name in set(table["claim"])
    kinds = pd.read_csv(results / "tables" / "kinds.csv")
    assert set(populations.INPUTS) == {
        name.removeprefix("mean_confidence_") for name in kinds["quantity"] if name.startswith("mean_confidence_")
    }


@pytest.mark.slow
def test_the_table_of_equal_accuracy_follows_from_the_stored_curves(results):
    found = pd.read_csv(results / "tables" / "equal_accuracy.csv")
    tables = memo.load(results / "runs")
    final = tables.out_of_distribution.set_index(["trial", "inputs"])["mean_confidence"]
    fitted = tables.trials[tables.trials["final_train_accuracy"] == 1]["trial"]
    own = found[(found["level"] == 1) & found["trial"].isin(fitted)]
    assert len(own)
    for row in own.itertuples():
        assert row.confidence == pytest.approx(final[row.trial, row.inputs], rel=1e-5)
    never = tables.trials[tables.trials["final_train_accuracy"] < 1]["trial"]
    assert found[(found["level"] == 1) & found["trial"].isin(never)]["confidence"].isna().all()


@pytest.fixture(scope="module")
def analysed(results):
    """Return `analysed(change, folder) -> Report` of the stored tables after `change(tables)`, written to a folder."""
    config = builders.compose("noise_confidence", *TINY)

    def call(change, folder):
        tables = memo.load(results / "runs")
        tables["arms"] = experiment.members(config)
        change(tables)
        made = analyse(tables, config, folder)
        report.write(made, folder, run_folders.provenance(results / "runs"), "python -m experiments.noise_confidence")
        assert plt.get_fignums() == []
        return made

    return call


def every_network_diverged(tables):
    builders.diverge(tables, tables.trials["trial"])


def one_diverged(tables):
    trials = tables.trials
    own = trials[(trials["model.widths"] == (128, 128)) & (trials["labels.kind"] == "shuffled")]
    builders.diverge(tables, own[own["loss"] == "cross_entropy"]["trial"].iloc[:1])


def no_label_fits(tables):
    tables.trials["final_train_accuracy"] = tables.trials["final_train_accuracy"].clip(upper=0.4)
    tables.curves["train_accuracy"] = tables.curves["train_accuracy"].clip(upper=0.4)


def one_seed(tables):
    first = tables.trials[tables.trials["seed"] == tables.trials["seed"].min()]["trial"]
    for name in tables:
        tables[name] = tables[name][tables[name]["trial"].isin(first)].reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.parametrize("change", [every_network_diverged, one_diverged, no_label_fits, one_seed])
def test_poor_runs_make_a_report(analysed, tmp_path, change):
    made = analysed(change, tmp_path)
    text = words(tmp_path)
    assert not re.search(NO_NUMBER, text), re.search(f".{{80}}({NO_NUMBER}).{{80}}", text)
    assert set(made.ledger["verdict"]) <= {"undecided", "not applicable"}
    ledger = made.ledger.set_index("claim")
    if change is every_network_diverged:
        assert set(made.ledger["verdict"]) == {"not applicable"}
    if change is no_label_fits:
        assert ledger.loc["surer-uniform-100-128", "verdict"] == "not applicable"
        assert "they cannot be compared" in made.findings[0]


@pytest.mark.slow
def test_without_fashion_mnist_the_other_kinds_are_told(analysed, tmp_path, monkeypatch):
    def refuse(name, folder=None):
        if name == "fashion_mnist":
            raise datasets.DataError("not reached")
        return load(name, folder)

    load = datasets.load
    monkeypatch.setattr(datasets, "load", refuse)
    made = analysed(lambda tables: None, tmp_path)
    assert not made.tables["kinds"]["quantity"].str.endswith("fashion").any()
    assert not re.search(NO_NUMBER, words(tmp_path))
