"""The recipe of a training run as typed, range-checked dataclasses; plain Python, used by Hydra as its schema.

command line ──> Config ──> recipe(config) ──> Trial(recipe, seed) ──> its hash
"""

import copy
import difflib
import hashlib
import json
import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from memo.data import datasets, label_files
from memo.data.treatments import INPUTS, LABEL_KINDS
from memo.errors import Refusal
from memo.networks.losses import LOSSES
from memo.networks.mlp import ACTIVATIONS, INITIALISERS, describe_widths
from memo.networks.optimizers import OPTIMIZERS, SCHEDULES
from memo.networks.scaling import SCALINGS
from memo.probes import PROBES, known

# Part of every trial's hash: increment it when a change of the code alters the training of a recipe.
# 2: minibatches run on over the ends of epochs, which changes nothing where the images are a multiple of a minibatch.
PROTOCOL = 2
# Keys added after the first results were stored, with the value that all of those had: it is left out of the hash,
# so that they are found.
ADDED = {
    "dataset.crop": None,
    "dataset.image_side": None,
    "dataset.subset": "random",
    "dataset.subset_seed": None,
    "dataset.share": 1.0,
    "dataset.n_validation": 0,
    "labels.file": None,
    "labels.seed": None,
    "labels.stratified": False,
    "inputs.fraction": 1.0,
    "inputs.seed": None,
    "inputs.scaling": "unit",
    "batch_order": "per_seed",
    "spacing": "log",
    "evaluation_images": None,
    "model.receptive_field": None,
    "regularization.dropout": 0.0,
    "regularization.input_dropout": 0.0,
    "regularization.hidden_noise": 0.0,
    "regularization.input_noise": 0.0,
    "regularization.noise_images": 0.0,
    "regularization.adversarial": 0.0,
    "regularization.adversarial_radius": 0.1,
    "regularization.early_learning": 0.0,
    "regularization.early_learning_memory": 0.7,
}

# The folder of configurations: inside the installed package, or beside it in a clone.
CONF = next(path for up in (0, 1) if (path := Path(__file__).resolve().parents[up] / "conf").is_dir())


# Bounds on sizes that are checked before anything is built; what fits into memory is checked as well.
WIDEST, MOST_LAYERS, MOST_EVALUATIONS, MOST_SEEDS = 1_000_000, 1000, 100_000, 1_000_000

# Of a recipe's hyper-parameters that only its optimiser has, by name.
OPTIONS = "optimizer.options"

Typed = TypeVar("Typed")


def _key(default: Any, allowed: object, check: Callable[[Any], bool], about: str, recipe: bool = True) -> Any:
    """Return a field with the values allowed, and in `about` its description for docs/keys.md."""
    metadata = {"allowed": allowed, "check": check, "about": about, "recipe": recipe}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


class _OneOf:
    """The sentence on the values of a choice, composed when it is read: other packages may add entries later."""

    def __init__(self, options: Collection[str], before: str = "one of ", after: str = ""):
        self._options, self._before, self._after = options, before, after

    def __str__(self) -> str:
        return self._before + ", ".join(self._options) + self._after


def _choice(default: str, options: Collection[str], about: str) -> Any:
    return _key(default, _OneOf(options), lambda value: value in options, about)


def _number(default: float, low: float, high: float = math.inf, *, about: str, open_low: bool = False) -> Any:
    words = f"{'a finite' if high == math.inf else 'a'} number {'above' if open_low else 'from'} {low:g}"
    words += "" if high == math.inf else f" to {high:g}"

    def check(value: Any) -> bool:
        # As what trains: a number that float32 takes for 0 or for infinity is out of range, and so is NaN.
        value = _as_float32(value)
        return (low < value if open_low else low <= value) and value <= high and value != math.inf

    return _key(default, words, check, about)


def _as_float32(value: Any) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(value))


def _count(
    default: int | None, about: str, *, null: str = "", low: int = 1, high: float = math.inf, recipe: bool = True
) -> Any:
    """Return a field of a whole number, or of null if `null` gives its meaning."""
    words = f"a whole number from {low}" + (f" to {high}" if high < math.inf else "")
    words += f", or null {null}" if null else ""

    def check(value: Any) -> bool:
        return (value is None and null != "") or (type(value) is int and low <= value <= high)

    return _key(default, words, check, about, recipe)


def _seed_of_its_own(about: str) -> Any:
    allowed = "a whole number from 0 to 2147483647, or null for each seed's own"
    return _key(None, allowed, lambda v: v is None or 0 <= v < 2**31, about)


