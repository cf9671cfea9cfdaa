"""All scores of every image of the pool, from the networks' records."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.per_example import second_split
from memo.commands.evidence import Evidence
from memo.measures.per_example.consistency import consistency
from memo.measures.per_example.data_map import data_map
from memo.measures.per_example.error_norm import el2n
from memo.measures.per_example.forgetting import first_learned, forgetting_events
from memo.measures.per_example.margin_area import area_under_the_margin
from memo.measures.per_example.memorisation import memorisation
from memo.probes import image_record, input_curvature
from memo.probes.image_record import Record
from memo.statistics.intervals import Estimate
from memo.statistics.over_seeds import Answer
from memo.statistics.rank_agreement import separation, spearman, spearman_interval

NO_REDRAWN, NO_RANKS = "no label was redrawn", "all images have the same score"
NOISY, CLEAN, SHARES, WHOLE, WHOLE_CLEAN, PERMUTED, WIDTHS = (
    "noisy",
    "clean",
    "shares",
    "whole",
    "whole_clean",
    "permuted",
    "widths",
)
EARLY = 0.1  # of training: where EL2N is measured (Paul et al.: 10 and 20 of 200 epochs)
TAIL = 0.1  # of the images


class Left(NamedTuple):
    """What T networks on noisy labels, of several shares of the pool, answer: for C-scores."""

    correct: np.ndarray  # [T, N] bool
    members: np.ndarray  # [T, N] bool, the images that each was trained on
    shares: np.ndarray  # [T]
    seeds: np.ndarray  # [T]


class Score(NamedTuple):
    """A score: its name in texts, and whether it is high (1) or low (-1) where labels are wrong."""

    name: str
    sign: int


SCORES = {
    "memorisation": Score("memorisation", 1),
    "c_score": Score("C-score", -1),
    "forgetting": Score("forgetting events", 1),
    "first_learned": Score("first learned", 1),
    "el2n": Score("EL2N", 1),
    "aum": Score("area under the margin", -1),
    "confidence": Score("confidence", -1),
    "variability": Score("variability", 1),
    "curvature": Score("curvature", 1),
    "second_split": Score("second-split forgetting", -1),
}
CHEAP = [name for name in SCORES if name not in ("memorisation", "c_score")]


def record(evidence: Evidence, arm: str, trials: Collection[str] | None = None) -> Record:
    """Return the record of an arm's networks at the end, by seed, or of some of its trials."""
    rows = evidence.of(arm, "image_record")
    return image_record.read(rows if trials is None else rows[rows["trial"].isin(trials)])


def along(evidence: Evidence, arm: str) -> tuple[np.ndarray, Record]:
    """Return the epochs [E] of the evaluations after the start, and the record there of an arm's networks, leaves [S, E, N].

    Networks without the last evaluation have diverged, and are not among them.
    """
    rows = evidence.of(arm, "image_record_along").sort_values(["seed", "step"])
    rows = rows[rows["step"] > 0]
    epochs = np.sort(rows["epoch"].unique())
    read = image_record.read(rows)
    return epochs, Record(*(leaf.reshape(-1, len(epochs), leaf.shape[-1]) for leaf in read))


def scored(evidence: Evidence) -> pd.DataFrame:
    """Return one row for each image of the pool, by its place in the data set's training files: labels and scores."""
    rows, given = evidence.pool(NOISY)
    _, true = evidence.pool(CLEAN)
    table = pd.DataFrame({"image": rows, "label": given, "true_label": true})
    noisy, clean = record(evidence, NOISY), record(evidence, CLEAN)
    for suffix, found in (
        ("", memorisation(noisy.answers == given, noisy.members)),
        ("_true_labels", memorisation(clean.answers == true, clean.members)),
    ):
        table[f"memorisation{suffix}"], table[f"memorisation{suffix}_error"] = found.value, found.error
    left = held_out(evidence, given)
    table["c_score"], table["c_score_error"] = consistency(left.correct, left.members, left.shares)
    return table.assign(**cheap(evidence, given)).astype(dict.fromkeys(SCORES, float)).round(4)


def held_out(evidence: Evidence, given: np.ndarray) -> Left:
    """Return the answers of all networks on noisy labels and a share of the pool, to labels `given` [N]."""
    parts = []
    for arm in (NOISY, SHARES):
        rows = evidence.of(arm, "image_record")
        shares = rows["trial"].map(evidence.of(arm).set_index("trial")["dataset.share"])
        found = image_record.read(rows)
        parts.append((found.answers == given, found.members, shares.to_numpy(float), rows["seed"].to_numpy()))
    return Left(*map(np.concatenate, zip(*parts)))


