"""What the experiments have left below results/: claims, figures, provenance, or what of them is missing.

    conf/experiment/<name>.yaml ──> Experiment ──> results/<name>/ ──> Result

Only committed files are needed: claims.csv, findings.md, report.json and figures/. Nothing is trained or analysed here,
and no module of an experiment is imported.
"""

import ast
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from memo.errors import Refusal
from memo.reporting import claims, report
from memo.reporting.report import Figure
from memo.storage import run_folders
from memo.storage.run_folders import Tables

COMPLETE, EARLIER, HALF, MISSING = "complete", "of an earlier version", "half finished", "missing"
SUITE = Path(__file__).resolve().parents[2]
_PICTURES = {".svg", ".png"}
_IN_MARKDOWN = re.compile(r"!\[(?P<alt>[^\]]+)\]\((?P<file>[^)]+)\)\s+(?P<caption>[^!\n][^\n]*)")


@dataclass(frozen=True)
class Experiment:
    """An experiment as it describes itself; `takes` is what its docstring says of the time, or empty."""

    name: str
    question: str
    takes: str

    @property
    def command(self) -> str:
        """The command that runs it."""
        return f"python -m experiments.{self.name}"


@dataclass(frozen=True)
class Result:
    """What an experiment has left; `problems` are sentences that say what is not there, none where it is complete.

    Texts may hold HTML where a `memo.reporting.report.Report` says so. `page` is its own report below its folder, or empty.
    `command` redraws it. `drawn` is None where nothing says when that was last done.
    """

    experiment: Experiment
    state: str = COMPLETE
    problems: Sequence[str] = ()
    title: str = ""
    page: str = ""
    command: str = ""
    ledger: pd.DataFrame = field(default_factory=claims.empty)
    findings: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    summary: Figure | None = None
    methods: Sequence[str] = ()
    not_shown: Sequence[str] = ()
    sessions: Sequence[dict] = ()
    drawn: dict | None = None

    @property
    def name(self) -> str:
        """The experiment's name, which is that of its folder."""
        return self.experiment.name


def experiments(root: Path = SUITE, first: str = "headline") -> list[Experiment]:
    """Return every experiment of conf/experiment/ in the order of their names, but that called `first` before all."""
    names = sorted((path.stem for path in root.glob("conf/experiment/*.yaml")), key=lambda name: (name != first, name))
    return [_described(name, root / "experiments") for name in names]


def _described(name, code):
    module = next((path for path in (code / f"{name}.py", code / name / "__init__.py") if path.exists()), None)
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) if module else None
    question, _, rest = (text or name.replace("_", " ").capitalize()).partition("\n\n")
    takes = re.search(rf"python -m experiments\.{name} {{2,}}(.+)", rest)
    return Experiment(name, " ".join(question.split()), takes[1].strip() if takes else "")


def read(experiment: Experiment, folder: Path) -> Result:
    """Return what an experiment has left in its `folder`, whatever state that is in."""
    name = experiment.name
    if not folder.is_dir() or not any(folder.iterdir()):
        return Result(experiment, MISSING, ["Nothing of it is stored."], command=experiment.command)
    if (folder / f"{name}.md").exists():
        return _with_page_of_its_own(experiment, folder)
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
    if not (folder / report.STORED).exists():
        return _of_an_earlier_version(experiment, folder, ledger)
    try:
        stored = json.loads((folder / report.STORED).read_text(encoding="utf-8"))
    except ValueError:
        return Result(
            experiment, HALF, [f"Its {report.STORED} cannot be read."], command=experiment.command, ledger=ledger
        )
    summary = stored["summary"] and Figure(**stored["summary"])
    pictures = [Figure(**figure) for figure in stored["figures"]]
    problems = []
    if stored["claims"] != report.digest(folder / "claims.csv"):
        problems.append("claims.csv is not the one its report was written with: writing it was interrupted.")
    there, absent = _there(pictures, folder)
    problems += [f"{file} is missing." for file in absent]
    if summary and not (folder / summary.file).exists():
        problems.append(f"{summary.file} is missing.")
        summary = None
    known = {Path(figure.file).stem for figure in pictures}
    unknown = set(ledger["figure"]) - known - {""}
    problems += [f"Claims name a figure {stem}, which its report does not have." for stem in sorted(unknown)]
    texts = {key: stored[key] for key in ("title", "findings", "methods", "not_shown", "sessions", "drawn", "command")}
    page = "report.html" if (folder / "report.html").exists() else ""
    state = HALF if problems else COMPLETE
    return Result(experiment, state, problems, ledger=ledger, figures=there, summary=summary, page=page, **texts)


