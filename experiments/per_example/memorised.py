"""Memorisation: how much of it there is, on redrawn and on true labels, whose images they are, and whether they are of use."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.per_example import removal, scores
from experiments.per_example.scores import CLEAN, NO_REDRAWN, NOISY, WHOLE_CLEAN, answered, auroc_of, redrawn
from memo.commands.evidence import Evidence
from memo.measures.per_example.memorisation import error_bound
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import Estimate, share
from memo.statistics.over_seeds import over_pairs, over_seeds
from memo.storage.run_folders import Tables

# From which Feldman and Zhang count an example as memorised.
MEMORISED = 0.25
HALF = 0.5  # below which a wrong label counts as not fitted
SHOWN = 32  # images in the gallery
GROUPS = {
    "redrawn": Mark("redrawn labels", palette.VERMILION, dashes=palette.DASHED),
    "others": Mark("true labels among redrawn ones", palette.GREEN, dashes=palette.DOTTED),
    "true": Mark("true labels alone", palette.BLUE, dashes=palette.SOLID),
}
REMOVED = {
    removal.MEMORISED: Mark("the most memorised", palette.VERMILION, "s"),
    removal.RANDOM: Mark("random ones", palette.BLUE, "o"),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return all scores by image and their reliability, what each network memorised of the redrawn labels, and test accuracies without some images."""
    table = scores.scored(evidence)
    rows = evidence.of(NOISY, "image_record")
    found = scores.record(evidence, NOISY)
    right, wrong = found.answers == table["label"].to_numpy(), redrawn(table).to_numpy()
    seen, unseen = (_share(right[:, wrong], chosen[:, wrong]) for chosen in (found.members, ~found.members))
    networks = rows[["trial", "seed"]].assign(arm=NOISY, injected_seen=seen, injected_unseen=unseen)
    sizes, trial = evidence.settings["removal"], evidence.asked_trials(WHOLE_CLEAN)[0]
    most = table.set_index("image")["memorisation_true_labels"].fillna(-1).nlargest(sizes["images"]).index.to_numpy()
    asked = [trial.id, table["image"].tolist(), most.tolist(), sizes["seeds"]]
    accuracies = evidence.once(
        "removal",
        (removal,),
        asked,
        lambda: removal.accuracies(evidence.dataset, trial.recipe, *evidence.pool(CLEAN), most, sizes["seeds"]),
    )
    return {
        "images": table,
        "reliability": scores.reliability(evidence, table),
        "networks": networks,
        "removal": accuracies.assign(dataset=evidence.dataset.name),
    }