SUBSETS = ("random", "first")


@dataclass
class Dataset:
    """The images: their source, size and number."""

    name: str = _choice("mnist", datasets.REGISTRY, "the data set")
    n_train: int | None = _count(None, "training images, a random subset", null="for all")
    n_test: int | None = _count(None, "test images, a fixed random subset", null="for all")
    n_validation: int = _key(
        0,
        "a whole number from 0",
        lambda v: type(v) is int and v >= 0,
        "images held out of the training files, with their true labels, for choices of an epoch or a setting; `n_train: null` is "
        "then all others",
    )
    crop: int | None = _count(
        None,
        "pixels per side of the middle of an image, to which images are cut (Zhang et al.: 28 of CIFAR-10's 32)",
        null="for all of it",
    )
    image_side: int | None = _count(
        None,
        "pixels per side, to which images are averaged down: each new pixel is the mean of the area that it covers, as a byte",
        null="for all pixels",
    )
    subset: str = _choice(
        "random",
        SUBSETS,
        "training images: drawn at random by each seed, or the first of the files, as books and papers split them; those held out "
        "are then the last, and a sample for curves (`evaluation_images`) is the first of them",
    )
    subset_seed: int | None = _seed_of_its_own("seed of the training subset")
    share: float = _number(
        1.0,
        0,
        1,
        about="share of the training images that a network is trained on, drawn by each seed; their labels are treated together, so "
        "that with `subset_seed` and `labels.seed` fixed, all seeds draw from the same labelled images",
        open_low=True,
    )
    folder: str | None = _key(
        None, "a folder, or null", lambda v: True, "where the data set's files lie on this machine", recipe=False
    )


@dataclass
class Inputs:
    """The treatment of the images."""

    kind: str = _choice(
        "natural",
        INPUTS,
        "treatment of the images: shuffled_pixels (one permutation for all), random_pixels (a permutation for each image), "
        "gaussian (noise with the mean and standard deviation of the pixels)",
    )
    fraction: float = _number(
        1.0, 0, 1, about="share of the training images that are treated; below 1 the test images stay natural"
    )
    seed: int | None = _seed_of_its_own("seed of the treatment")
    scaling: str = _choice(
        "unit",
        SCALINGS,
        "of the pixels after that: unit (black 0, white 1), per_image (each image to mean 0 and standard deviation 1, as Zhang et al.), "
        "global (by mean and standard deviation of all training pixels)",
    )


@dataclass
class Labels:
    """The treatment of the training labels; test labels are unchanged."""

    kind: str = _choice(
        "true",
        LABEL_KINDS,
        "treatment of the training labels: shuffled (a permutation), random (redrawn uniformly), symmetric (another class, all equally "
        "likely), pair (the next class), similar (the class whose mean image is nearest), fresh (as random, but redrawn whenever an "
        "image is presented)",
    )
    fraction: float = _number(
        1.0, 0, 1, about="share of the labels that are permuted, or probability of being replaced"
    )
    seed: int | None = _seed_of_its_own("seed of the treatment")
    stratified: bool = _key(
        False,
        "true or false",
        lambda v: isinstance(v, bool),
        "of a shuffle: true gives every class every label equally often (but for one or two images)",
    )
    file: str | None = _key(
        None,
        "a CSV or NumPy file, or null",
        lambda v: v is None or isinstance(v, str),
        "labels to start from instead of the data set's: rows of an index into its training files and a label, or a label for each "
        "image in their order; a recipe has the hash of what the file says (memo.data.label_files)",
    )


@dataclass
class Model:
    """A fully connected network; the number of classes is that of the data."""

    widths: list[int] = _key(
        [64, 64],
        f"a list of at most {MOST_LAYERS} hidden widths, each a whole number from 1 to {WIDEST}",
        lambda v: len(v) <= MOST_LAYERS and all(type(w) is int and 1 <= w <= WIDEST for w in v),
        "units of each hidden layer",
    )
    activation: str = _choice("relu", ACTIVATIONS, "of the hidden units")
    init: str = _choice("he", INITIALISERS, "distribution of the initial weights")
    receptive_field: int | None = _count(
        None,
        "side in pixels of the square patch that a unit of the first layer sees, patches spread over the image",
        null="for all pixels",
    )


