"""Cutting a plan: every network once, tasks alike, within their limits."""

import itertools

import pytest

from memo.cluster import cutting
from memo.config import Execution
from memo.storage.throughput import Throughput
from memo.training.machine import Machine
from memo.training.population import Population, most_flop, plan

MACHINE = Machine("cpu", 2, 4_000_000_000)


@pytest.fixture(scope="module")
def packs(trials):
    """The packs of two populations, of 40 and of 20 networks, one second a network of the first, three of the second."""
    kinds = ({}, {"labels.kind": "shuffled"})
    wanted = trials({"seeds": 20}, *kinds) + trials({"seeds": 20, "model.widths": [64]})
    seconds = {1: 40.0, 0: 60.0}
    return [
        pack
        for place, group in enumerate(sorted(plan(wanted), key=lambda group: len(group.trials)))
        for pack in cutting.packs_of(group, MACHINE, Execution(), seconds[place])
    ]


def trained(cut):
    return [trial.id for task in cut for group in task.populations for trial in group.trials]


@pytest.mark.parametrize(("aim", "most"), [*itertools.product((1e-9, 7, 30, 1e9), (1, 3, 7, 1000))])
def test_every_network_is_in_one_task(packs, aim, most):
    cut = cutting.cut(packs, aim, most)
    assert 1 <= len(cut) <= min(most, len(packs))
    assert sorted(trained(cut)) == sorted(trial.id for pack in packs for trial in pack.trials)
    assert sum(task.seconds for task in cut) == pytest.approx(100)


def test_tasks_are_as_long_as_asked_but_for_a_pack(packs):
    longest = max(pack.seconds for pack in packs)
    for aim in (10, 20, 50):
        cut = cutting.cut(packs, aim, 1000)
        assert len(cut) == 100 / aim
        assert all(abs(task.seconds - aim) <= longest for task in cut)


def test_a_task_holds_one_population_but_where_two_meet(packs):
    cut = cutting.cut(packs, 10, 1000)
    assert sum(len(task.populations) for task in cut) <= len(cut) + 1


def test_twins_of_a_seed_stay_together(packs):
    task_of = {}
    for number, task in enumerate(cutting.cut(packs, 10, 1000)):
        for group in task.populations:
            for trial in group.trials:
                task_of.setdefault((group.signature, trial.seed), set()).add(number)
    assert all(len(numbers) == 1 for numbers in task_of.values())


def test_a_population_of_a_task_is_bounded(packs):
    (task,) = cutting.cut(packs, 1e9, 1000, networks=7)
    sizes = [len(group.trials) for group in task.populations]
    assert max(sizes) <= 7
    assert sorted(trained([task])) == sorted(trial.id for pack in packs for trial in pack.trials)


def test_nothing_is_no_task():
    assert cutting.cut([], 60, 10) == []


def test_seconds_are_operations_by_throughput(trials):
    (group,) = plan(trials({"seeds": 4}))
    half = Population(group.signature, group.trials[:2])
    rate = Throughput(1e9, "", "", 1)
    assert cutting.seconds(group, MACHINE, rate) == pytest.approx(most_flop(group) / 2e9)
    assert cutting.seconds(half, MACHINE, rate) == pytest.approx(cutting.seconds(group, MACHINE, rate) / 2)


@pytest.mark.parametrize(
    ("durations", "at_once", "expected"),
    [([1, 2, 3], 1, 6), ([1, 2, 3], 3, 3), ([3, 1, 1, 1], 2, 3), ([1, 1, 1, 3], 2, 4), ([], 2, 0)],
)
def test_makespan(durations, at_once, expected):
    assert cutting.makespan(durations, at_once) == expected
