"""The commands as a user meets them: what they write, what they skip, what they refuse."""

import dataclasses
import logging
import re
import sys

import jax
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import memo
from experiments import train
from experiments.headline.analysis import analyse
from memo.commands import experiment, hydra_app
from memo.data.idx import FILES
from tests import builders

TINY = (
    "dataset.n_train=128",
    "dataset.n_test=200",
    "epochs=2",
    "evaluations=6",
    "model.widths=[4]",
    "batch_size=32",
)


def command(*arguments, folder, **environment):
    """Run `python -m experiments.train` in a folder."""
    return builders.python("-m", "experiments.train", *arguments, folder=folder, **environment)


def outputs(folder):
    """Return the names of the files that training leaves, wherever they are below a folder."""
    kinds = ("*.parquet", "done.json", "provenance.json")
    return sorted(path.name for kind in kinds for path in folder.rglob(kind))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run by its command: (run folder, finished process)."""
    folder = tmp_path_factory.mktemp("single")
    return folder / "run", command(*TINY, "labels.kind=true", f"hydra.run.dir={folder}/run", folder=folder)


@pytest.mark.slow
def test_single_run(trained):
    run, done = trained
    assert done.returncode == 0
    assert done.stderr == ""
    assert "1 completed" in done.stdout
    assert re.search(r"training accuracy 0\.\d{4}, test accuracy 0\.\d{4} \(means over n = 1\)", done.stdout)
    assert outputs(run) == ["confidence.parquet", "curves.parquet", "done.json", "provenance.json", "trials.parquet"]
    assert (run / ".hydra" / "overrides.yaml").exists()
    assert {path.name for path in run.parent.iterdir()} == {"run"}
    (row,) = memo.load(run).trials.itertuples()
    assert row.seed == 0
    assert memo.load(run).trials["labels.kind"].tolist() == ["true"]


@pytest.mark.slow
def test_the_same_command_trains_nothing(trained):
    run, _ = trained
    tables = sorted(run.glob("*.parquet"))
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in tables]
    # With a data set out of reach: what is stored needs none.
    again = command(*TINY, f"hydra.run.dir={run}", f"dataset.folder={run}", folder=run.parent)
    assert again.returncode == 0
    assert again.stderr == ""
    assert "already stored; nothing to train" in again.stdout
    assert "1 completed" in again.stdout
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in tables] == before


@pytest.mark.slow
def test_multirun(trained, tmp_path):
    swept = ("--multirun", "labels.kind=true,shuffled", f"hydra.sweep.dir={tmp_path}/sweep")
    done = command(*swept, *TINY, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    runs = sorted(path.parent for path in tmp_path.rglob("done.json"))
    assert [run.parent for run in runs] == [tmp_path / "sweep"] * 2
    for run, kind in zip(runs, ("shuffled", "true")):
        assert run.name.startswith(f"mnist-4-{kind}-")
        overrides = OmegaConf.load(run / ".hydra" / "overrides.yaml")
        assert f"labels.kind={kind}" in [override.lower() for override in overrides]  # Hydra parses true as a boolean
        assert str(OmegaConf.load(run / ".hydra" / "config.yaml").labels.kind).lower() == kind
    tables = memo.load(tmp_path)
    assert sorted(tables.trials["labels.kind"]) == ["shuffled", "true"]
    assert tables.curves["trial"].nunique() == tables.confidence["trial"].nunique() == 2
    # The same recipe and seed, another command.
    single = memo.load(trained[0])
    for name, frame in single.items():
        own = tables[name][tables[name]["trial"].isin(single.trials["trial"])]
        assert own.reset_index(drop=True).equals(frame) or name == "confidence"  # a column of arrays has no equals
    assert single.confidence["mean_confidence"].isin(tables.confidence["mean_confidence"]).all()


@pytest.mark.slow
def test_cfg_prints_and_writes_nothing(tmp_path):
    done = command("--cfg", "job", "labels=shuffled", "model=talk", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    config = OmegaConf.create(done.stdout)
    assert config.labels.kind == "shuffled"
    assert config.model == {"widths": [16, 16], "activation": "sigmoid", "init": "normal", "receptive_field": None}
    assert config.seeds == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "offered"),
    [("labels=", "labels=original labels=random labels=shuffled"), ("optimizer.w", "optimizer.weight_decay=")],
)
def test_shell_completion(tmp_path, line, offered):
    line = f"python experiments/train.py {line}"
    done = command("-sc", "query=bash", folder=tmp_path, COMP_LINE=line, COMP_POINT=str(len(line)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == offered.split()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_shell_completion_installs(tmp_path):
    done = command("-sc", "install=bash", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "COMP_LINE" in done.stdout


def assert_refused(sentence, *parts):
    assert sentence.startswith("Refused: ")
    assert len(sentence.splitlines()) == 1
    for part in parts:
        assert part in sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["model.width=[4]"], ["model.width is not a key", "widths, activation, init", "Did you mean model.widths?"]),
        (["labels.kind=random", "labels.fraction=1.5"], ["labels.fraction is 1.5", "0 to 1"]),
        (["dataset.folder=EMPTY"], ["dataset.folder=", "train-images-idx3-ubyte"]),
        (["hydra.run.dir=EMPTY/file/run"], ["EMPTY/file/run", "Not a directory"]),
    ],
    ids=lambda value: value[0],
)
def test_refusals_as_a_user_sees_them(tmp_path, arguments, parts):
    (tmp_path / "file").write_text("")
    arguments, parts = ([text.replace("EMPTY", str(tmp_path)) for text in texts] for texts in (arguments, parts))
    done = command(*TINY, f"hydra.run.dir={tmp_path}/run", *arguments, folder=tmp_path)
    assert done.returncode == 1
    assert_refused(done.stderr.rstrip("\n"), *parts)
    assert "Traceback" not in done.stdout
    assert outputs(tmp_path) == []


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Return `refused(*arguments) -> sentence` of a command in this process, which must end without any output."""
    monkeypatch.chdir(tmp_path)
    handlers, level = logging.root.handlers[:], logging.root.level
    programs = jax.config.jax_compilation_cache_dir

    def run(*arguments, start=lambda: hydra_app.run(train.train)):
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        with pytest.raises(SystemExit) as stop:
            start()
        assert outputs(tmp_path) == []
        return stop.value.code

    yield run
    GlobalHydra.instance().clear()
    jax.config.update("jax_compilation_cache_dir", programs)  # a command chooses one in MEMO_CACHE
    # Hydra puts its own in their place, one of them on a file of the run folder.
    for handler in logging.root.handlers:
        if handler not in handlers:
            handler.close()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("learning_rate=1", ["learning_rate is not a key", "optimizer"]),
        ("+learning_rate=1", ["learning_rate is not a key", "optimizer"]),
        ("+optimizer.lr=1", ["optimizer.lr is not a key", "learning_rate"]),
        ("model.widths=[0]", ["model.widths is [0]", "whole number from 1"]),
        ("model.widths=[64,-1]", ["model.widths is [64, -1]", "whole number from 1"]),
        ("model.widths=[a]", ["model.widths[0]", "'a'"]),
        ("model.widths=64", ["model.widths", "hidden widths"]),
        ("model.activation=swish", ["model.activation is swish", "relu, sigmoid, tanh"]),
        ("dataset.n_train=70000", ["dataset.n_train is 70000", "60000"]),
        ("dataset.n_test=10001", ["dataset.n_test is 10001", "10000"]),
        ("dataset.n_train=0", ["dataset.n_train is 0", "from 1"]),
        ("dataset=imagenet", ["dataset/imagenet", "cifar10", "fashion_mnist", "mnist"]),
        ("labels.kind=fake", ["labels.kind is fake", "true, shuffled, random"]),
        ("labels.fraction=-0.1", ["labels.fraction is -0.1", "0 to 1"]),
        ("loss=hinge", ["loss is hinge", "cross_entropy, squared_error"]),
        ("optimizer.learning_rate=nan", ["optimizer.learning_rate is nan", "above 0"]),
        ("optimizer.momentum=1", ["optimizer.momentum is 1.0", "below 1"]),
        ("batch_size=129", ["batch_size is 129", "1 to the 128 training images"]),
        ("epochs=many", ["epochs", "'many'", "whole number from 1"]),
        ("seeds=0", ["seeds is 0", "from 1"]),
        ("seed=2147483647 seeds=2", ["seed", "2147483647"]),
        ("probes=[astrology]", ["probes is ['astrology']", "confidence"]),
        ("experiment=headlines", ["experiment/headlines", "headline"]),
        ("seeds", ["seeds", "key="]),
        ("--multirun model.widths=[0],[4]", ["model.widths is [0]", "from 1"]),
        ("--multirun model.width=[4],[8]", ["model.width is not a key", "model.widths"]),
        ("--multirun hydra/launcher=population seed=range(0,0)", ["has no jobs"]),
        ("labels=[true]", ["labels=[true]", "cannot be read by Hydra"]),
        ("model.widths=[300000,300000]", ["784-300000-300000-10", "GB are available"]),
        ("dataset.folder=/nowhere", ["dataset.folder=/nowhere is not a folder"]),
        ("hydra.run.dir=/proc/version/run", ["/proc/version/run", "Not a directory"]),
        ("--multirun hydra.sweep.dir=/proc/version/sweep", ["/proc/version/sweep", "Not a directory"]),
    ],
)
def test_refusals(refused, tmp_path, arguments, parts):
    own = {argument.split("=")[0] for argument in arguments.split()}
    others = [setting for setting in TINY if setting.split("=")[0] not in own]
    folders = [f"hydra.{kind}.dir={tmp_path}/{kind}" for kind in ("run", "sweep") if f"hydra.{kind}.dir" not in own]
    assert_refused(refused(*arguments.split(), *folders, *others), *parts)
    # A multirun's record is written by Hydra before anything of this suite is asked.
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"multirun.yaml"}


