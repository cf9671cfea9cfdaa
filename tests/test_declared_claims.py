"""Declared claims: what claims.yaml may say, how it is answered, and how a sentence is judged from its claims."""

import itertools
from pathlib import Path

import pandas as pd
import pytest

from memo.errors import Refusal
from memo.reporting import chapter, claims, declarations, sentences
from memo.reporting.answers import Answers
from memo.statistics.intervals import Estimate

ROOT = Path(__file__).resolve().parent.parent
DECLARED = """
sentences:
  - id: slower
    source: zhang2017
    statement: Random labels take
      only a small factor longer.
    claims:
      - id: factor-{time}-{width}
        quantity: epochs to {time} %, shuffled / true
        over: {time: [90, 99], width: {16: 16 units, 64: 64 units}}
        condition: "{width}"
        accept: [0, 5]
        direction: [-.inf, 10]
        basis: ours
        figure: shapes
      - id: enough
        quantity: share of networks that had time
        accept: [0.5, 1]
        basis: half of the networks
        control: true
  - id: grows
    source: own
    statement: The factor grows with n.
    claims:
      - id: exponent
        quantity: exponent in n
        accept: [0.2, .inf]
        basis: ours
        awaits: 1,000 to 60,000 images
changes:
  - {claim: enough, was: "1", now: 0.5 to 1, reason: it could not fail}
"""
HALF = Estimate(0.5, 0.25, 0.75, 5)


@pytest.fixture
def declared(tmp_path):
    (tmp_path / "claims.yaml").write_text(DECLARED)
    return declarations.read(tmp_path / "claims.yaml")


def answered(declared, leave_out=()):
    answers = Answers(declared, images=3000)
    for time, width in itertools.product((90, 99), (16, 64)):
        if (time, width) not in leave_out:
            answers.give("factor-{time}-{width}", (Estimate(4, 3, 4.5, 5), ""), time=time, width=width)
    answers.give("enough", (HALF, ""))
    return answers


def test_templates_become_one_claim_per_combination(declared):
    frame = answered(declared).ledger("quick").set_index("claim")
    assert list(frame.index) == ["factor-90-16", "factor-90-64", "factor-99-16", "factor-99-64", "enough", "exponent"]
    row = frame.loc["factor-90-64"]
    assert row["quantity"] == "epochs to 90 %, shuffled / true, 64 units" and row["condition"] == "64 units"
    assert row["source"] == "Zhang et al. 2017" and row["statement"] == "Random labels take only a small factor longer."
    assert (row["accept_high"], row["direction_high"], row["images"], row["scale"]) == (5, 10, 3000, "quick")
    assert list(frame["verdict"]) == ["reproduced"] * 4 + ["control", "not yet measured"]
    assert frame.loc["exponent", "note"] == "1,000 to 60,000 images"
    assert declared.changes[0]["claim"] == "enough"


def test_a_claim_has_the_images_of_its_networks(declared):
    answers = answered(declared, leave_out=[(90, 16), (99, 64)])
    answers.trained_on(pd.DataFrame({"images": [100, 500]}))
    answers.give("factor-{time}-{width}", (HALF, ""), time=90, width=16)
    answers.give("factor-{time}-{width}", (HALF, ""), 700, time=99, width=64)
    images = answers.ledger("quick").set_index("claim")["images"]
    assert images[["factor-90-16", "factor-90-64", "factor-99-64"]].tolist() == [500, 3000, 700]


def test_a_claim_without_an_answer_has_no_number_of_images(declared):
    answers = Answers(declared, 3000)
    answers.conditions(width=[16])
    answers.trained_on(pd.DataFrame({"images": [100]}))
    answers.give("factor-{time}-{width}", (None, "no seed has a value"), time=90, width=16)
    answers.give("factor-{time}-{width}", (None, "no seed has a value"), 700, time=99, width=16)
    answers.trained_on(pd.DataFrame({"images": []}))  # of no network, and not of those before
    answers.give("enough", (HALF, ""))
    frame = answers.ledger("quick")
    assert set(frame["claim"]) == {"factor-90-16", "factor-90-64", "factor-99-16", "factor-99-64", "enough", "exponent"}
    assert frame["images"].isna().all()


