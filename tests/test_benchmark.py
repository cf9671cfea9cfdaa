"""The benchmark: what it counts, in which order it measures, how it goes on, and that its peers train the same network."""

import fnmatch
import importlib.util
import re
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import yaml

from experiments.benchmark import commands, contestants, measuring, ours, peers_jax, settings, tables
from experiments.benchmark.commands import Command
from experiments.benchmark.contestants import LOOP, NO_TORCH, OURS, PROCESSES, TRAINING, VMAP, family
from experiments.benchmark.interleaving import Contestant, LeftOut, Reading, explain, fastest, interleave
from experiments.benchmark.journal import EARLIER, FILE, Journal, code
from experiments.benchmark.settings import (
    BATCH,
    COMPARISON,
    GROWTH,
    LEARNING_RATES,
    PUBLISHED,
    Work,
    examples,
)
from memo.config import CONF
from memo.data.randomness import purpose_key
from memo.errors import Refusal
from memo.networks import mlp
from memo.reporting import results
from memo.reporting.report import number
from tests import builders

ROOT = Path(__file__).resolve().parent.parent


def sizes_of(scale):
    files = [CONF / "experiment/benchmark.yaml", CONF / "experiment/scale" / f"benchmark_{scale}.yaml"]
    values = [yaml.safe_load(path.read_text())["experiment"]["settings"] for path in files if path.exists()]
    return settings.read({name: value for own in values for name, value in own.items()})


QUICK = replace(sizes_of("quick"), commands=[])  # a command has a test of its own
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is the extra [bench]")


def test_operations_of_the_smallest_network():
    work = Work(COMPARISON, (16, 16), networks=32, images=1300, epochs=3)
    assert work.sizes == (784, 16, 16, 10)
    assert work.weights == 784 * 16 + 16 * 16 + 16 * 10 == 12_960
    assert work.flop_per_example == 6 * 12_960 - 2 * 784 * 16 == 52_672
    assert work.examples == 3 * 10 * 128


def test_operations_of_the_published_workload():
    (work,) = [work for work in settings.listed(replace(QUICK, published_networks=2000)) if work.part == PUBLISHED]
    assert work.sizes == (784, 512, 256, 10)
    total = work.networks * work.examples * work.flop_per_example
    assert total == pytest.approx(2.0e15, rel=0.05)  # 2.7e15 where the first layer's inputs take a gradient too
    assert work.networks * work.examples / BATCH == pytest.approx(6.6e6, rel=0.01)


@pytest.mark.parametrize(("width", "networks", "gflop"), [(16, 32, 400), (2048, 2, 400), (16, 1, 1e5)])
def test_work_has_about_as_many_operations_as_asked(width, networks, gflop):
    asked = replace(QUICK, widths=[[width, networks]], gflop=gflop)
    work = settings.listed(asked)[0]
    assert work.networks * work.examples * work.flop_per_example == pytest.approx(gflop * 1e9, rel=0.25)
    assert work.epochs >= settings.EPOCHS
    assert work.images <= 60_000


def test_work_is_at_least_a_minibatch_an_epoch():
    work = settings.listed(replace(QUICK, widths=[[2048, 64]], gflop=1))[0]
    assert (work.images, work.epochs) == (BATCH, settings.EPOCHS)


@pytest.mark.parametrize(
    ("networks", "seeds", "kinds", "rates"), [(32, 4, 2, 4), (8, 2, 2, 2), (2, 1, 2, 1), (1, 1, 1, 1)]
)
def test_populations_are_seeds_by_labels_by_learning_rates(networks, seeds, kinds, rates):
    work = Work(COMPARISON, (4,), networks, 2 * BATCH, 2)
    asked = ours.composition(work)
    assert (asked[0], len(asked[1]), len(asked[2])) == (seeds, kinds, rates)
    trials = ours.trials(work)
    assert len({trial.id for trial in trials}) == networks
    assert {trial.recipe.stop_at_train_accuracy for trial in trials} == {None}


def test_one_learning_rate_makes_a_population_of_seeds():
    assert ours.composition(Work(COMPARISON, (4,), 6, 2 * BATCH, 2, (0.1,))) == (6, ("true",), (0.1,))


