"""The colours of every figure, and how kinds of labels and of inputs are marked.

    a kind of labels or inputs ──> Mark(name, color, marker, dashes) ──> mark.points, mark.line: keywords of matplotlib

Okabe and Ito's colours can be distinguished with colour-blindness. Marks of one figure also differ in marker and dashes, so that it
can be printed in grey. A kind that is not listed here, such as that of another package's treatment, gets an unused mark.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from matplotlib import colormaps
from matplotlib.colors import to_hex

BLACK, GREY = "#000000", "#999999"
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
CYCLE = (ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE)

# Keywords of matplotlib for a line, a marker, a text.
Style = dict[str, Any]
Dashes = str | tuple[float, tuple[float, ...]]

SOLID: Dashes = "-"
DASHED: Dashes = (0, (5, 1.5))
DOTTED: Dashes = (0, (1.5, 1.5))
DASH_DOTTED: Dashes = (0, (4, 1.5, 1, 1.5))
LONG_DASHED: Dashes = (0, (8, 2))
DASH_DOT_DOTTED: Dashes = (0, (4, 1.5, 1, 1.5, 1, 1.5))

# A level that is not measured: chance, a null, a threshold.
REFERENCE: Style = {"color": "0.45", "linestyle": ":", "linewidth": 1.2}

Kind = TypeVar("Kind")


class Mark(NamedTuple):
    """The style of one kind of things, and its name in a legend."""

    name: str
    color: str
    marker: str = "o"
    dashes: Dashes = SOLID

    @property
    def points(self) -> Style:
        """The keywords of unconnected points."""
        return {"color": self.color, "marker": self.marker, "linestyle": ""}

    @property
    def line(self) -> Style:
        """The keywords of a line without points."""
        return {"color": self.color, "linestyle": self.dashes}


LABELS = {
    "true": Mark("true labels", BLUE, "o", SOLID),
    "shuffled": Mark("shuffled labels", VERMILION, "s", DASHED),
    "random": Mark("random labels", GREEN, "^", DOTTED),
}
INPUTS = {
    "test": Mark("test images", BLACK, "o", SOLID),
    "uniform": Mark("uniform noise", GREEN, "^", DOTTED),
    "gaussian": Mark("Gaussian noise", PURPLE, "s", DASHED),
    "random_pixels": Mark("test images, permuted", ORANGE, "D", DASH_DOTTED),
}
# For kinds that have no mark of their own.
_LEFT = (
    (PURPLE, "D", DASH_DOTTED),
    (ORANGE, "v", LONG_DASHED),
    (SKY, "P", DASH_DOT_DOTTED),
    (GREEN, "^", DOTTED),
    (BLACK, "X", SOLID),
    (GREY, "*", DASHED),
)


def label_marks(kinds: Collection[str] = ("true", "shuffled")) -> dict[str, Mark]:
    """Return the mark of each kind of labels; any two of one call differ, up to six that are not in LABELS."""
    return _marks(kinds, LABELS, " labels")


def input_marks(kinds: Collection[str] = tuple(INPUTS)) -> dict[str, Mark]:
    """Return the mark of each kind of inputs; any two of one call differ, up to six that are not in INPUTS."""
    return _marks(kinds, INPUTS, "")


def _marks(kinds: Collection[str], known: Mapping[str, Mark], noun: str) -> dict[str, Mark]:
    taken = {known[kind].color for kind in kinds if kind in known}
    left = itertools.cycle([style for style in _LEFT if style[0] not in taken])
    return {
        kind: known[kind] if kind in known else Mark(f"{kind.replace('_', ' ')}{noun}", *next(left)) for kind in kinds
    }


def level_marks(levels: Sequence[Kind], name: str = "{}") -> dict[Kind, Mark]:
    """Return marks of ordered levels (widths, shares of noise), from light to dark; `name` is a format, as "width {}"."""
    shades = colormaps["viridis_r"]
    markers, dashes = itertools.cycle("os^Dv<>P"), itertools.cycle((SOLID, DASHED, DASH_DOTTED, DOTTED, LONG_DASHED))
    share = [0.15 + 0.8 * place / max(1, len(levels) - 1) for place in range(len(levels))]
    return {
        level: Mark(name.format(level), to_hex(shades(at)), marker, dash)
        for level, at, marker, dash in zip(levels, share, markers, dashes)
    }
