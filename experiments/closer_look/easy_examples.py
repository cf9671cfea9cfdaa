"""A1: are some examples easy? How often 100 networks get each one wrong, against what chance alone would do (figure 1)."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from experiments.closer_look.networks import ARPIT
from memo.commands.evidence import Evidence
from memo.data.randomness import generator
from memo.probes.training_answers import WATCHED
from memo.reporting import figures, palette
from memo.reporting.legacy import Chapter, Claim
from memo.reporting.report import Figure, number, with_interval
from memo.statistics.intervals import Estimate

ARMS = {
    "easy_real": "real data",
    "easy_random_inputs": "random inputs (randX)",
    "easy_random_labels": "random labels (randY)",
}
CHANCE = "easy_random_inputs"  # where the paper finds no more than chance
COLORS = {"easy_real": palette.BLUE, "easy_random_inputs": palette.PURPLE, "easy_random_labels": palette.VERMILION}
NETWORKS = 100  # of the paper, and so of the ratio that its figure shows
DRAWS = 1000
MATCHED = 0.5  # the mean error rate at which the three are compared once more
RANGES = {
    "easy_real": (2, np.inf),
    "easy_random_inputs": (0.8, 1.3),
}


def chapter(evidence: Evidence) -> Chapter:
    """Return the claims and the figure on easy examples."""
    made = Chapter()
    errors = {arm: errors_along(evidence, arm) for arm in ARMS}
    moments = {
        "one epoch": {arm: after_an_epoch(own) for arm, own in errors.items()},
        f"mean error {MATCHED:g}": {arm: at_mean(own, MATCHED) for arm, own in errors.items()},
    }
    spread = {
        (moment, arm): dispersion(found[1])
        for moment, each in moments.items()
        for arm, found in each.items()
        if found is not None and len(found[1]) > 1
    }
    within = {}
    for moment, each in moments.items():
        if (found := each[CHANCE]) is not None:
            _, given = next(iter(evidence.training_sets(CHANCE).values()))
            within[moment] = dispersion(found[1], given[:WATCHED])
    _claims(moments, spread, within, made)
    _draw(evidence, moments, spread, made)
    rows = [
        {
            "moment": moment,
            "arm": ARMS[arm],
            "epoch": found[0],
            "networks": len(found[1]),
            "mean_error": found[1].mean(),
            "sd_of_rates": found[1].mean(axis=0).std(ddof=1),
            **dict(zip(("ratio", "low", "high"), spread.get((moment, arm)) or (np.nan,) * 3)),
        }
        for moment, each in moments.items()
        for arm, found in each.items()
        if found is not None
    ]
    made.tables["easy_examples"] = pd.DataFrame(rows)
    made.methods.append(
        f"Easy examples: {NETWORKS} networks (starts and orders of minibatches of their own) on one set of images, of which the "
        f"first {WATCHED:,} are watched; random inputs and labels are one draw for all. The rate of an example is the share of "
        "networks that give it another than its given label. Ratio: the standard deviation of the rates over examples, divided "
        f"by the binomial one at their mean, for {NETWORKS} networks; computed from the correlation between two networks' "
        "errors that the rates imply, so that it does not depend on how many networks there are, with a jackknife interval "
        "over networks. It says nothing of other draws of images. The paper's network and data set are not named in the text "
        f"that we read. Matched: for each, the evaluation with a mean rate nearest to {MATCHED:g}. The rows within classes were "
        "added, to test an explanation, when a first run had shown more than chance on noise inputs."
    )
    return made


def errors_along(evidence: Evidence, arm: str) -> dict[float, np.ndarray]:
    """Return by epoch which networks of an arm get which watched example wrong, [networks, examples] bool."""
    rows = evidence.of(arm, "training_answers_along")
    given = {trial: labels for trial, (_, labels) in evidence.training_sets(arm).items()}
    return {
        float(epoch): np.stack(
            [np.frombuffer(answers, np.uint8) != given[trial][:WATCHED] for trial, answers in zip(own["trial"], own["training_answers"])]
        )
        for epoch, own in rows.groupby("epoch")
    }  # fmt: skip


def after_an_epoch(errors: dict[float, np.ndarray]) -> tuple[float, np.ndarray] | None:
    """Return (epoch, errors) at the end of the first epoch, or None where there is no network."""
    return (1.0, errors[1.0]) if 1.0 in errors else None


def at_mean(errors: dict[float, np.ndarray], mean: float) -> tuple[float, np.ndarray] | None:
    """Return (epoch, errors) where the mean error rate is nearest to `mean`, or None where it stays 0.1 away or more.

    Only evaluations at which every network still trains.
    """
    most = max((len(own) for own in errors.values()), default=0)
    whole = {epoch: own for epoch, own in errors.items() if len(own) == most}
    if not whole:
        return None
    nearest = min(whole, key=lambda epoch: abs(whole[epoch].mean() - mean))
    return (nearest, whole[nearest]) if abs(whole[nearest].mean() - mean) < 0.1 else None


def ratio(errors: np.ndarray, classes: np.ndarray | None = None) -> float:
    """Return sd of the rates over examples / binomial sd at their mean, for 100 networks, from errors [networks, examples].

    The variance of a rate over N networks is p (1 - p) / N (1 + (N - 1) rho), with rho the correlation of two networks'
    errors on an example: rho is estimated from the N there are, and put in for 100. With `classes` [examples] both variances
    are those within classes, pooled. NaN where every answer is wrong, or right.
    """
    return _ratio_of_rates(errors.mean(axis=0), len(errors), classes)


def dispersion(errors: np.ndarray, classes: np.ndarray | None = None) -> Estimate | None:
    """Return `ratio` with its 95 % jackknife interval over networks (Student's t), n the number of networks."""
    whole, count = ratio(errors, classes), len(errors)
    if count < 3 or not math.isfinite(whole):
        return None
    total = errors.sum(axis=0)
    without = np.array([_ratio_of_rates((total - own) / (count - 1), count - 1, classes) for own in errors])
    error = math.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2))
    reach = stats.t.ppf(0.975, count - 1) * error
    return Estimate(whole, whole - reach, whole + reach, count)


