"""Export of stored learning curves to an experiment tracker: one run per trial, grouped by recipe; off by default.

    python -m experiments.headline tracking.to=mlflow tracking.uri=sqlite:///mlflow.db

A tracker is read before it is written to: runs that it holds are not sent again, and deleted runs are.
"""

import importlib.util
import json
import logging
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from memo.config import Tracking, Trial, flatten, run_name
from memo.errors import Refusal
from memo.storage import locks, run_folders

logger = logging.getLogger(__name__)

LOCK = ".tracking.lock"
MARK, PART = "trial-", ".part"  # of files in the offline runs of Weights & Biases
METRICS = ("epoch", *(f"{part}_{value}" for part in ("train", "test", "validation") for value in ("loss", "accuracy")))
OUTCOME = ("steps", "parameters", "labels.changed", *(f"final_{name}" for name in METRICS[1:]))
METRICS_PER_REQUEST = 1000  # MLflow's most
RUNS_PER_ANSWER = 50_000  # MLflow's most


class Run(NamedTuple):
    """A trial as trackers take it. Numbers that are not finite are left out: a diverged trial has no final values."""

    name: str
    recipe: dict[str, Any]  # its keys by dotted name, and the seed
    tags: dict[str, str]  # trial, group (the recipe's run name), status, folder, arms where there are any
    outcome: dict[str, float]
    curve: list[tuple[int, dict[str, float]]]  # step, METRICS


def stored_runs(folder: Path, trials: Sequence[Trial], arms: Mapping[str, str] | None = None) -> list[Run]:
    """Return trials as their run folder holds them, `arms` by trial; raises Refusal where it holds none of them."""
    recipes = {trial.id: trial.recipe for trial in trials}
    tables = run_folders.load(folder, lambda rows: rows["trial"].isin(recipes), tables=["curves"])
    curves = dict(list(tables.curves.groupby("trial")))
    runs = []
    for row in tables.trials.to_dict("records"):
        trial, group = row["trial"], run_name(recipes[row["trial"]])
        tags = {"trial": trial, "group": group, "status": row["status"], "folder": str(folder)}
        if arms and trial in arms:
            tags["arms"] = arms[trial]
        points = curves[trial].sort_values("step").to_dict("records")
        curve = [(int(point["step"]), _finite(point, METRICS)) for point in points]
        recipe = flatten(recipes[trial]) | {"seed": row["seed"]}
        runs.append(Run(f"{group}-seed{row['seed']}", recipe, tags, _finite(row, OUTCOME), curve))
    return runs


