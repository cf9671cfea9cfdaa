"""C-scores: the accuracy on images left out, by the share of the pool trained on, and how alike two halves of the networks score."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.per_example import scores
from experiments.per_example.memorised import GROUPS
from experiments.per_example.scores import NO_REDRAWN, NOISY, SHARES, answered, auroc_of
from memo.commands.evidence import Evidence
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.over_seeds import over_pairs
from memo.storage.run_folders import Tables


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network its share of the pool and its accuracy on left-out images, whose label is true or redrawn."""
    _, given = evidence.pool(NOISY)
    _, true = evidence.pool(scores.CLEAN)
    left, wrong = scores.held_out(evidence, given), given != true
    parts = []
    for name, chosen in (("left_true", ~wrong), ("left_redrawn", wrong)):
        out = ~left.members & chosen
        counts = out.sum(axis=1)
        shares = np.divide((left.correct & out).sum(axis=1), counts, out=np.full(len(counts), np.nan), where=counts > 0)
        parts.append(pd.Series(shares, name=name))
    return {"held_out": pd.DataFrame({"share": left.shares, "seed": left.seeds}).join(parts)}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether held-out accuracy rises with the share, and how well C-scores find redrawn labels and repeat."""
    by_share = tables["held_out"].pivot(index="seed", columns="share", values="left_true")
    answers.give(
        "held-out-rises",
        over_pairs(by_share[by_share.columns.max()], by_share[by_share.columns.min()], "a share not trained"),
    )
    answers.give("injected-found-c_score", answered(auroc_of(tables["images"], "c_score"), NO_REDRAWN))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the accuracy on left-out images by the share trained on."""
    table, text = tables["held_out"], Text("experiments.per_example", "held_out")
    levels = sorted(table["share"].unique())
    facts = {
        "rises": answers["held-out-rises"],
        "found": answers["injected-found-c_score"],
        "shares": [f"{100 * level:g}" for level in levels],
        "networks": {name: len(evidence.of(name)) for name in (NOISY, SHARES)},
        "unknown": int(tables["images"]["c_score"].isna().sum()),
    }
    return Chapter(
        title="Consistency",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(draw_shares(table), evidence.folder, "held_out"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_shares(table: pd.DataFrame) -> Drawing:
    """Return the accuracy on left-out images, whose label is true or redrawn, by share of the pool."""
    figure, [[axes]] = figures.grid(1, 1, width=4.2, height=3.0)
    for column, name in (("left_true", "others"), ("left_redrawn", "redrawn")):
        mark = GROUPS[name]
        values = {share: own[column] for share, own in table.groupby("share")}
        panels.means(axes, values, mark._replace(name="true labels" if name == "others" else mark.name), joined=True)
    axes.set(
        xlabel="share of the pool trained on", ylabel="agreement with the label\nof images left out", ylim=(0, 1.02)
    )
    figures.legend(axes)
    return figure
