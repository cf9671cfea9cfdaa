"""Answers: the measurements for each claim, by the ids under which `claims.yaml` declares them.

    answers = Answers(declarations.read(path))
    answers.conditions(width=["64", "512"])                      # those that this run has
    answers.give("factor-{time}-{width}", ratio, time=90, width=64)
    answers.ledger("standard")

An unknown id is refused, and so is a ledger that lacks the answer to a declared claim.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from memo.reporting import claims, sources
from memo.reporting.claims import Claim
from memo.reporting.declarations import ClaimTemplate, Declaration
from memo.statistics.intervals import Estimate
from memo.statistics.over_seeds import Answer, noted

_UNDECLARED = "this condition was not declared before the run"


class Answers:
    """The answers to an experiment's claims; `images` is the number of training images behind those that are given none."""

    def __init__(self, declared: Declaration, images: int | None = None):
        self.declared, self.images = declared, images
        self._given: dict[str, tuple[Claim, Answer, int | None]] = {}
        self._places: dict[str, tuple[str, dict[str, str]]] = {}
        self._run: dict[str, list[str]] = {}
        self._has: dict[str, dict[str, list[str]]] = {}

    def conditions(self, **has: Iterable[Any]) -> None:
        """Set the values of some placeholders that this run has, for the claims answered from here on.

        Claims under declared values that it lacks wait for another run; values that it adds are marked as undeclared.
        """
        self._run |= {name: [str(value) for value in values] for name, values in has.items()}

    def trained_on(self, networks: pd.DataFrame) -> None:
        """Set the number of training images behind the claims answered from here on: of these networks (column images), the most.

        It is unknown where there are none.
        """
        self.images = int(networks["images"].max()) if len(networks) else None

    def give(self, template: str, answer: Answer, images: int | None = None, **values: Any) -> None:
        """Answer the claim that a template of an id (as in claims.yaml) and the values of its placeholders name.

        An answer is an estimate, or None, and a note; without an estimate the note says why, and the ledger has no number of
        `images`, which are otherwise those of `trained_on` where they are not given. Raises ValueError for an id that is not
        declared or has been answered. A claim that is declared as awaiting another run is answered by that run.
        """
        declared = self.declared.by_id.get(template)
        if declared is None:
            raise ValueError(f"No claim {template!r} is declared in claims.yaml.")
        words = {name: str(value) for name, value in values.items()}
        if words.keys() != declared.over.keys():
            raise ValueError(f"Claim {template} is declared over {sorted(declared.over)}, not over {sorted(words)}.")
        unknown = [
            name for name, value in words.items() if value not in (*declared.over[name], *self._run.get(name, ()))
        ]
        if unknown:
            raise ValueError(
                f"Claim {template}: {unknown[0]} = {words[unknown[0]]} is neither declared nor of this run."
            )
        claim = declared.claim(words)
        if claim.id in self._given:
            raise ValueError(f"Claim {claim.id} is answered twice.")
        self._given[claim.id] = claim, answer, images or self.images
        self._places[claim.id] = template, words
        self._has[template] = dict(self._run)

    def __getitem__(self, claim: str) -> Estimate | None:
        """Return the estimate given to a claim, by its id; KeyError where it has no answer."""
        return self._given[claim][1][0]

    def __contains__(self, claim: str) -> bool:
        """Return whether a claim has been answered, be it without an estimate."""
        return claim in self._given

    def verdict(self, claim: str) -> str:
        """Return the verdict on a claim that has been answered."""
        asked, (estimate, _), _ = self._given[claim]
        return claims.judge(asked, estimate)

    def sentences(self) -> list[str]:
        """Return the ids of the sentences of all claims answered so far, in the order of the answers."""
        return list(dict.fromkeys(claim.sentence.id for claim, _, _ in self._given.values()))

    def ledger(self, scale: str) -> pd.DataFrame:
        """Return one row per claim (memo.reporting.claims.COLUMNS), in the order in which they are declared.

        Raises ValueError for declared claims without an answer.
        """
        known = sources.load()
        rows, forgotten = [], []
        for template in self.declared.claims:
            for values in self._all_conditions(template):
                claim = template.claim(values)
                given = self._given.get(claim.id)
                missing = self._missing(claim, template, values) if given is None else ""
                if given is None and not missing:
                    forgotten.append(claim.id)
                    continue
                _, (estimate, note), images = given or (claim, (None, missing), None)
                images = None if estimate is None else images
                if given and any(value not in template.over[name] for name, value in values.items()):
                    note = noted(note, _UNDECLARED)
                line = claims.row(claim, known[claim.sentence.source].cite, estimate, note, scale, images)
                rows.append(
                    line | ({} if given else {"verdict": claims.NOT_YET_MEASURED, "judged": claims.NOT_YET_MEASURED})
                )
        if forgotten:
            raise ValueError(f"Declared claims without an answer: {', '.join(forgotten)}.")
        return claims.typed(pd.DataFrame(rows, columns=list(claims.COLUMNS)))

    def _all_conditions(self, template: ClaimTemplate) -> list[dict[str, str]]:
        declared = list(template.conditions())
        own = [values for name, values in self._places.values() if name == template.id]
        return declared + [values for values in own if values not in declared]

    def _missing(self, claim: Claim, template: ClaimTemplate, values: Mapping[str, str]) -> str:
        """Return why a claim without an answer has none, or nothing where it was forgotten."""
        if claim.awaits:
            return claim.awaits
        has = self._has.get(template.id, self._run)  # none of its conditions may be of this run
        lacking = [f"{name} {value}" for name, value in values.items() if value not in has.get(name, (value,))]
        return f"this run does not have {', '.join(lacking)}" if lacking else ""
