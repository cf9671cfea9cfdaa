"""The headline experiment end to end at its smallest, and its analysis where a run is poor: one seed, no fit, NaNs."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import memo
from experiments.headline import memorising, speed
from experiments.headline.analysis import analyse
from memo.commands import arms, experiment
from memo.commands.audit import audit
from memo.config import Config, Dataset, Experiment, Model, Optimizer
from memo.reporting import claims, figures, panels, report
from memo.reporting import results as stored_results
from memo.reporting.chapter import Text
from memo.statistics import curve_shape, over_seeds
from memo.statistics.intervals import Estimate, paired_ratio
from memo.storage import run_folders, sweep
from memo.storage.run_folders import Tables
from tests import builders, reports
from tests.pages import NO_NUMBER, save_empty, visible

ROOT = Path(__file__).resolve().parent.parent
TINY = (
    "scale=quick",
    "seeds=2",
    "epochs=3",
    "dataset.n_train=128",
    "dataset.n_test=200",
    "evaluations=8",
    "batch_size=32",
    "experiment.sweep.model.widths=[[4,4],[8,8]]",
    "experiment.arms.counts.model.widths=[8,8]",
    "experiment.arms.counts.sweep.dataset.n_train=[64,128]",
    "experiment.arms.counts.sweep.optimizer.learning_rate=[0.03,0.1]",
)
PROBES = ["confidence", "noise_samples"]


def command(folder):
    return builders.python("-m", "experiments.headline", *TINY, f"hydra.run.dir={folder}/headline", folder=folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The experiment by its command: (results folder, finished process)."""
    folder = tmp_path_factory.mktemp("results")
    return folder / "headline", command(folder)


