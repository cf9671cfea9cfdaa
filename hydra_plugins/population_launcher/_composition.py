"""Composing the jobs of a sweep: in full once for each choice of groups, and otherwise by setting values in a copy."""

import pickle
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf


class PatchingLoader:
    """A config loader that composes a sweep's first job in full and sets the changed values in copies of it.

    Hydra itself composes each job twice, and in full. Here, only numbers, words and lists of existing keys are set. Jobs
    that choose a group, or add or delete a key, are composed in full once for each such choice; those that override
    `hydra`, one key twice, or a whole tree, always.
    """

    def __init__(self, loader: ConfigLoader):
        self._loader = loader
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._first: dict[tuple[str, ...], tuple[list[str], bytes]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the configuration of one job, as Hydra's own loader composes it, with the same exceptions."""
        parsed = [self._parse(line) for line in sweep_overrides]
        if not self._independent(parsed):
            return self._loader.load_sweep_config(master_config, sweep_overrides)
        alike = tuple(str(each.key_or_group if self._is_plain(each) else each.input_line) for each in parsed)
        if alike not in self._first:
            config = self._loader.load_sweep_config(master_config, sweep_overrides)
            self._first[alike] = list(sweep_overrides), pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
            return config
        lines, pickled = self._first[alike]
        config = pickle.loads(pickled)  # faster than copy.deepcopy
        try:
            for place, override in enumerate(parsed):
                if override.input_line != lines[place]:
                    _set(config, override.key_or_group, override.value())
                    config.hydra.overrides.task[place] = override.input_line
        except Exception:
            # So that Hydra words the error, for a key that does not exist or a value of the wrong type.
            return self._loader.load_sweep_config(master_config, sweep_overrides)
        config.hydra.job.override_dirname = _dirname(config.hydra.job.config.override_dirname, parsed)
        # What the sweeper has resolved since the first job, such as the time.
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _parse(self, line: str) -> Override:
        # A sweep repeats its lines, and each job is parsed twice.
        if line not in self._parsed:
            (self._parsed[line],) = self._parser.parse_overrides([line])
        return self._parsed[line]

    @staticmethod
    def _independent(parsed: list[Override]) -> bool:
        keys = [override.key_or_group for override in parsed]
        return len(set(keys)) == len(keys) and not any(
            key.split(".")[0] == "hydra" or isinstance(override.value(), dict) for key, override in zip(keys, parsed)
        )

    def _is_plain(self, override: Override) -> bool:
        key = override.key_or_group
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return not (override.is_add() or override.is_delete() or override.package or self._groups[key])


def _set(config: DictConfig, key: str, value: Any) -> None:
    if isinstance(value, list):
        OmegaConf.update(config, key, value)
        return
    *groups, name = key.split(".")  # faster than OmegaConf.update
    for group in groups:
        config = config[group]
    config[name] = value


def _dirname(settings: DictConfig, parsed: list[Override]) -> str:
    excluded = settings.exclude_keys
    lines = sorted(str(each.input_line) for each in parsed if each.key_or_group not in excluded)
    return settings.item_sep.join(lines).replace("=", settings.kv_sep)
