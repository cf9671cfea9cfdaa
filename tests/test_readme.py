"""What the README promises about this tree, and what the tree promises about itself."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from memo.commands import documents
from memo.config import Config, flatten
from memo.errors import Refusal
from memo.probes import PROBES
from memo.reporting import claims, results
from memo.reporting.claims import Claim, Sentence, judge
from memo.statistics.intervals import Estimate
from tests import builders

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "results"
HEADLINE = RESULTS / results.best(results.Experiment("headline", "", ""), RESULTS).folder  # where verdicts are from
LARGEST = 5e6  # bytes, of what is committed of an experiment


@pytest.mark.parametrize(
    "command",
    [
        "python -m pip install -e . && python -m experiments.headline",
    ],
)
def test_readme_has_its_commands(command):
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert any(command in block.splitlines() for block in blocks)


PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def headings(page):
    lines = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES)
def test_links_of_the_documents_exist(page):
    # What stands in code is no link.
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"\w+:", target):
            continue
        file, _, heading = target.partition("#")
        aim = (ROOT / page).parent / file if file else ROOT / page
        assert aim.exists(), target
        assert not heading or heading in headings(aim), target


def test_the_readme_links_to_every_page():
    assert [page for page in PAGES if page != "README.md" and f"({page})" not in README] == []
    assert f"({HEADLINE.relative_to(ROOT)}/figures/summary.png)" in README


def test_images_of_the_readme_have_a_description():
    assert all(description for description in re.findall(r"!\[([^\]]*)\]", README))


def test_generated_documents_are_those_of_the_code_and_of_the_committed_results():
    # python -m memo.commands.documents writes them again.
    assert (ROOT / "docs" / "keys.md").read_text() == documents.keys()
    assert documents.replaced(README, documents.parts(RESULTS)) == README


def test_the_finding_is_recomputed_from_the_committed_networks():
    networks = pd.read_csv(HEADLINE / "tables" / "networks.csv").query("arm == 'sweep' and width == 512")
    rows = dict(
        re.findall(
            r"^\| (accuracy on test images|mean confidence on uniform noise) \| (.*?) \|  \|$", README, re.MULTILINE
        )
    )
    assert len(rows) == 2
    for words, column in (
        ("accuracy on test images", "final_test_accuracy"),
        ("mean confidence on uniform noise", "confidence_uniform"),
    ):
        means = networks.groupby("labels")[column].mean()
        assert [float(number) for number in rows[words].split(" | ")] == pytest.approx(
            [means["true"], means["shuffled"]], abs=6e-4
        )


def test_the_table_of_experiments_has_each_that_is_committed():
    rows = re.findall(r"^\| .*`python -m experiments\.(\w+)`", README, re.MULTILINE)
    judged = {path.parent.name for path in RESULTS.glob("*/claims.csv") if len(claims.read(path))}
    assert sorted(rows) == sorted(judged)
    assert rows[0] == "headline"


def test_a_document_without_its_marks_is_refused():
    assert documents.replaced("a <!-- x -->old<!-- end of x --> b", {"x": "new"}) == (
        "a <!-- x -->\n\nnew\n\n<!-- end of x --> b"
    )
    with pytest.raises(Refusal, match="marks no part <!-- x -->"):
        documents.replaced("a <!-- x -->old", {"x": "new"})


def test_every_key_is_documented():
    table = (ROOT / "docs" / "keys.md").read_text()
    named = set(re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE))
    assert set(flatten(Config())) | {"seed", "seeds", "probes", "plan", "tracking.to", "execution.cores"} <= named
    (probes,) = (row for row in table.splitlines() if row.startswith("| `probes`"))
    assert all(probe in probes for probe in PROBES)


@pytest.mark.slow
def test_the_python_of_the_readme_runs():
    (block,) = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    done = builders.python("-c", block, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sorted((kind, int(seed)) for kind, seed, *_ in lines) == sorted(
        (kind, seed) for kind in ("true", "shuffled") for seed in range(5)
    )
    by_kind = {kind: [float(line[-1]) for line in lines if line[0] == kind] for kind in ("true", "shuffled")}
    assert min(by_kind["true"]) > 0.5 > max(by_kind["shuffled"])


def test_readme_has_no_gaps():
    assert not re.search(r"\b(FINDINGS|TODO|FIXME|XXX)\b", README)


def test_committed_verdicts_follow_from_the_numbers_beside_them():
    table = claims.read(HEADLINE / "claims.csv")
    told = table[~table["verdict"].isin([claims.CONTROL, claims.NOT_YET_MEASURED])]
    assert len(told) > 20
    for row in told.itertuples():
        direction = None if math.isnan(row.direction_low) else (row.direction_low, row.direction_high)
        sentence = Sentence(row.sentence, row.source, row.statement)
        claim = Claim(row.claim, sentence, row.quantity, (row.accept_low, row.accept_high), direction, unit=row.unit)
        assert claim.expected == row.expected
        estimate = None if pd.isna(row.n) else Estimate(row.measured, row.low, row.high, int(row.n))
        assert row.verdict == judge(claim, estimate), row.claim


def test_committed_report_shows_every_committed_claim():
    page = (HEADLINE / "report.html").read_text()
    for claim in claims.read(HEADLINE / "claims.csv")["claim"]:
        assert page.count(f'id="claim-{claim}"') == 1


def committed(folder):
    """Return the bytes of the files below a folder of results, but of run folders and Hydra's records (.gitignore)."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files if not {"runs", ".hydra"} & set(path.relative_to(folder).parts))


def test_results_stay_small():
    sizes = [committed(ledger.parent) for ledger in RESULTS.rglob("claims.csv")]
    assert sizes and max(sizes) < LARGEST
    # At `reference` run folders are committed too.
    for runs in (RESULTS / "reference").glob("*/runs"):
        assert committed(runs) < 2 * LARGEST
    # The suite's page has the figures of all experiments once more.
    assert sum(path.stat().st_size for path in RESULTS.iterdir() if path.is_file()) < LARGEST / 2 * len(sizes)
