"""Claims: every verdict against its definition on a grid, the ledger, the CSV."""

import dataclasses
import itertools
import math

import pandas as pd
import pytest

from memo.errors import Refusal
from memo.reporting import claims
from memo.reporting.claims import judge, write
from memo.statistics.intervals import Estimate
from tests import ledgers
from tests.ledgers import ledger

INF = math.inf
RANK = {"not reproduced": 0, "undecided": 1, "direction only": 2, "reproduced": 3}


def claim(accept=(2, INF), direction=None, name="a-claim", **others):
    return ledgers.claim(name, accept, direction, **others)


def estimate(low, high, n=5):
    value = low if math.isinf(high) else high if math.isinf(low) else (low + high) / 2
    return Estimate(value, low, high, n)


def ranges():
    ends = (-INF, -2, 0, 1, 3, INF)
    return [pair for pair in itertools.combinations_with_replacement(ends, 2) if any(map(math.isfinite, pair))]


def grid():
    """Every valid claim whose ends come from `ranges`."""
    for accept, direction in itertools.product(ranges(), [None, *ranges()]):
        if direction is None or direction[0] <= accept[0] and accept[1] <= direction[1]:
            yield claim(accept, direction)


# Halves and integers around every end of a range, so that intervals touch, straddle and miss them.
MARKS = [-INF, *(half / 2 for half in range(-6, 9)), INF]
INTERVALS = [pair for pair in itertools.combinations_with_replacement(MARKS, 2) if any(map(math.isfinite, pair))]


def test_verdict_is_its_definition_on_a_grid():
    """One and only one definition holds for each interval, spelled out on the points that the interval holds."""
    seen = set()
    for each in grid():
        for low, high in INTERVALS:
            points = [mark for mark in MARKS if low <= mark <= high]

            # An end of the direction counts only where accept has it too.
            excluded = {end for end in each.direction or () if end not in each.accept and math.isfinite(end)}

            def within(bounds, points=points):
                return [bounds is not None and bounds[0] <= point <= bounds[1] for point in points]

            accepted = within(each.accept)
            directed = [
                inside and point not in excluded for inside, point in zip(within(each.direction), points, strict=True)
            ]
            reproduced = all(accepted)
            direction_only = all(directed) and not reproduced
            not_reproduced = not any(accepted) and not any(directed)
            undecided = not (reproduced or direction_only or not_reproduced)
            truth = {
                "reproduced": reproduced,
                "direction only": direction_only,
                "not reproduced": not_reproduced,
                "undecided": undecided,
            }
            assert sum(truth.values()) == 1
            verdict = judge(each, estimate(low, high))
            assert truth[verdict], (each.accept, each.direction, low, high, verdict)
            seen.add(verdict)
    assert seen == set(RANK)


def test_a_narrower_interval_never_overturns_a_verdict():
    """Inside an interval that decided, every smaller one decides the same or, from direction only, more."""
    for each in itertools.islice(grid(), 0, None, 3):
        verdicts = {pair: judge(each, estimate(*pair)) for pair in INTERVALS}
        for (low, high), verdict in verdicts.items():
            inner = {v for (a, b), v in verdicts.items() if low <= a and b <= high}
            if verdict in ("reproduced", "not reproduced"):
                assert inner == {verdict}
            elif verdict == "direction only":
                assert inner <= {"direction only", "reproduced"}


def test_verdict_rises_as_the_interval_moves_towards_a_one_sided_claim():
    for direction in (None, (1, INF), (2, INF)):
        each = claim((2, INF), direction)
        for width in (0, 0.25, 1, 3):
            ranks = [RANK[judge(each, estimate(low / 8, low / 8 + width))] for low in range(-40, 41)]
            assert ranks == sorted(ranks) and ranks[0] == 0 and ranks[-1] == 3


@pytest.mark.parametrize(
    ("accept", "direction", "low", "high", "verdict"),
    [
        ((2, INF), None, 2, 3, "reproduced"),
        ((2, INF), None, 3, INF, "reproduced"),
        ((2, INF), (1, INF), 1.5, INF, "direction only"),
        ((2, INF), None, 1.5, INF, "undecided"),
        ((0.09, 0.11), None, 0.1, INF, "undecided"),
        ((0.09, 0.11), None, 0.2, INF, "not reproduced"),
        ((-INF, 5), None, 6, INF, "not reproduced"),
        ((2, INF), (1, INF), 1.0, 2.5, "undecided"),
        ((2, INF), (1, INF), 1.01, 2.5, "direction only"),
        ((0.9, 1), (0.5, 1), 0.6, 1, "direction only"),
        ((0.9, 1), (0.5, 1), 0.2, 0.5, "not reproduced"),
        ((2, INF), (1, INF), 0.9, 1.5, "undecided"),
        ((2, INF), (1, INF), 0.2, 0.99, "not reproduced"),
        ((2, INF), None, 0.2, 1.99, "not reproduced"),
        ((2, INF), None, 0.2, 2, "undecided"),
        ((0, 0), None, 0, 0, "reproduced"),
    ],
)
def test_known_verdicts(accept, direction, low, high, verdict):
    assert judge(claim(accept, direction), estimate(low, high)) == verdict


