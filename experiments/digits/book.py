"""The rows of Nielsen's book beside ours."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.digits.networks import by_seed, images_of, keyed, over_arm, share_of
from memo.commands.evidence import Evidence
from memo.probes.answers import read
from memo.reporting import figures, palette
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text, percent
from memo.reporting.report import Shown, number, with_interval
from memo.statistics.intervals import mean_interval
from memo.statistics.over_seeds import noted
from memo.storage.run_folders import Tables

TOLERANCE = 0.004


class Row(NamedTuple):
    """A row of the book: the network in words, his number if it could be verified, and remarks."""

    words: str
    number: float | None
    note: str = ""


# His numbers are those of the book's text or, where a note says so, of third parties' notes.
ROWS: Mapping[str, Row] = {
    "book_30_quadratic": Row("[784,30,10], quadratic", 0.9542, "he reports the best epoch of the best of three runs"),
    "book_100_quadratic": Row("[784,100,10], quadratic", 0.9659, "he warns that some runs are quite a bit worse"),
    "book_100_small_start": Row("[784,100,10], quadratic, Glorot initialisation", None, "not a row of his"),
    "book_30_entropy": Row("[784,30,10], cross-entropy", 0.9549, "his number by a third party's notes"),
    "book_100_entropy": Row("[784,100,10], cross-entropy", None, "no number of his that could be verified"),
    "book_30_entropy_l2": Row("[784,30,10], cross-entropy, L2", 0.9649, "his number by a third party's notes"),
    "book_100_entropy_l2": Row(
        "[784,100,10], cross-entropy, L2", 0.9792, "his number, and the one that is judged, are on validation images"
    ),
    "book_1000": Row("[784,30,10], 1,000 images", 0.8227),
    "book_1000_l2": Row("[784,30,10], 1,000 images, L2", 0.871),
}
# Rows that are on the same test images as his, from the same training images.
COMPARABLE = ("book_30_quadratic", "book_30_entropy", "book_30_entropy_l2")
BIMODAL = "book_100_quadratic"
JUDGED = {arm: arm for arm in COMPARABLE} | {
    "book_100_entropy_l2": "book_100_entropy_l2-validation",
    "book_1000": "book_1000-first",
    "book_1000_l2": "book_1000_l2-first",
}  # rows by the claim on their mean
FIRST = ("book_1000", "book_1000_l2")  # trained on the first 1,000 images
VALIDATED = "book_100_entropy_l2"


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return how many digits each network never classifies correctly; accuracies are measured in the chapter on them."""
    parts = [
        keyed(evidence, arm, digits_never_right=never_right(*_answers(evidence, arm)))
        for arm in ROWS
        if len(evidence.of(arm))
    ]
    return {"networks": pd.concat(parts, ignore_index=True)} if parts else {}


def _answers(evidence: Evidence, arm: str) -> tuple[np.ndarray, np.ndarray]:
    return read(*evidence.answers(arm))[0], evidence.test_images(arm)[1]


