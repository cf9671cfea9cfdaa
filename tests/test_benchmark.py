"""The benchmark: what it counts, in which order it measures, how it goes on, and that its peers train the same network."""

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

from experiments.benchmark import contestants, core, goals, names, ours, peers_jax, settings, sizes, sweep, tables
from experiments.benchmark.interleaving import Contestant, LeftOut, Reading, explain, fastest, interleave
from experiments.benchmark.journal import EARLIER, FILE, Journal
from experiments.benchmark.work import BATCH, LEARNING_RATES, Examples, Work, examples, sized
from memo.data.randomness import purpose_key
from memo.errors import Refusal
from memo.networks import mlp
from memo.reporting import results
from memo.reporting.report import number
from tests import builders

ROOT = Path(__file__).resolve().parent.parent
QUICK = sizes.of_scale("quick")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is the extra [bench]")


def test_operations_and_traffic_of_the_smallest_network():
    work = Work((16, 16), networks=32, images=1300, epochs=3)
    assert work.sizes == (784, 16, 16, 10)
    assert work.weights == 784 * 16 + 16 * 16 + 16 * 10 == 12_960
    assert work.flop_per_example == 6 * 12_960 - 2 * 784 * 16 == 52_672
    assert work.bytes_per_example == 20 * 12_960 / 128 == 2025
    assert work.examples == 3 * 10 * 128


def test_operations_of_the_published_workload():
    published = settings.listed(replace(QUICK, published_networks=2000))[-1]
    assert (published.part, published.width) == (names.PUBLISHED, None)
    work = published.work
    assert work.sizes == (784, 512, 256, 10)
    total = work.networks * work.examples * work.flop_per_example
    assert total == pytest.approx(2.0e15, rel=0.05)  # 2.7e15 where the first layer's inputs take a gradient too
    assert work.networks * work.examples / BATCH == pytest.approx(6.6e6, rel=0.01)


def test_work_is_sized_by_the_machine():
    # Twice 52,672 FLOP an example at 1e9 FLOP/s, 32 x 128 examples a step: 2.3 steps a second.
    least = Work((16, 16), 32, BATCH, 10)
    assert sized(least, seconds=100, flops=1e9, bandwidth=1e15, minibatches=2) == replace(least, images=23 * BATCH)
    steps = sized(least, 100, flops=1e15, bandwidth=2025e6, minibatches=2).examples / BATCH
    assert steps == pytest.approx(12.2e3, rel=0.01)
    wide = Work((2048, 2048), 2, BATCH, 24)
    assert sized(wide, 0.001, 1e9, 1e9, minibatches=2) == replace(wide, images=2 * BATCH)


@pytest.mark.parametrize(
    ("networks", "seeds", "kinds", "rates"), [(32, 4, 2, 4), (8, 2, 2, 2), (2, 1, 2, 1), (1, 1, 1, 1)]
)
def test_populations_are_seeds_by_labels_by_learning_rates(networks, seeds, kinds, rates):
    asked = ours.composition(networks)
    assert (asked[0], len(asked[1]), len(asked[2])) == (seeds, kinds, rates)
    trials = ours.trials(Work((4,), networks, 2 * BATCH, 2), asked)
    assert len({trial.id for trial in trials}) == networks
    assert {trial.recipe.stop_at_train_accuracy for trial in trials} == {None}


def test_median_with_its_range():
    assert tables.median([3, 1, 10, 2, 4])[:4] == (3, 1, 10, 5)
    assert tables.median([2, 4])[:4] == (3, 2, 4, 2)
    value, low, high, n = tables.median([7])[:4]
    assert (value, n) == (7, 1)
    assert np.isnan([low, high]).all()


