"""A6: effects of regularisers on memorisation and on accuracy (figures 10 and 11)."""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.closer_look.networks import images_of, of_arms, treated
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.reporting.report import Shown, with_interval
from memo.statistics.over_seeds import Answer, noted, over_pairs, over_seeds
from memo.storage.run_folders import Tables

LINEAR = "linear_free"  # softmax regression on the same random labels
NEAR = 0.005  # below the validation accuracy without a regulariser: half a point
# Of training: over it, networks that no longer improve gain less than this in training accuracy, on average.
LAST, GAINED = 0.2, 0.01
LOWEST = 0.12  # below the best accuracy: worse settings are left out of the figure, and named


class Regulariser(NamedTuple):
    """How a regulariser is drawn, and the key of its strength in a recipe."""

    mark: Mark
    key: str


ARMS = {
    "free": Regulariser(Mark("none", palette.BLACK, "o"), ""),
    "dropout": Regulariser(Mark("dropout", palette.VERMILION, "s"), "regularization.dropout"),
    "dropout_attack": Regulariser(Mark("dropout and adversarial", palette.PURPLE, "D"), "regularization.dropout"),
    "attack": Regulariser(Mark("adversarial", palette.ORANGE, "^"), "regularization.adversarial_radius"),
    "input_dropout": Regulariser(Mark("input dropout", palette.BLUE, "v"), "regularization.input_dropout"),
    "input_noise": Regulariser(Mark("input noise", palette.SKY, "<"), "regularization.input_noise"),
    "hidden_noise": Regulariser(Mark("hidden noise", palette.GREEN, ">"), "regularization.hidden_noise"),
    "decay": Regulariser(Mark("weight decay", palette.GREY, "P"), "optimizer.weight_decay"),
}
PLAIN = [arm for arm in ARMS if not arm.startswith("dropout")]


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return outcomes of training with each regulariser, with its strength and what was gained at the end."""
    recipes = evidence.tables.trials.set_index("trial")
    networks = treated(evidence, [*ARMS, LINEAR])
    strengths = [
        recipes.loc[trial, ARMS[arm].key] if arm in ARMS and ARMS[arm].key else 0.0
        for trial, arm in zip(networks["trial"], networks["arm"])
    ]
    own = evidence.tables.curves[evidence.tables.curves["trial"].isin(networks["trial"])].sort_values("step")
    gains = {trial: gained(curve) for trial, curve in own.groupby("trial")}
    return {"networks": networks.assign(strength=strengths, late_gain=networks["trial"].map(gains))}


def gained(curve: pd.DataFrame) -> float:
    """Return the training accuracy gained over the last fifth of a curve; 0 where all labels are fitted."""
    epochs, accuracy = curve["epoch"].to_numpy(), curve["train_accuracy"].to_numpy()
    if accuracy[-1] == 1:
        return 0.0
    return float(accuracy[-1] - np.interp((1 - LAST) * epochs[-1], epochs, accuracy))


def by_setting(networks: pd.DataFrame) -> pd.DataFrame:
    """Return by arm, strength and seed what is learned of true labels and memorised of random ones.

    Of true labels: `validation`, the best accuracy on validation images, by which settings are chosen, and `accuracy`, on test
    images at the same epoch. Of random labels: `memory`, the final training accuracy, and `late_gain`.
    """
    keys = ["arm", "strength", "seed"]
    own = of_arms(networks, ARMS)
    true, random = (own[own["labels"] == kind].set_index(keys) for kind in ("true", "random"))
    learned = {"validation": true["best_validation_accuracy"], "accuracy": true["best_by_validation_test_accuracy"]}
    memorised = {"memory": random["final_train_accuracy"], "late_gain": random["late_gain"]}
    pairs = pd.DataFrame(learned | memorised).reset_index()
    return pairs.sort_values(
        ["arm", "strength"], key=lambda column: column.map(list(ARMS).index) if column.name == "arm" else column
    )


def means(pairs: pd.DataFrame, cost: float = NEAR) -> pd.DataFrame:
    """Return the means over seeds of each setting, and whether it is `harmless`.

    That is at most `cost` less accurate on validation images than networks without any regulariser; a setting with a
    diverged network is not.
    """
    grouped = pairs.groupby(["arm", "strength"], sort=False)[["validation", "accuracy", "memory", "late_gain"]]
    frame = grouped.mean()
    whole = grouped.count().eq(grouped.size(), axis=0).all(axis=1)
    free = frame["validation"].get(("free", 0.0), np.nan)
    return frame.assign(harmless=whole & (frame["validation"] >= free - cost))


def least_memory(pairs: pd.DataFrame, arms: list[str], cost: float = NEAR) -> pd.Series:
    """Return by seed the accuracy on random labels of the harmless setting of some arms that fits them least; or nothing."""
    summary = means(pairs, cost)
    own = summary[summary["harmless"] & summary.index.get_level_values("arm").isin(arms)]
    if own.empty:
        return pd.Series(dtype=float)
    arm, strength = own["memory"].idxmin()
    return pairs[(pairs["arm"] == arm) & (pairs["strength"] == strength)].set_index("seed")["memory"]


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much less dropout, and dropout with adversarial training, let networks fit than the settings compared with them."""
    pairs, images = by_setting(tables["networks"]), images_of(of_arms(tables["networks"], ARMS))
    dropout = least_memory(pairs, ["dropout"])
    answers.give("A6-dropout-harmless", _less(least_memory(pairs, PLAIN), dropout), images)
    answers.give("A6-adversarial-harmless", _less(dropout, least_memory(pairs, ["dropout_attack"])), images)
    linear = of_arms(tables["networks"], [LINEAR])["final_train_accuracy"].mean()
    free = least_memory(pairs, ["free"], cost=0)
    if not linear < free.mean() - GAINED:  # labels that a linear model fits as well need no memory of hidden layers
        return
    ended = converged(pairs)
    for name, (one, other) in {
        "dropout": (PLAIN, ["dropout"]),
        "adversarial": (["dropout"], ["dropout_attack"]),
    }.items():
        less = _less(*(least_memory(pairs, arms, cost=0) for arms in (one, other))) if not ended else (None, ended)
        answers.give("A6-{name}", less, images, name=name)


