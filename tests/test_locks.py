"""Networks that train are held: a process that wants one of them waits, whatever else it trains, and others do not."""

import multiprocessing
from pathlib import Path

import pytest

from memo.errors import Refusal
from memo.storage import locks

SPAWN = multiprocessing.get_context("spawn")  # a fork of a process with the threads of JAX may hang


def hold(networks, held, release):
    with locks.training(networks):
        held.set()
        release.wait(60)


@pytest.fixture
def other():
    """Return `other(networks) -> (held, release, process)`: events of another process that holds networks, or waits for them."""
    started = []

    def start(networks):
        held, release = SPAWN.Event(), SPAWN.Event()
        process = SPAWN.Process(target=hold, args=(networks, held, release), daemon=True)
        process.start()
        started.append((process, held, release))  # events live as long as something refers to them
        return held, release, process

    yield start
    for process, _, _ in started:
        process.kill()
        process.join()


def test_who_wants_one_of_them_waits_and_who_wants_others_does_not(other, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    first, release, process = other({a: range(5), b: [7]})
    assert first.wait(30)
    overlapping, release_it, _ = other({b: [6, 7, 8]})
    beside, release_beside, _ = other({a: [5], b: [6, 8]})
    assert beside.wait(30)
    release_beside.set()
    assert not overlapping.wait(0.2)
    release.set()
    assert overlapping.wait(30)
    release_it.set()
    process.join()


def test_a_killed_process_holds_nothing_and_the_file_goes_with_the_last(other, tmp_path):
    held, _, process = other({tmp_path / "a": [0]})
    assert held.wait(30)
    process.kill()
    process.join()
    after, release, process = other({tmp_path / "a": [0, 1, 5]})
    assert after.wait(30)
    release.set()
    process.join()
    assert not (tmp_path / locks.FILE).exists()


def test_a_link_is_the_folder_it_leads_to(other, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    held, release, _ = other({tmp_path / "real": [0]})
    assert held.wait(30)
    through, _, _ = other({tmp_path / "link": [0]})
    assert not through.wait(0.2)
    release.set()
    assert through.wait(30)


def test_consecutive_seeds_are_one_lock():
    assert list(locks._stretches([3, 1, 2, 9, 2])) == [(1, 3), (9, 1)]


def test_a_file_system_without_locks_is_one_sentence(monkeypatch, tmp_path):
    def lockf(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "lockf", lockf)
    with (
        pytest.raises(Refusal, match=r"cannot be locked \(No locks available\)"),
        locks.training({Path(tmp_path / "a"): [0]}),
    ):
        pass
