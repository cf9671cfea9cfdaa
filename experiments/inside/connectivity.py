"""Valleys: straight lines between copies of a network that part, and curves between networks from other initial weights."""

import sys
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.inside import copies
from experiments.inside.copies import APART, CURVE, LINE, PARTINGS
from experiments.inside.networks import BY_LABELS, LABELS, both, trials_of
from memo.commands.evidence import Evidence
from memo.measures import curves, landscape
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import Estimate, mean_interval, share
from memo.statistics.over_seeds import Answer, missing, over_seeds
from memo.storage.run_folders import Tables

WAYS = {LINE: Mark("straight line", palette.VERMILION, "s", palette.DASHED), CURVE: Mark("curve", palette.BLUE, "o")}
NAMES = {"start": "before\ntraining", "half": "at 50 %", "late": "at 90 %", APART: "never\ntogether"}
STABLE = 0.02  # from which Frankle et al. call a network unstable
NEVER = "a network that diverged, or had no evaluation between the accuracy at which copies part and its end"


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return losses and errors along lines and curves between networks, by kind of labels."""
    asked = evidence.settings["connectivity"]
    images, points, steps = (int(asked[name]) for name in ("images", "points", "curve_steps"))
    code, parts = (sys.modules[__name__], copies, landscape, curves), []
    for kind, arm in BY_LABELS.items():
        trials = trials_of(evidence, arm, images)
        for seed in both(evidence, images)[: int(asked["seeds"])]:
            compute = partial(copies.between, trials[seed], evidence.dataset, points, steps)
            key = [trials[seed].id, points, steps]
            found = evidence.once(f"connectivity-{kind}-{seed}", code, key, compute)
            parts.append(found.assign(labels=kind, images=images))
    columns = [
        "seed",
        "parting",
        "epoch",
        "way",
        "along",
        "train_loss",
        "train_error",
        "test_error",
        "labels",
        "images",
    ]
    return {"connectivity": pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)}


def instability(table: pd.DataFrame, kind: str, parting: str, way: str = LINE, error: str = "train_error") -> pd.Series:
    """Return the largest error between two networks above the mean of its ends, by seed. Source: Frankle et al. 2020."""
    asked = table[table["labels"] == kind]
    own = asked[(asked["parting"] == parting) & (asked["way"] == way)]
    rows = own.pivot(index="seed", columns="along", values=error).sort_index(axis=1).astype(float)
    if rows.empty:
        return pd.Series(np.nan, sorted(asked["seed"].unique()), dtype=float)
    found = rows.max(axis=1, skipna=False) - rows.iloc[:, [0, -1]].mean(axis=1, skipna=False)
    return found.reindex(sorted(asked["seed"].unique()))


def stable(values: pd.Series) -> Answer:
    """Return the share of instabilities, by seed, that are below the threshold, with its exact interval.

    Not their mean, which has no interval where all of them are 0.
    """
    known = values.dropna()
    return (share(known < STABLE) if len(known) else None), missing(len(values), len(known), NEVER)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer when copies of a network become linearly connected, and whether curves connect others."""
    table = tables["connectivity"]
    answers.images = int(table["images"].max()) if len(table) else answers.images
    answers.give("stable-start", stable(instability(table, "true", "start", error="test_error")))
    for parting in ("start", "half"):
        answers.give("unstable-{parting}", stable(instability(table, "random", parting)), parting=parting)
    answers.give("stable-late", stable(instability(table, "random", "late")))
    for kind in BY_LABELS:
        answers.give("curved-{labels}", stable(instability(table, kind, APART, CURVE)), labels=kind)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw instability by the step at which copies part, and errors along lines and curves."""
    table, text = tables["connectivity"], Text("experiments.inside", "connectivity")
    if table.empty:
        return Chapter(title="Valleys")
    epochs = table.groupby(["labels", "parting"])["epoch"].mean()
    facts = {
        "images": answers.images,
        "seeds": table["seed"].nunique(),
        "learned": counted(instability(table, "true", "start", error="test_error")),
        "random": {name: counted(instability(table, "random", name)) for name in PARTINGS},
        "risen": estimate(instability(table, "random", "start")),
        "line": estimate(instability(table, "random", APART)),
        "curve": estimate(instability(table, "random", APART, CURVE)),
        "late": float(epochs.get(("random", "late"), np.nan)),
        "points": table["along"].nunique(),
        "steps": int(evidence.settings["connectivity"]["curve_steps"]),
        "threshold": STABLE,
    }
    file = figures.save(draw_connectivity(table), evidence.folder, "connectivity")
    return Chapter(
        title="Valleys",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts)],
        methods=[text.block("methods", **facts)],
    )


def counted(values: pd.Series) -> str:
    """Return how many of the known instabilities are below the threshold, as "5 of 6"."""
    known = values.dropna()
    return f"{int((known < STABLE).sum())} of {len(known)}"


def estimate(values: pd.Series) -> Estimate | None:
    """Return the mean of instabilities over seeds, None where there is none."""
    return over_seeds(values, NEVER, estimate=partial(mean_interval, bounds=(-1, 1)))[0]


def draw_connectivity(table: pd.DataFrame) -> Drawing:
    """Return instability by parting and labels, and training error on the line and the curve between networks never together."""
    figure, [[parted, *between]] = figures.grid(1, 3, width=3.4, height=3)
    names = [*PARTINGS, APART]
    for (kind, mark), offset in zip(LABELS.items(), panels.side_by_side(len(LABELS))):
        values = {place: instability(table, kind, name).dropna() for place, name in enumerate(names)}
        panels.means(parted, values, mark, offset=offset, seeds=True)
    parted.axhline(STABLE, **palette.REFERENCE)
    figures.name_axis(parted, [NAMES[name] for name in names])
    parted.set(ylabel="largest training error on the line\nabove that of its ends", xlabel="copies part")
    figures.legend(parted)
    for axes, (kind, mark) in zip(between, LABELS.items()):
        for way, line in WAYS.items():
            own = table[(table["labels"] == kind) & (table["parting"] == APART) & (table["way"] == way)]
            rows = own.pivot(index="seed", columns="along", values="train_error").sort_index(axis=1)
            if len(rows) and np.isfinite(rows.to_numpy(float)).any():
                panels.lines_between(axes, rows.to_numpy(float), line)
        axes.set(title=mark.name, ylim=(0, 1), ylabel="training error")
        figures.legend(axes)
    return figure
