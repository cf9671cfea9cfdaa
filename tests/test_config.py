import json
from dataclasses import replace

import pytest

from memo.config import (
    ADDED,
    Config,
    Experiment,
    Labels,
    Trial,
    describe,
    flatten,
    make_recipe,
    make_trials,
    recipe_hash,
    unflatten,
)
from memo.errors import Refusal

REFUSED = [
    ("dataset.name", "cifar", "mnist, fashion_mnist"),
    ("dataset.n_train", 0, "whole number from 1"),
    ("dataset.crop", 0, "from 1, or null for all of it"),
    ("dataset.crop", 29, "1 to 28, or null"),
    ("dataset.image_side", 0, "from 1, or null for all pixels"),
    ("dataset.image_side", 29, "1 to 28, or null"),
    ("dataset.subset", "last", "random, first"),
    ("dataset.subset_seed", -1, "0 to 2147483647, or null"),
    ("dataset.share", 0, "above 0 to 1"),
    ("dataset.share", 1.5, "above 0 to 1"),
    ("labels.seed", 2**31, "0 to 2147483647, or null"),
    ("labels.file", 3, "a CSV or NumPy file, or null"),
    ("labels.stratified", "yes", "true or false"),
    ("dataset.n_test", -5, "null for all"),
    ("dataset.n_validation", -1, "whole number from 0"),
    ("dataset.n_validation", 0.1, "whole number from 0"),
    ("inputs.kind", "noise", "natural, shuffled_pixels, random_pixels, gaussian"),
    ("inputs.fraction", 1.1, "0 to 1"),
    ("inputs.seed", -1, "0 to 2147483647, or null"),
    ("inputs.scaling", "whitened", "unit, per_image, global"),
    ("labels.kind", "false", "true, shuffled, random"),
    ("labels.fraction", -0.1, "0 to 1"),
    ("labels.fraction", 1.01, "0 to 1"),
    ("labels.fraction", float("nan"), "0 to 1"),
    ("model.widths", [16, 0], "from 1"),
    ("model.activation", "swish", "relu, sigmoid, tanh"),
    ("model.init", "zeros", "he, glorot, normal"),
    ("loss", "hinge", "cross_entropy, squared_error"),
    ("optimizer.name", "lion", "sgd, adam"),
    ("optimizer.learning_rate", 0.0, "above 0"),
    ("optimizer.learning_rate", float("inf"), "above 0"),
    ("optimizer.learning_rate", float("nan"), "above 0"),
    ("optimizer.momentum", 1.0, "0 to below 1"),
    ("optimizer.momentum", -0.1, "0 to below 1"),
    ("optimizer.weight_decay", -1e-4, "from 0"),
    ("optimizer.schedule", "linear", "constant, cosine, exponential"),
    ("optimizer.decay", 0.0, "above 0 to 1"),
    ("optimizer.decay", 1.1, "above 0 to 1"),
    ("model.receptive_field", 0, "from 1, or null for all pixels"),
    ("model.receptive_field", 29, "1 to the 28 pixels of a side, or null"),
    ("regularization.dropout", 1.0, "0 to below 1"),
    ("regularization.dropout", -0.1, "0 to below 1"),
    ("regularization.dropout", float("nan"), "0 to below 1"),
    ("regularization.input_dropout", 1.0, "0 to below 1"),
    ("regularization.hidden_noise", -0.1, "from 0"),
    ("regularization.hidden_noise", float("inf"), "from 0"),
    ("regularization.input_noise", -0.1, "from 0"),
    ("regularization.noise_images", -0.1, "0 to 10"),
    ("regularization.noise_images", 11.0, "0 to 10"),
    ("regularization.adversarial", 1.1, "0 to 1"),
    ("regularization.adversarial_radius", 0.0, "above 0"),
    ("regularization.early_learning", -1.0, "from 0"),
    ("regularization.early_learning_memory", 1.0, "0 to below 1"),
    ("batch_size", 0, "from 1"),
    ("epochs", 0, "from 1"),
    ("stop_at_train_accuracy", 0.0, "null to never stop"),
    ("stop_at_train_accuracy", 1.1, "null to never stop"),
    ("batch_order", "sorted", "per_seed, shared"),
    ("evaluations", 1, "from 2"),
    ("spacing", "linear", "log, log_steps, epochs"),
    ("evaluation_images", 0, "from 1"),
    ("execution.pack_size", 0, "from 1, or null to choose"),
    ("execution.packs", -1, "from 1, or null to choose"),
    ("execution.memory_gb", 0.0, "above 0"),
    ("execution.checkpoint_seconds", -1.0, "from 0"),
    ("seed", -1, "0 to 2147483647"),
    ("seed", 2**31, "0 to 2147483647"),
    ("seeds", 0, "from 1"),
    ("probes", ["confidence", "astrology"], "confidence"),
    ("probes", ["confidence", "confidence"], "confidence"),
    ("probes", ["confidence@5", "confidence@7"], "once as name@n"),
    ("probes", ["confidence@1"], "name@n: at n evaluations (from 2)"),
    ("probes", ["confidence@0"], "name@n"),
    ("probes", ["confidence@"], "name@n"),
    ("probes", ["confidence@2.5"], "name@n"),
    ("probes", ["@5"], "name@n"),
    ("probes", ["astrology@5"], "name@n"),
]
OTHER = {
    "dataset.name": "fashion_mnist",
    "dataset.n_train": 1000,
    "dataset.n_test": 1000,
    "dataset.n_validation": 500,
    "dataset.crop": 20,
    "dataset.image_side": 14,
    "dataset.subset": "first",
    "dataset.subset_seed": 3,
    "dataset.share": 0.5,
    "inputs.kind": "gaussian",
    "inputs.fraction": 0.5,
    "inputs.seed": 5,
    "inputs.scaling": "per_image",
    "labels.kind": "shuffled",
    "labels.file": "0123456789abcdef",
    "labels.seed": 4,
    "labels.stratified": True,
    "labels.fraction": 0.25,
    "model.widths": [64, 63],
    "model.activation": "tanh",
    "model.init": "glorot",
    "model.receptive_field": 7,
    "loss": "squared_error",
    "optimizer.name": "adam",
    "optimizer.learning_rate": 0.01,
    "optimizer.momentum": 0.8,
    "optimizer.weight_decay": 1e-4,
    "optimizer.schedule": "cosine",
    "optimizer.decay": 0.9,
    "regularization.dropout": 0.5,
    "regularization.input_dropout": 0.2,
    "regularization.hidden_noise": 0.1,
    "regularization.input_noise": 0.3,
    "regularization.noise_images": 0.25,
    "regularization.adversarial": 0.5,
    "regularization.adversarial_radius": 0.2,
    "regularization.early_learning": 3.0,
    "regularization.early_learning_memory": 0.9,
    "batch_size": 64,
    "epochs": 99,
    "stop_at_train_accuracy": None,
    "batch_order": "shared",
    "evaluations": 63,
    "spacing": "epochs",
    "evaluation_images": 500,
}

