"""What differs in a sweep of your own? One page for any folder of runs.

    python -m experiments.compare results/runs                       results/runs/report.html, figures/, tables/
    python -m experiments.compare results/runs out=page              the same elsewhere
    python -m experiments.compare results/runs x=model.widths hue=labels.kind rows=optimizer.learning_rate
    python -m experiments.compare results/runs model.widths=[64],[256] time=epoch    of some of the networks

Reads any tree of run folders, finds the recipe keys that vary and which seeds are paired, and trains nothing. x, hue, rows,
columns and pair name keys that vary, and are chosen where they are not given; a recipe key with values keeps the networks
that have them.
"""

import difflib
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from memo.commands import starting
from memo.comparison import comparing, page
from memo.comparison.keys import DIGITS, ROLES, filled, text
from memo.config import Recipe, flatten, is_recipe_key
from memo.errors import Refusal
from memo.storage import run_folders
from memo.storage.run_folders import Select

OPTIONS = (*ROLES, "time", "out")


def read(words: Sequence[str]) -> tuple[Path, dict[str, str], dict[str, set[str]]]:
    """Return the folder, the options, and by recipe key the values that are kept; raises Refusal."""
    folders = [word for word in words if "=" not in word]
    if len(folders) != 1 or folders[0].startswith("-"):
        raise Refusal(f"{shlex.join(words) or 'Nothing'} names {len(folders)} folders; allowed is one, and key=value.")
    options: dict[str, str] = {}
    kept: dict[str, set[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            continue
        if name in OPTIONS and value:
            options[name] = value
        elif is_recipe_key(name):
            kept[name] = _values(word)
        else:
            close = difflib.get_close_matches(name, [*OPTIONS, *flatten(Recipe())], n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise Refusal(f"{word} is not understood; allowed are {', '.join(OPTIONS)} and keys of a recipe.{hint}")
    return Path(folders[0]), options, kept


def _values(word: str) -> set[str]:
    """Return the values of a recipe key in Hydra's spelling, as the texts of levels."""
    try:
        override = OverridesParser.create().parse_override(word)
        values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    except HydraException as error:
        raise Refusal(f"{word} cannot be read: {str(error).splitlines()[0]}.") from None
    return {text(_plain(value)) for value in values}


def _plain(value: object) -> object:
    return value.text if hasattr(value, "text") else value  # a quoted string


def select(kept: Mapping[str, set[str]]) -> Select:
    """Return the function that selects the trials with these values."""

    def selected(trials: pd.DataFrame) -> pd.Series:
        keep = pd.Series(True, trials.index)
        for name, values in kept.items():
            known = filled(trials, name) if name in trials else pd.Series("", trials.index)
            found = sum(known.map(partial(text, digits=digits)).isin(values) for digits in DIGITS) > 0
            if not (found & keep).any():
                raise Refusal(
                    f"{name} is {', '.join(sorted(values))} in no network; there are {', '.join(sorted(set(known.map(text))))}."
                )
            keep &= found
        return keep

    return selected


def main() -> None:
    """Write the page and say what was found; refuse in one sentence."""
    words = sys.argv[1:]
    if not words or {"-h", "--help"} & set(words):
        print(__doc__ or "python -m experiments.compare FOLDER")
        sys.exit(0 if words else 2)
    try:
        source, options, kept = read(words)
        out = Path(options.pop("out", source))
        tables = run_folders.load(source, select(kept), comparing.READ)
        run_folders.require_writable(out)
        comparison = comparing.compare(tables, **options)
        command = shlex.join(["python", "-m", "experiments.compare", *words])
        page.write(comparison, source, out, run_folders.provenance(source), command)
    except Refusal as refusal:
        sys.exit(f"Refused: {refusal}")
    with starting.quiet_when_unread():
        print(
            f"{out / 'report.html'}: {len(tables.trials)} networks, {', '.join(comparison.layout.keys) or 'one recipe'}"
        )


if __name__ == "__main__":
    main()
