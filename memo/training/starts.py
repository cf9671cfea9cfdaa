"""Networks that start from given layers: rewound, pre-trained, or copies of one network that part at some step.

    Start(layers, trained) ──> memo.training.execution.train(population, dataset, start=...) ──> Trained

The optimiser starts anew, and minibatches are those of the trial's seed from step 0 on: trials of one recipe with
`dataset.subset_seed` and `labels.seed` set, and different seeds, see the same images in different orders.
"""

from itertools import pairwise
from typing import NamedTuple

import jax
import numpy as np

from memo.networks.mlp import Layer, Layers
from memo.training.population import Population


class Start(NamedTuple):
    """The layers from which the T networks of a population start, in the order of its trials, and which of them train."""

    layers: Layers  # leaves [T, ...]
    trained: np.ndarray | None = (
        None  # [T, layers] bool, False where weights and biases stay as they are; None: all train
    )

    def at(self, places: np.ndarray) -> "Start":
        """Return the start of the networks at these places [...] of the population; an empty place (-1) repeats the first."""
        held = np.maximum(places, 0)
        layers = tuple(Layer(*(np.asarray(leaf, np.float32)[held] for leaf in layer)) for layer in self.layers)
        return Start(layers, None if self.trained is None else np.asarray(self.trained, np.float32)[held])


def require_fit(start: Start, population: Population) -> None:
    """Raise ValueError where a start's arrays are not those of a population's networks."""
    count, sizes = len(population.trials), population.signature.static.sizes
    due = [shape for inputs, outputs in pairwise(sizes) for shape in ((count, inputs, outputs), (count, outputs))]
    found = [np.shape(leaf) for leaf in jax.tree.leaves(start.layers)]
    if found != due:
        raise ValueError(
            f"A start has layers {found}; those of {count} networks {'-'.join(map(str, sizes))} are {due}."
        )
    if start.trained is not None and np.shape(start.trained) != (count, len(sizes) - 1):
        raise ValueError(
            f"`trained` of a start is {np.shape(start.trained)}; of these networks it is {(count, len(sizes) - 1)}."
        )
