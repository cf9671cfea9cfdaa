"""Results of the experiments below results/: claims, figures, provenance, and what is missing.

    conf/experiment/<name>.yaml ──> Experiment ──> results/<name>/ ──> Result

Only committed files are needed: claims.csv, findings.md, report.json and figures/. Nothing is trained or analysed here,
and no module of an experiment is imported.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import yaml

from memo.config import CONF
from memo.errors import Refusal
from memo.reporting import claims, report, sentences
from memo.reporting.report import Figure, Section
from memo.storage import run_folders
from memo.storage.run_folders import Tables

REFERENCE, EARLIER = "reference", "earlier"  # folders below results/ that hold a folder for each experiment
OTHER_DATA = "other_data"  # below it lie by data set folders for each experiment
COMPLETE, HALF, MISSING = "complete", "half finished", "missing"
_TEXTS = (
    "title",
    "in_short",
    "findings",
    "methods",
    "not_shown",
    "changes",
    "scale",
    "sessions",
    "drawn",
    "command",
)


@dataclass(frozen=True)
class Experiment:
    """An experiment as its configuration describes it: the question, and how long it `takes` at `standard`; each may be empty."""

    name: str
    question: str
    takes: str

    @property
    def command(self) -> str:
        """The command that runs it."""
        return f"python -m experiments.{self.name}"


@dataclass(frozen=True)
class Result:
    """The stored results of an experiment; `problems` are sentences on missing parts, none where it is complete.

    Texts may hold HTML where a `memo.reporting.report.Report` says so. `page` is its own report below its folder, or empty.
    `command` redraws it. `drawn` is None where that is unknown.
    """

    experiment: Experiment
    state: str = COMPLETE
    problems: Sequence[str] = ()
    title: str = ""
    page: str = ""
    command: str = ""
    ledger: pd.DataFrame = field(default_factory=claims.empty)
    in_short: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[str] = ()
    sections: Sequence[Section] = ()
    summary: Figure | None = None
    methods: Sequence[str] = ()
    not_shown: Sequence[str] = ()
    changes: Sequence[Mapping[str, str]] = ()
    sessions: Sequence[dict] = ()
    scale: str = ""
    drawn: dict | None = None
    place: str = ""  # its folder below results/, where that is not its name

    @property
    def folder(self) -> str:
        """Its folder below results/."""
        return self.place or self.name

    @property
    def images(self) -> int | None:
        """The most training images behind a claim of its ledger; None without claims."""
        images = self.ledger["images"].dropna()
        return int(images.max()) if len(images) else None

    @property
    def figures(self) -> list[Figure]:
        """The figures of all sections."""
        return [figure for section in self.sections for figure in section.figures]

    @property
    def name(self) -> str:
        """The experiment's name, which is that of its folder at `standard`."""
        return self.experiment.name


def experiments(conf: Path = CONF, first: str = "headline") -> list[Experiment]:
    """Return every experiment of a folder of configurations in the order of their names, but that called `first` before all."""
    files = sorted(conf.glob("experiment/*.yaml"), key=lambda file: (file.stem != first, file.stem))
    return [_described(file) for file in files]


def _described(file: Path) -> Experiment:
    described = yaml.safe_load(file.read_text(encoding="utf-8"))["experiment"]
    return Experiment(file.stem, described.get("question", ""), described.get("takes", ""))


def best(experiment: Experiment, folder: Path) -> Result:
    """Return the results of an experiment that verdicts are taken from: at `reference` where these are complete, below results/."""
    place = f"{REFERENCE}/{experiment.name}"
    reference = read(experiment, folder / place)
    if reference.state == COMPLETE:
        return replace(reference, place=place)
    return read(experiment, folder / experiment.name)


def sizes(experiment: Experiment, folder: Path) -> list[tuple[int, bool, pd.DataFrame]]:
    """Return the judged sentences of all results of an experiment, those on few training images first.

    With the usual number of images, and whether they are of `reference`. They lie below results/, as those of `standard`, and
    of `earlier`, which holds ledgers of fewer images.
    """
    found = []
    for place in (f"{EARLIER}/{experiment.name}", experiment.name, f"{REFERENCE}/{experiment.name}"):
        with suppress(Refusal):  # a ledger that is missing or spoiled is said where the result is read
            ledger = claims.read(folder / place / "claims.csv")
            usual = ledger["images"].mode()
            if len(usual):
                found.append((int(usual.iloc[0]), place.startswith(REFERENCE), sentences.table(ledger)))
    return sorted(found, key=lambda size: size[:2])


def on_other_data(experiment: Experiment, folder: Path) -> list[Result]:
    """Return what is stored of an experiment on other data than its own, below results/."""
    places = sorted((folder / OTHER_DATA).glob(f"*/{experiment.name}"))
    return [replace(read(experiment, place), place=place.relative_to(folder).as_posix()) for place in places]


def every(experiment: Experiment, folder: Path) -> list[Result]:
    """Return all results of an experiment below results/: first the `best`, then those of another scale or on other data."""
    first = best(experiment, folder)
    standard = [] if first.folder == experiment.name else [read(experiment, folder / experiment.name)]
    return [first, *(each for each in standard if each.state != MISSING), *on_other_data(experiment, folder)]


