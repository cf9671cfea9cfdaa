"""Declarations of an experiment before it is run: `claims.yaml` beside its code, whose git history is the pre-registration.

    sentences:
      - id: slower
        source: zhang2017                  # a key of sources.yaml
        statement: Random labels take only a small constant factor longer.
        claims:
          - id: factor-{time}-{width}
            quantity: epochs to {time} % training accuracy, shuffled / true
            over: {time: [90, 99], width: [64, 256, 512]}    # one claim per combination
            condition: width {width}
            accept: [0, 5]                 # reproduced; ends included
            direction: [0, .inf]           # the sign or order only; ends excluded (optional)
            basis: the smallest factor that one would not call small (ours)
            figure: shapes                 # the figure that shows it (optional), as are unit, control and awaits
    changes:                               # what differs from earlier declarations, and why
      - {claim: factor-99-64, was: "<= 3", now: "<= 5", reason: ...}

Values of `over` may have words for the texts: `over: {arm: {nielsen: Nielsen's recipe}}` puts `nielsen` into the id and the
words into quantity, condition and figure.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from memo.errors import Refusal
from memo.reporting import sources
from memo.reporting.claims import Claim, Sentence

_SENTENCE = {"id", "source", "statement", "claims"}
_TEXTS = ("quantity", "condition", "figure", "basis", "unit")


@dataclass(frozen=True)
class ClaimTemplate:
    """Claims that differ in their conditions only; `over` has the words of each value by placeholder, in order."""

    id: str
    sentence: Sentence
    quantity: str
    accept: tuple[float, float]
    basis: str
    direction: tuple[float, float] | None = None
    condition: str = ""
    figure: str = ""
    unit: str = ""
    control: bool = False
    awaits: str = ""
    over: Mapping[str, Mapping[str, str]] = None  # type: ignore[assignment]

    def conditions(self) -> Iterator[dict[str, str]]:
        """Yield each combination of declared values, by placeholder, the last varying fastest."""
        for values in itertools.product(*self.over.values()):
            yield dict(zip(self.over, values))

    def claim(self, values: Mapping[str, str]) -> Claim:
        """Return the claim under one combination of values; one that was not declared stands for itself in the texts."""
        words = {name: self.over[name].get(value, value) for name, value in values.items()}
        texts = {name: getattr(self, name).format(**words) for name in _TEXTS}
        rest = {name: getattr(self, name) for name in ("accept", "direction", "control", "awaits")}
        return Claim(self.id.format(**values), self.sentence, **texts, **rest)


@dataclass(frozen=True)
class Declaration:
    """The sentences and claims of an experiment, in the order of its file, and the changes to them with reasons."""

    sentences: tuple[Sentence, ...]
    claims: tuple[ClaimTemplate, ...]
    changes: tuple[dict[str, str], ...] = ()

    @cached_property
    def by_id(self) -> dict[str, ClaimTemplate]:
        """The claims by the templates of their ids."""
        return {template.id: template for template in self.claims}


def read(path: Path) -> Declaration:
    """Return the declaration in a `claims.yaml`.

    Raises Refusal for a file that cannot be read, an unknown key or source, an id that stands twice, a missing basis, a
    placeholder without values, or ranges that decide nothing.
    """
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise Refusal(f"{path} cannot be read: {error}.") from error
    _known(stored, {"sentences", "changes"}, str(path))
    known, found, templates = sources.load(), [], []
    for entry in stored.get("sentences", []):
        _known(entry, _SENTENCE, f"{path}: sentence {entry.get('id')}")
        if entry.get("source") not in known:
            raise Refusal(
                f"{path}: {entry['id']} has the source {entry.get('source')}, which sources.yaml does not have."
            )
        sentence = Sentence(entry["id"], entry["source"], " ".join(entry["statement"].split()))
        found.append(sentence)
        templates += [_template(claim, sentence, path) for claim in entry["claims"]]
    declaration = Declaration(tuple(found), tuple(templates), tuple(stored.get("changes", [])))
    ids = [claim.claim(values).id for claim in templates for values in claim.conditions()]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice or len({sentence.id for sentence in found}) < len(found):
        raise Refusal(f"{path} has ids that stand twice: {', '.join(twice) or 'of sentences'}.")
    return declaration


def _template(entry: dict[str, Any], sentence: Sentence, path: Path) -> ClaimTemplate:
    name = entry.get("id", "without id")
    _known(entry, {field.name for field in fields(ClaimTemplate)} - {"sentence"}, f"{path}: claim {name}")
    lacking = {"id", "quantity", "accept", "basis"} - entry.keys()
    if lacking:
        raise Refusal(f"{path}: claim {name} lacks {', '.join(sorted(lacking))}.")
    over = {
        key: {str(value): str(words) for value, words in values.items()}
        if isinstance(values, Mapping)
        else {str(value): str(value) for value in values}
        for key, values in entry.get("over", {}).items()
    }
    texts = {key: " ".join(str(entry[key]).split()) for key in (*_TEXTS, "awaits") if key in entry}
    ranges = {
        key: (float(low), float(high))
        for key in ("accept", "direction")
        if entry.get(key)
        for low, high in [entry[key]]
    }
    template = ClaimTemplate(
        **{"id": name, "sentence": sentence, "control": entry.get("control", False)} | texts | ranges, over=over
    )
    placeholders = set(re.findall(r"{(\w+)}", "".join((name, *texts.values()))))
    if placeholders != over.keys() or set(re.findall(r"{(\w+)}", name)) != over.keys():
        raise Refusal(
            f"{path}: claim {name} has {sorted(over)} in `over`; its id names each of them, and its texts no other."
        )
    try:
        next(iter(template.claim(values) for values in template.conditions()))
    except (ValueError, StopIteration) as error:
        raise Refusal(f"{path}: {error}") from error
    return template


def _known(entry: Mapping, keys: set[str], where: str) -> None:
    unknown = set(entry) - keys
    if unknown:
        raise Refusal(f"{where} has the unknown key {min(unknown)}; allowed are {', '.join(sorted(keys))}.")