def test_ratios_are_paired_by_repetition():
    assert tables.paired({1: 2.0, 2: 9.0, 3: 8.0}, {1: 1.0, 3: 2.0, 2: 3.0})[:4] == (3, 2, 4, 3)
    assert tables.paired({1: 2.0, 2: 9.0}, {2: 3.0, 4: 1.0})[:4:3] == (3, 1)
    assert tables.paired({1: 2.0}, {2: 1.0}) is None


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
    assert journal(tmp_path).rates("setting", "a") == {1: 5.0, 2: 5.0}  # and not the warm-up


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
    assert set(journal(tmp_path).rates("setting", "b")) == {1, 2, 3}


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
    assert journal(tmp_path).failure("setting", "a") == reason
    assert players.calls == ["start a", "a", "start b", "b", "b", "b"]
    again = Players("ab")
    interleave(journal(tmp_path), "setting", again.contestants, 2)
    assert again.calls == []


def test_a_fault_of_the_benchmark_is_raised(tmp_path):
    assert explain(ValueError("shapes differ")) is None
    with pytest.raises(ValueError, match="shapes differ"):
        interleave(journal(tmp_path), "setting", Players("a", {"a": (1, ValueError("shapes differ"))}).contestants, 1)


def test_readings_of_another_environment_are_set_aside(tmp_path, caplog):
    journal(tmp_path).add(setting="setting", contestant="a", repetition=1, seconds=1.0, amount=1.0)
    assert journal(tmp_path).rates("setting", "a") == {1: 1.0}
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


def test_growth_ends_where_a_reading_would_take_too_long_or_fewer_networks_failed(tmp_path):
    book = journal(tmp_path)
    fewer, more = Work((4, 4), 10, 2 * BATCH, 4), Work((4, 4), 40, 2 * BATCH, 4)
    before = settings.Setting(names.GROWTH, "fewer", fewer)
    book.add(setting="fewer", contestant="fast", repetition=1, seconds=2.0, amount=10 * fewer.examples)
    book.add(setting="fewer", contestant="slow", repetition=1, seconds=3.0, amount=10 * fewer.examples)
    book.add(setting="fewer", contestant="full", failure="out of memory")
    reasons = [settings.too_large(book, 10.0, name, before, more) for name in ("fast", "slow", "full")]
    assert reasons == [None, "left out: a reading would take about 12 s", "out of memory"]
    vast = replace(more, networks=10**9)
    assert settings.too_large(book, 10.0, "fast", None, vast).startswith("left out: about ")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"repetition": 3},
            ["experiment.settings.repetition is not a key", "Did you mean experiment.settings.repetitions?"],
        ),
        ({"repetitions": 0}, ["experiment.settings.repetitions is 0", "from 1"]),
        ({"repetitions": True}, ["experiment.settings.repetitions is True"]),
        ({"seconds": "long"}, ["experiment.settings.seconds is long"]),
        ({"widths": [16, 32]}, ["experiment.settings.widths is [16, 32]", "[width, networks]"]),
        ({"growth": [[16, [4, 1]]]}, ["experiment.settings.growth", "ascending"]),
        ({"jobs": 3}, ["experiment.settings.jobs is 3", "even"]),
        ({"jobs": 2, "jobs_basic": 4}, ["experiment.settings.jobs_basic is 4"]),
        ({"jobs": 10, "jobs_basic": 2}, ["experiment.settings.jobs_basic is 2", "extrapolated"]),
        ({"growth": 16}, ["experiment.settings.growth is 16"]),
    ],
)
def test_sizes_are_checked(changes, parts):
    with pytest.raises(Refusal) as refusal:
        sizes.read(vars(QUICK) | changes)
    assert all(part in str(refusal.value) for part in parts)


def test_sizes_of_every_scale_are_valid():
    assert [len(sizes.of_scale(scale).widths) > 0 for scale in sizes.SCALES] == [True] * 3
    with pytest.raises(Refusal, match="scale is huge"):
        sizes.of_scale("huge")


@pytest.mark.slow
def test_the_command_refuses_what_means_nothing_to_it(tmp_path):
    asked = ["model.widths=[3]", f"hydra.run.dir={tmp_path}/run"]
    done = builders.python("-m", "experiments.benchmark", *asked)
    assert done.returncode == 1
    assert done.stderr.startswith("Refused: model.widths means nothing to the benchmark")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


