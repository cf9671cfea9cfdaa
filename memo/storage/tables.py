"""The tables of trained networks, as run folders hold them: `trials`, `curves`, and one per probe."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from memo.config import flatten
from memo.networks import mlp
from memo.storage import run_folders
from memo.storage.run_folders import Tables
from memo.training.measurement import measure
from memo.training.population import signature
from memo.training.slab import Trained

ArrowTables = Mapping[str, pa.Table]  # by the tables' names


def tables_of(
    trained: Trained, measured: Mapping[str, Mapping[str, np.ndarray]], probes: Sequence[str]
) -> dict[str, pa.Table]:
    """Return the tables of trained networks, and of the measurements by these probes."""
    curves = _curves(trained)
    frames = {"trials": _trials(trained, probes), "curves": curves}
    ids, seeds = _identities(trained)
    for name, columns in measured.items():
        frame = as_frame(columns)
        network = frame.pop("network")
        frame.insert(0, "trial", ids[network])
        frame.insert(1, "seed", seeds[network])
        frames[name] = frame
    return {name: as_table(frame) for name, frame in frames.items()}


def in_memory(trained: Sequence[Trained], probes: Sequence[str]) -> Tables:
    """Return of networks in memory what `memo.load` returns of stored ones, measured by these probes; raises Refusal."""
    found: dict[str, list[pa.Table]] = {}
    for each in trained:
        for name, table in tables_of(each, measure(each, probes), probes).items():
            found.setdefault(name, []).append(table)
    frames = {name: pa.concat_tables(own, promote_options="permissive").to_pandas() for name, own in found.items()}
    return Tables(frames | {"trials": run_folders.typed(frames["trials"])})


def _identities(trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    return np.array([trial.id for trial in trained.trials]), np.array([trial.seed for trial in trained.trials])


def _curves(trained: Trained) -> pd.DataFrame:
    """Return a row per trial and evaluation, none of them after the trial has ended."""
    ids, seeds = _identities(trained)
    steps = trained.curve_steps
    columns = {
        "trial": np.repeat(ids, steps.shape[1]),
        "seed": np.repeat(seeds, steps.shape[1]),
        "step": steps.ravel(),
        "epoch": steps.ravel() / float(signature(trained.trials[0]).static.steps_per_epoch),
    }
    frame = pd.DataFrame(columns | {name: values.ravel() for name, values in trained.curves._asdict().items()})
    return frame[np.isfinite(frame["train_loss"])].reset_index(drop=True)


def _trials(trained: Trained, probes: Sequence[str]) -> pd.DataFrame:
    """Return a row per trial: its recipe, status and final values; no final values where it diverged."""
    ids, seeds = _identities(trained)
    recipes = [flatten(trial.recipe) for trial in trained.trials]
    static = signature(trained.trials[0]).static
    return pd.DataFrame(
        {
            "trial": ids,
            "seed": seeds,
            **{name: [recipe[name] for recipe in recipes] for name in recipes[0]},
            "labels.changed": trained.labels_changed,
            "parameters": mlp.count_parameters(static.sizes, static.receptive_field),
            "status": trained.status,
            "steps": trained.stopped_at,
            **{f"final_{name}": values for name, values in trained.final._asdict().items()},
            "probes": [list(probes)] * len(ids),
        }
    )


def as_frame(columns: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return columns as a data frame; an array with more than one dimension becomes a column of lists."""
    return pd.DataFrame({name: list(values) if values.ndim > 1 else values for name, values in columns.items()})


def as_table(frame: pd.DataFrame) -> pa.Table:
    """Return a data frame as the Arrow table that is stored."""
    return pa.Table.from_pandas(frame, preserve_index=False)
