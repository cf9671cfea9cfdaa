"""Means and differences over the seeds that have a value, the note on the others, names of widths."""

import numpy as np
import pandas as pd

from memo.statistics import over_seeds
from memo.statistics.intervals import mean_interval, paired_difference, paired_ratio


def test_a_mean_is_over_the_seeds_that_have_a_value_and_the_others_are_counted():
    estimate, note = over_seeds.over_seeds([1.0, np.nan, 3.0, np.inf], "lost")
    assert estimate == mean_interval([1.0, 3.0])
    assert note == "2 of 4 seeds have no value: lost"
    assert over_seeds.over_seeds([1, 3]) == (mean_interval([1, 3]), "")
    assert over_seeds.over_seeds([np.nan])[0] is None
    assert over_seeds.over_seeds([]) == (None, "no such network was trained")


def test_a_difference_is_within_the_seeds_that_both_have():
    one, other = pd.Series({0: 1.0, 1: 5.0, 2: np.nan}), pd.Series({1: 2.0, 0: 4.0, 3: 1.0})
    estimate, note = over_seeds.over_pairs(one, other)
    assert estimate == paired_difference([1, 5], [4, 2])
    assert note == f"2 of 4 seeds have no value: {over_seeds.NEVER}"
    assert over_seeds.over_pairs(pd.Series(dtype=float), pd.Series(dtype=float))[0] is None


def test_missing_seeds_are_told_apart():
    values = [1.0, np.nan, 3.0, np.nan, np.nan]
    assert over_seeds.over_seeds(values, "no peak", diverged=2)[1] == (
        "3 of 5 seeds have no value: 2 with a diverged network, 1 with no peak"
    )
    assert over_seeds.over_seeds(values[:2], asked=4, diverged=3, unit="networks")[1] == (
        "3 of 4 networks have no value: 3 with a diverged network"
    )


def test_any_estimate_is_over_the_complete_seeds():
    pairs = pd.DataFrame({"a": [1.0, 2, 3, np.nan], "b": [2.0, 1, np.inf, 1]})
    estimate, note = over_seeds.over_seeds(pairs, "lost", estimate=paired_ratio)
    assert estimate == paired_ratio([1, 2], [2, 1])
    assert note == "2 of 4 seeds have no value: lost"
    assert over_seeds.over_pairs(pairs["a"], pairs["b"], estimate=paired_ratio)[0] == estimate


def test_a_pair_lacks_what_either_of_the_two_lacks():
    """W7: the base arm's diverged networks count like the other's."""
    one, other = pd.Series({0: 1.0, 1: np.nan, 2: 4.0, 3: 2.0}), pd.Series({0: 1.0, 1: 2.0, 2: np.nan, 3: 1.0})
    estimate, note = over_seeds.over_pairs(one, other, diverged=2)
    assert estimate == paired_difference([1, 2], [1, 1])
    assert note == "2 of 4 seeds have no value: 2 with a diverged network"


def test_times_longer_leaves_diverged_pairs_out_and_bounds_what_never_gets_there():
    slow, fast = pd.Series({0: 4.0, 1: np.nan, 2: np.nan, 3: 8}), pd.Series({0: 1.0, 1: 2.0, 2: np.nan, 3: 2})
    given = pd.Series(10.0, slow.index)
    estimate, note = over_seeds.times_longer(slow, fast, given, "shuffled", "curve on true labels", [2])
    assert estimate == paired_ratio([4, 10, 8], [1, 2, 2])._replace(high=np.inf)
    assert note == "a lower bound: 1 of 3 shuffled curves never reach the level; 1 of 4 pairs have a diverged network"
    nothing = over_seeds.times_longer(slow, fast, given, "shuffled", "curve on true labels")
    assert nothing == (None, "not every curve on true labels reaches the level")


def test_twins_without_a_value_are_noted_in_the_same_words():
    frame = pd.DataFrame(
        [(seed, kind, "8", value) for seed, pair in enumerate([(1, 2), (2, 8), (3, np.nan)]) for kind, value in zip(over_seeds.KINDS, pair)],
        columns=["seed", "labels", "width", "t90"],
    )  # fmt: skip
    assert over_seeds.ratio(frame, "t90", "8", 3) == (
        paired_ratio([2, 8], [1, 2]),
        f"1 of 3 seeds have no value: {over_seeds.NEVER}",
    )


def test_rows_that_meet_every_condition():
    frame = pd.DataFrame({"arm": ["a", "a", "b"], "labels.kind": ["true", "random", "true"]})
    assert over_seeds.where(frame, **{"arm": "a", "labels.kind": "true"}).index.tolist() == [0]
    assert over_seeds.where(frame) is frame