def test_a_forgotten_claim_fails_the_ledger(declared):
    with pytest.raises(ValueError, match=r"without an answer: factor-99-16\."):
        answered(declared, [(99, 16)]).ledger("standard")


def test_conditions_that_a_run_lacks_wait_and_those_it_adds_are_marked(declared):
    answers = Answers(declared, 100)
    answers.conditions(width=[16, 32], time=[90, 99])
    for time, width in itertools.product((90, 99), (16, 32)):
        answers.give("factor-{time}-{width}", (HALF, ""), time=time, width=width)
    answers.give("enough", (None, "no network"))
    frame = answers.ledger("standard").set_index("claim")
    assert frame.loc["factor-90-64", "verdict"] == "not yet measured"
    assert frame.loc["factor-90-64", "note"] == "this run does not have width 64"
    assert frame.loc["factor-90-32", "note"] == "this condition was not declared before the run"
    assert frame.loc["factor-90-32", "condition"] == "32"
    assert frame.loc["enough", "verdict"] == "not applicable"


def test_a_template_that_is_never_answered_waits_for_what_the_run_lacks(declared):
    answers = Answers(declared, 100)
    answers.give("enough", (HALF, ""))
    answers.conditions(width=[32], time=[90, 99])
    frame = answers.ledger("quick").set_index("claim")
    assert frame.loc["factor-99-64", ["verdict", "note"]].tolist() == [
        "not yet measured",
        "this run does not have width 64",
    ]
    answers.conditions(width=[16])
    with pytest.raises(ValueError, match=r"without an answer: factor-90-16, factor-99-16\."):
        answers.ledger("quick")


def test_conditions_hold_for_the_claims_answered_after_them(declared):
    answers = Answers(declared, 100)
    answers.conditions(width=[64], time=[90, 99])
    for time in (90, 99):
        answers.give("factor-{time}-{width}", (HALF, ""), time=time, width=64)
    answers.conditions(width=[1, 2, 3])
    answers.give("enough", (HALF, ""))
    frame = answers.ledger("quick").set_index("claim")
    assert frame.loc["factor-90-16", "note"] == "this run does not have width 16"


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [
        ("factors", {}, "No claim 'factors' is declared"),
        ("factor-{time}-{width}", {"time": 90}, "declared over"),
        ("factor-{time}-{width}", {"time": 95, "width": 16}, "neither declared nor of this run"),
        ("enough", {}, "answered twice"),
    ],
)
def test_answers_to_what_was_not_asked_are_refused(declared, template, values, message):
    with pytest.raises(ValueError, match=message):
        answered(declared).give(template, (HALF, ""), **values)


def test_the_run_that_a_claim_awaits_answers_it(declared):
    before, after = answered(declared), answered(declared)
    after.give("exponent", (HALF, ""))
    waiting, given = (each.ledger("quick").set_index("claim").loc["exponent"] for each in (before, after))
    assert waiting["verdict"] == claims.NOT_YET_MEASURED != given["verdict"]
    assert given["measured"] == HALF.value


def test_answers_are_read_by_id(declared):
    answers = answered(declared)
    assert answers["enough"] == HALF and "exponent" not in answers
    assert answers.verdict("factor-90-16") == "reproduced"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source: own", "source: nobody2020", "source nobody2020"),
        ("quantity: exponent in n", "quantities: exponent in n", "unknown key quantities"),
        ("        basis: half of the networks\n", "", "lacks basis"),
        ("accept: [0.5, 1]", "accept: [1, 0.5]", "low end comes first"),
        ("direction: [-.inf, 10]", "direction: [1, 10]", "does not contain"),
        ("id: exponent", "id: enough", "stand twice"),
        ("id: grows", "id: slower", "stand twice"),
        ('condition: "{width}"', 'condition: "{widths}"', "in `over`"),
        ("id: factor-{time}-{width}", "id: factor-{time}", "in `over`"),
        ("sentences:", "sentence:", "unknown key sentence"),
    ],
)
def test_declarations_that_cannot_be_meant_are_refused(tmp_path, old, new, message):
    assert DECLARED.count(old) == 1
    (tmp_path / "claims.yaml").write_text(DECLARED.replace(old, new))
    with pytest.raises(Refusal, match=message):
        declarations.read(tmp_path / "claims.yaml")


