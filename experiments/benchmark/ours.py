"""Ours: the one place where the benchmark calls the suite."""

from typing import NamedTuple

import numpy as np

from experiments.benchmark.work import BATCH, MOMENTUM, Work, composition
from memo.config import Config, Labels, Model, Optimizer, Trial, make_trials
from memo.config import Dataset as DatasetKeys
from memo.data.datasets import Dataset
from memo.networks.status import DIVERGED
from memo.training import execution, population

TEST_IMAGES = 128  # evaluated three times in a training: as few as may be


class Outcome(NamedTuple):
    """Seconds by stage (`prepare`, `compile`, `train`), the number of diverged networks, and the final weights."""

    seconds: dict[str, float]
    diverged: int
    layers: object  # as `memo.Trained` has them, in the order of the trials


def trials(work: Work, learning_rates: tuple[float, ...] | None = None) -> list[Trial]:
    """Return the trials of a realistic population: seeds x kinds of labels x learning rates, no early stop."""
    seeds, kinds, rates = composition(work.networks)
    if learning_rates is not None:
        seeds, kinds, rates = work.networks, ("true",), learning_rates
    asked = []
    for kind in kinds:
        for rate in rates:
            config = Config(
                dataset=DatasetKeys(n_train=work.images, n_test=TEST_IMAGES),
                labels=Labels(kind=kind),
                model=Model(widths=list(work.hidden)),
                optimizer=Optimizer(learning_rate=rate, momentum=MOMENTUM),
                batch_size=BATCH,
                epochs=work.epochs,
                stop_at_train_accuracy=None,
                evaluations=2,
                seeds=seeds,
            )
            asked += make_trials(config)
    return asked


def train(asked: list[Trial], dataset: Dataset) -> Outcome:
    """Train trials of one signature as one population."""
    (group,) = population.plan(asked)
    trained = execution.train(group, dataset)
    return Outcome(dict(trained.seconds), int(np.sum(np.array(trained.status) == DIVERGED)), trained.layers)
