"""Our contestant: the one place where the benchmark calls the suite."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

from experiments.benchmark.interleaving import Reading
from experiments.benchmark.settings import BATCH, MOMENTUM, Work
from memo.config import Config, Labels, Model, Optimizer, Trial, make_trials
from memo.config import Dataset as DatasetKeys
from memo.data.datasets import Dataset
from memo.networks.status import DIVERGED
from memo.training import execution, population
from memo.training.execution import Trained

TEST_IMAGES = 128  # evaluated three times in a training: as few as may be


def composition(work: Work) -> tuple[int, tuple[str, ...], tuple[float, ...]]:
    """Return (seeds, kinds of labels, learning rates) whose product has as many networks as the work.

    There are true and shuffled labels, and four learning rates per seed from 32 networks on, two or one in smaller
    populations, as far as the number of networks is divisible; a workload with one learning rate has true labels only.
    """
    networks, rates = work.networks, work.learning_rates
    for count, least in ((4, 32), (2, 4), (1, 2)):
        if networks % (2 * count) == 0 and networks >= least and len(rates) > 1:
            return networks // (2 * count), ("true", "shuffled"), rates[:count]
    return networks, ("true",), rates[:1]


def trials(work: Work) -> list[Trial]:
    """Return the trials of a population; none of them stops early."""
    seeds, kinds, rates = composition(work)
    base = Config(
        dataset=DatasetKeys(n_train=work.images, n_test=TEST_IMAGES),
        model=Model(widths=list(work.hidden)),
        batch_size=BATCH,
        epochs=work.epochs,
        stop_at_train_accuracy=None,
        evaluations=2,
        seeds=seeds,
    )
    each = [
        (Labels(kind=kind), Optimizer(learning_rate=rate, momentum=MOMENTUM)) for kind, rate in product(kinds, rates)
    ]
    return [
        trial for labels, optimizer in each for trial in make_trials(replace(base, labels=labels, optimizer=optimizer))
    ]


def train(asked: list[Trial], dataset: Dataset) -> Trained:
    """Return trials of one signature, trained as one population; a network that diverges, and so stops costing, is a fault."""
    (group,) = population.plan(asked)
    trained = execution.train(group, dataset)
    if diverged := trained.status.count(DIVERGED):
        raise RuntimeError(f"{diverged} networks of the benchmark diverged and stopped costing.")
    return trained


def start(work: Work, dataset: Dataset) -> Callable[[], Reading]:
    """Return the function that trains a population; its seconds have evaluations in them, but not preparing and compiling."""
    asked, (seeds, kinds, rates) = trials(work), composition(work)
    note = f"{seeds} seeds × {len(kinds)} kinds of labels × {len(rates)} learning rates"

    def read() -> Reading:
        seconds = train(asked, dataset).seconds
        return Reading(seconds["train"], work.networks * work.examples, seconds["compile"], note)

    return read