@dataclass
class Optimizer:
    """The optimiser and the schedule of its learning rate."""

    name: str = _choice("sgd", OPTIMIZERS, "the optimiser")
    learning_rate: float = _number(0.1, 0, about="of the first step", open_low=True)
    momentum: float = _key(
        0.9, "a number from 0 to below 1", lambda v: 0 <= _as_float32(v) < 1, "of SGD; the beta 1 of Adam"
    )
    weight_decay: float = _number(0.0, 0, about="L2 penalty on the weights, not on the biases, in the gradient")
    schedule: str = _choice(
        "constant",
        SCHEDULES,
        "of the learning rate: exponential (a factor `decay` per epoch), step (that factor once, for the last third of training)",
    )
    decay: float = _number(0.95, 0, 1, about="the factor of those schedules", open_low=True)
    options: dict[str, float] = _key(
        {},
        "finite numbers by the names that this optimiser has (memo.networks.optimizers)",
        lambda v: all(math.isfinite(_as_float32(number)) for number in v.values()),
        "hyper-parameters that only this optimiser has, as in `+optimizer.options.b2=0.99`",
    )


def _rate(about: str) -> Any:
    return _key(0.0, "a number from 0 to below 1", lambda v: 0 <= _as_float32(v) < 1, about)


@dataclass
class Regularization:
    """Disturbances of training, absent in evaluation, and additions to its loss."""

    dropout: float = _rate("probability that an activation of a hidden layer is dropped, the others scaled up")
    input_dropout: float = _rate("probability that a pixel is dropped, the others scaled up")
    hidden_noise: float = _number(0.0, 0, about="standard deviation of Gaussian noise on hidden activations")
    input_noise: float = _number(0.0, 0, about="standard deviation of Gaussian noise on pixels; white is 1")
    noise_images: float = _number(
        0.0,
        0,
        10,
        about="uniform-noise images per training image in each minibatch, with the uniform distribution as target",
    )
    adversarial: float = _number(
        0.0, 0, 1, about="weight of the loss on adversarial images (fast gradient sign method)"
    )
    adversarial_radius: float = _number(
        0.1, 0, about="by how much each pixel of those is moved; white is 1", open_low=True
    )
    early_learning: float = _number(
        0.0,
        0,
        about="weight of the early-learning regulariser (Liu et al. 2020), which draws a network's answer to each training image to "
        "the moving average of its earlier answers to it",
    )
    early_learning_memory: float = _key(
        0.7,
        "a number from 0 to below 1",
        lambda v: 0 <= _as_float32(v) < 1,
        "share of that average that is kept when an image is presented again",
    )


@dataclass
class Recipe:
    """Everything that defines a training run except its seed."""

    dataset: Dataset = field(default_factory=Dataset)
    inputs: Inputs = field(default_factory=Inputs)
    labels: Labels = field(default_factory=Labels)
    model: Model = field(default_factory=Model)
    loss: str = _choice(
        "cross_entropy",
        LOSSES,
        "cross_entropy and generalised_cross_entropy (Zhang and Sabuncu, q = 0.7) follow a softmax; squared_error (quadratic) and "
        "sigmoid_cross_entropy are Nielsen's costs on sigmoid outputs; linear_squared_error is that of the outputs themselves, "
        "which are no probabilities: confidence is then NaN",
    )
    optimizer: Optimizer = field(default_factory=Optimizer)
    regularization: Regularization = field(default_factory=Regularization)
    batch_size: int = _count(128, "images per minibatch")
    epochs: int = _count(100, "of training, at most")
    stop_at_train_accuracy: float | None = _key(
        1.0,
        "a number above 0 to 1, or null to never stop early",
        lambda v: v is None or 0 < v <= 1,
        "training accuracy at which a network is finished",
    )
    batch_order: str = _choice(
        "per_seed",
        ("per_seed", "shared"),
        "shared: every seed sees the same images in the same order (docs/performance.md)",
    )
    evaluations: int = _count(
        64,
        "measurements of loss and accuracy along training, on all training and test images or on `evaluation_images` of them",
        low=2,
        high=MOST_EVALUATIONS,
    )
    spacing: str = _choice(
        "log",
        ("log", "log_steps", "epochs"),
        "of the evaluations: log (dense in the first epoch), log_steps (dense from the first step on), or at the ends of epochs",
    )
    evaluation_images: int | None = _count(
        None,
        "training images, and as many test images, that learning curves are measured on: a random sample for each seed, and one "
        "fixed sample of the test images; final values and stopping are of all images",
        null="for all",
    )


