"""Experiments with arms: unlike recipes side by side, each with keys, seeds and probes of its own."""

from dataclasses import replace

import pytest

import memo
from memo.commands import arms as described
from memo.commands import experiment
from memo.config import Config, Dataset, Experiment, Model, make_recipe, make_trials, run_name
from memo.data import datasets
from memo.errors import Refusal
from memo.storage import sweep
from memo.training import execution
from tests import builders

ARMS = {
    "plain": {},
    "dropout": {"regularization": {"dropout": 0.5}, "seeds": 3},
    "shuffled": {"labels": {"kind": "shuffled"}, "optimizer": {"learning_rate": 0.05}, "probes": ["confidence@3"]},
    "again": {"seed": 1, "probes": ["noise_samples"]},
}


def with_arms(arms, **keys):
    """Return a tiny config of an experiment with these arms."""
    config = Config(dataset=Dataset(n_train=128, n_test=200), model=Model(widths=[4]), batch_size=32, epochs=2, seeds=2)
    return replace(config, evaluations=4, experiment=Experiment("arms", arms=arms), **keys)


def recipes(config):
    """Return the one config of each arm without a sweep."""
    return {name: one for name, (one,) in described.arms(config).items()}


def test_an_arm_may_stand_on_another_and_sweep():
    config = with_arms(
        {
            "wide": {"base": "small", "model": {"widths": [64]}},
            "small": {
                "model": {"widths": [8]},
                "epochs": 7,
                "sweep": {"batch_size": [16, 32], "labels": {"fraction": [0.5, 1]}},
            },
        }
    )
    arms = described.arms(config)
    assert [(one.epochs, one.model.widths) for one in arms["wide"]] == [(7, [64])]  # all but the sweep
    swept = [(one.batch_size, one.labels.fraction) for one in arms["small"]]
    assert swept == [(16, 0.5), (16, 1), (32, 0.5), (32, 1)]
    assert len(experiment.members(config)) == 2 * 5


@pytest.mark.parametrize("below", ["nobody", "a", "b"], ids=["unknown", "itself", "in a circle"])
def test_an_arm_stands_on_another_arm(below):
    config = with_arms({"a": {"base": below}, "b": {"base": "a"}, "c": {}})
    with pytest.raises(Refusal, match=r"experiment\.arms\.\w\.base is \w+; allowed is another arm: "):
        described.arms(config)


def test_an_arm_is_the_config_with_its_own_keys():
    config = with_arms(ARMS)
    arms = recipes(config)
    assert list(arms) == list(ARMS)
    assert arms["plain"] == config
    assert arms["dropout"] == replace(config, regularization=replace(config.regularization, dropout=0.5), seeds=3)
    assert (arms["shuffled"].labels.kind, arms["shuffled"].optimizer.learning_rate) == ("shuffled", 0.05)
    assert arms["shuffled"].optimizer.momentum == config.optimizer.momentum
    assert (arms["shuffled"].probes, arms["again"].seed) == (["confidence@3"], 1)
    assert recipes(Config()) == {}
    assert config == with_arms(ARMS)  # which stays as it was


def test_members_name_the_arms_of_each_trial():
    config = with_arms(ARMS)
    rows = experiment.members(config)
    assert list(rows) == ["arm", "trial"]
    for name, arm in recipes(config).items():
        assert rows[rows["arm"] == name]["trial"].tolist() == [trial.id for trial in make_trials(arm)]
    shared = set(rows[rows["arm"] == "plain"]["trial"]) & set(rows[rows["arm"] == "again"]["trial"])
    assert shared == {make_trials(config)[1].id}
    assert experiment.members(Config()).shape == (0, 2)


def test_arms_with_one_recipe_share_its_trials_and_all_their_probes(tmp_path):
    config = with_arms(ARMS)
    runs = {tuple(request.probes): request.runs for request in experiment.requests(config, tmp_path)}
    arms = recipes(config)
    folder = {name: tmp_path / "runs" / run_name(make_recipe(arm)) for name, arm in arms.items()}
    assert folder["plain"] == folder["again"]
    assert {probes: set(own) for probes, own in runs.items()} == {
        ("confidence", "noise_samples"): {folder["plain"]},
        ("confidence",): {folder["dropout"]},
        ("confidence@3",): {folder["shuffled"]},
    }
    found = runs["confidence", "noise_samples"][folder["plain"]]
    assert [trial.seed for trial in found] == [0, 1, 2]
    assert [trial.seed for trial in runs["confidence",][folder["dropout"]]] == [0, 1, 2]


