"""Measured speeds of training, in operations per second, kept in the user's cache: plans estimate their hours from them.

Every session adds a line that trains a population from its beginning, for more than ten seconds without probes, also those of a
cluster's tasks where the cache is shared: so the first part of a sweep measures the speed of the rest. Before there is any,
the committed benchmark is used.
"""

import json
import math
import os
import statistics
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jax

from memo.data.files import cache_folder
from memo.data.mnist import MNIST
from memo.networks import mlp
from memo.storage import provenance
from memo.training.population import Layout, Signature, cores_each

FILE = "throughput.jsonl"
SECONDS = 10.0  # shorter sessions are dominated by start and end
LATEST = 5  # readings of which the median counts
BENCHMARK = Path("results") / "benchmark" / "measurements.jsonl"  # below the working directory, as a clone has it


class Throughput(NamedTuple):
    """Operations per second of one worker (a core, a GPU), and where the number comes from."""

    flop: float
    network: str  # what was measured, such as 784-16-16-10; "" where nothing was
    device: str
    readings: int
    source: str = ""


def record(common: Signature, device: jax.Device, layout: Layout, flop: float, seconds: float) -> None:
    """Add the speed of a session on devices of this kind; do nothing if the cache cannot be written."""
    if seconds < SECONDS:
        return
    line = {
        "sizes": common.static.sizes,
        "batch_size": common.static.batch_size,
        "platform": device.platform,
        "device": provenance.processor() if device.platform == "cpu" else device.device_kind,
        "partition": os.environ.get("SLURM_JOB_PARTITION", ""),
        "workers": layout.workers * cores_each(common, device.platform),
        "flop": flop,
        "seconds": round(seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        with (cache_folder() / FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")


def expected(common: Signature, platform: str, partition: str | None = None) -> Throughput | None:
    """Return the speed of similar networks on a platform, or None if nothing was measured on it.

    Those are the ones with the nearest number of parameters, then of images in a minibatch; readings of the partition only,
    where it has any.
    """
    found = [line for line in _read() if line["platform"] == platform]
    source = f"{cache_folder() / FILE}"
    if not found:
        found, source = [line for line in _benchmark() if line["platform"] == platform], "the committed benchmark"
    found = [line for line in found if partition and line["partition"] == partition] or found
    if not found:
        return None

    def unlike(line: dict[str, Any]) -> tuple[float, float]:
        parameters = [mlp.count_parameters(tuple(sizes)) for sizes in (line["sizes"], common.static.sizes)]
        batches = line["batch_size"], common.static.batch_size
        return abs(math.log(parameters[0] / parameters[1])), abs(math.log(batches[0] / batches[1]))

    nearest = min(map(unlike, found))
    like = [line for line in found if unlike(line) == nearest][-LATEST:]
    flop = statistics.median(line["flop"] / line["seconds"] / line["workers"] for line in like)
    return Throughput(flop, mlp.describe_widths(like[-1]["sizes"], "-"), like[-1]["device"], len(like), source)


def _read() -> list[dict[str, Any]]:
    try:
        lines = (cache_folder() / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):  # half a line, where several processes wrote
            entry = json.loads(line)
            if min(entry["flop"], entry["seconds"], entry["workers"], entry["batch_size"]) > 0:
                found.append(entry)
    return found


def _benchmark() -> Iterator[dict[str, Any]]:
    """Yield the suite's readings in the committed benchmark as such lines; none where there is no such file."""
    try:
        lines = [json.loads(line) for line in BENCHMARK.read_text().splitlines()]
    except (OSError, ValueError):
        return
    device, hidden = {}, {}
    for line in lines:
        if "environment" in line:
            device = line["environment"]["device"]
        elif "work" in line:
            hidden[line["setting"]] = line["work"]["hidden"]
        elif line.get("contestant") == "ours" and line["setting"] in hidden and "growth" not in line["setting"]:
            sizes = [MNIST.pixels, *hidden[line["setting"]], MNIST.classes]
            weights = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
            on_cpu = device["platform"] == "cpu"
            yield {
                "sizes": sizes,
                "batch_size": 128,
                "platform": device["platform"],
                "device": device["processor"] if on_cpu else device["kind"],
                "partition": "",
                "workers": device["cores"] if on_cpu else device["count"],
                "flop": line["amount"] * (6 * weights - 2 * sizes[0] * sizes[1]),
                "seconds": line["seconds"],
            }
