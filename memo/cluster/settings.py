"""The resources and the number of Slurm tasks: the keys of `hydra/launcher=population_slurm`, by Slurm's names."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


def _key(default: Any, allowed: str, check: Callable[[Any], bool]) -> Any:
    return field(default=default, metadata={"allowed": allowed, "check": check})


def _whole(default: int, low: int, high: int = 1_000_000) -> Any:
    return _key(default, f"a whole number from {low} to {high}", lambda value: low <= value <= high)


def _positive(default: float, high: float) -> Any:
    return _key(default, f"a number above 0, at most {high:g}", lambda value: 0 < value <= high)


LONGEST, LARGEST = 366 * 1440, 2**50  # of a task: minutes, bytes


@dataclass
class Settings:
    """Keys of `hydra.launcher`; `memo.config.check` refuses values out of range."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus_per_node: int = _whole(0, 0, 1000)  # all of them for one task
    cpus_per_task: int = _whole(2, 1, 10_000)
    # Per task.
    mem: str = _key("8G", "a size such as 500M or 32G, at most 1024T", lambda value: 0 < as_bytes(value) <= LARGEST)
    # A task that needs longer is requeued and goes on.
    time: str = _key(
        "60",
        "minutes, or Slurm's days-hours:minutes:seconds, at most 366 days",
        lambda value: 0 < as_minutes(value) <= LONGEST,
    )
    array_parallelism: int = _whole(64, 1)  # tasks at once
    max_tasks: int = _whole(1000, 1)  # in an array job: Slurm's MaxArraySize is 1001 unless the cluster sets it
    min_minutes: float = _positive(5.0, LONGEST)  # least estimated work per task; fewer tasks rather than shorter ones
    max_num_timeout: int = _whole(20, 0)  # how often a task may run into its time limit
    attempts: int = _whole(3, 1)  # total number of submissions of a task that is killed
    signal_delay_s: int = _whole(90, 1)  # before the time limit, when a task is signalled to checkpoint
    setup: list[str] = field(default_factory=list)  # lines of the batch script, such as module load cuda
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # of sbatch, such as {mail-type: END}
    gpu_memory_gb: float = _positive(40.0, 1e6)  # for the plan; a task asks its own GPUs
    # Of a core or GPU, for the plan.
    gflops: float | None = _key(
        None, "a number from 0.001 to 1e9, or null for what was measured", lambda v: v is None or 1e-3 <= v <= 1e9
    )
    poll_seconds: float = _positive(5.0, 3600)


def as_bytes(size: str) -> int:
    """Return the bytes of a size in Slurm's notation (megabytes without a unit), or 0 where it is none."""
    match = re.fullmatch(r"([0-9]+)([KMGT]?)B?", str(size).upper())
    if match is None:
        return 0
    return int(match[1]) * 1024 ** ("KMGT".index(match[2] or "M") + 1)


def as_minutes(duration: str) -> int:
    """Return the minutes of a time limit in Slurm's notation, rounded up, or 0 where it is none."""
    match = re.fullmatch(r"(?:([0-9]+)-)?([0-9]+)(?::([0-9]+))?(?::([0-9]+))?", str(duration))
    if match is None:
        return 0
    days, first, second, third = (int(group or 0) for group in match.groups())
    if match[1]:  # days-hours[:minutes[:seconds]]
        seconds = 86400 * days + 3600 * first + 60 * second + third
    elif match[4]:  # hours:minutes:seconds
        seconds = 3600 * first + 60 * second + third
    else:  # minutes[:seconds]
        seconds = 60 * first + second
    return -(-seconds // 60)


def in_words(minutes: int) -> str:
    """Return a time limit as Slurm writes it, with its hours: 2:00:00, 1-12:00:00."""
    days, rest = divmod(minutes, 1440)
    return (f"{days}-{rest // 60:02}" if days else f"{rest // 60}") + f":{rest % 60:02}:00"
