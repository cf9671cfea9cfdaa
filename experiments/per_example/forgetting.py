"""Forgetting along training: images learned and lost again, with true, redrawn and permuted images."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.per_example import scores
from experiments.per_example.memorised import GROUPS, MEMORISED
from experiments.per_example.scores import NO_REDRAWN, PERMUTED, WHOLE, WHOLE_CLEAN, answered, auroc_of, redrawn
from memo.commands.evidence import Evidence
from memo.measures.per_example.forgetting import forgetting_events, never_forgotten
from memo.reporting import figures, palette
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import Estimate, mean_interval
from memo.statistics.over_seeds import LOST, over_pairs, over_seeds
from memo.statistics.rank_agreement import separation
from memo.storage.run_folders import Tables

# Groups of images by the kind of their label.
SECOND_SPLIT = {
    "redrawn": GROUPS["redrawn"],
    "rare": Mark("true labels, memorised", palette.PURPLE, dashes=palette.DASH_DOTTED),
    "others": Mark("other true labels", palette.GREEN, dashes=palette.DOTTED),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network the share of images never forgotten, and the mean events of images with true and with redrawn labels."""
    wrong = evidence.pool(WHOLE)[1] != evidence.pool(WHOLE_CLEAN)[1]
    parts = []
    for arm in (WHOLE, WHOLE_CLEAN, PERMUTED):
        rows = evidence.of(arm, "image_record_along").drop_duplicates("trial").sort_values("seed")
        _, found = scores.along(evidence, arm)
        correct = found.answers == evidence.pool(arm)[1]
        facts = {"never_forgotten": never_forgotten(correct).mean(axis=-1)}
        if arm == WHOLE:
            events = forgetting_events(correct)
            facts |= {"events_true": _mean(events[:, ~wrong]), "events_redrawn": _mean(events[:, wrong])}
        parts.append(rows[["trial", "seed"]].assign(arm=arm, **facts))
    return {"networks": pd.concat(parts, ignore_index=True)}


def _mean(events: np.ndarray) -> np.ndarray:
    return events.mean(axis=-1) if events.shape[-1] else np.full(len(events), np.nan)


def of_arm(tables: Tables, arm: str) -> pd.DataFrame:
    """Return the networks of an arm, by seed."""
    return tables["networks"][tables["networks"]["arm"] == arm].set_index("seed")


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how many images are never forgotten, and whether redrawn labels are forgotten more often."""
    whole, clean, permuted = (of_arm(tables, arm) for arm in (WHOLE, WHOLE_CLEAN, PERMUTED))
    answers.give(
        "never-forgotten", over_seeds(clean["never_forgotten"], estimate=partial(mean_interval, bounds=(0, 1)))
    )
    answers.give("noisy-forgotten", over_pairs(whole["events_redrawn"], whole["events_true"], NO_REDRAWN))
    for name in ("forgetting", "second_split"):
        answers.give(f"injected-found-{name}", answered(auroc_of(tables["images"], name), NO_REDRAWN))
    answers.give(
        "rare-later", answered(redrawn_first(tables["images"]), "no label was redrawn, or no true one is memorised")
    )
    answers.give("permuted", over_pairs(permuted["never_forgotten"], clean["never_forgotten"], LOST))


def rare(table: pd.DataFrame) -> pd.Series:
    """Return which images of a table have their true label, and are memorised where all have."""
    return ~redrawn(table) & (table["memorisation_true_labels"] >= MEMORISED)


def redrawn_first(table: pd.DataFrame) -> Estimate:
    """Return the share of pairs of a redrawn label and a memorised true one in which second-split forgetting loses the former first."""
    return separation(*(table.loc[own, "second_split"].dropna() for own in (rare(table), redrawn(table))))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw how often images are forgotten, by the kind of their label."""
    table, text = tables["images"], Text("experiments.per_example", "forgetting")
    facts = {
        "never": answers["never-forgotten"],
        "more": answers["noisy-forgotten"],
        "permuted": answers["permuted"],
        "networks": len(evidence.of(WHOLE)),
        "evaluations": len(scores.along(evidence, WHOLE)[0]),
        "found": answers["injected-found-second_split"],
        "later": answers["rare-later"],
        "halves": evidence.settings["second_split"],
        "threshold": MEMORISED,
    }
    drawn = {"forgetting": draw_events(table), "second_split": draw_second_split(table)}
    return Chapter(
        title="Forgetting",
        findings=[text.block("finding", **facts), text.block("finding_second_split", **facts)],
        figures=[text.figure(figures.save(each, evidence.folder, name), **facts) for name, each in drawn.items()],
        methods=[text.block("methods", **facts), text.block("methods_second_split", **facts)],
    )


def draw_events(table: pd.DataFrame) -> Drawing:
    """Return the share of images by their mean number of forgetting events, redrawn and true labels."""
    figure, [[axes]] = figures.grid(1, 1, width=4.6, height=3.0)
    wrong = redrawn(table)
    edges = np.arange(-0.5, max(1.0, table["forgetting"].max()) + 1).tolist()
    for name, own in (("others", table[~wrong]), ("redrawn", table[wrong])):
        if len(own):
            weights = np.full(len(own), 1 / len(own))
            mark = GROUPS[name]
            label = "true labels" if name == "others" else mark.name
            axes.hist(
                own["forgetting"], edges, weights=weights, histtype="step", linewidth=1.6, label=label, **mark.line
            )
    axes.set(xlabel="forgetting events of an image, mean of networks", ylabel="share of images")
    figures.legend(axes)
    return figure


def draw_second_split(table: pd.DataFrame) -> Drawing:
    """Return the share of images lost by each epoch on the other half of the pool: redrawn labels, memorised and other true ones."""
    figure, [[axes]] = figures.grid(1, 1, width=4.6, height=3.0)
    wrong, few = redrawn(table), rare(table)
    for name, chosen in (("redrawn", wrong), ("rare", few), ("others", ~wrong & ~few)):
        own = np.sort(table.loc[chosen, "second_split"].dropna())
        if len(own):
            shares = np.arange(1, len(own) + 1) / len(own)
            axes.step(own, shares, where="post", label=SECOND_SPLIT[name].name, **SECOND_SPLIT[name].line)
    axes.set(xlabel="epochs on the other half until lost for good", ylabel="share of images lost")
    figures.legend(axes)
    return figure
