"""Who takes part in a comparison: ours, the PyTorch and JAX peers, and the machine's limits."""

import importlib.util
import logging
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import limits, ours, peers_jax
from experiments.benchmark.measure import Contestant, LeftOut, Reading, fastest, timed
from experiments.benchmark.sizes import Sizes
from experiments.benchmark.work import Work, examples
from memo.data.datasets import Dataset

logger = logging.getLogger(__name__)

EXAMPLES, FLOP, BYTES = "examples", "flop", "bytes"

OURS = "ours"
LOOP, LOADER = "PyTorch loop, tensors in memory", "PyTorch loop, DataLoader"
VMAP_OWN, VMAP_SHARED = "torch.func.vmap, own minibatches", "torch.func.vmap, shared minibatch"
JAX_ONE = "JAX, one jitted network at a time"
GRAPH = "PyTorch loop, CUDA graph"
COMPILED_OWN = "torch.func.vmap + torch.compile, own minibatches"
COMPILED_SHARED = "torch.func.vmap + torch.compile, shared minibatch"
COMPILED_GRAPH = "torch.func.vmap + torch.compile + CUDA graph, own minibatches"
VMAP, COMPILED = (VMAP_OWN, VMAP_SHARED), (COMPILED_OWN, COMPILED_SHARED, COMPILED_GRAPH)
XLA_SGEMM, TORCH_SGEMM, XLA_COPY, TORCH_COPY = "XLA sgemm", "torch sgemm", "XLA copy", "torch copy"
TRIAL = 0.1  # seconds, at most, for which each option of a PyTorch peer is tried before the best is measured

NO_TORCH = "PyTorch is not installed"
NO_GPU = "needs an NVIDIA GPU"


def has_torch() -> bool:
    """Return whether PyTorch, the extra [bench], is installed."""
    return importlib.util.find_spec("torch") is not None


def on_gpu() -> bool:
    """Return whether JAX runs on a GPU."""
    return jax.default_backend() == "gpu"


def training(work: Work, dataset: Dataset, seconds: float) -> list[Contestant]:
    """Return all that train: ours first, then the peers, those that cannot run here among them."""
    return [
        our(work, dataset),
        Contestant(LOOP, EXAMPLES, partial(_torch_loop, "Loop", work, dataset, seconds)),
        Contestant(LOADER, EXAMPLES, partial(_torch_loop, "LoaderLoop", work, dataset, seconds)),
        *(vmap(name, work, dataset, seconds) for name in VMAP),
        Contestant(JAX_ONE, EXAMPLES, partial(_jax_loop, work, dataset, seconds)),
        Contestant(GRAPH, EXAMPLES, partial(_torch_loop, "GraphLoop", work, dataset, seconds)),
        *(vmap(name, work, dataset, seconds) for name in COMPILED),
    ]


def our(work: Work, dataset: Dataset) -> Contestant:
    """Return our training of a population: `seconds` are those of training, evaluations included."""

    def start():
        asked = ours.trials(work)

        def run():
            outcome = ours.train(asked, dataset)
            if outcome.diverged:
                raise RuntimeError(f"{outcome.diverged} networks of the benchmark diverged and stopped costing.")
            note = "{} seeds × {} kinds of labels × {} learning rates".format(
                *(count if isinstance(count, int) else len(count) for count in ours.composition(work.networks))
            )
            return Reading(outcome.seconds["train"], work.networks * work.examples, outcome.seconds["compile"], note)

        return run

    return Contestant(OURS, EXAMPLES, start)


def vmap(name: str, work: Work, dataset: Dataset, seconds: float) -> Contestant:
    """Return one of the torch.func.vmap peers by its name."""
    return Contestant(name, EXAMPLES, partial(_torch_vmap, name, work, dataset, seconds))


def _torch(cuda_only: bool = False) -> ModuleType:
    """Return the module of the PyTorch peers, or say why it cannot run."""
    if cuda_only and not on_gpu():
        raise LeftOut(NO_GPU)
    if not has_torch():
        raise LeftOut(NO_TORCH)
    import torch

    from experiments.benchmark import peers_torch

    if on_gpu() and not torch.cuda.is_available():
        raise LeftOut("this PyTorch has no CUDA")
    peers_torch.allow_tf32()
    return peers_torch


def _threads(peers: ModuleType) -> list[int]:
    return [peers.DEFAULT_THREADS] if on_gpu() else sorted({peers.DEFAULT_THREADS, 1}, reverse=True)


def _torch_loop(kind: str, work: Work, dataset: Dataset, seconds: float) -> Callable[[], Reading]:
    peers = _torch(cuda_only=kind == "GraphLoop")
    data = examples(dataset, work.images)
    make = {
        f"{threads} threads, {optimizer} SGD": (threads, partial(getattr(peers, kind), work, data, optimizer))
        for threads in _threads(peers)
        for optimizer in ("foreach", "fused")
    }
    options = {name: partial(_epochs, peers, *option) for name, option in make.items()}
    best, epoch = fastest(options, min(TRIAL, seconds))
    # A loop's time is linear in its networks, so it trains as many as take about as long as our population.
    networks = int(np.clip(round(seconds / (epoch * work.epochs)), 1, work.networks))
    return partial(_train_torch, peers, *make[best], networks, work, best)


