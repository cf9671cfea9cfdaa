"""Width: whether wide networks memorise the images that narrow ones do."""

from operator import itemgetter

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.per_example import scores
from experiments.per_example.memorised import GROUPS
from experiments.per_example.scores import NO_RANKS, NO_REDRAWN, NOISY, WIDTHS, answered, redrawn
from memo.commands.evidence import Evidence
from memo.measures.per_example.memorisation import memorisation
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.intervals import paired_difference
from memo.statistics.rank_agreement import spearman
from memo.storage.run_folders import Tables


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the memorisation of every image by width, columns image, label, true_label and the widths."""
    rows, given = evidence.pool(NOISY)
    table = pd.DataFrame({"image": rows, "label": given, "true_label": evidence.pool(scores.CLEAN)[1]})
    trials = pd.concat([evidence.of(arm) for arm in (NOISY, WIDTHS)])
    trials = trials.assign(width=trials["model.widths"].map(lambda widths: int(widths[0])))
    for width, own in trials.sort_values("width").groupby("width"):
        parts = [scores.record(evidence, arm, each["trial"].tolist()) for arm, each in own.groupby("arm")]
        right = np.concatenate([found.answers == given for found in parts])
        table[f"width_{width}"] = memorisation(right, np.concatenate([found.members for found in parts])).value
    return {"widths": table.round(4)}


def widths_of(table: pd.DataFrame) -> list[int]:
    """Return the widths in the table `widths`, ascending."""
    return sorted(int(name.removeprefix("width_")) for name in table if name.startswith("width_"))


def base_of(tables: Tables) -> int:
    """Return the width that the others are compared with: that of the networks on noisy labels."""
    networks = tables["networks"]
    return int(networks.loc[networks["arm"] == NOISY, "network"].iloc[0].split("-")[1])


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how far memorisation by other widths ranks images as the width of the other chapters does, and how strong it is."""
    table, base = tables["widths"], f"width_{base_of(tables)}"
    others = [width for width in widths_of(table) if f"width_{width}" != base]
    answers.conditions(width=others)
    for width in others:
        own = table.dropna(subset=[base, f"width_{width}"])
        true, redone = own[~redrawn(own)], own[redrawn(own)]
        answers.give(
            "width-agrees-{width}", answered(spearman(true[f"width_{width}"], true[base]), NO_RANKS), width=width
        )
        difference = paired_difference(redone[base], redone[f"width_{width}"], bounds=(-2, 2)) if len(redone) else None
        answers.give("width-injected-{width}", (difference, "" if difference else NO_REDRAWN), width=width)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw memorisation by width, of redrawn and of true labels."""
    table, text = tables["widths"], Text("experiments.per_example", "widths")
    base = base_of(tables)
    others = [width for width in widths_of(table) if width != base]
    facts = {
        "base": base,
        "agrees": {width: answers[f"width-agrees-{width}"] for width in others},
        "injected": {width: answers[f"width-injected-{width}"] for width in others},
        "networks": evidence.of(WIDTHS)["model.widths"].map(itemgetter(0)).value_counts().sort_index().to_dict(),
    }
    return Chapter(
        title="Width",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(draw_widths(table), evidence.folder, "widths"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_widths(table: pd.DataFrame) -> Drawing:
    """Return mean memorisation by width, of redrawn and of true labels, with intervals over images."""
    figure, [[axes]] = figures.grid(1, 1, width=4.2, height=3.0)
    widths, wrong = widths_of(table), redrawn(table)
    for name, chosen in (("others", ~wrong), ("redrawn", wrong)):
        mark = GROUPS[name]._replace(marker="o" if name == "others" else "s")
        values = {width: table.loc[chosen, f"width_{width}"] for width in widths}
        panels.means(axes, values, mark._replace(name="true labels" if name == "others" else mark.name), joined=True)
    figures.count_axis(axes, widths)
    axes.set(xlabel="units per layer", ylabel="mean memorisation", ylim=(-0.05, 1.02))
    figures.legend(axes)
    return figure
