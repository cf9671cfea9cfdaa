"""What the README promises about this tree, and what the tree promises about itself."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from memo.config import Config, flatten
from memo.probes import PROBES
from memo.reporting.claims import Claim, judge
from memo.statistics.intervals import Estimate

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "results"
HEADLINE = RESULTS / "headline"
COMMITTED = 30e6  # bytes


@pytest.mark.parametrize(
    "command",
    [
        "python -m pip install -e . && python -m experiments.headline",
        "python -m pip install -e '.[test]' && python -m pytest",
    ],
)
def test_readme_has_its_commands(command):
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert any(command in block.splitlines() for block in blocks)


def test_links_of_the_readme_exist():
    # Targets in parentheses and in tags; what stands in code is none.
    prose = re.sub(r"```.*?```|`[^`]*`", "", README, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r"(?:src|href)=\"([^\"]+)\"", prose)
    relative = [target.split("#")[0] for target in targets if not re.match(r"\w+:|#", target)]
    assert "results/headline/figures/summary.png" in relative
    assert "results/headline/report.html" in relative
    assert [target for target in relative if not (ROOT / target).exists()] == []


def test_images_of_the_readme_have_a_description():
    assert all(description for description in re.findall(r"!\[([^\]]*)\]", README))


def test_findings_stand_in_the_readme_word_for_word():
    lines = (HEADLINE / "findings.md").read_text().splitlines()
    assert lines
    assert [line for line in lines if line not in README.splitlines()] == []


def test_the_table_of_experiments_has_each_of_them_and_a_number_of_its_findings():
    rows = re.findall(r"^\| .*`python -m experiments\.(\w+)`.*$", README, re.MULTILINE)
    assert {*rows, "headline"} == {path.parent.name for path in RESULTS.glob("*/findings.md")}
    for row in README.splitlines():
        for name in re.findall(r"^\| .*`python -m experiments\.(\w+)`", row):
            findings = (RESULTS / name / "findings.md").read_text()
            numbers = re.findall(r"[\d.]+ \[[^\]]+, [^\]]+\](?!\()", row)
            assert numbers and all(number in findings for number in numbers), row


def test_every_key_of_a_configuration_is_in_the_readme():
    rows = [row.split(" | ")[0] for row in README.splitlines() if row.startswith("| `")]
    named = set()
    for row in rows:
        group = ""
        for name in re.findall(r"`([a-z_.]+)`", row):
            # `.decay` belongs to the group of the key before it.
            group = group if name.startswith(".") else name.rpartition(".")[0]
            named.add(group + name if name.startswith(".") else name)
    assert set(flatten(Config())) <= named
    (probes,) = (row for row in README.splitlines() if row.startswith("| `probes`"))
    assert set(PROBES) <= set(re.findall(r"`(\w+)`", probes))


def test_readme_has_no_gaps():
    assert not re.search(r"\b(FINDINGS|TODO|FIXME|XXX)\b", README)


def bounds(text):
    """Return the range that an `expected` such as ">= 2" or "0.09 to 0.11" stands for."""
    if text.startswith(">= "):
        return float(text[3:]), math.inf
    if text.startswith("<= "):
        return -math.inf, float(text[3:])
    low, _, high = text.partition(" to ")
    return float(low), float(high or low)


def read_claim(row):
    accept, _, direction = row.expected.removesuffix(")").partition(" (direction: ")
    return Claim(
        row.claim, row.source, row.statement, row.quantity, bounds(accept), bounds(direction) if direction else None
    )


def test_committed_verdicts_follow_from_the_numbers_beside_them():
    table = pd.read_csv(
        HEADLINE / "claims.csv", keep_default_na=False, na_values={"measured": "", "low": "", "high": "", "n": ""}
    )
    assert len(table) > 0
    for row in table.itertuples():
        claim = read_claim(row)
        assert claim.expected == row.expected
        estimate = None if math.isnan(row.n) else Estimate(row.measured, row.low, row.high, int(row.n))
        assert row.verdict == judge(claim, estimate), row.claim


def test_committed_report_shows_every_committed_claim():
    page = (HEADLINE / "report.html").read_text()
    for claim in pd.read_csv(HEADLINE / "claims.csv")["claim"]:
        assert page.count(f'id="claim-{claim}"') == 1


def test_results_stay_small():
    # As .gitignore has it: run folders and Hydra's records are not committed.
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    committed = [path for path in files if not {"runs", ".hydra"} & set(path.relative_to(RESULTS).parts)]
    assert committed
    assert sum(path.stat().st_size for path in committed) < COMMITTED