def read(experiment: Experiment, folder: Path) -> Result:
    """Return the results of an experiment in its `folder`, complete or not."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return Result(experiment, MISSING, ["Nothing of it is stored."], command=experiment.command)
    if not (folder / "claims.csv").exists():
        runs = len(list((folder / run_folders.RUNS).rglob(run_folders.DONE)))
        trained = (
            f"{runs} run folder{'s are' if runs != 1 else ' is'} finished" if runs else "no run folder is finished"
        )
        return Result(experiment, HALF, [f"It has no claims yet; {trained}."], command=experiment.command)
    try:
        ledger = claims.read(folder / "claims.csv")
    except Refusal as refusal:
        # Without the folder's own path, which is not the same everywhere.
        reason = str(refusal).removeprefix(f"{folder}/")
        return Result(experiment, HALF, [reason], command=experiment.command)
    try:
        stored = json.loads((folder / report.STORED).read_text(encoding="utf-8"))
        return _whole(experiment, folder, ledger, stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # its content is not what was written
        problem = f"Its {report.STORED} cannot be read."
        return Result(experiment, HALF, [problem], command=experiment.command, ledger=ledger)


def _whole(experiment: Experiment, folder: Path, ledger: pd.DataFrame, stored: dict) -> Result:
    """Return a result with all its texts, and its missing files."""
    problems = [*_altered(folder, stored), *_extended(folder, stored)]
    judged = set(ledger["sentence"])
    sections, named = [], set()
    for section in stored["sections"]:
        figures = [Figure(**figure) for figure in section["figures"]]
        named |= {Path(figure.file).stem for figure in figures}
        problems += [
            f"{figure.file} lies outside of the folder." for figure in figures if _outside(folder, figure.file)
        ]
        figures = [figure for figure in figures if not _outside(folder, figure.file)]
        problems += [f"{figure.file} is missing." for figure in figures if not (folder / figure.file).exists()]
        there = [figure for figure in figures if (folder / figure.file).exists()]
        # All of them, unless the ledger was altered, which is among the problems.
        own = [id for id in section["sentences"] if id in judged]
        sections.append(Section(section["title"], section["findings"], there, (), own))
    summary = stored["summary"] and Figure(**stored["summary"])
    if summary and _outside(folder, summary.file):
        problems.append(f"{summary.file} lies outside of the folder.")
        summary = None
    if summary and not (folder / summary.file).exists():
        problems.append(f"{summary.file} is missing.")
        summary = None
    unknown = set(ledger["figure"]) - named - {""}
    problems += [f"Claims name a figure {stem}, which its report does not have." for stem in sorted(unknown)]
    texts = {key: stored[key] for key in _TEXTS}
    texts["in_short"] = {id: text for id, text in stored["in_short"].items() if id in judged}
    page = "report.html" if (folder / "report.html").exists() else ""
    state = HALF if problems else COMPLETE
    return Result(
        experiment,
        state,
        list(dict.fromkeys(problems)),
        ledger=ledger,
        sections=sections,
        summary=summary,
        page=page,
        **texts,
    )


def _altered(folder: Path, stored: Mapping) -> list[str]:
    """Return a sentence for each file of a report that is not the one it was written with; those of older ones are not known."""
    due = {"claims.csv": stored["claims"], **stored.get("files", {})}
    own = [file for file in due if not _outside(folder, file)]
    there = [file for file in own if (folder / file).is_file()]
    other = [file for file in there if report.digest(folder / file) != due[file]]
    found = [f"{file} is missing." for file in own if file not in there]
    found += [
        f"{file} is not the one its report was written with: that was interrupted, or it was altered." for file in other
    ]
    return sorted(found)


def _extended(folder: Path, stored: Mapping) -> list[str]:
    """Return a sentence where run folders have changed since a report was drawn; those that are not there have not."""
    due = {file: mark for file, mark in stored.get("inputs", {}).items() if not _outside(folder, file)}
    marks = {file: folder / file for file in due if (folder / file).is_file()}
    other = sorted(str(Path(file).parent) for file, path in marks.items() if report.digest(path) != due[file])
    if not other:
        return []
    more = f" and {len(other) - 1} more" if len(other) > 1 else ""
    return [f"{other[0]}{more} changed since the report was drawn; the same command draws it again."]


def _outside(folder: Path, file: str) -> bool:
    """Return whether a file that a result names lies outside of its folder, also by a link."""
    return not (folder / file).resolve().is_relative_to(folder.resolve())


def load(folder: str | os.PathLike) -> Tables:
    """Return the results of an experiment, from its folder below results/: `claims`, and each of its tables by name.

    `load("results/headline").shapes` is tables/shapes.csv. No run folder is needed. `claims` is the ledger (`memo.reporting.claims`):
    `measured` with the interval `low` to `high`, in the claim's own `unit`, n seeds or pairs, and its verdict.

    Raises Refusal where there is no such folder, or a file in it is not readable, or not what its report was written with.
    """
    folder = Path(folder)
    if not (folder / "claims.csv").exists():
        raise Refusal(f"{folder} holds no claims.csv; give the folder of an experiment, such as results/headline.")
    with suppress(
        OSError, ValueError, KeyError, TypeError, AttributeError
    ):  # without a readable report.json nothing is known
        stored = json.loads((folder / report.STORED).read_text(encoding="utf-8"))
        if wrong := [problem for problem in _altered(folder, stored) if problem.startswith(("claims.csv", "tables/"))]:
            raise Refusal(f"{folder}: {wrong[0]} The command that made it writes it again.")
    return tables(folder)


def tables(folder: Path) -> Tables:
    """Return the tables of such a folder, whether or not its report was written with them."""
    found = {"claims": claims.read(folder / "claims.csv")}
    for file in sorted((folder / "tables").glob("*.csv")):
        try:
            found[file.stem] = report.read_table(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Refusal(f"{file} cannot be read: {error}.") from error
    return Tables(found)
