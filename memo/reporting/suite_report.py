"""The report of the whole suite: every experiment's finding, claims and figures on one page, as HTML and as Markdown.

Result, one an experiment ──> view ──> report.html (one file, nothing outside of it), report.md (links to figures)
"""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from memo.reporting import claims, inline_images
from memo.reporting.report import number, templates
from memo.reporting.results import COMPLETE, MISSING, Result
from memo.storage.run_folders import replacing

WIDE = 560  # CSS pixels from which on a figure is not shrunk to a phone's width but scrolled
# How a statement stands after all its numbers in one experiment.
WHOLE, PARTLY, NOT, OPEN = "Reproduced", "In part", "Not reproduced", "Undecided"


def write(results: Sequence[Result], folder: Path, command: str) -> None:
    """Write `report.html` and `report.md` into `folder`, which holds a folder for each result; each file whole or not."""
    view = _view(results, folder) | {"command": command}
    page = templates()
    page.globals["embed"] = lambda name, file: inline_images.data_uri(folder / name / file)
    page.globals["size"] = lambda name, file: inline_images.size(folder / name / file)
    page.globals["WIDE"] = WIDE
    text = templates(autoescape=False)
    text.filters["cell"] = _cell
    for environment, name in ((page, "report.html"), (text, "report.md")):
        environment.filters["range"] = _range
        environment.filters["length_of_time"] = _length_of_time
        written = environment.get_template(f"suite.{name.rpartition('.')[2]}").render(view)
        with replacing(folder / name) as path:
            path.write_text(written, encoding="utf-8")


def _view(results, folder):
    """Return everything that the templates show, under the names they use."""
    # Without claims: after all that has them.
    results = sorted(results, key=lambda result: result.state == COMPLETE and result.ledger.empty)
    ledger = pd.concat([result.ledger.assign(experiment=result.name) for result in results], ignore_index=True)
    lead = next((result for result in results if result.findings), None)
    methods = {result.name: list(result.methods) for result in results if result.methods}
    shared = _shared(methods)
    return {
        "lead": lead,
        "summary": lead and (lead.summary or next(iter(lead.figures), None)),
        "sections": [_section(result) for result in results],
        "unfinished": [result for result in results if result.state != COMPLETE],
        "ledger": list(_sources(ledger, {result.name: result for result in results})),
        "counts": _counts(ledger),
        "verdicts": claims.VERDICTS,
        "by_source": {source: _counts(own) for source, own in ledger.groupby("source", sort=False)},
        "experiments": list(dict.fromkeys(ledger["experiment"])),
        "shared_methods": shared,
        "own_methods": {name: [line for line in lines if line not in shared] for name, lines in methods.items()},
        "versions": _by_value(results, lambda session: _named(session["versions"])),
        "data": _by_value(
            results, lambda session: tuple((name, _pairs(files)) for name, files in session["data"].items())
        ),
        "MISSING": MISSING,
        "COMPLETE": COMPLETE,
    }


def _counts(ledger):
    return ledger["verdict"].value_counts().reindex(claims.VERDICTS, fill_value=0).to_dict()


def _section(result):
    """Return an experiment with what its section computes: verdicts, standing of its statements, time and place."""
    figures = [(f"{result.name}-{Path(figure.file).stem}", figure) for figure in result.figures]
    return {
        "result": result,
        "counts": _counts(result.ledger),
        "standing": _standing(result),
        "figures": figures,
        "training": _training(result.sessions),
        "drawn": result.drawn and result.drawn | {"code": _code(result.drawn["git"]), "when": _when(result.drawn)},
    }


def _standing(result: Result) -> dict[str, list[dict]]:
    """Return the statements of an experiment by whether all, some or none of their numbers are reproduced."""
    found: dict[str, list] = {WHOLE: [], PARTLY: [], NOT: [], OPEN: []}
    for (source, statement), own in result.ledger.groupby(["source", "statement"], sort=False):
        counts = {verdict: count for verdict, count in _counts(own).items() if count}
        verdicts = set(counts) - {claims.NOT_APPLICABLE}
        if verdicts <= {claims.UNDECIDED}:
            standing = OPEN
        elif verdicts == {claims.REPRODUCED}:
            standing = WHOLE
        else:
            standing = NOT if verdicts <= {claims.NOT_REPRODUCED, claims.UNDECIDED} else PARTLY
        place = {"source": source, "statement": statement, "id": _id(source, statement)}
        found[standing].append(place | {"counts": counts})
    return {standing: rows for standing, rows in found.items() if rows}


