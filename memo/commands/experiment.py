"""An experiment: its sweep as run folders, then their analysis."""

import contextlib
import itertools
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from memo.commands import hydra_app, starting
from memo.commands.arms import compared
from memo.commands.requirements import check
from memo.config import Config, Trial, make_recipe, make_trials, run_name
from memo.errors import Refusal
from memo.probes import known
from memo.reporting.report import Report, redrawing, write
from memo.storage import provenance, run_folders, sweep, trackers
from memo.storage.progress_file import ProgressFile
from memo.storage.sweep import Request
from memo.training import machine

logger = logging.getLogger(__name__)


def members(config: Config) -> pd.DataFrame:
    """Return which trials belong to which arm, columns arm and trial; a trial may belong to several."""
    rows = [(arm, trial.id) for arm, each in compared(config).items() for one in each for trial in make_trials(one)]
    return pd.DataFrame(rows, columns=["arm", "trial"])


def requests(config: Config, folder: Path) -> list[Request]:
    """Return the requests of a configuration: one for each list of probes.

    The run folder is `folder` itself, or where an experiment compares recipes, one below its runs/ for each.
    """
    data, how = config.dataset.folder, config.execution
    if not (config.experiment.arms or config.experiment.sweep):
        return [Request({folder: make_trials(config)}, config.probes, data, how)]
    trials: dict[Path, dict[str, Trial]] = {}
    probes: dict[Path, list[str]] = {}
    for one in itertools.chain(*compared(config).values()):
        run = folder / run_folders.RUNS / run_name(make_recipe(one))
        # Arms may share a recipe: its trials are then measured by the probes of all of them.
        trials.setdefault(run, {}).update((trial.id, trial) for trial in make_trials(one))
        probes[run] = list(dict.fromkeys([*probes.get(run, []), *one.probes]))
    runs: dict[tuple[str, ...], dict[Path, list[Trial]]] = {}
    for run, asked in probes.items():
        if not known(asked):
            raise Refusal(f"probes of arms with the same recipe are {asked}; allowed is each once, and once as name@n.")
        runs.setdefault(tuple(asked), {})[run] = list(trials[run].values())
    return [Request(own, asked, data, how) for asked, own in runs.items()]


def admitted(config: DictConfig, overrides: Sequence[str]) -> Config:
    """Return a composed configuration as its dataclasses; `overrides` are those of the task; raises Refusal."""
    typed = hydra_app.read(config)
    check(typed, {override.lstrip("+").split("=")[0] for override in overrides})
    trackers.require(typed.tracking)
    return typed


@contextlib.contextmanager
def _exiting() -> Iterator[None]:
    """Exit with one sentence for what is refused: Hydra turns any other exception of a callback into a warning."""
    try:
        with starting.quiet_when_unread():
            yield
    except (Refusal, OmegaConfBaseException, MemoryError) as error:
        raise SystemExit(f"Refused: {hydra_app.explain(error)}") from None


class CheckBeforeRun(Callback):
    """Refuses a configuration, or any recipe that it sweeps, before Hydra makes a folder; prints a plan likewise."""

    def on_run_start(self, config: DictConfig, **kwargs: object) -> None:
        """Exit with one sentence where the configuration is refused, and after the plan where that is asked for."""
        with _exiting():
            hydra_app.require_hydra(config.hydra)
            typed = admitted(config, config.hydra.overrides.task)
            wanted = requests(typed, Path(str(config.hydra.run.dir)))
            if not typed.plan:
                sweep.require(wanted)
                return
            sweep.show_plan(wanted)
        raise SystemExit(0)

    def on_multirun_start(self, config: DictConfig, **kwargs: object) -> None:
        """Exit with one sentence where Hydra's own settings or this machine are refused, a sweep without jobs, or one of a single job that is."""
        with _exiting():
            hydra_app.require_hydra(config.hydra)
            overrides = list(config.hydra.overrides.task)
            swept = [each for each in OverridesParser.create().parse_overrides(overrides) if each.is_sweep_override()]
            for each in swept:
                if not isinstance(each.value(), IntervalSweep) and next(each.sweep_iterator(), None) is None:
                    raise Refusal(f"The sweep has no jobs: {each.get_key_element()} has no values.")
            if (
                config.hydra.launcher.get("_target_", "").rpartition(".")[2] != "SlurmLauncher"
            ):  # which trains elsewhere
                machine.worker_devices()
            if not swept and not config.hydra.sweeper.get(
                "params"
            ):  # Hydra makes the folders of a job before it is asked
                requests(admitted(config, overrides), Path(str(config.hydra.run.dir)))