@dataclass
class Execution:
    """Execution on a machine; these keys change results within rounding at most. Null chooses for the machine."""

    pack_size: int | None = _count(None, "networks that share each minibatch", null="to choose", recipe=False)
    packs: int | None = _count(None, "packs that step together", null="to choose", recipe=False)
    memory_gb: float | None = _key(
        None,
        "a number of gigabytes above 0, at most 1e6, or null to choose",
        lambda v: v is None or 0 < v <= 1e6,
        "memory for networks in training",
        recipe=False,
    )
    cores: int | None = _count(None, "CPU cores to train on", null="for all that this process may use", recipe=False)
    checkpoint_seconds: float = _key(
        10.0, "a number of seconds from 0", lambda v: v >= 0, "training that a crash may cost", recipe=False
    )


@dataclass
class Tracking:
    """The tracker to which the curves of finished trials are also sent (memo.storage.trackers); null for none."""

    # The trackers are listed in memo.storage.trackers, which reads tables and so is not part of the core.
    to: str | None = _key(
        None,
        "the name of a tracker, such as mlflow, or null",
        lambda v: True,
        "where curves are sent as well (docs/trackers.md)",
        recipe=False,
    )
    project: str | None = _key(
        None, "a name, or null for the experiment's", lambda v: v is None or v, "the tracker's project", recipe=False
    )
    uri: str | None = _key(
        None,
        "a folder or URI, or null for the tracker's own",
        lambda v: True,
        "where the tracker keeps it",
        recipe=False,
    )


@dataclass
class Experiment:
    """The comparisons of an experiment, and the requirements of its analysis: the keys below `experiment` in conf/experiment/.

    It compares the recipes of a `sweep`, `arms` (memo.commands.arms), or both. All that follows is checked before anything
    trains, so that no command line asks for what the analysis could not read.
    """

    name: str = ""  # as in `python -m experiments.<name>`
    question: str = ""  # in one sentence, for its report and the suite's
    takes: str = ""  # how long at this scale, such as "about 8 minutes on two cores"
    arms: dict[str, Any] = field(default_factory=dict)  # by name, what each changes
    sweep: dict[str, Any] = field(default_factory=dict)  # a list of values for each key: every combination
    reads: list[str] | None = None  # the arms of its analysis: exactly these
    axes: list[str] | None = None  # the keys that its analysis tells apart: all are swept, and no other; null: any
    compares: dict[str, list[str]] = field(
        default_factory=dict
    )  # values that a swept key must have, no more and no fewer
    fixed: dict[str, Any] = field(default_factory=dict)  # values that a recipe's keys must keep
    probes: list[str] = field(default_factory=list)  # those that its analysis reads
    settings: dict[str, Any] = field(default_factory=dict)  # its own: of what it measures beside trained networks


@dataclass
class Config(Recipe):
    """A recipe and the options of a command."""

    seed: int = _key(0, "a whole number from 0 to 2147483647", lambda v: 0 <= v < 2**31, "the first seed", recipe=False)
    seeds: int = _count(
        1, "trials of the recipe, with consecutive seeds, trained side by side", high=MOST_SEEDS, recipe=False
    )
    probes: list[str] = _key(
        ["confidence"],
        _OneOf(PROBES, "a list of ", ", each once, and also once as name@n: at n evaluations (from 2) along training"),
        known,
        "measurements on the networks; one asked for as `confidence@20` is stored in a table `confidence_along`",
        recipe=False,
    )
    execution: Execution = field(default_factory=Execution)
    tracking: Tracking = field(default_factory=Tracking)
    plan: bool = _key(
        False, "true or false", lambda v: True, "true prints what would train, and trains nothing", recipe=False
    )
    report: bool = _key(
        False,
        "true or false",
        lambda v: True,
        "true compares the networks of the command on a page, report.html in the folder of the sweep (or of the run)",
        recipe=False,
    )
    scale: str = _key(
        "standard", "quick, standard, reference or paper", lambda v: True, "the size of an experiment", recipe=False
    )
    experiment: Experiment = field(default_factory=Experiment, metadata={"recipe": False})