def _torch_vmap(name: str, work: Work, dataset: Dataset, seconds: float) -> Callable[[], Reading]:
    compiled, graph, own = name in COMPILED, name == COMPILED_GRAPH, name not in (VMAP_SHARED, COMPILED_SHARED)
    peers = _torch(cuda_only=compiled)
    data = examples(dataset, work.images)
    make = {
        f"{threads} threads, weights as in {layout}": (
            threads,
            partial(peers.Vmap, work, data, own, layout, compiled, graph),
        )
        for threads in _threads(peers)
        for layout in ("linear", "matmul")
    }
    compiling = {}

    def prepare(option):
        if compiled and option not in compiling:
            compiling[option] = timed(lambda: _epochs(peers, *make[option])())  # with the first epoch
        return _epochs(peers, *make[option])

    best, _ = fastest({option: partial(prepare, option) for option in make}, min(TRIAL, seconds))
    return partial(_train_torch, peers, *make[best], 1, work, best, compiling.get(best, 0.0))


def _epochs(peers, threads, peer):
    peers.use_threads(threads)
    trained = peer()

    def epoch():
        trained.epoch()
        peers.synchronise()

    return epoch


def _train_torch(peers, threads, peer, count, work, note, compiling=0.0):
    peers.use_threads(threads)
    peers.release()
    trained = [peer() for _ in range(count)]  # anew each time, so that nothing is held between readings
    peers.synchronise()

    def run():
        for one in trained:
            for _ in range(work.epochs):
                one.epoch()
        peers.synchronise()

    seconds = timed(run)
    networks = sum(one.networks for one in trained)
    return Reading(seconds, networks * work.examples, compiling, f"{note}; {networks} networks")


def _jax_loop(work: Work, dataset: Dataset, seconds: float) -> Callable[[], Reading]:
    data = examples(dataset, work.images)
    images, labels = jnp.asarray(data.images), jnp.asarray(data.labels[0])
    key = jax.random.key(0)
    compiled: Callable[..., Any]

    def compile_it():
        nonlocal compiled
        state = peers_jax.initialise(work.sizes, 0)
        compiled = peers_jax.program().lower(state, images, labels, key, 1).compile()

    compiling = timed(compile_it)

    def train(states, epochs):
        for state in states:
            jax.block_until_ready(compiled(state, images, labels, key, epochs))

    def prepared(count, epochs):
        states = [peers_jax.initialise(work.sizes, seed) for seed in range(count)]
        jax.block_until_ready(states)
        return timed(lambda: train(states, epochs))

    epoch = min(prepared(1, 1) for _ in range(3))
    networks = int(np.clip(round(seconds / (epoch * work.epochs)), 1, work.networks))

    def run():
        note = f"{networks} networks"
        return Reading(prepared(networks, work.epochs), networks * work.examples, compiling, note)

    return run


def machine(sizes: Sizes) -> list[Contestant]:
    """Return the machine's limits: XLA's and the vendor library's products of square matrices, and copies."""
    arrangements = {"one product at a time": False}
    if jax.device_count() > 1:
        arrangements["one on each GPU" if on_gpu() else "one on each core"] = True
    length, seconds = sizes.copy_megabytes * 2**20, sizes.limit_seconds
    listed = [
        Contestant(f"{XLA_SGEMM} {side}, {name}", FLOP, partial(_limit, _sgemm(side, everywhere), seconds))
        for side in sizes.limit_sides
        for name, everywhere in arrangements.items()
    ]
    listed += [
        Contestant(f"{TORCH_SGEMM} {side}", FLOP, partial(_torch_limit, "sgemm", side, seconds))
        for side in sizes.limit_sides
    ]
    listed.append(Contestant(XLA_COPY, BYTES, partial(_limit, partial(limits.xla_copy, length), seconds)))
    listed.append(Contestant(TORCH_COPY, BYTES, partial(_torch_limit, "copy", length, seconds)))
    return listed


def _sgemm(side, everywhere):
    return partial(limits.xla_sgemm, side, everywhere=everywhere)


def _torch_limit(name, extent, seconds):
    return _limit(partial(getattr(_torch(), name), extent), seconds)


def _limit(make, seconds):
    once, _ = make(times=1)
    _, duration = fastest({"": lambda: once}, seconds / 4)
    run, amount = make(times=max(1, round(seconds / duration)))
    run()  # compiles

    return lambda: Reading(timed(run), amount)


def limits_now(sizes: Sizes) -> tuple[float, float]:
    """Return quick readings of XLA's best FLOP/s and bytes/s, by which a setting's work is sized."""

    def rate(beginning):
        readings = [one.start()() for one in machine(sizes) if one.name.startswith(beginning)]
        return max(reading.amount / reading.seconds for reading in readings)

    return rate(XLA_SGEMM), rate(XLA_COPY)
