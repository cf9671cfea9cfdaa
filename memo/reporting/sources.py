"""Sources: the papers, talks and books whose sentences are tested, by key (sources.yaml), as references and as BibTeX."""

import html
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import yaml

from memo.errors import Refusal

KINDS = ("paper", "talk", "book", "data", "method", "own")
OWN = "own"
_ENTRY = {"paper": "inproceedings", "book": "book", "method": "article"}
_VENUE = {"inproceedings": "booktitle", "book": "publisher", "article": "journal", "misc": "howpublished"}


@dataclass(frozen=True)
class Source:
    """A source; `cite` is its short text (Zhang et al. 2017), `verified` whether its reference was looked up."""

    cite: str
    authors: tuple[str, ...]
    title: str
    year: int
    venue: str
    url: str
    kind: str
    verified: bool

    @property
    def reference(self) -> str:
        """The entry of a reference list, as HTML."""
        venue = f" {html.escape(self.venue)}." if self.venue else ""
        title = html.escape(self.title)
        linked = f'<a href="{html.escape(self.url)}">{title}</a>' if self.url else title
        doubt = "" if self.verified else " (reference not verified)"
        return f"{html.escape(', '.join(self.authors))} ({self.year}). {linked}.{venue}{doubt}"


@cache
def load() -> dict[str, Source]:
    """Return all sources by key, in the order of the file."""
    return read(Path(__file__).parent / "sources.yaml")


def read(path: Path) -> dict[str, Source]:
    """Return the sources of a file by key; raises Refusal for an unknown or missing field, or kind."""
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    due = {field.name for field in fields(Source)}
    found = {}
    for key, facts in stored.items():
        if facts.keys() != due:
            wrong = ", ".join(sorted(facts.keys() ^ due))
            raise Refusal(f"{path.name}: {key} has other fields than {', '.join(sorted(due))}: {wrong}.")
        if facts["kind"] not in KINDS:
            raise Refusal(f"{path.name}: {key} is a {facts['kind']}; allowed is one of {', '.join(KINDS)}.")
        found[key] = Source(**facts | {"authors": tuple(facts["authors"])})
    return found


def to_bibtex(entries: Mapping[str, Source]) -> str:
    """Return sources as BibTeX, one entry each, by key."""
    return "\n".join(_entry(key, source) for key, source in entries.items())


def _entry(key: str, source: Source) -> str:
    kind = _ENTRY.get(source.kind, "misc")
    values = {
        "author": " and ".join(source.authors),
        "title": f"{{{source.title}}}",
        "year": str(source.year),
        _VENUE[kind]: source.venue,
        "url": source.url,
        "note": "" if source.verified else "reference not verified",
    }
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in values.items() if value)
    return f"@{kind}{{{key},\n{lines}}}\n"
