"""The networks of all arms as one table, its data as conditions on columns, and answers over seeds.

evidence ──> measure ──> tables["networks"] ──> read ──> values by seed ──> (Estimate | None, note)
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from memo.commands.evidence import Evidence
from memo.data import datasets
from memo.data.entry import Shape
from memo.networks.status import DIVERGED
from memo.reporting import palette
from memo.reporting.answers import Answers
from memo.reporting.palette import Mark
from memo.reporting.report import with_interval
from memo.statistics import over_seeds
from memo.statistics.curve_summary import SHAPE_COLUMNS, outcomes
from memo.statistics.intervals import Estimate, mean_interval
from memo.statistics.over_seeds import Answer
from memo.storage.run_folders import Tables

TIMES = {"t50": 0.5, "t90": 0.9, "t99": 0.99, "t999": 0.999}  # levels of training accuracy by the names of their times
CHOSEN = ["best_by_validation_test_accuracy", "best_by_validation_epoch"]
OUTCOMES = ["steps", "best_test_accuracy", "best_epoch", *CHOSEN, "start", *TIMES, *SHAPE_COLUMNS]
FITTED = 0.993  # of the training labels: the least of the paper's two MLPs, as third parties note it

bounded = partial(mean_interval, bounds=(0, 1))  # of shares

Conditions = dict[str, Any]  # the data of a network: column = value
TRUE: Conditions = {"arm": "one_true"}
RANDOM: Conditions = {"arm": "one_corrupted", "redrawn": 1.0}
TRUE_DEEP: Conditions = {"arm": "three_true"}
RANDOM_DEEP: Conditions = {"arm": "three_corrupted", "redrawn": 1.0}
DEPTHS = {1: (TRUE, RANDOM), 3: (TRUE_DEEP, RANDOM_DEEP)}  # by hidden layers, on true and on random labels
MAP: Conditions = {"arm": "map_4000"}
PIXEL_MARKS = {
    "shuffled_pixels": Mark("shuffled pixels", palette.BLACK, "X", palette.DASH_DOTTED),
    "random_pixels": Mark("random pixels", palette.ORANGE, "D", palette.DASH_DOT_DOTTED),
    "gaussian": Mark("Gaussian inputs", palette.PURPLE, "s", palette.LONG_DASHED),
}
# Softmax regression on the same random labels.
LINEAR: Conditions = {"arm": "linear", "labels": "random"}
LINEAR_MARK = Mark("softmax regression, random labels", palette.GREY, "x", palette.LONG_DASHED)
# The same at 10,000 images, whatever the scale: beside the regularisers.
PLAIN: dict[int, tuple[Conditions, Conditions]] = {
    layers: ({"arm": arm, "labels": "true"}, {"arm": arm, "labels": "random"})
    for layers, arm in ((1, "one_plain"), (3, "three_plain"))
}
PIXELS: dict[str, Conditions] = {
    kind: {"arm": f"one_{kind}"} for kind in ("shuffled_pixels", "random_pixels", "gaussian")
}


def measure(evidence: Evidence) -> pd.DataFrame:
    """Return the settings of every network, the shares of its labels redrawn and actually changed, and the outcomes."""
    own = evidence.tables.arms.merge(evidence.tables.trials, on="trial")
    facts = {
        "layers": own["model.widths"].map(len),
        "dataset": own["dataset.name"],
        "scaling": own["inputs.scaling"],
        "pixels": [evidence.static_of(trial).sizes[0] for trial in own["trial"]],
        "width": own["model.widths"].map(lambda widths: max(widths, default=0)),
        "redrawn": own["labels.fraction"].where(own["labels.kind"] == "random", 0.0),
        "changed": own["labels.changed"],
        "learning_rate": own["optimizer.learning_rate"],
        "weight_decay": own["optimizer.weight_decay"],
        "dropout": own["regularization.dropout"],
    }
    found = own[["trial", "arm", "seed"]].assign(**facts).join(outcomes(own, evidence.tables.curves, TIMES)[OUTCOMES])
    per_epoch = pd.Series([float(evidence.static_of(trial).steps_per_epoch) for trial in own["trial"]], own.index)
    return found.assign(kept=_kept(own, found["steps"].astype(float), per_epoch))


def _kept(trials: pd.DataFrame, steps: pd.Series, per_epoch: pd.Series) -> pd.Series:
    """Return what weight decay would have left of a weight without a gradient: exp(−Σ learning rate × decay / (1 − momentum)).

    The sum is over the steps of a network, whose schedule is constant or exponential; NaN for another one.
    """
    decay = trials["optimizer.decay"].where(trials["optimizer.schedule"] == "exponential")
    falling = per_epoch * (1 - decay ** (steps / per_epoch)) / (1 - decay)
    whole = falling.where(trials["optimizer.schedule"] != "constant", steps)
    rate = trials["optimizer.learning_rate"] * trials["optimizer.weight_decay"]
    return np.exp(-whole * rate / (1 - trials["optimizer.momentum"]))


def read(tables: Tables) -> pd.DataFrame:
    """Return the committed table of networks, with errors beside accuracies."""
    networks = tables["networks"]
    errors = {
        "test_error": 1 - networks["final_test_accuracy"],
        "best_test_error": 1 - networks["best_test_accuracy"],
        "chosen_test_error": 1 - networks["best_by_validation_test_accuracy"],
        "train_error": 1 - networks["final_train_accuracy"],
    }
    return networks.assign(**errors)


def of(networks: pd.DataFrame, conditions: Conditions) -> pd.DataFrame:
    """Return the networks that meet some conditions, by seed."""
    return over_seeds.where(networks, **conditions).sort_values("seed")


def linear_of(networks: pd.DataFrame, images: int) -> Estimate | None:
    """Return the training accuracy of softmax regression on so many random labels, or None where none was trained on them."""
    return mean(networks, "final_train_accuracy", LINEAR | {"images": images}, estimate=bounded)[0]


def images_of(networks: pd.DataFrame, conditions: Conditions = TRUE) -> int:
    """Return the number of training images of networks, by default of the report's main arm."""
    return int(of(networks, conditions)["images"].max())


