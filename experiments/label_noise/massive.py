"""Massive noise: labels redrawn whenever an image is presented against labels redrawn once, at the same share of true ones."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from experiments.label_noise.networks import BATCHES, FIXED, FRESH, FRESH_100, RATES, share_gap
from memo.commands.evidence import Evidence
from memo.reporting import figures, palette, panels
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import mean_share
from memo.statistics.over_seeds import LOST, Answer, over_pairs, over_seeds
from memo.storage.run_folders import Tables

FEWEST = 10
COPIES = (FEWEST, 20, 100)
BOTH = (FEWEST, 20)  # at which labels redrawn once are trained on, too
AT = 20  # copies, where batches are compared
SMALL, USUAL, LARGE = 32, 128, 1024
REDRAWN = (FRESH, FRESH_100)
SCALED = Mark("in proportion to the minibatch", palette.GREEN, "D")
KINDS = {
    FRESH: Mark("labels redrawn at every presentation", palette.BLUE, "o", palette.SOLID),
    FIXED: Mark("labels redrawn once", palette.VERMILION, "s", palette.DASHED),
}


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by network how many random copies there are of each clean image, and its minibatch."""
    own = evidence.trials[evidence.trials["arm"].isin([*REDRAWN, FIXED, BATCHES, RATES])]
    share = own["labels.fraction"]
    copies = (share / (1 - share)).round()
    return {"networks": own[["trial", "arm", "seed"]].assign(copies=copies, batch=own["batch_size"])}


def accuracy(networks: pd.DataFrame, arms: tuple[str, ...], copies: float, batch: int | None = None) -> pd.Series:
    """Return the final test accuracy by seed of some arms at a number of copies, and with one size of minibatch."""
    own = networks[networks["arm"].isin(arms) & (networks["copies"] == copies)]
    own = own if batch is None else own[own["batch"] == batch]
    return own.set_index("seed")["final_test_accuracy"].astype(float)


def batch_effect(networks: pd.DataFrame, arms: tuple[str, ...], other: int) -> Answer:
    """Return how much more accurate networks of some arms with LARGE minibatches are than those with `other` ones, at AT copies."""
    large, small = accuracy(networks, arms, AT, LARGE), accuracy(networks, (FRESH, BATCHES), AT, other)
    if not (len(large) and len(small)):
        return None, "no such minibatches"
    return over_pairs(large, small, LOST, estimate=share_gap)


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how accurate networks are under massive noise, whether it must be fresh, and whether larger minibatches help."""
    networks = tables["networks"]
    answers.trained_on(networks[networks["arm"] == FRESH])
    answers.conditions(copies=[copies for copies in COPIES if len(accuracy(networks, REDRAWN, copies))])
    for copies in COPIES:
        own = accuracy(networks, REDRAWN, copies)
        found = over_seeds(own, LOST, estimate=mean_share) if len(own) else (None, "no such copies")
        if copies == FEWEST:
            answers.give("massive-ten", found)
        elif len(own):
            answers.give("massive-{copies}", found, copies=copies)
        if copies in BOTH and len(own):
            more = over_pairs(own, accuracy(networks, (FIXED,), copies), LOST, estimate=share_gap)
            answers.give("fresh-{copies}", more, copies=copies)
    answers.give("batches", batch_effect(networks, (BATCHES,), SMALL))
    answers.give("batches-rate", batch_effect(networks, (RATES,), USUAL))


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw test accuracy by number of random copies, and by size of minibatch."""
    networks, text = tables["networks"], Text("experiments.label_noise", "massive")
    known = [copies for copies in COPIES if f"massive-{copies}" in answers]
    facts = {
        "massive": {FEWEST: answers["massive-ten"]} | {copies: answers[f"massive-{copies}"] for copies in known},
        "fresh": {copies: answers[f"fresh-{copies}"] for copies in COPIES if f"fresh-{copies}" in answers},
        "batches": answers["batches"],
        "scaled": answers["batches-rate"],
        "usual": USUAL,
        "longest": evidence.asked_trials(FRESH_100)[0].recipe.epochs,
        "at": AT,
        "small": SMALL,
        "large": LARGE,
        "images": int(networks.loc[networks["arm"] == FRESH, "images"].max()),
        "recipe": evidence.asked_trials(FRESH)[0].recipe,
        "seeds": networks.loc[networks["arm"] == FRESH, "seed"].nunique(),
    }
    return Chapter(
        title="Massive noise",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(draw_accuracy(networks), evidence.folder, "massive"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_accuracy(networks: pd.DataFrame) -> Drawing:
    """Return test accuracy by random copies of each clean image, and by minibatch at AT copies, with intervals over seeds."""
    figure, [[left, right]] = figures.grid(1, 2, width=3.6, height=3.0)
    for arm, mark in KINDS.items():
        own = networks[networks["arm"].isin(REDRAWN if arm == FRESH else [arm])].dropna(subset="copies")
        values = {copies: each["final_test_accuracy"] for copies, each in own.groupby("copies")}
        panels.means(left, values, mark, joined=True, estimate=mean_share)
    figures.count_axis(left, sorted(int(each) for each in networks["copies"].dropna().unique()))
    left.set(xlabel="random copies of each clean image", ylabel="final test accuracy")
    figures.shared_legend(figure, left)
    own = networks[networks["arm"].isin([FRESH, BATCHES]) & (networks["copies"] == AT)]
    values = {int(size): each["final_test_accuracy"] for size, each in own.groupby("batch")}
    panels.means(
        right, values, KINDS[FRESH]._replace(name="one learning rate"), joined=True, seeds=True, estimate=mean_share
    )
    scaled = {
        int(size): each["final_test_accuracy"] for size, each in networks[networks["arm"] == RATES].groupby("batch")
    }
    panels.means(right, scaled, SCALED, seeds=True, estimate=mean_share)
    figures.count_axis(right, sorted(values))
    figures.legend(right)
    right.set(xlabel="images per minibatch", ylabel="final test accuracy", title=f"{AT} random copies")
    return figure
