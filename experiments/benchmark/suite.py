"""The benchmark's settings: contestants by width, growth with the number of networks, the published workload."""

import logging
import os
import statistics
from dataclasses import asdict
from functools import cache
from typing import NamedTuple

from experiments.benchmark import contestants, ours
from experiments.benchmark.contestants import COMPILED_OWN, EXAMPLES, OURS, VMAP_OWN
from experiments.benchmark.journal import Journal
from experiments.benchmark.measure import interleave
from experiments.benchmark.sizes import Sizes
from experiments.benchmark.work import BATCH, Work, sized
from memo.data.datasets import MNIST, Dataset
from memo.training import machine

logger = logging.getLogger(__name__)

# Feldman and Zhang's demonstration on MNIST: 2,000 MLPs, each on its own random 70 % of the training images.
PUBLISHED_HIDDEN, PUBLISHED_IMAGES, PUBLISHED_EPOCHS, PUBLISHED_RATE = (512, 256), 42_000, 10, 0.1
PUBLISHED_LONGEST = 3600  # seconds at the machine's limit, beyond which it is left out
GROWTH_PEERS = (VMAP_OWN, COMPILED_OWN)
MEMORY_SHARE = 0.6  # of a CPU machine's memory that a growing population may fill before it is stopped


class Setting(NamedTuple):
    """A population by its width and number; the name holds all that its readings depend on."""

    name: str
    width: int
    networks: int


def comparisons(sizes: Sizes) -> list[Setting]:
    """Return the settings in which all contestants meet."""
    rule = f"{sizes.seconds:g} s, {sizes.epochs} epochs; limits {sizes.limit_seconds:g} s, {sizes.copy_megabytes} MB"
    return [Setting(f"{_name(width, networks)} ({rule})", width, networks) for width, networks in sizes.widths]


def growths(sizes: Sizes) -> list[list[Setting]]:
    """Return, for each width, the settings with ever more networks."""
    rule = f"growth, {sizes.growth_seconds:g} s, {sizes.epochs} epochs"
    return [
        [Setting(f"{_name(width, networks)} ({rule})", width, networks) for networks in counts]
        for width, counts in sizes.growth
    ]


def published(sizes: Sizes) -> Work:
    """Return the published workload, with as many networks as the sizes say."""
    return Work(PUBLISHED_HIDDEN, sizes.published_networks, PUBLISHED_IMAGES, PUBLISHED_EPOCHS)


def published_name(sizes: Sizes) -> str:
    """Return the name of the published workload's setting."""
    return f"published workload, {sizes.published_networks} networks"


def _name(width, networks):
    return f"{MNIST.pixels}-{width}-{width}-{MNIST.classes} × {networks}"


def work_of(journal: Journal, setting: str) -> Work | None:
    """Return what a setting trained, or None where it was never begun."""
    found = [record for record in journal.find(setting=setting) if "work" in record]
    return Work(**found[0]["work"] | {"hidden": tuple(found[0]["work"]["hidden"])}) if found else None


def measure(journal: Journal, sizes: Sizes, dataset: Dataset) -> None:
    """Take every reading that the journal lacks."""

    @cache
    def limits():
        flops, bandwidth = contestants.limits_now(sizes)
        logger.info("XLA multiplies matrices at %.3g GFLOP/s and copies at %.3g GB/s", flops / 1e9, bandwidth / 1e9)
        return flops, bandwidth

    def work(setting, seconds, minibatches):
        stored = work_of(journal, setting.name)
        if stored is None:
            hidden = (setting.width, setting.width)
            flops, bandwidth = limits()
            stored = sized(hidden, setting.networks, seconds, sizes.epochs, flops, bandwidth, minibatches)
            journal.add(setting=setting.name, work=asdict(stored))
        return stored

    for setting in comparisons(sizes):
        mine = work(setting, sizes.seconds, 2)
        listed = contestants.training(mine, dataset, sizes.seconds) + contestants.machine(sizes)
        interleave(journal, setting.name, listed, sizes.repetitions)
    for settings in growths(sizes):
        _grow(journal, sizes, dataset, [(setting, work(setting, sizes.growth_seconds, 1)) for setting in settings])
    if sizes.published_networks:
        _publish(journal, sizes, dataset, limits)


def _grow(journal, sizes, dataset, settings):
    names = [OURS, *(GROWTH_PEERS if contestants.on_gpu() else GROWTH_PEERS[:1])]
    for before, (setting, work) in zip([None, *settings], settings):
        for name in names:
            reason = _too_large(journal, sizes, name, before, work)
            if reason and journal.failure(setting.name, name) is None and not _has_any(journal, setting.name, name):
                journal.add(setting=setting.name, contestant=name, unit=EXAMPLES, failure=reason)
        listed = [
            contestants.our(work, dataset),
            *(contestants.vmap(name, work, dataset, sizes.growth_seconds) for name in names[1:]),
        ]
        interleave(journal, setting.name, listed, sizes.growth_repetitions)


def _too_large(journal, sizes, name, before, work):
    """Return why a contestant is not to be tried with this many networks, judging by its readings with fewer."""
    if not contestants.on_gpu():
        # Weights, gradients and momentum, a product of theirs, and a minibatch of each network. An overfull processor
        # ends the process, where an overfull GPU raises an error.
        bytes_needed = work.networks * 4 * (4 * work.weights + BATCH * MNIST.pixels)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if bytes_needed > MEMORY_SHARE * memory:
            return f"left out: about {bytes_needed / 1e9:.0f} GB of the machine's {memory / 1e9:.0f}"
    if before is None:
        return None
    setting, _ = before
    failure = journal.failure(setting.name, name)
    if failure is not None:
        return failure
    rates = [r["amount"] / r["seconds"] for r in journal.find(setting=setting.name, contestant=name) if "seconds" in r]
    if rates and (expected := work.networks * work.examples / statistics.median(rates)) > sizes.longest:
        return f"left out: a reading would take about {expected:.0f} s"
    return None


def _has_any(journal, setting, name):
    return any("seconds" in record for record in journal.find(setting=setting, contestant=name))


def _publish(journal, sizes, dataset, limits):
    """Take the one reading of the published workload: preparing, compiling and training together."""
    name, work = published_name(sizes), published(sizes)
    if journal.has(name, OURS, 1) or journal.failure(name, OURS):
        return
    if work_of(journal, name) is None:
        journal.add(setting=name, work=asdict(work))
    flops, _ = limits()
    least = work.networks * work.examples * work.flop_per_example / flops
    if least > PUBLISHED_LONGEST:
        reason = f"left out: at least {least / 3600:.1f} hours at this machine's limit"
        journal.add(setting=name, contestant=OURS, unit=EXAMPLES, failure=reason)
        return
    logger.info("%s: at least %.3g s at this machine's limit", name, least)
    outcome = ours.train(ours.trials(work, (PUBLISHED_RATE,)), dataset)
    journal.add(
        setting=name,
        contestant=OURS,
        repetition=1,
        unit=EXAMPLES,
        seconds=sum(outcome.seconds.values()),
        amount=work.networks * work.examples,
        compile=outcome.seconds["compile"],
        note=f"{outcome.diverged} of {work.networks} networks diverged",
    )


def start() -> None:
    """Choose the devices as the suite's own commands do; to be called before JAX is used."""
    # PyTorch and JAX share a GPU here, so neither may take all of its memory at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    machine.use_every_core()
