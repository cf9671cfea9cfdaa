"""Membership inference: whether a network was trained on an image, told from its answer to it."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.per_example import scores
from experiments.per_example.memorised import GROUPS
from experiments.per_example.scores import NO_RANKS, NO_REDRAWN, NOISY, answered, redrawn
from memo.commands.evidence import Evidence
from memo.measures.per_example.membership import attack_scores, threshold, true_positive_rate
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.over_seeds import over_pairs
from memo.statistics.rank_agreement import spearman
from memo.storage.run_folders import Tables

FALSE_POSITIVES = 0.01
BINS = 8  # of memorisation, in the figure


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network the members found at FALSE_POSITIVES, and by image the share of networks that are found to know it.

    A network's threshold is that of all images that it was not trained on; the share is of the networks trained on the image.
    """
    rows, given = evidence.pool(NOISY)
    wrong = given != evidence.pool(scores.CLEAN)[1]
    found = scores.record(evidence, NOISY)
    values, members = attack_scores(found.logits, found.members), found.members
    networks = evidence.of(NOISY, "image_record")[["trial", "seed"]].assign(arm=NOISY)
    passed = np.zeros(values.shape, bool)
    for place, (own, inside) in enumerate(zip(values, members)):
        known = np.isfinite(own)
        others = own[~inside & known]
        for name, chosen in (("found_true", ~wrong), ("found_redrawn", wrong)):
            networks.loc[networks.index[place], name] = true_positive_rate(
                own[inside & known & chosen], others, FALSE_POSITIVES
            )
        passed[place] = own > threshold(others, FALSE_POSITIVES)
    exposed = np.divide(
        (passed & members).sum(axis=0), members.sum(axis=0), out=np.full(len(rows), np.nan), where=members.any(axis=0)
    )
    return {"networks": networks, "attack": pd.DataFrame({"image": rows, "found": exposed}).round(4)}


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether redrawn labels are found more often, and whether memorised images are."""
    networks = tables["networks"]
    own = networks[networks["arm"] == NOISY].set_index("seed")
    answers.give("attack-injected", over_pairs(own["found_redrawn"], own["found_true"], NO_REDRAWN))
    both = tables["images"].merge(tables["attack"], on="image").dropna(subset=["memorisation", "found"])
    answers.give("attack-memorised", answered(spearman(both["memorisation"], both["found"]), NO_RANKS))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw how often membership is found, by memorisation."""
    networks, text = tables["networks"], Text("experiments.per_example", "attack")
    own = networks[networks["arm"] == NOISY]
    both = tables["images"].merge(tables["attack"], on="image")
    facts = {
        "more": answers["attack-injected"],
        "agrees": answers["attack-memorised"],
        "redrawn": float(own["found_redrawn"].mean()),
        "clean": float(own["found_true"].mean()),
        "networks": len(evidence.of(NOISY)),
        "false_positives": FALSE_POSITIVES,
    }
    return Chapter(
        title="Membership inference",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(draw_exposure(both), evidence.folder, "attack"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_exposure(table: pd.DataFrame) -> Drawing:
    """Return the mean share of networks in which membership is found, by memorisation and kind of label."""
    figure, [[axes]] = figures.grid(1, 1, width=4.6, height=3.0)
    edges = np.linspace(0, 1, BINS + 1)
    bins = pd.cut(table["memorisation"].clip(0, 1), edges, include_lowest=True, labels=False)
    wrong = redrawn(table)
    for name, chosen in (("others", ~wrong), ("redrawn", wrong)):
        own = table[chosen].groupby(bins[chosen])["found"]
        values = {
            float(edges[int(place)] + 0.5 / BINS): each
            for place, each in own
            if each.notna().sum() >= panels.FEWEST // 4
        }
        mark = GROUPS[name]._replace(marker="o" if name == "others" else "s")
        panels.means(axes, values, mark._replace(name="true labels" if name == "others" else mark.name), joined=True)
    axes.axhline(FALSE_POSITIVES, **palette.REFERENCE)
    axes.set(xlabel="memorisation", ylabel="networks in which\nmembership is found", xlim=(0, 1), ylim=(0, 1.02))
    figures.legend(axes)
    return figure