def _ratio_of_rates(rates, count, classes=None):
    groups = [rates] if classes is None else [rates[classes == k] for k in np.unique(classes)]
    groups = [own for own in groups if len(own) > 1]
    found = sum((len(own) - 1) * own.var(ddof=1) for own in groups)
    expected = sum((len(own) - 1) * own.mean() * (1 - own.mean()) for own in groups) / count
    if not expected or count < 2:
        return math.nan
    rho = (found / expected - 1) / (count - 1)
    return math.sqrt(max(0.0, 1 + (NETWORKS - 1) * rho))


def _claims(moments, spread, within, made):
    statement = "On real data some examples are easier than others; on noise inputs the errors are those of chance."
    for arm, accept in RANGES.items():
        for moment, each in moments.items():
            claim = Claim(
                f"A1-{arm.removeprefix('easy_')}-{'epoch' if moment == 'one epoch' else 'matched'}",
                ARPIT if moment == "one epoch" else "protocol after Arpit et al. 2017",
                statement,
                f"sd of error rates over examples / binomial sd, {ARMS[arm]}",
                accept,
                (1.0001, np.inf) if arm == "easy_real" else None,
                "easy",
                condition=moment,
            )
            made.rows.append((claim, *_found(each, spread, moment, arm)))
    statement = (
        "What is more than chance on noise inputs is how often each class occurs: within classes there is nothing more."
    )
    for moment, each in moments.items():
        claim = Claim(
            f"A1-within-classes-{'epoch' if moment == 'one epoch' else 'matched'}", "this suite", statement,
            f"sd of error rates over examples / binomial sd, within classes, {ARMS[CHANCE]}", (0.8, 1.3), None, "easy",
            condition=moment,
        )  # fmt: skip
        made.rows.append((claim, *_found(each, {(moment, CHANCE): within.get(moment)}, moment, CHANCE)))
    statement = "Random labels lie between: the networks share some patterns, but fewer than on real data."
    for moment, each in moments.items():
        random, real = (spread.get((moment, arm)) for arm in ("easy_random_labels", "easy_real"))
        claim = Claim(
            f"A1-labels-not-binomial-{'epoch' if moment == 'one epoch' else 'matched'}", ARPIT, statement,
            f"sd of error rates over examples / binomial sd, {ARMS['easy_random_labels']}", (1.0001, np.inf), None, "easy",
            condition=moment,
        )  # fmt: skip
        made.rows.append((claim, *_found(each, spread, moment, "easy_random_labels")))
        for name, words, pair in (
            ("below-real", "ratio of real data − of random labels", (real, random)),
            ("above-inputs", "ratio of random labels − of random inputs", (random, spread.get((moment, "easy_random_inputs")))),
        ):  # fmt: skip
            claim = Claim(
                f"A1-labels-{name}-{'epoch' if moment == 'one epoch' else 'matched'}", ARPIT, statement, words,
                (0.0001, np.inf), None, "easy", condition=moment,
            )  # fmt: skip
            made.rows.append((claim, *_difference(*pair)))
    first = "one epoch"
    made.findings.append(
        "<b>Easy examples.</b> Sd of the error rates of single images over 100 networks, as a multiple of the binomial sd: "
        + "; ".join(
            f"{ARMS[arm]} {with_interval(spread.get((first, arm)), count=False)} after one epoch (mean rate "
            f"{_mean(moments[first][arm])}) and {with_interval(spread.get((second, arm)), count=False)} at a mean rate of "
            f"{_mean(moments[second][arm])}"
            for second in list(moments)[1:]
            for arm in ARMS
        )
        + f". Within classes random inputs have {with_interval(within.get(first), count=False)} after one epoch."
    )