def test_one_seed_or_nan_decides_nothing():
    assert judge(claim((0, INF)), Estimate(5.0, math.nan, math.nan, 1)) == "undecided"
    for numbers in itertools.product((3.0, math.nan), repeat=3):
        expected = "undecided" if any(map(math.isnan, numbers)) else "reproduced"
        assert judge(claim((0, INF)), Estimate(*numbers, 5)) == expected


def test_nothing_measured_is_not_applicable():
    assert judge(claim(), None) == "not applicable"


def test_judge_refuses_a_reversed_interval():
    with pytest.raises(ValueError, match="low end"):
        judge(claim(), Estimate(2, 3, 1, 5))


@pytest.mark.parametrize(
    ("accept", "direction", "message"),
    [
        ((2, 1), None, "accept runs"),
        ((math.nan, 1), None, "accept runs"),
        ((2, 3), (4, 1), "direction runs"),
        ((-INF, INF), None, "finite end"),
        ((INF, INF), None, "finite end"),
        ((2, INF), (-INF, INF), "finite end"),
        ((2, INF), (3, INF), "does not contain"),
        ((2, 5), (1, 4), "does not contain"),
    ],
)
def test_claim_refuses_ranges_that_cannot_decide(accept, direction, message):
    with pytest.raises(ValueError, match=f"^Claim a-claim: .*{message}.*\\.$"):
        claim(accept, direction)


def test_claim_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        claim().accept = (0, 1)


@pytest.mark.parametrize(
    ("accept", "direction", "unit", "text"),
    [
        ((2, INF), None, "", ">= 2"),
        ((-INF, 0.05), None, "", "<= 0.05"),
        ((0.09, 0.11), None, "", "0.09 to 0.11"),
        ((1, 1), None, "", "1"),
        ((93.6, 95.6), (90, INF), "%", "93.6 to 95.6 % (direction: > 90 %)"),
        ((100_000, INF), (1.5, INF), "steps", ">= 100000 steps (direction: > 1.5 steps)"),
    ],
)
def test_expected_is_read_off_the_ranges(accept, direction, unit, text):
    assert claim(accept, direction, unit=unit).expected == text


def rows():
    return [
        (claim(name="holds", figure="ratio.svg"), Estimate(3.14159265, 2.5, 4.0, 5)),
        (claim(name="bound", direction=(1, INF), unit="times"), Estimate(3, 3, INF, 4), "never reached in the budget"),
        (claim(name="one"), Estimate(5.0, math.nan, math.nan, 1)),
        (claim(name="absent", statement='Text with a comma, a "quote" and é.'), None, "needs a GPU"),
    ]


def test_ledger_columns_and_verdicts():
    frame = ledger(rows())
    assert list(frame.columns) == list(claims.COLUMNS)
    assert list(frame["verdict"]) == ["reproduced", "undecided", "undecided", "not applicable"]  # n = 4 is too few
    assert list(frame["n"])[:3] == [5, 4, 1] and frame["n"].isna()[3]
    assert frame.loc[3, ["measured", "low", "high"]].isna().all()
    assert list(frame["accept_low"]) == [2] * 4 and list(frame["direction_high"])[1] == INF
    assert list(frame["images"]) == [1000] * 4
    assert frame.loc[0, "expected"] == ">= 2" and frame.loc[0, "figure"] == "ratio.svg"


def test_empty_ledger_keeps_its_columns():
    assert list(claims.empty().columns) == list(ledger(rows()).columns) and len(claims.empty()) == 0


def test_a_row_without_an_estimate_says_why():
    with pytest.raises(ValueError, match="no estimate and no note"):
        ledger([(claim(), None)])


def test_a_control_is_no_reproduction_and_keeps_its_judgement():
    frame = ledger([(claim(control=True), Estimate(3, 2.5, 4, 5)), (claim(name="b", control=True), None, "not run")])
    assert list(frame["verdict"]) == ["control", "not applicable"]
    assert list(frame["judged"]) == ["reproduced", "not applicable"]


def test_what_is_written_is_read_back(tmp_path):
    frame, path = ledger(rows()), tmp_path / "new" / "claims.csv"
    write(frame, path)
    pd.testing.assert_frame_equal(claims.read(path), frame, rtol=1e-5, check_dtype=True)
    text = path.read_bytes()
    assert b"\r" not in text and b",3.14159," in text and text.endswith(b"\n")
    assert [each.name for each in path.parent.iterdir()] == ["claims.csv"]
    write(claims.empty(), path)
    assert claims.read(path).empty


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    path = tmp_path / "claims.csv"
    write(ledger(rows()), path)
    before = path.read_bytes()

    class Torn(pd.DataFrame):
        def to_csv(self, target, **options):
            target.write_text("half a tab")
            raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError):
        write(Torn(ledger(rows())), path)
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["claims.csv"]


def test_write_names_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="cannot be written"):
        write(ledger(rows()), tmp_path / "file" / "claims.csv")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: "", "cannot be read"),
        (lambda text: text.replace("verdict", "opinion"), "lacks columns.*verdict"),
        (lambda text: text.replace("reproduced", "proven"), "'proven'"),
        (lambda text: text.replace("0.25", "about a quarter"), "cannot be read"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused(tmp_path, spoil, reason):
    path = tmp_path / "claims.csv"
    claims.write(ledger([(claim((0, 1)), ledgers.HALF)]), path)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(Refusal, match=reason):
        claims.read(path)


def test_a_ledger_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"claims\.csv cannot be read"):
        claims.read(tmp_path / "claims.csv")