def test_median_with_its_range():
    assert tables.median(pd.Series([3, 1, 10, 2, 4]))[:4] == (3, 1, 10, 5)
    assert tables.median(pd.Series([2, 4]))[:4] == (3, 2, 4, 2)
    value, low, high, n = tables.median(pd.Series([7]))[:4]
    assert (value, n) == (7, 1)
    assert np.isnan([low, high]).all()


ENVIRONMENT = {"versions": {"jax": "1"}, "device": {"kind": "cpu"}}


def journal(folder, environment=ENVIRONMENT):
    return Journal(folder, environment, {"git": None})


class Players:
    """Contestants that write down when they are started and measured, and raise what they are told to."""

    def __init__(self, names, raising=None):
        self.calls, self.raising = [], dict(raising or {})
        self.contestants = [Contestant(name, "examples", lambda name=name: self.start(name)) for name in names]

    def start(self, name):
        self.calls.append(f"start {name}")
        return lambda: self.measure(name)

    def measure(self, name):
        self.calls.append(name)
        if self.calls.count(name) == self.raising.get(name, (0, None))[0]:
            raise self.raising[name][1]
        return Reading(2.0, 10.0)


def test_repetitions_are_interleaved_after_a_warm_up_of_each(tmp_path):
    players = Players("abc")
    interleave(journal(tmp_path), "setting", players.contestants, 2)
    assert players.calls == ["start a", "a", "start b", "b", "start c", "c", *"bca", *"cab"]
    assert [*journal(tmp_path).readings("setting", "a")] == [1, 2]  # and not the warm-up


