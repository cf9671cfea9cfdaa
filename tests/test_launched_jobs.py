"""A job of the launcher leaves what Hydra's own `run_job` leaves: returns, files, logs, calls of callbacks."""

import copy
import logging
import os
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core import utils
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobStatus
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.population_launcher._running import Job
from memo.commands.hydra_app import CONF

logger = logging.getLogger("task")


@pytest.fixture(scope="module")
def loader():
    with initialize_config_dir(str(CONF), version_base=None):
        yield GlobalHydra.instance().hydra.config_loader


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("jobs") / "sweep"


@pytest.fixture(scope="module")
def job(loader, folder):
    """Return `job(overrides) -> the config of a job of a sweep in the folder`, composed once and each time as new."""
    composed = {}

    def make(overrides):
        if tuple(overrides) not in composed:
            master = loader.load_configuration(
                "config", overrides=[f"hydra.sweep.dir={folder}", *overrides], run_mode=RunMode.MULTIRUN
            )
            config = loader.load_sweep_config(master, ["optimizer.learning_rate=0.5", "model.widths=[3,2]", "seeds=2"])
            config.hydra.job.id = config.hydra.job.num = 3
            composed[tuple(overrides)] = config
        return copy.deepcopy(composed[tuple(overrides)])

    return make


def forget_logging():
    for handler in logging.root.handlers:
        handler.close()
    logging.root.handlers[:] = []
    logging.root.setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def _logging_as_before():
    handlers, level = logging.root.handlers[:], logging.root.level
    logging.root.handlers[:] = []
    yield
    forget_logging()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def seen(value):
    """Return what tells values of a job apart: of a configuration all values, unresolved, and whether they may change."""
    if isinstance(value, DictConfig):
        flags = [OmegaConf.is_struct(value), OmegaConf.is_readonly(value)]
        if "hydra" in value:
            flags += [OmegaConf.is_struct(value.hydra), OmegaConf.is_readonly(value.hydra)]
        return OmegaConf.to_container(value), OmegaConf.get_type(value), flags
    if isinstance(value, utils.JobReturn):
        return {name: seen(getattr(value, name)) for name in vars(value)}
    return str(value) if isinstance(value, Exception) else value


class Recorder(Callback):
    """Keeps each call with its arguments, and where and with which variables it came."""

    def __init__(self):
        self.calls = []

    def _record(self, event, **arguments):
        surroundings = Path.cwd(), os.environ.get("GREETING"), seen(OmegaConf.create(HydraConfig.get()))
        self.calls.append((event, {name: seen(value) for name, value in arguments.items()}, surroundings))

    def on_job_start(self, **arguments):
        self._record("start", **arguments)

    def on_job_end(self, **arguments):
        self._record("end", **arguments)


def greeting(cfg):
    """A task that says what it meets."""
    logger.info("rate %s in %s", cfg.optimizer.learning_rate, HydraConfig.get().runtime.output_dir)
    logger.debug("widths %s", cfg.model.widths)
    cfg.optimizer.learning_rate = 7.0
    Path("written.txt").write_text(os.environ.get("GREETING", ""))
    return cfg.epochs


def failing(cfg):
    logger.warning("about to fail")
    raise ValueError(f"no {cfg.labels.kind} labels")


def left_by(run, loader, config, task, folder):
    """Return everything that one way of running a job leaves in `folder`, and empty that."""
    recorder = Recorder()
    callbacks = Callbacks()
    callbacks.callbacks = [recorder]
    result = run(HydraContext(loader, callbacks), task, config)
    handlers, level = [(type(handler), handler.level) for handler in logging.root.handlers], logging.root.level
    forget_logging()
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = path.read_text()
        files[path.relative_to(folder)] = seen(OmegaConf.create(text)) if path.suffix == ".yaml" else text
        path.unlink()
    assert result.hydra_cfg is not config and result.cfg is not config
    return seen(result), recorder.calls, files, handlers, level, Path.cwd()


def hydras(context, task, config):
    return utils.run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)


def ours(context, task, config):
    return Job(config).run(context, task)


@pytest.mark.slow
@pytest.mark.parametrize("task", [greeting, failing])
@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["hydra.job.chdir=true"],
        ["hydra.job.chdir=false", "+hydra.job.env_set.GREETING=hello"],
        ["hydra.output_subdir=null"],
        ["hydra.output_subdir=composed", "hydra.sweep.subdir=${hydra:job.num}-${dataset.name}"],
        ["hydra.verbose=true"],
        ["hydra.verbose=[task]"],
        ["hydra.job_logging.handlers.file.filename=${hydra.runtime.output_dir}/own.log"],
        ["hydra/job_logging=disabled"],
        ["hydra.job.name='no'", "hydra.mode=MULTIRUN", "hydra.help.app_name='1e3'"],  # what YAML must quote
    ],
    ids=" ".join,
)
def test_a_job_leaves_what_hydra_leaves(loader, job, folder, monkeypatch, overrides, task):
    monkeypatch.chdir(folder.parent)
    expected, actual = (left_by(run, loader, job(overrides), task, folder) for run in (hydras, ours))
    assert expected[0]["status"] is (JobStatus.FAILED if task is failing else JobStatus.COMPLETED)
    assert len(expected[1]) == 2
    assert actual == expected


def test_an_exit_ends_the_sweep(loader, job, folder):
    def refused(cfg):
        raise SystemExit("Refused: as a test")

    before = HydraConfig.instance().cfg
    with pytest.raises(SystemExit, match="as a test"):
        left_by(ours, loader, job([]), refused, folder)
    assert HydraConfig.instance().cfg is before
