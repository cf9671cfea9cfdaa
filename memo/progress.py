"""One progress bar for a sweep: what trains, what is done and left, accuracy so far. Quiet when not on a terminal."""

import shutil
import sys
import threading

import numpy as np
from tqdm import tqdm

from memo.mlp import count_parameters
from memo.population import Population


class Progress:
    """A bar over the steps of all populations; a context manager."""

    def __init__(self, populations: list[Population], stored: int):
        steps = sum(self._cost(group) * group.signature.static.steps for group in populations)
        self._left = sum(len(group.trials) for group in populations)
        self._stored = stored
        screen = shutil.get_terminal_size((100, 24))  # also where a terminal reports no size
        # disable=None is tqdm's own "only on a terminal".
        self._bar = tqdm(
            total=steps,
            disable=None,
            file=sys.stderr,
            ncols=screen.columns,
            nrows=screen.lines,
            bar_format="{desc} {percentage:3.0f}% {bar}| {elapsed}<{remaining} {postfix}",
        )
        self._access = threading.Lock()

    @staticmethod
    def _cost(group: Population) -> int:
        # The bar moves with arithmetic, so that wide networks do not seem to stall.
        return len(group.trials) * count_parameters(group.signature.static.sizes)

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
            self._bar.update(self._cost(self._group) / self._slabs * (step - self._steps.get(slab, 0)))
            self._steps[slab] = step
            if accuracies.size:
                self._bar.set_postfix_str(f"{step:,} steps, accuracy {accuracies.mean():.3f}")

    def finish(self) -> None:
        """Count the current population as done, also the steps that stopping early saved."""
        whole = self._slabs * self._group.signature.static.steps
        self._bar.update(self._cost(self._group) / self._slabs * (whole - sum(self._steps.values())))
        self._left -= len(self._group.trials)
        self._stored += len(self._group.trials)
        self._describe()