def shape_of(networks: pd.DataFrame, conditions: Conditions = TRUE) -> Shape:
    """Return the shape of the data set of networks, by default of the report's main arm."""
    return datasets.shape(of(networks, conditions)["dataset"].iloc[0])


def declares(answers: Answers, template: str, name: str, value: float) -> bool:
    """Return whether a claim is declared for a value of its placeholder, as for a number of images that a scale has."""
    return str(value) in answers.declared.by_id[template].over[name]


def along(networks: pd.DataFrame, layers: int = 1) -> pd.DataFrame:
    """Return the networks of one depth from true to random labels; column `redrawn` is the share of labels redrawn."""
    arms = {conditions["arm"] for conditions in DEPTHS[layers]}
    return networks[networks["arm"].isin(arms)].sort_values(["redrawn", "seed"], ignore_index=True)


def values(networks: pd.DataFrame, column: str, conditions: Conditions) -> pd.Series:
    """Return a column by seed, NaN where a network has no value; ValueError where several networks of a seed meet the conditions."""
    own = of(networks, conditions).set_index("seed")[column].astype(float)
    if not own.index.is_unique:
        raise ValueError(f"Several networks of a seed meet {conditions}.")
    return own


def lost(networks: pd.DataFrame, *conditions: Conditions) -> set[int]:
    """Return the seeds of which a network that meets one of the conditions diverged."""
    own = [of(networks, each) for each in conditions]
    return {int(seed) for each in own for seed in each.loc[each["status"] == DIVERGED, "seed"]}


def mean(networks: pd.DataFrame, column: str, conditions: Conditions, **options: Any) -> Answer:
    """Return the mean of a column over seeds; `options` are those of `over_seeds`."""
    diverged = len(lost(networks, conditions))
    return over_seeds.over_seeds(values(networks, column, conditions), "no value", diverged=diverged, **options)


def pairs(networks: pd.DataFrame, column: str, one: Conditions, other: Conditions, **options: Any) -> Answer:
    """Return the mean difference of a column within seeds, or what `estimate` makes of the pairs."""
    both = [values(networks, column, each) for each in (one, other)]
    return over_seeds.over_pairs(both[0], both[1], "no value", diverged=len(lost(networks, one, other)), **options)


def longer(networks: pd.DataFrame, time: str, slow: Conditions, fast: Conditions, names: tuple[str, str]) -> Answer:
    """Return how many times as many epochs one condition takes to a level as another, without diverged pairs."""
    times = [values(networks, time, each) for each in (slow, fast)]
    one, other = times[0].align(times[1], join="inner")
    given = values(networks, "epochs", slow)
    return over_seeds.times_longer(one, other, given, *names, diverged=lost(networks, slow, fast))


def curves_of(evidence: Evidence, networks: pd.DataFrame, kinds: Mapping[str, Conditions]) -> pd.DataFrame:
    """Return the learning curves of networks that did not diverge; column `labels` is the kind whose conditions they meet."""
    sound = networks[networks["status"] != DIVERGED]
    parts = [of(sound, conditions)[["trial"]].assign(labels=kind) for kind, conditions in kinds.items()]
    return evidence.tables.curves.merge(pd.concat(parts), on="trial").sort_values("step")


def in_percent(estimate: Estimate | None) -> str:
    """Return a share with its interval as per cent, without n; without an interval where every network has all or nothing."""
    if estimate is None or estimate.value in (0, 1):
        return "n/a" if estimate is None else f"{100 * estimate.value:g}"
    whole = Estimate(100 * estimate.value, 100 * estimate.low, 100 * estimate.high, estimate.n)
    return with_interval(whole, count=False)