@pytest.fixture(scope="module")
def results(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_curves_of_the_sweep_have_the_first_steps_of_the_same_networks(results):
    stored = memo.load(results)
    recipes = stored.trials.set_index("trial")
    networks = pd.read_csv(results / "tables" / "networks.csv").query("arm == 'sweep'").set_index("trial")
    curve_of = dict(list(stored.curves.set_index("step").groupby("trial")))
    for trial in networks.index:
        own = recipes.loc[trial]
        keys = ["seed", "model.widths", "labels.kind"]
        twins = recipes[(recipes[keys].astype(str) == own[keys].astype(str)).all(axis=1) & (recipes["epochs"] == 1)]
        curve, early = curve_of[trial], curve_of[twins.index.item()]
        assert early.index.tolist() == [0, 1, 2, 3, 4]
        shared = curve.index.intersection(early.index)
        assert len(shared) > 1
        np.testing.assert_allclose(curve.loc[shared, "train_loss"], early.loc[shared, "train_loss"], rtol=1e-5)
        joined = pd.concat([curve, early.drop(shared)]).sort_index()
        lost = curve_shape.rising(curve_shape.loss_progress(joined["train_loss"]))
        begins = curve_shape.start(joined["epoch"], lost, 0.9, 0)
        assert networks.loc[trial, "loss_start"] == pytest.approx(begins, nan_ok=True)


@pytest.mark.slow
def test_the_recipes_of_reference_make_a_report(tmp_path):
    """Its arms are other ones than those of `standard`; an analysis that fails is not to be met after hours of training."""
    small = [change for change in TINY if not change.startswith(("scale=", "experiment.arms.counts.sweep.optimizer"))]
    small += ["experiment.arms.stratified.sweep.model.widths=[[4,4]]"]
    small += ["experiment.arms.counts_true.sweep.dataset.n_train=[64,128]"]
    done = builders.python("-m", "experiments.headline", "scale=reference", *small, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    ledger = claims.read(tmp_path / "claims.csv").set_index("claim")
    assert {"chance-stratified-4", "chance-stratified-64"} <= set(ledger.index)
    assert ledger.loc["chance-stratified-64", "note"] == "this run does not have width 64"
    networks = pd.read_csv(tmp_path / "tables" / "networks.csv")
    assert set(networks["arm"]) == {"sweep", "first_steps", "linear", "stratified", "counts", "counts_true"}


ONE, LOW, BOTH = Estimate(3.0, 2.0, 4.0, 5), Estimate(0.2, 0.1, 0.3, 5), Estimate(1.0, 0.2, 3.0, 5)


@pytest.mark.parametrize(
    ("chapter", "block", "found", "said"),
    [
        ("speed", "finding", {"factor": {90: None, 99: None}}, "is not known"),
        ("speed", "finding", {"factor": {90: ONE, 99: None}}, "take longer than true ones: 3.0"),
        ("speed", "finding", {"factor": {90: None, 99: LOW}}, "take less time than true ones: 0.200"),
        ("speed", "finding", {"factor": {90: ONE, 99: BOTH}}, "do not take detectably longer"),
        ("speed", "growth", {"exponent": None, "equal": None}, "is not known"),
        (
            "speed",
            "growth",
            {"exponent": None, "equal": ONE},
            "grows with the number of images, with an exponent of 3.0",
        ),
        ("shape", "finding", {"r2": {"loss": None, "accuracy": ONE}}, "is not known"),
        ("shape", "finding", {"r2": {"loss": LOW, "accuracy": ONE}}, "does not fall in a straight line (R² = 0.2"),
        ("shape", "finding", {"r2": {"loss": ONE, "accuracy": LOW}}, "falls almost in a straight line"),
        ("confidence", "finding", {"uniform": None, "gap": None}, "is not known"),
        ("confidence", "finding", {"uniform": LOW, "gap": ONE}, "are not confident on uniform noise"),
        ("confidence", "finding", {"uniform": ONE, "gap": None}, "are confident on uniform noise (3.0"),
    ],
)
def test_words_are_those_of_the_intervals(chapter, block, found, said):
    """And what was not measured is said to be unknown."""
    facts = {"largest": "64", "width": "64", "images": 500, "start": {"loss": None, "accuracy": None, "shuffled": None}}
    text = Text("experiments.headline", chapter).block(block, **facts | {"steeper": {"loss": None}} | found)
    assert said in text and text.endswith(".") and "n/a" not in text and ".." not in text


@pytest.mark.parametrize(
    ("fitted", "said"),
    [
        (
            {64: 0.4, 256: 1.0, 512: 1.0},
            "of 256 units per layer and more memorise all shuffled labels; narrower ones do not",
        ),
        ({64: 1.0, 256: 1.0}, "of 64 units per layer and more memorise all shuffled labels."),
        ({64: 1.0, 256: 0.9, 512: 1.0}, "of 64 and 512 units per layer memorise all shuffled labels."),
        ({64: 0.4, 256: 0.9}, "At no width do all networks memorise"),
        ({}, "No network with 64 or more units per layer was trained"),
    ],
)
def test_the_widths_that_memorise_in_short(fitted, said):
    found = {"arm": "sweep", "labels": "shuffled"}
    rows = [found | {"units": units, "final_train_accuracy": accuracy} for units, accuracy in fitted.items()]
    networks = pd.DataFrame(rows or [found | {"units": 16, "final_train_accuracy": 1.0}])
    text = Text("experiments.headline", "in_short").block(
        "memorises", networks=networks, answers={"chance-memorised": None}
    )
    assert said in text


@pytest.mark.slow
def test_findings_state_nothing_that_was_not_measured(results):
    ledger, findings = claims.read(results / "claims.csv").set_index("claim"), (results / "findings.md").read_text()
    assert "n/a" not in findings
    assert ledger.loc["faster-t90-8":"faster-t99-8", "measured"].isna().all()  # three epochs are too few
    assert "How much longer shuffled labels take than true ones is not known" in findings


def words(folder):
    return visible((folder / "report.html").read_text())


def artefacts(folder):
    """Return what a reader opens, by name."""
    kinds = ("*.html", "*.csv", "*.md", "*.svg", "*.png")
    return {str(path.relative_to(folder)): path.read_bytes() for kind in kinds for path in folder.rglob(kind)}


@pytest.mark.slow
def test_the_command_ends_well(finished):
    _, done = finished
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_what_it_writes(results):
    names = set(artefacts(results))
    assert {"report.html", "claims.csv", "findings.md", "sentences.csv", "tables/networks.csv"} <= names
    assert {"figures/curves.svg", "figures/confidence.svg", "figures/summary.png", "figures/samples.png"} <= names
    assert not [
        path for path in results.rglob("*") if path.name.startswith(".") and path.name not in (".hydra", ".lock")
    ]
    tables = memo.load(results)
    kinds = [tables.trials[key] for key in ("model.widths", "dataset.n_train", "optimizer.learning_rate")]
    first_steps = tables.trials["epochs"] == 1
    assert first_steps.sum() == 8
    plain = ~tables.trials["labels.stratified"] & ~first_steps
    pairs = {((4, 4), 128, 0.03), ((), 128, 0.03)} | {((8, 8), n, rate) for n in (64, 128) for rate in (0.03, 0.1)}
    twins = tables.trials[plain].groupby([*kinds, "labels.kind"]).size().to_dict()
    assert twins == {(*pair, kind): 2 for pair in pairs for kind in ("true", "shuffled")}
    assert tables.trials[tables.trials["labels.stratified"]].groupby(["model.widths", "labels.kind"]).size().to_dict() == {
        ((4, 4), "shuffled"): 2, ((8, 8), "shuffled"): 2
    }  # fmt: skip
    assert len(list((results / "runs").iterdir())) == len(pairs) * 2 + 2 + 4


@pytest.mark.slow
def test_claims(results):
    table = claims.read(results / "claims.csv")
    # Two seeds decide nothing.
    assert set(table["verdict"]) <= {"undecided", "not applicable", "not yet measured", "control"}
    measured = table["verdict"].isin(("undecided", "control"))
    assert table[measured][["measured", "n"]].notna().all(axis=None)
    assert (table[~measured]["note"] != "").all()
    for name in set(table["figure"]) - {""}:
        assert (results / "figures" / f"{name}.svg").exists()


@pytest.mark.slow
def test_page(results):
    page = (results / "report.html").read_text()
    for claim in pd.read_csv(results / "claims.csv")["claim"]:
        assert page.count(f'id="claim-{claim}"') == 1
    assert page.count("<img ") == page.count('src="data:image/') == page.count('alt="')
    for line in (results / "findings.md").read_text().splitlines():
        assert line.removeprefix("- ") in page


@pytest.mark.slow
def test_tables(results):
    networks = pd.read_csv(results / "tables" / "networks.csv").set_index("trial")
    trials = memo.load(results).trials.set_index("trial")
    assert networks["final_test_accuracy"].to_dict() == pytest.approx(trials["final_test_accuracy"].to_dict())
    widths = trials.loc[networks.index, "model.widths"]
    assert networks["width"].tolist() == [own[0] if own else 0 for own in widths]


def stored(folder):
    return stored_results.read(stored_results.Experiment("headline", "", ""), folder)


@pytest.mark.slow
def test_the_report_is_whole_and_can_be_audited(results):
    assert reports.check(results, "headline").numbers > 0


@pytest.mark.slow
def test_a_number_that_does_not_follow_from_the_tables_is_found(results, tmp_path):
    shutil.copytree(results, tmp_path / "headline", ignore=shutil.ignore_patterns("runs"))
    ledger = claims.read(tmp_path / "headline" / "claims.csv")
    place = ledger.index[ledger["measured"].notna()][0]
    ledger.loc[place, "measured"] += 0.01
    ledger.loc[place + 1, "verdict"] = "reproduced"
    claims.write(ledger, tmp_path / "headline" / "claims.csv")
    found = audit(stored(tmp_path / "headline"), tmp_path / "headline").mismatches
    assert any(f"{ledger['claim'][place]}: measured is" in line for line in found)
    assert any(f"{ledger['claim'][place + 1]}: verdict is reproduced" in line for line in found)


@pytest.mark.slow
def test_tables_of_an_earlier_analysis_are_said_to_be_that(results, tmp_path):
    shutil.copytree(results, tmp_path / "headline", ignore=shutil.ignore_patterns("runs"))
    file = tmp_path / "headline" / "tables" / "networks.csv"
    pd.read_csv(file).drop(columns="rate").to_csv(file, index=False)
    (mismatch,) = audit(stored(tmp_path / "headline"), tmp_path / "headline").mismatches
    assert all(part in mismatch for part in ("rate", "; python -m experiments.headline ", " makes them anew"))


@pytest.mark.slow
def test_the_same_command_trains_nothing_and_redraws_the_same(results):
    stored = {path: path.stat().st_mtime_ns for path in results.rglob("*.parquet")}
    before = artefacts(results)
    again = command(results.parent)
    assert (again.returncode, again.stderr) == (0, "")
    assert "nothing to train" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*.parquet")} == stored
    after = artefacts(results)
    assert set(after) == set(before)
    assert [name for name in before if after[name] != before[name]] == []


@pytest.fixture(scope="module")
def composed():
    return builders.compose("headline", *TINY)


@pytest.fixture(scope="module")
def analysed(results, composed):
    """Return `analysed(change, folder) -> Report` of the stored tables after `change(tables)`, written to a folder."""

    def call(change, folder, tables=None, config=None):
        tables = tables or memo.load(results)
        tables["arms"] = experiment.members(config or composed)
        change(tables)
        made = analyse(tables, config or composed, folder)
        report.write(made, folder, run_folders.provenance(results), "python -m experiments.headline")
        assert plt.get_fignums() == []
        return made

    return call


def keep(tables, trials):
    for name in tables:  # the arms too
        tables[name] = tables[name][tables[name]["trial"].isin(trials["trial"])].reset_index(drop=True)


def one_seed(tables):
    keep(tables, tables.trials[tables.trials["seed"] == 0])


def twins_of(trials, widths=((4, 4), (8, 8))):
    """Return the trials of the sweep of some widths; those of the arms have other images, epochs, rates or labels."""
    own = trials["model.widths"].isin(widths) & ~trials["labels.stratified"] & (trials["epochs"] == 3)
    return trials[own & (trials["dataset.n_train"] == 128) & (trials["optimizer.learning_rate"] == 0.03)]


def one_width(tables):
    keep(tables, twins_of(tables.trials, [(8, 8)]))


def one_diverged(tables):
    """What a diverged network leaves; see test_sweep."""
    one_width(tables)
    bad = tables.trials["trial"].iloc[0]
    builders.diverge(tables, [bad])


def learn(tables, kinds=("true", "shuffled")):
    """Let all networks with these kinds of labels fit every label, the shuffled ones in thrice the time."""
    curves = tables.curves.astype({"train_accuracy": float, "train_loss": float})
    curves = curves.join(tables.trials.set_index("trial")["labels.kind"], on="trial")
    share = curves["epoch"] / np.where(curves["labels.kind"] == "shuffled", 3, 1)
    own = curves["labels.kind"].isin(kinds)
    curves.loc[own, "train_accuracy"] = (0.1 + 0.9 * share).clip(upper=1)[own]
    curves.loc[own, "train_loss"] = (2.3 * (1 - share)).clip(lower=0.001)[own]
    tables["curves"] = curves.drop(columns="labels.kind")
    trials = tables.trials
    trials.loc[trials["labels.kind"].isin(kinds), "final_train_accuracy"] = 1.0
    trials.loc[trials["labels.kind"].isin(kinds), "status"] = "memorised"


def only_true_labels_fit(tables):
    one_width(tables)
    learn(tables, ["true"])
    curves = tables.curves
    shuffled = tables.trials[tables.trials["labels.kind"] == "shuffled"]["trial"]
    curves.loc[curves["trial"].isin(shuffled), "train_accuracy"] = 0.1


def every_label_fits(tables):
    one_width(tables)
    learn(tables)


def other_shapes(tables):
    """A network without hidden layers, and one with three."""
    widths = {(4, 4): (), (8, 8): (8, 4, 2)}
    keep(tables, twins_of(tables.trials))
    tables.trials["model.widths"] = tables.trials["model.widths"].map(widths)


@pytest.mark.slow
@pytest.mark.parametrize("change", [one_seed, one_diverged, only_true_labels_fit, every_label_fits, other_shapes])
def test_poor_runs_make_a_report(analysed, tmp_path, change, monkeypatch):
    monkeypatch.setattr(memorising, "WIDE", 4)
    monkeypatch.setattr(figures, "save", save_empty)
    made = analysed(change, tmp_path)
    assert set(made.ledger["verdict"]) <= {"undecided", "not applicable", "not yet measured", "control"}
    text = words(tmp_path)
    assert not re.search(NO_NUMBER, text)
    ledger = made.ledger.set_index("claim")
    if change is one_seed:
        means = ledger[ledger["family"].str.contains("confidence|accuracy, shuffled")]
        assert means[["low", "high"]].isna().all(axis=None) and set(means["n"].dropna()) == {1}
    if change is one_diverged:
        assert "1 network of 4 diverged" in text
        assert ledger.loc["had-time", "n"] + ledger.loc["memorises", "n"] == 4
        assert "1 of 2 pairs have a diverged network" in ledger.loc["faster-t99-8", "note"]
    if change is only_true_labels_fit:
        assert ledger.loc["faster-t99-8", "high"] == np.inf
        assert "a lower bound: 2 of 2" in ledger.loc["faster-t99-8", "note"]
        assert "at least" in made.findings[1]
        assert "At no width do all networks memorise the 128 shuffled labels" in made.findings[0]
        assert ledger.loc["memorises", "measured"] == 0 and ledger.loc["had-time", "measured"] == 1
    if change is every_label_fits:
        assert ledger.loc["faster-t99-8", "measured"] == pytest.approx(3)
        assert ledger.loc["chance-memorised", "n"] == 2
        assert "Networks with 8 units per layer memorise all 128 shuffled labels (2 seeds each)" in made.findings[0]
        for kind in ("loss", "accuracy"):
            assert ledger.loc[f"linear-{kind}-8", "measured"] == pytest.approx(1, abs=1e-3)
        assert ledger.loc["fiddles-loss-8", "measured"] == pytest.approx(0.25, abs=0.02)  # a straight line
    if change is other_shapes:
        assert {"chance-0", "chance-8×4×2"} <= set(ledger.index)
        assert "not declared before the run" in ledger.loc["as-sure-0", "note"]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-6, 1e20], ids=["nothing is learned", "every network diverges"])