@dataclass(frozen=True)
class Trial:
    """One network: a checked recipe and a seed; Refusal for a seed that is none."""

    recipe: Recipe
    seed: int

    def __post_init__(self) -> None:
        if type(self.seed) is not int:
            object.__setattr__(self, "seed", _plain(self.seed, int))
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise Refusal(f"seed is {self.seed}; allowed is a whole number from 0 to {2**31 - 1}.")

    @cached_property
    def id(self) -> str:
        """Return the hash of recipe and seed, 16 hexadecimal digits: the same on every machine."""
        return _digest({**flatten(self.recipe), "seed": self.seed})


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the recipe keys of a config dataclass under their dotted names, in the order of declaration."""
    flat: dict[str, Any] = {}
    for key in fields(config):
        value = getattr(config, key.name)
        if not key.metadata.get("recipe", True):
            continue
        if is_dataclass(value):
            flat |= flatten(value, f"{prefix}{key.name}.")
        elif isinstance(value, dict):
            flat |= {f"{prefix}{key.name}.{name}": inner for name, inner in value.items()}
        else:
            flat[prefix + key.name] = value
    return flat


def is_recipe_key(name: str) -> bool:
    """Return whether recipes have a key of this dotted name."""
    return name in _recipe_keys() or name.startswith(f"{OPTIONS}.")


@cache
def _recipe_keys() -> tuple[str, ...]:
    return tuple(flatten(Recipe()))


def unflatten(flat: Mapping[str, Any]) -> Recipe:
    """Return the recipe with these keys by dotted name, unchecked; missing keys have their default.

    Raises Refusal for a key that no recipe has.
    """
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        if not is_recipe_key(name):
            raise Refusal(unknown_key(name, _recipe_keys(), "a recipe"))
        *groups, key = name.split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[key] = value
    return typed(Recipe, tree)


def typed(kind: type[Typed], values: Mapping[str, Any], where: str = "") -> Typed:
    """Return the dataclass `kind` of these values by name, groups likewise; missing values have their default.

    Raises Refusal for a name that `kind` does not have; `where` is the dotted name of the group, for its sentence.
    """
    known: dict[str, Any] = {key.name: key.type for key in fields(kind)}  # type: ignore[arg-type]
    settled = {}
    for name, value in values.items():
        full = f"{where}.{name}" if where else str(name)
        if name not in known:
            raise Refusal(unknown_key(full, list(known), where or "the top level"))
        settled[name] = typed(known[name], value, full) if is_dataclass(known[name]) else value
    return kind(**settled)


def unknown_key(full: str, known: Collection[str], owner: str) -> str:
    """Return the sentence on a dotted key that its `owner` does not have, which has the `known` ones."""
    prefix = f"{owner}." if full.startswith(f"{owner}.") else ""
    close = difflib.get_close_matches(full.removeprefix(prefix), known, n=1)
    hint = f" Did you mean {prefix}{close[0]}?" if close else ""
    return f"{full} is not a key; {owner} has {', '.join(known)}.{hint}"


def recipe_hash(recipe: Recipe) -> str:
    """Return the hash of a checked recipe, 16 hexadecimal digits."""
    return _digest(flatten(recipe))


_PLACE = 2**63  # stands for a seed in what is digested


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_digested(content).encode()).hexdigest()[:16]


def _digested(content: Mapping[str, Any]) -> str:
    """Return the text that identifies keys with their values."""
    images = trained_images(content["dataset.name"], content["dataset.n_train"], content["dataset.share"])
    protocol = PROTOCOL if images % content["batch_size"] else 1
    content = {name: value for name, value in content.items() if (name, value) not in ADDED.items()}
    return json.dumps({**content, "protocol": protocol}, sort_keys=True)


def trained_images(name: str, n_train: int | None, share: float) -> int:
    """Return how many images a network is trained on: a share of the `n_train` (None: all) of a data set."""
    return round(share * (n_train or datasets.shape(name).train_images))


def describe(recipe: Recipe) -> str:
    """Return a short name for people and folders, such as `mnist-64x64-shuffled`."""
    widths = describe_widths(recipe.model.widths)
    sizes = {"crop": recipe.dataset.crop, "px": recipe.dataset.image_side}
    parts = [
        recipe.dataset.name,
        *(f"{size}{name}" for name, size in sizes.items() if size),
        widths,
        recipe.labels.kind,
    ]
    if recipe.labels.kind != "true" and recipe.labels.fraction < 1:
        parts.append(f"{recipe.labels.fraction:g}")
    if recipe.inputs.kind != "natural":
        parts.append(recipe.inputs.kind)
        if recipe.inputs.fraction < 1:
            parts.append(f"{recipe.inputs.fraction:g}")
    if recipe.inputs.scaling != "unit":
        parts.append(recipe.inputs.scaling)
    if recipe.dataset.subset != "random":
        parts.append(recipe.dataset.subset)
    if recipe.dataset.share < 1:
        parts.append(f"share{recipe.dataset.share:g}")
    return "-".join(parts)


def run_name(recipe: Recipe) -> str:
    """Return the name of a recipe's run folder: readable, and unique by the recipe's hash."""
    return f"{describe(recipe)}-{recipe_hash(recipe)[:8]}"


def check(config: Any, prefix: str = "") -> None:
    """Raise a Refusal that names the first key with a value out of range and says what is allowed."""
    for key in fields(config):
        value = getattr(config, key.name)
        if is_dataclass(value):
            check(value, f"{prefix}{key.name}.")
        elif "check" in key.metadata and not _passes(key.metadata["check"], value):
            raise Refusal(f"{prefix}{key.name} is {value}{_rounded(value)}; allowed is {key.metadata['allowed']}.")


def _rounded(value: Any) -> str:
    """Return what float32 makes of a number that is out of range in it only."""
    if isinstance(value, float) and math.isfinite(value) and (rounded := _as_float32(value)) in (0, 1, math.inf):
        return f" (in float32 {rounded:g})" if rounded != value else ""
    return ""


def _passes(check: Callable[[Any], bool], value: Any) -> bool:
    try:
        return check(value)
    except (TypeError, ValueError):  # a value of another type; Hydra has refused those before
        return False


def _as_keys(given: Any) -> dict[str, Any]:
    """Return the recipe keys of a mapping or of a row of the table of trials, with NumPy's and pandas' values as Python's."""
    items = dict(given.items())
    if (
        "trial" in items
    ):  # a row: results stand beside its recipe, and options that others of the table have are missing
        items = {name: value for name, value in items.items() if is_recipe_key(name)}
        items = {name: value for name, value in items.items() if name in _recipe_keys() or not _missing(value)}
    kinds = _kinds(Recipe)
    return {name: _plain(value, kinds.get(name, float)) for name, value in items.items()}


