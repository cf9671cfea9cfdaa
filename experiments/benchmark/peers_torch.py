"""The PyTorch peers, each as a competent user writes it; imported only where PyTorch is installed.

A peer is an object with `networks` and `epoch()`, which trains one epoch in the peer's own minibatch order. Which of
its options is fastest (threads, layout, kind of optimiser) is tried on the machine before it is measured.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import pairwise

import jax
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import grad, vmap
from torch.utils.data import DataLoader, TensorDataset

from experiments.benchmark.limits import Limit
from experiments.benchmark.work import BATCH, LEARNING_RATES, MOMENTUM, Examples, Work

DEFAULT_THREADS = torch.get_num_threads()


def device() -> torch.device:
    """Return the kind of device that JAX uses, so that peers and ours run on the same one."""
    return torch.device("cuda" if jax.default_backend() == "gpu" else "cpu")


def on_gpu() -> bool:
    """Return whether the peers run on a GPU."""
    return device().type == "cuda"


def allow_tf32() -> None:
    """Let float32 products use TF32 on a GPU, as XLA does by default."""
    torch.set_float32_matmul_precision("high")


def use_threads(count: int) -> None:
    """Set the threads inside one operation, as far as they differ from those in use."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def synchronise() -> None:
    """Wait for the GPU, where the peers run on one."""
    if on_gpu():
        torch.cuda.synchronize()


def release() -> None:
    """Give cached GPU memory back, so that the contestants do not crowd each other out."""
    if on_gpu():
        torch.cuda.empty_cache()


def sequential(sizes: Sequence[int]) -> nn.Sequential:
    """Return an MLP with ReLU between its layers and PyTorch's own initial weights."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def sgd(network: nn.Module, **kind: bool) -> torch.optim.SGD:
    """Return SGD with momentum; `kind` is `foreach=True` or `fused=True`."""
    return torch.optim.SGD(network.parameters(), lr=LEARNING_RATES[0], momentum=MOMENTUM, **kind)


def update(network: nn.Module, optimizer: torch.optim.Optimizer, pixels: torch.Tensor, labels: torch.Tensor) -> None:
    """Take one step on a minibatch: pixels [batch, 784], labels [batch] int64."""
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(network(pixels), labels).backward()
    optimizer.step()


def _tensors(examples: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images float32 [n, 784] from 0 to 1 and labels int64 [2, n] on the device."""
    images = torch.from_numpy(examples.images.copy()).to(device()).float() / 255
    return images, torch.from_numpy(examples.labels.copy()).to(device()).long()


class Loop:
    """One network trained step by step over tensors in memory."""

    networks = 1

    def __init__(self, work: Work, examples: Examples, optimizer: str):
        self.images, labels = _tensors(examples)
        self.labels = labels[0]
        self.network = sequential(work.sizes).to(device())
        self.optimizer = sgd(self.network, **{optimizer: True})

    def minibatches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the minibatches of one epoch in an order of their own."""
        order = torch.randperm(len(self.images), device=self.images.device)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            yield self.images[rows], self.labels[rows]

    def epoch(self) -> None:
        """Train one epoch."""
        for pixels, labels in self.minibatches():
            update(self.network, self.optimizer, pixels, labels)


class LoaderLoop(Loop):
    """The same loop over a DataLoader in the process itself: with data in memory, workers only add to the cost."""

    def __init__(self, work: Work, examples: Examples, optimizer: str):
        super().__init__(work, examples, optimizer)
        data = TensorDataset(self.images.cpu(), self.labels.cpu())
        self.loader = DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True, pin_memory=on_gpu())

    def minibatches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the minibatches of one epoch as the loader collates them."""
        for pixels, labels in self.loader:
            yield pixels.to(device(), non_blocking=True), labels.to(device(), non_blocking=True)


class GraphLoop(Loop):
    """One network whose step, gathering included, is captured once as a CUDA graph and replayed."""

    def __init__(self, work: Work, examples: Examples, optimizer: str):
        super().__init__(work, examples, optimizer)
        self.rows = torch.zeros(BATCH, dtype=torch.long, device=device())
        self.graph = _captured(self._step)

    def _step(self):
        update(self.network, self.optimizer, self.images[self.rows], self.labels[self.rows])

    def epoch(self) -> None:
        """Train one epoch."""
        order = torch.randperm(len(self.images), device=self.images.device)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            self.rows.copy_(order[start : start + BATCH])
            self.graph.replay()


