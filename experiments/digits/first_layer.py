"""What the hidden layer looks for: weights that look almost random, loose patterns in the middle, and no edges."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns

from experiments.digits.sources import TALK
from memo.commands.evidence import Evidence, paired
from memo.data.randomness import generator
from memo.probes import first_layer
from memo.reporting import figures
from memo.reporting.figures import LABELS
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import mean_interval, paired_difference

STATISTICS = {
    "autocorrelation": "autocorrelation of neighbours (Moran's I)",
    "participation": "participation ratio",
    "middle": "share of energy in the middle",
}
NULLS = {"autocorrelation": -1 / 783, "participation": 1 / 3, "middle": 1 / 4}
CHANGES = {"decay": "weight decay", "dropout": "dropout", "patches": "local receptive fields"}
ARMS = {
    "nielsen": "Nielsen's recipe",
    "chosen": "well-chosen recipe",
    "shuffled": "shuffled labels",
    **CHANGES,
}


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and figures on the first layer."""
    table = pd.concat([_by_network(evidence, arm) for arm in ARMS], ignore_index=True)
    made = Chapter(tables={"first_layer": table})
    _claims(evidence, table, made)
    _changes(evidence, table, made)
    _draw_weights(evidence, made)
    _draw_statistics(evidence, table, made)
    made.methods.append(
        "First layer: statistics of each unit's 784 weights, averaged over the units of a network. Autocorrelation is "
        "Moran's I over neighbours in four directions: 1 for a smooth image, −1/783 for one whose pixels were permuted. "
        "Participation ratio (Σw²)²/(784 Σw⁴): 1 for even weights, 1/3 for Gaussian ones, 1/784 for a single pixel; "
        "permuting pixels does not change it. Energy in the middle: the share of Σw² in the central 14 × 14 pixels, a "
        "quarter of the image. Permuted: mean over 20 permutations of each unit's pixels. The ranges are ours."
    )
    return made


def _by_network(evidence: Evidence, arm: str) -> pd.DataFrame:
    """Return one row a network and stage (start, end, change between them, permuted): means over units."""
    rows = evidence.of(arm, "first_layer_along").sort_values(["seed", "unit", "step"], kind="stable")
    parts = []
    for seed, own in rows.groupby("seed"):
        start, end = (own[own["step"] == step] for step in (own["step"].min(), own["step"].max()))
        images = {stage: _images(frame["weights"]) for stage, frame in (("start", start), ("end", end))}
        measured = {
            "start": start[list(STATISTICS)].mean(),
            "end": end[list(STATISTICS)].mean(),
            "change": pd.DataFrame(first_layer.statistics(images["end"] - images["start"])).mean(),
            "permuted": pd.DataFrame(
                first_layer.permuted(images["end"], generator(int(seed), "noise", "pixel_permutations"), 20)
            ).mean(),
        }
        for stage, values in measured.items():
            parts.append({"arm": arm, "seed": seed, "stage": stage} | {name: values[name] for name in STATISTICS})
    return pd.DataFrame(parts, columns=["arm", "seed", "stage", *STATISTICS])


def _images(weights: Sequence[bytes]) -> np.ndarray:
    return np.stack([np.frombuffer(row, "<f4") for row in weights])