class TrackAfterJob(Callback):
    """Sends the curves of a job's trials to the tracker that `tracking.to` names, after everything else is written.

    A tracker that fails causes a warning, not a failed job, and is not used for the rest of the command.
    """

    def __init__(self) -> None:
        self._failed = False

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: object) -> None:
        """Send the trials of a job that has ended well and that the tracker lacks."""
        if config.get("tracking", {}).get("to") is None or job_return.status != JobStatus.COMPLETED or self._failed:
            return
        typed = admitted(config, config.hydra.overrides.task)
        if typed.plan:
            return
        requested = requests(typed, Path(str(config.hydra.runtime.output_dir)))
        wanted = {run: trials for request in requested for run, trials in request.runs.items()}
        arms = members(typed).groupby("trial")["arm"].agg(", ".join).to_dict()
        self._failed = not trackers.send(typed.tracking, typed.experiment.name or "train", wanted, arms)


class ReportAtEnd(Callback):
    """Compares what the command has asked for on a page (`report=true`), when its last job has ended.

    Jobs that a launcher has run in other processes are not seen here: the page is then of all that lies below the folder.
    """

    def __init__(self) -> None:
        self._wanted: dict[Path, set[str]] = {}

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: object) -> None:
        """Note the trials of a job that has ended well."""
        if config.get("report") and not config.plan and job_return.status == JobStatus.COMPLETED:
            typed = admitted(config, config.hydra.overrides.task)
            for request in requests(typed, Path(str(config.hydra.runtime.output_dir))):
                for run, trials in request.runs.items():
                    self._wanted.setdefault(run, set()).update(trial.id for trial in trials)

    def on_run_end(self, config: DictConfig, **kwargs: object) -> None:
        """Write the page of a single run into its folder."""
        if self._wanted:  # a run that failed has none
            self._write(config, Path(str(config.hydra.run.dir)))

    def on_multirun_end(self, config: DictConfig, **kwargs: object) -> None:
        """Write the page of a sweep into its folder; exit with one sentence where its keys are too many for one."""
        self._write(config, Path(str(config.hydra.sweep.dir)))

    def _write(self, config: DictConfig, folder: Path) -> None:
        if not config.get("report") or config.plan:
            return
        from memo.comparison import comparing, page  # matplotlib, which neither training nor a launcher needs

        ids = set().union(*self._wanted.values())
        command = shlex.join(["python", *_started(), *sys.argv[1:]])
        try:
            tables = run_folders.load(folder, lambda trials: trials["trial"].isin(ids) | (not ids), comparing.READ)
            sessions = [session for run in self._wanted or [folder] for session in run_folders.provenance(run)]
            page.write(comparing.compare(tables), folder, folder, sessions, command)
        except Refusal as refusal:  # Hydra turns any exception of a callback into a warning, except one that exits
            raise SystemExit(f"Refused: {refusal}") from None
        logger.info("%s compares %d networks.", folder / "report.html", len(tables.trials))


class Stored:
    """Trials that a launcher has just stored for the jobs that it runs, which need not search for them again.

    A search reads the table of each job's run folder.
    """

    def __init__(self, requests: Sequence[Request] = ()):
        self._trials = set().union(*map(self._keys, requests))

    def hold_all(self, requests: Sequence[Request]) -> bool:
        """Return whether all trials of some requests are among them."""
        return all(self._keys(request) <= self._trials for request in requests)

    @contextlib.contextmanager
    def known_to_train(self) -> Iterator[None]:
        """Let `train` take these trials as stored within the block."""
        token = _stored.set(self)
        try:
            yield
        finally:
            _stored.reset(token)

    @staticmethod
    def _keys(request: Request) -> set[tuple[Path, str, tuple[str, ...]]]:
        return {(run, trial.id, tuple(request.probes)) for run, trials in request.runs.items() for trial in trials}