@pytest.mark.slow
def test_an_interrupted_benchmark_goes_on(tmp_path):
    interrupted = Players("ab", {"a": (3, KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        interleave(journal(tmp_path), "setting", interrupted.contestants, 3)
    assert [call for call in interrupted.calls if "start" not in call] == [*"ab", *"ba", "a"]
    again = Players("ab")
    interleave(journal(tmp_path), "setting", again.contestants, 3)
    assert again.calls == ["start a", "a", "start b", "b", *"ab", *"ba"]
    finished = Players("ab")
    interleave(journal(tmp_path), "setting", finished.contestants, 3)
    assert finished.calls == []
    assert set(journal(tmp_path).readings("setting", "b")) == {1, 2, 3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LeftOut("needs an NVIDIA GPU"), "needs an NVIDIA GPU"),
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate"), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
    ],
)
def test_a_contestant_that_cannot_go_on_is_recorded_and_the_others_are_measured(tmp_path, error, reason):
    players = Players("ab", {"a": (1, error)})
    interleave(journal(tmp_path), "setting", players.contestants, 2)
    assert journal(tmp_path).last("failure", setting="setting", contestant="a") == reason
    assert players.calls == ["start a", "a", "start b", "b", "b", "b"]
    again = Players("ab")
    interleave(journal(tmp_path), "setting", again.contestants, 2)
    assert again.calls == ([] if reason == "out of memory" else ["start a", "a", "a", "a"])


@pytest.mark.slow
def test_one_that_was_left_out_is_tried_again_and_said_once(tmp_path):
    for _ in range(2):
        interleave(journal(tmp_path), "setting", Players("a", {"a": (1, LeftOut("no clone"))}).contestants, 2)
    assert [one["failure"] for one in journal(tmp_path).find(contestant="a")] == ["no clone"]
    interleave(journal(tmp_path), "setting", Players("a").contestants, 2)
    assert set(journal(tmp_path).readings("setting", "a")) == {1, 2}


def test_a_reading_depends_on_what_whole_commands_read(tmp_path):
    names = ["memo/config.py", "conf/model/a.yaml", "experiments/benchmark/commands.yaml", "experiments/x/text/x.j2"]
    shown = ["experiments/benchmark/goals.yaml", "experiments/benchmark/text/benchmark.j2", "conf/notes.txt"]
    for name in [*names, *shown]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    before = code(tmp_path)
    for name in [*names, *shown]:
        (tmp_path / name).write_text("after")
        assert (code(tmp_path) != before) == (name in names), name
        (tmp_path / name).write_text("before")


def test_a_fault_of_the_benchmark_is_raised(tmp_path):
    assert explain(ValueError("shapes differ")) is None
    with pytest.raises(ValueError, match="shapes differ"):
        interleave(journal(tmp_path), "setting", Players("a", {"a": (1, ValueError("shapes differ"))}).contestants, 1)


def test_readings_of_another_environment_are_set_aside(tmp_path, caplog):
    journal(tmp_path).add(setting="setting", contestant="a", repetition=1, seconds=1.0, amount=1.0)
    assert set(journal(tmp_path).readings("setting", "a")) == {1}
    other = journal(tmp_path, {"versions": {"jax": "2"}, "device": {"kind": "cpu"}})
    assert other.records == []
    assert "another environment (versions): starting anew" in caplog.text
    assert "seconds" in (tmp_path / EARLIER).read_text()
    assert len((tmp_path / FILE).read_text().splitlines()) == 1


def test_a_torn_line_is_dropped(tmp_path):
    journal(tmp_path).add(setting="setting", contestant="a", repetition=1, seconds=1.0, amount=1.0)
    with (tmp_path / FILE).open("a") as stream:
        stream.write('{"setting": "setting", "contes')
    going_on = journal(tmp_path)
    going_on.add(setting="setting", contestant="a", repetition=2, seconds=1.0, amount=1.0)
    assert [record["repetition"] for record in journal(tmp_path).records] == [1, 2]


def test_the_fastest_option_is_kept():
    waits = {"slow": 0.02, "fast": 0.0}

    def prepare(seconds):
        return lambda: [None for _ in range(int(seconds * 1e8))]

    name, _ = fastest({name: lambda seconds=seconds: prepare(seconds) for name, seconds in waits.items()}, 0.01)
    assert name == "fast"


def compared(folder, ours, peer, limit):
    """Return the table of a journal with one setting: seconds of a second's work by repetition."""
    book, work = journal(folder), Work(COMPARISON, (16, 16), 2, BATCH, 1)
    book.add(sizes={}, settings=["one"], command="")
    book.add(setting="one", work=work._asdict())
    for name, unit, seconds in ((OURS, "examples", ours), (PEER, "examples", peer), ("XLA sgemm 64", "flop", limit)):
        for repetition, took in seconds.items():
            amount = 1e9 if unit == "flop" else 1e9 / work.flop_per_example
            facts = {"unit": unit, "seconds": took, "amount": amount, "compile": 0.0, "note": ""}
            book.add(setting="one", contestant=name, repetition=repetition, **facts)
    return tables.contestants(book).set_index("contestant")


PEER = f"{VMAP}, own minibatches"


def test_one_that_was_left_out_and_then_measured_has_its_readings(tmp_path):
    journal(tmp_path).add(setting="one", contestant=PEER, unit="examples", failure="no clone", left_out=True)
    records = journal(tmp_path).records
    compared(tmp_path / "other", {1: 1.0}, {1: 3.0}, {1: 0.5})
    book = journal(tmp_path / "other")
    book.records.insert(2, records[0])
    row = tables.contestants(book).set_index("contestant").loc[PEER]
    assert (row["compile_seconds"], row["missing"], row["n"]) == (0, "", 1)


def test_ratios_and_shares_are_paired_by_repetition(tmp_path):
    table = compared(tmp_path, {1: 1.0, 2: 1.0, 3: 2.0}, {3: 8.0, 1: 3.0, 2: 2.0}, {1: 0.5, 2: 0.25, 3: 1.0})
    assert table.loc[PEER, ["ours_over_this", "ours_over_this_low", "ours_over_this_high"]].tolist() == [3, 2, 4]
    shares = ["share_of_sgemm", "share_of_sgemm_low", "share_of_sgemm_high"]
    assert table.loc[OURS, shares].tolist() == [0.5, 0.25, 0.5]
    assert table.loc["XLA sgemm 64", "gflop_per_second"] == 2


def test_without_a_common_repetition_there_is_no_ratio(tmp_path):
    table = compared(tmp_path, {1: 1.0}, {2: 1.0}, {1: 1.0})
    assert np.isnan(table.loc[PEER, "ours_over_this"])


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"repetition": 3},
            ["experiment.settings.repetition is not a key", "Did you mean experiment.settings.repetitions?"],
        ),
        ({"repetitions": 0}, ["experiment.settings.repetitions is 0", "from 1"]),
        ({"repetitions": True}, ["experiment.settings.repetitions is True"]),
        ({"gflop": "many"}, ["experiment.settings.gflop is many"]),
        ({"widths": [16, 32]}, ["experiment.settings.widths is [16, 32]", "[width, networks]"]),
        ({"growth": [[16, [4, 1]]]}, ["experiment.settings.growth", "ascending"]),
        ({"commands": ["slow"]}, ["experiment.settings.commands is ['slow']", "quick"]),
        ({"growth": 16}, ["experiment.settings.growth is 16"]),
    ],
)
def test_sizes_are_checked(changes, parts):
    with pytest.raises(Refusal) as refusal:
        settings.read(vars(QUICK) | changes)
    assert all(part in str(refusal.value) for part in parts)


