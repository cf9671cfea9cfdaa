"""What memo exports, and the notebooks that use it."""

import ast
import importlib.util
import inspect
import os
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import memo
from memo.errors import Refusal
from memo.reporting import claims
from memo.storage.tables import in_memory
from memo.training.population import signature
from tests import builders

ROOT = Path(__file__).resolve().parent.parent
SURFACE = {
    "Population",
    "Recipe",
    "Refusal",
    "Tables",
    "Trained",
    "Trial",
    "compare",
    "complete",
    "load",
    "load_dataset",
    "load_results",
    "make_recipe",
    "measure",
    "plan",
    "train",
}
TINY = {
    "dataset.n_train": 128,
    "dataset.n_test": 200,
    "model.widths": [4],
    "batch_size": 32,
    "epochs": 2,
    "evaluations": 6,
}


def test_names():
    assert set(memo.__all__) == SURFACE == set(dir(memo))
    for name in SURFACE:
        assert getattr(memo, name).__name__ in (name, "load"), name
    with pytest.raises(AttributeError, match="no attribute 'astrology'"):
        memo.astrology  # noqa: B018


def test_type_checkers_see_the_same_names():
    (block,) = [node for node in ast.parse(Path(memo.__file__).read_text()).body if isinstance(node, ast.If)]
    seen = {alias.asname or alias.name: (one.module, alias.name) for one in block.body for alias in one.names}
    homes = {name: (f"memo.{module}", own) for module, names in memo._HOMES.items() for name, own in names.items()}
    assert seen == homes


def test_every_name_is_documented():
    for name in SURFACE:
        thing = getattr(memo, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            # All but these two can refuse what they are given.
            assert "Refusal" in thing.__doc__ or "DataError" in thing.__doc__ or name in ("plan", "train"), name
            assert thing.__annotations__.get("return"), name


def test_one_name_imports_no_other_room():
    code = "import sys, memo; memo.Refusal; assert not {'jax', 'pandas', 'hydra'} & set(sys.modules)"
    builders.python("-c", code, check=True)


def test_recipes_from_settings():
    recipe = memo.make_recipe({"labels.kind": "shuffled", "model.widths": (16, 16), "epochs": 3})
    assert (recipe.labels.kind, recipe.model.widths, recipe.epochs) == ("shuffled", [16, 16], 3)
    assert memo.make_recipe({}) == memo.make_recipe(memo.Recipe())
    assert memo.Trial(recipe, 0).id == memo.Trial(memo.make_recipe(recipe), 0).id


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"labels.knd": "true"}, ["labels.knd", "Did you mean labels.kind?"]),
        ({"labels": "true"}, ["labels is not a key"]),
        ({"seeds": 3}, ["seeds is not a key"]),
        ({"labels.kind": "astrology"}, ["labels.kind", "shuffled"]),
        ({"labels.kind": "shuffled", "labels.fraction": "half"}, ["labels.fraction", "from 0 to 1"]),
        ({"model.widths": 16}, ["model.widths", "list"]),
        ({"epochs": 2.5}, ["epochs", "whole number"]),
        ({"epochs": "many"}, ["epochs", "whole number"]),
        ({"batch_size": None}, ["batch_size", "whole number"]),
        ({"dataset.n_train": 99_999}, ["dataset.n_train", "60000"]),
        ({"loss": ["cross_entropy"]}, ["loss", "cross_entropy"]),
    ],
)
def test_settings_are_refused_in_one_sentence(settings, parts):
    with pytest.raises(Refusal) as refused:
        memo.make_recipe(settings)
    assert [part for part in parts if part not in str(refused.value)] == []


@pytest.mark.slow
def test_from_settings_to_measured_networks_and_to_tables(mnist, tmp_path, monkeypatch):
    monkeypatch.setattr("memo.data.datasets.load", lambda name, folder=None: mnist)
    trials = [memo.Trial(memo.make_recipe(TINY | {"labels.kind": kind}), 0) for kind in ("true", "shuffled")]
    [population] = memo.plan(trials)
    trained = memo.train(population, mnist)
    found = memo.measure(trained, ["confidence"])["confidence"]
    memo.complete({tmp_path / "run": trials}, ["confidence"])
    tables = memo.load(tmp_path)
    stored = tables.confidence.set_index(["trial", "inputs"])
    for network, inputs, mean in zip(found["network"], found["inputs"], found["mean_confidence"]):
        assert mean == pytest.approx(stored.loc[(trained.trials[network].id, inputs), "mean_confidence"], abs=1e-6)
    with pytest.raises(Refusal, match="astrology"):
        memo.measure(trained, ["astrology"])
    with pytest.raises(Refusal, match="0 evaluations were observed"):
        memo.measure(trained, ["confidence@3"])
    assert len(trained.steps) == len(signature(trials[0]).evaluation_steps)