def converged(pairs: pd.DataFrame) -> str:
    """Return which settings that cost no validation accuracy still fit more random labels at their end; nothing where none does."""
    summary = means(pairs, cost=0)
    going = summary[summary["harmless"] & (summary["late_gain"] >= GAINED)]
    return f"trained too briefly: {', '.join(named(*setting) for setting in going.index)}" if len(going) else ""


def _less(one: pd.Series, other: pd.Series) -> Answer:
    if one.empty or other.empty:
        return None, "one of the two has no setting that costs so little accuracy"
    estimate, note = over_pairs(one, other)
    return estimate, noted("settings were chosen on validation images", note)


def named(arm: str, strength: float) -> str:
    """Return the name of a setting, such as "dropout 0.5"."""
    return f"{ARMS[arm].mark.name} {strength:g}" if ARMS[arm].key else ARMS[arm].mark.name


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw accuracy on true labels against accuracy on random ones, by regulariser and strength."""
    pairs, text = by_setting(tables["networks"]), Text("experiments.closer_look", "regularisers")
    summary = means(pairs)
    lowest = summary["validation"].max() - LOWEST
    harmless = summary[summary["harmless"]].sort_values("memory")
    recipe = evidence.asked_trials("free")[0].recipe
    facts = {
        "settings": len(summary),
        "harmless": {named(*setting): row["memory"] for setting, row in harmless.iterrows()},
        "dropout": answers["A6-dropout-harmless"],
        "below": [named(*setting) for setting, row in summary.iterrows() if row["validation"] < lowest],
        "seeds": pairs["seed"].nunique(),
        "near": NEAR,
        "recipe": recipe,
        "attack": evidence.asked_trials("dropout_attack")[0].recipe.regularization,
        "images": images_of(of_arms(tables["networks"], ARMS)),
        "linear": of_arms(tables["networks"], [LINEAR])["final_train_accuracy"].mean(),
        "last": LAST,
        "gained": GAINED,
    }
    return Chapter(
        title="Regularisers",
        findings=[text.block("finding", **facts)],
        figures=[
            text.figure(figures.save(draw_settings(pairs, facts["linear"]), evidence.folder, "regularisers"), **facts)
        ],
        shown=[Shown("Regularisers", text.block("table", **facts), as_table(pairs))],
        methods=[text.block("methods", **facts)],
    )


def draw_settings(pairs: pd.DataFrame, linear: float) -> Drawing:
    """Return means over seeds of each setting with intervals both ways, strengths of one regulariser joined.

    Vertical: the training accuracy of softmax regression on the same random labels.
    """
    figure, [[axes]] = figures.grid(1, 1, width=6.0, height=4.0)
    beside = itertools.cycle(
        [(4, 4), (4, -9), (-14, 4), (-14, -9)]
    )  # of neighbouring arms' points, the names of strengths
    for (arm, own), apart in zip(pairs.groupby("arm", sort=False), beside):
        mark, points = ARMS[arm].mark, []
        for strength, each in own.groupby("strength"):
            x, y = over_seeds(each["memory"])[0], over_seeds(each["validation"])[0]
            if x is None or y is None:
                continue
            reach = figures.reach(y), figures.reach(x)
            axes.errorbar(x.value, y.value, *reach, label=mark.name, linewidth=1, capsize=2, **mark.points)
            points.append((x.value, y.value))
            if ARMS[arm].key:
                place: palette.Style = {
                    "xytext": apart,
                    "textcoords": "offset points",
                    "fontsize": 7,
                    "color": mark.color,
                }
                axes.annotate(f"{strength:g}", points[-1], **place)
        axes.plot(*np.array(points).T if points else ([], []), color=mark.color, linewidth=0.9, alpha=0.6)
    summary = means(pairs)["validation"]
    if np.isfinite(linear):
        axes.axvline(linear, **palette.REFERENCE)
    if summary.notna().any():
        axes.axhline(summary.get(("free", 0.0), np.nan) - NEAR, **palette.REFERENCE)
        axes.set_ylim(max(summary.max() - LOWEST, summary.min() - 0.01), summary.max() + 0.02)
    axes.set(xlabel="final training accuracy on random labels", ylabel="best validation accuracy on true labels")
    figures.legend(axes, loc="best", ncols=2)
    return figure


def as_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the means over seeds of each setting as they are to be read."""
    rows = []
    for (arm, strength), row in means(pairs).iterrows():
        own = pairs[(pairs["arm"] == arm) & (pairs["strength"] == strength)]
        rows.append(
            {
                "regulariser": named(arm, strength),
                "test accuracy, true labels, best epoch": with_interval(over_seeds(own["accuracy"])[0], count=False),
                "training accuracy, random labels": with_interval(over_seeds(own["memory"])[0], count=False),
                f"at most {100 * NEAR:g} points worse than without": "yes" if row["harmless"] else "no",
            }
        )
    return pd.DataFrame(rows)
