"""How much the benchmark measures: `experiment.settings` in conf/experiment/benchmark.yaml and its scales."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from memo import config
from memo.errors import Refusal

SETTINGS = "experiment.settings"
SCALES = ("quick", "standard", "paper")


def _key(allowed: str, check: Callable[[Any], object]) -> Any:
    return field(metadata={"allowed": allowed, "check": check})


def _count(low: int = 1) -> Any:
    return _key(f"a whole number from {low}", lambda value: type(value) is int and value >= low)


def _seconds() -> Any:
    return _key("a number of seconds above 0", lambda value: type(value) in (int, float) and 0 < value < 1e6)


def _jobs() -> Any:
    return _key("an even whole number from 0", lambda value: type(value) is int and value >= 0 and value % 2 == 0)


def _positive(*values: Any) -> bool:
    return all(type(value) is int and value >= 1 for value in values)


@dataclass(frozen=True)
class Sizes:
    """What is compared, how often, and for how long."""

    widths: list = _key(
        "a list of [width, networks], each a whole number from 1",
        lambda value: value and all(_positive(width, networks) for width, networks in value),
    )
    growth: list = _key(
        "a list of [width, [numbers of networks in ascending order]]",
        lambda value: all(_positive(width, *counts) and counts == sorted(set(counts)) for width, counts in value),
    )
    repetitions: int = _count()
    growth_repetitions: int = _count()
    seconds: float = _seconds()  # of one reading of our population, about
    growth_seconds: float = _seconds()  # likewise, where networks grow in number
    limit_seconds: float = _seconds()  # of one reading of a limit, about
    limit_sides: list = _key("a list of sides of square matrices", lambda value: value and _positive(*value))
    copy_megabytes: int = _count()
    epochs: int = _count()  # at least: our three evaluations are to weigh little
    longest: float = _seconds()  # of one reading, beyond which more networks are left out
    jobs: int = _jobs()
    jobs_basic: int = _jobs()
    published_networks: int = _count(0)


def read(values: Mapping[str, Any]) -> Sizes:
    """Return checked sizes from the keys below SETTINGS; Refusal for an unknown or missing key or a value out of range."""
    known = {key.name for key in fields(Sizes)}
    if values.keys() < known:
        raise Refusal(f"{SETTINGS} lacks {', '.join(sorted(known - values.keys()))}.")
    sizes = config.typed(Sizes, values, SETTINGS)
    config.check(sizes, f"{SETTINGS}.")
    if not (sizes.jobs_basic in (0, sizes.jobs) or 4 <= sizes.jobs_basic < sizes.jobs):
        allowed = f"0, or 4 to the {sizes.jobs} of jobs, from which the others are extrapolated"
        raise Refusal(f"{SETTINGS}.jobs_basic is {sizes.jobs_basic}; allowed is {allowed}.")
    return sizes


def of_scale(scale: str) -> Sizes:
    """Return the sizes that the configuration files give a scale, read without Hydra."""
    if scale not in SCALES:
        raise Refusal(f"scale is {scale}; allowed is one of {', '.join(SCALES)}.")
    try:
        import yaml
    except ImportError:
        raise Refusal("The sizes are YAML files, and PyYAML is not installed (python -m pip install pyyaml).") from None
    folder = config.CONF / "experiment"
    files = [folder / "benchmark.yaml", folder / "scale" / f"benchmark_{scale}.yaml"]
    values = [yaml.safe_load(path.read_text())["experiment"]["settings"] for path in files if path.exists()]
    return read({name: value for own in values for name, value in own.items()})