def test_runs_that_go_nowhere_make_a_report(analysed, tmp_path, rate):
    config = Config(
        dataset=Dataset(n_train=128, n_test=200),
        model=Model(widths=[8, 8]),
        optimizer=Optimizer(learning_rate=rate),
        batch_size=32,
        epochs=3,
        evaluations=8,
        seeds=2,
        experiment=Experiment(sweep={"model": {"widths": [[8, 8]]}, "labels": {"kind": ["true", "shuffled"]}}),
    )
    (request,) = experiment.requests(replace(config, probes=PROBES), tmp_path)
    sweep.complete(*request)
    tables = memo.load(tmp_path / "runs")
    assert set(tables.trials["status"]) == {"diverged" if rate > 1 else "completed"}
    config = replace(config, probes=PROBES)
    made = analysed(lambda tables: None, tmp_path, tables, config)
    ledger = made.ledger.set_index("claim")
    assert set(ledger.loc[["faster-t90-8", "linear-loss-8", "fiddles-accuracy-8"], "verdict"]) == {"not applicable"}
    text = words(tmp_path)
    assert not re.search(NO_NUMBER, text)
    if rate > 1:
        assert set(ledger["verdict"]) <= {"not applicable", "not yet measured"}
        assert "4 networks of 4 diverged" in text


