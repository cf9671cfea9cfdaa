"""A random image in, confident nonsense out."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.digits.networks import MAIN, RECIPES, by_seed, images_of, over_arm, share_of
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark, input_marks
from memo.storage.run_folders import Tables

NOISE = ("uniform", "gaussian", "random_pixels")
CLASSES = range(10)
SIDES = {
    "same_answers": Mark("test images with the same predictions", palette.BLACK, "o"),
    "confidence": Mark("noise", palette.GREEN, "^"),
}
EVEN = 0.05  # of the noise at most, in a network whose outputs are never even


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network its confidence on each kind of noise and on test images with the same predictions, and its predictions for it."""
    keys = ["trial", "arm", "seed"]
    rows = evidence.of_all("confidence")
    by_kind = {kind: own.set_index(keys).sort_index() for kind, own in rows.groupby("inputs")}
    networks = pd.DataFrame(index=pd.MultiIndex.from_frame(evidence.trials[keys]).sort_values())
    for kind in NOISE:
        noise, test = (by_kind.get(name, rows.iloc[:0].set_index(keys)) for name in (kind, "test"))
        networks[f"confidence_{kind}"] = noise["mean_confidence"]
        networks[f"same_answers_{kind}"] = same_answers(noise, test)
    uniform = by_kind.get("uniform", rows.iloc[:0].set_index(keys))
    networks["even"], networks["silent"] = uniform["share_even"], uniform["share_below_0.5"]
    networks["one_answer"] = uniform[[f"share_class_{k}" for k in CLASSES]].max(axis=1)
    return {"networks": networks.dropna(how="all").reset_index()}


def same_answers(noise: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Return each network's mean confidence on test images, weighted so that its predictions are as frequent as on noise.

    Rows are networks, in the same order in both; columns share_class_k (of the answers) and mean_confidence_class_k. NaN where a
    prediction for noise occurs for no test image.
    """
    shares = noise[[f"share_class_{k}" for k in CLASSES]].to_numpy()
    sure = test[[f"mean_confidence_class_{k}" for k in CLASSES]].to_numpy()
    return pd.Series(np.where(shares > 0, shares * sure, 0).sum(1), noise.index)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how confident networks are on uniform noise, and their predictions for it."""
    networks = tables["networks"]
    for arm in RECIPES:
        gap = by_seed(networks, arm, "confidence_uniform") - by_seed(networks, arm, "same_answers_uniform")
        answers.give("as-sure-{arm}", over_arm(networks, arm, gap, (-1, 1)), images_of(networks, arm), arm=arm)
        sure = over_arm(networks, arm, "confidence_uniform", (0, 1))
        answers.give("confident-noise-{arm}", sure, images_of(networks, arm), arm=arm)
        even = by_seed(networks, arm, "even")
        seldom = (even <= EVEN).astype(float).mask(even.isna())
        answers.give("never-even-{arm}", share_of(networks, arm, seldom), images_of(networks, arm), arm=arm)
        for claim, column in (("never-silent", "silent"), ("one-answer", "one_answer")):
            answers.give(f"{claim}-{{arm}}", over_arm(networks, arm, column, (0, 1)), images_of(networks, arm), arm=arm)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw confidence on noise and on test images with the same predictions, predictions for noise, and samples."""
    networks, text = tables["networks"], Text("experiments.digits", "noise")
    sure = evidence.of_all("confidence")
    called = {arm: class_shares(sure[sure["arm"] == arm]) for arm in RECIPES}
    facts = {
        "gap": {words: answers[f"as-sure-{arm}"] for arm, words in RECIPES.items()},
        "sure": answers[f"confident-noise-{MAIN}"],
        "digits": over_arm(networks, MAIN, "same_answers_uniform", (0, 1))[0],
        "called": {RECIPES[arm]: np.bincount(shares.argmax(1), minlength=10) for arm, shares in called.items()},
        "most": {RECIPES[arm]: answers[f"one-answer-{arm}"] for arm in RECIPES},
        "inputs": int(sure["n"].max()) if len(sure) else 0,
    }
    drawn = [
        figures.save(draw_confidence(networks, evidence.classes), evidence.folder, "noise"),
        figures.save(draw_called(called), evidence.folder, "called"),
    ]
    samples = evidence.of(MAIN, "noise_samples")
    if len(samples):
        strip = panels.sample_strip({"true": samples[samples["seed"] == samples["seed"].min()]})
        drawn.append(figures.save(strip, evidence.folder, "samples", dense=True))
    return Chapter(
        title="Confidence on noise",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(file, **facts) for file in drawn],
        methods=[text.block("methods")],
    )


def class_shares(confidence: pd.DataFrame) -> np.ndarray:
    """Return the shares of uniform noise that each network classifies as each digit [networks, 10], sorted by the most frequent."""
    own = confidence[confidence["inputs"] == "uniform"]
    shares = own[[f"share_class_{k}" for k in CLASSES]].dropna().to_numpy()
    return shares[np.lexsort((-shares.max(1), shares.argmax(1)))] if len(shares) else shares


def draw_confidence(networks: pd.DataFrame, classes: int) -> Drawing:
    """Return mean confidence on kinds of noise and on test images with the same predictions, by recipe."""
    figure, [places] = figures.grid(1, len(RECIPES), width=2.8, height=2.8, sharey=True)
    marks = input_marks(NOISE)
    for axes, (arm, words) in zip(places, RECIPES.items()):
        for (side, mark), offset in zip(SIDES.items(), panels.side_by_side(len(SIDES))):
            values = {at: by_seed(networks, arm, f"{side}_{kind}") for at, kind in enumerate(NOISE)}
            panels.means(axes, values, mark, offset=offset, seeds=True)
        panels.chance(axes, classes)
        figures.name_axis(
            axes, [mark.name.replace(", ", ",\n").replace(" noise", "\nnoise") for mark in marks.values()]
        )
        axes.set(title=words, ylim=(0, 1.03))
    places[0].set_ylabel("mean confidence")
    figures.shared_legend(figure, places[0])
    return figure


def draw_called(called: dict[str, np.ndarray]) -> Drawing:
    """Return the share of uniform noise that each network classifies as each digit, by recipe."""
    figure, [places] = figures.grid(1, len(RECIPES), width=2.8, height=2.6, sharey=True)
    for axes, (arm, words) in zip(places, RECIPES.items()):
        if len(called[arm]):
            axes.imshow(called[arm], aspect="auto", cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.grid(visible=False)
        axes.set(title=words, xticks=CLASSES, yticks=[], xlabel="predicted digit")
    places[0].set_ylabel("networks")
    if places[0].images:
        figure.colorbar(places[0].images[0], ax=places, shrink=0.8).set_label("share of noise images")
    return figure
