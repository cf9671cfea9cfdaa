"""What varies between networks, and the part that each of these keys plays on a page.

trials ──varying──> keys with ordered levels ──choose──> Layout: x, hue, rows, columns, pair
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from memo.config import Recipe, flatten, is_recipe_key
from memo.data import datasets
from memo.errors import Refusal
from memo.networks.mlp import describe_widths

ROLES = ("x", "hue", "rows", "columns", "pair")
# A key of more levels is no condition that another key could follow: in a random search every recipe has its own.
FEW = 12
DIGITS = (4, 6, 12)  # of a number: as few of these as tell the levels apart
_WORDS = {
    "dataset.name": "data set",
    "dataset.n_train": "training images",
    "dataset.n_test": "test images",
    "dataset.n_validation": "validation images",
    "dataset.subset": "training subset",
    "dataset.share": "share of them trained on",
    "optimizer.name": "optimiser",
    "regularization.noise_images": "noise images",
    "model.init": "initialisation",
}


@dataclass(frozen=True)
class Key:
    """A recipe key that varies: its levels as texts, in the order of an axis, and their places on it.

    Places are the numbers themselves where the key is `numeric`, else 0, 1, 2 ... The first level is what the others are
    compared with: the smallest number, or the default of a recipe.
    """

    name: str
    levels: tuple[str, ...]
    places: tuple[float, ...]
    numeric: bool

    @property
    def words(self) -> str:
        """What people call it: "learning rate" for optimizer.learning_rate, "labels" for labels.kind."""
        group, _, last = self.name.rpartition(".")
        if last in ("kind", "name"):
            last = group
        elif last in ("fraction", "seed"):
            last = f"{group} {last}"
        return _WORDS.get(self.name, last.replace("_", " "))

    def called(self, level: str) -> str:
        """Return a level with its key: "shuffled labels", "learning rate 0.1"."""
        return f"{level} {self.words}" if self.name.endswith(".kind") else f"{self.words} {level}"


@dataclass(frozen=True)
class Layout:
    """The keys that vary and the parts they play; a key of `tied` changes only together with another, and plays none."""

    keys: Mapping[str, Key]
    tied: Mapping[str, str]
    x: Key | None
    hue: Key | None
    rows: Key | None
    columns: Key | None
    pair: Key | None

    @property
    def facets(self) -> list[Key]:
        """The keys of rows and columns."""
        return [key for key in (self.rows, self.columns) if key]


def varying(trials: pd.DataFrame) -> tuple[dict[str, Key], pd.DataFrame]:
    """Return the recipe keys with more than one value, and a frame of them, like `trials`, ordered categories of texts."""
    found, columns = {}, {}
    for name in trials.columns[[is_recipe_key(name) for name in trials]]:
        codes, values = pd.factorize(filled(trials, name), use_na_sentinel=False)
        if len(values) > 1:
            key, order = _key(name, list(values))
            found[name] = key
            columns[name] = pd.Categorical.from_codes(order[codes], list(key.levels), ordered=True)
    return found, pd.DataFrame(columns, index=trials.index)


def text(value: Any, digits: int = 12) -> str:
    """Return the value of a recipe key as the text of a level, as it is written on a command line, but 64x64 for widths.

    That is null for None, true and false; numbers have so many digits.
    """
    if isinstance(value, (tuple, list)):
        return describe_widths(value)
    if value is None or pd.isna(value):
        return "null"
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def filled(trials: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of trials; numbers of images instead of null for all of them."""
    sizes = {"dataset.n_train": "train_images", "dataset.n_test": "test_images"}
    if name not in sizes or not trials[name].isna().any():
        return trials[name]
    known = {each: getattr(datasets.shape(each), sizes[name]) for each in datasets.REGISTRY}
    return trials[name].fillna(trials["dataset.name"].map(known).astype("Int64"))


