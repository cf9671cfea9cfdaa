"""Who takes part in a comparison: ours, the PyTorch and JAX peers, and the machine's limits."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from types import ModuleType

import jax

from experiments.benchmark import limits, names, ours, peers_jax
from experiments.benchmark.interleaving import Contestant, LeftOut, Reading, fastest, timed
from experiments.benchmark.sizes import Sizes
from experiments.benchmark.work import Work, examples
from memo.data.datasets import Dataset


def has_torch() -> bool:
    """Return whether PyTorch, the extra [bench], is installed."""
    return find_spec("torch") is not None


def on_gpu() -> bool:
    """Return whether JAX runs on a GPU."""
    return jax.default_backend() == "gpu"


def training(work: Work, dataset: Dataset, seconds: float) -> list[Contestant]:
    """Return all that train: ours first, then the peers, those that cannot run here among them."""
    return [
        ours.contestant(work, dataset, ours.composition(work.networks)),
        *(peer(name, work, dataset, seconds) for name in names.TRAINING[1:]),
    ]


def peer(name: str, work: Work, dataset: Dataset, seconds: float) -> Contestant:
    """Return a peer whose reading takes about `seconds`, or as long as its population does."""

    def start() -> Callable[[], Reading]:
        if name in names.CUDA_ONLY and not on_gpu():
            raise LeftOut(names.NO_GPU)
        peers = peers_jax if name == names.JAX_ONE else _torch()
        return peers.start(name, work, examples(dataset, work.images), seconds)

    return Contestant(name, names.EXAMPLES, start)


def _torch() -> ModuleType:
    """Return the module of the PyTorch peers, or say why it cannot run."""
    if not has_torch():
        raise LeftOut(names.NO_TORCH)
    import torch

    if on_gpu() and not torch.cuda.is_available():
        raise LeftOut("this PyTorch has no CUDA")
    from experiments.benchmark import peers_torch

    return peers_torch


def machine(sizes: Sizes) -> list[Contestant]:
    """Return the machine's limits: XLA's and the vendor library's products of square matrices, and copies."""
    arrangements = {"one product at a time": False}
    if jax.device_count() > 1:
        arrangements["one on each GPU" if on_gpu() else "one on each core"] = True
    listed = {
        f"{names.XLA_SGEMM} {side}, {arrangement}": partial(limits.xla_sgemm, side, everywhere=everywhere)
        for side in sizes.limit_sides
        for arrangement, everywhere in arrangements.items()
    }
    listed |= {f"{names.TORCH_SGEMM} {side}": partial(_of_torch, "sgemm", side) for side in sizes.limit_sides}
    length = sizes.copy_megabytes * 2**20
    copies = {names.XLA_COPY: partial(limits.xla_copy, length), names.TORCH_COPY: partial(_of_torch, "copy", length)}
    return [
        Contestant(name, unit, partial(_start_limit, make, sizes.limit_seconds))
        for unit, limits_of in ((names.FLOP, listed), (names.BYTES, copies))
        for name, make in limits_of.items()
    ]


def _of_torch(name: str, extent: int, times: int) -> limits.Limit:
    return getattr(_torch(), name)(extent, times)


def _start_limit(make: Callable[..., limits.Limit], seconds: float) -> Callable[[], Reading]:
    once, _ = make(times=1)
    _, duration = fastest({"": lambda: once}, seconds / 4)
    run, amount = make(times=max(1, round(seconds / duration)))
    run()  # compiles
    return lambda: Reading(timed(run), amount)


def limits_now(sizes: Sizes) -> tuple[float, float]:
    """Return quick readings of XLA's best FLOP/s and bytes/s, by which a setting's work is sized."""

    def rate(beginning: str) -> float:
        readings = [one.start()() for one in machine(sizes) if one.name.startswith(beginning)]
        return max(reading.amount / reading.seconds for reading in readings)

    return rate(names.XLA_SGEMM), rate(names.XLA_COPY)