def _claims(evidence, table, made):
    statement = "The weights of the first layer look 'almost random, just with some very loose patterns in the middle'."
    for arm in ("nielsen", "chosen"):
        own = table[table["arm"] == arm].set_index("stage")
        stage = {name: own.loc[[name]].sort_values("seed") for name in ("start", "end", "change", "permuted")}
        rows = [
            (
                "random-looking",
                "autocorrelation of neighbouring weights",
                (-0.1, 0.2),
                None,
                stage["end"]["autocorrelation"],
            ),
            (
                "patterned",
                "autocorrelation, trained − its pixels permuted",
                (0.02, np.inf),
                None,
                stage["end"]["autocorrelation"].to_numpy() - stage["permuted"]["autocorrelation"].to_numpy(),
            ),
            (
                "in-the-middle",
                "share of energy in the middle, trained − before training",
                (0.05, np.inf),
                (0.001, np.inf),
                stage["end"]["middle"].to_numpy() - stage["start"]["middle"].to_numpy(),
            ),
            (
                "change-in-the-middle",
                "share of energy in the middle, of the change that training makes",
                (0.5, 1),
                (0.251, 1),
                stage["change"]["middle"],
            ),
        ]
        for name, quantity, accept, direction, values in rows:
            claim = Claim(
                f"{name}-{arm}", TALK, statement, quantity, accept, direction, "first_layer", condition=ARMS[arm]
            )
            made.rows.append((claim, *evidence.mean(arm, values)))
        claim = Claim(
            f"not-edges-{arm}",
            TALK,
            "They are not the edges and patterns that one hoped for.",
            "participation ratio (Gaussian weights 1/3; a detector confined to a tenth of the pixels at most 0.1)",
            (0.15, 1),
            None,
            "first_layer_statistics",
            condition=ARMS[arm],
        )
        made.rows.append((claim, *evidence.mean(arm, stage["end"]["participation"])))
    left, right = (table[(table["arm"] == arm) & (table["stage"] == "end")] for arm in ("chosen", "shuffled"))
    both = paired(left, right, "autocorrelation")
    estimate = paired_difference(both["left"], both["right"]) if len(both) else None
    claim = Claim(
        "patterns-need-labels",
        "this suite",
        "Patterns come from what the labels say of the images.",
        "autocorrelation, true − shuffled labels",
        (0.02, np.inf),
        None,
        "first_layer_statistics",
    )
    made.rows.append((claim, estimate, evidence.absent("shuffled") or ("" if estimate else "no pairs")))
    end = table[table["stage"] == "end"]

    def value(arm, name, stage="end"):
        own = table[(table["arm"] == arm) & (table["stage"] == stage)][name].dropna()
        return with_interval(mean_interval(own)) if len(own) else "n/a"

    made.findings.append(
        "<b>First layer.</b> Weights of neighbouring pixels have an autocorrelation of "
        f"{value('nielsen', 'autocorrelation', 'start')} before training (random) and of {value('nielsen', 'autocorrelation')} "
        f"after Nielsen's recipe; the change that training makes has {value('nielsen', 'autocorrelation', 'change')}, weights "
        f"from a small start with a better recipe {value('chosen', 'autocorrelation')}, and the same on shuffled labels "
        f"{value('shuffled', 'autocorrelation')}. The middle, a quarter of the pixels, holds {value('nielsen', 'middle')} of "
        "their energy."
    )
    return end


def _changes(evidence, table, made):
    statement = "'What changes might you make … to better pick up on edges and patterns?'"
    end = table[table["stage"] == "end"]
    accuracy = evidence.tables.curves.sort_values("step").groupby("trial")["test_accuracy"].last().rename("accuracy")
    for arm, words in CHANGES.items():
        base, own = (end[end["arm"] == name] for name in ("chosen", arm))
        for column, name, quantity, accept, direction in (
            ("autocorrelation", "smoother", "autocorrelation, changed − well-chosen", (0.05, np.inf), (0.001, np.inf)),
            (
                "participation",
                "more-local",
                "participation ratio, changed − well-chosen",
                (-np.inf, -0.05),
                (-np.inf, -0.001),
            ),
        ):
            both = paired(own, base, column)
            estimate = paired_difference(both["left"], both["right"]) if len(both) else None
            claim = Claim(f"{name}-{arm}", TALK, statement, quantity, accept, direction, "changes", condition=words)
            made.rows.append((claim, estimate, evidence.absent(arm) or ("" if estimate else "no pairs")))
        these, those = (evidence.of(name).join(accuracy, on="trial") for name in (arm, "chosen"))
        pairs = paired(these, those, "accuracy")
        estimate = paired_difference(pairs["left"], pairs["right"]) if len(pairs) else None
        claim = Claim(
            f"no-worse-{arm}",
            TALK,
            statement,
            "test accuracy, changed − well-chosen",
            (-0.005, np.inf),
            None,
            "changes",
            condition=words,
        )
        made.rows.append((claim, estimate, evidence.absent(arm) or ("" if estimate else "no pairs")))
    figure = _strips(
        evidence,
        {arm: (f"{ARMS[arm]}\naccuracy {_accuracy(evidence, arm, accuracy)}", "end") for arm in ("chosen", *CHANGES)},
    )
    smooth = end.groupby("arm")["autocorrelation"].mean()
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "changes", dense=True),
            "Changes that might pick up edges and patterns",
            f"Neighbouring weights correlate with {number(smooth.get('chosen', np.nan))} in the well-chosen network, "
            + ", ".join(f"{number(smooth.get(arm, np.nan))} with {words}" for arm, words in CHANGES.items())
            + ". The 16 units of the first network (seed 0) of each arm; red: positive, blue: negative weights, each unit on "
            "its own scale. Accuracy: test images, mean over the arm.",
            "First-layer weights of the well-chosen network and of three changes to it.",
        )
    )


