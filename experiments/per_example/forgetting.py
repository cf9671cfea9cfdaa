"""Forgetting along training: images learned and lost again, with true, redrawn and permuted images."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.per_example import scores
from experiments.per_example.memorised import GROUPS
from experiments.per_example.scores import NO_REDRAWN, PERMUTED, WHOLE, WHOLE_CLEAN, answered, auroc_of, redrawn
from memo.commands.evidence import Evidence
from memo.measures.per_example.forgetting import forgetting_events, never_forgotten
from memo.reporting import figures
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.intervals import mean_interval
from memo.statistics.over_seeds import over_pairs, over_seeds
from memo.storage.run_folders import Tables


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
    answers.give("injected-found-forgetting", answered(auroc_of(tables["images"], "forgetting"), NO_REDRAWN))
    answers.give("permuted", over_pairs(permuted["never_forgotten"], clean["never_forgotten"], "a diverged network"))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw how often images are forgotten, by the kind of their label."""
    table, text = tables["images"], Text("experiments.per_example", "forgetting")
    facts = {
        "never": answers["never-forgotten"],
        "more": answers["noisy-forgotten"],
        "permuted": answers["permuted"],
        "networks": len(evidence.of(WHOLE)),
        "evaluations": len(scores.along(evidence, WHOLE)[0]),
    }
    return Chapter(
        title="Forgetting",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(draw_events(table), evidence.folder, "forgetting"), **facts)],
        methods=[text.block("methods", **facts)],
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