def counts_of(times):
    """Return a table of networks: epochs to 99 % by (kind, images, rate), with seeds that scatter around them evenly."""
    rows = [
        {"labels": kind, "images": images, "rate": rate, "seed": seed, "accuracy_t99": time * factor, "width": "8"}
        for (kind, images, rate), time in times.items()
        for seed, factor in enumerate((0.8, 1.25))
    ]
    return pd.DataFrame(rows)


def test_the_ratio_of_times_by_number_of_images_at_the_best_and_at_the_same_rate():
    """Shuffled labels take n^0.5 times as long at rate 0.1, and n^0.5 times ten at 0.01; true ones are soonest at 0.01."""
    sizes = (100, 400, 1600)
    times = {("true", n, rate): 2.0 if rate == 0.01 else 4.0 for n in sizes for rate in (0.01, 0.1)}
    times |= {("shuffled", n, rate): n**0.5 * (10 if rate == 0.01 else 1) for n in sizes for rate in (0.01, 0.1)}
    times["shuffled", 1600, 0.01] = np.nan  # never
    counts = counts_of(times)
    best = {kind: speed.best_rates(counts, kind) for kind in ("true", "shuffled")}
    assert best == {"true": dict.fromkeys(sizes, 0.01), "shuffled": dict.fromkeys(sizes, 0.1)}
    ratios = speed.factors(counts, best)
    assert ratios.mean().tolist() == pytest.approx([5, 10, 20])
    assert speed.same_rate(counts) == 0.1
    assert speed.equal_factors(counts).mean().tolist() == pytest.approx([2.5, 5, 10])
    estimate, note = speed.exponent(ratios)
    assert estimate.value == pytest.approx(0.5) and note == "100 to 1,600 images"
    assert speed.exponent(ratios[[100]]) == (
        None,
        "fewer than two numbers of images at which every network reaches 99 %",
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sweep": {"labels": {"kind": ["shuffled"]}, "model": {"widths": [[4]]}}}, r"labels\.kind is \['shuffled'\]"),
        ({"sweep": {"model": {"widths": [[4]]}}}, r"lacks labels\.kind"),
        ({"sweep": {"seed": [1, 2]}}, r"experiment\.sweep\.seed: this experiment distinguishes only model\.widths"),
        ({"sweep": 3}, "experiment.sweep is 3"),
        ({"probes": ["sharpness"]}, "probes lacks sharpness"),
        ({"fixed": {"labels.fraction": 0.5}}, r"labels\.fraction is 1\.0; this experiment is about 0\.5"),
    ],
)
def test_what_could_not_be_analysed_is_refused(change, sentence):
    twins = {"labels": {"kind": ["true", "shuffled"]}, "model": {"widths": [[4]]}}
    needs = {
        "name": "headline",
        "axes": ["model.widths", "labels.kind"],
        "compares": {"labels.kind": ["true", "shuffled"]},
        "fixed": {"labels.fraction": 1.0},
        "sweep": twins,
    }
    experiment.check(Config(experiment=Experiment(**needs)), set())
    with pytest.raises(memo.errors.Refusal, match=sentence):
        experiment.check(Config(experiment=Experiment(**needs | change)), set())


