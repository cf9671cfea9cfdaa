"""Our contestant: the one place where the benchmark calls the suite."""

from dataclasses import replace
from functools import partial

import numpy as np

from experiments.benchmark.interleaving import Contestant, Reading
from experiments.benchmark.names import EXAMPLES, OURS
from experiments.benchmark.work import BATCH, LEARNING_RATES, MOMENTUM, Work
from memo.config import Config, Labels, Model, Optimizer, Trial, make_trials
from memo.config import Dataset as DatasetKeys
from memo.data.datasets import Dataset
from memo.networks.status import DIVERGED
from memo.training import execution, population
from memo.training.execution import Trained

TEST_IMAGES = 128  # evaluated three times in a training: as few as may be

Composition = tuple[int, tuple[str, ...], tuple[float, ...]]


def composition(networks: int) -> Composition:
    """Return (seeds, kinds of labels, learning rates) whose product has that many networks.

    There are true and shuffled labels, and four learning rates per seed from 32 networks on, two or one in smaller
    populations, as far as the number of networks is divisible.
    """
    for rates, least in ((4, 32), (2, 4), (1, 2)):
        if networks % (2 * rates) == 0 and networks >= least:
            return networks // (2 * rates), ("true", "shuffled"), LEARNING_RATES[:rates]
    return networks, ("true",), LEARNING_RATES[:1]


def trials(work: Work, composed: Composition) -> list[Trial]:
    """Return the trials of a population; none of them stops early."""
    seeds, kinds, rates = composed
    base = Config(
        dataset=DatasetKeys(n_train=work.images, n_test=TEST_IMAGES),
        model=Model(widths=list(work.hidden)),
        batch_size=BATCH,
        epochs=work.epochs,
        stop_at_train_accuracy=None,
        evaluations=2,
        seeds=seeds,
    )
    asked = []
    for kind in kinds:
        for rate in rates:
            optimizer = Optimizer(learning_rate=rate, momentum=MOMENTUM)
            asked += make_trials(replace(base, labels=Labels(kind=kind), optimizer=optimizer))
    return asked


def train(asked: list[Trial], dataset: Dataset) -> tuple[Trained, int]:
    """Return trials of one signature, trained as one population, and how many of them diverged."""
    (group,) = population.plan(asked)
    trained = execution.train(group, dataset)
    return trained, int(np.sum(np.array(trained.status) == DIVERGED))


def contestant(work: Work, dataset: Dataset, composed: Composition, parts: tuple[str, ...] = ("train",)) -> Contestant:
    """Return our training of a population; its seconds are those of `parts`, by default without preparing and compiling.

    Evaluations are included. Where only training counts, a network that diverges, and so stops costing, is a fault.
    """

    def read(asked: list[Trial]) -> Reading:
        trained, diverged = train(asked, dataset)
        if diverged and parts == ("train",):
            raise RuntimeError(f"{diverged} networks of the benchmark diverged and stopped costing.")
        seeds, kinds, rates = composed
        note = f"{seeds} seeds × {len(kinds)} kinds of labels × {len(rates)} learning rates; {diverged} diverged"
        seconds = sum(trained.seconds[part] for part in parts)
        return Reading(seconds, work.networks * work.examples, trained.seconds["compile"], note)

    return Contestant(OURS, EXAMPLES, lambda: partial(read, trials(work, composed)))
