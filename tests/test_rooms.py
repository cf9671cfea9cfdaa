"""The rooms of the suite: each imports from itself and from those above it, and nothing runs in a circle."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the ground up. A room is a package or a module; those of one line may not import each other.
ORDER = [
    ["memo.errors"],
    ["memo.data"],
    ["memo.networks"],
    ["memo.measures"],
    ["memo.probes"],
    ["memo.config"],
    ["memo.training", "memo.statistics"],
    ["memo.storage"],
    ["memo.reporting"],
    ["memo.comparison"],
    ["memo.cluster"],
    ["memo.commands"],
    ["hydra_plugins.population_launcher"],
    [
        "experiments.benchmark",
        "experiments.closer_look",
        "experiments.compare",
        "experiments.digits",
        "experiments.headline",
        "experiments.inside",
        "experiments.label_noise",
        "experiments.local_minima",
        "experiments.noise_confidence",
        "experiments.per_example",
        "experiments.random_labels",
        "experiments.report",
        "experiments.train",
    ],
]
# Rooms that import what is asked of them by name, when it is asked for.
FACADES = ["memo", "experiments"]
CORE = ["errors", "data", "networks", "measures", "probes", "config", "training"]
FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
PACKAGES = ("memo", "hydra_plugins", "experiments")


def modules() -> dict[str, Path]:
    """Return every module of the suite, by its dotted name; a package by its own."""
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            *parts, name = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts if name == "__init__" else [*parts, name])] = file
    return found


MODULES = modules()


def room(module: str) -> str | None:
    """Return the room that a module lies in."""
    return next((room for room in FLOOR if module == room or module.startswith(f"{room}.")), None)


def imported(module: str) -> Iterator[str]:
    """Yield the modules of the suite that one of them imports, anywhere in its text."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports by a relative name"
            if (node.module or "").split(".")[0] in PACKAGES:
                for alias in node.names:  # a module, or what a module holds
                    full = f"{node.module}.{alias.name}"
                    yield full if full in MODULES else str(node.module)


def test_every_module_has_a_room():
    assert [name for name in MODULES if room(name) is None and name not in FACADES] == []
    assert [name for name in FLOOR if name not in MODULES] == []


@pytest.mark.parametrize("module", [name for name in MODULES if name not in FACADES])
def test_a_module_imports_from_its_own_room_and_from_those_above(module):
    own = room(module)
    for other in imported(module):
        assert other not in FACADES, f"{module} imports {other} itself instead of one of its modules"
        assert room(other) == own or FLOOR[room(other)] < FLOOR[own], f"{module} imports {other}"


def test_no_circle_inside_a_room():
    """Modules import each other in one direction: taking away those that import nothing left ends with none."""
    left = {name: {other for other in imported(name) if other != name} for name in MODULES if name not in FACADES}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


@pytest.mark.slow
def test_the_core_runs_without_tables_hydra_and_plotting(tmp_path):
    blocked = {"hydra", "omegaconf", "pandas", "pyarrow", "matplotlib", "seaborn", "jinja2", "tqdm", "yaml"}
    core = [name for name in MODULES if name.startswith(tuple(f"memo.{part}" for part in CORE))]
    if importlib.util.find_spec("numba") is None:  # the extra [fast]
        core.remove("memo.networks.sparse")
    public = ["Recipe", "Trained", "Trial", "load_dataset", "make_recipe", "measure", "plan", "train"]
    code = f"""
import importlib, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is not for the core")
sys.meta_path.insert(0, Block())
sys.path.insert(0, {str(ROOT)!r})
for name in {core!r}:
    importlib.import_module(name)
import memo
for name in {public!r}:
    getattr(memo, name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
