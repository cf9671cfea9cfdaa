"""Claims: the number that decides a sentence of a source, the ranges it was declared with, and the verdict on it.

    claims.yaml ──> Declaration of sentences and claims ──┐
    tables ──> answers, by the id of a claim ─────────────┴──> ledger, one row per claim ──> claims.csv, sentences.csv

Claims are declared before they are measured (memo.reporting.declarations), answered by id (memo.reporting.answers), and
judged here. Verdicts and the text of expectations are computed from a claim's ranges and never typed.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from memo.errors import Refusal
from memo.statistics.intervals import Estimate, p_outside
from memo.storage.run_folders import replacing

VERDICTS = (
    REPRODUCED,
    DIRECTION_ONLY,
    NOT_REPRODUCED,
    UNDECIDED,
    NOT_APPLICABLE,
    NOT_YET_MEASURED,
    CONTROL,
) = (
    "reproduced",
    "direction only",
    "not reproduced",
    "undecided",
    "not applicable",
    "not yet measured",
    "control",
)
# Verdicts of claims that count as tests of their sentence.
TESTS = (REPRODUCED, DIRECTION_ONLY, NOT_REPRODUCED, UNDECIDED)

NUMBERS = ("measured", "low", "high", "accept_low", "accept_high", "direction_low", "direction_high", "p")
COUNTS = ("n", "images")
COLUMNS = (
    "claim",
    "sentence",
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
    "basis",
    "accept_low",
    "accept_high",
    "direction_low",
    "direction_high",
    "p",
    "judged",
    "scale",
    "images",
)

# From fewer seeds no interval has its nominal coverage on non-normal numbers: no ground for a verdict.
SEEDS_FOR_A_VERDICT = 5

Range = tuple[float, float]


@dataclass(frozen=True)
class Sentence:
    """A statement of a source, in its words or close to them; `source` is a key of sources.yaml."""

    id: str
    source: str
    statement: str


@dataclass(frozen=True)
class Claim:
    """One number under one condition, and the ranges, in `unit`, that decide it.

    `accept` counts as reproduced and includes its ends. `direction`, which contains it, is the weaker statement that only
    the sign or the order is as claimed; an end that it does not share with `accept` is excluded, for "no effect" is no
    direction. An end may be infinite. `basis`
    says where `accept` comes from: the source, or the smallest effect that would matter. A `control` checks that a test was
    possible and is not one itself. `awaits` names the future run for which a claim waits. Claims of one `family`
    share a quantity under several conditions.

    Raises ValueError for ranges that are empty, unbounded or not nested.
    """

    id: str
    sentence: Sentence
    quantity: str
    accept: Range
    direction: Range | None = None
    basis: str = ""
    figure: str = ""
    unit: str = ""
    condition: str = ""
    control: bool = False
    awaits: str = ""

    def __post_init__(self) -> None:
        for name, bounds in (("accept", self.accept), ("direction", self.direction)):
            if bounds is None:
                continue
            low, high = bounds
            if not low <= high:
                raise ValueError(f"Claim {self.id}: {name} runs from {low} to {high}; the low end comes first.")
            if math.isinf(low) and math.isinf(high):
                raise ValueError(f"Claim {self.id}: {name} needs a finite end, or no number could decide it.")
        if self.direction is not None and not _inside(*self.accept, self.direction):
            raise ValueError(f"Claim {self.id}: direction {self.direction} does not contain accept {self.accept}.")

    @property
    def expected(self) -> str:
        """The ranges as text, such as ">= 2 (direction: > 1)" or "0.09 to 0.11"."""
        text = _text(self.accept, self.unit, ">=", "<=")
        return text if self.direction is None else f"{text} (direction: {_text(self.direction, self.unit, '>', '<')})"


def judge(claim: Claim, estimate: Estimate | None) -> str:
    """Return the verdict on a claim: where the whole interval lies, never where its middle lies.

    | the interval                                     | verdict        |
    |--------------------------------------------------|----------------|
    | inside accept                                    | reproduced     |
    | else inside direction, without its own ends      | direction only |
    | wholly outside accept, and outside any direction | not reproduced |
    | otherwise, or fewer than 5 seeds, or no interval | undecided      |
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
        raise ValueError(f"Claim {claim.id}: the interval runs from {low} to {high}; the low end comes first.")
    if _inside(low, high, claim.accept):
        return REPRODUCED
    wider = claim.direction or claim.accept
    # An end of the wider range that accept does not share is "no effect", and excluded.
    ends = [own if shared == own or math.isinf(own) else None for own, shared in zip(wider, claim.accept)]
    above, below = low > wider[0] or low == ends[0], high < wider[1] or high == ends[1]
    if claim.direction is not None and above and below:
        return DIRECTION_ONLY
    outside = high < wider[0] or low > wider[1]
    touching = (high == wider[0] and ends[0] is None) or (low == wider[1] and ends[1] is None)
    return NOT_REPRODUCED if outside or touching else UNDECIDED


