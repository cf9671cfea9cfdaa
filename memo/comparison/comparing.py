"""What varies between networks and what differs with it: tables, figures and sentences, for a notebook or a page.

compare(memo.load(folder)) ──> Comparison
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from memo.comparison import drawings, estimates, keys, networks
from memo.comparison.drawings import EVERY, Shown
from memo.comparison.estimates import estimate_of
from memo.comparison.keys import Layout
from memo.comparison.networks import Measure
from memo.config import is_recipe_key
from memo.data import datasets
from memo.errors import Refusal
from memo.networks.status import DIVERGED
from memo.reporting import figures
from memo.reporting.chapter import Text
from memo.statistics.curve_summary import LEVELS
from memo.storage.run_folders import Tables

READ = ("curves", "confidence")  # the tables that are compared, beside trials
TIMES = ("step", "epoch")
FINALS = ("final_train_accuracy", "final_test_accuracy", "final_train_loss", "final_test_loss")
PAIRED = ("final_test_accuracy", "t99", "loss_linearity", "confidence_uniform")
# What is said in sentences and shown in tables; the files have all measures.
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
        yield "accuracy", drawings.curves(shown, "accuracy")
        yield "loss", drawings.curves(shown, "loss")
        yield "common_time", drawings.on_common_time(shown)
        sets = {"finals": FINALS, "times": tuple(networks.TIMES)}
        sets |= {f"shape_{kind}": tuple(name for name in self.measures if name.startswith(kind)) for kind in LEVELS}
        for name, columns in sets.items():
            if measures := self._known(self.tables.means, columns):
                yield name, drawings.by_x(shown, self.tables.means, measures, shown.hue, layout.x)
        if self.inputs:
            yield "confidence", drawings.confidence(shown, self.inputs)
        measures = self._known(self.tables.differences, PAIRED)
        if layout.pair and measures:
            other = [key for key in (layout.x, layout.hue, layout.pair) if key is not layout.pair]
            x = other[0] if other else layout.pair
            yield "pairs", drawings.by_x(shown, self.tables.differences, measures, layout.pair, x)

    def _known(self, frame: pd.DataFrame, columns: tuple[str, ...]) -> list[Measure]:
        """Return those of the measures that have a value in some row."""
        known = set(frame[frame["value"].notna()]["measure"])
        return [self.measures[name] for name in columns if name in known]

    @property
    def told(self) -> dict[str, Measure]:
        """The measures of TOLD that these networks have."""
        return {name: self.measures[name] for name in TOLD if name in self.measures}

    @property
    def inputs(self) -> list[str]:
        """The kinds of inputs that some network has a confidence on."""
        return [name.removeprefix("confidence_") for name in self.measures if name.startswith("confidence_")]

    @property
    def findings(self) -> list[str]:
        """What was found, in sentences."""
        return blocks("finding", self.facts)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the texts are filled with."""
        frame, layout = self.tables.networks, self.layout
        names, pair = list(layout.keys), layout.pair
        seeds = [frame["seed"].iloc[places].nunique() for _, places in estimates.groups(frame, names)]
        never = frame["t99"].isna() & (frame["status"] != DIVERGED)
        hues = list(layout.hue.levels) if layout.hue else [""]
        of_hue = {level: frame[layout.hue.name] == level if layout.hue else frame["seed"] >= 0 for level in hues}
        means = self.tables.means[self.tables.means["measure"] == "final_test_accuracy"].dropna(subset=["value"])
        best = means.loc[means["value"].idxmax()].to_dict() if len(means) else None
        common = [name for name in self.trials if is_recipe_key(name) and name not in {*names, *layout.tied}]
        return {
            "layout": layout,
            "keys": list(layout.keys.values()),
            "networks": len(frame),
            "recipes": len(seeds),
            "seeds": (min(seeds), max(seeds)),
            "possible": math.prod(len(key.levels) for key in layout.keys.values()),
            "diverged": int((frame["status"] == DIVERGED).sum()),
            "never": {level: (int((never & own).sum()), int(own.sum())) for level, own in of_hue.items()},
            "best": best and estimate_of(best),
            "best_at": best and ", ".join(key.called(best[name]) for name, key in layout.keys.items()),
            "told": estimates.told(self.tables.differences, layout, list(self.told.values())),
            "levels": drawings.some(pair.levels[1:], 2) if pair else [],
            "ranges": self._ranges(self.tables.means),
            "hues": {
                level: self._ranges(drawings.where(self.tables.means, {layout.hue.name: level} if layout.hue else {}))
                for level in hues
            },
            "inputs": self.inputs,
            "time": self.shown.time,
            "datasets": sorted(self.trials["dataset.name"].unique()),
            "common": {name: keys.text(self.trials[name].iloc[0]) for name in common},
            "limits": {"lines": drawings.LINES, "hue": drawings.HUES, "across": drawings.ACROSS, "down": drawings.DOWN},
        }

    def _ranges(self, means: pd.DataFrame) -> dict[str, tuple[float, float] | None]:
        """Return the least and the largest of some means by measure, None where there is none."""
        found = means.groupby("measure")["value"].agg(["min", "max"]).dropna()
        return {name: tuple(found.loc[name]) if name in found.index else None for name in self.measures}


def blocks(kind: str, facts: Mapping[str, Any]) -> list[str]:
    """Return the blocks of text/page.j2 whose names begin with a kind, those that have something to say; one of `told` for each."""
    text, lines = Text("memo.comparison", "page"), list[str]()
    for name in text.blocks:
        if name.startswith(f"{kind}_"):
            of = facts["told"] if name.endswith("_told") else [None]
            lines += [text.block(name, **facts, each=each) for each in of]
    return [line for line in lines if line]


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
    if time not in TIMES:
        raise Refusal(f"time is {time}; allowed is {' or '.join(TIMES)}.")
    trials = tables.trials
    varying, levels = keys.varying(trials)
    asked = {"x": x, "hue": hue, "rows": rows, "columns": columns, "pair": pair}
    layout = keys.choose(varying, levels, {role: name for role, name in asked.items() if name is not None})
    levels = levels[list(layout.keys)]
    measures = networks.measures(networks.inputs_of(tables), time)
    own = networks.table(tables, levels, time)
    sound = own[own["status"] != DIVERGED].assign(**{EVERY.name: ""})
    kept = sound[["trial", *layout.keys, EVERY.name]]
    sure = tables.confidence.merge(kept, on="trial") if "confidence" in tables else None
    classes = {datasets.shape(name).classes for name in trials["dataset.name"].unique() if name in datasets.REGISTRY}
    alike = classes.pop() if len(classes) == 1 else None
    shown = Shown(sound, tables.curves.merge(kept, on="trial"), sure, layout, time, alike)
    means, differences = (make(own, layout, measures) for make in (estimates.means, estimates.differences))
    return Comparison(layout, measures, Tables(networks=own, means=means, differences=differences), shown, trials)