@pytest.mark.slow
def test_the_report_is_of_what_was_asked_for(results, tmp_path):
    """Run folders of an earlier, larger sweep lie beside the ones asked for."""
    config = Config(
        dataset=Dataset(n_train=128, n_test=200), seeds=1, experiment=Experiment(sweep={"labels": {"kind": ["true"]}})
    )
    ((folder,),) = [request.runs for request in experiment.requests(config, tmp_path)]
    assert folder.parent == tmp_path / "runs"
    assert folder.name.startswith("mnist-64x64-true-")
    swept = arms.swept(
        replace(config, experiment=Experiment(sweep={"model": {"widths": [[4], [8]]}, "epochs": [1, 2]}))
    )
    assert [(one.model.widths, one.epochs) for one in swept] == [([4], 1), ([4], 2), ([8], 1), ([8], 2)]


def frames(true, shuffled, diverged=()):
    """Return shapes and trials of one width: times to a level by seed, NaN where a curve never gets there."""
    seeds = range(len(true))
    long = [(seed, kind, times[seed]) for kind, times in (("true", true), ("shuffled", shuffled)) for seed in seeds]
    shapes = pd.DataFrame(long, columns=["seed", "labels", "t99"]).assign(width="8")
    trials = shapes[["seed", "labels", "width"]].assign(epochs_trained=80, status="completed")
    trials.loc[[(row.seed, row.labels) in diverged for row in trials.itertuples()], "status"] = "diverged"
    return shapes.sample(frac=1, random_state=0), trials.sample(frac=1, random_state=1)