def write(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a ledger as CSV, whole or not at all: UTF-8, LF, floats to 6 significant digits, missing cells empty."""
    with replacing(Path(path)) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n", encoding="utf-8")


def read(path: str | os.PathLike) -> pd.DataFrame:
    """Return a `claims.csv` as the ledger that was written; texts that are missing are empty.

    Raises Refusal for a file that is no whole ledger: unreadable, without a column, with an unknown verdict.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        numbers = {name: pd.to_numeric(frame[name]) for name in (*NUMBERS, *COUNTS)}
        frame = typed(frame[list(COLUMNS)].assign(**numbers))
    except (OSError, ValueError) as error:
        raise Refusal(f"{path} cannot be read: {error}.") from error
    except KeyError as error:
        raise Refusal(f"{path} lacks columns: {error.args[0]}.") from error
    unknown = set(frame["verdict"]) - set(VERDICTS)
    if unknown:
        raise Refusal(f"{path} has unknown verdicts: {', '.join(map(repr, sorted(unknown)))}.")
    return frame


def empty() -> pd.DataFrame:
    """Return a ledger without claims."""
    return typed(pd.DataFrame(columns=list(COLUMNS)))


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a ledger with its numbers as float64 and its counts as nullable integers."""
    return frame.astype(dict.fromkeys(NUMBERS, float) | dict.fromkeys(COUNTS, "Int64"))


def row(claim: Claim, source: str, estimate: Estimate | None, note: str, scale: str, images: int | None) -> dict:
    """Return a claim's row of the ledger, by column; `source` is the source's short text, such as "Zhang et al. 2017".

    Raises ValueError for a claim without an estimate whose note gives no reason.
    """
    if estimate is None and not note:
        raise ValueError(f"Claim {claim.id} has no estimate and no note that says why.")
    value, low, high, n = (math.nan, math.nan, math.nan, pd.NA) if estimate is None else estimate[:4]
    judged = NOT_YET_MEASURED if estimate is None and claim.awaits else judge(claim, estimate)
    accept, direction = claim.accept, claim.direction or (math.nan, math.nan)
    return {
        "claim": claim.id,
        "sentence": claim.sentence.id,
        "source": source,
        "statement": claim.sentence.statement,
        "quantity": ", ".join(filter(None, (claim.quantity, claim.condition))),
        "expected": claim.expected,
        "measured": value,
        "low": low,
        "high": high,
        "n": n,
        "verdict": CONTROL if claim.control and judged in TESTS else judged,
        "figure": claim.figure,
        "unit": claim.unit,
        "note": note,
        "family": claim.quantity,
        "condition": claim.condition,
        "basis": claim.basis,
        "accept_low": accept[0],
        "accept_high": accept[1],
        "direction_low": direction[0],
        "direction_high": direction[1],
        "p": math.nan if estimate is None else p_outside(estimate, accept),
        "judged": judged,
        "scale": scale,
        "images": pd.NA if images is None else images,
    }


def _inside(low: float, high: float, bounds: Range) -> bool:
    return bounds[0] <= low and high <= bounds[1]


def _text(bounds: Range, unit: str, above: str, below: str) -> str:
    low, high = (f"{end:.12g}" for end in bounds)
    if bounds[0] == -math.inf:
        text = f"{below} {high}"
    elif bounds[1] == math.inf:
        text = f"{above} {low}"
    else:
        text = low if low == high else f"{low} to {high}"
    return f"{text} {unit}".rstrip()
