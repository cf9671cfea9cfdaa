"""What docs/extending.md shows a stranger: its blocks are written to the files that they name, and run."""

import html
import importlib
import re
import shlex
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import memo
from memo.data.treatments import LABELS, PixelStatistics
from memo.networks import mlp
from memo.networks.program import Images
from memo.probes import PROBES
from memo.probes.networks import Networks
from memo.reporting import results
from tests import builders

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FILES = {
    re.search(r"^(?:# |\{# )(\S+\.(?:py|yaml|j2))(?: #\})?$", text, re.MULTILINE)[1]: text
    for kind, text in BLOCKS
    if kind in ("python", "yaml", "jinja")
}
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]


def start(folder, *words):
    return builders.python(*words, folder=folder, check=True)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder with the files of the page, and nothing else."""
    folder = tmp_path_factory.mktemp("package")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def mine(package):
    """Return `mine(module)`, imported from the page; what it registers is taken out again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(package)
        for options in (LABELS, PROBES):
            for name in ("shifted", "margin"):
                patch.setitem(options, name, None)
                patch.delitem(options, name)
        yield lambda name: importlib.import_module(f"mine.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def decided(package):
    """The example's results, by the command of the page."""
    first, *_ = COMMANDS
    start(package, *shlex.split(first)[1:])
    return package / "results" / "decided"


def test_blocks_are_files_and_commands():
    assert len(FILES) == sum(kind in ("python", "yaml", "jinja") for kind, _ in BLOCKS)
    assert all(command.startswith("python -m mine.") for command in COMMANDS)
    names = re.search(r"^mine/\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[1]
    assert {f"mine/{line.split()[0]}" for line in names.splitlines()} <= set(FILES)


def test_the_treatment_shifts_labels_by_one_class(mine):
    shifted = mine("shifted").shifted
    labels = np.arange(10, dtype=np.uint8).repeat(1000)
    whole = shifted(np.random.default_rng(0), labels, 1.0, 10)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(whole, (labels + 1) % 10)
    half = shifted(np.random.default_rng(0), labels, 0.5, 10)
    assert np.mean(half != labels) == pytest.approx(0.5, abs=0.02)  # 4 standard errors of 10,000 draws
    assert set((half.astype(int) - labels) % 10) == {0, 1}


def test_the_probe_is_the_lead_that_numpy_finds(mine):
    static = builders.static((784, 8, 10))
    layers = [mlp.initialise(jax.random.key(number), static.sizes, "he") for number in range(3)]
    layers[1] = jax.tree.map(lambda leaf: leaf * np.float32(np.inf), layers[1])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 40, 784), np.uint8)
    images = Images(None, jnp.asarray(pixels), jnp.zeros(40, jnp.uint8))
    seeds, statistics = np.array([5, 3, 5]), PixelStatistics((0.1,), (0.3,))
    rows = mine("margin").measure(Networks(static, stacked, seeds, np.zeros(3, int), images, statistics, *[None] * 3))
    np.testing.assert_array_equal(rows["network"], [0, 1, 2])
    assert np.isnan(rows["margin"][1])  # its weights are not finite
    for place in (0, 2):
        (weights, biases), (last, offset) = (map(np.asarray, layer) for layer in layers[place])
        outputs = np.sort(np.maximum(pixels[0] / 255 @ weights + biases, 0) @ last + offset, axis=-1)
        assert rows["margin"][place] == pytest.approx(np.mean(outputs[:, -1] - outputs[:, -2]), rel=1e-5)


@pytest.mark.slow
def test_the_experiment_reports(decided):
    found = memo.load_results(decided)
    assert found.claims["claim"].tolist() == ["margin-shifted"]
    assert found.claims["n"].tolist() == [5]
    margins = found.networks.pivot(index="seed", columns="labels", values="margin")
    assert sorted(margins.columns) == ["shifted", "shuffled", "true"]
    assert np.isfinite(margins.to_numpy(float)).all()
    page = (decided / "report.html").read_text()
    assert "python -m mine.decided scale=quick" in page  # what redraws it
    assert (decided / "figures" / "margin.svg").exists()
    trials = memo.load(decided / "runs").trials
    changed = trials.groupby("labels.kind")["labels.changed"].mean()
    assert (changed["true"], changed["shifted"]) == (0, 1)
    ratio = np.exp(np.log(margins["shifted"] / margins["true"]).mean())
    assert found.claims["measured"].iloc[0] == pytest.approx(ratio, rel=1e-4)
    page = html.unescape(re.sub(r"<[^>]*>", "", page))
    (word,) = re.findall(
        r"networks have (a larger|a smaller|about the same) margin: ", (decided / "findings.md").read_text()
    )
    low, high = found.claims[["low", "high"]].iloc[0]
    assert word == ("a larger" if low > 1 else "a smaller" if high < 1 else "about the same")
    assert f"Shifted labels leave {word} margin." in page


@pytest.mark.slow
def test_the_experiment_again_only_redraws(decided, package):
    before = {path: path.stat().st_mtime_ns for path in decided.rglob("*.parquet")}
    done = start(package, *shlex.split(COMMANDS[0])[1:])
    assert "nothing to train" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in decided.rglob("*.parquet")}


@pytest.mark.slow
def test_other_commands_of_the_page(package):
    for command in COMMANDS[1:]:
        start(package, *shlex.split(command)[1:])
    tables = memo.load(package / "results" / "runs")
    own = tables.trials["loss"] == "smoothed"
    assert set(tables.trials[~own]["labels.kind"]) == {"true", "shifted"}
    assert len(tables.margin) == (~own).sum()
    (smoothed,) = tables.trials[own].to_dict("records")
    assert (smoothed["optimizer.name"], smoothed["optimizer.options.b2"]) == ("adam_b2", 0.99)
    assert smoothed["final_train_accuracy"] > 0.5


@pytest.mark.slow
def test_refusals_name_what_a_package_has_added(package):
    words = shlex.split(COMMANDS[0])[1:-1]
    done = builders.python(*words, "probes=[astrology]", "plan=true", folder=package)
    assert done.returncode == 1
    assert "probes" in done.stderr
    assert "margin" in done.stderr


@pytest.mark.slow
def test_training_from_python(package):
    lines = start(package, "training.py").stdout.split("\n")[:-1]
    assert [line.split()[:2] for line in lines] == [
        [kind, str(seed)] for seed in range(5) for kind in ("true", "shuffled")
    ]
    assert all(0 < float(line.split()[-1]) <= 1 for line in lines)


@pytest.mark.slow
def test_copies_from_python(package):
    one, other = re.findall(r"0\.\d+", start(package, "copies.py").stdout)
    assert one != other


@pytest.mark.slow
def test_storing_from_python(package):
    assert "final_test_accuracy" in start(package, "storing.py").stdout
    assert len(memo.load(package / "runs").trials) == 5


def test_an_experiment_inside_the_suite_is_found_by_its_report(tmp_path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "decided.yaml").write_text(FILES["mine/conf/experiment/decided.yaml"])
    (found,) = results.experiments(tmp_path / "conf")
    assert found.question == "Is a network less decided when all its labels are wrong in the same way?"
    assert results.read(found, tmp_path / "results" / "decided").state == results.MISSING


def test_the_tree_of_the_page_has_every_room():
    tree = re.search(r"^memo/\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[1]
    named = {line.split()[0] for line in tree.splitlines()}
    assert named == {path.parent.name for path in (ROOT / "memo").glob("*/__init__.py")}
