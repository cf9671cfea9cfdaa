"""How much the benchmark measures: `experiment.settings` in conf/experiment/benchmark.yaml and its scales."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from memo import config
from memo.errors import Refusal

CONF = Path(__file__).resolve().parents[2] / "conf" / "experiment"
SCALES = ("quick", "standard", "paper")
SETTINGS = "experiment.settings"


def _count(low: int) -> Any:
    return _key(f"a whole number from {low}", lambda value: type(value) is int and value >= low)


def _seconds() -> Any:
    return _key("a number of seconds above 0", lambda value: type(value) in (int, float) and 0 < value < 1e6)


def _jobs() -> Any:
    return _key("an even whole number from 0", lambda value: type(value) is int and value >= 0 and value % 2 == 0)


def _key(allowed: str, check: Callable[[Any], bool]) -> Any:
    return field(metadata={"allowed": allowed, "check": check})


def _positive(*values: Any) -> bool:
    return all(type(value) is int and value >= 1 for value in values)


def _pairs(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)


@dataclass(frozen=True)
class Sizes:
    """What is compared, how often, and for how long."""

    widths: list = _key(
        "a list of [width, networks], each a whole number from 1",
        lambda value: bool(value) and _pairs(value) and all(_positive(*pair) for pair in value),
    )
    growth: list = _key(
        "a list of [width, [numbers of networks in ascending order]]",
        lambda value: (
            _pairs(value)
            and all(
                _positive(width) and isinstance(counts, list) and _positive(*counts) and counts == sorted(set(counts))
                for width, counts in value
            )
        ),
    )
    repetitions: int = _count(1)
    growth_repetitions: int = _count(1)
    seconds: float = _seconds()  # of one reading of our population, about
    growth_seconds: float = _seconds()  # likewise, where networks grow in number
    limit_seconds: float = _seconds()  # of one reading of a limit, about
    limit_sides: list = _key(
        "a list of sides of square matrices",
        lambda value: isinstance(value, list) and bool(value) and _positive(*value),
    )
    copy_megabytes: int = _count(1)
    epochs: int = _count(1)  # at least: our three evaluations are to weigh little
    longest: float = _seconds()  # of one reading, beyond which more networks are left out
    jobs: int = _jobs()
    jobs_basic: int = _jobs()
    published_networks: int = _count(0)


def read(values: Mapping[str, Any]) -> Sizes:
    """Return checked sizes from the keys below SETTINGS; Refusal for an unknown or missing key or a value out of range."""
    lacking = [key.name for key in fields(Sizes) if key.name not in values]
    if lacking and values.keys() <= {key.name for key in fields(Sizes)}:
        raise Refusal(f"{SETTINGS} lacks {', '.join(lacking)}.")
    sizes = config.typed(Sizes, values, SETTINGS)
    config.check(sizes, f"{SETTINGS}.")
    if sizes.jobs_basic > sizes.jobs:
        raise Refusal(f"{SETTINGS}.jobs_basic is {sizes.jobs_basic}; allowed is 0 to the {sizes.jobs} of jobs.")
    if sizes.jobs_basic == 2 < sizes.jobs:
        raise Refusal(
            f"{SETTINGS}.jobs_basic is 2, from which no further job can be extrapolated; allowed is 0, or from 4."
        )
    return sizes


def of_scale(scale: str) -> Sizes:
    """Return the sizes that the configuration files give a scale, read without Hydra."""
    if scale not in SCALES:
        raise Refusal(f"scale is {scale}; allowed is one of {', '.join(SCALES)}.")
    try:
        import yaml
    except ImportError:
        raise Refusal("The sizes are YAML files, and PyYAML is not installed (python -m pip install pyyaml).") from None
    values = yaml.safe_load((CONF / "benchmark.yaml").read_text())["experiment"]["settings"]
    changes = CONF / "scale" / f"benchmark_{scale}.yaml"
    if changes.exists():
        values |= yaml.safe_load(changes.read_text())["experiment"]["settings"]
    return read(values)
