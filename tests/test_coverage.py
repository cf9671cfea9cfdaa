"""How often each kind of interval contains the true number, simulated at the n at which it is used, against the docstrings' tables.

python -m tests.test_coverage        print the tables, from 20,000 samples each: a few minutes
"""

import math
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

from memo.statistics import intervals, over_networks
from memo.statistics.intervals import Estimate

SAMPLES = 800  # standard error at 95 %: 0.77 points
CLAIMED = 1.5  # points that a cell may lie below 95 % without brackets
AT = {intervals: (5, 20), over_networks: (20,)}  # the tables' other cells are simulated by the command above only


class Case(NamedTuple):
    """A kind of values: `draw(rng, n)`, the true number, and its interval from what was drawn."""

    draw: Callable[[np.random.Generator, int], Any]
    true: float
    interval: Callable[[Any], Estimate]


def means(draw, true, **options):
    return Case(draw, true, lambda values: intervals.mean_interval(values, **options))


def two_modes(rng, n):
    """0 or 1 with odds 60 : 40, each with a twentieth of the distance as its spread: runs that succeed or fail."""
    return (rng.random(n) < 0.4) + 0.05 * rng.normal(size=n)


def often_one(rng, n):
    """Accuracies of networks that mostly reach 1 exactly."""
    return np.where(rng.random(n) < 0.6, 1, 1 - 0.01 * np.minimum(rng.exponential(size=n), 100))


MEANS = {
    "mean, normal": means(lambda rng, n: rng.normal(size=n), 0),
    "mean, two modes": means(two_modes, 0.4),
    "mean, near 1 (beta 20, 1)": means(lambda rng, n: rng.beta(20, 1, n), 20 / 21, bounds=(0, 1)),
    "mean, three in five exactly 1": means(often_one, 1 - 0.4 * 0.01, bounds=(0, 1)),
    "mean, exponential": means(lambda rng, n: rng.exponential(size=n), 1),
    "mean, log-normal (σ = 1)": means(lambda rng, n: rng.lognormal(size=n), math.exp(0.5)),
    "geometric mean, log-normal": Case(lambda rng, n: rng.lognormal(size=n), 1, intervals.geometric_mean),
    "geometric mean, exponential": Case(
        lambda rng, n: rng.exponential(size=n), math.exp(-np.euler_gamma), intervals.geometric_mean
    ),
    "geometric mean, ratio of two exponentials": Case(
        lambda rng, n: rng.exponential(size=n) / rng.exponential(size=n), 1, intervals.geometric_mean
    ),
}


def answers(difficulty, own=0.0):
    """Return how to draw answers [n, 400]: an image's chance to be right is Beta-distributed, a network's shifted by `own`."""

    def draw(rng, n):
        chance = rng.beta(*difficulty, 400) + own * rng.normal(size=(n, 1))
        return rng.random((n, 400)) < np.clip(chance, 0, 1)

    return draw


def by_accuracy(right):
    return intervals.accuracy_interval(right.mean(1), right.shape[1])


def by_answer(right):
    return intervals.accuracy_interval(right.mean(1), right.shape[1], right.mean(0))


SHARED, OWN, CHANCE = (0.27, 0.03), (4.5, 0.5), (3, 27)  # 0.9, 0.9 and 0.1 on average; errors shared most, less, least
ACCURACIES = {
    "accuracy by image, errors shared": Case(answers(SHARED), 0.9, by_answer),
    "accuracy by image, seeds differ": Case(answers((45, 45), 0.03), 0.5, by_answer),
    "accuracy by image, at chance": Case(answers(CHANCE), 0.1, by_answer),
    "accuracy, errors shared": Case(answers(SHARED), 0.9, by_accuracy),
    "accuracy, errors hardly shared": Case(answers(OWN), 0.9, by_accuracy),
    "accuracy, at chance": Case(answers(CHANCE), 0.1, by_accuracy),
}


def correlated(rho, source):
    def draw(rng, n):
        one, other = source(rng, (2, n))
        return np.array([one, rho * one + math.sqrt(1 - rho**2) * other])

    return draw


def normal(rng, size):
    return rng.normal(size=size)


def exponential(rng, size):
    return rng.exponential(size=size) - 1


def groups(one, other):
    """Return how to draw two populations that have nothing to do with each other."""
    return lambda rng, n: (one(rng, n), other(rng, n))


def spread(draw, true, statistic, **options):
    return Case(draw, true, lambda values: over_networks.jackknife(statistic, values, **options))


def apart(draw, true, statistic, **options):
    return Case(draw, true, lambda values: over_networks.jackknife(statistic, *values, **options))


def sd_ratio(pairs):
    return over_networks.sd(pairs[1]) / over_networks.sd(pairs[0])


def ratio_of_sds(one, other):
    return over_networks.sd(one) / over_networks.sd(other)


def gap(one, other):
    return over_networks.correlation(one) - over_networks.correlation(other)


