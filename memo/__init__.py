"""Populations of MLPs on true and on randomised MNIST: what differs when a network memorises.

    make_recipe, Trial ──> plan ──> train ──> measure        in memory, for a notebook: JAX, optax and NumPy only
    make_recipe, Trial ──> complete ──> load                 by way of run folders, which keep what has been trained
    load_results                                             what an experiment of this suite reports

docs/extending.md has each as an example. All else is found in the modules (`memo.treatments`, `memo.probes`,
`memo.claims`, `memo.figures`, ...), and may change between versions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memo.config import Recipe, Trial, make_recipe
    from memo.datasets import load as load_dataset
    from memo.errors import Refusal
    from memo.execution import Trained, train
    from memo.measurement import measure
    from memo.population import Population, plan
    from memo.results import load as load_results
    from memo.store import Tables, load
    from memo.sweep import complete

__all__ = [
    "Population",
    "Recipe",
    "Refusal",
    "Tables",
    "Trained",
    "Trial",
    "complete",
    "load",
    "load_dataset",
    "load_results",
    "make_recipe",
    "measure",
    "plan",
    "train",
]

# By module, imported when it is asked for: who trains needs no pandas, and a Hydra plug-in no JAX.
_HOMES = {
    "config": {"Recipe": "Recipe", "Trial": "Trial", "make_recipe": "make_recipe"},
    "datasets": {"load_dataset": "load"},
    "errors": {"Refusal": "Refusal"},
    "execution": {"Trained": "Trained", "train": "train"},
    "measurement": {"measure": "measure"},
    "population": {"Population": "Population", "plan": "plan"},
    "results": {"load_results": "load"},
    "store": {"Tables": "Tables", "load": "load"},
    "sweep": {"complete": "complete"},
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"memo.{module}"), names[name])
    raise AttributeError(f"module 'memo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