# Between launcher and task stands Hydra, which hands a task its configuration and nothing else.
_stored = ContextVar("stored", default=Stored())  # noqa: B039 (it never changes)


def train(cfg: DictConfig) -> tuple[Config, Path, dict[Path, list[Trial]]]:
    """Train the networks of a composed configuration that its output folder lacks; return the trials by run folder."""
    hydra = HydraConfig.get()
    config = admitted(cfg, hydra.overrides.task)  # jobs of a sweep have not been through CheckBeforeRun
    folder = Path(hydra.runtime.output_dir)
    wanted = requests(config, folder)
    if config.plan:  # a job of a sweep; other commands have ended in CheckBeforeRun
        sweep.show_plan(wanted)
        return config, folder, {}
    if _stored.get().hold_all(wanted):
        sweep.say_all_is_stored(wanted)
        return config, folder, _runs(wanted)
    progress = ProgressFile(folder, wanted)
    for place, request in enumerate(wanted):
        sweep.complete(*request, on_progress=progress.of(place))
    progress.remove()
    return config, folder, _runs(wanted)


def _runs(requests: Sequence[Request]) -> dict[Path, list[Trial]]:
    return {run: list(trials) for request in requests for run, trials in request.runs.items()}


def run(name: str, analyse: Callable[[run_folders.Tables, Config, Path], Report], conf: Path | None = None) -> None:
    """Run the command of one experiment: train its sweep, then write what `analyse(tables, config, folder)` reports.

    Its configuration is `experiment/<name>.yaml` in this suite's conf/, or in `conf` for an experiment that lives in
    another package. `analyse` sees only the stored tables of the trials that this configuration asks for, and in
    `tables.arms` which arm each belongs to (columns arm, trial), where the experiment has arms.
    """

    def task(cfg: DictConfig) -> None:
        config, folder, wanted = train(cfg)
        if config.plan:
            return
        ids = {trial.id for trials in wanted.values() for trial in trials}
        tables = run_folders.load(folder / run_folders.RUNS, lambda trials: trials["trial"].isin(ids))
        absent = ids - set(tables.trials["trial"])
        if absent:
            raise Refusal(f"{len(absent)} of {len(ids)} trials are missing below {folder / run_folders.RUNS}.")
        tables["arms"] = members(config)
        command = shlex.join(["python", *_program(name, conf), *_overrides(name, folder)])
        sessions = [session for run in wanted for session in run_folders.provenance(run)]
        started = time.perf_counter()
        from memo.reporting import figures  # matplotlib, which neither training nor a launcher needs

        with redrawing(folder):
            with figures.look():
                report = analyse(tables, config, folder)
            drawn = provenance.drawing(time.perf_counter() - started)
            write(report, folder, sessions, command, drawn, [run / run_folders.DONE for run in wanted])

    other = [word for word in sys.argv[1:] if word.startswith("experiment=")]
    if other:
        sys.exit(f"Refused: {other[0]} does not go with this command; another experiment has a command of its own.")
    hydra_app.run(task, (f"experiment={name}",), conf)


def _overrides(name: str, folder: Path) -> list[str]:
    """Return the overrides of this command, so that it writes into the same folder when it is run again."""
    hydra = HydraConfig.get()
    own = [override for override in hydra.overrides.task if override != f"experiment={name}"]
    if hydra.mode == RunMode.MULTIRUN:  # a job's folder is not that of a single run
        return [*own, f"hydra.run.dir={os.path.relpath(folder)}"]
    return [*own, *(each for each in hydra.overrides.hydra if not each.startswith("hydra.mode="))]


def _program(name: str, conf: Path | None) -> list[str]:
    """Return the words after `python` that start an experiment, of the suite or (`conf` is given) of another package."""
    if conf is None:
        return ["-m", f"experiments.{name}"]
    return _started()


def _started() -> list[str]:
    """Return the words after `python` that started this process."""
    main = sys.modules["__main__"].__spec__
    return [sys.argv[0]] if main is None else ["-m", main.name.removesuffix(".__main__")]
