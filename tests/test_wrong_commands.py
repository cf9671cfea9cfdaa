"""Hundreds of wrong commands, each from its start to its end: soon, in one sentence, and nothing written."""

import random
import time

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from memo.config import Config
from memo.errors import Refusal
from tests import builders
from tests.test_wrong_inputs import CASES, VALUES, admit

SOON = 10.0  # seconds
# What Hydra writes of a sweep before it asks any code of this suite.
OF_HYDRA = {"results", "results/runs", "results/runs/multirun.yaml"}
SLURM = "--multirun hydra/launcher=population_slurm seed=0,1"

# Which no single value of a key shows.
LINES = """
labels.knd=random | labels.knd
label.kind=random | label
+labels.kinds=random | labels.kinds
++optimizer.lr=1 | optimizer.lr
~labels.kind | labels.kind
labels=scrambled | labels/scrambled
model=resnet | model/resnet
optimizer=lion | optimizer/lion
scale=huge | scale/huge
dataset=imagenet | dataset/imagenet
experiment=headlines | experiment/headlines
+labels@model=random | model
seeds=1000000000 | seeds
seed=2147483647 seeds=2 | seed
evaluations=1000000000000 | evaluations
model.widths=[1000000000] | model.widths
model.widths=[100000000000000000000] | model.widths
model.widths=[8,,8] | model.widths
model.widths=[8.5] | model.widths
model.widths=[null] | model.widths
optimizer.learning_rate=1e39 | optimizer.learning_rate
optimizer.learning_rate=1e-50 | optimizer.learning_rate
optimizer.weight_decay=1e300 | optimizer.weight_decay
optimizer.momentum=0.99999999999 | optimizer.momentum
regularization.hidden_noise=inf | regularization.hidden_noise
execution.memory_gb=inf | execution.memory_gb
execution.memory_gb=1e300 | execution.memory_gb
experiment.name=digits | python -m experiments.digits
experiment.name=../x | experiment.name
experiment.sweep.foo=[1] | experiment.sweep.foo
--multirun hydra/launcher=population_slurm hydra.launcher.gflops=1e308 seed=0,1 | hydra.launcher.gflops
--multirun hydra/launcher=population_slurm hydra.launcher.gflops=1e-320 seed=0,1 | hydra.launcher.gflops
--multirun hydra/launcher=population_slurm hydra.launcher.gpu_memory_gb=1e300 seed=0,1 | hydra.launcher.gpu_memory_gb
--multirun hydra/launcher=population_slurm hydra.launcher.min_minutes=1e300 seed=0,1 | hydra.launcher.min_minutes
execution.memory_gb=0.000001 | memory
labels=[true] | labels
labels.kind=ünïcödé | labels.kind
probes=[первый] | probes
dataset.folder=a [b] | dataset.folder
dataset.folder=/nowhere | /nowhere
labels.file=/nowhere.csv | /nowhere.csv
dataset.n_train=70000 | dataset.n_train
dataset.n_train=60000 dataset.n_validation=1 | dataset
dataset.n_test=10001 | dataset.n_test
dataset.n_train=100 batch_size=101 | batch_size
dataset.crop=40 | dataset.crop
dataset.image_side=0 | dataset.image_side
model.receptive_field=99 | model.receptive_field
regularization.adversarial=2 | regularization.adversarial
stop_at_train_accuracy=1.5 | stop_at_train_accuracy
loss=hinge | loss
batch_order=random | batch_order
spacing=dense | spacing
probes=[confidence,astrology] | probes
probes=[confidence@0] | probes
probes=[confidence@x] | probes
probes=confidence | probes
tracking.to=comet | tracking.to
hydra.job.chdir=true | hydra.job.chdir
hydra.job.env_set={JAX_ENABLE_X64:1} | JAX_ENABLE_X64
hydra.run.dir= | hydra.run.dir
hydra.run.dir=/proc/version/run | /proc/version/run
hydra/launcher=nowhere | nowhere
hydra.nothing=1 | nothing
seeds | seeds
seeds= | seeds
=3 | =3
seed==3 | seed
seed=1 seed=[ | seed
--multirun seeds=0 | seeds
--multirun seed=choice() | choice
--multirun seed=range(0,0) | seed
--multirun model.widths=[0],[4] | model.widths
--multirun hydra/launcher=population seed=range(0,0) | no jobs
--multirun hydra/launcher=population labels.kind=true,fake | labels.kind
--multirun hydra/launcher=population optimizer.learning_rate=0.1,nan | optimizer.learning_rate
--multirun hydra.sweep.dir= seed=0,1 | hydra.sweep.dir
--config-name=other | other
--config-dir=/nowhere | /nowhere
""".strip().splitlines()


def wrong_values(schema, key, count=4):
    """Return some values that are refused for a key, others for each key."""
    values = random.Random(f"whole {key}").sample(VALUES, len(VALUES))
    refused = []
    for value in values:
        try:
            admit(schema, f"{key}={value}")
        except (Refusal, HydraException, OmegaConfBaseException):
            refused.append(value)
        if len(refused) == count:
            break
    return refused


def assert_refused(folder, words, named=""):
    begun = time.monotonic()
    done = builders.python("-m", "experiments.train", *words, folder=folder)
    assert time.monotonic() - begun < SOON, words
    said = done.stderr.strip()
    assert done.returncode == 1 and said.startswith("Refused: "), (words, done.returncode, said, done.stdout)
    assert len(said.splitlines()) == 1 and named in said, (words, said)
    assert "Traceback" not in done.stdout
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} <= OF_HYDRA, words


@pytest.mark.slow
@pytest.mark.parametrize(("schema", "key"), CASES, ids=[key for _, key in CASES])
def test_a_command_with_a_wrong_value(tmp_path, schema, key):
    for value in wrong_values(schema, key):
        words = [f"{key}={value}"] if schema is Config else [*SLURM.split(), f"hydra.launcher.{key}={value}"]
        assert_refused(tmp_path, words)


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_a_wrong_command(tmp_path, line):
    words, named = line.rsplit(" | ", 1)
    assert_refused(tmp_path, [words] if "a [b]" in words else words.split(), named)


def test_there_are_hundreds():
    assert sum(len(wrong_values(*case)) for case in CASES) + len(LINES) >= 300
