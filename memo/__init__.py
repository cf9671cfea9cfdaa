"""Populations of MLPs on true and on randomised MNIST: learning and memorising compared.

    make_recipe, Trial ──> plan ──> train ──> measure        in memory, for a notebook: no tables, Hydra or plotting
    make_recipe, Trial ──> complete ──> load                 through run folders, which store trained networks
    load ──> compare                                         the keys that vary in a sweep, and their effects
    load_results                                             the results of an experiment of this suite

docs/extending.md has an example of each. Everything else is in the modules (`memo.data.treatments`, `memo.probes`,
`memo.reporting.claims`, `memo.reporting.figures`, ...), and may change between versions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memo.comparison.comparing import compare
    from memo.config import Recipe, Trial, make_recipe
    from memo.data.datasets import load as load_dataset
    from memo.errors import Refusal
    from memo.reporting.results import load as load_results
    from memo.storage.run_folders import Tables, load
    from memo.storage.sweep import complete
    from memo.training.execution import train
    from memo.training.measurement import measure
    from memo.training.population import Population, plan
    from memo.training.slab import Trained

__all__ = [
    "Population",
    "Recipe",
    "Refusal",
    "Tables",
    "Trained",
    "Trial",
    "compare",
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
    "comparison.comparing": {"compare": "compare"},
    "config": {"Recipe": "Recipe", "Trial": "Trial", "make_recipe": "make_recipe"},
    "data.datasets": {"load_dataset": "load"},
    "errors": {"Refusal": "Refusal"},
    "training.execution": {"train": "train"},
    "training.measurement": {"measure": "measure"},
    "training.population": {"Population": "Population", "plan": "plan"},
    "training.slab": {"Trained": "Trained"},
    "reporting.results": {"load_results": "load"},
    "storage.run_folders": {"Tables": "Tables", "load": "load"},
    "storage.sweep": {"complete": "complete"},
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"memo.{module}"), names[name])
    raise AttributeError(f"module 'memo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