def test_sizes_of_every_scale_are_valid():
    assert [len(sizes_of(scale).widths) > 0 for scale in ("quick", "standard", "paper")] == [True] * 3


@pytest.mark.slow
def test_the_command_refuses_what_means_nothing_to_it(tmp_path):
    asked = ["model.widths=[3]", f"hydra.run.dir={tmp_path}/run"]
    done = builders.python("-m", "experiments.benchmark", *asked)
    assert done.returncode == 1
    assert done.stderr.startswith("Refused: model.widths means nothing to the benchmark")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


STEPS = 3
TWIN = Work(COMPARISON, (8, 8), networks=1, images=BATCH, epochs=STEPS)  # a minibatch is all images, in whatever order


@pytest.fixture(scope="module")
def twin(mnist):
    """Our network after three steps from known weights: (initial layers, what peers train on, final layers)."""
    # Peers take the first images, and one minibatch of ours is a draw from all.
    first = replace(mnist, train_images=mnist.train_images[:BATCH], train_labels=mnist.train_labels[:BATCH])
    (trial,) = ours.trials(TWIN)
    assert trial.recipe.optimizer.learning_rate == LEARNING_RATES[0]
    layers = mlp.initialise(purpose_key(trial.seed, "initialisation"), TWIN.sizes, trial.recipe.model.init)
    trained = ours.train([trial], first)
    final = jax.tree.map(lambda leaf: np.asarray(leaf[0]), trained.layers)
    return jax.tree.map(np.asarray, layers), examples(first, BATCH), [leaf for layer in final for leaf in layer]


@pytest.mark.slow
def test_the_jax_peer_trains_the_same_network(twin):
    layers, data, final = twin
    parameters = tuple(jnp.asarray(leaf) for layer in layers for leaf in layer)
    images, labels = data
    trained = peers_jax.train(parameters, images, labels[0], jax.random.key(5), STEPS, rate=LEARNING_RATES[0])
    for own, due, start in zip(trained, final, jax.tree.leaves(layers), strict=True):
        np.testing.assert_allclose(own, due, atol=2e-6)
        assert not np.allclose(due, start, atol=1e-4)


@needs_torch
@pytest.mark.parametrize("loader", [False, True])
@pytest.mark.parametrize("optimizer", ["foreach", "fused"])
def test_the_torch_loops_train_the_same_network(twin, loader, optimizer):
    import torch

    from experiments.benchmark import peers_torch

    layers, data, final = twin
    peer = peers_torch.loop(TWIN, data, optimizer, loader)
    with torch.no_grad():
        for own, leaf in zip(peer.parameters, (leaf.T for layer in layers for leaf in layer), strict=True):
            own.copy_(torch.tensor(leaf))
    peers_torch.train([peer], STEPS)
    for leaf, due in zip(peer.parameters, final, strict=True):
        np.testing.assert_allclose(leaf.detach().numpy().T, due, atol=2e-6)


