"""Legacy, while experiments move to declared claims (claims.yaml). Claims: a sentence from a source, the range of a number that decides it, and the verdict on what was measured.

    Claim, Estimate ──> judge ──> ledger, one row a claim ──> claims.csv

Verdicts and the text of what was expected are computed here from the claim's ranges and never typed, so that neither
can disagree with the numbers beside it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from memo.reporting import claims, sources, view
from memo.reporting.claims import DIRECTION_ONLY, NOT_APPLICABLE, NOT_REPRODUCED, REPRODUCED, UNDECIDED
from memo.reporting.report import Figure, Report, Shown
from memo.statistics.intervals import Estimate

OLD = (
    "claim",
    "source",
    "statement",
    "quantity",
    "expected",
    "measured",
    "low",
    "high",
    "n",
    "verdict",
    "figure",
    "unit",
    "note",
    "family",
    "condition",
)

# With fewer, an interval says more about the assumption of normal values than about the values: no ground for a verdict.
SEEDS_FOR_A_VERDICT = 5

Range = tuple[float, float]


@dataclass(frozen=True)
class Claim:
    """What a source states and the ranges of one number, in `unit`, that decide it; both ends of a range belong to it.

    `accept` counts as reproduced; `direction`, which contains it, is the weaker statement that only the sign or order
    is as claimed. An end may be infinite. A range that must exclude "no effect" starts beyond it, not at it: (1, inf)
    contains a ratio of exactly 1. Claims of one `quantity` under several conditions (a width, a noise level) share its
    text and name their `condition`. Raises ValueError for ranges that are empty, unbounded or not nested.
    """

    claim: str
    source: str
    statement: str
    quantity: str
    accept: Range
    direction: Range | None = None
    figure: str = ""
    unit: str = ""
    condition: str = ""

    def __post_init__(self) -> None:
        for name, bounds in (("accept", self.accept), ("direction", self.direction)):
            if bounds is None:
                continue
            low, high = bounds
            if not low <= high:
                raise ValueError(f"Claim {self.claim}: {name} runs from {low} to {high}; the low end comes first.")
            if math.isinf(low) and math.isinf(high):
                raise ValueError(f"Claim {self.claim}: {name} needs a finite end, or no number could decide it.")
        if self.direction is not None and not _inside(*self.accept, self.direction):
            raise ValueError(f"Claim {self.claim}: direction {self.direction} does not contain accept {self.accept}.")

    @property
    def expected(self) -> str:
        """The ranges as text, such as ">= 2 (direction: >= 1)" or "0.09 to 0.11"."""
        text = _text(self.accept, self.unit)
        return text if self.direction is None else f"{text} (direction: {_text(self.direction, self.unit)})"


def judge(claim: Claim, estimate: Estimate | None) -> str:
    """Return the verdict on a claim: where the whole interval lies, never where its middle lies.

    | the interval                                     | verdict        |
    |--------------------------------------------------|----------------|
    | inside accept                                    | reproduced     |
    | else inside direction                            | direction only |
    | wholly outside accept, and outside any direction | not reproduced |
    | otherwise, or fewer than 5 seeds                 | undecided      |
    | no estimate                                      | not applicable |

    A bound is an interval with an infinite end: "at least 3, not reached within the budget" is low = 3, high = inf.
    Raises ValueError for an interval whose low end is above its high end.
    """
    if estimate is None:
        return NOT_APPLICABLE
    low, high = estimate.low, estimate.high
    if estimate.n < SEEDS_FOR_A_VERDICT or math.isnan(low) or math.isnan(high) or math.isnan(estimate.value):
        return UNDECIDED
    if low > high:
        raise ValueError(f"Claim {claim.claim}: the interval runs from {low} to {high}; the low end comes first.")
    if _inside(low, high, claim.accept):
        return REPRODUCED
    if claim.direction is not None and _inside(low, high, claim.direction):
        return DIRECTION_ONLY
    # Direction contains accept, so an interval outside the wider range is outside both.
    widest = claim.accept if claim.direction is None else claim.direction
    return NOT_REPRODUCED if high < widest[0] or low > widest[1] else UNDECIDED


def ledger(rows: Iterable[tuple]) -> pd.DataFrame:
    """Return one row a claim, in the order given, from tuples (claim, estimate) or (claim, estimate, note).

    `measured`, `low`, `high` (floats) and `n` (a nullable integer) are missing where the estimate is None.
    Raises ValueError for two claims with the same id, and for a claim without an estimate whose note gives no reason.
    """
    lines, seen = [], set()
    for claim, estimate, *note in rows:
        if claim.claim in seen:
            raise ValueError(f"Claim {claim.claim} stands twice in the ledger.")
        seen.add(claim.claim)
        lines.append(_line(claim, estimate, *note))
    return completed(pd.DataFrame(lines, columns=list(OLD)))


# What sources were called where claims were typed; the keys of sources.yaml have the others' short texts.
_NAMES = {
    "the talk, of Arpit et al. 2017": "3Blue1Brown 2017",
    "the talk, of Choromanska et al. 2015": "3Blue1Brown 2017",
    "the talk, of its digit network": "3Blue1Brown 2017",
    "Nielsen's book": "Nielsen 2015",
}


def completed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a ledger of columns OLD with all columns of claims.csv: sentences and sources named, ranges as numbers."""
    known = {source.cite for source in sources.load().values()}
    named = [_NAMES.get(source, source) for source in frame["source"]]
    own = sources.load()[sources.OWN].cite
    ranges = pd.DataFrame([_ranges(text) for text in frame["expected"]], columns=list(_RANGES), index=frame.index)
    frame = frame.assign(
        sentence=[view.anchor(*texts)[:70].strip("-") for texts in zip(frame["source"], frame["statement"])],
        source=[source if source in known else own for source in named],
        judged=frame["verdict"],
        basis="",
        scale="",
        **dict(ranges.items()),
    )
    return claims.typed(frame.reindex(columns=list(claims.COLUMNS)))


