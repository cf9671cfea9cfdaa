"""Confidence on noise: the chapters' statistics against known answers, verdicts on made-up tables, and the command once."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import memo
from experiments.noise_confidence import (
    calibration,
    elsewhere,
    equal,
    explanations,
    fooling,
    hendrycks,
    networks,
)
from experiments.noise_confidence.analysis import analyse
from memo.commands import experiment
from memo.data import datasets
from memo.errors import DataError
from memo.reporting import claims, figures, report
from memo.reporting.chapter import Text
from memo.reporting.report import as_committed
from memo.statistics.intervals import Estimate
from memo.statistics.over_seeds import KINDS
from tests import builders, reports
from tests.pages import NO_NUMBER, save_empty, visible

ROOT = Path(__file__).resolve().parent.parent
SEEDS = 8


def ways(*paths, width="64"):
    """Return paths of networks (seed, labels, accuracies, losses, confidences), evaluated at steps 0, 1, 2, ..."""
    rows = [
        {
            "trial": f"{seed}-{labels}",
            "arm": "widths",
            "seed": seed,
            "width": width,
            "labels": labels,
            "inputs": "uniform",
            "step": step,
            "train_accuracy": accuracy,
            "train_loss": loss,
            "mean_confidence": sure,
        }
        for seed, labels, *curves in paths
        for step, (accuracy, loss, sure) in enumerate(zip(*curves))
    ]
    return pd.DataFrame(rows)


PATHS = (
    (0, "true", (0.1, 0.9, 1.0), (2.3, 0.3, 0.05), (0.2, 0.6, 0.7)),
    (0, "shuffled", (0.1, 0.5, 0.9, 1.0), (2.3, 1.5, 0.2, 0.1), (0.2, 0.5, 0.8, 0.9)),
    (1, "true", (0.1, 0.8, 1.0), (2.3, 0.3, 0.1), (0.3, 0.5, 0.6)),
    (1, "shuffled", (0.1, 0.5, 0.9, 0.99), (2.3, 1.5, 0.2, 0.15), (0.2, 0.5, 0.8, 0.9)),
)


def test_twins_are_compared_at_the_same_accuracy_and_at_the_same_loss():
    table = equal.at_levels(ways(*PATHS)).set_index("trial")
    assert table.loc["0-true", "uniform_at_50"] == pytest.approx(0.4)  # half way from 0.1 to 0.9
    assert table.loc["0-shuffled", "uniform_at_90"] == pytest.approx(0.8)
    assert table.loc["1-true", "uniform_at_90"] == pytest.approx(0.55)
    assert table.loc["0-true", "uniform_at_loss"] == pytest.approx(0.68)  # 0.3 to 0.05: four fifths
    assert table.loc["1-shuffled", ["uniform_at_100", "uniform_at_loss"]].isna().all()
    own = table.assign(width="64", labels=[name[2:] for name in table.index])
    # The seed that never gets there is no pair.
    assert networks.gap(own, "uniform_at_100", "64").to_dict() == {0: pytest.approx(0.2)}
    assert networks.gap(own, "uniform_at_100", "128").empty


def test_twins_are_compared_after_as_many_steps():
    long = (0, "true", (0.1, 1.0, 1.0, 1.0, 1.0), (2, 1, 0.1, 0.01, 0.001), (0.2, 0.6, 0.7, 0.8, 0.9))
    onward = ways(long, (1, *long[1:]))
    shuffled = ways(*(path for path in PATHS if path[1] == "shuffled"))
    found = explanations.at_same_length(shuffled, onward)
    # Seed 1 never fits its shuffled labels; seed 0 does at step 3.
    assert found[["seed", "uniform_as_long"]].to_numpy().tolist() == [[0, 0.8]]
    coarse = explanations.at_same_length(shuffled, onward[onward["step"] != 3])
    share = (np.log(4) - np.log(3)) / (np.log(5) - np.log(3))
    assert coarse.loc[0, "uniform_as_long"] == pytest.approx(0.7 + 0.2 * share)
    assert explanations.at_same_length(shuffled, onward.assign(width="16")).empty


def test_the_confidence_at_a_low_loss_is_where_training_first_reaches_it():
    falls = (0, "true", (1.0, 1.0, 1.0, 1.0), (0.5, 0.02, 0.005, 0.02), (0.2, 0.6, 0.9, 0.7))
    found = explanations.at_low_loss(ways(falls, (1, "true", (1.0, 1.0), (0.5, 0.1), (0.2, 0.6))))
    assert found[explanations.AT_LOW].tolist() == [pytest.approx(0.8), pytest.approx(np.nan, nan_ok=True)]


def test_what_a_temperature_takes():
    table = pd.DataFrame({"ece_before": [0.4, 0.5, 0.1], "ece_after": [0.1, 0.0, 0.2]})
    assert calibration.cut(table).tolist() == pytest.approx([0.75, 1, -1])


def test_digits_into_which_a_network_is_fooled():
    drawn = pd.DataFrame({"trial": "a", "arm": "fooling", "seed": 3, "confidence": [0.99995] * 9 + [0.5]})
    found = fooling.fooled(pd.concat([drawn, drawn.assign(trial="b", confidence=np.nan)]))
    assert found["a", "fooling", 3] == 0.9 and np.isnan(found["b", "fooling", 3])


def test_settings_are_named_as_in_the_claims():
    frame = pd.DataFrame({"layers": [1, 3], "activation": ["relu", "tanh"], "loss": ["cross_entropy", "squared_error"]})
    assert elsewhere.settings(frame, "depths").tolist() == ["1-layer", "3-layers"]
    assert elsewhere.settings(frame, "functions").tolist() == ["relu-cross-entropy", "tanh-squared-error"]


# Made-up tables


def made_up(surer=0.1, fitted=1.0, status="completed"):
    """Return tables as they are committed, of networks that are more confident on noise by `surer` where labels are shuffled."""
    settings = [("widths", (128, 128), "relu"), ("half", (128, 128), "relu"), ("onward", (128, 128), "relu")]
    settings += [("depths", (128, 128), "relu"), ("depths", (64,), "relu"), ("fooling", (128, 128), "relu")]
    settings += [("functions", (128, 128), activation) for activation in ("relu", "tanh")]
    settings += [("hendrycks", (256,) * 3, "gelu")]
    only = {"half": ["random"], "hendrycks": ["true"]}
    rows = [
        (arm, widths, activation, labels, seed)
        for arm, widths, activation in settings
        for labels in only.get(arm, KINDS)
        for seed in range(SEEDS)
    ]
    own = pd.DataFrame(rows, columns=["arm", "widths", "activation", "labels", "seed"])
    shuffled, jitter = own["labels"] == "shuffled", 0.001 * own["seed"] - 0.0035
    own["trial"] = own["arm"].isin(["onward", "functions"]).astype(str) + own[
        ["widths", "activation", "labels", "seed"]
    ].astype(str).agg("-".join, axis=1)
    noise = 0.6 + surer * shuffled + jitter * (1 + shuffled)
    at = {f"{inputs}_at_{level}": noise for inputs in equal.NOISE for level in (*equal.LEVELS, "loss")}
    long = {
        f"{inputs}_as_long": (0.69 + 3 * jitter).where((own["arm"] == "onward") & ~shuffled)
        for inputs in ("uniform", "gaussian")
    }
    low = {explanations.AT_LOW: (0.8 + noise / 100).where(own["arm"] == "onward")}
    scalars = dict.fromkeys(calibration.SCALARS, 0.8 + jitter) | {"ece_after": 0.2, "test_images": 2000}
    facts = {"width": own["widths"].map(lambda widths: widths[0]), "layers": own["widths"].map(len)}
    facts |= {"loss": "cross_entropy", "images": 500, "parameters": 1000, "network": "784-128-10", "inputs": "natural"}
    finals = {"final_train_accuracy": fitted, "final_test_accuracy": 0.9 + jitter, "status": status}
    fooled = {"fooled": 1.0, "read_by_others": 0.1 + jitter}
    table = own.drop(columns="widths").assign(**facts, **finals, **at, **long, **low, **scalars, **fooled)
    inputs = pd.concat(
        pd.DataFrame(
            {"trial": own["trial"], "inputs": kind, "mean_confidence": noise + (kind == "test") * (0.2 + jitter)}
        )
        .assign(auroc_vs_test=0.9 - 0.5 * shuffled + jitter, auroc_vs_right=0.9, aupr_vs_test=0.9, entropy=1.0)
        .assign(**{"share_above_0.999": 0.97 - 0.9 * (own["activation"] == "tanh") + jitter})
        for kind in networks.INPUTS
    )
    return as_committed({"networks": table, "inputs": inputs.drop_duplicates(["trial", "inputs"])})


def ledger_of(tables):
    return analyse.answers(tables).ledger("standard").set_index("claim")


def test_made_up_tables_decide_as_declared():
    ledger = ledger_of(made_up())
    verdicts = {
        "surer-uniform-100-128": claims.REPRODUCED,
        "surer-depths-1-layer": claims.REPRODUCED,
        "surer-functions-tanh-cross-entropy": claims.REPRODUCED,
        "loss-128": claims.NOT_REPRODUCED,
        "length-uniform-128": claims.REPRODUCED,  # 0.7 − 0.69
        "tells-shuffled-uniform-128": claims.REPRODUCED,
        "tells-true-gaussian-128": claims.REPRODUCED,
        "far-relu-true": claims.REPRODUCED,
        "short-tanh-shuffled": claims.REPRODUCED,
        "settles-tanh-true": claims.CONTROL,
        "hendrycks-error": claims.CONTROL,
        "hendrycks-uniform-auroc": claims.DIRECTION_ONLY,
        "hendrycks-normal-less": claims.REPRODUCED,
        "guo-cut-128": claims.REPRODUCED,
        "fools": claims.REPRODUCED,
        "unread-true": claims.REPRODUCED,
        "loss-beyond-128": claims.REPRODUCED,
        "loss-beyond-512": claims.NOT_YET_MEASURED,
        "length-uniform-512": claims.NOT_YET_MEASURED,
    }
    assert {name: ledger.loc[name, "verdict"] for name in verdicts} == verdicts
    assert ledger.loc["fools", "n"] == 3 * SEEDS
    assert ledger.loc["surer-uniform-100-128", "measured"] == pytest.approx(0.1)
    # Two layers are the networks by width once more.
    assert "surer-depths-2-layers" not in ledger.index


def test_networks_that_are_no_surer_decide_the_other_way():
    ledger = ledger_of(made_up(surer=-0.1))
    assert ledger.loc["surer-uniform-100-128", "verdict"] == claims.NOT_REPRODUCED
    assert ledger.loc["length-uniform-128", "verdict"] == claims.NOT_REPRODUCED


def test_networks_that_fitted_nothing_are_not_compared():
    ledger = ledger_of(made_up(fitted=0.5))
    for name in ("surer-depths-1-layer", "tells-true-uniform-128", "memorised-calibration-128"):
        assert (ledger.loc[name, "verdict"], ledger.loc[name, "note"][:6]) == (claims.NOT_APPLICABLE, "8 of 8")


def test_every_printed_number_has_a_measured_one_beside_it():
    found = hendrycks.quantities(made_up())
    assert found.columns.tolist() == list(hendrycks.PRINTED)
    assert found["N(0, 1) noise: mean confidence"].mean() == pytest.approx(0.6)
    assert found["test error"].mean() == pytest.approx(0.1)
    table = hendrycks.table(found)
    assert table.iloc[:, 0].tolist() == list(hendrycks.PRINTED)
    assert table.set_index("MNIST, in %").loc["uniform noise: mean confidence", "here"].startswith("60.0 [")


# The command


@pytest.fixture(scope="module")
def tiny():
    arms = {f"{arm}.sweep.model.widths": "[[128,128]]" for arm in ("widths", "half", "fooling")}
    arms |= {"depths.sweep.model.widths": "[[128]]", "functions.sweep.loss": "[cross_entropy]"}
    arms |= {"functions.sweep.model.activation": "[relu]", "hendrycks.epochs": 1}
    return ["scale=quick", *(f"experiment.arms.{name}={value}" for name, value in arms.items())]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny):
    """The folder of the results of the experiment by its command, at its smallest."""
    folder = tmp_path_factory.mktemp("results") / "noise_confidence"
    builders.python("-m", "experiments.noise_confidence", *tiny, f"hydra.run.dir={folder}", check=True)
    return folder


ABOVE, BELOW, BOTH = Estimate(0.6, 0.5, 0.7, 5), Estimate(-0.2, -0.3, -0.1, 5), Estimate(0.1, -0.2, 0.4, 5)


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        ("equal", "finding", {"at": {100: {}}}, "cannot be compared"),
        ("equal", "finding", {"at": {100: {"64": BOTH}, 50: {}}}, "not detectably more or less confident"),
        ("explanations", "length", {"as_long": None}, "No network"),
        ("explanations", "length", {"took": None}, "Compared with twins"),
        ("explanations", "length", {"took": ABOVE}, "Shuffled labels take longer to fit."),
        ("explanations", "length", {"took": BOTH}, "do not take detectably longer to fit."),
        ("calibration", "finding", {"over": {"64": None}, "memorised": None}, "No network"),
        ("calibration", "finding", {"cut": {"64": None}, "memorised": None}, "over-confident on test images"),
        ("calibration", "finding", {"cut": {"64": BELOW}, "memorised": None}, "temperature scaling increases"),
        ("calibration", "finding", {"cut": {"64": BOTH}, "memorised": None}, "does not detectably reduce"),
        ("calibration", "finding", {"chance": BOTH}, "are confident on test images, which they classify at chance."),
        ("calibration", "finding", {"chance": ABOVE}, "which they classify better than at chance."),
        ("calibration", "finding", {"chance": None}, "are confident on test images."),
        ("kinds", "finding", {"told": {"shuffled": None, "true": ABOVE}}, "not evaluated"),
        ("kinds", "finding", {"told": {"shuffled": BELOW, "true": ABOVE}}, "less confident on digits"),
        ("kinds", "finding", {"told": {"shuffled": ABOVE, "true": ABOVE}}, "not detectably more confident on digits"),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = {"images": 500, "largest": "64", "width": "64", "stopped": ABOVE, "as_long": BOTH, "as_long_gaussian": None}
    facts |= {"over": {"64": ABOVE}, "cut": {"64": ABOVE}, "memorised": ABOVE}
    text = Text("experiments.noise_confidence", chapter).block(block, **facts | found)
    assert said in text and text.endswith(".") and "n/a" not in text and ".." not in text


@pytest.mark.parametrize(("epochs", "longer"), [([9, 5], True), ([5, 9], False), ([np.nan, 5], False)])
def test_the_short_answer_says_what_trained_for_longer(epochs, longer):
    trained = {"arm": ["widths"] * 2, "labels": ["shuffled", "true"], "width": [64] * 2, "parameters": [1] * 2}
    networks = pd.DataFrame(trained | {"epochs": epochs})
    networks = pd.concat([networks, networks.assign(arm="onward")])
    for long in (None, BOTH):
        answers = {"surer-uniform-100-64": None, "length-uniform-64": long, "length-gaussian-64": None}
        facts = {"answers": answers, "networks": networks, "verdict": "not tested"}
        text = Text("experiments.noise_confidence", "in_short").block("surer", **facts)
        assert "are not known to be more confident" in text and text.endswith(".") and ".." not in text
        assert ("They have trained for longer" in text) == longer
        assert ("etworks on true labels that are trained for as many steps" in text) == bool(long)


@pytest.mark.slow
def test_the_report_is_whole_and_can_be_audited(run):
    assert reports.check(run, "noise_confidence").numbers > 20
    # Where every label is fitted is where a network ended.
    tables = memo.load(run / "runs")
    final = tables.out_of_distribution.set_index(["trial", "inputs"])["mean_confidence"]
    known = pd.read_csv(run / "tables" / "networks.csv").dropna(subset="uniform_at_100")
    assert len(known) and (known["final_train_accuracy"] == 1).all()
    expected = [final[trial, "uniform"] for trial in known["trial"]]
    assert known["uniform_at_100"].tolist() == pytest.approx(expected, rel=1e-5)


def every_network_diverged(tables):
    builders.diverge(tables, tables.trials["trial"])


def no_label_fits(tables):
    tables.trials["final_train_accuracy"] = tables.trials["final_train_accuracy"].clip(upper=0.4)
    tables.curves["train_accuracy"] = tables.curves["train_accuracy"].clip(upper=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("change", [every_network_diverged, no_label_fits])
def test_poor_runs_make_a_report(run, tiny, tmp_path, monkeypatch, change):
    """Without Fashion-MNIST, too."""

    def refuse(name, folder=None):
        if name == "fashion_mnist":
            raise DataError("not reached")
        return load(name, folder)

    load = datasets.load
    monkeypatch.setattr(datasets, "load", refuse)
    config, tables = builders.compose("noise_confidence", *tiny), memo.load(run / "runs")
    tables["arms"] = experiment.members(config)
    change(tables)
    if change is no_label_fits:
        monkeypatch.setattr(figures, "save", save_empty)
    made = analyse(tables, config, tmp_path)
    report.write(made, tmp_path, [], "")
    text = visible((tmp_path / "report.html").read_text())
    assert not re.search(NO_NUMBER, text), re.search(f".{{80}}({NO_NUMBER}).{{80}}", text)
    words = [*made.findings, *made.in_short.values(), *(figure.caption for figure in made.figures)]
    assert "n/a" not in " ".join(words)
    assert "they cannot be compared" in made.findings[0]
    assert not (made.tables["inputs"]["inputs"] == "fashion").any()
    if change is every_network_diverged:
        assert set(made.ledger["verdict"]) <= {claims.NOT_APPLICABLE, claims.NOT_YET_MEASURED}