# As they were before the keys of ADDED.
OTHER_BEFORE = {name: value for name, value in OTHER.items() if name not in ADDED}


def config(settings=()):
    made = Config()
    for name, value in dict(settings).items():
        group, _, key = name.rpartition(".")
        setattr(getattr(made, group) if group else made, key, value)
    return made


def trial_id(settings=()):
    return make_trials(config(settings))[0].id


@pytest.mark.parametrize(("name", "value", "allowed"), REFUSED)
def test_a_bad_value_is_refused_with_key_value_and_what_is_allowed(name, value, allowed):
    with pytest.raises(Refusal) as caught:
        make_trials(config({name: value}))
    message = str(caught.value)
    assert message.startswith(f"{name} is {value}")
    assert allowed in message
    assert message.count("\n") == 0


def test_every_key_of_a_recipe_is_covered_here():
    keys = set(flatten(Config()))
    assert keys == set(OTHER)
    assert keys <= {name for name, _, _ in REFUSED}


@pytest.mark.parametrize("settings", [{name: value} for name, value in OTHER.items()], ids=str)
def test_other_values_are_accepted(settings):
    make_trials(config(settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset.n_train": 60_001}, "dataset.n_train is 60001; mnist has 60000"),
        ({"dataset.n_test": 10_001}, "dataset.n_test is 10001; mnist has 10000"),
        (
            {"dataset.n_train": 50_000, "dataset.n_validation": 10_001},
            "dataset.n_validation is 10001; beside 50000 of mnist's 60000 training images .* allowed is 0 to 10000",
        ),
        ({"dataset.subset": "first", "dataset.subset_seed": 3}, "dataset.subset_seed is 3; beside .* allowed is null"),
        ({"dataset.n_train": 60_000, "dataset.n_validation": 1}, "dataset.n_validation is 1; .* allowed is 0 to 0"),
        ({"dataset.n_validation": 60_000}, "dataset.n_validation is 60000"),
        (
            {"inputs.scaling": "global", "regularization.input_noise": 0.1},
            "regularization.input_noise is 0.1; with inputs.scaling=global allowed is 0",
        ),
        ({"dataset.crop": 20, "dataset.image_side": 21}, "dataset.image_side is 21; allowed is 1 to 20"),
        (
            {"dataset.image_side": 10, "model.receptive_field": 11},
            "model.receptive_field is 11; allowed is 1 to the 10",
        ),
        ({"dataset.n_train": 100, "batch_size": 101}, "batch_size is 101; allowed is 1 to the 100"),
        ({"batch_size": 60_001}, "batch_size is 60001; allowed is 1 to the 60000"),
        ({"seed": 2**31 - 1, "seeds": 2}, "seeds"),
        (
            {"regularization.noise_images": 0.003},
            "noise_images is 0.003, no whole image in a batch of 128; allowed is 0, or",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_refused(settings, message):
    with pytest.raises(Refusal, match=message):
        make_trials(config(settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset.n_train": 60_000, "dataset.n_test": 10_000},
        {"dataset.n_train": 50_000, "dataset.n_validation": 10_000},
        {"dataset.n_train": 100, "batch_size": 100},
        {"model.widths": []},
        {"regularization.noise_images": 1 / 128},
        {"probes": ["confidence", "confidence@2", "noise_samples@999999"]},
        {"probes": ["confidence@5"]},
    ],
)
def test_the_edge_of_what_is_allowed_is_accepted(settings):
    make_trials(config(settings))


def test_seeds_are_consecutive_trials_of_one_recipe():
    trials = make_trials(config({"seed": 5, "seeds": 3}))
    assert [trial.seed for trial in trials] == [5, 6, 7]
    assert len({trial.id for trial in trials}) == 3
    assert {recipe_hash(trial.recipe) for trial in trials} == {recipe_hash(make_recipe(Config()))}


def test_the_default_trial_keeps_its_id():
    # Stored results are found by it. If this fails, a change alters what is trained (then raise PROTOCOL) or hashed.
    assert trial_id() == "b84ac1733d18779d"
    assert trial_id(OTHER_BEFORE) == "9f4c79bf99eb1b3d"
    # Of protocol 1, as before minibatches ran on over the ends of epochs: here they end with the epoch.
    assert trial_id({"batch_size": 100}) == "fe65d38fb323cf81"
    assert trial_id(OTHER_BEFORE | {"batch_size": 50}) == "bf058bb35a22566a"


@pytest.mark.parametrize("name", OTHER)
def test_each_recipe_key_changes_the_id(name):
    needs = {"labels": {"labels.kind": "shuffled"}, "inputs": {"inputs.kind": "gaussian"}}.get(name.split(".")[0], {})
    common = {} if name.endswith(".kind") else needs
    if name == "regularization.adversarial_radius":
        common = {"regularization.adversarial": 0.5}
    if name == "regularization.early_learning_memory":
        common = {"regularization.early_learning": 3.0}
    assert trial_id(common | {name: OTHER[name]}) != trial_id(common)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"optimizer.learning_rate": 1}, {"optimizer.learning_rate": 1.0}),
        ({"optimizer.momentum": 0}, {"optimizer.momentum": 0.0}),
        ({"optimizer.weight_decay": 0}, {"optimizer.weight_decay": 0.0}),
        ({"optimizer.decay": 1}, {"optimizer.decay": 1.0}),
        ({"labels.kind": "random", "labels.fraction": 1}, {"labels.kind": "random", "labels.fraction": 1.0}),
        ({"stop_at_train_accuracy": 1}, {"stop_at_train_accuracy": 1.0}),
        ({"labels.kind": "True"}, {"labels.kind": "true"}),
        ({"labels.kind": True}, {"labels.kind": "true"}),
        ({"labels.fraction": 0.3}, {"labels.fraction": 1.0}),
        ({"dataset.folder": "/somewhere"}, {}),
        ({"model.receptive_field": 28}, {}),
        ({"dataset.image_side": 28}, {}),
        ({"dataset.crop": 28}, {}),
        ({"dataset.n_validation": 0}, {}),
        ({"dataset.n_validation": 500}, {"dataset.n_validation": 500, "dataset.n_train": 59_500}),
        ({"dataset.crop": 20, "dataset.image_side": 20}, {"dataset.crop": 20}),
        ({"dataset.image_side": 10, "model.receptive_field": 10}, {"dataset.image_side": 10}),
        ({"labels.seed": 7}, {}),
        ({"inputs.seed": 7, "inputs.fraction": 0.5}, {}),
        ({"inputs.kind": "gaussian", "inputs.fraction": 0}, {}),
        ({"regularization.adversarial_radius": 0.3}, {}),
        ({"regularization.dropout": 0, "regularization.noise_images": 0}, {}),
        ({"regularization.input_noise": 1}, {"regularization.input_noise": 1.0}),
        ({"probes": ["confidence@5"]}, {}),
        ({"seeds": 4}, {}),
        ({"probes": []}, {}),
        ({"scale": "paper"}, {}),
        ({"execution.pack_size": 3, "execution.packs": 2, "execution.memory_gb": 1.0}, {}),
        ({"experiment": Experiment(name="x")}, {}),
    ],
    ids=str,
)
def test_id_does_not_depend_on_spelling_nor_on_what_is_not_the_recipe(one, other):
    assert trial_id(one) == trial_id(other)


