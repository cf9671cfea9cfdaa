"""From trained networks to each probe's columns: which networks a probe is shown, and when."""

from collections.abc import Sequence

import numpy as np

from memo.errors import Refusal
from memo.networks.mlp import Layers
from memo.probes import PROBES, along, at_the_end, known, observed, places
from memo.probes.networks import Networks
from memo.training.machine import own_modes
from memo.training.population import signature
from memo.training.slab import Trained


@own_modes()
def measure(trained: Trained, probes: Sequence[str] | str) -> dict[str, dict[str, np.ndarray]]:
    """Return the columns [rows] of each probe's table, by the table's name; `network` is the place among the trials.

    `probes` as in a configuration, or the name of one: `confidence` of the final networks, `confidence@20` along training, whose table is
    `confidence_along` and which needs the weights at those evaluations: networks trained with
    `observed=memo.probes.observed(probes, evaluations)` (`memo.training.execution.train`).

    Raises:
        Refusal: an unknown probe, or weights along training that were not kept.
    """
    probes = [probes] if isinstance(probes, str) else probes
    if not known(probes):
        raise Refusal(f"probes are {', '.join(probes)}; allowed are {', '.join(PROBES)}, each once and once as name@n.")
    static, steps = trained.static, signature(trained.trials[0]).evaluation_steps
    seen = observed(probes, len(steps))
    if seen and len(seen) != len(trained.snapshots):
        raise Refusal(f"{len(trained.snapshots)} evaluations were observed in training; these probes see {len(seen)}.")

    def networks(layers: Layers, step: int | None = None) -> Networks:
        seeds = np.array([trial.seed for trial in trained.trials])
        data = trained.sources, trained.images, trained.statistics, trained.rows, trained.labels
        return Networks(static, layers, seeds, *data, trained.hyper, step, trained.left_out)

    measured = {name: PROBES[name](networks(trained.layers)) for name in at_the_end(probes)}
    weights = dict(zip(seen, trained.snapshots))
    for name, count in along(probes).items():
        parts: list[dict[str, np.ndarray]] = []
        for place in places(count, len(steps)):
            # Where its curve has a row: a network that ended earlier has no weights of its own at this step.
            running = _running(trained, place)
            if parts and not running.any():
                break
            columns = PROBES[name](networks(weights[place], int(steps[place])))
            kept = running[columns["network"]]
            step = trained.curve_steps[columns["network"][kept], place].astype(np.int64)
            time = {"step": step, "epoch": step / float(static.steps_per_epoch)}
            parts.append({**time, **{column: values[kept] for column, values in columns.items()}})
        measured[f"{name}_along"] = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
    return measured


def _running(trained: Trained, place: int) -> np.ndarray:
    """Return which networks were evaluated at a place among the evaluations, [T] bool."""
    losses = trained.curves.train_loss
    return np.isfinite(losses[:, place]) if place < losses.shape[1] else np.zeros(len(losses), bool)