NETWORKS = {
    "sd, normal": spread(normal, 1, over_networks.sd),
    "sd, two modes": spread(two_modes, math.sqrt(0.24 + 0.05**2), over_networks.sd),
    "sd, exponential": spread(exponential, 1, over_networks.sd),
    "sd / mean, normal (1/5)": spread(lambda rng, n: 5 + normal(rng, n), 0.2, over_networks.relative_sd),
    "sd over sd, pairs, normal": spread(correlated(0.5, normal), 1, sd_ratio),
    "sd over sd, pairs, exponential": spread(correlated(0.5, exponential), 1, sd_ratio),
    "sd over sd, apart, normal": apart(groups(normal, normal), 1, ratio_of_sds),
    "sd over sd, apart, exponential": apart(groups(exponential, exponential), 1, ratio_of_sds),
    "correlation 0, normal": spread(correlated(0, normal), 0, over_networks.correlation, scale="fisher"),
    "correlation 0.8, normal": spread(correlated(0.8, normal), 0.8, over_networks.correlation, scale="fisher"),
    "correlation 0.8, exponential": spread(
        correlated(0.8, exponential), 0.8, over_networks.correlation, scale="fisher"
    ),
    "correlation 0.8 − 0.4, apart": apart(
        groups(correlated(0.8, normal), correlated(0.4, normal)), 0.4, gap, scale="linear"
    ),
}

CASES = {intervals: MEANS | ACCURACIES, over_networks: NETWORKS}


def coverage(case: Case, n: int, samples: int = SAMPLES) -> float:
    """Return how many percent of the intervals of n values contain the true number; no interval does not."""
    rng = np.random.default_rng([n, 7])
    found = (case.interval(case.draw(rng, n)) for _ in range(samples))
    return 100 * sum(estimate.low <= case.true <= estimate.high for estimate in found) / samples


def table(module) -> dict[str, dict[int, str]]:
    """Return the cells of the table in a module's docstring, by row and n."""
    rows = [line.strip("| ").split("|") for line in module.__doc__.splitlines() if line.startswith("|")]
    counts = [int(re.sub(r"\D", "", cell)) for cell in rows[0][1:]]
    return {name.strip(): dict(zip(counts, map(str.strip, cells), strict=True)) for name, *cells in rows[2:]}


@pytest.mark.parametrize("module", CASES)
def test_tables_have_every_case_and_put_what_falls_short_in_brackets(module):
    assert list(table(module)) == list(CASES[module])
    for cell in (cell for row in table(module).values() for cell in row.values()):
        short = float(cell.strip("()")) < 95 - CLAIMED
        assert cell.startswith("(") == cell.endswith(")") == short, cell


@pytest.mark.parametrize(
    ("module", "row", "n"), [(module, row, n) for module in CASES for row in CASES[module] for n in AT[module]]
)
def test_intervals_cover_what_the_tables_say(module, row, n):
    stated = float(table(module)[row][n].strip("()"))
    error = math.sqrt(max(stated * (100 - stated), 100) / SAMPLES)
    assert coverage(CASES[module][row], n) == pytest.approx(stated, abs=4 * error)


def of_shares(ends, n, shares):
    """Return the exact coverage [shares] of the intervals `ends` [n + 1, 2] of a count out of n."""
    odds = stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)
    return (odds * ((ends[:, :1] <= shares) & (shares <= ends[:, 1:]))).sum(axis=0)


@pytest.mark.parametrize("n", [5, 8, 10, 20, 32])
def test_the_interval_of_a_share_covers_at_least_what_it_says(n):
    shares = np.linspace(0.001, 0.999, 999)
    ends = np.array([intervals.share(np.arange(n) < count)[1:3] for count in range(n + 1)])
    assert of_shares(ends, n, shares).min() >= 0.95
    # Both tails on one side where all or none are: not 95 % any more.
    ends[n, 0], ends[0, 1] = 0.05 ** (1 / n), 1 - 0.05 ** (1 / n)
    assert 0.925 < of_shares(ends, n, shares).min() < 0.937


@pytest.mark.parametrize(("n", "m", "least"), [(5, 5, 0.88), (20, 20, 0.9)])
def test_the_interval_of_a_difference_of_shares_covers_what_it_says_on_average(n, m, least):
    shares = np.linspace(0.01, 0.99, 50)
    ends = np.array(
        [
            [intervals.share_difference(np.arange(n) < k, np.arange(m) < j)[1:3] for j in range(m + 1)]
            for k in range(n + 1)
        ]
    )
    odds = [stats.binom.pmf(np.arange(size + 1), size, shares[:, None]) for size in (n, m)]
    covered = np.empty((50, 50))
    for row, column in np.ndindex(covered.shape):
        inside = (ends[..., 0] <= (gap := shares[row] - shares[column])) & (gap <= ends[..., 1])
        covered[row, column] = odds[0][row] @ inside @ odds[1][column]
    assert covered.mean() == pytest.approx(0.953, abs=0.003)
    assert covered.min() == pytest.approx(least, abs=0.003)


def write(samples: int) -> None:
    for module, cases in CASES.items():
        counts = (5, 8, 10, 20, 32) if module is intervals else (10, 20, 32, 200)
        for name, case in cases.items():
            cells = [coverage(case, n, samples if n < 100 else samples // 4) for n in counts]
            texts = (f"({cell:.1f})" if cell < 95 - CLAIMED else f"{cell:.1f} " for cell in np.round(cells, 1))
            print(f"| {name:44} |" + "|".join(f"{text:>7}" for text in texts) + "|", flush=True)


if __name__ == "__main__":
    write(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