_RANGES = ("accept_low", "accept_high", "direction_low", "direction_high")


def _ranges(expected: str) -> tuple[float, float, float, float]:
    """Return the ends of the ranges in a text such as ">= 2 (direction: >= 1)"."""
    accept, _, direction = expected.partition(" (direction: ")
    return *_range(accept), *_range(direction.removesuffix(")"))


def _range(text: str) -> tuple[float, float]:
    numbers = [
        float(word) for word in text.split() if word.replace(".", "").replace("-", "").replace("e", "").isdigit()
    ]
    if not numbers:
        return math.nan, math.nan
    if text.startswith(">="):
        return numbers[0], math.inf
    return (-math.inf, numbers[0]) if text.startswith("<=") else (numbers[0], numbers[-1])


def _line(claim: Claim, estimate: Estimate | None, note: str = "") -> tuple:
    if estimate is None and not note:
        raise ValueError(f"Claim {claim.claim} has no estimate and no note that says why.")
    value, low, high, n = (math.nan, math.nan, math.nan, pd.NA) if estimate is None else estimate[:4]
    verdict = judge(claim, estimate)
    quantity = ", ".join(filter(None, (claim.quantity, claim.condition)))
    texts = claim.claim, claim.source, claim.statement, quantity, claim.expected
    rest = verdict, claim.figure, claim.unit, note, claim.quantity, claim.condition
    return *texts, value, low, high, n, *rest


def _inside(low: float, high: float, bounds: Range) -> bool:
    return bounds[0] <= low and high <= bounds[1]


def _text(bounds: Range, unit: str) -> str:
    low, high = (f"{end:.12g}" for end in bounds)
    if bounds[0] == -math.inf:
        text = f"<= {high}"
    elif bounds[1] == math.inf:
        text = f">= {low}"
    else:
        text = low if low == high else f"{low} to {high}"
    return f"{text} {unit}".rstrip()


Row = tuple[Claim, Estimate | None, str]


@dataclass
class Chapter:
    """What one chapter adds to the report."""

    findings: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    shown: list[Shown] = field(default_factory=list)


def report_of(
    chapters: Sequence[Chapter],
    *,
    title: str,
    question: str,
    methods: Sequence[str],
    not_shown: Sequence[str],
    closing_methods: Sequence[str] = (),
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> Report:
    """Return the report of some chapters, in their order; the methods that all share stand before theirs, and after.

    `tables` are those that belong to no chapter.
    """
    return Report(
        title=title,
        question=question,
        findings=[finding for chapter in chapters for finding in chapter.findings],
        ledger=ledger(row for chapter in chapters for row in chapter.rows),
        figures=[figure for chapter in chapters for figure in chapter.figures],
        methods=[*methods, *(method for chapter in chapters for method in chapter.methods), *closing_methods],
        not_shown=not_shown,
        tables=dict(tables or {}) | {name: table for chapter in chapters for name, table in chapter.tables.items()},
        shown=[shown for chapter in chapters for shown in chapter.shown],
    )