def load(folder: str | os.PathLike) -> Tables:
    """Return what an experiment reports, from its folder below results/: `claims`, and each of its tables by name.

    `load("results/headline").shapes` is tables/shapes.csv. No run folder is needed. `claims` is the ledger (`memo.reporting.claims`):
    `measured` with the interval `low` to `high`, in the claim's own `unit`, n seeds or pairs, and its verdict.

    Raises Refusal where there is no such folder, or a table in it is not readable.
    """
    folder = Path(folder)
    if not (folder / "claims.csv").exists():
        raise Refusal(f"{folder} holds no claims.csv; give the folder of an experiment, such as results/headline.")
    tables = {"claims": claims.read(folder / "claims.csv")}
    for file in sorted((folder / "tables").glob("*.csv")):
        try:
            tables[file.stem] = report.read_table(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Refusal(f"{file} cannot be read: {error}.") from error
    return Tables(tables)


def _there(pictures, folder):
    there = [figure for figure in pictures if (folder / figure.file).exists()]
    return there, [figure.file for figure in pictures if figure not in there]


def _of_an_earlier_version(experiment, folder, ledger):
    """Return what can be told without a report.json: figures without their captions, sessions if run folders are there."""
    stems = list(dict.fromkeys(ledger["figure"]))
    files = [path for path in sorted((folder / "figures").glob("*")) if path.suffix in _PICTURES]
    # In the order in which the claims need them.
    files.sort(key=lambda path: stems.index(path.stem) if path.stem in stems else len(stems))
    unnamed = [
        Figure(
            f"figures/{path.name}",
            path.stem.replace("_", " ").capitalize(),
            "",
            f"{_plain(path.stem)}, of {experiment.name}",
        )
        for path in files
    ]
    summary = next((figure for figure in unnamed if Path(figure.file).stem == "summary"), None)
    findings = folder / "findings.md"
    lines = findings.read_text(encoding="utf-8").splitlines() if findings.exists() else []
    runs = folder / run_folders.RUNS
    problem = (
        f"Without a {report.STORED}, which came later, its captions, methods and times are not known here; its command "
        "adds them."
    )
    return Result(
        experiment,
        EARLIER,
        [problem],
        title=_plain(experiment.name).capitalize(),
        page="report.html" if (folder / "report.html").exists() else "",
        command=experiment.command,
        ledger=ledger,
        findings=[line.removeprefix("- ") for line in lines if line.strip()],
        figures=[figure for figure in unnamed if figure is not summary],
        summary=summary,
        sessions=report.apart(run_folders.provenance(runs)) if runs.is_dir() else (),
    )


def _with_page_of_its_own(experiment, folder):
    """Return what stands in the page of an experiment without claims: the lines of its finding, and its figures."""
    page = f"{experiment.name}.md"
    text = (folder / page).read_text(encoding="utf-8")
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    finding = re.search(r"^## Finding\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("- ") for line in (finding[1] if finding else "").splitlines() if line.strip()]
    pictures = [
        Figure(found["file"], found["alt"], _html(found["caption"]), found["alt"])
        for found in _IN_MARKDOWN.finditer(text)
    ]
    there, absent = _there(pictures, folder)
    command = re.search(r"^Written by `([^`]+)`", text, re.MULTILINE)
    return Result(
        experiment,
        HALF if absent else COMPLETE,
        [f"{file} is missing." for file in absent],
        title=title[1] if title else experiment.name,
        page=page,
        command=command[1] if command else experiment.command,
        findings=[_html(line) for line in lines],
        figures=there,
    )


def _plain(name):
    return name.replace("_", " ")


def _html(markdown):
    """Return a line of Markdown with bold text and code as HTML."""
    text = markdown.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text))
