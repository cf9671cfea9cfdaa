"""The machine that trains: its devices, a worker for each of them, and the memory that networks may take."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from memo.config import Execution
from memo.networks.arithmetic import SMALL_BATCH, SPARSE, Arithmetic, density, sparse_is_possible
from memo.networks.program import Images, Static

# Operations per second that a worker (a core, a GPU) is taken to do where none was measured. The GPU's is a guess: no GPU
# has been measured.
SPEED = {"cpu": 6e10, "gpu": 2e13}
# The share of a GPU's memory that networks in training and their images may take: a guess too.
GPU_SHARE = 0.8


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


def platform_of(device: jax.Device) -> str:
    """Return `cpu`, or `gpu` for every accelerator: the platforms that numbers are chosen for."""
    return "cpu" if device.platform == "cpu" else "gpu"


def arithmetic(static: Static, networks: int, device: jax.Device, images: Images) -> Arithmetic:
    """Return how a device computes the products of so many networks that train together."""
    if platform_of(device) != "cpu":
        return Arithmetic()
    # Scaled or disturbed images are no bytes any more, and a receptive field holds the first layer's weights to a pattern.
    plain = static.scaling == "unit" and not (
        static.disturbances or static.noise_images or static.adversarial or static.receptive_field
    )
    small = static.batch_size < SMALL_BATCH  # to list so few pixels takes as long as the product
    sparse = (
        plain
        and not small
        and images.train.dtype == np.uint8
        and sparse_is_possible()
        and density(images.train) <= SPARSE
    )
    return Arithmetic(canonical=networks == 1 or small, sparse=sparse)


def worker_devices(cores: int | None = None) -> list[jax.Device]:
    """Return the device of each worker: every device once, and a CPU device once per core where calls run in parallel.

    `cores` limits how many cores are used; None is all that this process may use.
    """
    devices = jax.local_devices()
    if platform_of(devices[0]) == "cpu" and not jax.config.read("jax_cpu_enable_async_dispatch"):
        return devices * max(1, min(_cores(), cores or _cores()) // len(devices))
    return devices


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError, ValueError):  # a container may be given less than the machine has
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits)
