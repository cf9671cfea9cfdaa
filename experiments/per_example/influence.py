"""Influence: which memorised training images decide the answer to which test images."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.per_example import scores
from experiments.per_example.memorised import MEMORISED
from experiments.per_example.scores import CLEAN
from memo.commands.evidence import Evidence
from memo.measures.per_example.memorisation import influence, memorisation
from memo.probes import answers as probe
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.intervals import mean_interval, share
from memo.statistics.over_seeds import Answer
from memo.storage.run_folders import Tables
from memo.training.inputs import test_rows

# From which Feldman and Zhang call an influence high, of images with a memorisation of MEMORISED.
HIGH = 0.15
# An influence is also this many standard errors from 0: of a million pairs without any, about thirty are.
ERRORS = 4
SHOWN = 12  # pairs side by side
COLUMNS = ["image", "test_image", "influence", "error", "first_half", "second_half", "first_error"]
AT_ONCE = 50  # training images


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return the pairs of a memorised image and a test image that it influences, true labels.

    Columns image (its place in the training files), test_image (in the test files), influence with its error, and in
    first_half and second_half the influence by either half of the networks. Those of the first half alone, if they are high
    there, say how large an influence is that was not selected by the networks that measure it.
    """
    rows, labels = evidence.pool(CLEAN)
    found, (answered, _) = scores.record(evidence, CLEAN), probe.read(*evidence.answers(CLEAN))
    candidates = np.flatnonzero(memorisation(found.answers == labels, found.members).value >= MEMORISED)
    correct = answered == evidence.test_images(CLEAN)[1]
    # A few at a time: influence is an array of candidates by test images.
    blocks = np.array_split(candidates, max(1, len(candidates) // AT_ONCE))
    parts = [_pairs(correct, found.members[:, block], rows[block], tested(evidence)) for block in blocks]
    return {"pairs": pd.concat(parts).sort_values("influence", ascending=False, ignore_index=True)}


def _pairs(correct: np.ndarray, members: np.ndarray, images: np.ndarray, tested: np.ndarray) -> pd.DataFrame:
    """Return the pairs of some training `images` [N], `members` [T, N] of the networks, and test images, `correct` [T, M]."""
    halves = slice(None), slice(0, None, 2), slice(1, None, 2)
    whole, first, second = (influence(correct[own], members[own]) for own in halves)
    high = np.zeros(whole.value.shape, bool)
    for each in (whole, first):
        high |= (each.value >= HIGH) & (each.value >= ERRORS * each.error)
    i, j = np.nonzero(high)
    values = whole.value, whole.error, first.value, second.value, first.error
    return pd.DataFrame(dict(zip(COLUMNS, (images[i], tested[j], *(each[i, j] for each in values))))).round(4)


def tested(evidence: Evidence) -> np.ndarray:
    """Return the places in the test files of the images that networks were tested on."""
    return test_rows(len(evidence.dataset.test_labels), len(evidence.test_images(CLEAN)[1]))


def high_pairs(table: pd.DataFrame, value: str = "influence", error: str = "error") -> pd.DataFrame:
    """Return the pairs whose influence is high, and far enough from 0."""
    return table[(table[value] >= HIGH) & (table[value] >= ERRORS * table[error])]


def single(table: pd.DataFrame) -> Answer:
    """Return the share of influenced test images with one influential image."""
    counts = high_pairs(table)["test_image"].value_counts()
    return (share(counts == 1), "") if len(counts) else (None, "no test image is influenced that strongly")


def confirmed(table: pd.DataFrame) -> Answer:
    """Return the mean influence by the second half of the networks, over pairs that are high by the first."""
    own = high_pairs(table, "first_half", "first_error")["second_half"].dropna()
    return (mean_interval(own, bounds=(-1, 1)), "") if len(own) else (None, "no pair is found by half of the networks")


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether influenced test images depend on a single image, and whether other networks confirm the pairs."""
    answers.give("influence-single", single(tables["pairs"]))
    answers.give("influence-confirmed", confirmed(tables["pairs"]))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the pairs of the largest influence side by side."""
    pairs, text = high_pairs(tables["pairs"]), Text("experiments.per_example", "influence")
    best = pairs.drop_duplicates("test_image").head(SHOWN)
    facts = {
        "pairs": len(pairs),
        "tested": pairs["test_image"].nunique(),
        "all_tested": len(tested(evidence)),
        "single": answers["influence-single"],
        "confirmed": answers["influence-confirmed"],
        "high": HIGH,
        "errors": ERRORS,
        "threshold": MEMORISED,
        "networks": len(evidence.of(CLEAN)),
        "shown": len(best),
        # Networks that were not trained on the image are wrong about the other at least as often as this.
        "least": float(best["influence"].min()),
    }
    drawn = []
    if len(best):
        file = figures.save(draw_pairs(evidence, best, tables["images"]), evidence.folder, "influence", dense=True)
        drawn = [text.figure(file, **facts)]
    return Chapter(
        title="Influence on test images",
        findings=[text.block("finding", **facts)],
        figures=drawn,
        methods=[text.block("methods", **facts)],
    )


def draw_pairs(evidence: Evidence, pairs: pd.DataFrame, images: pd.DataFrame) -> Drawing:
    """Return training images above the test images that they influence, with labels and influence below."""
    data, labels = evidence.dataset, images.set_index("image")["true_label"]
    above = [(data.train_images[row], str(labels[row])) for row in pairs["image"]]
    below = [
        (data.test_images[row], f"{data.test_labels[row]}  ({value:.2f})")
        for row, value in zip(pairs["test_image"], pairs["influence"])
    ]
    return panels.pictures({"training": above, "test": below})
