"""Shared by every command: Hydra's schema, checks before anything is written, refusals in one sentence."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from jax.errors import JaxRuntimeError
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from memo.cluster.settings import Settings
from memo.commands import starting
from memo.config import CONF, Config, flatten, make_recipe, run_name, typed, unknown_key
from memo.errors import Refusal
from memo.training import machine


@dataclasses.dataclass
class SlurmLauncher(Settings):
    """Hydra's schema of `hydra/launcher=population_slurm`."""

    _target_: str = "hydra_plugins.population_launcher.SlurmLauncher"


ConfigStore.instance().store(name="schema", node=Config)
ConfigStore.instance().store(group="hydra/launcher", name="population_slurm", node=SlurmLauncher, provider="memo")


def read(cfg: DictConfig) -> Config:
    """Return a composed configuration, without Hydra's own part, as a typed Config; Refusal for an unknown key."""
    # OmegaConf has checked the types of what the schema knows; a key added with + has passed it unseen. (Merging into the
    # schema once more would find it too, and takes ten times as long, several times per job of a sweep.)
    return typed(Config, {str(key): _plain(cfg[key]) for key in cfg if key != "hydra"})


def _plain(value: Any) -> Any:
    # A group at once: 0.4 ms a configuration, where asking for one key after the other takes 0.75.
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    return value


# Scales whose results lie in a folder of their own below results/, beside those of a newcomer's run.
APART = ("reference", "paper")


def _folder_name(*, _root_: DictConfig) -> str:
    if "model" not in _root_:  # Hydra's own part alone, as by --cfg hydra
        return "RECIPE"
    config = read(_root_)
    compared = config.experiment.arms or config.experiment.sweep
    if not compared:
        return run_name(make_recipe(config))
    asked = json.dumps([compared, flatten(make_recipe(config)), config.seed, config.seeds], sort_keys=True)
    return f"{config.experiment.name or 'experiment'}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def _place(*, _root_: DictConfig) -> str:
    name = OmegaConf.select(_root_, "experiment.name")
    if not name:
        return f"runs/{_folder_name(_root_=_root_)}"
    scale = OmegaConf.select(_root_, "scale")
    return f"{scale}/{name}" if scale in APART else name


def _job_name(*, _root_: DictConfig) -> str:
    return OmegaConf.select(_root_, "experiment.name") or "train"


# In hydra.run.dir and hydra.sweep.subdir: the same recipe always meets its own finished trials again.
OmegaConf.register_new_resolver("memo.run_name", _folder_name, replace=True)
OmegaConf.register_new_resolver("memo.place", _place, replace=True)
OmegaConf.register_new_resolver("memo.job_name", _job_name, replace=True)


def run(task: Callable[[DictConfig], None], overrides: tuple[str, ...] = (), conf: Path | None = None) -> None:
    """Run a task as a Hydra application, with `overrides` before those of the command line.

    `conf` is a folder of configuration beside that of the suite, for an experiment that lives elsewhere.
    """

    @functools.wraps(task)
    def refusing(cfg: DictConfig) -> None:
        try:
            task(cfg)
        except Refusal as refusal:  # as an exit, or Hydra would report it a second time in its own words
            raise SystemExit(f"Refused: {refusal}") from None

    # Among the overrides: Hydra takes no further ones after a flag that follows the first.
    words = enumerate(sys.argv)
    first = next((n for n, word in words if n and "=" in word and not _is_flag(n)), len(sys.argv))
    sys.argv[first:first] = overrides
    if conf is not None:
        sys.argv[1:1] = ["--config-dir", str(conf.resolve())]
    settle_cache()
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that errors reach us and can be reported in one sentence
    try:
        with starting.quiet_when_unread(), starting.interruptible(), machine.own_modes(), as_written():
            hydra.main(version_base=None, config_path=str(CONF), config_name="config")(refusing)()
    except KeyboardInterrupt:
        starting.leave()
    except Exception as error:
        sentence = explain(error)
        if sentence is None or wants_traceback:
            raise
        sys.exit(f"Refused: {sentence}")
    finally:  # nothing that this process starts later inherits it
        if wants_traceback is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        else:
            os.environ["HYDRA_FULL_ERROR"] = wants_traceback


