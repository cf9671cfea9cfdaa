"""The networks of the noise, capacity, regulariser and talk arms: their treatments and the outcomes of training."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from memo.commands.evidence import Evidence
from memo.data.mnist import MNIST
from memo.reporting import palette
from memo.reporting.chapter import percent
from memo.reporting.palette import Mark
from memo.statistics.curve_summary import BY_VALIDATION, outcomes
from memo.statistics.intervals import mean_share
from memo.statistics.over_seeds import LOST, Answer, over_seeds

# Epochs to these training accuracies, in addition to other statistics of a curve.
TIMES = {"t90": 0.9, "t99": 0.99, "t100": 1.0}
OUTCOMES = ["best_test_accuracy", "best_step", "best_epoch", "train_accuracy_at_best", *BY_VALIDATION, *TIMES]
KINDS = {
    "inputs": Mark("noise on inputs", palette.PURPLE, "o", palette.SOLID),
    "labels": Mark("noise on labels", palette.VERMILION, "s", palette.DASHED),
}


def treated(evidence: Evidence, arms: Collection[str], also: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per network of some arms, the diverged included (without outcomes).

    Columns trial, arm, seed, `noise` (replaced: none, inputs, labels) and `level` (its share), `changed` (share of the
    labels that are wrong), width (0: softmax regression), rate, `tested` (how many test images), and OUTCOMES and `also` (columns of memo.statistics.curve_summary.outcomes).
    """
    tables = evidence.tables
    own = tables.arms[tables.arms["arm"].isin(arms)].merge(tables.trials, on="trial")
    replaced = [own["inputs.kind"] != "natural", own["labels.kind"] != "true"]
    facts = own[["trial", "arm", "seed"]].assign(
        noise=np.select(replaced, list(KINDS), "none"),
        level=np.select(replaced, [own["inputs.fraction"], own["labels.fraction"]], 0.0),
        changed=own["labels.changed"],
        width=own["model.widths"].map(lambda widths: int(widths[0]) if len(widths) else 0),
        tested=own["dataset.n_test"].astype("Int64").fillna(MNIST.test_images),
        rate=own["optimizer.learning_rate"],
    )
    return facts.join(outcomes(own, tables.curves, TIMES)[[*OUTCOMES, *also]])


def present(evidence: Evidence, arms: Iterable[str]) -> list[str]:
    """Return those of some arms that the run has: not every scale trains all of them."""
    known = set(evidence.tables.arms["arm"])
    return [arm for arm in arms if arm in known]


def linear_fit(networks: pd.DataFrame, arm: str) -> dict[float, Answer]:
    """Return by level of noise the training accuracy of softmax regression at its end, from the networks of an arm."""
    own = of_arms(networks, [arm])
    return {
        float(level): over_seeds(each["final_train_accuracy"], LOST, estimate=mean_share)
        for level, each in own.groupby("level")
    }


def of_arms(networks: pd.DataFrame, arms: Collection[str]) -> pd.DataFrame:
    """Return the networks of some arms, the diverged included."""
    return networks[networks["arm"].isin(list(arms))]


def with_levels(networks: pd.DataFrame, noise: str, arms: Collection[str]) -> pd.DataFrame:
    """Return the networks of some arms with one kind of noise, and those without any, which are its level 0, once each."""
    own = of_arms(networks, arms)
    own = own[own["noise"].isin(["none", noise])]
    return own.drop_duplicates("trial").sort_values(["level", "seed"], ignore_index=True)


def images_of(networks: pd.DataFrame) -> int | None:
    """Return the number of training images of some networks, the largest where it differs."""
    return int(networks["images"].max()) if len(networks) else None


def names(levels: Iterable[float]) -> list[str]:
    """Return shares as in the ids of claims: 0.4 as "40"."""
    return [f"{100 * level:g}" for level in levels]


def level_marks(levels: Iterable[float], name: str = "{}") -> dict[float, Mark]:
    """Return the marks of shares of noise, ascending, from light to dark; `name` is a format, as "{} replaced"."""
    ascending = sorted(set(levels))
    return dict(zip(ascending, palette.level_marks([percent(level) for level in ascending], name).values()))