def test_slowdown_is_the_geometric_mean_within_pairs():
    estimate, note = over_seeds.slowdown(*frames([1, 2, 4], [2, 16, 8]), "t99", "8")
    assert estimate == paired_ratio([2, 16, 8], [1, 2, 4])
    assert note == ""


def test_slowdown_is_a_lower_bound_where_shuffled_labels_are_never_fitted():
    estimate, note = over_seeds.slowdown(*frames([1, 2, 4], [2, np.nan, np.nan]), "t99", "8")
    # With the 80 epochs they were trained for.
    assert estimate == paired_ratio([2, 80, 80], [1, 2, 4])._replace(high=np.inf)
    assert note == "a lower bound: 2 of 3 shuffled curves never reach the level"


def test_slowdown_leaves_out_pairs_with_a_diverged_network():
    times = [1, 2, np.nan, 3], [2, np.nan, 7, np.nan]
    estimate, note = over_seeds.slowdown(*frames(*times, {(1, "shuffled"), (2, "true")}), "t99", "8")
    assert estimate.value == pytest.approx((2 * 80 / 3) ** 0.5)
    assert (estimate.n, estimate.high) == (2, np.inf)
    assert note == "a lower bound: 1 of 2 shuffled curves never reach the level; 2 of 4 pairs have a diverged network"