@needs_torch
@pytest.mark.parametrize("layout", ["linear", "matmul"])
@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_the_vmap_peers_train_the_same_network(twin, own, layout):
    import torch

    from experiments.benchmark import peers_torch

    layers, data, final = twin
    # Two networks, so that the axis of networks has a length; both with true labels.
    same = data[0], data[1][[0, 0]]
    peer = peers_torch.population(TWIN._replace(networks=2), same, layout, own)
    for place, leaf in enumerate(leaf for layer in layers for leaf in layer):
        leaf = torch.tensor(leaf.T if leaf.ndim == 2 and layout == "linear" else leaf)
        peer.parameters[place].copy_(leaf.expand_as(peer.parameters[place]))
    peers_torch.train([peer], STEPS)
    for leaf, due in zip(peer.parameters, final, strict=True):
        for network in leaf:
            network = network.T if network.ndim == 2 and layout == "linear" else network
            np.testing.assert_allclose(network.numpy(), due, atol=2e-6)


@needs_torch
@pytest.mark.slow
def test_processes_train_beside_each_other(mnist):
    work = Work(COMPARISON, (8, 8), networks=8, images=2 * BATCH, epochs=2)
    reading = TRAINING[PROCESSES].start(work, examples(mnist, work.images), 0.01)()
    processes, networks = (int(part.split()[0]) for part in (reading.note.split("; ")[0], reading.note.split("; ")[-1]))
    assert reading.amount == networks * work.examples
    assert networks % processes == 0
    assert 0 < reading.seconds < 60


def row(contestant, width, median, ratio=None, **more):
    facts = {"part": COMPARISON, "width": width, "networks": 32, "examples_per_network": 100, "contestant": contestant}
    shares = {"share_of_sgemm": 0.85, "share_of_sgemm_low": 0.7, "share_of_sgemm_high": 0.9}
    ratios = {"ours_over_this": ratio, "ours_over_this_low": ratio, "ours_over_this_high": ratio}
    return facts | {"median": median, "low": median, "high": median, "n": 5, "missing": ""} | shares | ratios | more


def test_goals_are_judged_by_the_faster_peer():
    loop = family(LOOP)[0]
    table = pd.DataFrame(
        [
            row(OURS, 16, 100.0),
            row(loop, 16, 10.0, 10.0),
            row(f"{VMAP}, own minibatches", 16, 5.0, 20.0),
            row(f"{VMAP}, shared minibatch", 16, 20.0, 3.5),
            row(OURS, 128, 100.0),
            row(loop, 128, np.nan, np.nan, missing=NO_TORCH),
            row(OURS, 512, 100.0, networks=2),
        ]
    )
    found = tables.goals(table, pd.DataFrame(), pd.DataFrame(), "cpu")
    by_goal = found[found["device"] == "cpu"].set_index(["goal", "subject"])
    assert by_goal.loc[("ours / PyTorch loop", "16"), "reached"] == tables.MISSED
    vmap = by_goal.loc[("ours / torch.func.vmap", "16")]
    assert (vmap["measured"], vmap["reached"], vmap["target_reached"]) == (3.5, tables.REACHED, tables.MISSED)
    assert "shared" in vmap["note"]
    missing = by_goal.loc[("ours / PyTorch loop", "128")]
    assert (missing["reached"], missing["note"]) == (tables.NOT_MEASURED, NO_TORCH)
    share = by_goal.loc[("share of XLA's best sgemm", "16")]
    assert (share["measured"], share["low"], share["reached"]) == (0.85, 0.7, tables.REACHED)
    assert set(found[found["device"] == "gpu"]["reached"]) == {tables.NOT_APPLICABLE}


def test_goals_of_commands_are_judged_by_their_own_columns(tmp_path):
    whole = timed(
        tmp_path, {"headline's sweep, commit 184e93d": [100.0, 80.0], "headline's sweep": [40.0, 30.0]}
    ).reset_index()
    found = tables.goals(pd.DataFrame([row(OURS, 16, 100.0)]), pd.DataFrame(), whole, "cpu").set_index("subject")
    assert (found.loc["headline's sweep", "measured"], found.loc["headline's sweep", "reached"]) == (
        0.3875,
        tables.REACHED,
    )
    assert found.loc["500 jobs, population launcher", "note"] == "not measured yet"
    assert found.loc["* scale=quick", "note"] == "left out at this scale"


