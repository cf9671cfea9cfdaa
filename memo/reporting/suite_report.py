"""The report of the whole suite: statements of sources and findings, on one page, as HTML and as Markdown.

Result, one per experiment ──> view ──> report.html (one file with a figure of each experiment), report.md; both link to pages and figures

For two minutes: the question, one figure, at most ten sentences. For ten: chapter by chapter, quoted and cited. For an
afternoon: the ledger with filters, methods, changes, references, provenance.
"""

import html
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from memo.reporting import claims, inline_images, multiplicity, sentences, sources, view
from memo.reporting import results as stored
from memo.reporting.report import number, templates
from memo.reporting.results import COMPLETE, MISSING, Result
from memo.reporting.view import SentenceView
from memo.storage.run_folders import replacing

WIDE = 560  # CSS pixels from which on a figure is not shrunk to a phone's width but scrolled
TIMES = (
    "Times are those of the stored training sessions, by the code of that day and beside whatever else the machine did. "
    "What a command takes by itself stands under Experiments."
)
OPENING = 10  # sentences, the most that a reader of two minutes takes in


def write(results: Sequence[Result], folder: Path, command: str) -> None:
    """Write `report.html`, `report.md` and `references.bib` into `folder`, which holds a folder for each result.

    Each file is written whole or not at all.
    """
    changes = {"scale_changes": _scale_changes(results, folder), "data_changes": _data_changes(results, folder)}
    shown = _view(results) | {"command": command} | changes
    page = templates()
    page.globals["embed"] = lambda name, file: inline_images.data_uri(folder / name / file)
    page.globals["size"] = lambda name, file: inline_images.size(folder / name / file)
    page.globals["WIDE"] = WIDE
    text = templates(autoescape=False)
    text.filters["cell"] = _cell
    for environment, name in ((page, "report.html"), (text, "report.md")):
        environment.filters["length_of_time"] = _length_of_time
        written = environment.get_template(f"suite.{name.rpartition('.')[2]}").render(shown)
        with replacing(folder / name) as path:
            path.write_text(written, encoding="utf-8")
    with replacing(folder / "references.bib") as path:
        path.write_text(sources.to_bibtex(shown["references_of"]), encoding="utf-8")


def _view(results: Sequence[Result]) -> dict[str, Any]:
    """Return the values of the templates, under the names they use."""
    # Without claims: after all that has them.
    results = sorted(results, key=lambda result: result.state == COMPLETE and result.ledger.empty)
    ledger = pd.concat([result.ledger.assign(experiment=result.name) for result in results], ignore_index=True)
    of = {result.name: view.of_ledger(result.ledger, result.name) for result in results}
    every = [sentence for own in of.values() for sentence in own]
    lead = next((result for result in results if result.summary), None)
    methods = {result.name: list(result.methods) for result in results if result.methods}
    shared = _shared(methods)
    known = sources.load()
    return {
        "opening": _opening(results, of),
        "lead": lead,
        "of_sources": view.tally(every, own=False),
        "own": view.tally(every, own=True),
        "by_source": _by_source(every),
        "sections": [_section(result, of[result.name]) for result in results],
        "unfinished": [result for result in results if result.state != COMPLETE],
        "ledger": list(_sources(ledger, {result.name: result for result in results})),
        "multiplicity": multiplicity.of_ledger(ledger),
        "verdicts": claims.VERDICTS,
        "experiments": list(dict.fromkeys(ledger["experiment"])),
        "shared_methods": shared,
        "own_methods": {name: [line for line in lines if line not in shared] for name, lines in methods.items()},
        "changes": {result.name: result.changes for result in results if result.changes},
        "references_of": {key: known[key] for key in sorted(view.cited(every, _texts(results)))},
        "versions": _by_value(results, lambda session: f"{_named(session['versions'])}; {_device(session['device'])}"),
        "data": _by_value(
            results, lambda session: tuple((name, tuple(files.items())) for name, files in session["data"].items())
        ),
        "TIMES": TIMES,
        "MISSING": MISSING,
        "COMPLETE": COMPLETE,
    }


def _texts(results: Sequence[Result]) -> list[str]:
    """Return the texts of all experiments that may name a source."""
    own = [[*result.methods, *result.findings, *result.not_shown] for result in results]
    return [*itertools.chain(*own), *(figure.caption for result in results for figure in result.figures)]


