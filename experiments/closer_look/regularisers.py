"""A6: effects of regularisers on memorisation and on accuracy (figures 10 and 11)."""

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
from memo.statistics.over_seeds import Answer, over_pairs, over_seeds
from memo.storage.run_folders import Tables

NEAR = 0.005  # below the accuracy without a regulariser: half a point
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
    """Return outcomes of training with each regulariser, with its strength."""
    recipes = evidence.tables.trials.set_index("trial")
    networks = treated(evidence, ARMS)
    strengths = [
        recipes.loc[trial, ARMS[arm].key] if ARMS[arm].key else 0.0
        for trial, arm in zip(networks["trial"], networks["arm"])
    ]
    return {"networks": networks.assign(strength=strengths)}


def by_setting(networks: pd.DataFrame) -> pd.DataFrame:
    """Return by arm, strength and seed `accuracy`, the best on test images with true labels, and `memory`, of random labels."""
    keys = ["arm", "strength", "seed"]
    own = of_arms(networks, ARMS)
    true = own[own["labels"] == "true"].set_index(keys)["best_test_accuracy"]
    random = own[own["labels"] == "random"].set_index(keys)["final_train_accuracy"]
    pairs = pd.DataFrame({"accuracy": true, "memory": random}).reset_index()
    return pairs.sort_values(
        ["arm", "strength"], key=lambda column: column.map(list(ARMS).index) if column.name == "arm" else column
    )


def means(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the means over seeds of each setting, and whether it is `harmless`.

    That is at most half a point less accurate on true labels than networks without any regulariser; a setting with a
    diverged network is not.
    """
    grouped = pairs.groupby(["arm", "strength"], sort=False)[["accuracy", "memory"]]
    frame = grouped.mean()
    whole = grouped.count().eq(grouped.size(), axis=0).all(axis=1)
    free = frame["accuracy"].get(("free", 0.0), np.nan)
    return frame.assign(harmless=whole & (frame["accuracy"] >= free - NEAR))


def least_memory(pairs: pd.DataFrame, arms: list[str]) -> pd.Series:
    """Return by seed the accuracy on random labels of the harmless setting of some arms that fits them least; or nothing."""
    summary = means(pairs)
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


def _less(one: pd.Series, other: pd.Series) -> Answer:
    if one.empty or other.empty:
        return None, "one of the two has no setting that costs so little accuracy"
    estimate, note = over_pairs(one, other)
    return estimate, "; ".join(filter(None, ("settings were chosen by the same networks", note)))


def named(arm: str, strength: float) -> str:
    """Return the name of a setting, such as "dropout 0.5"."""
    return f"{ARMS[arm].mark.name} {strength:g}" if ARMS[arm].key else ARMS[arm].mark.name


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw accuracy on true labels against accuracy on random ones, by regulariser and strength."""
    pairs, text = by_setting(tables["networks"]), Text("experiments.closer_look", "regularisers")
    summary = means(pairs)
    lowest = summary["accuracy"].max() - LOWEST
    harmless = summary[summary["harmless"]].sort_values("memory")
    recipe = evidence.asked_trials("free")[0].recipe
    facts = {
        "settings": len(summary),
        "harmless": {named(*setting): row["memory"] for setting, row in harmless.iterrows()},
        "dropout": answers["A6-dropout-harmless"],
        "below": [named(*setting) for setting, row in summary.iterrows() if row["accuracy"] < lowest],
        "seeds": pairs["seed"].nunique(),
        "near": NEAR,
        "recipe": recipe,
        "attack": evidence.asked_trials("dropout_attack")[0].recipe.regularization,
        "images": images_of(of_arms(tables["networks"], ARMS)),
    }
    return Chapter(
        title="Regularisers",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(draw_settings(pairs), evidence.folder, "regularisers"), **facts)],
        shown=[Shown("Regularisers", text.block("table", **facts), as_table(pairs))],
        methods=[text.block("methods", **facts)],
    )


def draw_settings(pairs: pd.DataFrame) -> Drawing:
    """Return means over seeds of each setting with intervals both ways, strengths of one regulariser joined."""
    figure, [[axes]] = figures.grid(1, 1, width=6.0, height=4.0)
    for arm, own in pairs.groupby("arm", sort=False):
        mark, points = ARMS[arm].mark, []
        for strength, each in own.groupby("strength"):
            x, y = over_seeds(each["memory"])[0], over_seeds(each["accuracy"])[0]
            if x is None or y is None:
                continue
            reach = figures.reach(y), figures.reach(x)
            axes.errorbar(x.value, y.value, *reach, label=mark.name, linewidth=1, capsize=2, **mark.points)
            points.append((x.value, y.value))
            if ARMS[arm].key:
                place: palette.Style = {
                    "xytext": (4, 4),
                    "textcoords": "offset points",
                    "fontsize": 7,
                    "color": mark.color,
                }
                axes.annotate(f"{strength:g}", points[-1], **place)
        axes.plot(*np.array(points).T if points else ([], []), color=mark.color, linewidth=0.9, alpha=0.6)
    summary = means(pairs)["accuracy"]
    if summary.notna().any():
        axes.axhline(summary.get(("free", 0.0), np.nan) - NEAR, **palette.REFERENCE)
        axes.set_ylim(max(summary.max() - LOWEST, summary.min() - 0.01), summary.max() + 0.02)
    axes.set(xlabel="final training accuracy on random labels", ylabel="best test accuracy on true labels")
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
                "best test accuracy, true labels": with_interval(over_seeds(own["accuracy"])[0], count=False),
                "training accuracy, random labels": with_interval(over_seeds(own["memory"])[0], count=False),
                f"at most {100 * NEAR:g} points worse than without": "yes" if row["harmless"] else "no",
            }
        )
    return pd.DataFrame(rows)
