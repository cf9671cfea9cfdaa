"""Measuring contestants side by side: a warm-up each, then repetition by repetition, every reading stored at once."""

import gc
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from experiments.benchmark.journal import WARM_UP, Journal

logger = logging.getLogger(__name__)


class Reading(NamedTuple):
    """What one measurement found: `amount` (training examples, FLOP or bytes, see `Contestant.unit`) in `seconds`."""

    seconds: float
    amount: float
    compile: float = 0.0  # seconds of compiling before the clock of `seconds` started
    note: str = ""  # such as the options that were chosen


class Contestant(NamedTuple):
    """One row of a comparison. `start()` prepares it and returns the function that takes one reading."""

    name: str
    unit: str
    start: Callable[[], Callable[[], Reading]]


class LeftOut(Exception):
    """A contestant that cannot take part in a setting; the message is the reason, for the table."""


def order(names: Sequence[str], repetition: int) -> list[str]:
    """Return who is measured when in a repetition: each time another one goes first."""
    first = repetition % len(names)
    return [*names[first:], *names[:first]]


def interleave(journal: Journal, setting: str, contestants: Sequence[Contestant], repetitions: int) -> None:
    """Take the readings that the journal lacks: repetition 1 of every contestant, then repetition 2, and so on.

    Each contestant is warmed up once before, which is stored as repetition 0. One that fails in a way that says
    something about it (memory, a missing feature) is recorded as such; our own faults are raised.
    """
    missing = {
        (contestant.name, repetition)
        for contestant in contestants
        for repetition in range(1, repetitions + 1)
        if not journal.has(setting, contestant.name, repetition) and journal.failure(setting, contestant.name) is None
    }
    running: dict[str, Callable[[], Reading]] = {}
    units = {contestant.name: contestant.unit for contestant in contestants}

    def take(name, repetition, read):
        try:
            reading = read()
        except Exception as error:
            reason = explain(error)
            if reason is None:
                raise
            journal.add(setting=setting, contestant=name, unit=units[name], failure=reason)
            logger.info("%s: %s: %s", setting, name, reason)
            running.pop(name, None)
            if not isinstance(error, LeftOut):
                gc.collect()  # what did not fit is to be gone before the next one starts
            return
        journal.add(setting=setting, contestant=name, repetition=repetition, unit=units[name], **reading._asdict())

    for contestant in contestants:
        if any(name == contestant.name for name, _ in missing):
            logger.info("%s: warming up %s", setting, contestant.name)

            def first(contestant=contestant):
                running[contestant.name] = contestant.start()
                return running[contestant.name]()

            take(contestant.name, WARM_UP, first)
    for repetition in range(1, repetitions + 1):
        if any(due == repetition and name in running for name, due in missing):
            logger.info("%s: repetition %d of %d", setting, repetition, repetitions)
            gc.collect()
        for name in order([contestant.name for contestant in contestants], repetition):
            if (name, repetition) in missing and name in running:
                take(name, repetition, running[name])


def explain(error: Exception) -> str | None:
    """Return the table's words for a failure that belongs to the contestant, or None for a fault of the benchmark."""
    text = str(error)
    if isinstance(error, LeftOut):
        return text
    exhausted = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
    if isinstance(error, MemoryError) or any(words in text for words in exhausted):
        return "out of memory"
    # PyTorch's compiler and CUDA graphs fail for many reasons, all of them of the peer.
    if type(error).__module__.split(".")[0] in ("torch", "triton"):
        return f"failed ({type(error).__name__}: {text.splitlines()[0] if text else ''})"
    return None


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes; it must wait for whatever it starts."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def fastest(options: Mapping[str, Callable[[], Callable[[], None]]], seconds: float) -> tuple[str, float]:
    """Return (name, seconds a call) of the option whose prepared function runs fastest.

    In two rounds over all options, each is prepared, called once to warm up, and then called again for at least
    `seconds`. Its fastest call counts, so that a disturbance does not decide; where the warm-up is long enough to
    compare by, it is the trial.
    """
    best = dict.fromkeys(options, math.inf)
    for _ in range(2 if len(options) > 1 else 1):
        for name, prepare in options.items():
            call = prepare()
            warm_up = timed(call)
            calls = _durations(call, seconds) if warm_up < 10 * seconds else [warm_up]
            best[name] = min(best[name], *calls)
            del call  # or two options would share the memory
    name = min(best, key=lambda name: best[name])
    return name, best[name]


def _durations(call: Callable[[], object], seconds: float) -> Iterator[float]:
    left = seconds
    while left > 0:
        duration = timed(call)
        left -= duration
        yield duration
