"""The PyTorch peers, each as a competent user writes it; imported only where PyTorch is installed.

Which of a peer's options is the fastest (threads, layout, kind of optimiser) is tried on the machine before it is measured.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.utils.data import DataLoader, TensorDataset

from experiments.benchmark.interleaving import Reading, fastest, timed
from experiments.benchmark.settings import BATCH, MOMENTUM, Examples, Work

THREADS = torch.get_num_threads()
TRIAL = 0.1  # seconds, at most, for which each option of a peer is tried before the best is measured
ON_GPU = torch.cuda.is_available() and jax.default_backend() == "gpu"  # peers run where JAX does
DEVICE = torch.device("cuda" if ON_GPU else "cpu")

torch.set_float32_matmul_precision("highest")  # no TF32 on a GPU: the suite computes in float32, and so do its peers


class Peer(NamedTuple):
    """Networks that train together: a new order of minibatches for each epoch, and what is done with one."""

    networks: int
    parameters: Sequence[Tensor]  # weights and biases of each layer in turn, which steps update in place
    minibatches: Callable[[], Iterable[Any]]
    step: Callable[[Any], None]


def train(peers: Sequence[Peer], epochs: int) -> None:
    """Train one peer after the other, and wait for the device."""
    for peer in peers:
        for _ in range(epochs):
            for minibatch in peer.minibatches():
                peer.step(minibatch)
    if ON_GPU:
        torch.cuda.synchronize()


def loop(work: Work, data: Examples, optimizer: str, loader: bool = False) -> Peer:
    """Return one network trained step by step, over tensors in memory or over a DataLoader.

    The loader works in the process itself: with data in memory, workers only add to the cost.
    """
    images, (labels, _) = _tensors(data)
    layers = [(nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in pairwise(work.sizes)]
    network = nn.Sequential(*[module for layer in layers for module in layer][:-1]).to(DEVICE)
    kind: dict[str, Any] = {optimizer: True}
    sgd = torch.optim.SGD(network.parameters(), work.learning_rates[0], MOMENTUM, **kind)
    pairs = TensorDataset(images.cpu(), labels.cpu())
    collated = DataLoader(pairs, batch_size=BATCH, shuffle=True, drop_last=True, pin_memory=ON_GPU)

    def minibatches() -> Iterable[Sequence[Tensor]]:
        if loader:
            return ([part.to(DEVICE, non_blocking=True) for part in pair] for pair in collated)
        return ((images[rows], labels[rows]) for rows in _minibatches(torch.randperm(len(images), device=DEVICE)))

    def step(minibatch: Sequence[Tensor]) -> None:
        pixels, answers = minibatch
        sgd.zero_grad(set_to_none=True)
        F.cross_entropy(network(pixels), answers).backward()
        sgd.step()

    return Peer(1, [*network.parameters()], minibatches, step)


def population(work: Work, data: Examples, layout: str, own: bool, compiled: bool = False) -> Peer:
    """Return all networks at once by torch.func.vmap, the update by torch._foreach; half of them on shuffled labels.

    They have their `own` minibatches or share one. Weights are [networks, outputs, inputs] in the layout `linear`, and
    [networks, inputs, outputs] in `matmul`.
    """
    images, labels = _tensors(data)
    labels = labels[torch.arange(work.networks, device=DEVICE) % 2]
    parameters: list[Tensor] = []
    for inputs, outputs in pairwise(work.sizes):
        shape = (outputs, inputs) if layout == "linear" else (inputs, outputs)
        weights = torch.randn(work.networks, *shape, device=DEVICE) * (2 / inputs) ** 0.5  # He's
        parameters += [weights, torch.zeros(work.networks, outputs, device=DEVICE)]
    momentum = [torch.zeros_like(leaf) for leaf in parameters]
    update = population_step(layout, own, compiled, work.learning_rates[0])

    def minibatches() -> Iterator[Tensor]:
        if own:
            return _minibatches(torch.rand(work.networks, len(images), device=DEVICE).argsort(1))
        return _minibatches(torch.randperm(len(images), device=DEVICE))

    def step(rows: Tensor) -> None:
        update(parameters, momentum, images[rows], labels.gather(1, rows) if own else labels[:, rows])

    return Peer(work.networks, parameters, minibatches, step)


@cache
def population_step(layout: str, own: bool, compiled: bool, rate: float) -> Callable[..., None]:
    """Return `step(parameters, momentum, pixels, labels [networks, batch])`, which updates both lists in place.

    Pixels are [networks, batch, 784] where the networks have their `own` minibatches, else [batch, 784].
    """

    def loss(parameters: list[Tensor], pixels: Tensor, labels: Tensor) -> Tensor:
        for layer in range(0, len(parameters), 2):
            weights, biases = parameters[layer], parameters[layer + 1]
            pixels = F.relu(pixels) if layer else pixels
            pixels = F.linear(pixels, weights, biases) if layout == "linear" else pixels @ weights + biases
        return F.cross_entropy(pixels, labels)

    gradients = vmap(grad(loss), in_dims=(0, 0 if own else None, 0))

    def step(parameters: list[Tensor], momentum: list[Tensor], pixels: Tensor, labels: Tensor) -> None:
        moves = gradients(parameters, pixels, labels)
        torch._foreach_mul_(momentum, MOMENTUM)
        torch._foreach_add_(momentum, moves)
        torch._foreach_add_(parameters, momentum, alpha=-rate)

    # A growing population has more shapes than PyTorch compiles a function for by default, before it gives up.
    torch._dynamo.config.recompile_limit = 1000
    return torch.compile(step, dynamic=False) if compiled else step


def start(work: Work, data: Examples, seconds: float, *, processes: bool = False, **how: Any) -> Callable[[], Reading]:
    """Choose the fastest option of a peer, and return the function that trains it anew and reads its time.

    `how` are the options of `population` where it has `own`, else of `loop`. The time of a loop is linear in its networks,
    so it trains as many as take about `seconds`, in one process or in as many `processes` as there are cores.
    """
    threads = (1,) if processes else (THREADS,) if ON_GPU else dict.fromkeys((THREADS, 1))
    make, kinds = (population, ("linear", "matmul")) if "own" in how else (loop, ("foreach", "fused"))
    known = {
        f"{count} threads, {kind}": (count, partial(make, work, data, kind, **how))
        for count in threads
        for kind in kinds
    }
    compiling: dict[str, float] = {}

    def prepare(option: str) -> Callable[[], None]:
        count, make = known[option]
        torch.set_num_threads(count)
        peer = make()
        if option not in compiling:
            compiling[option] = timed(lambda: train([peer], 1)) if how.get("compiled") else 0.0
        return lambda: train([peer], 1)

    best, epoch = fastest({option: partial(prepare, option) for option in known}, min(TRIAL, seconds))
    networks = work.networks if "own" in how else work.fitting(seconds / epoch)

    def read() -> Reading:
        count, make = known[best]
        if processes:
            return _read_beside(work, make, networks, best)
        torch.set_num_threads(count)
        # Anew each time, so that nothing is held between readings.
        peers = [make() for _ in range(1 if "own" in how else networks)]
        took = timed(lambda: train(peers, work.epochs))
        return Reading(took, networks * work.examples, compiling[best], f"{best}; {networks} networks")

    return read


def _read_beside(work: Work, make: Callable[[], Peer], networks: int, words: str) -> Reading:
    """Train networks in each of as many processes as there are cores; starting the processes is not counted."""
    cores, context = len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")
    each = max(1, min(networks, work.networks // cores))
    with ProcessPoolExecutor(cores, context, _meet, (context.Barrier(cores),)) as pool:
        begun, ended = zip(*pool.map(partial(_train_beside, [make] * each), [work.epochs] * cores))
    note = f"{cores} processes; {words}; {cores * each} networks"
    return Reading(max(ended) - min(begun), cores * each * work.examples, 0.0, note)


_together: Any = None


def _meet(barrier: Any) -> None:
    """Prepare a process for training beside others; a barrier is inherited, and cannot be sent with a task."""
    global _together
    _together = barrier
    torch.set_num_threads(1)


def _train_beside(makers: Sequence[Callable[[], Peer]], epochs: int) -> tuple[float, float]:
    """Train in one of several processes that begin together; return when it began and ended, by one clock for all."""
    peers = [make() for make in makers]
    _together.wait(timeout=600)
    started = time.perf_counter()
    train(peers, epochs)
    return started, time.perf_counter()


def _tensors(data: Examples) -> tuple[Tensor, Tensor]:
    """Return images float32 [n, 784] from 0 to 1 and labels int64 [2, n] on the device."""
    images, labels = (torch.from_numpy(array.copy()).to(DEVICE) for array in data)
    return images.float() / 255, labels.long()


def _minibatches(order: Tensor) -> Iterator[Tensor]:
    """Yield whole minibatches of an order [..., n]."""
    for start in range(0, order.shape[-1] - BATCH + 1, BATCH):
        yield order[..., start : start + BATCH]


def sgemm(side: int) -> Callable[[], object]:
    """Return the product of square float32 matrices by the vendor's library, with all threads."""
    factor = torch.randn(side, side, device=DEVICE)
    product = torch.empty_like(factor)

    def run() -> None:
        torch.set_num_threads(THREADS)
        torch.mm(factor, factor, out=product)
        train((), 0)  # waits

    return run