def settle_cache() -> None:
    """Make the folder in MEMO_CACHE absolute, for jobs that run elsewhere; ~ is the home, as where the folder is used."""
    if folder := os.environ.get("MEMO_CACHE"):
        os.environ["MEMO_CACHE"] = os.path.abspath(os.path.expanduser(folder))


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Read in YAML files as text what YAML 1.1 takes for something else than a person does.

    Times such as 2:00:00 are numbers in base 60 there, an account 0123 is 83, and a partition named on or no is a boolean; where
    a number or a boolean is due, OmegaConf makes it of the text.
    """
    before = yaml.SafeLoader.yaml_implicit_resolvers  # from which OmegaConf derives its loader whenever it reads a file
    text = r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$|0[0-9_]+$|(?i:yes|no|on|off)$"
    written = ("tag:yaml.org,2002:str", re.compile(text))
    yaml.SafeLoader.yaml_implicit_resolvers = {first: [written, *each] for first, each in before.items()}
    try:
        yield
    finally:
        yaml.SafeLoader.yaml_implicit_resolvers = before


# Options of Hydra that are followed by a word of their own.
_WITH_VALUE = ("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p", "--info", "-i")


def _is_flag(place: int) -> bool:
    """Return whether a word of the command line is an option, or what follows one."""
    return sys.argv[place].startswith("-") or sys.argv[place - 1] in _WITH_VALUE


def require_hydra(config: DictConfig) -> None:
    """Raise Refusal for settings of Hydra that this suite could not honour; `config` is Hydra's own part."""
    if config.job.chdir:
        raise Refusal("hydra.job.chdir is true; allowed is false: folders are relative to where a command starts.")
    for name, value in config.job.env_set.items():
        if str(name).startswith(("JAX_", "MPL", "PYTHON", "OMP_", "HYDRA_")):  # read when Python or the library starts
            raise Refusal(f"hydra.job.env_set has {name}, which is read before; set it in the shell: {name}={value}.")
    for key, folder in (("run", config.run.dir), ("sweep", config.sweep.dir)):
        if not str(folder).strip():
            raise Refusal(f"hydra.{key}.dir is empty; allowed is a folder, such as . for this one.")


def explain(error: BaseException) -> str | None:
    """Return the sentence for the user behind an exception, or None for a fault of the program."""
    chain = [error]
    while (below := chain[-1].__cause__ or chain[-1].__context__) is not None and below not in chain:
        chain.append(below)
    for link in chain:
        if isinstance(link, Refusal):
            return str(link)
    for link in reversed(chain):
        if isinstance(link, OmegaConfBaseException) and link.full_key:
            return _explain_key(link)
    for link in chain:
        if isinstance(link, OverrideParseException):
            return f"{link.override} cannot be read; a value with other than plain characters goes in quotes: 'key=\"value\"'."
        if isinstance(link, (HydraException, OmegaConfBaseException)):
            lines = [line.strip() for line in str(link).split("Config search path")[0].splitlines()]
            return "; ".join(line for line in lines if line)
    if _raised_in(error).split(".")[0] in ("hydra", "omegaconf") and not isinstance(error, OSError):
        # Such as labels=[true]: a list where the name of a choice is due.
        return f"{' '.join(sys.argv[1:])} cannot be read by Hydra ({error})."
    refused = next((link for link in chain if isinstance(link, OSError) and link.strerror), None)
    if refused and str(error).startswith("Unable to configure handler"):  # Python's logging, of the file of a job's log
        return f"{refused.filename or 'A file'} cannot be used: {refused.strerror}."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'} cannot be used: {error.strerror}."
    if isinstance(error, (MemoryError, JaxRuntimeError)) and ("RESOURCE_EXHAUSTED" in str(error) or not str(error)):
        return f"This machine has too little memory for it ({str(error).splitlines()[0] if str(error) else 'MemoryError'})."
    return None


def _raised_in(error: BaseException) -> str:
    """Return the name of the module in which an exception was raised."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__", "")


def _explain_key(error: OmegaConfBaseException) -> str:
    parent, _, name = str(error.full_key).rpartition(".")
    owner = error.object_type
    if not dataclasses.is_dataclass(owner):
        if isinstance(error, (ConfigAttributeError, ConfigKeyError)):
            return f"{error.full_key} is not a key that is set there; a further one is added by +{error.full_key}=..."
        return f"{error.full_key}: {str(error).splitlines()[0]}{_allowed_of(str(error.full_key))}"
    keys = {key.name: key for key in dataclasses.fields(owner)}
    if name not in keys:
        return unknown_key(str(error.full_key), list(keys), parent or "the top level")
    allowed = keys[name].metadata.get("allowed", "a group")
    return f"{error.full_key}: {str(error).splitlines()[0]}; allowed is {allowed}."


def _allowed_of(full_key: str) -> str:
    """Return the end of a sentence: what is allowed for a key, or for the list that has it as an entry; else nothing."""
    node: Any = Config
    for name in full_key.partition("[")[0].split("."):
        found = (
            {key.name: key for key in dataclasses.fields(node)}.get(name) if dataclasses.is_dataclass(node) else None
        )
        if found is None:
            return ""
        if "allowed" in found.metadata:
            return f"; allowed is {found.metadata['allowed']}."
        node = found.type
    return ""