def _accuracy(evidence, arm, accuracy):
    return number(evidence.of(arm).join(accuracy, on="trial")["accuracy"].mean())


def _strips(evidence, arms):
    """Return a figure with a row of first-layer images for each arm (name: (title, stage))."""
    figure, axes = figures.grid(len(arms), 16, width=0.72, height=0.78)
    for row, (name, (title, stage)) in zip(axes, arms.items()):
        rows = evidence.of(name.split(" ")[0], "first_layer_along")
        own = rows[rows["seed"] == rows["seed"].min()].sort_values(["step", "unit"])
        images = {step: _images(frame["weights"]) for step, frame in own.groupby("step")}
        first, last = images[min(images)], images[max(images)]
        shown = {"start": first, "end": last, "change": last - first}[stage]
        for place, weights in zip(row, shown):
            most = np.abs(weights).max() or 1
            place.imshow(weights.reshape(28, 28), cmap="RdBu_r", vmin=-most, vmax=most)
        for place in row:
            place.set(xticks=[], yticks=[])
            place.grid(visible=False)
            sns.despine(ax=place, left=True, bottom=True)
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=7.5)
    return figure


def _draw_weights(evidence, made):
    figure = _strips(
        evidence,
        {
            "nielsen start": ("Nielsen's recipe,\nbefore training", "start"),
            "nielsen end": ("after training", "end"),
            "nielsen change": ("what training\nchanged", "change"),
            "chosen start": ("well-chosen recipe,\nbefore training", "start"),
            "chosen end": ("after training", "end"),
            "shuffled end": ("the same on\nshuffled labels", "end"),
        },
    )
    table = made.tables["first_layer"]
    value = table.groupby(["arm", "stage"])["autocorrelation"].mean()
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "first_layer", dense=True),
            "What the first hidden layer looks for",
            "After Nielsen's recipe the 16 images of weights show patterns in the middle over the N(0, 1) start, which "
            "training never touches where pixels are always black: neighbouring weights have an autocorrelation of "
            f"{number(value.get(('nielsen', 'end'), np.nan))} (before training "
            f"{number(value.get(('nielsen', 'start'), np.nan))}), what training changed (third row) "
            f"{number(value.get(('nielsen', 'change'), np.nan))}. From a small start (fourth row) the trained weights have "
            f"{number(value.get(('chosen', 'end'), np.nan))}, on shuffled labels "
            f"{number(value.get(('shuffled', 'end'), np.nan))}. One network each (seed 0), its 16 units from left to right; red: positive, blue: negative, each image on "
            "its own scale.",
            "Images of first-layer weights before and after training, and on shuffled labels.",
        )
    )


def _draw_statistics(evidence, table, made):
    figure, [places] = figures.grid(1, 3, width=3.4, height=3.0)
    stages = {"start": ("0.55", "s"), "end": (LABELS["true"], "o"), "change": (LABELS["random"], "^")}
    for place, (name, title) in zip(places, STATISTICS.items()):
        for position, arm in enumerate(ARMS):
            for (stage, (color, marker)), offset in zip(stages.items(), (-0.22, 0, 0.22)):
                values = table[(table["arm"] == arm) & (table["stage"] == stage)][name].dropna()
                if len(values):
                    style = {"color": color, "marker": marker, "linestyle": ""}
                    words = {"start": "before training", "end": "after training", "change": "what training changed"}[
                        stage
                    ]
                    figures.interval(place, position + offset, mean_interval(values), label=words, **style)
        place.axhline(NULLS[name], **figures.CHANCE_LINE)
        place.set_xticks(range(len(ARMS)), list(ARMS.values()), rotation=35, ha="right", fontsize=8)
        place.set(title=title)
    figures.shared_legend(figure, places[0])
    counts = ", ".join(str(evidence.asked(arm)) for arm in ARMS)

    def at(stage, name):
        return table[(table["arm"] == "nielsen") & (table["stage"] == stage)][name].mean()

    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "first_layer_statistics"),
            "Patterns in the first layer against chance",
            f"From the start to the end of training autocorrelation goes from {number(at('start', 'autocorrelation'))} to "
            f"{number(at('end', 'autocorrelation'))} with Nielsen's recipe, and the share of energy in the middle from "
            f"{number(at('start', 'middle'))} to {number(at('end', 'middle'))}. Points: means over networks of the "
            f"units' mean, with 95 % intervals (n = {counts} from left to right); dotted: expected where pixels are "
            "permuted (autocorrelation, middle) or weights Gaussian (participation).",
            "Autocorrelation, participation ratio and energy in the middle by arm, before and after training.",
        )
    )
