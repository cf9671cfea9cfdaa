"""A1: are some examples easy? Error rates of each example over 100 networks, compared with chance (figure 1)."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from experiments.closer_look.networks import images_of, of_arms, present
from memo.commands.evidence import Evidence
from memo.data.randomness import generator
from memo.probes.training_answers import WATCHED
from memo.reporting import figures, palette
from memo.reporting.answers import Answers
from memo.reporting.chapter import Chapter, Text
from memo.reporting.palette import Mark
from memo.statistics.intervals import UNBOUNDED, Bounds, Estimate, student
from memo.statistics.over_seeds import LOST, Answer, over_pairs
from memo.storage.run_folders import Tables

REAL, INPUTS, LABELS = "easy_real", "easy_random_inputs", "easy_random_labels"
ARMS = {
    REAL: Mark("real data", palette.BLUE),
    INPUTS: Mark("random inputs (randX)", palette.PURPLE),
    LABELS: Mark("random labels (randY)", palette.VERMILION),
}
# The same after one epoch of more images, at some scales, and of ten draws of images, noise inputs and random labels.
FULL = {arm: arm.replace("easy", "full") for arm in ARMS}
FULL_IMAGES, DRAW, DRAWN = 50_000, "draw_", 10
MARKS = ARMS | {FULL[arm]: mark for arm, mark in ARMS.items()}
NETWORKS = 100  # of the paper, and so of the ratio that its figure shows
DRAWS = 1000
MATCHED = 0.5  # the mean error rate at which the three are compared once more
MOMENTS = {"epoch": "after one epoch", "matched": f"at a mean error rate of {MATCHED:g}"}
KEYS = ["trial", "arm", "seed"]


def measure(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """Return by moment and example how many networks misclassify it, and by network the spread of the rates without it."""
    examples, networks = [], []
    for arm in present(evidence, [*ARMS, *FULL.values()]):
        (_, given), *_ = evidence.training_sets(arm).values()  # one data set for all
        errors = errors_along(evidence, arm)
        found = {"epoch": after_an_epoch(errors), "matched": at_mean(errors, MATCHED) if arm in ARMS else None}
        without = {}
        for moment, (epoch, wrong) in ((moment, each) for moment, each in found.items() if each is not None):
            seen = {"epoch": epoch, "networks": len(wrong), "example": wrong.columns, "label": given[:WATCHED]}
            examples.append(pd.DataFrame({"moment": moment, "arm": arm} | seen | {"errors": wrong.sum().to_numpy()}))
            without[f"without_{moment}"] = pd.Series(leave_one_out(wrong.to_numpy()), wrong.index)
            if arm in (INPUTS, FULL[INPUTS]):
                alone = leave_one_out(wrong.to_numpy(), given[:WATCHED])
                without[f"within_without_{moment}"] = pd.Series(alone, wrong.index)
        if without:
            networks.append(pd.DataFrame(without).rename_axis(KEYS).reset_index())
    columns = ["moment", "arm", "epoch", "networks", "example", "label", "errors"]
    return {
        "networks": pd.concat(networks, ignore_index=True) if networks else pd.DataFrame(columns=KEYS),
        "easy_examples": pd.concat(examples, ignore_index=True) if examples else pd.DataFrame(columns=columns),
        "easy_draws": of_draws(evidence),
    }


def of_draws(evidence: Evidence) -> pd.DataFrame:
    """Return by draw (an arm) and treatment (an arm of ARMS, or "both") the ratio over its networks after one epoch."""
    rows = []
    for arm in present(evidence, sorted(arm for arm in set(evidence.tables.arms["arm"]) if arm.startswith(DRAW))):
        trials = evidence.of(arm).set_index("trial")
        noise, random = trials["inputs.kind"] != "natural", trials["labels.kind"] != "true"
        kinds = pd.Series(np.select([noise & random, noise, random], ["both", INPUTS, LABELS], REAL), trials.index)
        if (found := after_an_epoch(errors_along(evidence, arm))) is None:
            continue
        for kind, own in found[1].groupby(found[1].index.get_level_values("trial").map(kinds)):
            rows.append((arm, kind, len(own), ratio(own.to_numpy().mean(axis=0), len(own))))
    return pd.DataFrame(rows, columns=["arm", "kind", "networks", "ratio"])


def drawn(tables: Tables) -> pd.DataFrame:
    """Return the committed ratios by draw; without any row, columns have no numeric type of their own."""
    return tables["easy_draws"].astype({"networks": float, "ratio": float})


def errors_along(evidence: Evidence, arm: str) -> dict[float, pd.DataFrame]:
    """Return by epoch which watched examples each network of an arm (KEYS) misclassifies."""
    rows = evidence.of(arm, "training_answers_along").assign(arm=arm)
    given = {trial: labels[:WATCHED] for trial, (_, labels) in evidence.training_sets(arm).items()}
    found = {}
    for epoch, own in rows.groupby("epoch"):
        each = zip(own["trial"], own["training_answers"])
        wrong = [np.frombuffer(answers, np.uint8) != given[trial] for trial, answers in each]
        found[float(epoch)] = pd.DataFrame(np.stack(wrong), index=pd.MultiIndex.from_frame(own[KEYS]))
    return found


def after_an_epoch(errors: dict[float, pd.DataFrame]) -> tuple[float, pd.DataFrame] | None:
    """Return (epoch, errors) at the end of the first epoch, or of the minibatch in which it ends; None without a network."""
    ended = min((epoch for epoch in errors if epoch >= 1), default=None)
    return (ended, errors[ended]) if ended is not None and ended < 1.1 else None


def at_mean(errors: dict[float, pd.DataFrame], mean: float) -> tuple[float, pd.DataFrame] | None:
    """Return (epoch, errors) where the mean error rate is nearest to `mean`, or None where it stays 0.1 away or more.

    Only evaluations at which every network still trains.
    """
    most = max((len(own) for own in errors.values()), default=0)
    away = {epoch: abs(own.to_numpy().mean() - mean) for epoch, own in errors.items() if len(own) == most}
    nearest = min(away, key=away.__getitem__, default=None)
    return None if nearest is None or away[nearest] >= 0.1 else (nearest, errors[nearest])


def ratio(rates: np.ndarray, count: int, classes: np.ndarray | None = None) -> float:
    """Return sd of error rates [examples] / binomial sd at their mean, for 100 networks, from the rates of `count` networks.

    The variance of a rate over N networks is p (1 - p) / N (1 + (N - 1) rho), with rho the correlation of two networks'
    errors on an example: rho is estimated from the `count` there are, and put in for 100. With `classes` [examples] both
    variances are those within classes, pooled. NaN where every prediction is wrong, or correct.
    """
    groups = [rates] if classes is None else [rates[classes == k] for k in np.unique(classes)]
    groups = [own for own in groups if len(own) > 1]
    found = sum((len(own) - 1) * own.var(ddof=1) for own in groups)
    expected = sum((len(own) - 1) * own.mean() * (1 - own.mean()) for own in groups) / count
    if not expected or count < 2:
        return math.nan
    rho = (found / expected - 1) / (count - 1)
    return math.sqrt(max(0.0, 1 + (NETWORKS - 1) * rho))


def leave_one_out(errors: np.ndarray, classes: np.ndarray | None = None) -> np.ndarray:
    """Return `ratio` without each network in turn, from errors [networks, examples]."""
    total, others = errors.sum(axis=0), len(errors) - 1
    return np.array([ratio((total - own) / max(others, 1), others, classes) for own in errors])


def jackknife(value: float, without: pd.Series, bounds: Bounds = UNBOUNDED) -> Estimate | None:
    """Return a value with Student's interval from its values `without` each network; None from fewer than three.

    No interval where no network makes a difference.
    """
    count = len(without)
    if count < 3 or not math.isfinite(value) or without.isna().any():
        return None
    error = math.sqrt((count - 1) * without.var(ddof=0))
    return (
        student(value, error, count - 1, count, bounds=bounds) if error else Estimate(value, math.nan, math.nan, count)
    )


def spread(tables: Tables, arm: str, moment: str, within: bool = False) -> tuple[Answer, pd.Series]:
    """Return the ratio of one arm at a moment as an answer, and its values without each network, by seed."""
    table, networks = tables["easy_examples"], tables["networks"]
    own = table[(table["arm"] == arm) & (table["moment"] == moment)]
    if own.empty:
        return (None, f"{MARKS[arm].name}: the mean error rate never lies there"), pd.Series(dtype=float)
    count, errors = int(own["networks"].iloc[0]), own["errors"].to_numpy()
    column = f"{'within_' if within else ''}without_{moment}"
    without = networks[networks["arm"] == arm].set_index("seed")[column].dropna()
    value = ratio(errors / count, count, own["label"].to_numpy() if within else None)
    found = jackknife(value, without, (0, math.inf))
    where = f"mean error rate {(errors / count).mean():.3f} after {own['epoch'].iloc[0]:.2f} epochs"
    return (found, where if found else f"{where}; too few networks, or no spread at all"), without


def difference(tables: Tables, one: str, other: str, moment: str) -> Answer:
    """Return the ratio of one arm minus that of another; networks of one seed share images, initialisation and order."""
    (left, note), left_without = spread(tables, one, moment)
    (right, other_note), right_without = spread(tables, other, moment)
    if left is None or right is None:
        return None, note if left is None else other_note
    return jackknife(left.value - right.value, (left_without - right_without).dropna()), ""


def answer(tables: Tables, answers: Answers) -> None:
    """Answer how much more error rates vary between examples than by chance: after an epoch, and at one mean rate."""
    images = images_of(of_arms(tables["networks"], ARMS))
    for moment in MOMENTS:
        for name, arm in (("real", REAL), ("random_inputs", INPUTS), ("labels-not-binomial", LABELS)):
            answers.give(f"A1-{name}-{moment}", spread(tables, arm, moment)[0], images)
        answers.give("A1-within-classes-{moment}", spread(tables, INPUTS, moment, True)[0], images, moment=moment)
        for name, pair in (("below-real", (REAL, LABELS)), ("above-inputs", (LABELS, INPUTS))):
            answers.give(f"A1-labels-{name}-{{moment}}", difference(tables, *pair, moment), images, moment=moment)
    full = images_of(of_arms(tables["networks"], FULL.values()))
    if full and full >= FULL_IMAGES:
        for name, arm in (("real", REAL), ("random_inputs", INPUTS)):
            answers.give(f"A1-{name}-full", spread(tables, FULL[arm], "epoch")[0], full)
    draws = drawn(tables)
    whole = draws[draws["networks"] >= NETWORKS].pivot(index="arm", columns="kind", values="ratio")
    if len(whole.reindex(columns=ARMS).dropna()) >= DRAWN:
        for pair, (one, other) in {"below": (REAL, LABELS), "above": (LABELS, INPUTS)}.items():
            gap = over_pairs(whole[one], whole[other], LOST)
            answers.give("A1-labels-draws-{pair}", gap, images, pair=pair)


def draw(evidence: Evidence, tables: Tables, answers: Answers) -> Chapter:
    """Draw the sorted error rates of examples beside those of chance."""
    table, text = tables["easy_examples"], Text("experiments.closer_look", "easy_examples")
    ids = {REAL: "real", INPUTS: "random_inputs", LABELS: "labels-not-binomial"}
    facts = {
        "spread": {moment: {arm: answers[f"A1-{name}-{moment}"] for arm, name in ids.items()} for moment in MOMENTS},
        "within": {moment: answers[f"A1-within-classes-{moment}"] for moment in MOMENTS},
        "labels": difference(tables, REAL, LABELS, "matched")[0],
        "arms": {arm: mark.name for arm, mark in ARMS.items()},
        "networks": sorted(int(count) for count in table["networks"].unique()),
        "draws": DRAWS,
        "matched": MATCHED,
        "watched": table["example"].nunique(),
        "images": images_of(of_arms(tables["networks"], ARMS)),
        "full": {arm: spread(tables, FULL[arm], "epoch")[0][0] for arm in ARMS},
        "full_images": images_of(of_arms(tables["networks"], FULL.values())),
        "drawn": drawn(tables).groupby("kind")["ratio"].mean().to_dict(),
        "draws_of_data": drawn(tables)["arm"].nunique(),
    }
    return Chapter(
        title="Easy examples",
        findings=[text.block("finding", **facts)],
        figures=[text.figure(figures.save(draw_rates(table), evidence.folder, "easy"), **facts)],
        methods=[text.block("methods", **facts)],
    )


def draw_rates(table: pd.DataFrame) -> Drawing:
    """Return error rates of examples, sorted, by arm and moment, each with the range of binomial draws."""
    rows = [(moment, words, {arm: arm for arm in ARMS}) for moment, words in MOMENTS.items()]
    if table["arm"].isin(FULL.values()).any():
        rows.append(("epoch", "after one epoch of more images", FULL))
    figure, grid = figures.grid(len(rows), len(ARMS), width=3.0, height=2.5, sharey=True)
    for row, (moment, words, arms) in zip(grid, rows):
        for axes, (arm, mark) in zip(row, ARMS.items()):
            own = table[(table["arm"] == arms[arm]) & (table["moment"] == moment)]
            axes.set_title(f"{mark.name}\n{words}", fontsize=9)
            axes.set(ylim=(-0.02, 1.02))
            if own.empty:
                axes.text(0.5, 0.5, "not reached", transform=axes.transAxes, ha="center")
            else:
                _rates(axes, own["errors"].to_numpy(), int(own["networks"].iloc[0]), mark)
        row[0].set_ylabel("error rate")
    for axes in grid[-1]:
        axes.set_xlabel("example, sorted by rate")
    if handles := grid[0][0].get_legend_handles_labels()[0]:
        figure.legend(handles, [f"{DRAWS:,} binomial draws", "networks"], loc="outside upper center", ncols=2)
    return figure


def _rates(axes: Axes, errors: np.ndarray, networks: int, mark: Mark) -> None:
    rates = np.sort(errors / networks)
    drawn = generator(0, "noise", "binomial_errors").binomial(networks, rates.mean(), (DRAWS, len(rates)))
    low, high = np.quantile(np.sort(drawn / networks, axis=1), (0.005, 0.995), axis=0)
    axes.fill_between(range(len(rates)), low, high, color="0.6", alpha=0.6, linewidth=0, label="chance")
    axes.plot(rates, linewidth=1.6, label="networks", **mark.line)
