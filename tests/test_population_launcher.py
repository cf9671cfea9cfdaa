"""The launcher: composes what Hydra composes, and gives the tables and folders of one job after the other."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

import memo
from hydra_plugins.population_launcher._composition import PatchingLoader
from memo.commands.hydra_app import CONF
from memo.storage import run_folders
from tests import builders

TINY = ["dataset.n_train=128", "dataset.n_test=100", "epochs=3", "evaluations=5", "batch_size=32"]
SWEEP = ["labels.kind=true,shuffled", "optimizer.learning_rate=0.01,0.1", "model.widths=[4],[6]", "seeds=2"]


@pytest.fixture
def loader():
    with initialize_config_dir(str(CONF), version_base=None):
        yield GlobalHydra.instance().hydra.config_loader


@pytest.mark.parametrize(
    "jobs",
    [
        [["optimizer.learning_rate=0.01", "seeds=3"], ["optimizer.learning_rate=0.1", "seeds=3"]],
        [["labels.kind=true"], ["labels.kind=shuffled"], ["labels.kind=random"]],
        [["model.widths=[16]"], ["model.widths=[32,32]"], ["model.widths=[]"]],
        [["labels=shuffled", "epochs=3"], ["labels=random", "epochs=4"], ["labels=random", "epochs=5"]],
        [["scale=quick", "epochs=3"], ["epochs=4", "scale=paper"], ["scale=quick"]],
        [["stop_at_train_accuracy=null"], ["stop_at_train_accuracy=0.5"]],
        [["experiment=headline", "scale=quick", "seeds=7"], ["experiment=headline", "scale=quick", "seeds=8"]],
        [["++epochs=3"], ["+experiment.settings.note=x"]],
        [["++epochs=3", "seed=1"], ["++epochs=4", "seed=2"]],
        [["+experiment.settings={a:1}", "seed=1"], ["+experiment.settings={b:1}", "seed=2"]],
        [["epochs=3", "epochs=9"], ["epochs=4", "epochs=9"]],
        [["loss=${labels.kind}", "seeds=3"], ["loss=squared_error", "seeds=3"]],
        [["hydra.job.chdir=true", "epochs=2"], ["epochs=2"]],
    ],
    ids=lambda jobs: " ".join(jobs[0]),
)
def test_patching_composes_what_hydra_composes(loader, jobs):
    master = loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN)
    patching = PatchingLoader(loader)
    for overrides in jobs:
        expected = OmegaConf.to_container(loader.load_sweep_config(master, list(overrides)))
        actual = OmegaConf.to_container(patching.load_sweep_config(master, list(overrides)))
        assert actual == expected


@pytest.mark.parametrize("override", ["optimizer.lr=1", "epochs=many", "labels=none"])
def test_what_hydra_refuses_is_refused_in_its_words(loader, override):
    master = loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN)
    with pytest.raises(HydraException) as expected:
        loader.load_sweep_config(master, [override])
    with pytest.raises(type(expected.value)) as actual:
        PatchingLoader(loader).load_sweep_config(master, [override])
    assert str(actual.value) == str(expected.value)


LAUNCHERS = "from hydra.core.config_store import ConfigStore; print(*ConfigStore.instance().list('hydra/launcher'))"


def run_python(code):
    return builders.python("-c", code, check=True).stdout.split()


@pytest.mark.slow
def test_other_applications_of_hydra_load_neither_the_suite_nor_jax():
    plugins = "import sys; from hydra.core.plugins import Plugins; Plugins.instance()"
    modules = run_python(f"{plugins}; print(*sys.modules)")
    assert "hydra_plugins.population_launcher" in modules
    assert not {"jax", "pandas", "submitit", "memo"} & set(modules)
    # Its own schema is there; that of Slurm has memo's settings, and comes with memo's commands.
    assert {"population.yaml", "population_slurm.yaml"} & set(run_python(f"{plugins}; {LAUNCHERS}")) == {
        "population.yaml"
    }
    both = run_python(f"{plugins}; import memo.commands.hydra_app; {LAUNCHERS}")
    assert {"population.yaml", "population_slurm.yaml"} <= set(both)


def multirun(folder, *arguments, within=builders.ROOT):
    command = ["-m", "experiments.train", "--multirun", f"hydra.sweep.dir={folder}", *arguments]
    return builders.python(*command, folder=within)


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    folders = {name: tmp_path_factory.mktemp(name) for name in ("basic", "population")}
    for name, folder in folders.items():
        done = multirun(folder, f"hydra/launcher={name}", *SWEEP, *TINY)
        assert done.returncode == 0, done.stderr
    return folders


@pytest.mark.slow
def test_tables_equal_those_of_hydras_own_launcher(sweeps):
    tables = {name: memo.load(folder) for name, folder in sweeps.items()}
    keys = {"trials": ["trial"], "curves": ["trial", "step"], "confidence": ["trial", "inputs"]}
    for name, key in keys.items():
        basic, fused = (tables[launcher][name].sort_values(key, ignore_index=True) for launcher in tables)
        exact = basic.select_dtypes(exclude="floating").columns.drop("histogram", errors="ignore")
        pd.testing.assert_frame_equal(basic[exact], fused[exact])
        for column in basic.select_dtypes("floating"):
            # Packs of other networks change the order of float32 sums: observed differences stay below 1e-5.
            np.testing.assert_allclose(basic[column], fused[column], rtol=1e-4, atol=1e-5, err_msg=column)


@pytest.mark.slow
def test_jobs_train_as_one_program_for_each_shape(sweeps):
    sessions = {
        (entry["finished"], entry["networks"], entry["train_seconds"])
        for entry in run_folders.provenance(sweeps["population"])
    }
    assert sorted(networks for _, networks, _ in sessions) == [8, 8]


@pytest.mark.slow
def test_every_job_has_its_ordinary_folder(sweeps):
    for name, folder in sweeps.items():
        jobs = sorted(path.parent for path in folder.glob("*/.hydra"))
        assert len(jobs) == 8, name
        for job in jobs:
            assert (job / "train.log").exists()
            recorded = OmegaConf.load(job / ".hydra" / "overrides.yaml")
            assert "seeds=2" in recorded


RECORDER = """
import json
import shutil
from pathlib import Path
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

