"""Train the networks of one recipe, or of a whole sweep: the general Hydra application.

    python -m experiments.train labels.kind=shuffled model.widths=[256,256] seeds=5
    python -m experiments.train --multirun labels.kind=true,shuffled model.widths=[16],[64],[256]

Each recipe has its own folder below results/runs, and trains only the trials that the folder lacks. Read them back
with `memo.load("results/runs")`.
"""

import logging

from omegaconf import DictConfig

from memo.commands import experiment, hydra_app
from memo.networks.status import DIVERGED
from memo.storage import run_folders

logger = logging.getLogger(__name__)


def train(cfg: DictConfig) -> None:
    """Train what is missing and log one line per run folder."""
    _, _, wanted = experiment.train(cfg)
    for folder, asked in wanted.items():
        ids = {trial.id for trial in asked}
        stored = run_folders.load(folder, tables=()).trials
        trials = stored[stored["trial"].isin(ids)]
        status = trials["status"].value_counts().to_dict()
        sound = trials[trials["status"] != DIVERGED]
        logger.info(
            "%s: %s; training accuracy %.4f, test accuracy %.4f (means over n = %d)",
            folder,
            ", ".join(f"{count} {name}" for name, count in status.items()),
            sound["final_train_accuracy"].mean(),
            sound["final_test_accuracy"].mean(),
            len(sound),
        )


if __name__ == "__main__":
    hydra_app.run(train)
