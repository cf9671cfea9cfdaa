"""Running the jobs of a batch as Hydra's `run_job` does, in a fraction of its time."""

import os
import pickle
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra.core import utils
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf._utils import get_omega_conf_dumper


class Job:
    """A composed job that waits to be run.

    Its configuration is kept pickled, which is smaller than its objects, and nothing for the garbage collector to search.
    """

    def __init__(self, config: DictConfig):
        outer = HydraConfig.instance().cfg
        HydraConfig.instance().cfg = config  # type: ignore[assignment]  # the folder may be named by ${hydra:...}
        try:
            sweep = config.hydra.sweep
            self.folder = Path(os.path.abspath(os.path.join(str(sweep.dir), str(sweep.subdir))))
        finally:
            HydraConfig.instance().cfg = outer
        config.hydra.runtime.output_dir = str(self.folder)
        self._config = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)

    def run(self, hydra_context: HydraContext, task_function: TaskFunction) -> JobReturn:
        """Return what Hydra's own `run_job` returns, with the same files, logs and callbacks."""
        config = pickle.loads(self._config)
        hydra = config.hydra
        if hydra.job.chdir or (hydra.job.chdir is None and not version.base_at_least("1.2")):
            return utils.run_job(
                hydra_context=hydra_context,
                task_function=task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        OmegaConf.set_readonly(hydra, True)
        outer = HydraConfig.instance().cfg
        # As it is: set_config would copy Hydra's part.
        HydraConfig.instance().cfg = config
        try:
            result = JobReturn(overrides=list(hydra.overrides.task), working_dir=os.getcwd())
            result.cfg, result.hydra_cfg = _split(pickle.loads(self._config))  # faster than copy.deepcopy
            self.folder.mkdir(parents=True, exist_ok=True)
            utils.configure_log(hydra.job_logging, hydra.verbose)
            if hydra.output_subdir is not None:
                self._record(self.folder / hydra.output_subdir, result)
            with utils.env_override(hydra.job.env_set):
                hydra_context.callbacks.on_job_start(config=config, task_function=task_function)
                try:
                    result.return_value = task_function(result.cfg)
                    result.status = JobStatus.COMPLETED
                except Exception as error:
                    result.return_value = error
                    result.status = JobStatus.FAILED
            result.task_name = JobRuntime.instance().get("name")
            utils._flush_loggers()
            hydra_context.callbacks.on_job_end(config=config, job_return=result)
            return result
        finally:
            HydraConfig.instance().cfg = outer

    @staticmethod
    def _record(folder: Path, result: JobReturn) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in (("config", result.cfg), ("hydra", result.hydra_cfg), ("overrides", result.overrides)):
            if OmegaConf.is_config(part):
                part = OmegaConf.to_container(part, resolve=False, enum_to_str=True)
            (folder / f"{name}.yaml").write_text(_yaml(part), encoding="utf-8")


def _split(config: DictConfig) -> tuple[DictConfig, DictConfig]:
    """Return the task's part and Hydra's part of a configuration that nobody else holds."""
    OmegaConf.set_readonly(config.hydra, True)
    with flag_override(config, ["struct", "readonly"], False):
        node = config.pop("hydra")
    hydra = DictConfig({})
    with flag_override(hydra, "no_deepcopy_set_nodes", True):
        hydra["hydra"] = node
    return config, hydra


_Fastest: Any = getattr(yaml, "CDumper", yaml.Dumper)


class _Dumper(_Fastest):
    """The dumper of OmegaConf.to_yaml, through the faster libyaml where PyYAML has it."""


_Dumper.add_representer(str, get_omega_conf_dumper().str_representer)


def _yaml(content: Any) -> str:
    return yaml.dump(content, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=_Dumper)
