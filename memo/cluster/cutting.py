"""Populations cut into tasks for machines that share nothing but a file system; nothing is trained or submitted here.

populations ──packs_of──> packs ──cut──> tasks ──memo.storage.sweep.complete on each machine──> run folders
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from memo.config import Execution, Trial
from memo.storage.throughput import Throughput
from memo.training.machine import SPEED, Machine
from memo.training.population import Population, Signature, lay_out, most_flop, shared_packs

# Networks whose tables a process holds at a time: 10 kB each with the default probe, more with others.
NETWORKS = 8192


class Pack(NamedTuple):
    """Trials of one population that stay together, and the seconds that a task's machine takes for them."""

    signature: Signature
    trials: tuple[Trial, ...]
    seconds: float


class Task(NamedTuple):
    """Populations that one machine trains one after the other."""

    populations: tuple[Population, ...]
    seconds: float


def assumed(platform: str) -> Throughput:
    """Return the operations per second assumed in plans where nothing was measured."""
    return Throughput(SPEED[platform], "", platform, 0)


def seconds(population: Population, machine: Machine, throughput: Throughput) -> float:
    """Return the seconds that a machine takes for a population at most: as if no network stopped early."""
    return most_flop(population) / (throughput.flop * machine.workers)


def packs_of(population: Population, machine: Machine, execution: Execution, total: float) -> list[Pack]:
    """Return a population that takes `total` seconds as packs: networks that share minibatches on this machine."""
    layout = lay_out(population, machine, execution)
    return [
        Pack(
            population.signature,
            tuple(population.trials[place] for place in places),
            total * len(places) / len(population.trials),
        )
        for places in shared_packs(population, layout.pack_size)
    ]


def cut(packs: Sequence[Pack], aim: float, most: int, networks: int = NETWORKS) -> list[Task]:
    """Return at most `most` tasks of about `aim` seconds, which together hold each pack once.

    Their lengths differ by at most one pack. Packs stay in their order, so that few tasks share a population, whose program
    each of them compiles. A population of a task has at most `networks` networks, or one pack.
    """
    if not packs:
        return []
    total = sum(pack.seconds for pack in packs)
    count = max(1, min(most, len(packs), math.ceil(total / aim)))
    shares: list[list[Pack]] = [[] for _ in range(count)]
    before = 0.0
    for pack in packs:
        middle = before + pack.seconds / 2
        shares[min(count - 1, int(count * middle / total)) if total > 0 else 0].append(pack)
        before += pack.seconds
    return [
        Task(tuple(_populations(share, networks)), sum(pack.seconds for pack in share)) for share in shares if share
    ]


def _populations(packs: Iterable[Pack], networks: int) -> Iterator[Population]:
    held: dict[Signature, list[list[Trial]]] = {}
    for pack in packs:
        parts = held.setdefault(pack.signature, [[]])
        if parts[-1] and len(parts[-1]) + len(pack.trials) > networks:
            parts.append([])
        parts[-1].extend(pack.trials)
    return (Population(common, tuple(part)) for common, parts in held.items() for part in parts)


def makespan(durations: Iterable[float], at_once: int) -> float:
    """Return the seconds until the last task has ended, each starting as soon as one of `at_once` machines is free."""
    free = [0.0] * at_once
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)