def judged_by_the_rule(verdicts):
    """The rule as its docstring has it, written out by counting."""
    tests = [verdict for verdict in verdicts if verdict in claims.TESTS]
    positive = tests.count("reproduced") + tests.count("direction only")
    if not tests:
        return "not tested"
    if tests.count("reproduced") == len(tests):
        return "holds"
    if tests.count("undecided") == len(tests):
        return "undecided"
    return "does not hold" if positive == 0 else "holds in part"


def test_sentences_are_judged_by_the_rule_for_every_combination():
    found = set()
    for verdicts in itertools.product(claims.VERDICTS, repeat=3):
        verdict = sentences.judge(pd.Series(verdicts))
        assert verdict == judged_by_the_rule(verdicts), verdicts
        found.add(verdict)
    assert found == set(sentences.VERDICTS)


def test_sentences_table_counts_the_claims_of_each(declared):
    table = sentences.table(answered(declared).ledger("standard")).set_index("sentence")
    assert list(table["verdict"]) == ["holds", "not tested"]
    assert list(table["kind"]) == ["paper", "own"]
    assert table.loc["slower", ["reproduced", "control"]].tolist() == [4, 1]


@pytest.mark.parametrize(
    ("estimate", "word"),
    [
        (Estimate(1, 0.5, 1.5, 5), "grows"),
        (Estimate(-1, -1.5, -0.5, 5), "falls"),
        (Estimate(1, -0.5, 1.5, 5), "does not change detectably"),
        (Estimate(1, float("nan"), float("nan"), 1), "does not change detectably"),
        (None, "does not change detectably"),
    ],
)
def test_the_word_for_a_trend_is_chosen_by_its_interval(estimate, word):
    assert chapter.trend(estimate, "grows", "falls", "does not change detectably") == word


def test_texts_of_a_chapter(tmp_path, monkeypatch):
    folder = tmp_path / "chaptered" / "text"
    folder.mkdir(parents=True)
    (tmp_path / "chaptered" / "__init__.py").write_text("")
    (folder / "noise.j2").write_text(
        "{% block sure_title %}Sure{% endblock %}{% block sure_alt %}x{% endblock %}"
        "{% block sure_caption %}It {{ change | trend('grows', 'falls', 'stays') }}\n"
        "  for {{ 2 | counted('network') }}: {{ change | interval }}; {{ 0.25 | percent }}, {{ names | joined }}.{% endblock %}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = chapter.Text("chaptered", "noise")
    figure = text.figure("figures/sure.svg", change=Estimate(1, 0.5, 1.5, 5), names=["a", "b", "c"])
    assert figure.caption == "It grows for 2 networks: 1.000 [0.500, 1.500] (n = 5); 25 %, a, b and c."
    assert (figure.file, figure.title, figure.alt) == ("figures/sure.svg", "Sure", "x")
    with pytest.raises(Exception, match="names"):
        text.figure("figures/sure.svg", change=None)
    with pytest.raises(KeyError):
        text.block("absent")


@pytest.mark.parametrize(("count", "words"), [(0, "no networks"), (1, "1 network"), (3000, "3,000 networks")])
def test_nouns_are_counted(count, words):
    assert chapter.counted(count, "network") == words


def test_tables_of_networks_are_joined_by_trial_arm_and_seed():
    base = pd.DataFrame({"trial": ["a", "b"], "arm": ["x", "y"], "seed": [0, 0], "status": ["completed", "diverged"]})
    left = pd.DataFrame({"trial": ["a"], "arm": ["x"], "seed": [0], "slope": [1.5]})
    right = pd.DataFrame({"trial": ["b"], "arm": ["y"], "seed": [0], "slope": [2.5]})
    joint = chapter.networks([base, left, right])
    assert joint["slope"].tolist() == [1.5, 2.5] and joint["status"].tolist() == ["completed", "diverged"]
    with pytest.raises(ValueError, match="slope"):
        chapter.networks([base, left, left.assign(slope=2.0)])
    with pytest.raises(ValueError, match="one row per trial"):
        chapter.networks([pd.concat([left, left])])


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("experiments/*/text/*.j2")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_prose_is_a_valid_template(path):
    assert chapter.Text(f"experiments.{path.parts[-3]}", path.stem).blocks or path.stem == "macros"
