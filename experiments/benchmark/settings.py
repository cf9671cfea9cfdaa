"""The benchmark's settings: contestants by width, growth with the number of networks, the published workload."""

import logging
import os
import statistics
from dataclasses import asdict
from functools import cache
from typing import NamedTuple

from experiments.benchmark import contestants, names, ours
from experiments.benchmark.interleaving import Contestant, interleave
from experiments.benchmark.journal import Journal
from experiments.benchmark.sizes import Sizes
from experiments.benchmark.work import BATCH, Work, sized
from memo.data.datasets import MNIST, Dataset

logger = logging.getLogger(__name__)

# Feldman and Zhang's demonstration on MNIST: 2,000 MLPs, each on its own random 70 % of the training images.
PUBLISHED_HIDDEN, PUBLISHED_IMAGES, PUBLISHED_EPOCHS, PUBLISHED_RATE = (512, 256), 42_000, 10, 0.1
PUBLISHED_LONGEST = 3600  # seconds at the machine's limit, beyond which it is left out
MEMORY_SHARE = 0.6  # of a CPU machine's memory that a growing population may fill before it is stopped


class Setting(NamedTuple):
    """A population in which contestants meet; the name holds all that its readings depend on."""

    part: str  # comparison, growth or published
    name: str
    work: Work  # its images and epochs at least, before it is sized by the machine

    @property
    def width(self) -> int | None:
        """The width of both hidden layers, or None for the published workload."""
        return None if self.part == names.PUBLISHED else self.work.hidden[0]


def listed(sizes: Sizes) -> list[Setting]:
    """Return all settings in the order of their measuring, growth with ever more networks of one width after another."""
    rules = {
        names.COMPARISON: f"{sizes.seconds:g} s, {sizes.epochs} epochs; "
        f"limits {sizes.limit_seconds:g} s, {sizes.copy_megabytes} MB",
        names.GROWTH: f"growth, {sizes.growth_seconds:g} s, {sizes.epochs} epochs",
    }
    found = [(names.COMPARISON, width, count) for width, count in sizes.widths]
    found += [(names.GROWTH, width, count) for width, counts in sizes.growth for count in counts]
    settings = []
    for part, width, count in found:
        work = Work((width, width), count, BATCH, sizes.epochs)
        settings.append(Setting(part, f"{'-'.join(map(str, work.sizes))} × {count} ({rules[part]})", work))
    if sizes.published_networks:
        work = Work(PUBLISHED_HIDDEN, sizes.published_networks, PUBLISHED_IMAGES, PUBLISHED_EPOCHS)
        settings.append(Setting(names.PUBLISHED, f"published workload, {sizes.published_networks} networks", work))
    return settings


def measured_work(journal: Journal, setting: Setting) -> Work | None:
    """Return what a setting trained, or None where it was never begun."""
    stored = journal.last("work", setting=setting.name)
    return stored and Work(**stored | {"hidden": tuple(stored["hidden"])})


def measure(journal: Journal, sizes: Sizes, dataset: Dataset) -> None:
    """Take every reading that the journal lacks."""

    @cache
    def limits() -> tuple[float, float]:
        flops, bandwidth = contestants.limits_now(sizes)
        logger.info("XLA multiplies matrices at %.3g GFLOP/s and copies at %.3g GB/s", flops / 1e9, bandwidth / 1e9)
        return flops, bandwidth

    before = None
    for setting in listed(sizes):
        part, name, work = setting
        if (stored := measured_work(journal, setting)) is not None:
            work = stored
        else:
            if part != names.PUBLISHED:
                seconds, minibatches = (sizes.seconds, 2) if part == names.COMPARISON else (sizes.growth_seconds, 1)
                work = sized(work, seconds, *limits(), minibatches)
            journal.add(setting=name, work=asdict(work))
        if part == names.COMPARISON:
            taking_part = contestants.training(work, dataset, sizes.seconds) + contestants.machine(sizes)
            interleave(journal, name, taking_part, sizes.repetitions)
        elif part == names.GROWTH:
            fewer = before if before and (before.part, before.width) == (part, setting.width) else None
            _grow(journal, sizes, dataset, setting, work, fewer)
        elif not (journal.rates(name, names.OURS) or journal.failure(name, names.OURS)):
            _publish(journal, dataset, name, work, limits()[0])
        before = setting


def _grow(
    journal: Journal, sizes: Sizes, dataset: Dataset, setting: Setting, work: Work, fewer: Setting | None
) -> None:
    peers = (names.VMAP_OWN, names.COMPILED_OWN) if contestants.on_gpu() else (names.VMAP_OWN,)
    taking_part = [
        ours.contestant(work, dataset, ours.composition(work.networks)),
        *(contestants.peer(name, work, dataset, sizes.growth_seconds) for name in peers),
    ]
    for one in taking_part:
        reason = too_large(journal, sizes.longest, one.name, fewer, work)
        if reason:
            _leave_out(journal, setting.name, one, reason)
    interleave(journal, setting.name, taking_part, sizes.growth_repetitions)


def _leave_out(journal: Journal, setting: str, one: Contestant, reason: str) -> None:
    if not (journal.failure(setting, one.name) or journal.rates(setting, one.name)):
        journal.add(setting=setting, contestant=one.name, unit=one.unit, failure=reason)


def too_large(journal: Journal, longest: float, name: str, fewer: Setting | None, work: Work) -> str | None:
    """Return why a contestant is not to be tried with this many networks, judging by its readings with fewer, or None."""
    if not contestants.on_gpu():
        # Weights, gradients and momentum, a product of theirs, and a minibatch of each network. An overfull processor
        # ends the process, where an overfull GPU raises an error.
        needed = work.networks * 4 * (4 * work.weights + BATCH * MNIST.pixels)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > MEMORY_SHARE * memory:
            return f"left out: about {needed / 1e9:.0f} GB of the machine's {memory / 1e9:.0f}"
    if fewer is None:
        return None
    rates = journal.rates(fewer.name, name).values()
    if rates and (expected := work.networks * work.examples / statistics.median(rates)) > longest:
        return f"left out: a reading would take about {expected:.0f} s"
    return journal.failure(fewer.name, name)


def _publish(journal: Journal, dataset: Dataset, setting: str, work: Work, flops: float) -> None:
    """Take the one reading of the published workload: preparing, compiling and training together."""
    composed = work.networks, ("true",), (PUBLISHED_RATE,)
    own = ours.contestant(work, dataset, composed, ("prepare", "compile", "train"))
    least = work.networks * work.examples * work.flop_per_example / flops
    if least > PUBLISHED_LONGEST:
        _leave_out(journal, setting, own, f"left out: at least {least / 3600:.1f} hours at this machine's limit")
    interleave(journal, setting, [own], 1, warm_up=False)
