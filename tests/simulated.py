"""A sweep of 100,000 networks as run folders, simulated: what writing and reading its tables costs.

    python -m tests.simulated FOLDER [networks]

The rows of one real small training stand for those of every recipe, under ids and learning rates of their own, 20 seeds a
folder; `provenance.json` says simulated. Nothing here is a result. Prints seconds, bytes and the largest memory of a process
that reads everything back, of one that reads trials only, and of one that goes through the sweep in parts.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from memo.config import Config, Dataset, Model, Trial, make_trials, run_name
from memo.storage import run_folders, sweep

SEEDS = 20  # of a recipe, and so networks a run folder
READERS = {
    "everything": "tables = run_folders.load({folder!r}); rows = sum(map(len, tables.values()))",
    "trials only": "tables = run_folders.load({folder!r}, tables=()); rows = len(tables.trials)",
    "in parts": "rows = sum(len(table) for part in run_folders.parts({folder!r}) for table in part.values())",
}


def recipes(count: int) -> Iterator[list[Trial]]:
    """Yield the trials of so many recipes of 784-16-16-10, which differ in their learning rates."""
    config = Config(
        stop_at_train_accuracy=None,
        dataset=Dataset(n_train=256, n_test=100),
        model=Model(widths=[16, 16]),
        batch_size=64,
        epochs=100,
    )
    for rate in np.geomspace(1e-4, 1, count):
        yield make_trials(replace(config, seeds=SEEDS, optimizer=replace(config.optimizer, learning_rate=float(rate))))


def write(folder: Path, networks: int) -> None:
    """Write run folders of so many networks, with the tables and bytes of real ones."""
    count = networks // SEEDS
    (template,) = recipes(1)
    with tempfile.TemporaryDirectory() as real:
        sweep.complete({Path(real) / "run": template}, ["confidence"])
        tables = {path.stem: run_folders.read(path) for path in Path(real).glob("run/*.parquet")}
    place = {trial.id: number for number, trial in enumerate(template)}
    numbers = {name: np.array([place[trial] for trial in table["trial"].to_pylist()]) for name, table in tables.items()}

    def write_run(trials):
        own, ids = {}, np.array([trial.id for trial in trials])
        for name, table in tables.items():
            own[name] = _set(table, "trial", pa.array(ids[numbers[name]]))
        rate = pa.array(np.full(SEEDS, trials[0].recipe.optimizer.learning_rate))
        own["trials"] = _set(own["trials"], "optimizer.learning_rate", rate)
        run = folder / run_name(trials[0].recipe)
        run_folders.write(run, own, {"simulated": True, "networks": SEEDS})

    with ThreadPoolExecutor(run_folders.WRITERS) as pool:
        list(pool.map(write_run, recipes(count)))


def _set(table, name, values):
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, values.cast(field.type))


def main(folder: Path, networks: int) -> None:
    """Write the sweep where it is not there yet, and print what reading it takes."""
    if not folder.exists():
        started = time.perf_counter()
        write(folder, networks)
        print(f"written in {time.perf_counter() - started:.0f} s")
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(
        f"simulated: {networks} networks, {len(files)} files, {size / 1e6:.0f} MB, {size / networks:.0f} bytes per network"
    )
    for name, statement in READERS.items():
        program = (
            "import resource, time; from memo.storage import run_folders; started = time.perf_counter(); "
            f"{statement.format(folder=str(folder))}; "
            "print(f'{rows} rows in {time.perf_counter() - started:.1f} s ({time.process_time():.1f} s of cores), '"
            "f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most')"
        )
        print(
            f"{name}:", subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip()
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
