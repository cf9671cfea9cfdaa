"""Sentences: statements of a source, each judged as a whole from the verdicts on its claims.

The tests of a sentence are its claims with a number, except controls. It

    holds            if every test is reproduced
    does not hold    if at least one test is not reproduced, and none is reproduced, not even in direction
    undecided        if every test is undecided
    holds in part    otherwise
    not tested       without a test
"""

import pandas as pd

from memo.reporting import claims, sources

VERDICTS = HOLDS, IN_PART, DOES_NOT, UNDECIDED, NOT_TESTED = (
    "holds",
    "holds in part",
    "does not hold",
    "undecided",
    "not tested",
)


def judge(verdicts: pd.Series) -> str:
    """Return the verdict on a sentence from those on its claims."""
    tests = set(verdicts) & set(claims.TESTS)
    if not tests:
        return NOT_TESTED
    if tests == {claims.REPRODUCED}:
        return HOLDS
    if tests == {claims.UNDECIDED}:
        return UNDECIDED
    return IN_PART if tests & {claims.REPRODUCED, claims.DIRECTION_ONLY} else DOES_NOT


def table(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return one row per sentence of a ledger, in its order: source, statement, kind, claims by verdict, verdict."""
    kinds = {source.cite: source.kind for source in sources.load().values()}
    rows = []
    for (sentence, source, statement), own in ledger.groupby(["sentence", "source", "statement"], sort=False):
        counts = own["verdict"].value_counts().reindex(claims.VERDICTS, fill_value=0)
        facts = {"sentence": sentence, "source": source, "statement": statement, "kind": kinds.get(source, sources.OWN)}
        rows.append(facts | counts.to_dict() | {"verdict": judge(own["verdict"])})
    columns = ["sentence", "source", "statement", "kind", *claims.VERDICTS, "verdict"]
    return pd.DataFrame(rows, columns=columns)
