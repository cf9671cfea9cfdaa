"""Set before JAX is first used: a worker for each core, as commands have it, and JAX's strict modes."""

import os
import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.pop("HYDRA_FULL_ERROR", None)  # refusals are tested as a user sees them

import jax
import optax
import pytest

from memo.config import Config, Dataset, Model, make_trials
from memo.data import datasets
from memo.data.files import cache_folder
from memo.training import machine

pytest.register_assert_rewrite("tests.reports", "tests.builders")
machine.use_every_core()
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """Give the session a cache of its own, with the user's data sets: what tests train is not measured."""
    # A shell starts what runs in its background with interrupts ignored, which the commands of tests would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        return  # a process of a session that has one
    user, own = cache_folder(), Path(tempfile.mkdtemp(prefix="memo-tests-"))
    for name in datasets.REGISTRY:
        (user / name).mkdir(parents=True, exist_ok=True)
        (own / name).symlink_to(user / name)
    os.environ["MEMO_CACHE"] = str(own)
    config.add_cleanup(lambda: shutil.rmtree(own, ignore_errors=True))
    # Most of the tests' time goes into compiling. What one has compiled, however small, serves its neighbours, the
    # commands that they start, and the next session, until pytest --cache-clear.
    programs = config.cache.mkdir("programs") if hasattr(config, "cache") else own / "programs"
    compiled = {
        "jax_compilation_cache_dir": str(programs),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in compiled.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.fixture(scope="session", autouse=True)
def _optax_may_promote():
    """Let optax 0.2.8 mix its int32 step count with floats where it does so: in Adam's update, in the cosine."""

    def promoting(function):
        def call(*arguments):
            with jax.numpy_dtype_promotion("standard"):
                return function(*arguments)

        return call

    adam, cosine = optax.scale_by_adam, optax.cosine_decay_schedule
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optax, "scale_by_adam", lambda **b: adam(**b)._replace(update=promoting(adam(**b).update)))
        patch.setattr(optax, "cosine_decay_schedule", lambda *arguments: promoting(cosine(*arguments)))
        yield


@pytest.fixture(scope="session")
def mnist():
    return datasets.load("mnist")


@pytest.fixture(scope="session")
def small_mnist(mnist):
    """The first 2,000 training and 500 test images of MNIST: real data that is quickly copied."""
    arrays = ("train_images", "train_labels", "test_images", "test_labels")
    return replace(mnist, **{name: getattr(mnist, name)[: 2000 if "train" in name else 500] for name in arrays})


@pytest.fixture(scope="session")
def tiny():
    """Return `tiny(settings by dotted name) -> Config` of a run that takes a fraction of a second."""

    def configure(settings):
        config = Config(
            dataset=Dataset(n_train=256, n_test=300), model=Model(widths=[8]), batch_size=64, epochs=5, evaluations=8
        )
        for name, value in settings.items():
            group, _, key = name.rpartition(".")
            setattr(getattr(config, group) if group else config, key, value)
        return config

    return configure


@pytest.fixture(scope="session")
def trials(tiny):
    """Return `trials(common settings, *settings of each recipe) -> the trials of all these recipes`."""
    return lambda common, *each: [trial for own in each or [{}] for trial in make_trials(tiny(common | own))]
