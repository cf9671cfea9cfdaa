"""Random-label pre-training: the first layer's alignment with the images, transfer to other images, and inactive units."""

import sys
from functools import partial

import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.inside import transfer
from experiments.inside.networks import (
    BY_LABELS,
    DIVERGED_OR_SLOW,
    LABELS,
    LEARNED,
    MEMORISED,
    both,
    by_seed,
    final_layers,
    of_arms,
    one,
    trials_of,
)
from experiments.inside.transfer import PRETRAINED, SCRATCH
from memo.commands.evidence import Evidence
from memo.config import Trial
from memo.data.randomness import generator
from memo.measures.activity import activity
from memo.measures.alignment import alignment, principal_directions
from memo.networks import initial
from memo.networks.mlp import Layers
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import geometric_mean, paired_difference, paired_ratio
from memo.statistics.over_seeds import over_pairs
from memo.storage.run_folders import Tables

STARTS = {
    SCRATCH: Mark(SCRATCH, palette.BLACK, "o"),
    PRETRAINED: Mark("pre-trained with random labels", palette.GREEN, "^"),
}
PERCENTILE = 99  # of random bases


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return alignment and inactive units of the networks on so many images, and times of pre-trained networks on other images."""
    images = int(evidence.settings["pretraining"]["images"])
    seeds = both(evidence, images)
    parts, moved = [], []
    for arm in BY_LABELS.values():
        trials = trials_of(evidence, arm, images)
        parts += [_of_network(evidence, arm, trials[seed]) for seed in seeds]
    memorised = trials_of(evidence, MEMORISED, images)
    given = evidence.training_sets(MEMORISED) if seeds else {}
    for seed in seeds:
        trial = memorised[seed]
        start = one(initial.by_seed(evidence.static_of(trial.id), [seed]), 0)
        final = one(final_layers(evidence, MEMORISED, [trial]), 0)
        compute = partial(transfer.times, trial, evidence.dataset, given[trial.id][0], start, final)
        moved.append(evidence.once(f"transfer-{seed}", (sys.modules[__name__], transfer), trial.id, compute))
    columns = ["seed", "labels", "start", "t99", "test_accuracy", "status"]
    table = pd.concat(moved, ignore_index=True) if moved else pd.DataFrame(columns=columns)
    known = ["trial", "arm", "seed", "aligned", "aligned_start", "dead_first", "dead_last", "active_last"]
    return {"networks": pd.DataFrame(parts, columns=known), "transfer": table}


def _of_network(evidence: Evidence, arm: str, trial: Trial) -> dict[str, object]:
    """Return one network's row: alignment of its first layer, before and after training, and its inactive units."""
    seed, static = trial.seed, evidence.static_of(trial.id)
    final = one(final_layers(evidence, arm, [trial]), 0)
    start = one(initial.by_seed(static, [seed]), 0)
    rows, _ = evidence.training_sets(arm)[trial.id]
    count = int(evidence.settings["pretraining"]["directions"])
    directions = principal_directions(evidence.dataset.train_images[rows] / 255, count)

    def over_random(layers: Layers) -> float:
        found = alignment(np.asarray(layers[0].weights), directions, generator(seed, "directions", "alignment"))
        return found.share / float(np.percentile(found.random, PERCENTILE))

    pixels, _ = evidence.test_images_of(trial.id)
    active = [np.asarray(own) for own in activity(static, final, jnp.asarray(pixels))]
    return {
        "trial": trial.id,
        "arm": arm,
        "seed": seed,
        "aligned": over_random(final),
        "aligned_start": over_random(start),
        "dead_first": float(np.mean(active[0] == 0)),
        "dead_last": float(np.mean(active[-1] == 0)),
        "active_last": float(np.mean(active[-1])),
    }


def read(tables: Tables) -> pd.DataFrame:
    """Return the networks whose alignment was measured."""
    networks = of_arms(tables, *BY_LABELS.values())
    return networks[networks["aligned"].notna()]


