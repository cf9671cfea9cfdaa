"""Measuring contestants side by side: a warm-up each, then repetition by repetition, every reading stored at once."""

import gc
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.benchmark.journal import Journal

logger = logging.getLogger(__name__)


class Reading(NamedTuple):
    """What one measurement found: `amount` (training examples or FLOP, see `Contestant.unit`) in `seconds`."""

    seconds: float
    amount: float
    compile: float = 0.0  # seconds of compiling before the clock of `seconds` started
    note: Any = ""  # such as the options that were chosen


class Contestant(NamedTuple):
    """One row of a comparison. `start()` prepares it and returns the function that takes one reading."""

    name: str
    unit: str
    start: Callable[[], Callable[[], Reading]]


class LeftOut(Exception):
    """A contestant cannot take part in a setting; the message is the reason, for the table."""


def interleave(
    journal: Journal, setting: str, contestants: Sequence[Contestant], repetitions: int, warm_up: bool = True
) -> None:
    """Take the readings that the journal lacks: repetition 1 of every contestant, then repetition 2, and so on.

    In each repetition another contestant goes first. Each is warmed up once before, which is stored as repetition 0. One
    that fails in a way that says something about it (memory, a missing feature) is recorded, and not tried again, unless it was
    left out for what may be there the next time; our own faults are raised.
    """
    reads: dict[str, Callable[[], Reading]] = {}
    failed = {one.name for one in contestants if _failed(journal, setting, one.name)}
    due = {one.name: {*range(1, repetitions + 1)} - journal.readings(setting, one.name).keys() for one in contestants}
    for repetition in range(0 if warm_up else 1, repetitions + 1):
        gc.collect()  # what did not fit is gone before the next one starts
        shift = repetition % max(1, len(contestants))
        for one in [*contestants[shift:], *contestants[:shift]]:
            wanted = repetition in due[one.name] or (due[one.name] and not repetition)
            if not wanted or one.name in failed:
                continue
            logger.info("%s: %s, repetition %d", setting, one.name, repetition)
            record = {"setting": setting, "contestant": one.name, "unit": one.unit}
            try:
                if one.name not in reads:
                    reads[one.name] = one.start()
                reading = reads[one.name]()
            except Exception as error:
                if (reason := explain(error)) is None:
                    raise
                logger.info("%s: %s: %s", setting, one.name, reason)
                if journal.last("failure", setting=setting, contestant=one.name) != reason:
                    journal.add(**record, failure=reason, left_out=isinstance(error, LeftOut))
                failed.add(one.name)
                reads.pop(one.name, None)
            else:
                journal.add(**record, repetition=repetition, **reading._asdict())


def _failed(journal: Journal, setting: str, contestant: str) -> bool:
    """Return whether a contestant has failed in what is measured, and was not only left out."""
    return any(
        "failure" in one and not one.get("left_out") for one in journal.find(setting=setting, contestant=contestant)
    )


def explain(error: Exception) -> str | None:
    """Return the table's words for a failure that belongs to the contestant, or None for a fault of the benchmark."""
    text = str(error)
    if isinstance(error, LeftOut):
        return text
    exhausted = ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
    if isinstance(error, MemoryError) or any(words in text for words in exhausted):
        return "out of memory"
    # PyTorch's compiler fails for many reasons, all of them the peer's own.
    if type(error).__module__.split(".")[0] in ("torch", "triton"):
        return f"failed ({type(error).__name__}: {text.splitlines()[0] if text else ''})"
    return None


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes; it must wait for whatever it starts."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def repeated(work: Callable[[], object], seconds: float) -> list[float]:
    """Return the seconds of each of the calls, one after the other, that fill so many seconds."""
    calls = [timed(work)]
    while sum(calls) < seconds:
        calls.append(timed(work))
    return calls


def fastest(options: Mapping[str, Callable[[], Callable[[], object]]], seconds: float) -> tuple[str, float]:
    """Return (name, seconds per call) of the option whose prepared function runs fastest.

    In two rounds over all options, each is prepared, called once to warm up, and then called for at least `seconds`. Its
    fastest call counts, so that a disturbance does not decide. A warm-up of ten times `seconds` is trial enough.
    """
    best = dict.fromkeys(options, math.inf)
    for _ in range(min(2, len(options))):
        for name, prepare in options.items():
            call = prepare()
            first = timed(call)
            best[name] = min(best[name], first if first >= 10 * seconds else min(repeated(call, seconds)))
            del call  # or two options would share the memory
    return min(best.items(), key=lambda option: option[1])