@pytest.mark.parametrize("named", [True, False], ids=["dataset.folder", "cache"])
def test_a_truncated_data_file_is_refused_by_name(refused, tmp_path, monkeypatch, named):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for file in FILES:
        (folder / file).write_bytes(bytes.fromhex("00000801000000020a"))
    monkeypatch.setenv("MEMO_CACHE", str(folder.parent))
    entry = memo.data.datasets.REGISTRY["mnist"]
    monkeypatch.setitem(memo.data.datasets.REGISTRY, "mnist", dataclasses.replace(entry, sources=()))
    own = [f"dataset.folder={folder}"] if named else []
    sentence = refused(f"hydra.run.dir={tmp_path}/run", *TINY, *own)
    assert sentence.startswith("Refused: ")
    assert "train-images-idx3-ubyte" in sentence
    assert str(folder) in sentence
    if named:
        assert_refused(sentence, "dataset.folder", "no other copy was tried")
    else:
        assert "every source failed" in sentence
        assert "dataset.folder=<folder>" in sentence


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("model.widths=[8]", ["model.widths is swept", "experiment.sweep.model.widths=[...]"]),
        ("labels.kind=random", ["labels.kind is swept", "experiment.sweep.labels.kind=[...]"]),
        ("model=talk", ["model.widths is swept", "experiment.sweep.model.widths=[...]"]),
        ("experiment.sweep.model.widths=[[8],[0]]", ["model.widths is [0]", "from 1"]),
        ("experiment.sweep.model.widths=[[8],[a]]", ["model.widths[0]", "'a'", "Integer"]),
        ("experiment.sweep.model.widths=8", ["experiment.sweep.model.widths"]),
        ("experiment.sweep.model.widths=[]", ["experiment.sweep.model.widths"]),
        ("experiment.sweep.model.width=[[8]]", ["experiment.sweep.model.width"]),
        ("+experiment.sweep.model.width=[[8]]", ["model.width"]),
        ("+experiment.sweep.depth=[1]", ["depth"]),
        ("+experiment.fixd={epochs:3}", ["experiment.fixd is not a key", "Did you mean experiment.fixed?"]),
        ("probes=[confidence]", ["probes", "noise_samples"]),
    ],
)
def test_refusals_of_an_experiment(refused, tmp_path, monkeypatch, arguments, parts):
    monkeypatch.setattr(memo.training.execution, "train_slabs", None)
    sentence = refused(
        f"hydra.run.dir={tmp_path}/run",
        "scale=quick",
        *arguments.split(),
        start=lambda: experiment.run("headline", analyse),
    )
    assert_refused(sentence, *parts)