def _captured(step):
    """Return a CUDA graph of one call of `step`, after the warm-up on a side stream that capturing asks for."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


def stack(work: Work, layout: str) -> list[torch.Tensor]:
    """Return weights and biases of each layer in turn for all networks, He's initial weights.

    Weights are [networks, outputs, inputs] in the layout `linear` and [networks, inputs, outputs] in `matmul`.
    """
    parameters = []
    for inputs, outputs in pairwise(work.sizes):
        shape = (outputs, inputs) if layout == "linear" else (inputs, outputs)
        weights = torch.randn(work.networks, *shape, device=device()) * (2 / inputs) ** 0.5
        parameters += [weights, torch.zeros(work.networks, outputs, device=device())]
    return parameters


@cache
def population_step(layout: str, own: bool, compiled: bool) -> Callable[..., None]:
    """Return `step(parameters, momentum, pixels, labels [networks, batch])`, which updates both lists in place.

    Pixels are [networks, batch, 784] where the networks have their `own` minibatches, else [batch, 784].
    """

    def loss(parameters, pixels, labels):
        last = len(parameters) - 2
        for layer in range(0, len(parameters), 2):
            weights, biases = parameters[layer], parameters[layer + 1]
            pixels = F.linear(pixels, weights, biases) if layout == "linear" else pixels @ weights + biases
            if layer < last:
                pixels = F.relu(pixels)
        return F.cross_entropy(pixels, labels)

    gradients = vmap(grad(loss), in_dims=(0, 0 if own else None, 0))

    def step(parameters, momentum, pixels, labels):
        moves = gradients(parameters, pixels, labels)
        torch._foreach_mul_(momentum, MOMENTUM)
        torch._foreach_add_(momentum, moves)
        torch._foreach_add_(parameters, momentum, alpha=-LEARNING_RATES[0])

    if not compiled:
        return step
    # A growing population has more shapes than PyTorch compiles a function for by default, before it gives up.
    torch._dynamo.config.recompile_limit = 1000
    return torch.compile(step, dynamic=False)


class Vmap:
    """All networks at once by torch.func.vmap, the update by torch._foreach; half of them on shuffled labels."""

    def __init__(
        self, work: Work, examples: Examples, own: bool, layout: str, compiled: bool = False, graph: bool = False
    ):
        self.networks, self.own = work.networks, own
        self.images, labels = _tensors(examples)
        self.labels = labels[torch.arange(work.networks, device=device()) % 2]
        self.parameters = stack(work, layout)
        self.momentum = [torch.zeros_like(leaf) for leaf in self.parameters]
        self.update = population_step(layout, own, compiled)
        shape = (work.networks, BATCH) if own else (BATCH,)
        self.rows = torch.zeros(shape, dtype=torch.long, device=device())
        self.graph = _captured(self._step) if graph else None

    def _step(self):
        labels = self.labels.gather(1, self.rows) if self.own else self.labels[:, self.rows]
        self.update(self.parameters, self.momentum, self.images[self.rows], labels)

    def epoch(self) -> None:
        """Train one epoch."""
        count = len(self.images)
        if self.own:
            order = torch.rand(self.networks, count, device=self.images.device).argsort(1)
        else:
            order = torch.randperm(count, device=self.images.device)
        for start in range(0, count - BATCH + 1, BATCH):
            rows = order[..., start : start + BATCH]
            if self.graph is None:
                self.rows = rows
                self._step()
            else:
                self.rows.copy_(rows)
                self.graph.replay()


def sgemm(side: int, times: int) -> Limit:
    """Multiply square float32 matrices by the vendor's library, with all threads."""
    factor = torch.randn(side, side, device=device())
    product = torch.empty_like(factor)

    def run():
        use_threads(DEFAULT_THREADS)
        for _ in range(times):
            torch.mm(factor, factor, out=product)
        synchronise()

    return run, 2.0 * side**3 * times


def copy(length: int, times: int) -> Limit:
    """Copy an array of `length` bytes into another."""
    source = torch.zeros(length // 4, device=device())
    target = torch.zeros_like(source)

    def run():
        use_threads(DEFAULT_THREADS)
        for _ in range(times):
            target.copy_(source)
        synchronise()

    return run, 2.0 * length * times