STEPS = 3
TWIN = Work((8, 8), networks=1, images=BATCH, epochs=STEPS)  # a minibatch is all images, in whatever order


@pytest.fixture(scope="module")
def twin(mnist):
    """Our network after three steps from known weights: (initial layers, what peers train on, final layers)."""
    # Peers take the first images, and one minibatch of ours is a draw from all.
    first = replace(mnist, train_images=mnist.train_images[:BATCH], train_labels=mnist.train_labels[:BATCH])
    (trial,) = ours.trials(TWIN, ours.composition(1))
    assert trial.recipe.optimizer.learning_rate == LEARNING_RATES[0]
    layers = mlp.initialise(purpose_key(trial.seed, "initialisation"), TWIN.sizes, trial.recipe.model.init)
    trained, diverged = ours.train([trial], first)
    assert diverged == 0
    final = jax.tree.map(lambda leaf: np.asarray(leaf[0]), trained.layers)
    return jax.tree.map(np.asarray, layers), examples(first, BATCH), [leaf for layer in final for leaf in layer]


@pytest.mark.slow
def test_the_jax_peer_trains_the_same_network(twin):
    layers, data, final = twin
    parameters = tuple(jnp.asarray(leaf) for layer in layers for leaf in layer)
    state = peers_jax.State(parameters, tuple(jnp.zeros_like(leaf) for leaf in parameters))
    state = peers_jax.program()(state, data.images, data.labels[0], jax.random.key(5), STEPS)
    for own, due, start in zip(state.parameters, final, jax.tree.leaves(layers), strict=True):
        np.testing.assert_allclose(own, due, atol=2e-6)
        assert not np.allclose(due, start, atol=1e-4)


@needs_torch
@pytest.mark.parametrize("kind", ["Loop", "LoaderLoop"])
@pytest.mark.parametrize("optimizer", ["foreach", "fused"])
def test_the_torch_loops_train_the_same_network(twin, kind, optimizer):
    import torch

    from experiments.benchmark import peers_torch

    layers, data, final = twin
    peer = getattr(peers_torch, kind)(TWIN, data, optimizer)
    linear = [module for module in peer.network if isinstance(module, torch.nn.Linear)]
    with torch.no_grad():
        for module, layer in zip(linear, layers, strict=True):
            module.weight.copy_(torch.tensor(layer.weights.T))
            module.bias.copy_(torch.tensor(layer.biases))
    for _ in range(STEPS):
        peer.epoch()
    own = [leaf for module in linear for leaf in (module.weight.T, module.bias)]
    for leaf, due in zip(own, final, strict=True):
        np.testing.assert_allclose(leaf.detach().numpy(), due, atol=2e-6)


@needs_torch
@pytest.mark.parametrize("layout", ["linear", "matmul"])
@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_the_vmap_peers_train_the_same_network(twin, own, layout):
    import torch

    from experiments.benchmark import peers_torch

    layers, data, final = twin
    # Two networks, so that the axis of networks has a length; both with true labels.
    same = Examples(data.images, data.labels[[0, 0]])
    peer = peers_torch.Vmap(replace(TWIN, networks=2), same, layout, own)
    for place, leaf in enumerate(leaf for layer in layers for leaf in layer):
        leaf = torch.tensor(leaf.T if leaf.ndim == 2 and layout == "linear" else leaf)
        peer.parameters[place].copy_(leaf.expand_as(peer.parameters[place]))
    for _ in range(STEPS):
        peer.epoch()
    for leaf, due in zip(peer.parameters, final, strict=True):
        for network in leaf:
            network = network.T if network.ndim == 2 and layout == "linear" else network
            np.testing.assert_allclose(network.numpy(), due, atol=2e-6)