def _finite(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    return {name: float(row[name]) for name in names if math.isfinite(row.get(name, math.nan))}


def to_mlflow(runs: Sequence[Run], project: str, uri: str | None) -> int:
    """Send the runs that an MLflow experiment lacks and return how many those were.

    `uri` is a tracking URI (None: what MLFLOW_TRACKING_URI names, or mlflow.db in the current folder).
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # else minutes where no server answers
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(project)
    experiment_id = client.create_experiment(project) if experiment is None else experiment.experiment_id
    held, wanted = set(), {run.tags["trial"] for run in runs}
    for group in {run.tags["group"] for run in runs}:
        for earlier in client.search_runs([experiment_id], f"tags.`group` = '{group}'", max_results=RUNS_PER_ANSWER):
            trial = earlier.data.tags.get("trial")
            if earlier.info.status == "FINISHED":
                held.add(trial)
            elif trial in wanted:  # left by an interrupted command
                client.delete_run(earlier.info.run_id)
    missing = [run for run in runs if run.tags["trial"] not in held]
    for run in missing:
        run_id = client.create_run(experiment_id, run_name=run.name, tags=run.tags).info.run_id
        client.log_batch(run_id, params=[Param(key, _as_written(value)) for key, value in run.recipe.items()])
        now = int(time.time() * 1000)
        points = [*run.curve, (int(run.outcome["steps"]), run.outcome)]
        metrics = [Metric(key, value, now, step) for step, values in points for key, value in values.items()]
        for start in range(0, len(metrics), METRICS_PER_REQUEST):
            client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_REQUEST])
        client.set_terminated(run_id)
    return len(missing)


def _as_written(value: Any) -> str:
    """Return a value as it stands on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def to_trackio(runs: Sequence[Run], project: str, uri: str | None) -> int:
    """Send the runs that a local trackio project lacks and return how many those were.

    `uri` is a folder (None: what TRACKIO_DIR names, or trackio's own in the user's cache). `trackio sync` takes a project
    from there to a Space. Raises OSError where trackio already writes elsewhere in this process.
    """
    if uri is not None:
        os.environ["TRACKIO_DIR"] = os.path.abspath(uri)  # which trackio reads when it is imported
    # Its storage, as in its own importers, and not trackio.init and log: a run is then one transaction, stored as a whole
    # or not at all, and an error is raised here; trackio's own thread would only warn of what it could not write.
    from trackio.sqlite_storage import TRACKIO_DIR, SQLiteStorage

    if uri is not None and Path(TRACKIO_DIR) != Path(os.path.abspath(uri)):
        raise OSError(f"trackio writes to {TRACKIO_DIR} in this process")
    SQLiteStorage.validate_project_name(project)
    held = {record["id"] for record in SQLiteStorage.get_run_records(project)}
    missing = [run for run in runs if run.tags["trial"] not in held]
    for run in missing:
        # The names under which trackio.init keeps a run's group and time.
        its_own = {"_Group": run.tags["group"], "_Created": datetime.now(UTC).isoformat()}
        SQLiteStorage.bulk_log(
            project,
            run.name,
            [values for _, values in run.curve],
            [step for step, _ in run.curve],
            config=run.recipe | run.tags | run.outcome | its_own,
            run_id=run.tags["trial"],
        )
    return len(missing)


def to_wandb(runs: Sequence[Run], project: str, uri: str | None) -> int:
    """Write the runs that a folder lacks as offline runs of Weights & Biases and return how many those were.

    `uri` is the folder (None: what WANDB_DIR names, or the current one), in whose wandb/ they lie; `wandb sync` sends them to a
    server. A file in each, trial-<id>, says whose it is; trial-<id>.part is of one that was interrupted, which is removed.
    """
    import wandb

    folder = Path(uri or os.environ.get("WANDB_DIR") or ".").absolute()
    wanted = {run.tags["trial"] for run in runs}
    held = set()
    for mark in folder.glob(f"wandb/offline-run-*/{MARK}*"):
        trial = mark.name.removeprefix(MARK)
        if mark.suffix != PART:
            held.add((trial, mark.read_text(encoding="utf-8")))
        elif trial.removesuffix(PART) in wanted:
            shutil.rmtree(mark.parent)
    missing = [run for run in runs if (run.tags["trial"], project) not in held]
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(mode="offline", silent=True, console="off", disable_git=True, disable_code=True)
    for run in missing:
        config = run.recipe | run.tags
        new = wandb.init(
            project=project,
            dir=str(folder),
            name=run.name,
            group=run.tags["group"],
            config=config,
            settings=settings,
            reinit="create_new",
        )
        part = Path(new.dir).parent / f"{MARK}{run.tags['trial']}{PART}"
        part.write_text(project, encoding="utf-8")
        for step, values in run.curve:
            new.log(values, step=step)
        new.summary.update(run.outcome)
        new.finish()
        part.rename(part.with_suffix(""))
    return len(missing)


class Tracker(NamedTuple):
    """The package that a tracker needs, with its extra; how to send runs to a project at a URI, returning how many were new."""

    package: str
    send: Callable[[Sequence[Run], str, str | None], int]
    extra: str = "tracking"
    local: bool = False  # its URI is a folder


TRACKERS = {
    "mlflow": Tracker("mlflow", to_mlflow),
    "trackio": Tracker("trackio", to_trackio, local=True),
    "wandb": Tracker("wandb", to_wandb, extra="wandb", local=True),
}


def require(tracking: Tracking) -> None:
    """Raise Refusal unless its tracker is known and installed, and its URI is one that this tracker takes."""
    name, uri = tracking.to, tracking.uri
    if name is None:
        return
    if name not in TRACKERS:
        raise Refusal(f"tracking.to is {name}; allowed is null, {', '.join(TRACKERS)}.")
    tracker = TRACKERS[name]
    if importlib.util.find_spec(tracker.package) is None:
        raise Refusal(
            f"tracking.to is {name}, and the package {tracker.package} is missing: python -m pip install -e '.[{tracker.extra}]'"
        )
    if tracker.local and uri is not None and "://" in uri:
        raise Refusal(f"tracking.uri is {uri}; allowed is a folder, for {name} keeps its runs in one.")


def send(
    tracking: Tracking, name: str, wanted: Mapping[Path, Sequence[Trial]], arms: Mapping[str, str] | None = None
) -> bool:
    """Send those of the stored trials, by run folder, that the tracker lacks; return False where it has failed.

    `name` is the project where the user names none. Failures are logged in one sentence: results are never at stake.
    """
    if tracking.to is None:
        return True
    project, sent = tracking.project or name, 0
    try:
        for folder, trials in wanted.items():
            # When two commands sweep into one folder, the second finds what the first has sent.
            with locks.alone(folder / LOCK), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of the trackers' own parts
                sent += TRACKERS[tracking.to].send(stored_runs(folder, trials, arms), project, tracking.uri)
    except Exception as error:  # of any kind: a tracker, its server or the network has failed
        logger.warning(
            "%s has not taken all curves (%s); the results are stored, and the same command sends what is missing.",
            tracking.to,
            " ".join(str(error).split())[:300] or type(error).__name__,
        )
        return False
    known = sum(map(len, wanted.values())) - sent
    logger.info("Sent to %s, project %s: %d networks (%d were there).", tracking.to, project, sent, known)
    return True