def _mean(found):
    return "n/a" if found is None else number(found[1].mean())


def _found(each, spread, moment, arm):
    if each[arm] is None:
        return None, f"the mean error rate of {ARMS[arm]} never lies there"
    estimate = spread.get((moment, arm))
    where = f"{ARMS[arm]}: mean error rate {_mean(each[arm])} after {number(each[arm][0], 2)} epochs"
    return estimate, where if estimate is not None else f"{where}; too few networks or no spread at all"


def _difference(one, other):
    if one is None or other is None:
        return None, "one of the two has no value"
    value = one.value - other.value
    # Two populations of networks that share their images and starts; taken as independent, which the interval then is.
    reach = math.hypot((one.high - one.low) / 2, (other.high - other.low) / 2)
    return Estimate(value, value - reach, value + reach, min(one.n, other.n)), ""


def _draw(evidence, moments, spread, made):
    figure, axes = figures.grid(2, 3, width=3.0, height=2.5, sharey=True)
    for row, (moment, each) in zip(axes, moments.items()):
        for place, (arm, found) in zip(row, each.items()):
            place.set_title(f"{ARMS[arm]}\n{moment}", fontsize=9)
            place.set(ylim=(-0.02, 1.02))
            if found is None:
                place.text(0.5, 0.5, "not reached", transform=place.transAxes, ha="center")
                continue
            rates = np.sort(found[1].mean(axis=0))
            drawn = generator(0, "noise", "binomial_errors").binomial(len(found[1]), rates.mean(), (DRAWS, len(rates)))
            low, high = np.quantile(np.sort(drawn / len(found[1]), axis=1), (0.005, 0.995), axis=0)
            place.fill_between(
                range(len(rates)), low, high, color="0.6", alpha=0.6, linewidth=0, label=f"{DRAWS:,} binomial draws"
            )
            place.plot(rates, color=COLORS[arm], linewidth=1.6, label="networks")
        row[0].set_ylabel("error rate")
    for place in axes[-1]:
        place.set_xlabel("example, sorted by rate")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    says = []
    for (moment, arm), estimate in spread.items():
        says.append(f"{ARMS[arm]}, {moment}: {with_interval(estimate, count=False)}")
    counts = {len(found[1]) for each in moments.values() for found in each.values() if found is not None}
    made.figures.append(
        Figure(
            figures.save(figure, evidence.folder, "easy"),
            "Error rates of single examples, sorted (the paper's figure 1)",
            f"Spread of the rates over examples as a multiple of the binomial one: {'; '.join(says) or 'n/a'}. Grey: the middle "
            f"99 % of {DRAWS:,} draws in which every example has the mean rate. n = {' or '.join(map(str, sorted(counts)))} "
            "networks on one set of images; intervals over networks. Upper row: after one epoch; lower row: where the mean rate "
            f"is nearest to {MATCHED:g}.",
            "Sorted error rates of training examples over networks, beside binomial draws, for real data, random inputs and labels.",
        )
    )
