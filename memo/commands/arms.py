"""The recipes compared by an experiment: those of its sweep, and arms that differ in more than a product of lists can express.

    experiment.arms:
      small: {batch_size: 10, epochs: 30, seeds: 32, probes: [confidence]}
      wider: {base: small, seeds: 5, sweep: {model: {widths: [[32, 32], [64, 64]]}}}

An arm gives its changes of the command's config, or of another arm, its `base`, from which it inherits all
but the sweep. Its own sweep makes one recipe of each combination.
"""

import copy
import dataclasses
import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from memo.commands import hydra_app
from memo.config import Config, Experiment, is_recipe_key
from memo.errors import Refusal

SWEEP = "sweep"  # the name of the arm that an experiment's sweep is


def swept(config: Config) -> list[Config]:
    """Return one config for each combination of the lists in `experiment.sweep`, the last key varying fastest."""
    return _combinations(config, config.experiment.sweep, "experiment.sweep")


def arms(config: Config) -> dict[str, list[Config]]:
    """Return the configs of each arm, in the order of their description.

    Raises Refusal for an unknown key, or that all arms of a command share (such as `plan`).
    """
    if not config.experiment.arms:  # each job of a sweep asks twice: half of the time that a tiny one takes
        return {}
    return copy.deepcopy(_arms(json.dumps(dataclasses.asdict(config))))


def compared(config: Config) -> dict[str, list[Config]]:
    """Return the configs of an experiment by arm, those of its sweep as the first, `sweep`; none without an experiment.

    An experiment that has neither compares nothing: its one recipe is the sweep.
    """
    needs = config.experiment
    if needs == Experiment():
        return {}
    own = {SWEEP: swept(config)} if needs.sweep or not needs.arms else {}
    return own | arms(config)


@functools.lru_cache(maxsize=4)  # 10 ms per arm, asked for several times by a command
def _arms(text: str) -> dict[str, list[Config]]:
    config: Config = _typed(OmegaConf.merge(OmegaConf.structured(Config), json.loads(text)))
    # Held aside, or OmegaConf would carry every arm's description through each arm, and each combination of its sweep.
    held, config = config.experiment, dataclasses.replace(config, experiment=Experiment())
    described = held.arms
    bases: dict[str, Config] = {}

    def build(name: str, above: tuple[str, ...] = ()) -> Config:
        if name in bases:
            return bases[name]
        where, changes = f"experiment.arms.{name}", described[name]
        if not isinstance(changes, Mapping):
            raise Refusal(f"{where} is {changes}; allowed are keys of a recipe, seed, seeds, probes, base and sweep.")
        below = changes.get("base")
        others = [other for other in described if other not in (*above, name)]
        if below is not None and below not in others:
            raise Refusal(f"{where}.base is {below}; allowed is another arm: {', '.join(others)}.")
        own = {key: value for key, value in changes.items() if key not in ("base", "sweep")}
        base = config if below is None else build(below, (*above, name))
        try:
            bases[name] = _typed(OmegaConf.merge(OmegaConf.structured(base), own))
        except OmegaConfBaseException as error:
            raise Refusal(f"{where}: {hydra_app.explain(error)}") from None
        for key in dotted(own):
            if not (is_recipe_key(key) or key in ("seed", "seeds", "probes")):
                raise Refusal(f"{where}.{key}: arms differ in keys of a recipe, seed, seeds and probes.")
        return bases[name]

    built = {
        name: _combinations(build(name), described[name].get("sweep", {}), f"experiment.arms.{name}.sweep")
        for name in described
    }
    return {name: [dataclasses.replace(one, experiment=held) for one in each] for name, each in built.items()}


def _typed(config: Any) -> Any:
    """Return the dataclasses of a structured config."""
    return OmegaConf.to_object(config)


def settings(tree: Mapping[str, Any], where: str) -> dict[tuple[str, str], list]:
    """Return the lists of a sweep by (group, key), the group empty for a key of the top level."""
    if not isinstance(tree, Mapping):
        raise Refusal(f"{where} is {tree}; allowed is a list of values for each key, such as model.widths.")
    found = {}
    for group, inner in tree.items():
        for name, values in inner.items() if isinstance(inner, Mapping) else [("", inner)]:
            if not isinstance(values, list) or not values:
                key = ".".join(filter(None, (group, name)))
                raise Refusal(f"{where}.{key} is {values}; allowed is a list of values for {key}.")
            found[group, name] = values
    return found


def dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of the leaves of nested mappings."""
    for name, inner in tree.items():
        yield from dotted(inner, f"{prefix}{name}.") if isinstance(inner, Mapping) else [prefix + name]


def _combinations(config: Config, sweep: Mapping[str, Any], where: str) -> list[Config]:
    keys, configs = settings(sweep, where), list[Config]()
    if not keys:
        return [config]
    for values in itertools.product(*keys.values()):
        changed = OmegaConf.structured(config)
        for (group, name), value in zip(keys, values):
            # Through OmegaConf, so that a sweep's values meet the same types as those of the command line.
            OmegaConf.update(changed, f"{group}.{name}" if name else group, value)
        configs.append(_typed(changed))
    return configs