def _share(right: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the share [T] of chosen images [T, N] that are right; NaN where none is chosen."""
    counts = chosen.sum(axis=1)
    return np.divide((right & chosen).sum(axis=1), counts, out=np.full(len(counts), np.nan), where=counts > 0)


def memorised(table: pd.DataFrame) -> Estimate:
    """Return the share of images that are memorised with their true label."""
    return share(table["memorisation_true_labels"].dropna() >= MEMORISED)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much redrawn and true labels are memorised, how well memorisation finds the former, and what its tail is good for."""
    table, networks = tables["images"], tables["networks"]
    own = networks[networks["arm"] == NOISY]
    answers.give("injected-memorised", over_seeds(own["injected_seen"] - own["injected_unseen"], NO_REDRAWN))
    answers.give("injected-found-memorisation", answered(auroc_of(table, "memorisation"), NO_REDRAWN))
    about_mnist = set(tables["removal"]["dataset"]) == {"mnist"}
    answers.give("tail-true-labels", (memorised(table), "") if about_mnist else (None, "the sentence is about MNIST"))
    accuracy = tables["removal"].pivot(index="seed", columns="removed", values="test_accuracy")
    answers.give("removal", over_pairs(accuracy["random"], accuracy["memorised"]))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the distribution of memorisation, the images of its tail, and test accuracy without them."""
    table, text = tables["images"], Text("experiments.per_example", "memorised")
    wrong = redrawn(table)
    counts = {arm: len(evidence.of(arm)) for arm in (NOISY, CLEAN)}
    trained = float(evidence.of(NOISY)["dataset.share"].iloc[0])
    most = table.dropna(subset="memorisation_true_labels").nlargest(SHOWN, "memorisation_true_labels")
    facts = {
        "injected": answers["injected-memorised"],
        "found": answers["injected-found-memorisation"],
        "tail": memorised(table),
        "removal": answers["removal"],
        "networks": counts,
        "bounds": {arm: error_bound(trained, count) ** 0.5 for arm, count in counts.items()},
        "share": trained,
        "images": len(table),
        "wrong": int(wrong.sum()),
        "shown": len(most),
        # Networks that were not trained on an image are wrong about it at least as often as this.
        "least": float(most["memorisation_true_labels"].min()),
        "error": table["memorisation_error"].median(),
        "threshold": MEMORISED,
        "weak": (table.loc[wrong, "memorisation"].dropna() < HALF).mean(),
        "unfitted": 1 - float(tables["networks"]["injected_seen"].mean()),
        "beside": (table.loc[~wrong, "memorisation"].dropna() >= MEMORISED).mean(),
        "left_out": int(len(table) - tables["removal"]["images"].iloc[0]),
        "retrained": tables["removal"]["seed"].nunique(),
    }
    drawn = {
        "memorised": draw_distribution(table),
        "tail": draw_tail(evidence, most),
        "removal": draw_removal(tables["removal"]),
    }
    files = [figures.save(each, evidence.folder, name, dense=name == "tail") for name, each in drawn.items()]
    return Chapter(
        title="How much is memorised",
        findings=[text.block("finding", **facts), text.block("finding_tail", **facts)],
        figures=[text.figure(file, **facts) for file in files],
        methods=[text.block("methods", **facts), text.block("methods_removal", **facts)],
    )


def draw_distribution(table: pd.DataFrame) -> Drawing:
    """Return the share of images whose memorisation is at least a value, by group of labels, on a logarithmic axis."""
    figure, [[axes]] = figures.grid(1, 1, width=5.2, height=3.2)
    wrong = redrawn(table)
    values = {
        "redrawn": table.loc[wrong, "memorisation"],
        "others": table.loc[~wrong, "memorisation"],
        "true": table["memorisation_true_labels"],
    }
    for name, mark in GROUPS.items():
        own = np.sort(values[name].dropna())
        if len(own):
            axes.step(own, 1 - np.arange(len(own)) / len(own), where="pre", label=mark.name, **mark.line)
    axes.axvline(MEMORISED, **palette.REFERENCE)
    figures.log_axis(axes)
    axes.set(xlabel="memorisation", ylabel="share of images\nmemorised at least as much", xlim=(-0.3, 1.02))
    figures.legend(axes, loc="lower left")
    return figure


def draw_tail(evidence: Evidence, most: pd.DataFrame) -> Drawing:
    """Return the most memorised images with true labels: label and memorisation below each."""
    images = evidence.dataset.train_images[most["image"]]
    below = [f"{label}  ({value:.2f})" for label, value in zip(most["true_label"], most["memorisation_true_labels"])]
    cells = list(zip(images, below))
    rows = {str(start + 1): cells[start : start + 8] for start in range(0, len(cells), 8)}
    return panels.pictures(rows)


def draw_removal(table: pd.DataFrame) -> Drawing:
    """Return test accuracy without the most memorised images and without random ones, a line for each pair."""
    figure, [[axes]] = figures.grid(1, 1, width=3.4, height=2.8)
    pairs = table.pivot(index="seed", columns="removed", values="test_accuracy")[list(REMOVED)]
    for place, (name, mark) in enumerate(REMOVED.items()):
        panels.means(axes, {place: pairs[name]}, mark, seeds=True)
    for values in pairs.to_numpy():
        axes.plot([0, 1], values, color=palette.GREY, linewidth=0.7, zorder=0)
    figures.name_axis(axes, [mark.name for mark in REMOVED.values()])
    axes.set(ylabel="test accuracy", xlabel="images left out")
    return figure