def _kinds(kind: Any, prefix: str = "") -> dict[str, Any]:
    """Return the type of each recipe key by its dotted name."""
    found: dict[str, Any] = {}
    for key in fields(kind):
        full = f"{prefix}{key.name}"
        found |= _kinds(key.type, f"{full}.") if is_dataclass(key.type) else {full: key.type}
    return found


def _missing(value: Any) -> bool:
    return type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any, kind: Any) -> Any:
    """Return a value of NumPy or pandas as Python's, None for a missing one; a whole float as an int where that is due."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (np.ndarray, tuple, list)):
        # A list of Python's own numbers is what it says: [8.5] and [8.0] are no widths.
        own = [isinstance(value, list) and not isinstance(each, np.generic) for each in value]
        return [each if plain else _plain(each, int) for each, plain in zip(value, own)]
    if isinstance(value, np.generic):
        value = value.item()
    if _missing(value):  # a NaN given as a number is refused as that
        return value if kind is float and isinstance(value, float) else None
    if kind in (int, int | None) and isinstance(value, float) and value.is_integer():
        return int(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def make_recipe(config: Recipe | Mapping[str, Any]) -> Recipe:
    """Return the checked, canonical recipe of a config: equal recipes compare equal, however they were written.

    `config` may be the keys by dotted name, as on the command line, such as
    `{"labels.kind": "shuffled", "model.widths": [256, 256]}`, or a row of the table of trials; the others have the
    defaults of `Recipe`.

    Raises:
        Refusal: a key that no recipe has, a value out of range, more images than the data set has, or a batch larger than the training set.
    """
    if not isinstance(config, Recipe):
        config = unflatten(_as_keys(config))
    # `labels.kind=true` reaches a string key as the boolean True, and so as 'True'.
    labels = replace(config.labels, kind=str(config.labels.kind).lower())
    recipe = Recipe(**{key.name: getattr(config, key.name) for key in fields(Recipe)} | {"labels": labels})
    check(recipe)
    recipe = _canonical(recipe)
    _check_together(recipe)
    return recipe


def _check_together(recipe: Recipe) -> None:
    """Raise Refusal where the values of a canonical recipe do not fit together."""
    _check_images(recipe)
    _check_pixels(recipe)
    _check_training(recipe)


def _check_images(recipe: Recipe) -> None:
    """Raise Refusal where the data set has fewer images than are asked for, or a minibatch more than are trained on."""
    shape, asked = datasets.shape(recipe.dataset.name), recipe.dataset
    for name, wanted, available in (
        ("n_train", asked.n_train, shape.train_images),
        ("n_test", asked.n_test, shape.test_images),
    ):
        if wanted is not None and wanted > available:
            raise Refusal(f"dataset.{name} is {wanted}; {asked.name} has {available} such images.")
    n_train = asked.n_train or shape.train_images
    if n_train + asked.n_validation > shape.train_images:
        raise Refusal(
            f"dataset.n_validation is {asked.n_validation}; beside {n_train} of {asked.name}'s {shape.train_images} "
            f"training images (dataset.n_train) allowed is 0 to {shape.train_images - n_train}."
        )
    if asked.subset == "first" and asked.subset_seed is not None:
        raise Refusal(
            f"dataset.subset_seed is {asked.subset_seed}; beside dataset.subset=first, which draws nothing, allowed is null."
        )
    trained = trained_images(asked.name, n_train, asked.share)
    if recipe.batch_size > trained:
        own = f" that dataset.share={recipe.dataset.share:g} leaves" if recipe.dataset.share < 1 else ""
        raise Refusal(f"batch_size is {recipe.batch_size}; allowed is 1 to the {trained} training images{own}.")


def _check_pixels(recipe: Recipe) -> None:
    """Raise Refusal where images have fewer pixels than they are cut to, or than a unit of the first layer sees."""
    shape, asked, patch = datasets.shape(recipe.dataset.name), recipe.dataset, recipe.model.receptive_field
    cut = asked.crop or shape.side
    if cut > shape.side:
        raise Refusal(f"dataset.crop is {cut}; allowed is 1 to {shape.side}, or null for all of an image.")
    side = asked.image_side or cut
    if side > cut:
        raise Refusal(f"dataset.image_side is {side}; allowed is 1 to {cut}, or null for all pixels.")
    if patch is not None and patch > side:
        raise Refusal(
            f"model.receptive_field is {patch}; allowed is 1 to the {side} pixels of a side, or null for all."
        )
    if patch is not None and shape.channels > 1:
        raise Refusal(
            f"model.receptive_field is {patch}; it needs images of one channel, {asked.name} has {shape.channels}."
        )


def _check_training(recipe: Recipe) -> None:
    """Raise Refusal where treatments, disturbances and the length of training do not fit together."""
    for name in ("input_noise", "noise_images", "adversarial"):  # their strengths are on the scale where white is 1
        strength = getattr(recipe.regularization, name)
        if strength > 0 and recipe.inputs.scaling != "unit":
            raise Refusal(
                f"regularization.{name} is {strength}; with inputs.scaling={recipe.inputs.scaling} allowed is 0."
            )
    if recipe.regularization.early_learning > 0:
        _check_early_learning(recipe)
    if recipe.labels.stratified and recipe.labels.kind != "shuffled":
        raise Refusal(f"labels.stratified is true; with labels.kind={recipe.labels.kind} allowed is false.")
    noise = recipe.regularization.noise_images
    if noise > 0 and round(noise * recipe.batch_size) == 0:
        raise Refusal(
            f"regularization.noise_images is {noise}, no whole image in a batch of {recipe.batch_size}; "
            f"allowed is 0, or from {1 / recipe.batch_size:g}."
        )
    trained = trained_images(recipe.dataset.name, recipe.dataset.n_train, recipe.dataset.share)
    steps = math.ceil(recipe.epochs * trained / recipe.batch_size)
    if steps >= 2**31:
        raise Refusal(f"epochs is {recipe.epochs}, which is {steps} steps; allowed are fewer than {2**31} steps.")


def _check_early_learning(recipe: Recipe) -> None:
    """Raise Refusal where the early-learning regulariser does not fit with the loss, or with images that are not of the training set."""
    asked, weight = recipe.regularization, recipe.regularization.early_learning
    if not LOSSES[recipe.loss].of_softmax:
        allowed = ", ".join(name for name, loss in LOSSES.items() if loss.of_softmax)
        raise Refusal(f"loss is {recipe.loss}; with regularization.early_learning={weight} allowed is {allowed}.")
    for name in ("noise_images", "adversarial"):
        if (strength := getattr(asked, name)) > 0:
            raise Refusal(
                f"regularization.{name} is {strength}; with regularization.early_learning={weight} allowed is 0."
            )


def _canonical(recipe: Recipe) -> Recipe:
    """Return the recipe in the canonical form that is hashed."""
    labels, inputs = replace(recipe.labels), replace(recipe.inputs, fraction=float(recipe.inputs.fraction))
    # True labels have no fraction; one stored value makes all spellings of the recipe the same trial.
    labels.fraction = 0.0 if labels.kind == "true" else float(labels.fraction)
    labels.seed = None if labels.kind == "true" else labels.seed
    labels.stratified = labels.stratified and labels.kind != "true"
    labels.file = None if labels.file is None else label_files.keep(labels.file, recipe.dataset.name)
    if inputs.kind == "natural" or inputs.fraction == 0:
        inputs = Inputs(scaling=inputs.scaling)
    stop = recipe.stop_at_train_accuracy
    strengths = {key.name: float(getattr(recipe.regularization, key.name)) for key in fields(Regularization)}
    if strengths["adversarial"] == 0:
        strengths["adversarial_radius"] = Regularization.adversarial_radius
    if strengths["early_learning"] == 0:
        strengths["early_learning_memory"] = Regularization.early_learning_memory
    shape, dataset, model = datasets.shape(recipe.dataset.name), replace(recipe.dataset), replace(recipe.model)
    model.widths = [int(width) for width in model.widths]
    dataset.crop = None if dataset.crop == shape.side else dataset.crop
    dataset.image_side = None if dataset.image_side == (dataset.crop or shape.side) else dataset.image_side
    if model.receptive_field == (dataset.image_side or dataset.crop or shape.side):
        model.receptive_field = None
    if dataset.n_train is None and 0 < dataset.n_validation < shape.train_images:
        dataset.n_train = shape.train_images - dataset.n_validation
    dataset.n_train = None if dataset.n_train == shape.train_images else dataset.n_train
    dataset.n_test = None if dataset.n_test == shape.test_images else dataset.n_test
    dataset.share = float(dataset.share)
    most = max(dataset.n_train or shape.train_images, dataset.n_test or shape.test_images)
    return replace(
        recipe,
        evaluation_images=None if (recipe.evaluation_images or most) >= most else recipe.evaluation_images,
        inputs=inputs,
        labels=labels,
        optimizer=_canonical_optimizer(recipe.optimizer),
        model=model,
        dataset=dataset,
        regularization=Regularization(**strengths),
        stop_at_train_accuracy=None if stop is None else float(stop),
    )


def _canonical_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return an optimiser with its numbers as floats and all of its options; Refusal for an option that it lacks."""
    numbers = {key.name: float(getattr(optimizer, key.name)) for key in fields(Optimizer) if key.type is float}
    options = OPTIMIZERS[optimizer.name].options
    for name in optimizer.options:
        if name not in options:
            raise Refusal(
                f"{OPTIONS}.{name} is not an option of {optimizer.name}, which has {', '.join(options) or 'none'}."
            )
    given = {name: float(optimizer.options.get(name, default)) for name, default in options.items()}
    return Optimizer(**vars(optimizer) | numbers | {"options": given})


