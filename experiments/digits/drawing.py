"""It can recognise digits, but it 'has no idea how to draw' them."""

import numpy as np
import seaborn as sns

from experiments.digits.sources import TALK
from memo.commands.evidence import Evidence
from memo.measures import nearest_neighbours
from memo.probes import drawings
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval

ARM = "nielsen"
STARTS = {"blank": "from blank", "noise": "from noise"}
REFERENCES = 1000  # test images whose distance to the nearest training image is the measure of what is near


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on drawings."""
    made = Chapter()
    rows = evidence.of(ARM, "drawings").sort_values(["seed", "start", "digit"], kind="stable")
    typical = _typical_distance(evidence)
    statement = "It 'has no idea how to draw' digits."
    others, own = {}, {}
    for start, words in STARTS.items():
        drawn = rows[rows["start"] == start]
        others[start] = _read_by_others(evidence, drawn)
        own[start] = drawn.groupby("seed")["confidence"].mean()
        for name, quantity, accept, direction, values in (
            (
                "draws-confidently",
                "confidence in its own drawings, mean over ten digits",
                (0.95, 1),
                (0.5, 1),
                own[start],
            ),
            (
                "draws-far",
                "distance of drawings to the nearest training image, over that of test images",
                (1.5, np.inf),
                (1.001, np.inf),
                drawn.groupby("seed")["distance"].mean() / typical,
            ),
            (
                "draws-unreadably",
                "share of readings by other networks that call the drawing its digit",
                (0, 0.5),
                None,
                others[start],
            ),
        ):
            claim = Claim(f"{name}-{start}", TALK, statement, quantity, accept, direction, "drawings", condition=words)
            made.rows.append((claim, *evidence.mean(ARM, values)))
    _draw(evidence, rows, made, others, own, typical)
    if len(rows):
        made.findings.append(
            f"<b>Drawing.</b> Asked to draw, the networks reach a mean confidence of "
            f"{with_interval(mean_interval(own['noise'].dropna()))} in what they make of noise; other networks of the same "
            f"recipe call {with_interval(mean_interval(others['noise'].dropna()), count=False)} of these drawings by their "
            "digit."
        )
    made.methods.append(
        f"Drawings: {drawings.STEPS} steps along the sign of the gradient of the log probability of the one-hot target "
        f"(sigmoid outputs taken as probabilities of their own), from {drawings.STEP} a pixel falling linearly to 0, clipped "
        "to [0, 1], from black or from uniform noise; the best image met counts, rounded to bytes. Distances are Euclidean, to the nearest of all 60,000 "
        f"training images; for comparison {REFERENCES:,} test images, at {number(typical)} on average. Other networks: all of "
        "the same recipe but the one that drew."
    )
    return made


def _typical_distance(evidence):
    shown = evidence.dataset.test_images[:REFERENCES].astype(np.float32) / np.float32(255)
    distances, _ = nearest_neighbours.nearest(shown, evidence.dataset.train_images)
    return float(np.mean(distances))


def _read_by_others(evidence, drawn):
    """Return by seed the share of readings, by the other networks, that call its ten drawings by their digits."""
    pixels = np.stack([np.frombuffer(row, np.uint8) for row in drawn["pixels"]])
    read = drawings.read_by(evidence.static(ARM), evidence.layers(ARM), pixels).argmax(2)  # [T, D]
    right = read == drawn["digit"].to_numpy()[None]
    seeds = evidence.of(ARM)["seed"].to_numpy()
    by_others = np.where(seeds[:, None] == drawn["seed"].to_numpy()[None], np.nan, right)
    if len(seeds) < 2:
        return drawn.groupby("seed")["confidence"].mean() * np.nan
    return drawn.assign(right=np.nanmean(by_others, axis=0)).groupby("seed")["right"].mean()


def _draw(evidence, rows, made, others, own, typical):
    if not len(rows):
        return
    first = rows[rows["seed"] == rows["seed"].min()]
    figure, axes = figures.grid(3, 10, width=0.95, height=1.2)
    for row, (start, words) in zip(axes, STARTS.items()):
        for place, (_, drawing) in zip(row, first[first["start"] == start].sort_values("digit").iterrows()):
            place.imshow(np.frombuffer(drawing["pixels"], np.uint8).reshape(28, 28), cmap="gray_r", vmin=0, vmax=255)
            place.text(
                0.5, -0.04, f"{drawing['digit']}: {100 * drawing['confidence']:.0f} %",
                transform=place.transAxes, ha="center", va="top", fontsize=7.5,
            )  # fmt: skip
        row[0].set_ylabel(f"drawn\n{words}", rotation=0, ha="right", va="center")
    for place, (_, drawing) in zip(axes[2], first[first["start"] == "noise"].sort_values("digit").iterrows()):
        place.imshow(evidence.dataset.train_images[drawing["nearest"]].reshape(28, 28), cmap="gray_r")
        name = evidence.dataset.train_labels[drawing["nearest"]]
        place.text(
            0.5, -0.04, f"a {name}, at {drawing['distance']:.1f}", transform=place.transAxes, ha="center", va="top",
            fontsize=7.5,
        )  # fmt: skip
    axes[2][0].set_ylabel("nearest\ntraining image\n(to noise)", rotation=0, ha="right", va="center")
    for place in (place for row in axes for place in row):
        place.set(xticks=[], yticks=[])
        place.grid(visible=False)
        sns.despine(ax=place, left=True, bottom=True)

    def text(values):
        values = values.dropna()
        return with_interval(mean_interval(values)) if len(values) else "n/a"

    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "drawings", dense=True),
            "How it draws the ten digits",
            f"In its own drawings the network has a mean confidence of {text(own['blank'])} from blank and {text(own['noise'])} "
            f"from noise. Other networks of the same recipe call "
            f"{text(others['blank'])} and {text(others['noise'])} of the drawings by their digit (chance: 0.1). Above: what the "
            "first network (seed 0) makes of a blank image and of noise to raise each digit's output, with its confidence; "
            f"below: the nearest training images, at these distances (a test image is {number(typical)} from its nearest one).",
            "Images that one network grew to maximise each digit, with the nearest training images.",
        )
    )