def test_true_labels_have_fraction_zero_and_the_config_keeps_its_own():
    asked = replace(Config(), labels=Labels("True", 0.5))
    recipe = make_recipe(asked)
    assert (recipe.labels.kind, recipe.labels.fraction) == ("true", 0.0)
    assert (asked.labels.kind, asked.labels.fraction) == ("True", 0.5)


def test_flatten_gives_the_recipe_under_dotted_names():
    flat = flatten(config({"model.widths": [3], "optimizer.momentum": 0.25}))
    assert (flat["model.widths"], flat["optimizer.momentum"], flat["loss"]) == ([3], 0.25, "cross_entropy")
    assert not {"dataset.folder", "seed", "seeds", "probes", "scale", "experiment"} & set(flat)
    recipe = make_recipe(Config())
    assert set(flatten(recipe)) == set(flat)


def test_a_recipe_comes_back_from_its_flat_form():
    # Noise on pixels is for those that are not scaled, a seed for a subset that is drawn, early learning for training images alone.
    drawn = OTHER | {"inputs.scaling": "unit", "dataset.subset": "random", "regularization.early_learning": 0.0}
    for settings in ({}, drawn, {"dataset.subset": "first"}, {"inputs.scaling": "global"}):
        recipe = make_recipe(config(settings))
        assert unflatten(json.loads(json.dumps(flatten(recipe)))) == recipe
    assert Trial(recipe, 0).id != Trial(recipe, 1).id


