"""Sources: the papers, talks and books whose sentences are tested, by key (sources.yaml)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Source:
    """A source; `cite` is its short text, `kind` one of paper, talk, book and own."""

    cite: str
    kind: str

    @property
    def reference(self) -> str:
        """The entry of a reference list."""
        return self.cite


@cache
def load() -> dict[str, Source]:
    """Return all sources by key."""
    stored = yaml.safe_load((Path(__file__).parent / "sources.yaml").read_text(encoding="utf-8"))
    return {key: Source(**facts) for key, facts in stored.items()}


def to_bibtex(entries: dict[str, Source]) -> str:
    """Return BibTeX."""
    return "".join(f"@misc{{{key}}}\n" for key in entries)