def test_every_goal_names_what_the_tables_can_have():
    known = {each["name"] for each in settings.data("commands")} | {
        each["workload"] for each in settings.data("published")
    }
    for goal in settings.data("goals"):
        assert "family" not in goal or family(goal["family"])
        for subject, bounds in (goal.get("at_least") or goal["at_most"]).items():
            assert isinstance(subject, int) or fnmatch.filter(known, subject), subject
            assert len(bounds) == 2


def test_hours_of_a_published_workload_are_extrapolated_by_training_examples():
    own = row(OURS, None, 2e5, part=PUBLISHED) | {"low": 1e5, "high": 4e5}
    found = tables.published(pd.DataFrame([own])).set_index("workload").loc["memorisation and influence"]
    hours = 2000 * 10 * (42_000 // BATCH * BATCH) / 2e5 / 3600
    assert (found["networks"], found["hours"]) == (2000, pytest.approx(hours))
    assert (found["hours_low"], found["hours_high"]) == (pytest.approx(hours / 2), pytest.approx(2 * hours))
    assert found["networks_per_hour"] == pytest.approx(2000 / hours)
    assert found["networks_per_hour_low"] == pytest.approx(1000 / hours)


def test_nine_subset_ratios_of_one_workload():
    (workload,) = [each for each in settings.data("published") if each["workload"] == "C-scores"]
    assert workload["images"] == [round(60_000 * ratio / 10) for ratio in range(1, 10)]
    assert workload["networks_each"] * len(workload["images"]) == 1800


def timed(folder, seconds, note=None):
    """Return the table of commands whose seconds by repetition are given."""
    book = journal(folder)
    book.add(sizes=vars(replace(QUICK, commands=["standard", "sweep"])), settings=[], command="")
    for name, took in seconds.items():
        for repetition, each in enumerate(took, 1):
            facts = {"unit": "jobs", "seconds": each, "amount": 1, "note": (note or {}).get(name, {})}
            book.add(setting=commands.SETTING, contestant=name, repetition=repetition, **facts)
    return tables.whole_commands(book).set_index("command")


def test_a_command_is_compared_with_the_same_at_an_earlier_commit(tmp_path):
    table = timed(
        tmp_path, {"headline's sweep, commit 184e93d": [100.0, 80.0, 120.0], "headline's sweep": [50.0, 20.0, 90.0]}
    )
    assert table.loc[
        "headline's sweep", ["time_over_earlier", "time_over_earlier_low", "time_over_earlier_high"]
    ].tolist() == [
        0.5,
        0.25,
        0.75,
    ]
    assert table.loc["500 jobs, population launcher", "missing"] == "not measured yet"


def test_seconds_per_job_are_those_beyond_training_and_those_of_a_further_job(tmp_path):
    own, long, short = "500 jobs, population launcher", "30 jobs, basic launcher", "10 jobs, basic launcher"
    spent = {"prepare": 1.0, "compile": 9.0, "wait": 4.0, "train": 5.0, "evaluate": 1.0, "probe": 2.0, "drawing": 3.0}
    parts = {own: {f"{name}_seconds": seconds for name, seconds in spent.items()}}
    table = timed(tmp_path, {own: [25.0, 20.0], long: [20.0, 30.0], short: [10.0, 10.0]}, parts)
    assert table.loc[own, "seconds_per_job"] == pytest.approx(0.035)
    assert table.loc[own, "evaluation_over_training"] == pytest.approx(0.2)
    assert table.loc[long, "seconds_per_further_job"] == pytest.approx(0.75)
    split = ["waiting", "steps", "evaluations", "probes", "drawing", "rest"]
    assert table.loc[own, [f"{name}_seconds" for name in split]].tolist() == [4, 4, 1, 2, 3, 8.5]


def test_commands_come_after_what_they_are_compared_with():
    seen = set()
    for each in settings.data("commands"):
        command = Command(**each)
        assert {command.earlier, command.shorter} <= seen | {""}
        seen.add(command.name)


@pytest.mark.slow
def test_a_command_is_timed_with_its_parts(tmp_path):
    (command,) = commands.listed(sizes_of("quick"))
    reading = commands.take(command, ROOT, tmp_path)
    assert reading.amount == 2
    assert 0 < reading.note["train_seconds"] + reading.note["compile_seconds"] < reading.seconds
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_fails_is_refused_by_name(tmp_path):
    with pytest.raises(Refusal, match="The command broken failed: "):
        commands.take(Command("", "broken", "json.tool nowhere.json"), ROOT, tmp_path)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder of the quick benchmark as it is where PyTorch is not installed."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contestants, "has_torch", lambda: False)
        measuring.measure(folder, QUICK, "a command")
        before = (folder / FILE).read_text()
        measuring.measure(folder, QUICK, "a command")
        assert (folder / FILE).read_text() == before  # measures nothing the second time
        measuring.redraw(folder)
    return folder


@pytest.mark.slow
def test_quick_writes_a_report_that_the_suite_reads(quick):
    written = results.read(results.Experiment("benchmark", "?", ""), quick)
    assert (written.state, written.problems, len(written.ledger)) == (results.COMPLETE, [], 0)
    assert [figure.file for figure in written.figures] == ["figures/throughput.svg", "figures/growth.svg"]
    assert written.command == "a command"
    table = results.load(quick)["contestants"]
    assert table.columns[0] == "part"
    mine = table[table["contestant"] == OURS]
    assert (mine["part"] == COMPARISON).sum() == len(QUICK.widths)
    assert (mine[mine["part"] == COMPARISON]["n"] == QUICK.repetitions).all()
    assert mine[["median", "gflop_per_second"]].notna().all(axis=None)
    assert set(results.load(quick)["goals"]["reached"]) <= {"yes", "no", "not measured", "not applicable"}


@pytest.mark.slow
def test_without_torch_its_rows_are_missing_by_name(quick):
    table = results.load(quick)["contestants"]
    left_out = table[table["missing"] == NO_TORCH]["contestant"]
    assert {*family(LOOP), *family(VMAP), PROCESSES, "torch sgemm 512"} <= set(left_out)
    assert f"{NO_TORCH}</b>, so every PyTorch row is missing" in (quick / "findings.md").read_text()


@pytest.mark.slow
def test_the_report_holds_no_path_of_this_machine_and_no_gap(quick):
    html = (quick / "report.html").read_text()
    assert str(quick) not in html
    assert str(ROOT) not in html
    text = re.sub(r"<[^>]*>", " ", html.split("<body>")[1].split("<script>")[0])
    assert not {"nan", "None", "<NA>", "inf"} & set(re.findall(r"[\w<>]+", text))


@pytest.mark.slow
def test_the_committed_report_is_that_of_the_committed_readings(tmp_path):
    committed = ROOT / "results" / "benchmark"
    shutil.copy(committed / FILE, tmp_path)
    measuring.redraw(tmp_path)
    for name in ("findings.md", "tables/contestants.csv", "tables/goals.csv", "tables/commands.csv"):
        assert (tmp_path / name).read_text() == (committed / name).read_text()


def test_the_highest_throughput_of_the_growth_figure_is_told_from_longer_readings():
    (caption,) = [
        figure.caption
        for figure in results.read(results.Experiment("benchmark", "?", ""), ROOT / "results" / "benchmark").figures
        if figure.file.endswith("growth.svg")
    ]
    table = results.load(ROOT / "results" / "benchmark")["contestants"]
    own = table[(table["contestant"] == OURS) & (table["width"] == 16)].set_index("part")["median"]
    for rate in (own[GROWTH].max(), own[COMPARISON]):
        assert number(rate / 1e3) in caption


def test_nothing_to_draw_from_is_refused(tmp_path):
    with pytest.raises(Refusal, match="holds no"):
        measuring.redraw(tmp_path)
