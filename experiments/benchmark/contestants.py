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
from experiments.benchmark.settings import COMPARISON, GROWTH, PUBLISHED, Examples, Setting, Sizes, Work, examples
from memo.data.datasets import Dataset
from memo.reporting.palette import BLUE, DASHED, DOTTED, GREEN, ORANGE, PURPLE, SKY, SOLID, VERMILION, Dashes

NO_TORCH = "PyTorch is not installed"
OURS, LOOP, PROCESSES = "ours", "PyTorch loop", "PyTorch loop, one process per core"
VMAP, COMPILED, JAX_ONE = "torch.func.vmap", "torch.func.vmap + torch.compile", "JAX, one jitted network at a time"
XLA_SGEMM, TORCH_SGEMM, XLA_COPY = "XLA sgemm", "torch sgemm", "XLA copy"
EXAMPLES, FLOP, BYTES = "examples", "flop", "bytes"  # units of what a reading did

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


def taking_part(setting: Setting, dataset: Dataset, sizes: Sizes) -> list[Contestant]:
    """Return who is measured in a setting: ours first, then the peers, then, beside them, the machine's limits."""

    def start(peer: Peer) -> Callable[[], Reading]:
        if peer.start is None:
            return ours.start(setting.work, dataset)
        return peer.start(setting.work, examples(dataset, setting.work.images), sizes.seconds)

    found = [
        Contestant(name, EXAMPLES, partial(start, peer))
        for name, peer in TRAINING.items()
        if setting.part in peer.parts and peer.on in ("", jax.default_backend())
    ]
    return found + (machine(sizes) if setting.part == COMPARISON else [])


def machine(sizes: Sizes) -> list[Contestant]:
    """Return the machine's limits: XLA's and the vendor library's products of square matrices, and copies."""

    def contestant(name: str, unit: str, amount: float, make: Callable[[], Callable[[], object]]) -> Contestant:
        return Contestant(name, unit, lambda: partial(repeated, make(), amount, sizes.seconds / 15))

    found = []
    for name, make in ((XLA_SGEMM, _xla_sgemm), (TORCH_SGEMM, lambda side: torch_peers().sgemm(side))):
        found += [contestant(f"{name} {side}", FLOP, 2 * side**3, partial(make, side)) for side in sizes.limit_sides]
    size = sizes.copy_megabytes * 2**20
    return [*found, contestant(XLA_COPY, BYTES, 2 * size, partial(_xla_copy, size))]


def _xla_sgemm(side: int) -> Callable[[], object]:
    factor = jnp.asarray(np.random.default_rng(0).standard_normal((side, side), np.float32))
    return lambda: jax.block_until_ready(jnp.matmul(factor, factor))


def _xla_copy(size: int) -> Callable[[], object]:
    """Return what reads and writes an array of so many bytes, in place: memory that is touched for the first time is slow."""
    program, held = jax.jit(lambda array: array + 1, donate_argnums=0), [jnp.zeros(size // 4, jnp.float32)]

    def run() -> None:
        held.append(jax.block_until_ready(program(held.pop())))

    return run