def _opening(results: Sequence[Result], of: Mapping[str, Sequence[SentenceView]]) -> list[dict]:
    """Return the key findings of all experiments in plain words, each with the sentence that it answers.

    At most ten, the first of each experiment before the second.
    """
    by_experiment = []
    for result in results:
        own = {sentence.id: sentence for sentence in of[result.name]}
        by_experiment.append(
            [{"text": text, "sentence": own[id], "experiment": result.name} for id, text in result.in_short.items()]
        )
    most = max(map(len, by_experiment), default=0)
    kept = [lines[place] for place in range(most) for lines in by_experiment if place < len(lines)][:OPENING]
    return [line for lines in by_experiment for line in lines if line in kept]


def _by_source(every: Sequence[SentenceView]) -> dict[str, dict[str, int]]:
    """Return by source how many of its sentences have which verdict."""
    named = dict.fromkeys(sentence.source for sentence in every if sentence.kind != sources.OWN)
    return {source: view.tally([each for each in every if each.source == source], own=False) for source in named}


def _section(result: Result, own: Sequence[SentenceView]) -> dict[str, Any]:
    """Return an experiment with what its section computes: its chapters' sentences, times and places."""
    by_id = {sentence.id: sentence for sentence in own}
    first = next((figure for section in result.sections for figure in section.figures), None)
    chapters = [
        {
            "title": section.title,
            "anchor": view.anchor("chapter", result.name, section.title),
            "findings": section.findings,
            "sentences": [by_id[id] for id in section.sentences],
            # All figures of all experiments would take ten megabytes: the others are in the experiment's own page.
            "shown": [figure for figure in section.figures if figure is first],
            "linked": [(_place(result, figure.file), figure) for figure in section.figures if figure is not first],
        }
        for section in result.sections
    ]
    return {
        "result": result,
        "chapters": chapters,
        "of_sources": view.tally(own, own=False),
        "images": result.images or 0,
        "training": _training(result.sessions),
        "drawn": result.drawn and result.drawn | {"code": _code(result.drawn["git"]), "when": _when(result.drawn)},
    }


def _scale_changes(results: Sequence[Result], folder: Path) -> list[dict[str, Any]]:
    """Return by experiment the sentences whose verdict differs between stored numbers of images, and how many do not."""
    found = []
    for result in results:
        judged = stored.sizes(result.experiment, folder)
        usual = [images for images, *_ in judged]
        names = [  # networks at `reference` may have as many images, and differ in width, number or length of training
            f"{images:,} images" + (", reference" if reference and usual.count(images) > 1 else "")
            for images, reference, _ in judged
        ]
        found.append(_differences(result.name, dict(zip(names, (table for *_, table in judged)))))
    return [each for each in found if each]


def _data_changes(results: Sequence[Result], folder: Path) -> list[dict[str, Any]]:
    """Return the same between an experiment's own data and other data at the same scale, with the pages of the latter."""
    found = []
    for result in results:
        others = [each for each in stored.on_other_data(result.experiment, folder) if each.state == COMPLETE]
        standard = stored.read(result.experiment, folder / result.name)
        # Verdicts at all images beside those on other data at fewer would differ by both.
        for scale, own in {each.scale: each for each in (standard, result)}.items():
            if alike := [each for each in others if each.scale == scale]:
                each = _differences(result.name, {_data(each): sentences.table(each.ledger) for each in (own, *alike)})
                found.append(each and each | {"pages": [f"{each.folder}/{each.page}" for each in alike]})
    return [each for each in found if each]


def _data(result: Result) -> str:
    """Return the names of the data sets that the networks of a result were trained on."""
    return ", ".join(sorted({name for session in result.sessions for name in session["data"]}))


def _differences(name: str, judged: Mapping[str, pd.DataFrame]) -> dict[str, Any] | None:
    """Return what differs between the tables of judged sentences by setting; None where there is one setting at most.

    A sentence that is not tested in a setting has no verdict there that could differ.
    """
    if len(judged) < 2:
        return None
    tables = {setting: table.set_index("sentence") for setting, table in judged.items()}
    verdicts = pd.DataFrame({setting: table["verdict"] for setting, table in tables.items()}).dropna()
    tested = verdicts.where(verdicts != sentences.NOT_TESTED)
    changed = verdicts[tested.nunique(axis=1) > 1]
    same = (tested.nunique(axis=1) == 1) & (tested.count(axis=1) > 1)
    statements = next(reversed(tables.values()))["statement"]
    rows = [{"statement": statements[id], "verdicts": own.tolist()} for id, own in changed.iterrows()]
    return {"name": name, "settings": list(verdicts), "rows": rows, "same": int(same.sum()), "pages": []}