@pytest.mark.parametrize(
    ("true", "diverged", "reason"),
    [
        ([1, np.nan], (), "not every curve on true labels reaches the level"),
        ([1, 2], {(0, "true"), (1, "shuffled")}, "2 of 2 pairs have a diverged network"),
    ],
)
def test_slowdown_without_an_answer(true, diverged, reason):
    assert over_seeds.slowdown(*frames(true, [4, 8], diverged), "t99", "8") == (None, reason)


def test_differences_and_ratios_are_paired():
    shapes, _ = frames([1, 2, 4, np.nan], [2, 16, 8, 9])
    estimate, note = over_seeds.difference(shapes, "t99", "8", 4)
    assert estimate.value == pytest.approx((1 + 14 + 4) / 3)
    assert estimate.n == 3
    assert note.startswith("1 of 4 seeds have no value")
    ratio, _ = over_seeds.ratio(shapes, "t99", "8", 4)
    inverse, _ = over_seeds.ratio(shapes, "t99", "8", 4, inverse=True)
    assert ratio.value == pytest.approx(32 ** (1 / 3))
    assert inverse.value == pytest.approx(1 / ratio.value)
    mean, _ = over_seeds.mean(shapes, "t99", "shuffled", "8", 4)
    assert (mean.value, mean.n) == (pytest.approx(35 / 4), 4)
    assert over_seeds.mean(shapes, "t99", "true", "16", 4)[0] is None


def test_a_legend_names_each_kind_of_labels_once():
    shapes, _ = frames([1, 2], [3, 4])
    figure, [[axes]] = figures.grid(1, 1)
    panels.points(axes, pd.concat([shapes, shapes.assign(width="16")]), "t99", "width", ["8", "16"])
    figures.shared_legend(figure, axes)
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    plt.close(figure)
    assert texts == ["true labels", "shuffled labels"]


@pytest.mark.slow
def test_the_strip_of_a_diverged_network_shows_no_nan(results):
    tables = memo.load(results)
    one_width(tables)
    pair = tables.trials[tables.trials["seed"] == 0].set_index("labels.kind")["trial"]
    builders.diverge(tables, [pair["true"]])
    samples = tables.noise_samples
    figure = panels.sample_strip({kind: samples[samples["trial"] == pair[kind]] for kind in ("true", "shuffled")})
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    plt.close(figure)
    assert sum("(" in text for text in texts) >= 4 * 8  # the sound twin's answers
    assert not [text for text in texts if "nan" in text]


@pytest.mark.slow
def test_tables_lack_nothing_silently(results, composed):
    """A probe that was not asked for is an error with its name, not an empty figure."""
    tables = Tables({name: frame for name, frame in memo.load(results).items() if name != "noise_samples"})
    with pytest.raises((AttributeError, memo.errors.Refusal), match="noise_samples"):
        tables["arms"] = experiment.members(composed)
        analyse(tables, composed, results.parent / "unused")


@pytest.mark.slow
def test_a_diverged_network_is_part_of_no_drawn_curve(analysed, tmp_path, monkeypatch):
    drawn, draw = [], panels.accuracy_curves
    monkeypatch.setattr(
        panels,
        "accuracy_curves",
        lambda axes, curves, part, classes: (drawn.extend(curves["trial"]), draw(axes, curves, part, classes=classes)),
    )
    diverged = []

    def change(tables):
        one_diverged(tables)
        diverged.extend(tables.trials[tables.trials["status"] == "diverged"]["trial"])
        assert set(diverged) <= set(tables.curves["trial"])

    analysed(change, tmp_path)
    assert diverged
    assert drawn
    assert not set(diverged) & set(drawn)
