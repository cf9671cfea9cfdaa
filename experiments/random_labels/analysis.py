"""The report on random labels: its chapters, in the order of the paper, title, shared methods and limits."""

from typing import Any

import pandas as pd

from experiments.random_labels import (
    capacity,
    corruption,
    fitting,
    growth,
    kernel_fits,
    regularisers,
    slowdown,
    theorem,
    whitening,
)
from experiments.random_labels.networks import RANDOM, TRUE, TRUE_DEEP, Conditions, images_of, of, read, shape_of
from memo.commands.analysis import Analysis, Front
from memo.commands.evidence import Evidence
from memo.reporting.answers import Answers
from memo.reporting.chapter import Text
from memo.storage.run_folders import Tables

RECIPES: dict[str, Conditions] = {
    "one": TRUE,
    "three": TRUE_DEEP,
    "literal": {"arm": "literal"},
    "steps": {"arm": "literal_steps"},
    "map": {"arm": "map_4000"},
}


def front(evidence: Evidence, tables: Tables, answers: Answers) -> Front:
    """Return the title, the methods that all chapters share, and what is not shown."""
    networks, text = read(tables), Text("experiments.random_labels", "front")
    facts = {
        "recipes": {name: _recipe(evidence, networks, conditions) for name, conditions in RECIPES.items()},
        "images": images_of(networks),
        "most": int(networks["images"].max()),
        "all": shape_of(networks).train_images,
        "changed": float(of(networks, RANDOM)["changed"].mean()),
        "divergence": evidence.divergence(),
    }
    limits = [text.block(name, **facts) for name in text.blocks if name.startswith("limit_")]
    return Front(
        title=text.block("title"),
        methods=[text.block(name, **facts) for name in ("data", "networks", "schedules", "pairs")],
        not_shown=[line for line in limits if line],
    )


def _recipe(evidence: Evidence, networks: pd.DataFrame, conditions: Conditions) -> dict[str, Any]:
    """Return the recipe of the first network that meets some conditions."""
    return evidence.tables.trials.set_index("trial").loc[of(networks, conditions)["trial"].iloc[0]].to_dict()


CHAPTERS = (fitting, whitening, corruption, slowdown, growth, regularisers, theorem, capacity, kernel_fits)
analyse = Analysis("experiments.random_labels", CHAPTERS, front)