def _place(result: Result, file: str) -> str:
    """Return where a figure is seen: in the experiment's own page, or, without one, by itself."""
    return f"{result.folder}/{result.page}#{Path(file).stem}" if result.page else f"{result.folder}/{file}"


def _training(sessions: Sequence[dict]) -> dict | None:
    """Return times and devices of an experiment's training sessions, None where they are unknown."""
    if not sessions:
        return None
    days = sorted(_when(session) for session in sessions)
    return {
        "networks": sum(session["networks"] for session in sessions),
        **{
            part: sum(session[f"{part}_seconds"] for session in sessions)
            for part in ("compile", "train", "probe", "program")
        },
        "device": list(dict.fromkeys(_device(session["device"]) for session in sessions)),
        "code": list(dict.fromkeys(_code(session["git"]) for session in sessions)),
        "from": days[0],
        "to": days[-1],
    }


def _device(device: Mapping) -> str:
    workers = f", {device['workers']} workers" if device.get("workers", 1) > 1 else ""
    return f"{device['count']} × {device['kind']} ({device['processor']}){workers}"


def _when(entry: Mapping) -> str:
    """Return the minute in which something was finished, which is stored in ISO 8601."""
    return entry["finished"][:16].replace("T", " ")


def _code(git: Mapping | None) -> str:
    return f"{git['commit'][:10]}{', changed' if git['changed'] else ''}" if git else "no git"


def _sources(ledger: pd.DataFrame, results: Mapping[str, Result]) -> Iterator[dict]:
    """Yield each source with its statements, and each of these with one row per claim."""
    for source, own in ledger.groupby("source", sort=False):
        statements = [
            {
                "statement": statement,
                "rows": [_row(row, results[row["experiment"]]) for row in rows.to_dict("records")],
            }
            for (_, statement), rows in own.groupby(["experiment", "statement"], sort=False)
        ]
        yield {"source": source, "id": view.anchor("source", source), "statements": statements}


def _row(row: dict, result: Result) -> dict:
    file = next((figure.file for figure in result.figures if Path(figure.file).stem == row["figure"]), None)
    measured = row["measured"] == row["measured"]
    interval = measured and row["low"] == row["low"]
    return row | {
        "id": f"claim-{row['experiment']}-{row['claim']}",
        "sentence_anchor": view.anchor("sentence", row["experiment"], row["sentence"] or row["statement"]),
        "measured": number(row["measured"]) if measured else "",
        "interval": f"{number(row['low'])} to {number(row['high'])}" if interval else "no interval" if measured else "",
        "picture": _place(result, file) if file else None,
    }


def _shared(methods: dict[str, list[str]]) -> list[str]:
    """Return the lines on methods that several experiments have word for word."""
    lines = [line for own in methods.values() for line in dict.fromkeys(own)]
    return [line for line in dict.fromkeys(lines) if lines.count(line) > 1]


def _by_value(results: Sequence[Result], value: Callable[[dict], Any]) -> dict[Any, list[str]]:
    """Return the names of experiments by what `value(session)` is in any of their sessions."""
    found: dict[Any, dict[str, None]] = {}
    for result in results:
        for session in result.sessions:
            found.setdefault(value(session), {})[result.name] = None
    return {key: list(names) for key, names in found.items()}


def _named(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _length_of_time(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 90 else f"{seconds:.1f} s"


def _cell(text: object) -> str:
    """Return plain text for a cell of a Markdown table, or a line of it."""
    return re.sub(r"([\\`*_|\[\]$~])", r"\\\1", html.escape(str(text), quote=False))


def unfinished(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each experiment that is not complete, with the command that makes it so."""
    return [
        f"{result.name} is {result.state}. {' '.join(result.problems)} {result.experiment.command} makes it."
        for result in results
        if result.state != COMPLETE
    ]