def times(table: pd.DataFrame, kind: str, start: str) -> pd.Series:
    """Return epochs to 99 % on other images, by seed."""
    return table[(table["labels"] == kind) & (table["start"] == start)].set_index("seed")["t99"].astype(float)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether first layers are aligned, how much faster pre-trained networks train, and how many units are inactive."""
    networks, table = read(tables), tables["transfer"]
    answers.trained_on(networks)
    images = int(networks["images"].max()) if len(networks) else 0
    for kind, arm in BY_LABELS.items():
        own = by_seed(networks, arm, images, "aligned")
        answers.give("aligned-{labels}", over_pairs(own, own**0, estimate=paired_ratio), labels=kind)
        found = over_pairs(
            times(table, kind, SCRATCH), times(table, kind, PRETRAINED), DIVERGED_OR_SLOW, estimate=paired_ratio
        )
        answers.give("transfer-{labels}", found, labels=kind)
    start = by_seed(networks, LEARNED, images, "aligned_start")
    answers.give("aligned-start", over_pairs(start, start**0, estimate=paired_ratio))
    active = [by_seed(networks, arm, images, "active_last") for arm in (LEARNED, MEMORISED)]
    answers.give("sparse-late", over_pairs(*active, estimate=partial(paired_difference, bounds=(-1, 1))))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw alignment by labels, and times on other images by start."""
    networks, table, text = read(tables), tables["transfer"], Text("experiments.inside", "pretraining")
    if networks.empty or table.empty:
        return Chapter(title="Pre-training with random labels")
    images = int(networks["images"].max())
    facts = {
        "images": images,
        "seeds": networks["seed"].nunique(),
        "directions": int(evidence.settings["pretraining"]["directions"]),
        "aligned": {kind: answers[f"aligned-{kind}"] for kind in BY_LABELS},
        "start": answers["aligned-start"],
        "transfer": {kind: answers[f"transfer-{kind}"] for kind in BY_LABELS},
        "sparse": answers["sparse-late"],
        "dead": {kind: float(by_seed(networks, arm, images, "dead_last").mean()) for kind, arm in BY_LABELS.items()},
        "percentile": PERCENTILE,
    }
    drawn = {"alignment": draw_alignment(networks), "transfer": draw_transfer(networks, table)}
    files = [figures.save(each, evidence.folder, name) for name, each in drawn.items()]
    return Chapter(
        title="Pre-training with random labels",
        findings=[text.block("finding", **facts), text.block("finding_transfer", **facts)],
        figures=[text.figure(file, **facts) for file in files],
        methods=[text.block("methods", **facts)],
    )


def draw_alignment(networks: pd.DataFrame) -> Drawing:
    """Return the alignment of first layers before and after training, by labels."""
    figure, [[axes]] = figures.grid(1, 1, width=4, height=3)
    names = ["before training", "after training"]
    for (kind, arm), offset in zip(BY_LABELS.items(), panels.side_by_side(len(BY_LABELS))):
        own = networks[networks["arm"] == arm]
        values = {place: own[column] for place, column in enumerate(("aligned_start", "aligned"))}
        panels.means(axes, values, LABELS[kind], offset=offset, seeds=True)
    axes.axhline(1, **palette.REFERENCE)
    figures.name_axis(axes, names)
    axes.set(ylim=(0, None), ylabel=f"diagonal share /\n{PERCENTILE}th percentile of random bases")
    figures.legend(axes)
    return figure


def draw_transfer(networks: pd.DataFrame, table: pd.DataFrame) -> Drawing:
    """Return epochs to 99 % on other images by labels and start, and the share of inactive units by layer."""
    figure, [[epochs, dead]] = figures.grid(1, 2, width=3.6, height=3)
    for (start, mark), offset in zip(STARTS.items(), panels.side_by_side(len(STARTS))):
        values = {place: times(table, kind, start) for place, kind in enumerate(BY_LABELS)}
        panels.means(epochs, values, mark, offset=offset, seeds=True, estimate=geometric_mean)
    figures.log_axis(epochs)
    figures.name_axis(epochs, [LABELS[kind].name for kind in BY_LABELS])
    epochs.set(ylabel="epochs to 99 % on other images")
    for (kind, arm), offset in zip(BY_LABELS.items(), panels.side_by_side(len(BY_LABELS))):
        own = networks[networks["arm"] == arm]
        values = {place: own[column] for place, column in enumerate(("dead_first", "dead_last"))}
        panels.means(dead, values, LABELS[kind], offset=offset, seeds=True)
    figures.name_axis(dead, ["first hidden layer", "last hidden layer"])
    dead.set(ylabel="share of units that\nno test image activates")
    for axes in (epochs, dead):
        figures.legend(axes)
    return figure
