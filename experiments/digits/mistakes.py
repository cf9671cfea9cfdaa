"""The ones it messes up: which, how surely, and whether other networks mess up the same ones."""

import numpy as np
import pandas as pd
import seaborn as sns

from experiments.digits.sources import ARM_NAMES, TALK
from memo.commands.evidence import Evidence
from memo.probes import answers
from memo.reporting import figures
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval

ARMS = ("nielsen", "chosen", "relu")
SHOWN = 10


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on mistakes."""
    made = Chapter()
    statement = "Of the ones it messes up: 'you kind of feel compelled to cut it a little slack'."
    shares = {}
    for arm in ARMS:
        _, true = evidence.test_images(arm)
        called, _ = answers.read(*evidence.answers(arm))
        wrong = called != true[None]
        shares[arm] = shared_errors(wrong)
        rows = [
            (
                "slack-shared",
                "share of a network's errors that most of the other networks make as well",
                (0.5, 1),
                (0.25, 1),
                shares[arm]["majority"],
            ),
            (
                "slack-overlap",
                "chance that another network errs on an image that one errs on, over its error rate",
                (5, np.inf),
                (1.5, np.inf),
                shares[arm]["lift"],
            ),
        ]
        for name, quantity, accept, direction, values in rows:
            claim = Claim(
                f"{name}-{arm}", TALK, statement, quantity, accept, direction, "mistakes", condition=ARM_NAMES[arm]
            )
            made.rows.append((claim, *evidence.mean(arm, values)))
    _gallery(evidence, made)
    main = shares["nielsen"]
    made.findings.append(
        f"<b>Mistakes are shared.</b> {with_interval(mean_interval(main['majority']))} of a network's errors are made by "
        "most of the other networks too (Nielsen's recipe)."
        if len(main)
        else "<b>Mistakes.</b> No network to compare."
    )
    made.methods.append(
        "Errors: an error is shared by most when more than half of the other networks of the same recipe (other seeds) "
        "get the image wrong, whatever they call it. With independent errors the overlap over the error rate would be 1. "
        "The ranges (half of the errors, factor 5) are ours: the talk gives no number."
    )
    return made


def shared_errors(wrong: np.ndarray) -> pd.DataFrame:
    """Return, for each network of wrong [T, M] (bool), how its errors are shared with the T - 1 others.

    `majority`: the share of its errors that more than half of the others make; `lift`: the mean chance of the others to
    err where it errs, over their chance to err anywhere. NaN for a network without errors, or alone.
    """
    count, rows = len(wrong), []
    total = wrong.sum(0)
    for own in wrong:
        others = (total - own) / max(count - 1, 1)
        if count < 2 or not own.any() or not others.any():
            rows.append((np.nan, np.nan))
        else:
            rows.append((np.mean(others[own] > 0.5), others[own].mean() / others.mean()))
    return pd.DataFrame(rows, columns=["majority", "lift"])


def _gallery(evidence, made):
    images, true = evidence.test_images("nielsen")
    called, sure = answers.read(*evidence.answers("nielsen"))
    wrong = called != true[None]
    confidently = np.where(wrong, sure, 0).mean(0)
    often = wrong.mean(0)
    most_often = np.argsort(-(often + 1e-6 * confidently), kind="stable")[:SHOWN].tolist()
    surest = [image for image in np.argsort(-confidently, kind="stable") if image not in set(most_often)][:SHOWN]
    figure, axes = figures.grid(2, SHOWN, width=0.95, height=1.25)
    for row, chosen, title in zip(axes, (most_often, surest), ("wrong most often", "then the most\nsurely wrong")):
        for place, image in zip(row, chosen):
            place.imshow(images[image].reshape(28, 28), cmap="gray_r")
            place.set(xticks=[], yticks=[])
            place.grid(visible=False)
            sns.despine(ax=place, left=True, bottom=True)
            mistakes = called[wrong[:, image], image]
            name = int(np.bincount(mistakes, minlength=10).argmax()) if len(mistakes) else "–"
            text = f"a {true[image]}, called {name}\n{100 * often[image]:.0f} % wrong"
            place.text(0.5, -0.04, text, transform=place.transAxes, ha="center", va="top", fontsize=6.5)
        row[0].set_ylabel(title, rotation=0, ha="right", va="center")
    everyone = int((often == 1).sum())
    anyone = int((often > 0).sum())
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "mistakes", dense=True),
            "The ones that it messes up",
            f"{everyone} of the {len(true):,} test images are got wrong by all of the n = {len(called)} networks and "
            f"{anyone:,} by at least one; a network errs on {number(wrong.sum(1).mean(), 0)} on average. Above: those that "
            "most networks get wrong; below: of the rest, those with the highest confidence in a wrong answer, averaged "
            "over networks. Under each image its label, what it is called most often, and the share of networks that get "
            "it wrong (Nielsen's recipe, last epoch).",
            "Test images that the networks get wrong, with their labels and the answers.",
        )
    )
