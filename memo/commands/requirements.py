"""Whether an experiment could be analysed as its configuration says (`memo.config.Experiment`): one function per key."""

import re
from collections.abc import Iterator
from functools import cache

import yaml

from memo.commands.arms import SWEEP, arms, dotted, settings
from memo.config import CONF, Config, Experiment, flatten, is_recipe_key, unknown_key
from memo.errors import Refusal


def check(config: Config, overridden: set[str]) -> None:
    """Raise Refusal where an experiment could not be analysed; `overridden` are the keys that the command line sets."""
    needs = config.experiment
    if needs != Experiment() and not needs.name:
        raise Refusal("experiment.name is missing; it is the experiment's own, as in `python -m experiments.<name>`.")
    # An experiment that is described on the command line alone is named there.
    if {"experiment", "experiment.name"} <= overridden or not re.fullmatch(r"\w*", needs.name):
        raise Refusal(f"experiment.name is {needs.name}; it is the experiment's own, and no command line changes it.")
    if "experiment.name" in overridden and (CONF / "experiment" / f"{needs.name}.yaml").exists():
        raise Refusal(
            f"experiment.name is {needs.name}, which is an experiment of the suite: python -m experiments.{needs.name}. "
            "Allowed is another name."
        )
    if needs.name and config.report:
        raise Refusal("report is true; an experiment writes its own report, and allowed is false.")
    _check_sweep(needs, overridden)
    _check_axes(needs)
    _check_arms(config, overridden)
    _check_fixed(config)
    lacking = [probe for probe in needs.probes if probe not in config.probes]
    if lacking:
        raise Refusal(f"probes lacks {', '.join(sorted(lacking))}, which this experiment reads.")


def _swept(needs: Experiment) -> dict[str, list]:
    """Return the values of each swept key, by its dotted name."""
    return {".".join(filter(None, key)): values for key, values in settings(needs.sweep, "experiment.sweep").items()}


def _check_sweep(needs: Experiment, overridden: set[str]) -> None:
    """Raise Refusal for a swept key that is set in addition to the sweep, or whose values are not those to compare."""
    for key, values in _swept(needs).items():
        if _is_set(key, overridden):
            raise Refusal(f"{key} is swept by this experiment; set experiment.sweep.{key}=[...] instead.")
        words = [str(value).lower() for value in values]
        due = needs.compares.get(key)
        if due is not None and sorted(words) != sorted(due):
            raise Refusal(f"experiment.sweep.{key} is {words}; this experiment compares {due}.")


def _check_axes(needs: Experiment) -> None:
    """Raise Refusal where the swept keys are not those that the analysis distinguishes."""
    if needs.axes is None:
        return
    swept = _swept(needs)
    for key in swept:
        if key not in needs.axes:
            raise Refusal(f"experiment.sweep.{key}: this experiment distinguishes only {', '.join(needs.axes)}.")
    for key in needs.axes:
        if key not in swept:
            raise Refusal(f"experiment.sweep lacks {key}, along which this experiment compares.")


def _check_arms(config: Config, overridden: set[str]) -> None:
    """Raise Refusal for an arm that is named like the sweep, arms that are not those of the analysis, and keys that arms set themselves."""
    needs, named = config.experiment, arms(config)
    if SWEEP in named:
        raise Refusal(f"experiment.arms.{SWEEP}: this is the name of the sweep's own arm; allowed is another name.")
    if needs.reads is not None and set(named) != set(needs.reads):
        raise Refusal(
            f"experiment.arms are {', '.join(sorted(named))}; this experiment reads {', '.join(needs.reads)}."
        )
    for name in named if not needs.sweep else ():  # beside a sweep, a key of the command line has networks to change
        for key in _set_by_arm(needs, name):
            if _is_set(key, overridden):
                raise Refusal(f"{key} is set by arms of this experiment; set experiment.arms.{name}.{key}=... instead.")


def _set_by_arm(needs: Experiment, name: str) -> Iterator[str]:
    changes = needs.arms[name]
    yield from dotted({key: value for key, value in changes.items() if key not in ("base", "sweep")})
    yield from dotted(changes.get("sweep", {}))


def _check_fixed(config: Config) -> None:
    """Raise Refusal where a key has another value than the experiment requires."""
    flat = flatten(config)
    for key, due in config.experiment.fixed.items():
        if not is_recipe_key(key):
            raise Refusal(unknown_key(f"experiment.fixed.{key}", flat, "experiment.fixed"))
        if flat.get(key) != due:
            raise Refusal(f"{key} is {flat.get(key)}; this experiment is about {due}.")


def _is_set(key: str, overridden: set[str]) -> bool:
    """Return whether the command line sets a key: itself, or by a choice of its group (`dataset=cifar10`) that may set it."""
    group = key.split(".")[0]
    return key in overridden or group in overridden and (not (CONF / group).is_dir() or key in _set_by_choices(group))


@cache
def _set_by_choices(group: str) -> set[str]:
    """Return the keys that the choices of a group of configurations set, all of them together."""
    choices = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONF / group).glob("*.yaml")]
    return {key for choice in choices for key in dotted(choice, f"{group}.")}