def test_results_of_an_experiment(tmp_path):
    claims.write(claims.empty(), tmp_path / "claims.csv")
    frame = pd.DataFrame(
        {
            "labels": ["true", "true"],
            "width": ["16", "1×64"],
            "exact": [True, False],
            "epochs": [3, 4],
            "t99": [np.nan, 1.5],
            "nothing": [np.nan, np.nan],
        }
    )
    claims.write(frame, tmp_path / "tables" / "networks.csv")
    found = memo.load_results(str(tmp_path))
    assert list(found) == ["claims", "networks"]
    pd.testing.assert_frame_equal(found.networks, frame, check_dtype=False)
    assert found.networks["exact"].dtype == bool
    assert found.networks["epochs"].dtype == int


def test_results_of_no_experiment_are_refused(tmp_path):
    with pytest.raises(Refusal, match=r"claims\.csv"):
        memo.load_results(tmp_path / "nowhere")
    claims.write(claims.empty(), tmp_path / "claims.csv")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "broken.csv").write_bytes(b"")
    with pytest.raises(Refusal, match=r"broken\.csv cannot be read"):
        memo.load_results(tmp_path)


def test_all_reference_results_load():
    for file in ROOT.glob("results/*/claims.csv"):
        found = memo.load_results(file.parent)
        assert set(found) == {"claims", *(path.stem for path in (file.parent / "tables").glob("*.csv"))}
        for name, table in found.items():
            assert "labels" not in table or table["labels"].map(type).eq(str).all(), (file, name)


@pytest.mark.slow
def test_the_notebook_trains_compares_and_probes_in_memory():
    if importlib.util.find_spec("marimo") is None:
        assert os.environ.get("MEMO_EXTRAS") != "required"
        pytest.skip("marimo is the extra [notebook]")
    _, found = runpy.run_path(str(ROOT / "examples" / "memorising.py"))["app"].run()
    accuracy = found["tables"].trials.groupby("labels.kind")["final_test_accuracy"].agg(["mean", "size"])
    assert accuracy["size"].to_dict() == {"shuffled": 5, "true": 5}
    assert accuracy["mean"]["true"] > 0.8 and accuracy["mean"]["shuffled"] < 0.2
    assert any(
        "<b>Test accuracy</b>, shuffled labels against true: lower" in line for line in found["compared"].findings
    )
    assert set(found["confidence"]["inputs"]) == {"test", "uniform", "gaussian", "random_pixels"}
    assert found["norms"].groupby(["labels", "layer"])["norm"].size().to_list() == [5] * 6


@pytest.mark.slow
def test_networks_in_memory_have_the_tables_of_stored_ones(mnist, tmp_path, monkeypatch):
    monkeypatch.setattr("memo.data.datasets.load", lambda name, folder=None: mnist)
    kinds, widths = ("true", "shuffled"), ([4], [5])
    recipes = [memo.make_recipe(TINY | {"labels.kind": kind, "model.widths": own}) for kind in kinds for own in widths]
    trials = [memo.Trial(recipe, 0) for recipe in recipes]
    found = in_memory([memo.train(population, mnist) for population in memo.plan(trials)], ["confidence"])
    memo.complete({tmp_path / "run": trials}, ["confidence"])
    stored = memo.load(tmp_path)
    assert set(found) == set(stored)
    for name, frame in stored.items():
        keys = builders.TABLE_KEYS[name]
        one, other = (each.sort_values(keys, ignore_index=True) for each in (found[name], frame))
        pd.testing.assert_frame_equal(one, other[list(one)], rtol=1e-5)
    assert memo.compare(found).layout == memo.compare(stored).layout


@pytest.mark.slow
def test_the_example_draws_its_figures(tmp_path):
    done = builders.python("-W", "error", ROOT / "examples" / "reference_results.py", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"times.png", "corruption.png"}
    assert all(path.stat().st_size > 10_000 for path in tmp_path.iterdir())
    assert "reproduced" in done.stdout


def test_the_citation_is_that_of_the_package():
    text = (ROOT / "CITATION.cff").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    version = next(line for line in project.splitlines() if line.startswith("version = ")).split('"')[1]
    assert f"version: {version}\n" in text
