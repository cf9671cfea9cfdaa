"""Means over seeds of each recipe, and differences and ratios between the levels of one key within pairs.

A pair is two networks of the same seed that differ in that key alone. Where no seed is shared, the two groups are compared
as they are (Welch).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from memo.comparison.keys import Key, Layout
from memo.comparison.networks import DIFFERENCE, RATIO, TIMES, Measure
from memo.networks.status import DIVERGED
from memo.statistics.intervals import (
    LINEAR,
    LOG,
    UNBOUNDED,
    Bounds,
    Estimate,
    geometric_mean,
    mean_interval,
    p_outside,
    paired_difference,
    paired_ratio,
)
from memo.statistics.multiplicity import holm
from memo.statistics.over_networks import jackknife
from memo.statistics.over_seeds import LOST, Answer, missing, ratio_of_times, times_longer

NUMBERS = ["value", "low", "high", "n"]
NULL = {DIFFERENCE: 0.0, RATIO: 1.0}
ALPHA = 0.05


class Pairs(NamedTuple):
    """Networks to compare, as rows of the table: `here` against `there`, one by one where they are `paired` by their seeds."""

    keys: Mapping[str, str]  # of both, and the level of `here`
    here: np.ndarray
    there: np.ndarray
    paired: bool


def groups(networks: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Yield each combination of levels that was trained, in order, with the positions of its rows."""
    if not keys:
        yield (), np.arange(len(networks))
        return
    for levels, places in sorted(
        networks.groupby([networks[key].cat.codes for key in keys]).indices.items(), key=lambda each: each[0]
    ):
        codes = levels if isinstance(levels, tuple) else (levels,)
        yield tuple(str(networks[key].cat.categories[code]) for key, code in zip(keys, codes)), places


def means(networks: pd.DataFrame, layout: Layout, measures: Mapping[str, Measure]) -> pd.DataFrame:
    """Return one row per recipe and measure: its keys, measure, value, low, high, n, and a note on who has no value.

    Of what is compared by ratios the mean is geometric.
    """
    rows = []
    values = {name: networks[name].to_numpy(float) for name in measures}
    diverged = (networks["status"] == DIVERGED).to_numpy()
    for levels, places in groups(networks, list(layout.keys)):
        keys: dict[str, Any] = dict(zip(layout.keys, levels))
        lost = int(diverged[places].sum())
        for name, measure in measures.items():
            own = values[name][places]
            known = own[np.isfinite(own)]
            found = _mean(known, measure) if len(known) else None
            rows.append(
                keys | {"measure": name} | _numbers((found, missing(len(own), len(known), measure.lacks, lost)))
            )
    return pd.DataFrame(rows, columns=[*layout.keys, "measure", *NUMBERS, "note"])


def _mean(values: np.ndarray, measure: Measure) -> Estimate:
    if measure.scale == RATIO and values.min() > 0:
        return geometric_mean(values)
    # Networks that stop at a level all end there: of them, that all of n are at the bound says nothing.
    return mean_interval(values, bounds=measure.bounds if np.ptp(values) else UNBOUNDED)


def differences(networks: pd.DataFrame, layout: Layout, measures: Mapping[str, Measure]) -> pd.DataFrame:
    """Return one row per comparison, measure and scale: the keys, `against` which level, value, low, high, n, p, a note.

    `scale` is "difference" (level − against) or "ratio" (level / against, a geometric mean); only what is above 0 has ratios.
    `p` is two-sided, `holm` adjusted over the rows of a measure and scale. `paired` says whether n counts pairs.
    """
    key, rows = layout.pair, []
    columns = [*layout.keys, "against", "measure", "scale", *NUMBERS, "p", "holm", "paired", "note"]
    if key is None:
        return pd.DataFrame(columns=columns)
    values = {name: networks[name].to_numpy(float) for name in [*measures, "trained"]}
    diverged = (networks["status"] == DIVERGED).to_numpy()
    for pairs in _pairs(networks, key, [name for name in layout.keys if name != key.name]):
        own = {**pairs.keys, "against": key.levels[0], "paired": pairs.paired}
        for name, measure in measures.items():
            for scale, answer in _compared(pairs, measure, values, diverged):
                p = _p(answer[0], NULL[scale])
                rows.append(own | {"measure": name, "scale": scale, "p": p} | _numbers(answer))
    found = pd.DataFrame(rows, columns=columns)
    if len(found):
        found["holm"] = found.groupby(["measure", "scale"])["p"].transform(holm)
    return found


def _pairs(networks: pd.DataFrame, key: Key, others: list[str]) -> Iterator[Pairs]:
    """Yield what is compared: every level of the key but the first with the first, among networks with the same other keys."""
    level, seeds = networks[key.name].cat.codes.to_numpy(), networks["seed"].to_numpy()
    for levels, places in groups(networks, others):
        base = places[level[places] == 0]
        for code in range(1, len(key.levels)):
            own = places[level[places] == code]
            if not len(own) or not len(base):
                continue
            shared, here, there = np.intersect1d(seeds[own], seeds[base], return_indices=True)
            keys = dict(zip(others, levels)) | {key.name: key.levels[code]}
            paired = bool(len(shared))
            yield Pairs(keys, own[here] if paired else own, base[there] if paired else base, paired)


