"""The benchmark as a Hydra application: its own check of a configuration, then its readings and their report."""

import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from experiments.benchmark import measuring, settings
from memo.commands import hydra_app
from memo.config import Config
from memo.errors import Refusal

NAME = "benchmark"
KEYS = ("experiment", "scale", "hydra", "dataset.folder")


def checked(cfg: DictConfig, overrides: list[str]) -> tuple[settings.Sizes, Config]:
    """Return the sizes that a composed configuration asks for; Refusal for keys that are not the benchmark's."""
    config = hydra_app.read(cfg)
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        if not any(key == known or key.startswith(f"{known}.") for known in KEYS):
            raise Refusal(f"{key} means nothing to the benchmark; its keys are experiment.*, scale and dataset.folder.")
    return settings.read(config.experiment.settings), config


class CheckSizes(Callback):
    """Refuses a configuration before Hydra makes a folder."""

    def on_run_start(self, config: DictConfig, **kwargs: object) -> None:
        """Exit with one sentence where the configuration is refused."""
        try:
            checked(config, config.hydra.overrides.task)
        except (Refusal, OmegaConfBaseException) as error:
            raise SystemExit(f"Refused: {hydra_app.explain(error)}") from None


def run(cfg: DictConfig) -> None:
    """Measure what the output folder lacks, unless only the report is to be drawn again, and write its report."""
    hydra = HydraConfig.get()
    sizes, config = checked(cfg, hydra.overrides.task)
    own = [override for override in hydra.overrides.task if override != f"experiment={NAME}"]
    folder = Path(hydra.runtime.output_dir)
    if not sizes.redraw:
        command = shlex.join(["python", "-m", f"experiments.{NAME}", *own])
        measuring.measure(folder, sizes, command, config.dataset.folder)
    measuring.redraw(folder)


if __name__ == "__main__":
    hydra_app.run(run, (f"experiment={NAME}",))