def _key(name: str, values: list) -> tuple[Key, pd.Series]:
    """Return the key of these values, and by the position of a value its position among the levels."""
    numbers = [_number(value) for value in values]
    depths = {len(value) if isinstance(value, tuple) else 0 for value in values}
    numeric = None not in numbers and len(depths) == 1
    default = text(flatten(Recipe()).get(name))

    def place(at: int) -> tuple:
        if numeric:
            return (numbers[at],)
        value = values[at]
        return (len(value), value) if isinstance(value, tuple) else (text(value) != default, text(value))

    order = sorted(range(len(values)), key=place)
    spellings = [[text(values[at], digits) for at in order] for digits in DIGITS]
    levels = tuple(next((each for each in spellings if len(set(each)) == len(order)), spellings[-1]))
    places = tuple(float(numbers[at] or 0) for at in order) if numeric else tuple(map(float, range(len(levels))))
    return Key(name, levels, places, numeric), pd.Series(range(len(order)), order).sort_index().to_numpy()


def _number(value: Any) -> float | None:
    """Return the number that a value is, or the units of each of its equal layers."""
    if isinstance(value, tuple):
        return float(value[0]) if value and len(set(value)) == 1 else None
    return None if isinstance(value, (str, bool, np.bool_)) or pd.isna(value) else float(value)


def choose(keys: Mapping[str, Key], levels: pd.DataFrame, asked: Mapping[str, str]) -> Layout:
    """Return which key plays which part: those `asked` for, and for the others what suits most sweeps.

    `levels` is the frame of `varying`. Told apart by colour: the kind of labels or inputs, else the words with the fewest levels.
    Along x: the numbers with the most levels. What is left makes columns and rows, the fewest levels first.
    Raises Refusal for a key that does not vary, for one asked to play two parts, and where more keys vary than have a part.
    """
    for role, name in asked.items():
        if name not in keys:
            raise Refusal(_unknown(role, name, keys))
    taken = [name for role, name in asked.items() if role in ROLES[:4] and {role, name} != {"hue", asked.get("x")}]
    if twice := [name for name in taken if taken.count(name) > 1]:
        raise Refusal(f"{twice[0]} is asked to play two parts; allowed is one of {', '.join(ROLES[:4])}, or x and hue.")
    tied = _ties(levels[list(dict.fromkeys([*asked.values(), *keys]))].drop_duplicates())
    tied = {name: leader for name, leader in tied.items() if name not in asked.values()}
    parts: dict[str, Key | None] = {role: keys[asked[role]] if role in asked else None for role in ROLES}
    free = [key for key in keys.values() if key.name not in tied and key.name not in taken]
    orders: dict[str, Callable[[Key], Any]] = {
        "hue": _as_hue,
        "x": lambda key: (not key.numeric, -len(key.levels)),
        "columns": lambda key: len(key.levels),
        "rows": lambda key: len(key.levels),
    }
    for role, order in orders.items():
        if parts[role] is None and free:
            parts[role] = chosen = min(free, key=order)
            free.remove(chosen)
    parts["x"] = parts["x"] or parts["hue"]
    if free:
        count = len(free) + len({id(part) for part in parts.values() if part})
        hint = " ".join(f"{key.name}={key.levels[0]}" for key in free)
        raise Refusal(f"{count} keys vary, and a page tells four apart; hold some of them, as by {hint}.")
    used = {key.name: key for key in keys.values() if key.name not in tied}
    return Layout(used, tied, **parts | {"pair": parts["pair"] or parts["hue"]})


def _as_hue(key: Key) -> tuple:
    first = ("labels.kind", "inputs.kind")
    return (first.index(key.name) if key.name in first else len(first), key.numeric, len(key.levels))


def _ties(recipes: pd.DataFrame) -> dict[str, str]:
    """Return by key the one that it follows: every value of that one comes with a single value of it."""
    sizes = {name: recipes[name].nunique() for name in recipes}
    names, tied = list(recipes), {}
    for name in names:
        for leader in names:
            if leader == name or leader in tied:
                continue
            together = len(recipes[[leader, name]].drop_duplicates())
            follows, leads = together == sizes[leader], together == sizes[name]
            if follows and (names.index(leader) < names.index(name) if leads else sizes[leader] <= FEW):
                tied[name] = leader
                break
    return tied


def _unknown(role: str, name: str, keys: Mapping[str, Key]) -> str:
    close = difflib.get_close_matches(name, keys, n=1, cutoff=0.5)
    ending = [key for key in keys if key.endswith(f".{name}")]
    hint = f" Did you mean {(ending or close)[0]}?" if ending or close else ""
    what = "does not vary between these networks" if is_recipe_key(name) else "is not a key"
    return f"{role} is {name}, which {what}; those that vary are {', '.join(keys) or 'none'}.{hint}"
