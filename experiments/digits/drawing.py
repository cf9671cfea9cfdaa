"""It can recognise digits, but it 'has no idea how to draw' them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.digits.networks import MAIN, images_of, keyed, over_arm
from memo.commands.evidence import Evidence
from memo.probes import drawings
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.storage.run_folders import Tables

STARTS = {"blank": "from blank", "noise": "from noise"}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network its confidence in its own drawings, and how often other networks classify them as intended."""
    networks, rows = keyed(evidence, MAIN), _drawings(evidence)
    if networks.empty:
        return {}
    for start in STARTS:
        drawn = rows[rows["start"] == start]
        confidence = drawn.groupby("seed")["confidence"].mean()
        networks[f"drawn_confidence_{start}"] = networks["seed"].map(confidence)
        pixels = np.stack([np.frombuffer(row, np.uint8) for row in drawn["pixels"]])
        called = drawings.read_by(evidence.static(MAIN), evidence.layers(MAIN), pixels).argmax(2)
        right = called == drawn["digit"].to_numpy()
        agreed = drawn.assign(agreed=drawings.read_by_others(right, networks["seed"], drawn["seed"]))
        networks[f"drawn_agreed_{start}"] = networks["seed"].map(agreed.groupby("seed")["agreed"].mean())
    return {"networks": networks}


def _drawings(evidence: Evidence) -> pd.DataFrame:
    return evidence.of(MAIN, "drawings").sort_values(["seed", "start", "digit"], kind="stable")


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether drawings are confident, and whether other networks recognise them."""
    networks = tables["networks"]
    images = images_of(networks, MAIN)
    for start in STARTS:
        sure = over_arm(networks, MAIN, f"drawn_confidence_{start}", (0, 1))
        answers.give("draws-confidently-{start}", sure, images, start=start)
        agreed = over_arm(networks, MAIN, f"drawn_agreed_{start}", (0, 1))
        answers.give("drawings-read-{start}", agreed, images, start=start)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the drawings of one network, and the nearest training images."""
    text = Text("experiments.digits", "drawing")
    facts = {
        "sure": {start: answers[f"draws-confidently-{start}"] for start in STARTS},
        "agreed": {start: answers[f"drawings-read-{start}"] for start in STARTS},
        "steps": drawings.STEPS,
        "step": drawings.STEP,
    }
    drawn = []
    if len(evidence.of(MAIN)):
        file = figures.save(draw_drawings(evidence), evidence.folder, "drawings", dense=True)
        drawn.append(text.figure(file, **facts))
    return Chapter(
        title="Drawing digits",
        findings=[text.block("finding", **facts)],
        figures=drawn,
        methods=[text.block("methods", **facts)],
    )


def draw_drawings(evidence: Evidence) -> Drawing:
    """Return the first network's drawings of the ten digits, and the training images nearest to those from noise."""
    rows, images = _drawings(evidence), evidence.dataset
    first = rows[rows["seed"] == rows["seed"].min()]
    drawn = {start: first[first["start"] == start].to_dict("records") for start in STARTS}
    shown: dict[str, list[tuple[panels.Pixels, str]]] = {
        f"drawn\n{words}": [
            (each["pixels"], f"{each['digit']}: {100 * each['confidence']:.0f} %") for each in drawn[start]
        ]
        for start, words in STARTS.items()
    }
    nearest = [(each["nearest"], each["distance"]) for each in drawn["noise"]]
    shown["nearest\ntraining image\n(to noise)"] = [
        (images.train_images[image], f"a {images.train_labels[image]}, at {distance:.1f}")
        for image, distance in nearest
    ]
    return panels.pictures(shown)
