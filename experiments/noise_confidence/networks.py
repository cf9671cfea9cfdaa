"""The networks by setting, from the committed tables, and the marks of kinds of labels and inputs."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from memo.commands.evidence import Evidence
from memo.networks.mlp import describe_widths
from memo.networks.status import DIVERGED
from memo.reporting.palette import LABELS, Mark
from memo.statistics import over_seeds
from memo.statistics.intervals import Estimate, mean_interval
from memo.statistics.over_seeds import Answer
from memo.storage.run_folders import Tables

KEYS = ["trial", "arm", "seed"]
# Bounds of a share, and of a difference of two.
SHARE, GAP = (0, 1), (-1, 1)
BY_WIDTH = ("widths", "half")
TWINS = {kind: LABELS[kind] for kind in over_seeds.KINDS}
MARKS: dict[str, Mark] = {
    "true": LABELS["true"],
    "random": LABELS["random"]._replace(name="half random labels"),  # each redrawn with probability 0.5
    "shuffled": LABELS["shuffled"],
}
INPUTS = {
    "test": "test images",
    "fashion": "Fashion-MNIST",
    "random_pixels": "test images, permuted",
    "uniform": "uniform noise",
    "gaussian": "Gaussian noise, the data's, clipped",
    "normal": "Gaussian noise, N(0, 1)",
    "constant": "one grey",
    "uniform_x2": "uniform noise × 2",
    "uniform_x5": "uniform noise × 5",
    "uniform_x10": "uniform noise × 10",
    "uniform_x100": "uniform noise × 100",
}


def with_names(evidence: Evidence) -> pd.DataFrame:
    """Return trial, arm, seed, width ("64" for two layers of 64, "3×64" for three), layers, activation and loss."""
    recipes = evidence.tables.trials.set_index("trial")
    own = evidence.networks[KEYS]
    widths = own["trial"].map(recipes["model.widths"])
    return own.assign(
        width=widths.map(partial(describe_widths, style="×")),
        layers=widths.map(len),
        activation=own["trial"].map(recipes["model.activation"]),
        loss=own["trial"].map(recipes["loss"]),
    )


def read(tables: Tables, *arms: str) -> pd.DataFrame:
    """Return the committed networks of some arms, the diverged included: small ones first, by seed, widths as texts.

    `fitted` says which have fitted every training label.
    """
    networks = tables["networks"]
    own = networks[networks["arm"].isin(arms)].sort_values(
        ["parameters", "activation", "loss", "seed"], ignore_index=True
    )
    # All are trained on natural images; the kinds of evaluation inputs are in the table of inputs.
    own = own.drop(columns="inputs", errors="ignore")
    return own.assign(width=own["width"].astype(str), fitted=own["final_train_accuracy"] == 1)


def read_inputs(tables: Tables, *arms: str) -> pd.DataFrame:
    """Return one row for each of these networks and kind of inputs: the columns of both tables."""
    return read(tables, *arms).merge(tables["inputs"], on="trial")


def names_in(networks: pd.DataFrame, column: str = "width") -> list:
    """Return the distinct values of a column, in the order of the networks."""
    return list(dict.fromkeys(networks[column]))


def share_interval(values: pd.Series) -> Estimate:
    """Return the mean of values between 0 and 1, one per network, with its interval."""
    return mean_interval(values, bounds=SHARE)


def over_networks(
    networks: pd.DataFrame, values: pd.Series, estimate: Callable[..., Estimate] = share_interval
) -> Answer:
    """Return the mean of one value per network, in their order; the diverged, and those without a value, are counted."""
    lost = int((networks["status"] == DIVERGED).sum())
    return over_seeds.over_seeds(values.to_numpy(), "no value", estimate=estimate, diverged=lost, unit="networks")


def gap(frame: pd.DataFrame, column: str, width: str, other: str = "shuffled") -> pd.Series:
    """Return by seed the value under other labels minus that under true ones, at one width, where both are known."""
    own = frame[frame["width"] == width]
    wide = own.pivot(index="seed", columns="labels", values=column).reindex(columns=["true", other])
    return (wide[other] - wide["true"]).dropna()


def gap_interval(values: pd.Series) -> Estimate:
    """Return the mean of differences of confidence within pairs with its interval."""
    return mean_interval(values, bounds=GAP)