def _compared(
    pairs: Pairs, measure: Measure, values: Mapping[str, np.ndarray], diverged: np.ndarray
) -> Iterator[tuple[str, Answer]]:
    """Yield the comparisons of one measure with their scales: a difference, and a ratio of what is above 0."""
    here, there = (values[measure.column][places] for places in (pairs.here, pairs.there))
    given = values["trained"][pairs.here]
    if not pairs.paired:
        known = [each[np.isfinite(each)] for each in (here, there)]
        asked, lost = len(here) + len(there), int(diverged[pairs.here].sum() + diverged[pairs.there].sum())
        note = missing(asked, sum(map(len, known)), measure.lacks, lost, "networks")
        yield DIFFERENCE, (_apart(known[0], known[1], LINEAR), note)
        if measure.column in TIMES:
            one, other = (~diverged[places] for places in (pairs.here, pairs.there))
            note = f"{lost} of {asked} networks have {LOST}" if lost else ""
            slow, fast, trained = (pd.Series(each) for each in (here[one], there[other], given[one]))
            yield RATIO, ratio_of_times(slow, fast, trained, "such", "other network", partial(_apart, scale=LOG), note)
        elif measure.scale == RATIO:
            yield RATIO, (_apart(known[0], known[1], LOG), note)
        return
    whole = np.isfinite(here) & np.isfinite(there)
    lost = diverged[pairs.here] | diverged[pairs.there]
    note = missing(len(whole), int(whole.sum()), measure.lacks, int(lost.sum()), "pairs")
    low, high = measure.bounds
    bounds: Bounds = (low - high, high - low) if np.isfinite(high) else UNBOUNDED
    one, other = here[whole], there[whole]
    yield DIFFERENCE, (paired_difference(one, other, bounds=bounds) if len(one) else None, note)
    if measure.scale != RATIO:
        return
    if measure.column in TIMES and not whole.all():
        slow, fast, trained = (pd.Series(each) for each in (here, there, given))
        yield RATIO, times_longer(slow, fast, trained, "such", "twin", np.flatnonzero(lost))
    else:
        positive = len(one) and min(one.min(), other.min()) > 0
        yield RATIO, (paired_ratio(one, other) if positive else None, note)


def _apart(one: ArrayLike, other: ArrayLike, scale: str) -> Estimate | None:
    """Return the difference of the means of networks that share no seed, or the ratio of their geometric means: Welch's."""
    one, other = np.asarray(one), np.asarray(other)
    if not len(one) or not len(other) or (scale == LOG and min(one.min(), other.min()) <= 0):
        return None
    if scale == LINEAR:
        return jackknife(lambda a, b: np.mean(a, axis=-1) - np.mean(b, axis=-1), one, other, scale=LINEAR)
    return jackknife(
        lambda a, b: np.exp(np.mean(np.log(a), axis=-1) - np.mean(np.log(b), axis=-1)), one, other, scale=LOG
    )


def told(differences: pd.DataFrame, layout: Layout, measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """Return for each measure and level what its comparisons say together: counts, ranges, and the first as an estimate.

    `higher` and `lower` are those that differ from none after Holm's correction, `asked` all, `total` those with a value.
    """
    if layout.pair is None or differences.empty:
        return []
    rows = []
    for measure in measures:
        own = differences[(differences["measure"] == measure.column) & (differences["scale"] == measure.scale)]
        for level, each in own.groupby(layout.pair.name, sort=False):
            known = each[each["value"].notna()]
            if known.empty:
                continue
            sure = known["value"][known["holm"] < ALPHA]
            rows.append(
                {
                    "measure": measure,
                    "level": level,
                    "against": layout.pair.levels[0],
                    "higher": int((sure > NULL[measure.scale]).sum()),
                    "lower": int((sure < NULL[measure.scale]).sum()),
                    "asked": len(each),
                    "total": len(known),
                    "range": (known["value"].min(), known["value"].max()),
                    "n": (int(known["n"].min()), int(known["n"].max())),
                    "bounds": int(np.isposinf(known["high"]).sum()),
                    "paired": bool(known["paired"].all()),
                    "first": estimate_of(known.iloc[0]),
                }
            )
    return rows


def _p(estimate: Estimate | None, null: float) -> float:
    if estimate is None:
        return math.nan
    return min(1.0, 2 * min(p_outside(estimate, (null, math.inf)), p_outside(estimate, (-math.inf, null))))


def _numbers(answer: Answer) -> dict[str, Any]:
    estimate, note = answer
    numbers = [math.nan, math.nan, math.nan, 0] if estimate is None else estimate[:4]
    return dict(zip(NUMBERS, numbers)) | {"note": note}


def estimate_of(row: Mapping) -> Estimate | None:
    """Return the estimate of a row of these tables, or None where it has no number."""
    return Estimate(row["value"], row["low"], row["high"], int(row["n"])) if np.isfinite(row["value"]) else None