@pytest.mark.slow
def test_arms_are_trained_once_and_measured_by_their_probes(tmp_path, small_mnist, monkeypatch):
    monkeypatch.setattr(datasets, "load", lambda name, folder=None: small_mnist)
    config = with_arms(ARMS)
    requests = experiment.requests(config, tmp_path)
    assert [sweep.complete(*request) for request in requests] == [3, 3, 2]
    tables = memo.load(tmp_path)
    arms = experiment.members(config).merge(tables.trials, on="trial")
    assert arms.groupby("arm")["seed"].agg(list).to_dict() == {
        "plain": [0, 1],
        "dropout": [0, 1, 2],
        "shuffled": [0, 1],
        "again": [1, 2],
    }
    of = {arm: set(rows["trial"]) for arm, rows in arms.groupby("arm")}
    assert set(tables.confidence["trial"]) == of["plain"] | of["again"] | of["dropout"]
    assert set(tables.noise_samples["trial"]) == of["plain"] | of["again"]
    assert set(tables.confidence_along["trial"]) == of["shuffled"]
    monkeypatch.setattr(execution, "train_slabs", None)
    assert [sweep.complete(*request) for request in requests] == [0, 0, 0]


def test_arms_beside_a_sweep():
    """The sweep is the first arm; a key that an arm sets may be set for the command, whose sweep it changes."""
    config = with_arms({"more": {"epochs": 5}})
    config = replace(config, experiment=replace(config.experiment, sweep={"batch_size": [16, 32]}))
    experiment.check(config, {"epochs"})
    built = described.compared(config)
    assert {name: [(one.epochs, one.batch_size) for one in each] for name, each in built.items()} == {
        "sweep": [(2, 16), (2, 32)], "more": [(5, config.batch_size)]
    }  # fmt: skip
    assert set(experiment.members(config)["arm"]) == {"sweep", "more"}


