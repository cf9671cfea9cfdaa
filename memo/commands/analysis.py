"""The analysis of an experiment by chapters: what is measured, which claims it answers, what is drawn.

    measure(evidence) ──> tables ──> answer(tables, answers) ──> draw(evidence, tables, answers) ──> Report

Answers are computed from tables exactly as they are committed (tables/*.csv), and from nothing else: so
`python -m experiments.report --audit` can recompute every claim without a run folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

import pandas as pd

from memo.commands.evidence import Evidence
from memo.config import Config
from memo.reporting import chapter, declarations
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter
from memo.reporting.report import Figure, Report, as_committed
from memo.storage.run_folders import Tables


@runtime_checkable
class ChapterModule(Protocol):
    """A module of an experiment: one chapter of its report."""

    def measure(self, evidence: Evidence) -> dict[str, pd.DataFrame]:
        """Return the chapter's tables by name; `networks` (columns trial, arm, seed, scalars) is joined over chapters."""

    def answer(self, tables: Tables, answers: Answers) -> None:
        """Answer the chapter's claims from tables as they are committed."""

    def draw(self, evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
        """Draw the chapter's figures into `evidence.folder`, and return them with its findings and methods."""


@dataclass(frozen=True)
class Front:
    """What stands around the chapters of a report."""

    title: str
    methods: Sequence[str]
    not_shown: Sequence[str]
    closing_methods: Sequence[str] = ()
    summary: Figure | None = None


@dataclass(frozen=True)
class Analysis:
    """The analysis of the experiment in `package`, which holds claims.yaml and a folder text/."""

    package: str
    chapters: Sequence[ChapterModule]
    front: Callable[[Evidence, Tables, Answers], Front]

    def __call__(self, tables: Tables, config: Config, folder: Path) -> Report:
        """Return the report of the trials in `tables`, drawing its figures into `folder`."""
        evidence = Evidence(tables, config, folder)
        found = as_committed(self.measure(evidence))
        answers = self.answers(found)
        chapters = [module.draw(evidence, found, answers) for module in self.chapters]
        front = self.front(evidence, found, answers)
        return Report(
            title=front.title,
            question=config.experiment.get("question", front.title),
            findings=[finding for made in chapters for finding in made.findings],
            ledger=answers.ledger(config.scale),
            figures=[figure for made in chapters for figure in made.figures],
            methods=[*front.methods, *(line for made in chapters for line in made.methods), *front.closing_methods],
            not_shown=front.not_shown,
            tables=dict(found),
            shown=[shown for made in chapters for shown in made.shown],
            summary=front.summary,
            changes=answers.declared.changes,
            scale=config.scale,
        )

    def measure(self, evidence: Evidence) -> dict[str, pd.DataFrame]:
        """Return the tables of all chapters, those of networks joined; ValueError where two chapters share another name."""
        parts = [module.measure(evidence) for module in self.chapters]
        tables: dict[str, pd.DataFrame] = {}
        for part in parts:
            if twice := (tables.keys() & part.keys()) - {"networks"}:
                raise ValueError(f"Two chapters make a table {min(twice)}.")
            tables |= part
        own = [part["networks"] for part in parts if "networks" in part]
        return tables | {"networks": chapter.networks([evidence.networks, *own])}

    def answers(self, tables: Tables) -> Answers:
        """Return the answers to the experiment's claims, from tables as they are committed."""
        networks = tables["networks"]
        images = int(networks["images"].max()) if "images" in networks and len(networks) else None
        answers = Answers(declarations.read(Path(str(files(self.package) / "claims.yaml"))), images)
        for module in self.chapters:
            module.answer(tables, answers)
        return answers
