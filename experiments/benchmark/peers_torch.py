"""The PyTorch peers, each as a competent user writes it; imported only where PyTorch is installed.

A peer trains `networks` networks at each call of `epoch()`, in a minibatch order of its own. Which of its options is the
fastest (threads, layout, kind of optimiser) is tried on the machine before it is measured.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import pairwise

import jax
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.utils.data import DataLoader, TensorDataset

from experiments.benchmark import names
from experiments.benchmark.interleaving import Reading, fastest, timed
from experiments.benchmark.limits import Limit
from experiments.benchmark.work import BATCH, LEARNING_RATES, MOMENTUM, Examples, Work

THREADS = torch.get_num_threads()
TRIAL = 0.1  # seconds, at most, for which each option of a peer is tried before the best is measured
ON_GPU = jax.default_backend() == "gpu"  # peers run where JAX does
DEVICE = torch.device("cuda" if ON_GPU else "cpu")

torch.set_float32_matmul_precision("high")  # TF32 on a GPU, as XLA uses it by default


class Peer:
    """What is measured: an epoch is one pass over a new order of the images."""

    networks: int

    def _order(self) -> Tensor:
        raise NotImplementedError

    def _step(self, rows: Tensor) -> None:
        raise NotImplementedError

    def epoch(self) -> None:
        """Train one epoch."""
        for rows in _minibatches(self._order()):
            self._step(rows)


class Loop(Peer):
    """One network trained step by step over tensors in memory."""

    networks = 1

    def __init__(self, work: Work, data: Examples, optimizer: str):
        self.images, labels = _tensors(data)
        self.labels = labels[0]
        layers = [(nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in pairwise(work.sizes)]
        self.network = nn.Sequential(*[module for layer in layers for module in layer][:-1]).to(DEVICE)
        rate, kind = LEARNING_RATES[0], {optimizer: True}
        self.optimizer = torch.optim.SGD(self.network.parameters(), rate, MOMENTUM, **kind)

    def _order(self) -> Tensor:  # [n]
        return torch.randperm(len(self.images), device=DEVICE)

    def _step(self, rows: Tensor) -> None:
        self._update(self.images[rows], self.labels[rows])

    def _update(self, pixels: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.network(pixels), labels).backward()
        self.optimizer.step()


class LoaderLoop(Loop):
    """The same loop over a DataLoader in the process itself: with data in memory, workers only add to the cost."""

    def __init__(self, work: Work, data: Examples, optimizer: str):
        super().__init__(work, data, optimizer)
        pairs = TensorDataset(self.images.cpu(), self.labels.cpu())
        self.loader = DataLoader(pairs, batch_size=BATCH, shuffle=True, drop_last=True, pin_memory=ON_GPU)

    def epoch(self) -> None:
        """Train one epoch of the minibatches that the loader collates."""
        for pixels, labels in self.loader:
            self._update(pixels.to(DEVICE, non_blocking=True), labels.to(DEVICE, non_blocking=True))


class Vmap(Peer):
    """All networks at once by torch.func.vmap, the update by torch._foreach; half of them on shuffled labels."""

    def __init__(self, work: Work, data: Examples, layout: str, own: bool, compiled: bool = False):
        self.networks, self.own = work.networks, own
        self.images, labels = _tensors(data)
        self.labels = labels[torch.arange(work.networks, device=DEVICE) % 2]
        self.parameters: list[Tensor] = []  # weights and biases of each layer in turn, [networks, ...]
        for inputs, outputs in pairwise(work.sizes):
            shape = (outputs, inputs) if layout == "linear" else (inputs, outputs)
            weights = torch.randn(work.networks, *shape, device=DEVICE) * (2 / inputs) ** 0.5  # He's
            self.parameters += [weights, torch.zeros(work.networks, outputs, device=DEVICE)]
        self.momentum = [torch.zeros_like(leaf) for leaf in self.parameters]
        self.update = population_step(layout, own, compiled)

    def _order(self) -> Tensor:  # [networks, n] where the networks have their own minibatches, else [n]
        count = len(self.images)
        if self.own:
            return torch.rand(self.networks, count, device=DEVICE).argsort(1)
        return torch.randperm(count, device=DEVICE)

    def _step(self, rows: Tensor) -> None:
        labels = self.labels.gather(1, rows) if self.own else self.labels[:, rows]
        self.update(self.parameters, self.momentum, self.images[rows], labels)


@cache
def population_step(layout: str, own: bool, compiled: bool) -> Callable[..., None]:
    """Return `step(parameters, momentum, pixels, labels [networks, batch])`, which updates both lists in place.

    Pixels are [networks, batch, 784] where the networks have their `own` minibatches, else [batch, 784]. Weights are
    [networks, outputs, inputs] in the layout `linear` and [networks, inputs, outputs] in `matmul`.
    """

    def loss(parameters: list[Tensor], pixels: Tensor, labels: Tensor) -> Tensor:
        last = len(parameters) - 2
        for layer in range(0, len(parameters), 2):
            weights, biases = parameters[layer], parameters[layer + 1]
            pixels = F.linear(pixels, weights, biases) if layout == "linear" else pixels @ weights + biases
            if layer < last:
                pixels = F.relu(pixels)
        return F.cross_entropy(pixels, labels)

    gradients = vmap(grad(loss), in_dims=(0, 0 if own else None, 0))

    def step(parameters: list[Tensor], momentum: list[Tensor], pixels: Tensor, labels: Tensor) -> None:
        moves = gradients(parameters, pixels, labels)
        torch._foreach_mul_(momentum, MOMENTUM)
        torch._foreach_add_(momentum, moves)
        torch._foreach_add_(parameters, momentum, alpha=-LEARNING_RATES[0])

    if not compiled:
        return step
    # A growing population has more shapes than PyTorch compiles a function for by default, before it gives up.
    torch._dynamo.config.recompile_limit = 1000
    return torch.compile(step, dynamic=False)


class Graph(Peer):
    """A peer whose step, gathering included, is captured once as a CUDA graph and replayed."""

    def __init__(self, make: Callable[[], Peer]):
        self.peer = make()
        self.networks = self.peer.networks
        self.rows = next(_minibatches(self.peer._order())).clone()
        side = torch.cuda.Stream()  # the warm-up on a side stream that capturing asks for
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.peer._step(self.rows)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.peer._step(self.rows)
        self._order = self.peer._order  # type: ignore[method-assign]

    def _step(self, rows: Tensor) -> None:
        self.rows.copy_(rows)
        self.graph.replay()


def options(name: str, work: Work, data: Examples) -> dict[str, tuple[int, Callable[[], Peer]]]:
    """Return the options of a peer by their words: threads, and what makes it."""
    makers: dict[str, Callable[[], Peer]]
    if name in names.LOOPS:
        kind = LoaderLoop if name == names.LOADER else Loop
        makers = {f"{optimizer} SGD": partial(kind, work, data, optimizer) for optimizer in ("foreach", "fused")}
    else:
        how = name not in (names.VMAP_SHARED, names.COMPILED_SHARED), name in names.COMPILED
        layouts = ("linear", "matmul")
        makers = {f"weights as in {layout}": partial(Vmap, work, data, layout, *how) for layout in layouts}
    graph = name in (names.GRAPH, names.COMPILED_GRAPH)
    return {
        f"{threads} threads, {words}": (threads, partial(Graph, make) if graph else make)
        for threads in ((THREADS,) if ON_GPU else dict.fromkeys((THREADS, 1)))
        for words, make in makers.items()
    }


def start(name: str, work: Work, data: Examples, seconds: float) -> Callable[[], Reading]:
    """Choose a peer's fastest option, and return the function that trains it anew and reads its time.

    A loop's time is linear in its networks, so it trains as many as take about `seconds`.
    """
    known = options(name, work, data)
    compiling: dict[str, float] = {}

    def prepare(option: str) -> Callable[[], None]:
        threads, make = known[option]
        _use_threads(threads)
        peer = make()
        if option not in compiling:
            compiling[option] = timed(lambda: _train([peer], 1)) if name in names.COMPILED else 0.0
        return lambda: _train([peer], 1)

    best, epoch = fastest({option: partial(prepare, option) for option in known}, min(TRIAL, seconds))
    threads, make = known[best]
    count = work.fitting(seconds / epoch) if name in names.LOOPS else 1

    def read() -> Reading:
        _use_threads(threads)
        if ON_GPU:
            torch.cuda.empty_cache()  # so that the contestants do not crowd each other out
        peers = [make() for _ in range(count)]  # anew each time, so that nothing is held between readings
        _synchronise()
        took = timed(lambda: _train(peers, work.epochs))
        networks = sum(peer.networks for peer in peers)
        return Reading(took, networks * work.examples, compiling[best], f"{best}; {networks} networks")

    return read


def _train(peers: list[Peer], epochs: int) -> None:
    for peer in peers:
        for _ in range(epochs):
            peer.epoch()
    _synchronise()


def _tensors(data: Examples) -> tuple[Tensor, Tensor]:
    """Return images float32 [n, 784] from 0 to 1 and labels int64 [2, n] on the device."""
    images, labels = (torch.from_numpy(array.copy()).to(DEVICE) for array in data)
    return images.float() / 255, labels.long()


def _minibatches(order: Tensor) -> Iterator[Tensor]:
    """Yield whole minibatches of an order [..., n]."""
    for start in range(0, order.shape[-1] - BATCH + 1, BATCH):
        yield order[..., start : start + BATCH]


def _synchronise() -> None:
    if ON_GPU:
        torch.cuda.synchronize()


def _use_threads(count: int) -> None:
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def sgemm(side: int, times: int) -> Limit:
    """Multiply square float32 matrices by the vendor's library, with all threads."""
    factor = torch.randn(side, side, device=DEVICE)
    product = torch.empty_like(factor)
    return lambda: _repeat(lambda: torch.mm(factor, factor, out=product), times), 2.0 * side**3 * times


def copy(length: int, times: int) -> Limit:
    """Copy an array of `length` bytes into another."""
    source = torch.zeros(length // 4, device=DEVICE)
    target = torch.zeros_like(source)
    return lambda: _repeat(lambda: target.copy_(source), times), 2.0 * length * times


def _repeat(operation: Callable[[], object], times: int) -> None:
    _use_threads(THREADS)
    for _ in range(times):
        operation()
    _synchronise()
