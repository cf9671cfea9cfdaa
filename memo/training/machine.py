"""The machine that trains: its devices, a worker for each of them, and the memory that networks may take."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from memo.config import Execution
from memo.errors import Refusal
from memo.networks.arithmetic import SMALL_BATCH, SPARSE, SPARSE_UNITS, Arithmetic, density, sparse_is_possible
from memo.networks.program import Images, Static

# Operations per second that a worker (a core, a GPU) is taken to do where none was measured. An H200 did 3e12 (512 networks of
# width 16) to 1.3e13 (64 of width 512), see docs/performance.md.
SPEED = {"cpu": 6e10, "gpu": 1e13}
# The share of a GPU's memory that networks in training and their images may take: a guess, which no population has come near.
GPU_SHARE = 0.8
CONTROL_GROUPS, PROCESS = Path("/sys/fs/cgroup"), Path("/proc/self")


class Machine(NamedTuple):
    """Where a population is to train: the platform, how many slabs at once, and the bytes that all may take."""

    platform: str  # cpu, or gpu for every accelerator
    workers: int
    memory: int


def use_every_core() -> None:
    """Let each CPU core train a slab of its own, unless JAX runs already.

    Independent networks on separate cores beat two threads inside one small matrix product (docs/performance.md); a
    program that is dispatched synchronously runs in the thread that calls it.
    """
    with contextlib.suppress(RuntimeError):  # refused once JAX runs: a notebook or a test has chosen its devices
        jax.config.update("jax_num_cpu_devices", jax.config.jax_num_cpu_devices)  # type: ignore[attr-defined]
        jax.config.update("jax_cpu_enable_async_dispatch", False)


@contextlib.contextmanager
def own_modes() -> Iterator[None]:
    """Compute in this thread as the suite means it, whatever modes of JAX a user has set.

    In float32, with NaN as a value, compiled, with JAX's own random numbers, and with arrays moved to devices as they are needed.
    """
    home: Any = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")  # as before JAX 0.8
    with contextlib.ExitStack() as modes:
        for mode in (
            home.enable_x64(False),
            jax.debug_nans(False),
            jax.debug_infs(False),
            jax.disable_jit(False),
            jax.default_prng_impl("threefry2x32"),
            jax.threefry_partitionable(True),
            jax.default_matmul_precision("highest"),  # GPUs take 10 bits of each factor (TF32) unless told otherwise
            jax.transfer_guard("allow"),
        ):
            modes.enter_context(mode)
        yield


def platform_of(device: jax.Device) -> str:
    """Return `cpu`, or `gpu` for every accelerator: the platforms that numbers are chosen for."""
    return "cpu" if device.platform == "cpu" else "gpu"


def arithmetic(static: Static, packs: int, members: int, device: jax.Device, images: Images) -> Arithmetic:
    """Return how a device computes the products of the steps of so many packs of networks that train together."""
    small = static.batch_size < SMALL_BATCH  # to list so few pixels takes as long as the product
    # Disturbed images are no bytes any more, and a receptive field holds the first layer's weights to a pattern.
    changed = static.disturbances or static.noise_images or static.adversarial or static.receptive_field
    sparse = not small and not changed and _reads_only_what_is_not_zero(static, members, device, images)
    return Arithmetic(canonical=platform_of(device) == "cpu" and (packs * members == 1 or small), sparse=sparse)


def look_arithmetic(static: Static, networks: int, device: jax.Device, images: Images) -> Arithmetic:
    """Return how a device computes the products of an evaluation, where so many networks read the same training images."""
    return Arithmetic(sparse=_reads_only_what_is_not_zero(static, networks, device, images))


def _reads_only_what_is_not_zero(static: Static, networks: int, device: jax.Device, images: Images) -> bool:
    return (
        platform_of(device) == "cpu"
        and static.scaling == "unit"  # others leave no pixel at zero
        and networks * static.sizes[1] >= SPARSE_UNITS
        and images.train.dtype == np.uint8
        and sparse_is_possible()
        and density(images.train) <= SPARSE
    )


def worker_devices(cores: int | None = None) -> list[jax.Device]:
    """Return the device of each worker: every device once, and a CPU device once per core where calls run in parallel.

    `cores` limits how many cores are used; None is all that this process may use.
    """
    try:
        devices = jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # AssertionError: JAX_PLATFORMS=cuda without its plug-in
        asked = jax.config.jax_platforms or "not set"  # type: ignore[attr-defined]
        said = " ".join(str(error).split()) or "no such platform"
        raise Refusal(f"JAX_PLATFORMS is {asked}; JAX finds no device there ({said[:300]}).") from error
    if platform_of(devices[0]) == "cpu" and not jax.config.read("jax_cpu_enable_async_dispatch"):
        return devices * max(1, min(_cores(), cores or _cores()) // len(devices))
    return devices


def _cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([cores, *_cpu_quotas()])))


def _control_groups(controller: str) -> list[Path]:
    """Return the folders with this process's limits by a controller of Linux's control groups, versions 1 and 2."""
    folders = []
    with contextlib.suppress(OSError):
        for line in (PROCESS / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = CONTROL_GROUPS / controllers if controllers else CONTROL_GROUPS
            root = root if root.is_dir() else CONTROL_GROUPS / controller
            own = root / path.lstrip("/")
            # Limits of groups above hold too; inside a container, its own group is the root.
            folders += [folder for folder in (own, *own.parents) if folder == root or root in folder.parents]
    return list(dict.fromkeys([*folders, CONTROL_GROUPS, CONTROL_GROUPS / controller]))


def _numbers(path: Path) -> list[float]:
    """Return the numbers in a file; none where it is absent or says `max`, which is no limit."""
    try:
        return [float(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError):
        return []


def _cpu_quotas() -> list[float]:
    """Return how many cores each control group lets this process use, where it limits them."""
    found = []
    for folder in _control_groups("cpu"):
        quota = _numbers(folder / "cpu.max") or [
            *_numbers(folder / "cpu.cfs_quota_us"),
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and min(quota) > 0:
            found.append(quota[0] / quota[1])
    return found


def this_machine(execution: Execution) -> Machine:
    """Return the machine that this process trains on, with the memory that it may take."""
    devices = worker_devices(execution.cores)
    platform = platform_of(devices[0])
    if execution.memory_gb is not None:
        memory = int(1e9 * execution.memory_gb)
    elif platform == "cpu":
        memory = _host_memory() // 2
    else:
        memory = len(devices) * int(GPU_SHARE * devices[0].memory_stats()["bytes_limit"])
    return Machine(platform, len(devices), memory)


def _host_memory() -> int:
    limits = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    for folder in _control_groups("memory"):  # a container may be given less than the machine has
        limits += _numbers(folder / "memory.max") + _numbers(folder / "memory.limit_in_bytes")
    return int(min(limits))
