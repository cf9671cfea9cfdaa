"""Who takes part: ours, the PyTorch and JAX peers, and the machine's limits.

`TRAINING` has every contestant that trains, once: how it is made, in which family ratios and goals name it, how it is drawn.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import ours, peers_jax
from experiments.benchmark.interleaving import Contestant, LeftOut, Reading, repeated
from experiments.benchmark.settings import COMPARISON, GROWTH, PUBLISHED, Examples, Work, examples
from memo.data.datasets import Dataset
from memo.reporting.palette import BLUE, DASHED, DOTTED, GREEN, ORANGE, PURPLE, SKY, SOLID, VERMILION, Dashes

NO_TORCH = "PyTorch is not installed"
OURS, LOOP, PROCESSES = "ours", "PyTorch loop", "PyTorch loop, one process per core"
VMAP, COMPILED, JAX_ONE = "torch.func.vmap", "torch.func.vmap + torch.compile", "JAX, one jitted network at a time"
XLA_SGEMM, TORCH_SGEMM = "XLA sgemm", "torch sgemm"
EXAMPLES, FLOP = "examples", "flop"  # units of what a reading did
SIDES = {"cpu": (512, 1024, 2048), "gpu": (1024, 2048, 4096, 8192)}  # of the square matrices
LIMIT_SECONDS = 0.2  # of a reading of a limit, at most

Start = Callable[[Work, Examples, float], Callable[[], Reading]]


class Peer(NamedTuple):
    """A contestant that trains; `on` is the one platform on which it makes sense, or "" for all."""

    family: str  # ratios are told of the fastest of each; none of ""
    style: tuple[str, str, Dashes]  # colour, marker and dashes of its line
    start: Start | None
    parts: tuple[str, ...] = (COMPARISON,)  # in which it takes part
    on: str = ""


def _torch(**how: Any) -> Start:
    return lambda *asked: torch_peers().start(*asked, **how)


_ALL, _LONG = (COMPARISON, GROWTH, PUBLISHED), (COMPARISON, PUBLISHED)
TRAINING = {
    OURS: Peer("", (VERMILION, "o", SOLID), None, _ALL),
    f"{LOOP}, tensors in memory": Peer(LOOP, (BLUE, "s", SOLID), _torch(), _LONG),
    PROCESSES: Peer(PROCESSES, (SKY, "p", SOLID), _torch(processes=True), _LONG, "cpu"),
    f"{LOOP}, DataLoader": Peer("", (BLUE, "D", DOTTED), _torch(loader=True)),
    f"{VMAP}, own minibatches": Peer(VMAP, (GREEN, "^", SOLID), _torch(own=True), _ALL),
    f"{VMAP}, shared minibatch": Peer(VMAP, (GREEN, "v", DASHED), _torch(own=False)),
    JAX_ONE: Peer(JAX_ONE, (PURPLE, "X", SOLID), peers_jax.start, _LONG),
    f"{COMPILED}, own minibatches": Peer(COMPILED, (ORANGE, "^", SOLID), _torch(own=True, compiled=True), _ALL, "gpu"),
    f"{COMPILED}, shared minibatch": Peer(COMPILED, (ORANGE, "v", DASHED), _torch(own=False, compiled=True), on="gpu"),
}


def family(name: str) -> list[str]:
    """Return the contestants of a family."""
    return [each for each, peer in TRAINING.items() if peer.family == name]


def has_torch() -> bool:
    """Return whether PyTorch, the extra [bench], is installed."""
    return find_spec("torch") is not None


def torch_peers() -> ModuleType:
    """Return the module of the PyTorch peers; LeftOut says why it cannot run."""
    if not has_torch():
        raise LeftOut(NO_TORCH)
    from experiments.benchmark import peers_torch

    if jax.default_backend() == "gpu" and not peers_torch.ON_GPU:
        raise LeftOut("this PyTorch has no CUDA")
    return peers_torch


def taking_part(work: Work, dataset: Dataset, gflop: float) -> list[Contestant]:
    """Return who is measured on some work: ours, the peers, then beside them the machine's limits.

    A loop trains as many networks as take about 3 s, fewer where readings are of fewer than 400 `gflop`.
    """
    seconds = min(3, 3 / 400 * gflop)

    def start(peer: Peer) -> Callable[[], Reading]:
        if peer.start is None:
            return ours.start(work, dataset)
        return peer.start(work, examples(dataset, work.images), seconds)

    found = [
        Contestant(name, EXAMPLES, partial(start, peer))
        for name, peer in TRAINING.items()
        if work.part in peer.parts and peer.on in ("", jax.default_backend())
    ]
    return found + (_limits(min(LIMIT_SECONDS, seconds)) if work.part == COMPARISON else [])


def _limits(seconds: float) -> list[Contestant]:
    """Return the machine's limits: XLA's and the vendor library's products of square matrices."""

    def start(make: Callable[[int], Callable[[], object]], side: int) -> Callable[[], Reading]:
        run = make(side)
        return lambda: Reading(sum(calls := repeated(run, seconds)), 2 * side**3 * len(calls))

    libraries = {XLA_SGEMM: _xla_sgemm, TORCH_SGEMM: lambda side: torch_peers().sgemm(side)}
    return [
        Contestant(f"{name} {side}", FLOP, partial(start, make, side))
        for name, make in libraries.items()
        for side in SIDES[jax.default_backend()]
    ]


def _xla_sgemm(side: int) -> Callable[[], object]:
    factor = jnp.asarray(np.random.default_rng(0).standard_normal((side, side), np.float32))
    return lambda: jax.block_until_ready(jnp.matmul(factor, factor))
