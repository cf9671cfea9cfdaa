"""Early learning: wrongly labelled images are first answered by their true class, and by the given one only later."""

import numpy as np
import pandas as pd

from experiments.closer_look.networks import COLORS, percent
from memo.commands.evidence import Evidence
from memo.probes.training_answers import WATCHED
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.panels import CHANCE, mean_line
from memo.reporting.report import Figure, with_interval
from memo.statistics.over_seeds import over_seeds

LIU = "Liu et al. 2020"
LEVEL = 0.4  # of the paper's figure 1, by its file's name
SHARES = {
    "true_class": ("answered as their true class", COLORS["true"], "-"),
    "given_label": ("answered as their wrong label", COLORS["labels"], (0, (5, 1.5))),
    "test_accuracy": ("test accuracy", palette.BLACK, (0, (1.5, 1.5))),
}


def chapter(evidence: Evidence, networks: pd.DataFrame) -> Chapter:
    """Return the claims and the figure on what becomes of wrongly labelled images."""
    made = Chapter()
    shares = along(evidence)
    made.tables["early_learning"] = shares.drop(columns="trial")
    marks = turning_points(shares[shares["level"] == LEVEL]).merge(
        networks[["trial", "seed"]].drop_duplicates("trial"), on=["trial", "seed"], how="outer"
    )
    wanted = {
        trial.id for trial in evidence.asked_trials("noise_labels") if np.isclose(trial.recipe.labels.fraction, LEVEL)
    }
    marks = marks[marks["trial"].isin(wanted)]
    statement = "Early in training, wrongly labelled images are answered by their true class; the wrong labels are memorised later."
    for name, source, quantity, accept, direction, column in (
        ("peak", LIU, "highest share answered as their true class", (0.9, 1), (0.5, 1), "peak"),
        ("memorised", LIU, "share answered as their wrong label then", (0, 0.05), (0, 0.25), "memorised_at_peak"),
        ("end", LIU, "share still answered as their true class at the end", (0, 0.1), None, "end"),
        ("near-test", "inferred", "that highest share − test accuracy then", (-0.03, 0.03), None, "gap"),
    ):
        claim = Claim(
            f"early-{name}", source, statement, quantity, accept, direction, "early_learning",
            condition=f"{percent(LEVEL)} of labels redrawn",
        )  # fmt: skip
        values = marks[column]
        if column == "end":
            values = values.where(marks["final_train"] > 0.99)
        made.rows.append((claim, *over_seeds(values, "a diverged network, or one that did not fit its labels")))
    peak, end = over_seeds(marks["peak"])[0], over_seeds(marks["end"])[0]
    made.findings.append(
        f"<b>Early learning.</b> With {percent(LEVEL)} of the labels redrawn, at most {with_interval(peak)} of the wrongly "
        f"labelled training images are answered by their true class, at epoch {with_interval(over_seeds(marks['epoch'])[0], count=False)}, "
        f"when {with_interval(over_seeds(marks['memorised_at_peak'])[0], count=False)} are answered by the wrong label; at the end "
        f"{with_interval(end, count=False)}."
    )
    _draw(evidence, shares, marks, made)
    made.methods.append(
        f"Wrongly labelled: of the first {WATCHED:,} training images, those whose redrawn label is not the true one. The peak is "
        "the evaluation with the most of them answered by their true class. The bound of 90 % is one for a larger set of another "
        "kind of images; the level of 40 % is known to us by the name of a file."
    )
    return made


def along(evidence: Evidence) -> pd.DataFrame:
    """Return by network of noisy labels and evaluation the shares of wrongly labelled images answered as true, as given."""
    rows = evidence.of("noise_labels", "training_answers_along").drop(columns="seed")
    trials = evidence.of("noise_labels")
    sets = evidence.training_sets("noise_labels")
    facts = trials[["trial", "seed", "labels.fraction"]].rename(columns={"labels.fraction": "level"})
    parts = []
    for trial, own in rows.groupby("trial"):
        places, given = (values[:WATCHED] for values in sets[trial])
        true = evidence.dataset.train_labels[places]
        answers = np.stack([np.frombuffer(row, np.uint8) for row in own["training_answers"]])
        parts.append(own[["trial", "step", "epoch"]].assign(**shares(answers, given, true)))
    found = (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["trial", "step", "epoch", "true_class", "given_label"])
    )
    curves = evidence.tables.curves[["trial", "step", "train_accuracy", "test_accuracy"]].drop_duplicates(
        ["trial", "step"]
    )
    return found.merge(facts, on="trial").merge(curves, on=["trial", "step"])


def shares(answers: np.ndarray, given: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Return shares of the wrongly labelled images [n] that answers [E, n] call by their true class and by their given label."""
    wrong = given != true
    if not wrong.any():
        missing = np.full(len(answers), np.nan)
        return {"true_class": missing, "given_label": missing}
    seen = answers[:, wrong]
    return {"true_class": (seen == true[wrong]).mean(axis=1), "given_label": (seen == given[wrong]).mean(axis=1)}


def turning_points(shares: pd.DataFrame) -> pd.DataFrame:
    """Return one row a network: the peak of the share answered by the true class, what is memorised then, and the end."""
    rows = []
    for (trial, seed), own in shares.groupby(["trial", "seed"]):
        own = own.sort_values("step")
        if own["true_class"].isna().all():
            continue
        best, last = own.loc[own["true_class"].idxmax()], own.iloc[-1]
        rows.append(
            {
                "trial": trial,
                "seed": seed,
                "peak": best["true_class"],
                "epoch": best["epoch"],
                "memorised_at_peak": best["given_label"],
                "gap": best["true_class"] - best["test_accuracy"],
                "end": last["true_class"],
                "final_train": last["train_accuracy"],
            }
        )
    columns = ["trial", "seed", "peak", "epoch", "memorised_at_peak", "gap", "end", "final_train"]
    return pd.DataFrame(rows, columns=columns)


def _draw(evidence, shares, marks, made):
    levels = sorted(shares["level"].unique())
    figure, [axes] = figures.grid(1, max(1, len(levels)), width=2.8, height=2.7, sharey=True)
    for place, level in zip(axes, levels):
        own = shares[shares["level"] == level]
        for column, (words, color, dashes) in SHARES.items():
            mean_line(place, own, column, color=color, linestyle=dashes, label=words)
        place.axhline(CHANCE, **palette.REFERENCE)
        figures.epoch_axis(place, own["epoch"].max())
        place.set(title=f"{percent(level)} of labels redrawn", ylim=(0, 1.02))
    axes[0].set_ylabel("share of wrongly labelled images")
    if levels:
        figures.shared_legend(figure, axes[0])
    gap = over_seeds(marks["gap"])[0]
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "early_learning"),
            "What becomes of wrongly labelled training images",
            f"At {percent(LEVEL)}, the highest share answered by the true class is {with_interval(over_seeds(marks['peak'])[0])}; minus "
            f"the accuracy on test images then {with_interval(gap, count=False)}. Lines: means over seeds, bands: all of them; "
            "dotted horizontal: chance; vertical: the end of the first epoch.",
            "Shares of wrongly labelled images answered by their true class and by their label, and test accuracy, by epoch.",
        )
    )
