"""Chapters: the parts of an experiment's report, and the text templates with their prose.

    measure(evidence) ──> tables ──> answer(tables, answers) ──> draw(evidence, tables, answers) ──> Chapter

Prose lies in `text/<chapter>.j2` beside an experiment's code, in blocks: <figure>_title, <figure>_caption and
<figure>_alt of each figure, and blocks of findings and methods by any name. Texts may hold HTML. Words that depend on a
number are chosen in the template by its interval (`trend`), never typed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
import pandas as pd

from memo.reporting.report import Figure, Shown, number, with_interval
from memo.statistics.intervals import Estimate


@dataclass
class Chapter:
    """The contribution of one chapter to the report; its title is that of its section."""

    title: str = ""
    findings: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)


class Text:
    """The prose of one chapter: the blocks of `text/<chapter>.j2` in the package of an experiment.

    Filters: `number`, `percent` (0.25 -> 25 %), `interval` (an estimate with its interval and n; `interval(count=False)`
    without n), `trend` (a word by where an interval lies), `joined` (a, b and c), `counted` (3 | counted("network")).
    A missing value in a block is an error. Macros that blocks share lie in `text/macros.j2`, and are imported in the
    blocks that use them.
    """

    def __init__(self, package: str, chapter: str):
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader(package, "text"), undefined=jinja2.StrictUndefined, autoescape=False
        )
        environment.filters |= {
            "number": number,
            "percent": percent,
            "interval": with_interval,
            "trend": trend,
            "joined": joined,
            "counted": counted,
        }
        self._template = environment.get_template(f"{chapter}.j2")

    @property
    def blocks(self) -> list[str]:
        """The names of all blocks, in their order."""
        return list(self._template.blocks)

    def block(self, name: str, **values: Any) -> str:
        """Return a block with its values filled in, as one paragraph; KeyError for a block that is not there."""
        context = self._template.new_context(values)
        return " ".join("".join(self._template.blocks[name](context)).split())

    def figure(self, file: str, **values: Any) -> Figure:
        """Return a figure drawn into `file` (as memo.reporting.figures.save returns it) with its title, caption and alt."""
        stem = file.rpartition("/")[2].partition(".")[0]
        return Figure(file, *(self.block(f"{stem}_{part}", **values) for part in ("title", "caption", "alt")))


def trend(estimate: Estimate | None, rising: str, falling: str, flat: str, null: float = 0.0) -> str:
    """Return the word for where an estimate's whole interval lies: above `null`, below it, or on both sides (or nowhere)."""
    if estimate is not None and estimate.low > null:
        return rising
    if estimate is not None and estimate.high < null:
        return falling
    return flat


def percent(share: float, digits: int = 3) -> str:
    """Return a share as per cent, such as "25 %" for 0.25."""
    return f"{100 * share:.{digits}g} %"


def joined(parts: Sequence[str], word: str = "and") -> str:
    """Return texts as an enumeration: "a, b and c"."""
    before, last = list(parts[:-1]), "".join(parts[-1:])
    return f"{', '.join(before)} {word} {last}" if before else last


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: "1 network", "2 networks", "no networks"."""
    return f"{f'{count:,}' if count else 'no'} {noun if count == 1 else plural or noun + 's'}"


def networks(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one row per network (and arm) from chapters' tables of networks: those of one trial, arm and seed joined.

    Each part has the columns trial, arm, seed and some scalars. Raises ValueError where two parts measure the same column
    for the same network: then one of them is to read it from the other.
    """
    keys = ["trial", "arm", "seed"]
    joint = pd.DataFrame(columns=keys)
    for part in parts:
        if part.empty:  # nothing of the chapter's was trained to the end; its columns stay
            joint = joint.reindex(columns=joint.columns.union(part.columns, sort=False))
            continue
        shared = (set(part.columns) & set(joint.columns)) - set(keys)
        if part.duplicated(keys).any():
            raise ValueError("A table of networks has one row per trial and arm.")
        # The same column for other networks: their rows are added; for the same ones, it would stand twice.
        both = joint.merge(part[keys], on=keys)
        if shared and both[sorted(shared)].notna().any(axis=None):
            raise ValueError(f"Two chapters measure {', '.join(sorted(shared))} of the same networks.")
        joint = part if joint.empty else _joined_rows(joint, part, keys)
    return joint.sort_values(["arm", "seed", "trial"], ignore_index=True) if len(joint) else joint


def _joined_rows(left: pd.DataFrame, right: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return left.set_index(keys).combine_first(right.set_index(keys)).reset_index()