def test_a_recipe_that_was_written_down_before_a_key_came_has_its_default():
    recipe = make_recipe(config(OTHER_BEFORE))
    assert unflatten({name: value for name, value in flatten(recipe).items() if name not in ADDED}) == recipe


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "mnist-64x64-true"),
        ({"model.widths": [], "labels.kind": "shuffled"}, "mnist-linear-shuffled"),
        ({"dataset.image_side": 10}, "mnist-10px-64x64-true"),
        ({"dataset.name": "cifar10", "dataset.crop": 28}, "cifar10-28crop-64x64-true"),
        (
            {"labels.kind": "random", "labels.fraction": 0.5, "inputs.kind": "gaussian"},
            "mnist-64x64-random-0.5-gaussian",
        ),
        ({"inputs.kind": "gaussian", "inputs.fraction": 0.25}, "mnist-64x64-true-gaussian-0.25"),
    ],
)
def test_a_recipe_is_described_for_people(settings, name):
    assert describe(make_recipe(config(settings))) == name


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 10**10}, "epochs is 10000000000, which is 40000000000 steps"),
        ({"optimizer.learning_rate": 1e-60}, "optimizer.learning_rate is 1e-60"),
        ({"optimizer.learning_rate": 1e60}, "optimizer.learning_rate is 1e"),
        ({"optimizer.momentum": 0.9999999999}, "optimizer.momentum is 0.9999999999"),
        ({"model.widths": [[16]]}, "model.widths is"),
    ],
)
def test_what_float32_or_int32_cannot_hold_is_refused(tiny, settings, sentence):
    with pytest.raises(Refusal, match=sentence):
        make_trials(tiny(settings))
