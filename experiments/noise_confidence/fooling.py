"""Images optimised by gradient ascent until a network classifies them as a digit."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.noise_confidence.calibration import GIMPEL
from experiments.noise_confidence.networks import KEYS, TWINS, over_networks, read
from memo.commands.evidence import Evidence
from memo.probes import drawings, weights
from memo.reporting import figures, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.statistics.intervals import share
from memo.storage.run_folders import Tables

ARMS = ("fooling", "hendrycks")
KINDS = {kind: mark.name for kind, mark in TWINS.items()} | {"hendrycks": GIMPEL}
SURE = 0.9999


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return of each network the share of digits that it was fooled into, and how often others classify these images as that digit.

    Others are networks on true labels of the same kind; with shuffled labels, classes have no common appearance.
    """
    drawn = drawn_from_noise(evidence)
    parts = []
    for kind in ("true", "hendrycks"):
        rows = drawn[drawn["kind"] == kind]
        if len(rows):
            parts.append(rows.assign(read=_read(evidence, rows)).groupby(KEYS)["read"].mean())
    read = pd.concat(parts) if parts else np.nan
    return {"networks": pd.DataFrame({"fooled": fooled(drawn), "read_by_others": read}).reset_index()}


def fooled(drawn: pd.DataFrame) -> pd.Series:
    """Return by network the share of its images on which it is confident; NaN where not all confidences are finite."""
    own = drawn.groupby(KEYS)["confidence"]
    return own.agg(lambda sure: (sure >= SURE).mean()).where(own.count() == own.size())


def drawn_from_noise(evidence: Evidence) -> pd.DataFrame:
    """Return the drawings from noise, by network and digit; `kind` is the kind of labels, or Hendrycks and Gimpel's."""
    drawn = evidence.of_all("drawings").merge(evidence.trials[["trial", "arm", "labels.kind"]], on=["trial", "arm"])
    drawn = drawn[drawn["arm"].isin(ARMS) & (drawn["start"] == "noise")].sort_values([*KEYS, "digit"])
    return drawn.assign(kind=drawn["labels.kind"].where(drawn["arm"] != "hendrycks", "hendrycks"))


def _read(evidence: Evidence, drawn: pd.DataFrame) -> np.ndarray:
    """Return of each drawing of one kind of networks the share of the others that classify it as its digit."""
    trials, static = drawn["trial"].unique(), evidence.static_of(drawn["trial"].iloc[0])
    layers = weights.layers(evidence.tables.weights.set_index("trial")["weights"][trials], static.sizes)
    pixels = np.stack([np.frombuffer(row, np.uint8) for row in drawn["pixels"]])
    right = drawings.read_by(static, layers, pixels).argmax(2) == drawn["digit"].to_numpy()
    return drawings.read_by_others(right, trials, drawn["trial"].to_numpy())


def answer(tables: Tables, answers: Answers) -> None:
    """Answer whether networks are fooled into every digit, and whether others are fooled too."""
    networks = read(tables, *ARMS)
    known = networks["fooled"].notna()
    answers.give("fools", over_networks(networks, (networks["fooled"] == 1).where(known).astype(float), share))
    for kind in ("true", "hendrycks"):
        own = of_kind(networks, kind)
        answers.trained_on(own)
        answers.give("unread-{kind}", over_networks(own, own["read_by_others"]), kind=kind)


def of_kind(networks: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the networks on one kind of labels, or Hendrycks and Gimpel's."""
    if kind == "hendrycks":
        return networks[networks["arm"] == kind]
    return networks[(networks["arm"] == "fooling") & (networks["labels"] == kind)]


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the images that fooled the first network of each kind."""
    text, networks = Text("experiments.noise_confidence", "fooling"), read(tables, *ARMS)
    facts = {
        "sure": SURE,
        "fools": answers["fools"],
        "fooled": int((networks["fooled"] == 1).sum()),
        "count": int(networks["fooled"].notna().sum()),
        "unread": {kind: answers[f"unread-{kind}"] for kind in ("true", "hendrycks")},
        "steps": drawings.STEPS,
        "step": drawings.STEP,
    }
    drawn, figure = drawn_from_noise(evidence), []
    if len(drawn):
        file = figures.save(draw_images(drawn), evidence.folder, "fooling", dense=True)
        figure.append(text.figure(file, **facts))
    return Chapter(
        title="Images grown to fool",
        findings=[text.block("finding", **facts)],
        figures=figure,
        methods=[text.block("methods", **facts)],
    )


def draw_images(drawn: pd.DataFrame) -> Drawing:
    """Return the ten images of the first network of each kind, with their digits and confidences."""
    rows: dict[str, list[tuple[panels.Pixels, str]]] = {}
    for kind, name in KINDS.items():
        own = drawn[drawn["kind"] == kind]
        own = own[own["seed"] == own["seed"].min()]
        if len(own):
            sure = [f"{value:.5f}" if np.isfinite(value) else "–" for value in own["confidence"]]
            shown = [f"{digit}: {value}" for digit, value in zip(own["digit"], sure)]
            words = name.replace(" and ", " and\n").replace(" labels", "\nlabels")
            rows[words] = list(zip(own["pixels"], shown))
    return panels.pictures(rows, width=1.0)
