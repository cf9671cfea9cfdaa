"""`hydra/launcher=population`: the jobs of a multirun train side by side, as a few compiled programs.

    python -m experiments.train --multirun hydra/launcher=population \\
        labels.kind=true,shuffled optimizer.learning_rate=0.01,0.03,0.1 model.widths=[64],[256] seeds=20

trains 240 networks as two programs. The requests of all jobs of a batch are gathered, trained population by population and
stored in the jobs' ordinary folders; then each job runs as Hydra runs any job, finds its trials stored, and leaves its
`.hydra` folder and log. Works with any command whose task trains through `memo.commands.experiment.train`.

Hydra imports every plug-in at the start of every application, and all its modules without an underscore: so nothing of
memo is imported here, and the imports for launching (JAX and pandas, 3 s) are made when jobs are launched. The schema of
`population_slurm` has the keys of memo.cluster.settings; memo.commands.hydra_app stores it, for commands of memo only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


@dataclass
class PopulationLauncherConf:
    """Has no keys of its own: the recipes determine what trains together."""

    _target_: str = "hydra_plugins.population_launcher.PopulationLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="population", node=PopulationLauncherConf, provider="population_launcher"
)


class PopulationLauncher(Launcher):
    """Trains a batch of jobs together, then runs them one by one on what is stored."""

    def setup(self, *, hydra_context: "HydraContext", task_function: "TaskFunction", config: "DictConfig") -> None:
        """Keep what Hydra hands over, and compose later jobs by patching earlier ones."""
        from hydra_plugins.population_launcher._composition import PatchingLoader

        self.config, self.task_function, self.hydra_context = config, task_function, hydra_context
        # Also for the sweeper, which composes every job once more to check it.
        hydra_context.config_loader = PatchingLoader(hydra_context.config_loader)  # type: ignore[assignment]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> "Sequence[JobReturn]":
        """Return the results of the jobs, whose numbers start at `initial_job_idx`; raises memo's Refusal."""
        from hydra_plugins.population_launcher._launching import launch

        return launch(self.config, self.task_function, self.hydra_context, job_overrides, initial_job_idx)


class SlurmLauncher(PopulationLauncher):
    """Trains a batch of jobs as tasks of a Slurm cluster, then runs them here one by one on what is stored."""

    def __init__(self, **keys: Any):
        """Take the launcher's keys; they are read from the configuration, and checked, when jobs are launched."""