def row(contestant, width, median, ratio=None, **more):
    facts = {
        "part": "comparison",
        "width": width,
        "networks": 32,
        "examples_per_network": 100,
        "contestant": contestant,
    }
    shares = {"share_of_sgemm": 0.85, "share_of_sgemm_low": 0.7, "share_of_sgemm_high": 0.9}
    ratios = {"ours_over_this": ratio, "ours_over_this_low": ratio, "ours_over_this_high": ratio}
    return facts | {"median": median, "low": median, "high": median, "n": 5, "missing": ""} | shares | ratios | more


def test_goals_are_judged_by_the_faster_peer():
    table = pd.DataFrame(
        [
            row(names.OURS, 16, 100.0),
            row(names.LOOP, 16, 10.0, 10.0),
            row(names.VMAP_OWN, 16, 5.0, 20.0),
            row(names.VMAP_SHARED, 16, 20.0, 5.0),
            row(names.OURS, 128, 100.0),
            row(names.LOOP, 128, np.nan, np.nan, missing=names.NO_TORCH),
            row(names.OURS, 512, 100.0, networks=2),
        ]
    )
    found = goals.judge(table, "cpu")
    assert len(found) == 20
    by_goal = found[found["device"] == "two CPU cores"].set_index(["goal", "width"])
    assert by_goal.loc[("ours / PyTorch loop", 16), "reached"] == goals.MISSED
    vmap = by_goal.loc[("ours / torch.func.vmap", 16)]
    assert (vmap["measured"], vmap["reached"]) == (5.0, goals.REACHED)
    assert "shared" in vmap["note"]
    missing = by_goal.loc[("ours / PyTorch loop", 128)]
    assert (missing["reached"], missing["note"]) == (goals.NOT_MEASURED, names.NO_TORCH)
    share = by_goal.loc[(goals.BOUND["cpu"][1], 16)]
    assert (share["measured"], share["low"], share["reached"]) == (0.85, 0.7, goals.REACHED)
    assert set(found[found["device"] == "an H100"]["reached"]) == {goals.NOT_APPLICABLE}


def test_the_published_workload_is_judged_by_its_seconds():
    table = pd.DataFrame([row(names.OURS, None, 32 * 100 / 50.0, part="published", n=1)])
    found = goals.judge(table, "gpu").set_index("goal").loc[goals.WHOLE]
    assert (found["measured"], found["reached"]) == (50.0, goals.REACHED)


def test_a_short_sweep_is_extrapolated_without_its_start_up(tmp_path, monkeypatch):
    def seconds(launcher, jobs, *rest):
        return 5 + (0.5 * jobs if launcher == "basic" else 0.01 * jobs)

    monkeypatch.setattr(sweep, "take", seconds)
    book = journal(tmp_path)
    sweep.measure(book, 500, 30, None)
    table = tables.launchers(book, 500).set_index("launcher")
    assert table["seconds"].to_dict() == pytest.approx(
        {names.POPULATION_COLD: 10.0, names.POPULATION: 10.0, names.BASIC: 255.0}
    )
    assert table["extrapolated"].tolist() == [False, False, True]
    assert table["jobs_measured"].tolist() == [500, 500, 30]
    monkeypatch.setattr(sweep, "take", None)
    sweep.measure(book, 500, 30, None)  # all of it is stored


def test_a_sweep_has_as_many_jobs_as_asked():
    for jobs in (2, 10, 30, 500):
        assert np.prod([len(values.split("=")[1].split(",")) for values in sweep.swept(jobs)]) == jobs


