from types import SimpleNamespace

import pytest

from memo.data.files import cache_folder
from memo.storage import provenance, throughput
from memo.training.population import Layout, plan

BENCHMARK = throughput.BENCHMARK


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMO_CACHE", str(tmp_path))
    monkeypatch.setattr(throughput, "BENCHMARK", tmp_path / "none")
    monkeypatch.setattr(provenance, "processor", lambda: "a processor")
    monkeypatch.delenv("SLURM_JOB_PARTITION", raising=False)


@pytest.fixture
def signature(trials):
    return lambda **settings: (
        plan(trials({name.replace("__", "."): value for name, value in settings.items()}))[0].signature
    )


def record(signature, flop, seconds=100.0):
    throughput.record(signature, SimpleNamespace(platform="cpu"), Layout(1, 1, 2), flop, seconds)


def test_nothing_measured_is_nothing(signature):
    assert throughput.expected(signature(), "cpu") is None


def test_what_is_measured_counts_by_worker(signature):
    record(signature(), 4e12)
    assert throughput.expected(signature(), "cpu") == (
        *(2e10, "784-8-10", "a processor", 1),
        str(cache_folder() / throughput.FILE),
    )
    assert throughput.expected(signature(), "gpu") is None


def test_the_median_of_the_latest_counts(signature):
    for flop in (9e15, 9e15, 9e15, 9e15, 1e12, 2e12, 3e12, 4e12, 5e12):
        record(signature(), flop)
    found = throughput.expected(signature(), "cpu")
    assert (found.flop, found.readings) == (1.5e10, 5)


def test_the_likest_network_counts(signature):
    record(signature(model__widths=[16]), 1e12)
    record(signature(model__widths=[512]), 9e12)
    record(signature(model__widths=[512], batch_size=32), 5e12)
    assert throughput.expected(signature(model__widths=[10]), "cpu").network == "784-16-10"
    assert throughput.expected(signature(model__widths=[400]), "cpu").flop == 9e12 / 200
    assert throughput.expected(signature(model__widths=[400], batch_size=16), "cpu").flop == 5e12 / 200


def test_readings_of_the_partition_come_first(signature, monkeypatch):
    record(signature(), 1e12)
    monkeypatch.setenv("SLURM_JOB_PARTITION", "fast")
    record(signature(model__widths=[512]), 9e12)
    assert throughput.expected(signature(), "cpu").network == "784-8-10"
    assert throughput.expected(signature(), "cpu", "fast").network == "784-512-10"
    assert throughput.expected(signature(), "cpu", "slow").network == "784-8-10"


def test_short_sessions_and_torn_lines_do_not_count(signature):
    record(signature(), 4e12, seconds=9.0)
    assert throughput.expected(signature(), "cpu") is None
    record(signature(), 4e12)
    with (cache_folder() / throughput.FILE).open("a") as file:
        file.write('{"sizes": [784, 8\n{}\n')
    assert throughput.expected(signature(), "cpu").readings == 1


def test_before_anything_was_measured_the_committed_benchmark_is_asked(signature, monkeypatch):
    monkeypatch.setattr(throughput, "BENCHMARK", BENCHMARK)
    found = throughput.expected(signature(model__widths=[16, 16]), "cpu")
    assert found.network == "784-16-16-10" and found.readings == 5
    # 3.17 million examples a second on two cores, 52,672 operations each.
    assert found.flop == pytest.approx(83.4e9, rel=0.01)
