"""One progress bar for a sweep: what trains, what is done and left, accuracy so far. Quiet when not on a terminal."""

import shutil
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from memo.networks.mlp import count_parameters
from memo.training.population import Population


def cost(population: Population) -> int:
    """Return the arithmetic of a step of a population: the bar moves with it, so that wide networks do not seem to stall."""
    return len(population.trials) * count_parameters(population.signature.static.sizes)


def total_cost(populations: list[Population]) -> float:
    """Return the arithmetic of training populations to their last step."""
    return sum(cost(group) * group.signature.static.steps for group in populations)


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


class Progress:
    """A bar over the steps of all populations; a context manager. `told` hears what is left, about once a second."""

    def __init__(self, populations: list[Population], stored: int, told: Callable[[float], None] | None = None):
        self._told, self._when = told, time.monotonic()
        self._left = sum(len(group.trials) for group in populations)
        self._stored = stored
        self._arithmetic = total_cost(populations)
        self._bar = bar(self._arithmetic)
        self._access = threading.Lock()

    def _move(self, by):
        self._arithmetic -= by
        self._bar.update(by)
        if self._told and time.monotonic() - self._when >= 1:
            self._when = time.monotonic()
            self._told(self._arithmetic)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._bar.close()

    def start(self, group: Population, slabs: int) -> None:
        """Name the population whose training begins, and how many slabs it trains as."""
        self._group, self._slabs = group, slabs
        self._steps: dict[int, int] = {}
        self._describe()
        self._bar.set_postfix_str("compiling")

    def _describe(self):
        widths = "x".join(map(str, self._group.signature.static.sizes[1:-1])) or "linear"
        done = f"{self._stored} of {self._stored + self._left} done"
        self._bar.set_description_str(f"{widths} ({len(self._group.trials)} networks, {done})")

    def advanced(self, slab: int, step: int, accuracies: np.ndarray) -> None:
        """Move the bar as a slab of the current population reaches a step; called from several threads."""
        with self._access:
            if accuracies.size:
                self._bar.set_postfix_str(f"{step:,} steps, accuracy {accuracies.mean():.3f}")
            self._move(cost(self._group) / self._slabs * (step - self._steps.get(slab, 0)))
            self._steps[slab] = step

    def finish(self) -> None:
        """Count the current population as done, also the steps that stopping early saved."""
        whole = self._slabs * self._group.signature.static.steps
        self._left -= len(self._group.trials)
        self._stored += len(self._group.trials)
        self._move(cost(self._group) / self._slabs * (whole - sum(self._steps.values())))
        self._describe()
