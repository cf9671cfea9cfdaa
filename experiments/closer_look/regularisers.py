"""A6: what regularisers take from the memory, and what from the accuracy (figures 10 and 11)."""

import itertools

import numpy as np
import pandas as pd

from experiments.closer_look.networks import ARPIT
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, Shown, number, with_interval
from memo.statistics.intervals import paired_difference
from memo.statistics.over_seeds import over_seeds

NEAR = 0.005  # of the best mean accuracy on true labels: half a point
LOWEST = 0.12  # below the best accuracy: what is worse is left out of the figure, and named
# By arm: its name, the column of its strength, and its look.
REGULARISERS = {
    "free": ("none", None, palette.BLACK, "o"),
    "dropout": ("dropout", "dropout", palette.VERMILION, "s"),
    "dropout_attack": ("dropout and adversarial", "dropout", palette.PURPLE, "D"),
    "attack": ("adversarial", "adversarial_radius", palette.ORANGE, "^"),
    "input_dropout": ("input dropout", "input_dropout", palette.BLUE, "v"),
    "input_noise": ("input noise", "input_noise", palette.SKY, "<"),
    "hidden_noise": ("hidden noise", "hidden_noise", palette.GREEN, ">"),
    "decay": ("weight decay", "weight_decay", palette.GREY, "P"),
}


def chapter(evidence: Evidence, networks: pd.DataFrame) -> Chapter:
    """Return the claims and figures on regularisers."""
    made = Chapter()
    pairs = by_setting(networks)
    summary = means(pairs)
    made.tables["regularisers"] = pairs
    _claims(pairs, summary, made)
    _draw(evidence, pairs, summary, made)
    _table(pairs, summary, made)
    trial = evidence.asked_trials("free")[0].recipe
    attack = evidence.asked_trials("dropout_attack")[0].recipe.regularization
    made.methods.append(
        f"Regularisers: {len(trial.model.widths)} layers of {trial.model.widths[0]}, {trial.dataset.n_train:,} images, "
        f"{trial.epochs} epochs for every setting, none stopped early; noise and dropout act in training only. Adversarial "
        f"training: fast gradient sign method, weight {attack.adversarial:g} on the moved images, {attack.adversarial_radius:g} "
        "a pixel where dropout is used as well. The second reading, of what costs no accuracy as what costs none beside no "
        "regulariser, was added when a first run had shown that no setting of dropout comes near the best. The paper has a convolutional network and CIFAR-10, and up to 0.9 of dropout."
    )
    return made


def by_setting(networks: pd.DataFrame) -> pd.DataFrame:
    """Return one row a regulariser, strength and seed: training accuracy on random labels, best test accuracy on true ones."""
    parts = []
    for arm, (_, column, *_) in REGULARISERS.items():
        own = networks[networks["arm"] == arm]
        own = own.assign(strength=0.0 if column is None else own[column])
        keys = ["strength", "seed"]
        true = own[own["labels"] == "true"].set_index(keys)["best_test_accuracy"]
        random = own[own["labels"] == "random"].set_index(keys)["train_accuracy"]
        parts.append(pd.DataFrame({"validation": true, "memory": random}).reset_index().assign(regulariser=arm))
    return pd.concat(parts, ignore_index=True)[["regulariser", "strength", "seed", "validation", "memory"]]