@pytest.mark.slow
def test_the_sweep_runs_as_a_command(tmp_path):
    assert sweep.take("population", 2, tmp_path, None) > 0
    assert len(list(tmp_path.rglob("done.json"))) == 2


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folder of the quick benchmark as it is where PyTorch is not installed."""
    folder = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contestants, "has_torch", lambda: False)
        core.run(folder, QUICK, "a command")
        before = (folder / FILE).read_text()
        core.run(folder, QUICK, "a command")
        assert (folder / FILE).read_text() == before  # measures nothing the second time
    return folder


@pytest.mark.slow
def test_quick_writes_a_report_that_the_suite_reads(quick):
    written = results.read(results.Experiment("benchmark", "?", ""), quick)
    assert (written.state, written.problems, len(written.ledger)) == (results.COMPLETE, [], 0)
    assert [figure.file for figure in written.figures] == ["figures/throughput.svg", "figures/growth.svg"]
    assert written.command == "a command"
    table = results.load(quick)["contestants"]
    assert tuple(table.columns) == tables.COLUMNS
    mine = table[table["contestant"] == names.OURS]
    assert (mine["part"] == names.COMPARISON).sum() == len(QUICK.widths)
    assert (mine[mine["part"] == names.COMPARISON]["n"] == QUICK.repetitions).all()
    assert mine[["median", "gflop_per_second"]].notna().all(axis=None)
    assert len(results.load(quick)["goals"]) == 20


@pytest.mark.slow
def test_without_torch_its_rows_are_missing_by_name(quick):
    table = results.load(quick)["contestants"]
    left_out = table[table["missing"] == names.NO_TORCH]["contestant"]
    assert {names.LOOP, names.LOADER, *names.VMAP, names.TORCH_COPY} <= set(left_out)
    assert f"{names.NO_TORCH}</b>, so every PyTorch row is missing" in (quick / "findings.md").read_text()


@pytest.mark.slow
def test_the_report_holds_no_path_of_this_machine_and_no_gap(quick):
    html = (quick / "report.html").read_text()
    assert str(quick) not in html
    assert str(ROOT) not in html
    text = re.sub(r"<[^>]*>", " ", html.split("<body>")[1].split("<script>")[0])
    assert not {"nan", "None", "<NA>", "inf"} & set(re.findall(r"[\w<>]+", text))


WITHOUT = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"hydra", "omegaconf", "torch"}:
            raise ImportError(f"{name} is not for the benchmark")

sys.meta_path.insert(0, Block())
from experiments.benchmark import core
core.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_the_report_is_redrawn_without_hydra_and_torch(quick, tmp_path):
    (tmp_path / FILE).write_text((quick / FILE).read_text())
    done = builders.python("-c", WITHOUT, tmp_path, core.REDRAW)
    assert done.returncode == 0, done.stderr
    for name in ("tables/contestants.csv", "findings.md", "figures/throughput.svg"):
        assert (tmp_path / name).read_bytes() == (quick / name).read_bytes()


def test_the_committed_report_is_that_of_the_committed_readings(tmp_path):
    committed = ROOT / "results" / "benchmark"
    shutil.copy(committed / FILE, tmp_path)
    core.redraw(tmp_path)
    for name in ("findings.md", "tables/contestants.csv", "tables/goals.csv", "tables/sweep.csv"):
        assert (tmp_path / name).read_text() == (committed / name).read_text()


def test_the_highest_throughput_of_the_growth_figure_is_told_from_longer_readings():
    (caption,) = [
        figure.caption
        for figure in results.read(results.Experiment("benchmark", "?", ""), ROOT / "results" / "benchmark").figures
        if figure.file.endswith("growth.svg")
    ]
    table = results.load(ROOT / "results" / "benchmark")["contestants"]
    own = table[(table["contestant"] == names.OURS) & (table["width"] == 16)].set_index("part")["median"]
    for rate in (own[names.GROWTH].max(), own[names.COMPARISON]):
        assert number(rate / 1e3) in caption


def test_nothing_to_draw_from_is_refused(tmp_path):
    with pytest.raises(Refusal, match="holds no"):
        core.redraw(tmp_path)


@pytest.mark.parametrize("words", [[], ["--help"], ["a", "quick", "page"]])
def test_another_command_line_is_refused(words):
    with pytest.raises(Refusal, match="The command is"):
        core.main(words)
