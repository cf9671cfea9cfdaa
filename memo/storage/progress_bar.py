"""One progress bar for a sweep: the population in training, work done and remaining, accuracy so far. Silent when not on a terminal."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from memo.networks.mlp import count_parameters, describe_widths
from memo.training.population import Layout, Population, slabs


def step_cost(population: Population) -> int:
    """Return the cost of one step of a population, by which the bar advances: wide networks do not seem to stall."""
    return len(population.trials) * count_parameters(population.signature.static.sizes)


def total_cost(populations: Sequence[Population]) -> float:
    """Return the cost of training populations to their last step."""
    return sum(step_cost(group) * group.signature.static.steps for group in populations)


def bar(total: float) -> tqdm:
    """Return a progress bar, which shows only on a terminal."""
    screen = shutil.get_terminal_size((100, 24))  # also where a terminal reports no size
    # disable=None is tqdm's own "only on a terminal".
    return tqdm(
        total=total,
        disable=None,
        file=sys.stderr,
        ncols=screen.columns,
        nrows=screen.lines,
        bar_format="{desc} {percentage:3.0f}% {bar}| {elapsed}<{remaining} {postfix}",
    )


class ProgressBar:
    """A bar over the steps of all populations; a context manager.

    `stored` networks were there before. `on_progress` is called about once per second with the cost that remains and the
    cost of the steps taken since: not of those that a checkpoint or stopping early has saved.
    """

    def __init__(
        self, populations: Sequence[Population], stored: int, on_progress: Callable[[float, float], None] | None = None
    ):
        self._on_progress, self._when = on_progress, time.monotonic()
        self._done = stored
        self._wanted = stored + sum(len(group.trials) for group in populations)
        self._left, self._taken = total_cost(populations), 0.0
        self._bar = bar(self._left)
        self._access = threading.Lock()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.close()

    def start(self, group: Population, layout: Layout) -> None:
        """Set the population whose training begins, and its layout."""
        self._group, self._slabs = group, len(slabs(group, layout))
        self._steps: dict[int, int] = {}
        self._describe()
        self._bar.set_postfix_str("compiling")

    def advanced(self, slab: int, step: int, accuracies: np.ndarray) -> None:
        """Move the bar as a slab of the current population reaches a step; called from several threads."""
        with self._access:
            if accuracies.size:
                self._bar.set_postfix_str(f"{step:,} steps, accuracy {accuracies.mean():.3f}")
            self._move(step - self._steps.get(slab, 0), taken=slab in self._steps)
            self._steps[slab] = step

    def finish(self) -> None:
        """Count the current population as done, including the steps that stopping early has saved."""
        self._done += len(self._group.trials)
        self._move(self._slabs * self._group.signature.static.steps - sum(self._steps.values()), taken=False)
        self._describe()

    def _move(self, steps: int, *, taken: bool) -> None:
        """Move the bar by steps of a slab of the current population."""
        cost = step_cost(self._group) / self._slabs * steps
        self._left -= cost
        self._taken += cost if taken else 0.0
        self._bar.update(cost)
        if self._on_progress and time.monotonic() - self._when >= 1:
            self._when = time.monotonic()
            self._on_progress(self._left, self._taken)
            self._taken = 0.0

    def _describe(self) -> None:
        widths = describe_widths(self._group.signature.static.sizes[1:-1])
        networks = f"{len(self._group.trials)} networks, {self._done} of {self._wanted} done"
        self._bar.set_description_str(f"{widths} ({networks})")
