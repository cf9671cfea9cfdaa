"""Ledgers made up for tests, from claims and estimates without a claims.yaml."""

import pandas as pd

from memo.reporting import claims
from memo.reporting.claims import Claim, Sentence
from memo.statistics.intervals import Estimate

SENTENCE = Sentence("sentence", "someone2017", "It, as they say, holds.")


def claim(id, accept=(0, 1), direction=None, statement=SENTENCE.statement, sentence=None, quantity="ratio", **others):
    """Return a claim on a sentence, which is named after its statement unless `sentence` names it."""
    about = SENTENCE if statement == SENTENCE.statement else Sentence(sentence or statement, "someone2017", statement)
    return Claim(id, about, quantity, accept, direction, **others)


def ledger(rows, source="Someone 2017", scale="standard", images=1000):
    """Return the ledger of (claim, estimate) or (claim, estimate, note), all of one source or of `row[3]`."""
    lines = [
        claims.row(each, rest[1] if len(rest) > 1 else source, estimate, rest[0] if rest else "", scale, images)
        for each, estimate, *rest in rows
    ]
    return claims.typed(pd.DataFrame(lines, columns=list(claims.COLUMNS)))


HALF = Estimate(0.5, 0.25, 0.75, 5)
