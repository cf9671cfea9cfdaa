"""Images grown by gradient ascent until a network takes them for a digit."""

import numpy as np
import pandas as pd
import seaborn as sns

from experiments.noise_confidence.populations import LABELS, networks, rows_of
from memo.commands.evidence import Evidence
from memo.measures import nearest_neighbours
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval

NGUYEN = "Nguyen et al. 2015"
SURE = 0.9999
GIMPEL = "Hendrycks and Gimpel's network"


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and the figure on fooling images."""
    made = Chapter()
    twins, gimpel = networks(evidence, "fooling"), networks(evidence, "hendrycks").assign(labels=GIMPEL)
    trials = pd.concat([twins, gimpel])
    drawn = rows_of(evidence.tables.drawings, trials, "labels")
    drawn = drawn[drawn["start"] == "noise"]
    near = _distance_of_digits(evidence, trials)
    reached = by_network(drawn)
    reached["relative"] = reached["distance"] / near
    made.tables["fooling"] = reached
    kinds = [kind for kind in ("true", "shuffled", GIMPEL) if (reached["labels"] == kind).any()]
    for kind in ("true", "shuffled", GIMPEL):
        own = reached[reached["labels"] == kind]
        words = kind if kind == GIMPEL else f"{kind} labels"
        name = {GIMPEL: "hendrycks"}.get(kind, kind)
        arm = "hendrycks" if kind == GIMPEL else "fooling"
        for short, quantity, accept, direction, column in (
            (
                "fools",
                f"share of the ten digits reached with a confidence of at least {SURE}",
                (1, 1),
                (0.9, 1),
                "share",
            ),
            (
                "unlike",
                "median distance to the nearest training image / that of test images",
                (1.5, np.inf),
                (1.05, np.inf),
                "relative",
            ),
        ):
            statement = "From noise, images are grown that are answered with almost certainty and resemble no digit."
            claim = Claim(f"{short}-{name}", NGUYEN, statement, quantity, accept, direction, "fooling", condition=words)
            made.rows.append((claim, *evidence.mean(arm, own[column])))
    _draw(drawn, reached, kinds, evidence, made)
    made.methods.append(
        "Fooling images: 200 steps along the sign of the gradient from uniform noise, pixels kept between 0 and 1 and rounded to "
        "bytes (the probe drawings); Nguyen et al. evolve images of a LeNet instead, and reach 0.9999. Distances are L2 over "
        f"pixels between 0 and 1; the median test image lies {number(near)} from its nearest training image."
    )
    return made


def by_network(drawn: pd.DataFrame) -> pd.DataFrame:
    """Return for each network the share of digits reached with SURE, the least confidence, and the median distance."""
    rows = [
        {
            "trial": trial,
            "seed": own["seed"].iloc[0],
            "labels": own["labels"].iloc[0],
            "share": np.mean(own["confidence"] >= SURE) if own["confidence"].notna().all() else np.nan,
            "least": own["confidence"].min(),
            "distance": own["distance"].median(),
        }
        for trial, own in drawn.groupby("trial", sort=False)
    ]
    return pd.DataFrame(rows, columns=["trial", "seed", "labels", "share", "least", "distance"])


def _distance_of_digits(evidence, trials):
    """Return the median distance of (at most 500) test images to the nearest of all training images."""
    if not len(trials):
        return np.nan
    images, _ = evidence.test_images_of(trials["trial"].iloc[0])
    distance, _ = nearest_neighbours.nearest(images[:500], evidence.dataset.train_images)
    return float(np.median(distance))


def _draw(drawn, reached, kinds, evidence, made):
    spoken = []
    for kind in kinds:
        own = reached[reached["labels"] == kind]
        share = own["share"].dropna()
        if len(share):
            spoken.append(f"{LABELS.get(kind, kind)} {with_interval(mean_interval(share))}")
    if not kinds:
        made.methods.append("No network is left whose fooling images could be drawn.")
        return
    figure, axes = figures.grid(len(kinds), 10, width=1.0, height=1.2)
    for row, kind in zip(axes, kinds):
        own = drawn[drawn["labels"] == kind]
        own = own[own["seed"] == own["seed"].min()].sort_values("digit")
        for place in row:
            place.set(xticks=[], yticks=[])
            place.grid(visible=False)
            sns.despine(ax=place, left=True, bottom=True)
        for place, image in zip(row, own.itertuples()):
            place.imshow(np.frombuffer(image.pixels, np.uint8).reshape(28, 28), cmap="gray_r", vmin=0, vmax=255)
            sure = f"{image.confidence:.5f}" if np.isfinite(image.confidence) else "–"
            place.set_xlabel(f"{image.digit}: {sure}", fontsize=7.5, labelpad=2)
        name = LABELS.get(kind, kind).replace(" and ", " and\n").replace(" labels", "\nlabels").replace("'s ", "'s\n")
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8.5)
    sentence = "; ".join(spoken) or "no network is left"
    made.findings.append(
        f"<b>Fooling images.</b> Share of the ten digits that gradient ascent from noise reaches with a confidence of at least "
        f"{SURE}: {sentence}."
    )
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "fooling", dense=True),
            "What networks take for digits with almost certainty",
            f"Share of the ten digits reached with a confidence of at least {SURE}: {sentence}. Grown from uniform noise, one image "
            "a digit; the first network of each kind, with the digit and its confidence below each image.",
            "Grown images for ten digits with their confidences, by labels.",
        )
    )