class Recorder(Callback):
    def _record(self, event, config, job_return=None, **others):
        line = [event, OmegaConf.to_container(config, enum_to_str=True), sorted(others)]
        if job_return is not None:
            parts = job_return.cfg, job_return.hydra_cfg
            line += [OmegaConf.to_container(part, enum_to_str=True) for part in parts]
            line += [job_return.overrides, job_return.working_dir, job_return.task_name, job_return.status.name]
        with (Path(config.hydra.sweep.dir) / "calls.jsonl").open("a") as file:
            print(json.dumps(line), file=file)

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return lambda **arguments: self._record(name, **arguments)
"""


@pytest.mark.slow
def test_a_sweep_of_what_is_stored_leaves_what_it_leaves_with_hydras_own_launcher(sweeps, tmp_path):
    (tmp_path / "recorder.py").write_text(RECORDER)
    folder = shutil.copytree(sweeps["population"], tmp_path / "sweep")
    left = {}
    for launcher in ("basic", "population"):
        for path in folder.rglob("*"):
            if path.suffix in (".yaml", ".log", ".jsonl"):
                path.unlink()
        recording = "+hydra.callbacks.recorder._target_=recorder.Recorder"
        done = multirun(folder, f"hydra/launcher={launcher}", recording, *SWEEP, *TINY, within=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet")
        left[launcher] = {path.relative_to(folder): path.read_text() for path in files}
    calls = [json.loads(line)[0] for line in left["basic"][Path("calls.jsonl")].splitlines()]
    assert calls == ["on_multirun_start", *["on_job_start", "on_job_end"] * 8, "on_multirun_end"]
    assert sum(path.name == "train.log" for path in left["basic"]) == 8
    for old, new in {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher": "hydra_plugins.population_launcher.PopulationLauncher",
        "hydra/launcher=basic": "hydra/launcher=population",
        "hydra/launcher: basic": "hydra/launcher: population",
        '"hydra/launcher": "basic"': '"hydra/launcher": "population"',
    }.items():
        left["basic"] = {path: text.replace(old, new) for path, text in left["basic"].items()}
    assert left["population"] == left["basic"]


@pytest.mark.slow
def test_the_plan_is_printed_and_nothing_is_trained(tmp_path):
    done = multirun(tmp_path, "hydra/launcher=population", "plan=true", *SWEEP, *TINY)
    assert done.returncode == 0, done.stderr
    assert "16 networks: 0 stored, 16 to train as 2 programs." in done.stdout
    assert [line.split()[:2] for line in done.stdout.splitlines()[-2:]] == [["784-4-10", "8"], ["784-6-10", "8"]]
    assert [path.name for path in tmp_path.iterdir()] == ["multirun.yaml"]


@pytest.mark.slow
def test_networks_that_several_jobs_ask_for_are_counted_once(tmp_path):
    arguments = ["hydra/launcher=population", "seeds=2,5", "seed=0,4", "plan=true", *TINY]
    shown = multirun(tmp_path, *arguments)
    assert "9 networks: 0 stored, 9 to train as 1 programs." in shown.stdout  # seeds 0 to 8


@pytest.mark.slow
def test_batches_and_a_second_run(tmp_path):
    arguments = [
        "hydra/launcher=population",
        "hydra.sweeper.max_batch_size=2",
        "labels.kind=true,shuffled,random",
        *TINY,
    ]
    first = multirun(tmp_path, *arguments, "model.widths=[4]")
    assert first.returncode == 0, first.stderr
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert len(stamps) == 9
    again = multirun(tmp_path, *arguments, "model.widths=[4]")
    assert again.returncode == 0, again.stderr
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}


@pytest.mark.slow
def test_a_refused_job_stops_the_sweep_before_it_trains(tmp_path):
    done = multirun(tmp_path, "hydra/launcher=population", "labels.fraction=0.5,1.5", "labels.kind=random", *TINY)
    assert done.returncode != 0
    assert "labels.fraction is 1.5" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "population"])
def test_a_job_that_sets_what_its_experiment_sweeps_is_refused(tmp_path, launcher):
    command = ["-m", "experiments.headline", "--multirun", f"hydra.sweep.dir={tmp_path}", *TINY]
    done = builders.python(*command, f"hydra/launcher={launcher}", "labels.kind=true,random")
    assert done.returncode == 1
    assert "labels.kind is swept by this experiment" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.parquet"))