def make_trials(config: Config) -> list[Trial]:
    """Return the trials of a config: its recipe with seeds `seed`, `seed` + 1, ...; raises Refusal."""
    recipe = make_recipe(config)
    check(replace(config, **{key.name: getattr(recipe, key.name) for key in fields(Recipe)}))
    shape, side = datasets.shape(recipe.dataset.name), recipe.dataset.image_side or recipe.dataset.crop
    if (side == 1 or shape.channels > 1) and any(name.startswith("first_layer") for name in config.probes):
        raise Refusal("probes has first_layer, which needs images of one channel and at least 2 pixels per side.")
    if config.seed + config.seeds > 2**31:
        raise Refusal(f"seeds is {config.seeds}; from seed {config.seed} on, allowed is 1 to {2**31 - config.seed}.")
    if (recipe.dataset.n_test or 2) < 2 and any(name.startswith("calibration") for name in config.probes):
        raise Refusal("probes has calibration, which needs at least 2 test images: dataset.n_test is 1.")
    trials = [Trial(recipe, seed) for seed in range(config.seed, config.seed + config.seeds)]
    before, after = _digested({**flatten(recipe), "seed": _PLACE}).split(str(_PLACE))
    for trial in trials:  # all differ in the seed only: a hundredth of the time of one digest each
        trial.__dict__["id"] = hashlib.sha256(f"{before}{trial.seed}{after}".encode()).hexdigest()[:16]
    return trials