def means(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the means over the seeds of each setting, and whether it is `near` and `harmless`.

    Near: within half a point of the best mean accuracy on true labels. Harmless: at most as much below the accuracy without
    any regulariser. A setting with a diverged network is neither.
    """
    grouped = pairs.groupby(["regulariser", "strength"], sort=False)[["validation", "memory"]]
    frame = grouped.mean()
    whole = grouped.count().eq(grouped.size(), axis=0).all(axis=1)
    best = frame["validation"][whole].max()
    free = frame["validation"].get(("free", 0.0), np.nan)
    return frame.assign(
        near=whole & (frame["validation"] >= best - NEAR), harmless=whole & (frame["validation"] >= free - NEAR)
    )


def least_memory(pairs: pd.DataFrame, summary: pd.DataFrame, arms: list[str], among: str = "near") -> pd.Series:
    """Return by seed the training accuracy on random labels of the setting of some regularisers with the lowest mean.

    `among` says of which: those that are `near`, or `harmless`. Empty where there is none.
    """
    own = summary[summary[among] & summary.index.get_level_values("regulariser").isin(arms)]
    if own.empty:
        return pd.Series(dtype=float)
    arm, strength = own["memory"].idxmin()
    return pairs[(pairs["regulariser"] == arm) & (pairs["strength"] == strength)].set_index("seed")["memory"]


def _claims(pairs, summary, made):
    statement = "Of regularisers that cost no accuracy on real data, dropout holds memorisation back most, and more with adversarial training."
    others = [arm for arm in REGULARISERS if not arm.startswith("dropout")]
    answers = {}
    readings = {
        "near": ("", ARPIT, "of the best accuracy"),
        "harmless": ("-harmless", "this suite, a second reading", "of the accuracy without a regulariser, or above it"),
    }
    for (among, (suffix, source, bound)), (name, words, one, other) in itertools.product(
        readings.items(),
        (
            ("A6-dropout", "the others − dropout", others, ["dropout"]),
            ("A6-adversarial", "dropout − dropout with adversarial training", ["dropout"], ["dropout_attack"]),
        ),
    ):
        name += suffix
        quantity = f"training accuracy on random labels, best setting within half a point {bound}, {words}"
        claim = Claim(name, source, statement, quantity, (0.0001, 1), None, "regularisers")
        found = [least_memory(pairs, summary, arms, among) for arms in (one, other)]
        missing = [words for words, values in zip(("the first", "the second"), found) if values.empty]
        note = (
            f"{' and '.join(missing)} of the two has no setting that near"
            if missing
            else "settings were chosen by the same networks"
        )
        estimate = None if missing else paired_difference(found[0].sort_index(), found[1].sort_index())
        answers[name] = (estimate, note)
        made.rows.append((claim, estimate, note))
    near = summary[summary["near"]]
    if near.empty:
        return
    arm, strength = near["memory"].idxmin()
    made.findings.append(
        f"<b>Regularisers.</b> Of {len(summary)} settings {len(near)} come within half a point of the best accuracy on true "
        f"labels; of these {named(arm, strength)} fits random labels least, to "
        f"{with_interval(over_seeds(least_memory(pairs, summary, [arm]))[0])}. The best of the others minus the best with dropout: "
        f"{with_interval(answers['A6-dropout'][0], count=False)}"
        + (f" ({answers['A6-dropout'][1]})" if answers["A6-dropout"][0] is None else "")
        + f"; among those that cost at most half a point beside no regulariser, "
        f"{with_interval(answers['A6-dropout-harmless'][0], count=False)}."
    )


def named(arm: str, strength: float) -> str:
    """Return the name of a setting, such as "dropout 0.5"."""
    name, column, *_ = REGULARISERS[arm]
    return name if column is None else f"{name} {strength:g}"


def _draw(evidence, pairs, summary, made):
    figure, [[place]] = figures.grid(1, 1, width=6.0, height=4.0)
    for arm, (name, _, color, marker) in REGULARISERS.items():
        points = []
        for strength, own in pairs[pairs["regulariser"] == arm].groupby("strength"):
            x, y = over_seeds(own["memory"])[0], over_seeds(own["validation"])[0]
            if x is None or y is None:
                continue
            style: palette.Style = {
                "color": color,
                "marker": marker,
                "markersize": 6,
                "linestyle": "",
                "linewidth": 1,
                "capsize": 2,
            }
            place.errorbar(x.value, y.value, figures.reach(y), figures.reach(x), label=name, **style)
            points.append((x.value, y.value))
            if arm != "free":
                place.annotate(
                    f"{strength:g}", points[-1], xytext=(4, 4), textcoords="offset points", fontsize=7, color=color
                )
        place.plot(*np.array(points).T if points else ([], []), color=color, linewidth=0.9, alpha=0.6)
    best = summary["validation"].max()
    if np.isfinite(best):
        place.axhline(best - NEAR, **palette.REFERENCE)
        place.set_ylim(max(best - LOWEST, summary["validation"].min() - 0.01), best + 0.02)
    below = [named(*setting) for setting, row in summary.iterrows() if row["validation"] < best - LOWEST]
    place.set(xlabel="final training accuracy on random labels", ylabel="best test accuracy on true labels")
    figures.legend(place, loc="best", ncols=2)
    near = summary[summary["near"]].sort_values("memory")
    says = ", ".join(f"{named(*setting)} ({number(row['memory'])})" for setting, row in near.head(4).iterrows())
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "regularisers"),
            "What regularisers cost, and what they keep from being memorised (the paper's figure 10)",
            f"Within half a point of the best accuracy on true labels (above the dotted line), the settings that fit random "
            f"labels least: {says or 'none'}. Up and left is better"
            f"{'; below the frame: ' + ', '.join(below) if below else ''}. Points: means over n = {pairs['seed'].nunique()} seeds with "
            "95 % intervals both ways; numbers: strengths; lines join strengths of one regulariser.",
            "Best test accuracy on true labels against training accuracy on random ones, by regulariser and strength.",
        )
    )


def _table(pairs, summary, made):
    rows = []
    for (arm, strength), own in pairs.groupby(["regulariser", "strength"], sort=False):
        rows.append(
            {
                "regulariser": named(arm, strength),
                "best test accuracy, true labels": with_interval(over_seeds(own["validation"])[0], count=False),
                "training accuracy, random labels": with_interval(over_seeds(own["memory"])[0], count=False),
                "within half a point": "yes" if summary.loc[(arm, strength), "near"] else "no",
            }
        )
    made.shown.append(
        Shown(
            "Regularisers", f"Means over n = {pairs['seed'].nunique()} seeds with 95 % intervals.", pd.DataFrame(rows)
        )
    )
