"""The analysis of an experiment by chapters: measurements, answers to claims, figures.

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
from memo.reporting import chapter, declarations, sentences
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.report import Figure, Report, Section, as_committed
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
    """The parts of a report outside its chapters."""

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
        answers, answered = self._answered(found)
        ledger = answers.ledger(config.scale)
        chapters = [module.draw(evidence, found, answers) for module in self.chapters]
        sections = [
            Section(made.title, made.findings, made.figures, made.shown, own) for made, own in zip(chapters, answered)
        ]
        front = self.front(evidence, found, answers)
        return Report(
            title=front.title,
            question=config.experiment.question or front.title,
            findings=[finding for made in chapters for finding in made.findings],
            ledger=ledger,
            figures=[figure for made in chapters for figure in made.figures],
            methods=[*front.methods, *(line for made in chapters for line in made.methods), *front.closing_methods],
            not_shown=front.not_shown,
            tables=dict(found),
            summary=front.summary,
            sections=sections,
            in_short=self._in_short(found, answers, ledger),
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
        return self._answered(tables)[0]

    def _answered(self, tables: Tables) -> tuple[Answers, list[list[str]]]:
        """Return the answers, and by chapter the sentences that it is the first to answer."""
        networks = tables["networks"]
        images = int(networks["images"].max()) if len(networks) else None
        answers = Answers(declarations.read(Path(str(files(self.package) / "claims.yaml"))), images)
        by_chapter: list[list[str]] = []
        for module in self.chapters:
            before, answers.images = answers.sentences(), images
            module.answer(tables, answers)
            by_chapter.append([sentence for sentence in answers.sentences() if sentence not in before])
        return answers, by_chapter

    def _in_short(self, tables: Tables, answers: Answers, ledger: pd.DataFrame) -> dict[str, str]:
        """Return the plain words of text/in_short.j2 for key sentences, by their ids: a block is named after one, with - as _."""
        if not (files(self.package) / "text" / "in_short.j2").is_file():
            return {}
        text = Text(self.package, "in_short")
        found = sentences.table(ledger).set_index("sentence")["verdict"]
        by_block = {id.replace("-", "_"): id for id in found.index}
        if unknown := [block for block in text.blocks if block not in by_block]:
            raise ValueError(f"text/in_short.j2 has a block {unknown[0]}, which is no sentence of claims.yaml.")
        return {
            by_block[block]: text.block(
                block, answers=answers, networks=tables["networks"], verdict=found[by_block[block]]
            )
            for block in text.blocks
        }
