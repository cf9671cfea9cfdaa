"""Data of the chapters: the trained networks by width, and their learning curves."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from memo.commands.arms import SWEEP
from memo.commands.evidence import Evidence
from memo.networks.mlp import describe_widths
from memo.networks.status import DIVERGED
from memo.storage.run_folders import Tables

KINDS = ("true", "shuffled")
FIRST_STEPS, LINEAR, STRATIFIED = "first_steps", "linear", "stratified"  # arms beside the sweep
COUNTS = "counts", "counts_true"  # together; the second adds learning rates for true labels


def settings(evidence: Evidence) -> pd.DataFrame:
    """Return trial, arm, seed, width as a text ("64" for two layers of 64), units in the narrowest layer, learning rate."""
    recipes = evidence.tables.trials.set_index("trial")
    own, widths = evidence.networks[["trial", "arm", "seed"]], recipes["model.widths"]
    return own.assign(
        width=own["trial"].map(widths.map(partial(describe_widths, style="×"))),
        units=own["trial"].map(widths.map(partial(min, default=0))),
        rate=own["trial"].map(recipes["optimizer.learning_rate"]),
    )


def read(tables: Tables, *arms: str) -> pd.DataFrame:
    """Return arms of the committed table of networks, of the sweep without one; narrow ones first, widths as texts."""
    networks = tables["networks"]
    networks = networks[networks["arm"].isin(arms or [SWEEP])].sort_values(["parameters", "seed"], ignore_index=True)
    return networks.assign(width=networks["width"].astype(str), epochs_trained=networks["epochs"])


def widths_of(networks: pd.DataFrame) -> list[str]:
    """Return the widths, in the order of the networks."""
    return list(dict.fromkeys(networks["width"]))


def memorised(networks: pd.DataFrame) -> list[str]:
    """Return the widths of which every network, the diverged included, fits every shuffled label."""
    shuffled = networks[networks["labels"] == "shuffled"]
    whole = (shuffled["final_train_accuracy"] == 1).groupby(shuffled["width"]).all()
    return [width for width in widths_of(networks) if whole.get(width, False)]


def confidence_of(evidence: Evidence, networks: pd.DataFrame) -> pd.DataFrame:
    """Return the confidence of networks by kind of input, with their width and labels."""
    kept = networks[["trial", "arm", "width", "labels"]]
    return evidence.of_all("confidence").merge(kept, on=["trial", "arm"])


def curves(evidence: Evidence) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield trial, arm and seed of each network that did not diverge, and its learning curve, ascending by step.

    The curves of the sweep also have the evaluations of its first epoch that the arm `first_steps` made, which trains the
    same networks.
    """
    recipes = evidence.tables.trials.set_index("trial")[["model.widths", "labels.kind", "seed"]].astype(str)
    network = recipes.agg(" ".join, axis=1).to_dict()
    every = list(evidence.curves())
    early = {network[keys["trial"]]: curve for keys, curve in every if keys["arm"] == FIRST_STEPS}
    for keys, curve in every:
        if keys["arm"] == SWEEP and (first := early.get(network[keys["trial"]])) is not None:
            added = first[~first["step"].isin(curve["step"])]
            curve = pd.concat([curve, added]).sort_values("step")
        yield keys, curve


def curves_of(evidence: Evidence, networks: pd.DataFrame) -> pd.DataFrame:
    """Return the learning curves of the networks that did not diverge, with their width and labels."""
    sound = networks[networks["status"] != DIVERGED].set_index("trial")[["width", "labels"]]
    return evidence.tables.curves.merge(sound, left_on="trial", right_index=True)
