"""The input of an experiment's chapters: the stored tables by arm, the networks' weights, the images."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from memo.commands.arms import compared
from memo.config import Config, Trial, make_trials
from memo.data import datasets
from memo.data.treatments import PixelStatistics
from memo.errors import Refusal
from memo.networks.mlp import Layers, describe_widths
from memo.networks.program import Static
from memo.networks.scaling import Overall
from memo.networks.status import DIVERGED
from memo.probes import weights
from memo.statistics.over_seeds import Answer, over_seeds
from memo.storage import run_folders
from memo.storage.run_folders import RUNS, Tables
from memo.training.inputs import TrainingData, test_rows
from memo.training.population import Signature, signature

COMPUTED = ".computed"


class Evidence:
    """The stored tables of the experiment's trials, arm by arm; networks that diverged are in none of them."""

    def __init__(self, tables: Tables, config: Config, folder: Path):
        self.tables, self.folder, self.scale = tables, folder, config.scale
        self._trials = {
            name: [trial for one in each for trial in make_trials(one)] for name, each in compared(config).items()
        }
        self._dataset, self.settings = config.dataset, config.experiment.settings
        self._loaded: dict[str, datasets.Dataset] = {}
        self._overall: dict[tuple[str, int | None, int | None], Overall] = {}
        self._by_id = {trial.id: trial for each in self._trials.values() for trial in each}
        sound = tables.trials[tables.trials["status"] != DIVERGED]
        # As often as it belongs to an arm: two arms may share a recipe.
        self.trials = tables.arms.merge(sound, on="trial").sort_values(["arm", "seed"], ignore_index=True)
        self.diverged = tables.arms.merge(tables.trials[tables.trials["status"] == DIVERGED], on="trial")

    @property
    def dataset(self) -> datasets.Dataset:
        """The images of the command's data set with all their pixels, for galleries and for what is fitted without training."""
        return self._load(self._dataset.name)

    @property
    def classes(self) -> int:
        """The number of classes of the command's data set."""
        return datasets.shape(self._dataset.name).classes

    def dataset_of(self, arm: str) -> datasets.Dataset:
        """Return the images of an arm's data set with all their pixels; ValueError where its recipes have several."""
        names = {trial.recipe.dataset.name for trial in self._trials[arm]}
        if len(names) > 1:
            raise ValueError(f"The networks of {arm} have the data sets {', '.join(sorted(names))}.")
        return self._load(names.pop())

    def _load(self, name: str) -> datasets.Dataset:
        if name not in self._loaded:
            self._loaded[name] = datasets.load(name, self._dataset.folder)
        return self._loaded[name]

    @property
    def networks(self) -> pd.DataFrame:
        """One row per network and arm, the diverged included: the columns common to all experiments.

        Columns trial, arm, seed, status, images (in the training subset), parameters (their number), network (784-16-16-10),
        labels and inputs (their kinds), epochs (trained), and the final loss and accuracy on training and test images.
        """
        own = self.tables.arms.merge(self.tables.trials, on="trial")
        epochs = self.tables.curves.groupby("trial")["epoch"].max()
        facts = {
            "status": own["status"],
            "images": [signature(self._by_id[trial]).n_train for trial in own["trial"]],
            "parameters": own["parameters"],
            "network": [describe_widths(self.static_of(trial).sizes, "-") for trial in own["trial"]],
            "labels": own["labels.kind"],
            "inputs": own["inputs.kind"],
            "epochs": own["trial"].map(epochs),
        }
        finals = [f"final_{part}_{measure}" for part in ("train", "test") for measure in ("loss", "accuracy")]
        return own[["trial", "arm", "seed"]].assign(**facts).join(own[finals])

    def curves(self) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
        """Yield trial, arm and seed of each network that did not diverge, and its learning curve, ascending by step."""
        by_trial = dict(list(self.tables.curves.groupby("trial")))
        for keys in self.trials[["trial", "arm", "seed"]].to_dict("records"):
            yield keys, by_trial[keys["trial"]].sort_values("step")

    def of_all(self, table: str) -> pd.DataFrame:
        """Return the rows of a table of probes for every arm, with the column arm; those of diverged networks left out."""
        return self.trials[["trial", "arm"]].merge(self.tables[table], on="trial")

    def static(self, arm: str) -> Static:
        """Return the constants of an arm's compiled program, with what any image is scaled by."""
        return self._static(self._trials[arm][0])

    def static_of(self, trial: str) -> Static:
        """Return the constants of one trial's compiled program, by its id, with what any image is scaled by."""
        return self._static(self._by_id[trial])

    def _static(self, trial: Trial) -> Static:
        common = signature(trial)
        if common.static.scaling == "unit":  # without a look at the images
            return common.static
        read = common.dataset, common.crop, common.image_side
        if read not in self._overall:
            statistics = self._load(common.dataset).at(common.crop, common.image_side).pixel_statistics
            self._overall[read] = PixelStatistics(*statistics).overall
        return common.static.knowing(self._overall[read])

    def asked(self, arm: str) -> int:
        """Return how many networks an arm has, the diverged included."""
        return len(self._trials[arm])

    def asked_trials(self, arm: str) -> list[Trial]:
        """Return the trials of an arm, the diverged included."""
        return list(self._trials[arm])

    def of(self, arm: str, table: str = "trials") -> pd.DataFrame:
        """Return the rows of an arm, by seed."""
        own = self.trials[self.trials["arm"] == arm]
        if table == "trials":
            return own.reset_index(drop=True)
        rows = self.tables[table]
        return rows[rows["trial"].isin(own["trial"])].sort_values("seed", kind="stable").reset_index(drop=True)

    def test_images(self, arm: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the images [M, pixels] uint8 and labels [M] that an arm was tested on, in the order of its answers."""
        return self.test_images_of(self._trials[arm][0].id)

    def test_images_of(self, trial: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the images [M, pixels] uint8 and labels [M] that one trial was tested on, by its id."""
        common = signature(self._by_id[trial])
        whole = self._load(common.dataset)
        rows = test_rows(len(whole.test_labels), common.n_test)
        tested = replace(whole, test_images=whole.test_images[rows], test_labels=whole.test_labels[rows])
        return tested.at(common.crop, common.image_side).test_images, tested.test_labels

    def answers(self, arm: str) -> tuple[pd.Series, pd.Series]:
        """Return the columns of an arm's answers to the test images, for `memo.probes.answers.read`, by seed."""
        rows = self.of(arm, "answers")
        return rows["answers"], rows["confidences"]

    def layers(self, arm: str) -> Layers:
        """Return the final weights of an arm's networks, leaves [T, ...] by seed."""
        rows = self.of(arm, "weights_along")
        return weights.layers(rows[rows["step"] == rows["step"].max()]["weights"], self.static(arm).sizes)

    def initial_layers(self, arm: str) -> Layers:
        """Return the weights of an arm's networks before training, leaves [T, ...] by seed."""
        rows = self.of(arm, "weights_along")
        return weights.layers(rows[rows["step"] == 0]["weights"], self.static(arm).sizes)

    def trajectory(self, arm: str, seed: int) -> Layers:
        """Return the weights of one network along training, leaves [S, ...], first before training and last at the end."""
        rows = self.of(arm, "weights_along")
        return weights.layers(rows[rows["seed"] == seed].sort_values("step")["weights"], self.static(arm).sizes)

    def training_sets(self, arm: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return by trial the rows [n] of the images that it was trained on, and the labels [n] that it was given."""
        data: dict[Signature, TrainingData] = {}  # a sweep may have several signatures
        for trial in self._trials[arm]:
            common = signature(trial)
            data.setdefault(common, TrainingData(common, self._load(common.dataset)))
        return {trial.id: data[signature(trial)].given(trial) for trial in self._trials[arm]}

    def pool(self, arm: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows [N] of the images that an arm's networks draw theirs from, and the labels [N] as given.

        In the order of the probe image_record. Those of its first trial: of all, where `dataset.subset_seed` and `labels.seed`
        are set.
        """
        trial = self._trials[arm][0]
        return TrainingData(signature(trial), self._load(trial.recipe.dataset.name)).pool(trial)

    def once(
        self, name: str, made_by: Sequence[ModuleType], asked: Any, compute: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        """Return a table that takes minutes and that no run folder holds: from an earlier command where nothing has changed.

        It depends on the command's data set, on what is `asked` (JSON values, with the ids of stored networks that it starts
        from), and on the source text of the modules that make it. It is kept below the run folders.
        """
        code = [inspect.getsource(module) for module in made_by]
        key = json.dumps([asked, code, sorted(self.dataset.sha256.items())], sort_keys=True)
        file = self.folder / RUNS / COMPUTED / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet"
        if file.exists():
            with suppress(Refusal):  # damaged: computed again
                return run_folders.read(file).to_pandas()
        made = compute()
        with run_folders.replacing(file) as path:
            made.to_parquet(path, index=False, write_page_checksum=True)
        return made

    def divergence(self) -> str:
        """Return the sentence on how many networks diverged, and in which arms; a network of two arms counts once."""
        lost = self.diverged.drop_duplicates("trial")
        arms = ", ".join(f"{arm} ({len(own)})" for arm, own in lost.groupby("arm"))
        count = self.tables.trials["trial"].nunique()
        return f"{len(lost) or 'None'} of the {count} networks diverged{': ' + arms if arms else ''}."

    def absent(self, arm: str) -> str:
        """Return the note on an arm's diverged networks, or nothing."""
        count = int((self.diverged["arm"] == arm).sum())
        return f"{count} of {self.asked(arm)} networks diverged" if count else ""

    def mean(self, arm: str, by_seed: Sequence[float] | pd.Series) -> Answer:
        """Return the mean of one value per network of an arm; diverged networks and NaN values are counted in the note."""
        values, diverged = np.asarray(by_seed, float), int((self.diverged["arm"] == arm).sum())
        return over_seeds(values, "no value", asked=len(values) + diverged, diverged=diverged, unit="networks")


def paired(left: pd.DataFrame, right: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the values of a column of two arms for the seeds that both have, columns left and right."""
    both = left[["seed", column]].merge(right[["seed", column]], on="seed", suffixes=("_left", "_right"))
    return both.set_index("seed").set_axis(["left", "right"], axis=1)