@pytest.mark.parametrize(
    ("arms", "sentence"),
    [
        ({"a": None}, "experiment.arms.a is None; allowed are keys of a recipe, seed, seeds, probes, base and sweep."),
        ({"a": ["epochs"]}, r"experiment.arms.a is \['epochs'\]; allowed are keys"),
        ({"a": {"epoch": 3}}, "experiment.arms.a: epoch is not a key; the top level has .* Did you mean epochs?"),
        ({"a": {"optimizer": {"lr": 3}}}, "experiment.arms.a: optimizer.lr is not a key; optimizer has name, learning"),
        ({"a": {"optimizer.momentum": 0.5}}, "experiment.arms.a: optimizer.momentum is not a key"),
        ({"a": {"epochs": "many"}}, "experiment.arms.a: epochs: .*'many'.*; allowed is a whole number from 1"),
        ({"a": {"optimizer": 3}}, "experiment.arms.a: "),
        ({"a": {"plan": True}}, "experiment.arms.a.plan: arms differ in keys of a recipe, seed, seeds and probes"),
        ({"a": {"execution": {"packs": 2}}}, "experiment.arms.a.execution.packs: arms differ in"),
        ({"a": {"dataset": {"folder": "x"}}}, "experiment.arms.a.dataset.folder: arms differ in"),
        ({"a": {"epochs": 0}}, "epochs is 0; allowed is"),
        ({"a": {"probes": ["astrology"]}}, r"probes is \['astrology'\]; allowed is"),
        (
            {"a": {"probes": ["confidence@3"]}, "b": {"probes": ["confidence@4"]}},
            r"probes of arms with the same recipe are \['confidence@3', 'confidence@4'\]",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_an_arm_is_refused(tmp_path, arms, sentence):
    config = with_arms(arms)
    with pytest.raises(Refusal, match=sentence) as caught:
        experiment.check(config, set())
        experiment.requests(config, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overridden", "key"),
    [
        ("regularization.dropout", "dropout.regularization.dropout"),
        ("labels.kind", "shuffled.labels.kind"),
        ("labels", "shuffled.labels.kind"),  # a choice of its group sets it too
        ("optimizer", "shuffled.optimizer.learning_rate"),
        ("seeds", "dropout.seeds"),
        ("probes", "shuffled.probes"),
    ],
)
def test_an_override_of_what_an_arm_sets_is_refused(overridden, key):
    arm, _, own = key.partition(".")
    sentence = f"{own} is set by arms of this experiment; set experiment.arms.{arm}.{own}=... instead."
    with pytest.raises(Refusal) as caught:
        experiment.check(with_arms(ARMS), {overridden, "epochs"})
    assert str(caught.value) == sentence


def test_overrides_of_other_keys_reach_all_arms():
    config = with_arms(ARMS | {"shares": {"dataset": {"share": 0.5}}})
    experiment.check(config, {"dataset"})  # its choices set the data set's name, and no share
    experiment.check(config, {"epochs", "model.widths", "optimizer.momentum", "experiment.arms.dropout.seeds"})
    longer = recipes(replace(config, epochs=7))
    assert {arm.epochs for arm in longer.values()} == {7}


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        ({"arms": {"sweep": {}}, "reads": None}, "experiment.arms.sweep: this is the name of the sweep's own arm"),
        ({"reads": ["plain"]}, "experiment.arms are again, dropout, plain, shuffled; this experiment reads plain"),
        ({"reads": [*ARMS, "more"]}, "this experiment reads plain, dropout, shuffled, again, more"),
        ({"fixed": {"epochs": 3}}, "epochs is 2; this experiment is about 3"),
        ({"fixed": {"epoch": 2}}, "experiment.fixed.epoch is not a key; .* Did you mean experiment.fixed.epochs?"),
        ({"name": ""}, "experiment.name is missing"),
    ],
    ids=str,
)
def test_arms_that_could_not_be_analysed_are_refused(needs, sentence):
    config = with_arms(ARMS)
    experiment.check(replace(config, experiment=replace(config.experiment, reads=list(ARMS))), set())
    with pytest.raises(Refusal, match=sentence):
        experiment.check(replace(config, experiment=replace(config.experiment, **needs)), set())


def test_the_plan_is_one_table_for_all_arms(tmp_path, capsys):
    sweep.show_plan(experiment.requests(with_arms(ARMS), tmp_path))
    first, header, *rows = capsys.readouterr().out.splitlines()
    assert first == "8 networks: 0 stored, 8 to train as 3 programs."
    assert "network" in header and "parameters" in header
    assert [row.split()[:2] for row in rows] == [["784-4-10", "3"], ["784-4-10", "3"], ["784-4-10", "2"]]


def command(folder, *arguments):
    return builders.python("-m", "experiments.train", f"hydra.run.dir={folder}/run", *arguments, folder=folder)


TINY = ("dataset.n_train=128", "dataset.n_test=200", "model.widths=[4]", "batch_size=32", "evaluations=4")
TWO = (
    "experiment.name=two",
    "+experiment.arms.a={seeds: 2, epochs: 2}",
    "+experiment.arms.b={epochs: 3, probes: [confidence@2]}",
)


@pytest.mark.slow
def test_arms_on_the_command_line(tmp_path):
    planned = command(tmp_path, *TINY, *TWO, "plan=true")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert planned.stdout.count("networks: ") == planned.stdout.count("parameters") == 1
    assert "3 networks: 0 stored, 3 to train as 2 programs." in planned.stdout
    refused = command(tmp_path, *TINY, *TWO, "epochs=4")
    sentence = "Refused: epochs is set by arms of this experiment; set experiment.arms.a.epochs=... instead.\n"
    assert (refused.returncode, refused.stderr) == (1, sentence)
    assert not list(tmp_path.rglob("*.parquet"))
    trained = command(tmp_path, *TINY, *TWO)
    assert (trained.returncode, trained.stderr) == (0, "")
    assert "2 completed" in trained.stdout and "1 completed" in trained.stdout
    tables = memo.load(tmp_path / "run" / "runs")
    assert sorted(tables.trials["epochs"]) == [2, 2, 3]
    assert (tables.confidence["trial"].nunique(), tables.confidence_along["trial"].nunique()) == (2, 1)
