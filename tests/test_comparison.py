"""Any sweep compared: on made-up tables whose differences, ratios, times and intervals are known."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import memo
from experiments import compare as command
from memo.comparison import page
from memo.comparison.comparing import Comparison
from memo.config import Trial, flatten
from memo.statistics.intervals import geometric_mean, mean_interval, paired_difference, paired_ratio
from memo.storage.run_folders import Tables
from tests import builders, pages

STEPS = np.arange(501)
PER_EPOCH = 10
# Of each network by its seed, beside what its recipe gives it.
NOISE = np.array([0.0, 0.01, -0.02, 0.015])


def rise(labels, rate, seed):
    """Return at which step a network has learned all: the accuracy rises from 0.1 to 1 along a straight line."""
    return 100 * {"true": 1.0, "shuffled": 2.0}[labels] * (1 + NOISE[seed]) * {0.3: 2.0}.get(rate, 1.0)


def network(settings, seed, status="memorised"):
    """Return the rows of one made-up network: of the trials, the curves, the confidence."""
    trial = Trial(memo.make_recipe(settings), seed)
    flat = flatten(trial.recipe)
    labels, lost = flat["labels.kind"], status == "diverged"
    end = np.inf if status == "completed" else rise(labels, flat["optimizer.learning_rate"], seed)
    accuracy = np.clip(0.1 + 0.9 * STEPS / end, 0, 1)
    test = 0.9 + NOISE[seed] if labels == "true" else 0.1 - NOISE[seed]
    last = {"train_loss": 0.01, "train_accuracy": accuracy[-1], "test_loss": 2.0 if labels == "true" else 4.0}
    finals = {f"final_{name}": np.nan if lost else value for name, value in (last | {"test_accuracy": test}).items()}
    row = {"trial": trial.id, "seed": seed, **flat, "model.widths": tuple(flat["model.widths"])}
    row |= {"status": status, "steps": 500, "probes": ("confidence",), **finals}
    curve = pd.DataFrame({"trial": trial.id, "seed": seed, "step": STEPS, "epoch": STEPS / PER_EPOCH})
    curve = curve.assign(train_loss=2.3 * (1.01 - accuracy), train_accuracy=accuracy, test_loss=2.0, test_accuracy=test)
    sure = {"test": 0.9, "uniform": 0.5 if labels == "true" else 0.8}
    quantiles = dict.fromkeys(("q05", "q25", "q50", "q75", "q95"), 0.5)
    confidence = [
        {"trial": trial.id, "seed": seed, "inputs": kind, "mean_confidence": np.nan if lost else value} | quantiles
        for kind, value in sure.items()
    ]
    return row, curve[: 1 if lost else None], pd.DataFrame(confidence)


def tables(networks):
    rows, curves, confidence = zip(*networks)
    trials = pd.DataFrame(rows)
    counts = ("dataset.n_train", "dataset.n_test", "model.receptive_field")
    return Tables(
        trials=trials.astype(dict.fromkeys(counts, "Int64")),
        curves=pd.concat(curves, ignore_index=True),
        confidence=pd.concat(confidence, ignore_index=True),
    )


def sweep(seeds=range(4), **settings):
    """Return the tables of a product of lists, keys with __ for a dot; labels.kind is true and shuffled."""
    recipes = [{"labels.kind": kind} for kind in ("shuffled", "true")]
    for name, values in settings.items():
        recipes = [recipe | {name.replace("__", "."): value} for recipe in recipes for value in values]
    return tables([network(recipe, seed) for recipe in recipes for seed in seeds])


def rows(found, measure, scale=None, **levels):
    """Return the rows of means or differences of one measure with these levels."""
    frame = found[found["measure"] == measure]
    frame = frame if scale is None else frame[frame["scale"] == scale]
    for name, level in levels.items():
        frame = frame[frame[name.replace("__", ".")] == level]
    return frame


@pytest.fixture(scope="module")
def swept():
    return memo.compare(sweep(optimizer__learning_rate=[0.1, 0.3], model__widths=[[8], [64], [64, 64]]))


def test_what_varies_is_found_and_has_a_part(swept):
    layout = swept.layout
    assert [key.name for key in (layout.hue, layout.x, layout.columns)] == [
        "labels.kind",
        "optimizer.learning_rate",
        "model.widths",
    ]
    assert layout.rows is None
    assert layout.pair is layout.hue
    assert layout.tied == {"labels.fraction": "labels.kind"}
    assert layout.hue.levels == ("true", "shuffled")  # the default of a recipe is what others are compared with
    assert layout.columns.levels == ("8", "64", "64x64")
    assert (layout.x.places, layout.columns.numeric) == ((0.1, 0.3), False)


def test_differences_and_ratios_are_those_of_pairs(swept):
    own = rows(swept.tables.differences, "final_test_accuracy", optimizer__learning_rate="0.1")
    assert len(own) == 3  # widths
    known = paired_difference(0.1 - NOISE, 0.9 + NOISE)
    np.testing.assert_allclose(own[["value", "low", "high"]], [known[:3]] * 3)
    assert own["n"].eq(4).all()
    assert own["paired"].all()

    for rate in ("0.1", "0.3"):
        times = rows(swept.tables.differences, "t99", "ratio", optimizer__learning_rate=rate)
        np.testing.assert_allclose(times["value"], 2, rtol=1e-6)
    loss = rows(swept.tables.differences, "final_test_loss")
    assert loss[loss["scale"] == "ratio"]["value"].tolist() == [2.0] * 6
    assert loss[loss["scale"] == "difference"]["value"].tolist() == [2.0] * 6


def test_means_and_their_intervals_are_those_of_the_seeds(swept):
    levels = {"labels.kind": "true", "optimizer.learning_rate": "0.1", "model.widths": "64x64"}
    own = {name: rows(swept.tables.means, name, **levels).iloc[0] for name in ("final_test_accuracy", "t99")}
    expected = mean_interval(0.9 + NOISE, bounds=(0, 1))
    assert own["final_test_accuracy"][["value", "low", "high"]].tolist() == pytest.approx(expected[:3])
    steps = geometric_mean(100 * (1 + NOISE) * (0.99 - 0.1) / 0.9)
    assert own["t99"][["value", "low", "high"]].tolist() == pytest.approx(steps[:3])


def test_times_in_epochs_are_those_in_steps_over_the_steps_of_an_epoch():
    found = sweep()
    steps, epochs = (memo.compare(found, time=time).tables.networks for time in ("step", "epoch"))
    for name in ("t50", "t90", "t99"):
        np.testing.assert_allclose(steps[name], PER_EPOCH * epochs[name])


def test_one_numeric_key_is_along_the_axis_and_its_levels_are_compared_with_the_smallest():
    networks = [network({"optimizer.learning_rate": rate}, seed) for rate in (0.3, 0.01, 0.1) for seed in range(4)]
    found = memo.compare(tables(networks))
    assert found.layout.x is found.layout.hue is found.layout.pair
    own = rows(found.tables.differences, "t50", "ratio").set_index("optimizer.learning_rate")
    assert set(own["against"]) == {"0.01"}
    assert own["value"].to_dict() == pytest.approx({"0.1": 1.0, "0.3": 2.0})


def test_pairs_with_an_interval_are_paired_by_seed_and_others_by_welch():
    true = [network({"labels.kind": "true"}, seed) for seed in (0, 1, 2)]
    both = [network({"labels.kind": "shuffled"}, seed) for seed in (1, 2, 3)]
    own = rows(memo.compare(tables(true + both)).tables.differences, "t99", "ratio").iloc[0]
    assert (own["n"], own["paired"]) == (2, True)

    apart = memo.compare(tables(true[:2] + both[1:])).tables
    times = apart.networks.set_index("labels.kind")["t99"]
    own = rows(apart.differences, "t99", "difference").iloc[0]
    one, other = times["shuffled"].to_numpy(), times["true"].to_numpy()
    assert (own["n"], own["paired"]) == (2, False)
    assert own["value"] == pytest.approx(one.mean() - other.mean())


def test_a_curve_that_never_gets_there_makes_the_ratio_of_times_a_lower_bound():
    true = [network({"labels.kind": "true"}, seed) for seed in range(4)]
    late = [network({"labels.kind": "shuffled"}, seed, "completed" if seed else "memorised") for seed in range(4)]
    found = memo.compare(tables(true + late))
    own = rows(found.tables.differences, "t99", "ratio").iloc[0]
    times = found.tables.networks.query("`labels.kind` == 'true'")["t99"]
    trained = [found.tables.networks.query("`labels.kind` == 'shuffled'")["t99"].iloc[0], 500, 500, 500]
    assert own["low"] == pytest.approx(paired_ratio(trained, times).low)
    assert own["high"] == np.inf
    assert "3 of 4 such curves never reach the level" in own["note"]
    assert rows(found.tables.means, "t99", labels__kind="shuffled")["n"].tolist() == [1]


def test_of_networks_that_share_no_seed_the_ratio_of_times_is_a_lower_bound_too():
    true = [network({"labels.kind": "true"}, seed) for seed in (0, 1)]
    late = [network({"labels.kind": "shuffled"}, seed, "completed" if seed == 3 else "memorised") for seed in (2, 3)]
    found = memo.compare(tables(true + late)).tables
    times = found.networks.set_index("labels.kind")["t99"]
    own = rows(found.differences, "t99", "ratio").iloc[0]
    expected = np.sqrt(times["shuffled"].iloc[0] * 500) / np.sqrt(times["true"].prod())
    assert (own["value"], own["high"], own["paired"]) == (pytest.approx(expected), np.inf, False)
    assert own["note"] == "a lower bound: 1 of 2 such curves never reach the level"
    # Nothing is known of how much longer than never it took.
    levels = {"true": range(2), "shuffled": range(2, 4)}
    apart = [
        network({"labels.kind": kind}, seed, "memorised" if kind == "shuffled" else "completed")
        for kind, seeds in levels.items()
        for seed in seeds
    ]
    own = rows(memo.compare(tables(apart)).tables.differences, "t99", "ratio").iloc[0]
    assert (own["n"], own["note"]) == (0, "not every other network reaches the level")


def test_a_missing_value_is_explained_by_what_it_is_a_value_of():
    networks = [network({"labels.kind": kind}, seed, "completed") for kind in ("true", "shuffled") for seed in (0, 1)]
    found = tables(networks)
    found["confidence"].loc[0, "mean_confidence"] = np.nan
    means = memo.compare(found).tables.means
    notes = means[means["labels.kind"] == "true"].set_index("measure")["note"]
    assert (
        notes["confidence_test"] == "1 of 2 seeds have no value: no confidence (not measured, or none under its loss)"
    )
    assert notes["t99"] == notes["loss_area"] == "2 of 2 seeds have no value: a curve that never reaches the level"
    assert notes["final_test_accuracy"] == ""


def test_diverged_networks_are_counted_and_not_averaged():
    networks = [network({"labels.kind": kind}, seed) for kind in ("true", "shuffled") for seed in (0, 1, 2)]
    networks += [network({"labels.kind": kind}, 3, "diverged") for kind in ("true", "shuffled")]
    found = memo.compare(tables(networks))
    own = rows(found.tables.means, "final_test_accuracy", labels__kind="true").iloc[0]
    assert own["value"] == pytest.approx(0.9 + NOISE[:3].mean())
    assert (own["n"], own["note"]) == (3, "1 of 4 seeds have no value: 1 with a diverged network")
    assert rows(found.tables.differences, "final_test_accuracy")["n"].tolist() == [3]
    assert any("2 diverged" in finding for finding in found.findings)


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ({"hue": "labels.knd"}, ["labels.knd", "Did you mean labels.kind?"]),
        ({"x": "learning_rate"}, ["is not a key", "Did you mean optimizer.learning_rate?"]),
        ({"rows": "loss"}, ["does not vary", "labels.kind"]),
        ({"rows": "labels.kind", "columns": "labels.kind"}, ["labels.kind is asked to play two parts"]),
        ({"time": "hour"}, ["time is hour", "step or epoch"]),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(asked, parts):
    with pytest.raises(memo.Refusal) as refused:
        memo.compare(sweep(optimizer__learning_rate=[0.1, 0.3], seeds=[0]), **asked)
    assert [part for part in parts if part not in str(refused.value)] == []


def test_too_many_keys_are_refused_with_a_hint_that_helps():
    many = {
        "optimizer__learning_rate": [0.1, 0.3],
        "epochs": [10, 20],
        "batch_size": [64, 128],
        "model__init": ["he", "normal"],
    }
    found = sweep(seeds=[0], **many)
    with pytest.raises(memo.Refusal, match=r"5 keys vary.* by (\S+=\S+)") as refused:
        memo.compare(found)
    _, _, kept = command.read(["folder", re.search(r"as by (\S+)\.$", str(refused.value))[1]])
    keep = command.select(kept)(found.trials)
    assert 0 < keep.sum() < len(keep)
    memo.compare(Tables({"trials": found.trials[keep], "curves": found.curves}))


def test_levels_have_the_digits_that_tell_them_apart_and_are_kept_by_those():
    rates = [0.1234561, 0.1234572, 1 / 3]
    found = tables([network({"optimizer.learning_rate": rate, "dataset.n_train": None}, 0) for rate in rates])
    assert memo.compare(found).layout.x.levels == ("0.123456", "0.123457", "0.333333")
    for word, kept in (
        ("optimizer.learning_rate=0.333333", [False, False, True]),
        ("optimizer.learning_rate=0.1234561,0.3333", [True, False, True]),
        ("dataset.n_train=60000", [True] * 3),  # stored as null
    ):
        assert command.select(command.read(["folder", word])[2])(found.trials).tolist() == kept


@pytest.mark.parametrize("kind", [bool, "boolean", object])
def test_truth_values_are_words_and_no_numbers(kind):
    networks = [
        network({"labels.kind": "shuffled", "labels.stratified": value}, seed)
        for value in (True, False)
        for seed in (0, 1)
    ]
    found = tables(networks)
    found["trials"] = found.trials.astype({"labels.stratified": kind})
    key = memo.compare(found).layout.keys["labels.stratified"]
    assert (key.levels, key.numeric) == (("false", "true"), False)
    for word in ("labels.stratified=true", "labels.stratified='true'"):
        assert command.select(command.read(["folder", word])[2])(found.trials).tolist() == [True, True, False, False]
    assert command.select(command.read(["folder", "labels.stratified=true,false"])[2])(found.trials).all()


def test_in_a_random_search_keys_that_go_together_have_one_part():
    generator = np.random.default_rng(0)
    names = ("optimizer.learning_rate", "optimizer.weight_decay")
    found = memo.compare(
        tables([network(dict(zip(names, map(float, generator.random(2) + 0.1))), 0) for _ in range(20)])
    )
    assert found.layout.tied == {"optimizer.weight_decay": "optimizer.learning_rate"}
    both = memo.compare(Tables(found.tables | {"trials": found.trials, "curves": found.shown.curves}), x=names[1])
    assert both.layout.x.name == names[1]


def test_keys_play_the_parts_that_are_asked_for():
    found = memo.compare(
        sweep(optimizer__learning_rate=[0.1, 0.3], model__widths=[[8], [64]]),
        x="model.widths",
        hue="optimizer.learning_rate",
        rows="labels.kind",
        pair="model.widths",
    )
    layout = found.layout
    parts = (layout.x, layout.hue, layout.rows, layout.columns, layout.pair)
    assert [part and part.name for part in parts] == [
        "model.widths",
        "optimizer.learning_rate",
        "labels.kind",
        None,
        "model.widths",
    ]
    assert set(found.tables.differences["model.widths"]) == {"64"}


def test_a_single_recipe_and_one_seed_have_figures_and_no_differences():
    found = memo.compare(tables([network({}, 0)]))
    assert found.layout.keys == {}
    assert found.tables.differences.empty
    assert {"accuracy", "loss", "finals", "confidence"} <= found.figures.keys()
    assert "nothing varies but the seed" in found.findings[0]


def test_networks_that_were_finished_before_their_first_step_are_compared_in_their_ends():
    both = sweep(seeds=range(2))
    shuffled = both.trials["trial"][both.trials["labels.kind"] == "shuffled"]
    curves = both["curves"]
    both["curves"] = curves[~curves["trial"].isin(shuffled) | (curves["step"] == 0)]
    both["trials"].loc[both.trials["trial"].isin(shuffled), "steps"] = 0
    found = memo.compare(both)
    assert {"accuracy", "loss", "common_time", "finals", "times"} <= found.figures.keys()
    assert rows(found.tables.means, "loss_linearity").set_index("labels.kind")["n"].to_dict() == {
        "true": 2,
        "shuffled": 0,
    }
    # Never: of no step, no factor by which its time is at least the longer one.
    assert rows(found.tables.differences, "t99", "ratio")["value"].isna().all()
    assert found.facts["never"] == {"true": (0, 2), "shuffled": (2, 2)}


def test_a_sweep_in_which_every_network_diverged_is_said_to_be_that():
    networks = [network({"labels.kind": kind}, 0, "diverged") for kind in ("true", "shuffled")]
    found = memo.compare(tables(networks))
    assert found.figures == {}
    assert any("2 diverged" in finding for finding in found.findings)


@pytest.mark.slow
def test_networks_without_a_confidence_are_compared_in_the_rest():
    networks = [network({"loss": loss}, seed) for loss in ("cross_entropy", "linear_squared_error") for seed in (0, 1)]
    found = tables(networks)
    lost = found.trials[found.trials["loss"] == "linear_squared_error"]["trial"]
    found["confidence"].loc[found.confidence["trial"].isin(lost), "mean_confidence"] = np.nan
    compared = memo.compare(found)
    known = rows(compared.tables.means, "confidence_test")
    assert known.set_index("loss")["value"].notna().to_dict() == {"cross_entropy": True, "linear_squared_error": False}
    assert "confidence" in compared.figures
    found["confidence"]["mean_confidence"] = np.nan
    compared = memo.compare(found)
    assert "confidence_test" not in compared.measures and "confidence" not in compared.figures
    assert {"accuracy", "finals"} <= compared.figures.keys()


@pytest.mark.slow
def test_the_page_shows_its_findings_and_no_missing_number(tmp_path):
    swept = memo.compare(sweep(model__widths=[[8], [64]]))
    sessions = [{"finished": "2026-01-01T00:00", "train_seconds": 1.0, "networks": 16, "git": None}]
    page.write(swept, tmp_path, tmp_path, sessions, "python -m experiments.compare x")
    shown = pages.visible((tmp_path / "report.html").read_text())
    assert "16 networks of 4 recipes" in shown
    assert "lower in all 2 comparisons, −0.802 (n = 4 pairs each)" in re.sub(r"\s+", " ", shown)
    # A finding for each measure, and no markup as text.
    told = [finding for finding in swept.findings if "labels against true:" in finding]
    assert len(told) == len({finding.partition("</b>")[0] for finding in told}) > 2
    assert all(finding.count("against true:") == 1 for finding in told)
    assert "li>" not in shown
    assert not re.search(pages.NO_NUMBER, shown)
    assert json.loads((tmp_path / "comparison.json").read_text())["figures"]
    written = pd.read_csv(tmp_path / "tables" / "differences.csv")
    assert len(written) == len(swept.tables.differences)
    # Again, of fewer keys: figures that it lacks do not stay.
    page.write(memo.compare(tables([network({}, 0)])), tmp_path, tmp_path, sessions, "")
    assert not (tmp_path / "figures" / "pairs.svg").exists()


def test_names_in_foreign_tables_are_text_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(Comparison, "figures", {})
    found = sweep(seeds=[0])
    found["trials"]["labels.kind"] = found.trials["labels.kind"].replace("shuffled", "<script>alert(1)</script>")
    page.write(memo.compare(found), tmp_path, tmp_path, [], "<script>alert(2)</script>")
    assert "<script>alert" not in (tmp_path / "report.html").read_text()


def test_mixed_and_partial_folders_are_said_to_be_that(tmp_path, monkeypatch):
    monkeypatch.setattr(Comparison, "figures", {})
    names = ("mnist", "fashion_mnist")
    networks = [network({"dataset.name": name, "labels.kind": "true"}, seed) for name in names for seed in (0, 1)]
    networks.append(network({"dataset.name": "mnist", "labels.kind": "shuffled"}, 0))
    sessions = [
        {
            "finished": f"2026-01-0{day}",
            "train_seconds": day,
            "git": {"commit": commit, "changed": False},
            "data": {"mnist": {"images": commit}},
        }
        for day, commit in ((1, "abc"), (2, "def"))
    ]
    for run in ("begun", "ended"):
        (tmp_path / run / ".hydra").mkdir(parents=True)
    (tmp_path / "ended" / "done.json").touch()
    page.write(memo.compare(tables(networks)), tmp_path, tmp_path, sessions, "")
    shown = re.sub(r"\s+", " ", pages.visible((tmp_path / "report.html").read_text()))
    for said in (
        "They use 2 data sets: fashion_mnist, mnist.",
        "1 of 4 combinations was not trained.",
        "1 to 2 seeds each",
        "Trained by 2 versions",
        "The files of mnist were not the same",
        "1 run folder not finished",
    ):
        assert said in shown, said


def test_a_report_of_something_else_is_not_overwritten(swept, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(memo.Refusal, match="choose another folder"):
        page.write(swept, tmp_path, tmp_path, [], "")
    assert (tmp_path / "report.html").read_text() == "mine"
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["folder", "labels.knd=true"], ["labels.knd=true", "Did you mean labels.kind?"]),
        (["one", "two"], ["2 folders"]),
        (["x=labels.kind"], ["0 folders"]),
        (["folder", "model.widths=["], ["model.widths=[", "cannot be read"]),
    ],
)
def test_words_that_are_not_understood_are_refused(words, parts):
    with pytest.raises(memo.Refusal) as refused:
        command.read(words)
    assert [part for part in parts if part not in str(refused.value)] == []


def test_values_of_a_key_are_read_as_hydra_reads_them():
    _, options, kept = command.read(
        ["folder", "labels.kind=true", "model.widths=[64],[8,8]", "x=epochs", "epochs=5,10"]
    )
    assert options == {"x": "epochs"}
    assert kept == {"labels.kind": {"true"}, "model.widths": {"64", "8x8"}, "epochs": {"5", "10"}}


@pytest.mark.slow
def test_a_sweep_with_report_true_ends_in_a_page_and_the_command_writes_the_same(tmp_path):
    swept = ["--multirun", "hydra/launcher=population", "labels.kind=true,shuffled", "model.widths=[4],[8]", "seeds=2"]
    small = ["dataset.n_train=128", "dataset.n_test=200", "epochs=2", "evaluations=6", "batch_size=32"]
    words = ["-m", "experiments.train", *swept, *small, "hydra.sweep.dir=sweep", "report=true"]
    builders.python(*words, folder=tmp_path, check=True)
    first = (tmp_path / "sweep" / "report.html").read_text()
    assert "8 networks of 4 recipes" in pages.visible(first)
    again = builders.python(*words, folder=tmp_path, check=True)
    assert "nothing to train" in again.stdout
    assert (tmp_path / "sweep" / "report.html").read_text() == first
    done = builders.python("-m", "experiments.compare", "sweep", "out=page", folder=tmp_path, check=True)
    assert "8 networks, labels.kind, model.widths" in done.stdout
    for name in ("networks", "means", "differences"):
        one, other = (tmp_path / folder / "tables" / f"{name}.csv" for folder in ("sweep", "page"))
        assert one.read_bytes() == other.read_bytes()
    single = ["labels.kind=true", "hydra.run.dir=sweep/" + next((tmp_path / "sweep").glob("mnist-4-true-*")).name]
    builders.python(
        "-m",
        "experiments.train",
        *single,
        "model.widths=[4]",
        "seeds=2",
        *small,
        "report=true",
        folder=tmp_path,
        check=True,
    )
    refused = builders.python("-m", "experiments.headline", "report=true", folder=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "report is true" in refused.stderr
    refused = builders.python("-m", "experiments.compare", "sweep", "hue=loss", "out=none", folder=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("Refused: hue is loss")
    assert not (tmp_path / "none").exists()
