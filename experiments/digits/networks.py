"""Shared by the chapters: the arms in words, and answers over the networks of one arm or of two."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from memo.commands.evidence import Evidence
from memo.networks.status import DIVERGED
from memo.statistics.intervals import UNBOUNDED, Bounds, accuracy_interval, mean_interval, share
from memo.statistics.over_seeds import Answer, over_pairs, over_seeds

RECIPES = {"nielsen": "Nielsen's recipe", "chosen": "tuned recipe", "relu": "ReLU, cross-entropy"}
MAIN = "nielsen"


def by_seed(networks: pd.DataFrame, arm: str, column: str) -> pd.Series:
    """Return a column of one arm by seed, NaN for diverged networks."""
    own = networks[networks["arm"] == arm].set_index("seed")
    return own[column].astype(float).mask(own["status"] == DIVERGED)


def diverged(networks: pd.DataFrame, *arms: str) -> set[int]:
    """Return the seeds of which a network of these arms diverged."""
    return set(networks[networks["arm"].isin(arms) & (networks["status"] == DIVERGED)]["seed"])


def over_arm(networks: pd.DataFrame, arm: str, values: str | pd.Series, bounds: Bounds = UNBOUNDED) -> Answer:
    """Return the mean of a column (or of values by seed) over one arm's networks, with a note on those without a value."""
    values = by_seed(networks, arm, values) if isinstance(values, str) else values
    lost = len(diverged(networks, arm))
    return over_seeds(
        values, "no value", estimate=partial(mean_interval, bounds=bounds), diverged=lost, unit="networks"
    )


def share_of(networks: pd.DataFrame, arm: str, which: pd.Series) -> Answer:
    """Return the share of one arm's networks with a property (1, else 0; NaN for diverged ones), by seed."""
    return over_seeds(which, "no value", estimate=share, diverged=len(diverged(networks, arm)), unit="networks")


def between(networks: pd.DataFrame, one: str, other: str, column: str) -> Answer:
    """Return the mean of a column of one arm minus that of another, within seeds; losses of both arms are counted."""
    left, right = (by_seed(networks, arm, column) for arm in (one, other))
    return over_pairs(left, right, "no pair", diverged=len(diverged(networks, one, other)))


def accuracy(networks: pd.DataFrame, arm: str, images_right: pd.DataFrame | None = None) -> Answer:
    """Return the final test accuracy of an arm, for other seeds and other test images alike.

    `images_right` (columns arm, right, networks, images) counts the images that `right` of an arm's networks classify
    correctly; without it the variance over images is bounded from above.
    """
    own = networks[networks["arm"] == arm]
    images, by_image = int(own["test_images"].max()) if own["test_images"].notna().any() else 0, None
    if images_right is not None:
        counts = images_right[images_right["arm"] == arm]
        by_image = np.repeat(counts["right"] / counts["networks"], counts["images"])
    return over_seeds(
        by_seed(networks, arm, "final_test_accuracy"),
        "no value",
        estimate=partial(accuracy_interval, images=images, by_image=by_image),
        diverged=len(diverged(networks, arm)),
        unit="networks",
    )


def name_of(networks: pd.DataFrame, arm: str) -> str:
    """Return the layers of an arm's networks, such as 784-16-16-10; the arm's own name where it has none."""
    own = networks[networks["arm"] == arm]["network"]
    return own.iloc[0] if len(own) else arm


def images_of(networks: pd.DataFrame, *arms: str) -> int | None:
    """Return the number of training images of these arms, the larger where they differ; None without such networks."""
    own = networks[networks["arm"].isin(arms)]["images"]
    return int(own.max()) if len(own) else None


def keyed(evidence: Evidence, arm: str, **columns: Sequence[float] | np.ndarray) -> pd.DataFrame:
    """Return trial, arm and seed of an arm's networks, by seed, with columns in that order."""
    return evidence.of(arm)[["trial", "arm", "seed"]].assign(**columns)