def cheap(evidence: Evidence, given: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores [N] from a few networks each, means over those."""
    epochs, found = along(evidence, WHOLE)
    return {name: values.mean(axis=0) for name, values in by_network(epochs, found, given).items()} | {
        "curvature": curvatures(evidence).mean(axis=0),
        "second_split": lost_on_the_other_half(evidence).mean(axis=0),
    }


def by_network(epochs: np.ndarray, found: Record, given: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores [S, N] along training of each network, from records [S, E, N] at `epochs` [E].

    What is never learned counts as learned an epoch after the last evaluation.
    """
    correct = found.answers == given
    confidence, variability = data_map(found.logits)
    early = np.abs(epochs - EARLY * epochs[-1]).argmin()
    return {
        "forgetting": forgetting_events(correct).astype(float),
        "first_learned": np.minimum(first_learned(correct, epochs), epochs[-1] + 1),
        "el2n": np.stack([el2n(own[None, early]) for own in found.errors]),
        "aum": area_under_the_margin(found.margins),
        "confidence": confidence,
        "variability": variability,
    }


def curvatures(evidence: Evidence) -> np.ndarray:
    """Return the mean curvature along training of each network trained on the whole pool, [S, N]."""
    rows = evidence.of(WHOLE, "input_curvature_along").sort_values(["seed", "step"])
    rows = rows[rows["step"] > 0]
    read = input_curvature.read(rows["curvatures"])
    return read.reshape(rows["trial"].nunique(), -1, read.shape[-1]).mean(axis=1)


def lost_on_the_other_half(evidence: Evidence) -> np.ndarray:
    """Return the epochs of second-split forgetting of each seed's networks, [S, N]."""
    sizes, trial = evidence.settings["second_split"], evidence.asked_trials(WHOLE)[0]
    asked = [trial.id, *sizes.values()]

    def compute() -> pd.DataFrame:
        return second_split.forgotten(evidence.dataset, trial.recipe, *evidence.pool(WHOLE), **sizes)

    return evidence.once("second_split", (second_split,), asked, compute).to_numpy().T


def reliability(evidence: Evidence, table: pd.DataFrame) -> pd.DataFrame:
    """Return how each score from some of the networks agrees with that from others, of all images and of its tail.

    Columns score, images (all, tail), correlation (Spearman's), n images. Of all images, the networks of even and of odd seeds are
    compared. The tail is the tenth of the images that one third of the networks ranks as the most memorised, or the least
    consistent, and the other thirds are compared on it: chosen by networks that are compared, it would be of those whose
    errors add up.
    """
    given, rows = table["label"].to_numpy(), []
    halves, thirds = (_parts(evidence, given, count) for count in (2, 3))
    for name in SCORES:
        selecting, one, other = thirds[name]
        known = np.isfinite([selecting, one, other]).all(axis=0)
        suspicion = SCORES[name].sign * selecting
        tail = known & (suspicion >= np.quantile(suspicion[known], 1 - TAIL)) if known.any() else known
        everywhere = np.isfinite(halves[name]).all(axis=0)
        for images, chosen, pair in (("all", everywhere, halves[name]), ("tail", tail, (one, other))):
            found = spearman(*(values[chosen] for values in pair))
            rows.append({"score": name, "images": images, "correlation": found.value, "n": found.n})
    return pd.DataFrame(rows)


def _parts(evidence: Evidence, given: np.ndarray, count: int) -> dict[str, list[np.ndarray]]:
    """Return each score [N] from each of `count` parts of the networks, by their seeds; NaN from a part without any."""
    left, share = held_out(evidence, given), evidence.of(NOISY)["dataset.share"].to_numpy(float)[0]
    epochs, found = along(evidence, WHOLE)
    trained = by_network(epochs, found, given) | {
        "curvature": curvatures(evidence),
        "second_split": lost_on_the_other_half(evidence),
    }
    parts: dict[str, list[np.ndarray]] = {name: [] for name in SCORES}
    for part in range(count):
        own = left.seeds % count == part
        ours = own & (left.shares == share)
        parts["memorisation"].append(memorisation(left.correct[ours], left.members[ours]).value)
        parts["c_score"].append(consistency(left.correct[own], left.members[own], left.shares[own])[0])
        for name, values in trained.items():
            some = values[part::count]
            parts[name].append(some.mean(axis=0) if len(some) else np.full(len(given), np.nan))
    return parts


def correlation(table: pd.DataFrame, one: str, other: str) -> Estimate:
    """Return Spearman's correlation of two columns, over the images that have both; high where labels are wrong."""
    both = table[[one, other]].dropna()
    return spearman(*(SCORES[name].sign * both[name] for name in (one, other)))


def stored(table: pd.DataFrame, score: str, images: str) -> Estimate | None:
    """Return a correlation of the table `reliability`, with its interval; None where it was not measured."""
    own = table[(table["score"] == score) & (table["images"] == images)]
    known = own.dropna(subset="correlation")
    return spearman_interval(*known.iloc[0][["correlation", "n"]]) if len(known) else None


def auroc_of(table: pd.DataFrame, score: str) -> Estimate:
    """Return the AUROC of a score, high or low as it is where labels are wrong, for redrawn labels."""
    own = table.dropna(subset=score)
    wrong, values = redrawn(own), SCORES[score].sign * own[score]
    return separation(values[wrong], values[~wrong])


def answered(estimate: Estimate | None, why: str) -> Answer:
    """Return an estimate as an answer, or None with the reason where it has no value."""
    missing = estimate is None or np.isnan(estimate.value)
    return (None, why) if missing else (estimate, "")


def redrawn(table: pd.DataFrame) -> pd.Series:
    """Return which images of a table have a label that is not their true one."""
    return table["label"] != table["true_label"]