def never_right(called: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many of the digits in labels [images] each network, of answers [networks, images], never classifies correctly."""
    right = called == labels
    return np.sum([~right[:, labels == digit].any(axis=1) for digit in np.unique(labels)], axis=0)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer which of the book's rows are reproduced."""
    networks = tables["networks"]
    for arm in COMPARABLE:
        estimate, note = over_arm(networks, arm, "best_epoch", (0, 1))
        own = networks[networks["arm"] == arm]
        evaluated = f"best of {own['evaluated'].max():.0f} evaluated epochs" if len(own) else ""
        note = noted(evaluated, ROWS[arm].note, note)
        answers.give(arm, (estimate, note), images_of(networks, arm))
    best = by_seed(networks, BIMODAL, "best_epoch")
    reaches = (best >= _his(BIMODAL) - TOLERANCE).astype(float).mask(best.isna())
    answers.give("book_100_quadratic-reaches", share_of(networks, BIMODAL, reaches), images_of(networks, BIMODAL))
    for arm in FIRST:
        answers.give(f"{arm}-first", over_arm(networks, arm, "best_epoch", (0, 1)), images_of(networks, arm))
    accuracies = by_seed(networks, "book_1000", "final_train_accuracy")
    fits = (accuracies == 1).astype(float).mask(accuracies.isna())
    answers.give("book-1000-fits", share_of(networks, "book_1000", fits), images_of(networks, "book_1000"))
    gap = accuracies - by_seed(networks, "book_1000", "final_test_accuracy")
    answers.give("book-1000-gap", over_arm(networks, "book_1000", gap, (-1, 1)), images_of(networks, "book_1000"))
    validated = over_arm(networks, VALIDATED, "best_validation", (0, 1))
    answers.give("book_100_entropy_l2-validation", validated, images_of(networks, VALIDATED))
    first = over_arm(networks, "book_30_quadratic", "first_epoch", (0, 1))
    answers.give("book-first-epoch", first, images_of(networks, "book_30_quadratic"))


def _his(arm: str) -> float:
    verified = ROWS[arm].number
    if verified is None:
        raise ValueError(f"{arm} has no number of the book's.")
    return verified


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw our rows beside his, and list them."""
    networks, text = tables["networks"], Text("experiments.digits", "book")
    bimodal = by_seed(networks, BIMODAL, "best_epoch")
    facts = {
        "rows": {ROWS[arm].words: answers.verdict(claim) for arm, claim in JUDGED.items()},
        "ours": {ROWS[arm].words: (answers[claim], _his(arm)) for arm, claim in JUDGED.items()},
        "reaches": answers["book_100_quadratic-reaches"],
        "lost": int((by_seed(networks, BIMODAL, "digits_never_right") > 0).sum()),
        "spread": float(bimodal.max() - bimodal.min()),
        "tolerance": TOLERANCE,
        "seeds": int((networks["arm"] == "book_30_quadratic").sum()),
    }
    drawn = figures.save(draw_rows(networks), evidence.folder, "book")
    table = pd.DataFrame([_line(networks, evidence.of(arm), arm) for arm in ROWS])
    return Chapter(
        title="Nielsen's book",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(drawn, **facts)],
        methods=[text.block("methods", **facts)],
        shown=[Shown(text.block("table_title"), text.block("table_caption"), table)],
    )


def _line(networks: pd.DataFrame, trials: pd.DataFrame, arm: str) -> dict[str, str | int]:
    row, recipe = ROWS[arm], trials.iloc[0] if len(trials) else None

    def mean(column: str, *, count: bool = False) -> str:
        return with_interval(over_arm(networks, arm, column, (0, 1))[0], count=count)

    lost = by_seed(networks, arm, "digits_never_right").dropna()
    return {
        "network, cost": row.words,
        "images": "" if recipe is None else f"{int(recipe['dataset.n_train']):,}",
        "epochs": "" if recipe is None else int(recipe["epochs"]),
        "his number": "not verified" if row.number is None else percent(row.number, 4),
        "ours, best epoch": mean("best_epoch", count=True),
        "ours, last epoch": mean("final_test_accuracy"),
        "training, last epoch": mean("final_train_accuracy"),
        "digits never right": f"{number(lost.mean())} (at most {lost.max():.0f})" if len(lost) else "n/a",
        "note": row.note,
    }


def draw_rows(networks: pd.DataFrame) -> Drawing:
    """Return how far every network's best epoch, and their mean, lie from his number, row by row, in percentage points."""
    rows = {arm: row for arm, row in ROWS.items() if row.number is not None}
    figure, [[axes]] = figures.grid(1, 1, width=6.5, height=3.0)
    axes.axvspan(-100 * TOLERANCE, 100 * TOLERANCE, color=palette.VERMILION, alpha=0.15, label="within the tolerance")
    axes.axvline(0, color=palette.VERMILION, linewidth=1, label="the book's number")
    for position, arm in enumerate(rows):
        column = "best_validation" if arm == VALIDATED else "best_epoch"
        values = 100 * (by_seed(networks, arm, column).dropna() - _his(arm))
        if len(values):
            at = np.full(len(values), position + 0.25)
            axes.scatter(values, at, s=7, color=palette.BLUE, alpha=0.5, linewidths=0)
            mean = mean_interval(values)
            style: palette.Style = {"color": palette.BLUE, "markersize": 5, "capsize": 2.5, "label": "ours, mean"}
            axes.errorbar(mean.value, position, xerr=figures.reach(mean), fmt="o", **style)
    axes.set_yticks(range(len(rows)), [row.words for row in rows.values()])
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=2)  # some runs never learn a digit, and lie far to the left
    ticks = (-20, -10, -5, -2, -1, 0, 1, 2)
    axes.set_xticks(ticks, [f"{tick:+d}".replace("-", "−") if tick else "0" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="best epoch, ours − the book's (percentage points)")
    figures.shared_legend(figure, axes)
    return figure
