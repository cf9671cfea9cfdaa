"""What holds of the results that any experiment's command writes."""

import re
from importlib.resources import files

from memo.commands.audit import audit
from memo.reporting import claims, declarations, results
from tests.pages import NO_NUMBER, visible

FEWEST = 5  # networks or pairs that decide
OPEN = {claims.UNDECIDED, claims.NOT_APPLICABLE, claims.NOT_YET_MEASURED}


def check(folder, name):
    """Fail where the results of an experiment in a folder are not whole; return what their audit found.

    Every claim is recomputed from the tables; every sentence declared is judged, and by few networks left open; each figure
    that a claim names is on the page; what a reader reads as a number is one.
    """
    result = results.read(results.Experiment(name, "", ""), folder)
    assert (result.state, result.problems) == (results.COMPLETE, [])
    found = audit(result, folder)
    assert found.claims == len(result.ledger) and found.mismatches == []
    declared = declarations.read(files(f"experiments.{name}") / "claims.yaml")
    assert {sentence.id for sentence in declared.sentences} == set(result.ledger["sentence"])
    assert set(result.ledger.loc[result.ledger["n"].fillna(0) < FEWEST, "judged"]) <= OPEN
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert set(result.ledger["figure"]) - {""} <= figures
    page = (folder / "report.html").read_text()
    assert not re.search(NO_NUMBER, visible(page))
    assert page.count("<figure") == page.count('src="data:image/') == len(figures)
    return found
