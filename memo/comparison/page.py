"""A comparison, and the page that it becomes.

compare(tables) ──> Comparison: tables, figures, findings ──write──> report.html, figures/, tables/, comparison.json
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from memo.comparison import drawings, estimates, keys, networks
from memo.comparison.drawings import Shown
from memo.comparison.estimates import estimate_of
from memo.comparison.keys import Layout
from memo.comparison.networks import RATIO, Measure
from memo.config import is_recipe_key
from memo.data import datasets
from memo.errors import Refusal
from memo.networks.status import DIVERGED
from memo.reporting import claims, figures
from memo.reporting.chapter import Text
from memo.reporting.report import Figure, Report, Section, apart, with_interval, write_page
from memo.reporting.report import Shown as ShownTable
from memo.statistics.curve_summary import LEVELS
from memo.storage.run_folders import DONE, Tables, replacing

STORED = "comparison.json"
ROWS = 40  # of a table on the page; all are in tables/
READ = ("curves", "confidence")  # the tables that are compared, beside trials
TIME = ("step", "epoch")
FINALS = ("final_train_accuracy", "final_test_accuracy", "final_train_loss", "final_test_loss")
TOLD = ("final_train_accuracy", "final_test_accuracy", "t99", "loss_linearity", "confidence_test", "confidence_uniform")


@dataclass(frozen=True)
class Comparison:
    """Networks compared: `tables` (networks, means, differences), `figures` by name, `findings` as sentences of HTML."""

    layout: Layout
    measures: Mapping[str, Measure]
    tables: Tables
    shown: Shown
    trials: pd.DataFrame

    @cached_property
    def figures(self) -> dict[str, Drawing]:
        """The figures by name; those that would be empty are left out."""
        with figures.look():
            return dict(self._drawn())

    def _drawn(self) -> Iterator[tuple[str, Drawing]]:
        shown, layout = self.shown, self.layout
        if shown.curves.empty:
            return
        for kind in ("accuracy", "loss"):
            yield kind, drawings.curves(shown, kind)
        yield "common_time", drawings.on_common_time(shown)
        sets = {"finals": FINALS, "times": tuple(networks.TIMES)}
        sets |= {
            f"shape_{kind}": tuple(name for name in self.measures if name.startswith(f"{kind}_")) for kind in LEVELS
        }
        means, differences = self.tables.means, self.tables.differences
        for name, columns in sets.items():
            known = [column for column in columns if self._known(means, column)]
            if known:
                some = [self.measures[column] for column in known]
                yield name, drawings.by_x(shown, means, some, layout.hue, layout.x)
        if shown.confidence is not None:
            yield "confidence", drawings.confidence(shown, self.inputs)
        known = [name for name in TOLD if name in self.measures and self._known(differences, name)]
        if layout.pair and known:
            x = (
                layout.x
                if layout.x is not layout.pair
                else layout.hue
                if layout.hue is not layout.pair
                else layout.pair
            )
            yield "pairs", drawings.by_x(shown, differences, [self.measures[name] for name in known], layout.pair, x)

    @staticmethod
    def _known(frame: pd.DataFrame, measure: str) -> bool:
        return bool(frame.loc[frame["measure"] == measure, "value"].notna().any())

    @property
    def inputs(self) -> list[str]:
        """The kinds of inputs that confidence was measured on."""
        return [name.removeprefix("confidence_") for name in self.measures if name.startswith("confidence_")]

    @property
    def facts(self) -> dict[str, Any]:
        """What the texts of the page are filled with."""
        frame, layout = self.tables.networks, self.layout
        by_recipe = frame.groupby(list(layout.keys), observed=True) if layout.keys else [((), frame)]
        seeds = [own["seed"].nunique() for _, own in by_recipe]
        possible = 1
        for key in layout.keys.values():
            possible *= len(key.levels)
        never = frame["t99"].isna() & (frame["status"] != DIVERGED)
        by_hue = frame[layout.hue.name] if layout.hue else pd.Series("", frame.index)
        means = self.tables.means[self.tables.means["measure"] == "final_test_accuracy"].dropna(subset=["value"])
        best = means.loc[means["value"].idxmax()] if len(means) else None
        return {
            "layout": layout,
            "keys": list(layout.keys.values()),
            "networks": len(frame),
            "recipes": len(seeds),
            "seeds": (min(seeds), max(seeds)),
            "possible": possible,
            "diverged": int((frame["status"] == DIVERGED).sum()),
            "never": {
                level: (int(never[own.index].sum()), len(own)) for level, own in by_hue.groupby(by_hue, observed=True)
            },
            "best": best,
            "best_estimate": None if best is None else estimate_of(best),
            "best_at": ""
            if best is None
            else keys.label(list(layout.keys.values()), [best[name] for name in layout.keys]),
            "told": estimates.told(
                self.tables.differences, layout, [self.measures[name] for name in TOLD if name in self.measures]
            ),
            "ranges": {name: self._range(name) for name in self.measures},
            "hues": {
                level: {name: self._range(name, level) for name in self.measures}
                for level in drawings.marks(layout.hue)
            },
            "measures": self.measures,
            "inputs": self.inputs,
            "time": self.shown.time,
            "datasets": sorted(self.trials["dataset.name"].unique()),
            "common": self._common(),
            "shown_levels": drawings.some(layout.pair.levels[1:], 3) if layout.pair else [],
            "lines": drawings.LINES,
            "drawn": {"hue": drawings.HUES, "across": drawings.ACROSS, "down": drawings.DOWN},
        }

    def _range(self, measure: str, hue: str | None = None) -> tuple[float, float] | None:
        """Return the least and the largest mean of a measure over recipes, or over those of a level of hue."""
        means = self.tables.means[self.tables.means["measure"] == measure].dropna(subset=["value"])
        if hue and self.layout.hue:
            means = means[means[self.layout.hue.name] == hue]
        return (means["value"].min(), means["value"].max()) if len(means) else None

    def _common(self) -> dict[str, str]:
        """Return the keys that all networks share, with their values as texts."""
        varying = {*self.layout.keys, *self.layout.tied}
        names = [name for name in self.trials if is_recipe_key(name) and name not in varying]
        return {name: keys.text(self.trials[name].iloc[0]) for name in names}

    @property
    def findings(self) -> list[str]:
        """What was found, in sentences."""
        text, facts = Text("memo.comparison", "page"), self.facts | _origin([], None)
        return [line for name in text.blocks if name.startswith("finding_") and (line := text.block(name, **facts))]

    def summary(self) -> pd.DataFrame:
        """Return one row per recipe as it is read: its keys, how many networks, how they ended, some of the means."""
        names = list(self.layout.keys)
        columns = [
            name
            for name in ("final_train_accuracy", "final_test_accuracy", "t99", "loss_linearity")
            if name in self.measures
        ]
        means = dict(list(self.tables.means.groupby("measure", sort=False)))
        rows = []
        for place, (levels, at) in enumerate(estimates.groups(self.tables.networks, names)):
            own = self.tables.networks.iloc[at]
            row: dict[str, Any] = {self.layout.keys[name].words: level for name, level in zip(names, levels)}
            row |= {"networks": len(own), "diverged": int((own["status"] == DIVERGED).sum())}
            row["reached 99 %"] = int(own["t99"].notna().sum())
            for name in columns:
                row[self.measures[name].words] = with_interval(estimate_of(means[name].iloc[place]), count=False)
            rows.append(row)
        return pd.DataFrame(rows)

    def compared(self) -> pd.DataFrame:
        """Return one row per comparison as it is read: its keys, n, and the difference or ratio of some measures."""
        key = self.layout.pair
        frame = self.tables.differences
        if key is None or frame.empty:
            return pd.DataFrame()
        names = [key.name, *(name for name in self.layout.keys if name != key.name)]
        rows: dict[tuple, dict[str, Any]] = {}
        for name in (name for name in TOLD if name in self.measures):
            measure = self.measures[name]
            sign = "× " if measure.scale == RATIO else ""
            own = frame[(frame["measure"] == name) & (frame["scale"] == measure.scale)]
            for row in own.to_dict("records"):
                found = rows.setdefault(
                    tuple(row[each] for each in names), {self.layout.keys[each].words: row[each] for each in names}
                )
                found.setdefault("n" if row["paired"] else "n, not paired", row["n"])
                found[measure.words] = sign + with_interval(estimate_of(row), count=False)
        return pd.DataFrame(list(rows.values())).fillna("")


def compare(
    tables: Tables,
    *,
    x: str | None = None,
    hue: str | None = None,
    rows: str | None = None,
    columns: str | None = None,
    pair: str | None = None,
    time: str = "step",
) -> Comparison:
    """Return what varies between the networks of `memo.load` and what differs with it: tables and figures.

    Keys are recipe keys by their dotted names, such as "labels.kind": `x` lies along an axis, `hue` is told apart by colour,
    `rows` and `columns` have panels of their own, and the levels of `pair` (None: those of hue) are compared within pairs of
    networks of the same seed that are equal in all other keys. What is None is chosen. `time` is "step" or "epoch".
    Raises Refusal for a key that does not vary, and where more keys vary than a page can tell apart.
    """
    if time not in TIME:
        raise Refusal(f"time is {time}; allowed is {' or '.join(TIME)}.")
    trials = tables.trials
    varying, levels = keys.varying(trials)
    asked = {"x": x, "hue": hue, "rows": rows, "columns": columns, "pair": pair}
    layout = keys.choose(varying, levels, {role: name for role, name in asked.items() if name is not None})
    levels = levels[list(layout.keys)]
    measures = networks.measures(networks.inputs_of(tables), time)
    own = networks.table(tables, levels, time)
    sound = own[own["status"] != DIVERGED]
    kept = ["trial", *layout.keys]
    curves = tables.curves.merge(sound[kept], on="trial")
    sure = tables.confidence.merge(sound[kept], on="trial") if "confidence" in tables else None
    classes = {datasets.shape(name).classes for name in trials["dataset.name"].unique() if name in datasets.REGISTRY}
    shown = Shown(sound, curves, sure, layout, time, classes.pop() if len(classes) == 1 else None)
    means = estimates.means(own, layout, measures)
    differences = estimates.differences(own, layout, measures)
    found = Tables(networks=own, means=means, differences=differences)
    return Comparison(layout, measures, found, shown, trials)


def write(comparison: Comparison, source: Path, folder: Path, sessions: Sequence[dict], command: str) -> None:
    """Write the page of what lies below `source` into `folder`, with its figures and tables, each file whole or not.

    Raises Refusal where a report lies there that this has not written.
    """
    before = _earlier(folder)
    text, facts = (
        Text("memo.comparison", "page"),
        comparison.facts | _origin(sessions, source) | {"source": source.name},
    )
    drawn = {
        name: figures.save(each, folder, name, dense=name == "common_time") for name, each in comparison.figures.items()
    }
    shown = {name: text.figure(file, **facts) for name, file in drawn.items()}
    report = Report(
        title=text.block("title", **facts),
        question=text.block("question", **facts),
        findings=[line for name in text.blocks if name.startswith("finding_") and (line := text.block(name, **facts))],
        ledger=claims.empty(),
        figures=[],
        methods=[line for name in text.blocks if name.startswith("method_") and (line := text.block(name, **facts))],
        not_shown=[line for name in text.blocks if name.startswith("limit_") and (line := text.block(name, **facts))],
        tables=dict(comparison.tables),
        sections=_sections(comparison, text, facts, shown),
    )
    with replacing(folder / STORED) as path:
        stored = {"command": command, "figures": list(drawn.values()), "trials": sorted(comparison.trials["trial"])}
        path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    write_page(report, folder, (), command)
    for file in set(before) - set(drawn.values()):
        (folder / file).unlink(missing_ok=True)


def _earlier(folder: Path) -> list[str]:
    """Return the figures of an earlier comparison in a folder; Refusal where another report lies there."""
    if not (folder / STORED).exists():
        if (folder / "report.html").exists():
            raise Refusal(f"{folder / 'report.html'} is the report of something else; choose another folder by out=...")
        return []
    try:
        files = json.loads((folder / STORED).read_text(encoding="utf-8"))["figures"]
    except (ValueError, KeyError, TypeError, OSError):
        return []
    return [file for file in files if re.fullmatch(r"figures/\w+\.(svg|png)", str(file))]


SECTIONS = {
    "Learning curves": ("accuracy", "loss", "common_time"),
    "Where they end": ("finals", "confidence"),
    "Times and shapes": ("times", "shape_loss", "shape_accuracy"),
}


def _sections(
    comparison: Comparison, text: Text, facts: Mapping[str, Any], shown: Mapping[str, Figure]
) -> list[Section]:
    def table(name: str, frame: pd.DataFrame) -> list[ShownTable]:
        if frame.empty:
            return []
        own = dict(facts) | {"rows": len(frame), "most": ROWS}
        return [ShownTable(text.block(f"{name}_title", **own), text.block(f"{name}_caption", **own), frame.head(ROWS))]

    sections = [Section("Networks", shown=table("summary", comparison.summary()))]
    key = comparison.layout.pair
    if key:
        pairs = [shown["pairs"]] if "pairs" in shown else []
        sections.append(
            Section(
                f"{key.words.capitalize()}, within pairs", figures=pairs, shown=table("compared", comparison.compared())
            )
        )
    for title, names in SECTIONS.items():
        if own := [shown[name] for name in names if name in shown]:
            sections.append(Section(title, figures=own))
    origin = pd.DataFrame(facts["origins"])
    return [*sections, *([Section("Origin", shown=table("origin", origin))] if len(origin) else [])]


def _origin(sessions: Sequence[dict], source: Path | None) -> dict[str, Any]:
    """Return where the networks come from, by code and machine, and how many run folders are not finished."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    digests: dict[str, set[str]] = {}
    for session in apart(sessions):
        device, git = session.get("device") or {}, session.get("git")
        code = "no git" if not git else git["commit"][:10] + (", changed" if git["changed"] else "")
        versions = ", ".join(f"{name} {version}" for name, version in (session.get("versions") or {}).items())
        machine = f"{device.get('count', '?')} × {device.get('kind', '?')} ({device.get('processor', '?')})"
        when = str(session.get("finished", ""))[:16].replace("T", " ")
        row = rows.setdefault((code, versions, machine), {"networks": 0, "from (UTC)": when, "to (UTC)": when})
        row["networks"] += session.get("networks", 0)
        row |= {"from (UTC)": min(row["from (UTC)"], when), "to (UTC)": max(row["to (UTC)"], when)}
        for name, files in (session.get("data") or {}).items():
            digests.setdefault(name, set()).add(json.dumps(files, sort_keys=True))
    runs = [path.parent for path in source.rglob(".hydra")] if source else []
    left = [run for run in runs if not (run / DONE).exists() and not any(run.rglob(DONE))]
    names = ("code", "versions", "machine")
    return {
        "origins": [row | dict(zip(names, origin)) for origin, row in rows.items()],
        "codes": sorted({origin[0] for origin in rows}),
        "versions": sorted({origin[1] for origin in rows}),
        "two_kinds": sorted(name for name, found in digests.items() if len(found) > 1),
        "left": len(left),
    }