def _training(sessions: Sequence[dict]) -> dict | None:
    """Return what the training sessions of an experiment took and where, None where nothing is known of them."""
    if not sessions:
        return None
    days = sorted(_when(session) for session in sessions)
    return {
        "networks": sum(session["networks"] for session in sessions),
        "programs": len(sessions),
        **{
            part: sum(session[f"{part}_seconds"] for session in sessions)
            for part in ("prepare", "compile", "train", "probe", "program")
        },
        "device": list(dict.fromkeys(_place(session["device"]) for session in sessions)),
        "code": list(dict.fromkeys(_code(session["git"]) for session in sessions)),
        "from": days[0],
        "to": days[-1],
    }


def _place(device):
    workers = f", {device['workers']} workers" if device.get("workers", 1) > 1 else ""
    return f"{device['count']} × {device['kind']} ({device['processor']}){workers}"


def _when(entry):
    """Return the minute in which something was finished, which is stored in ISO 8601."""
    return entry["finished"][:16].replace("T", " ")


def _code(git):
    return f"{git['commit'][:10]}{', changed' if git['changed'] else ''}" if git else "no git"


def _sources(ledger: pd.DataFrame, results: Mapping[str, Result]) -> Iterator[dict]:
    """Yield each source with its statements, and each of these with one row a claim."""
    for source, own in ledger.groupby("source", sort=False):
        statements = [
            {
                "statement": statement,
                "id": _id(source, statement),
                "rows": [_row(row, results[row["experiment"]]) for row in rows.to_dict("records")],
            }
            for statement, rows in own.groupby("statement", sort=False)
        ]
        yield {"source": source, "id": _id(source), "statements": statements, "claims": len(own)}


def _row(row, result):
    stems = [Path(figure.file).stem for figure in result.figures]
    accept, _, direction = row["expected"].partition(" (direction: ")
    measured = row["measured"] == row["measured"]
    interval = measured and row["low"] == row["low"]
    return row | {
        "id": f"claim-{row['experiment']}-{row['claim']}",
        "accept": accept,
        "direction": direction.removesuffix(")"),
        "measured": number(row["measured"]) if measured else "",
        "interval": f"{number(row['low'])} to {number(row['high'])}" if interval else "no interval" if measured else "",
        "picture": _picture(result, stems.index(row["figure"])) if row["figure"] in stems else None,
    }


def _picture(result, place):
    figure = result.figures[place]
    anchor = f"{result.name}-{Path(figure.file).stem}"
    return {"id": anchor, "file": figure.file, "title": figure.title, "number": place + 1}


def _shared(methods: dict[str, list[str]]) -> list[str]:
    """Return the lines on methods that several experiments have word for word."""
    lines = [line for own in methods.values() for line in dict.fromkeys(own)]
    return [line for line in dict.fromkeys(lines) if lines.count(line) > 1]


def _by_value(results, value):
    """Return the names of experiments by what `value(session)` is in any of their sessions."""
    found: dict[Any, dict[str, None]] = {}
    for result in results:
        for session in result.sessions:
            found.setdefault(value(session), {})[result.name] = None
    return {key: list(names) for key, names in found.items()}


def _named(versions):
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _pairs(files):
    return tuple(files.items())


def _id(*texts):
    """Return an anchor made of texts: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(texts).lower()).strip("-")


def _range(expected):
    """Return an expected range as it is printed."""
    return expected.replace(">=", "≥").replace("<=", "≤").replace("-", "−")


def _length_of_time(seconds):
    return f"{seconds / 60:.1f} minutes" if seconds >= 90 else f"{seconds:.1f} s"


def _cell(text):
    """Return plain text for a cell of a Markdown table, or a line of it."""
    return re.sub(r"([\\`*_|\[\]$~])", r"\\\1", html.escape(str(text), quote=False))


def unfinished(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each experiment that is not complete, with the command that makes it so."""
    return [
        f"{result.name} is {result.state}. {' '.join(result.problems)} {result.experiment.command} makes it."
        for result in results
        if result.state != COMPLETE
    ]
