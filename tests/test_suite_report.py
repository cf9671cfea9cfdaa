import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.report import main
from memo.commands import documents
from memo.reporting import claims, report, results, suite_report, view
from memo.reporting.report import Figure, Report
from memo.reporting.results import COMPLETE, HALF, MISSING, Experiment
from memo.statistics.intervals import Estimate
from tests import ledgers
from tests.ledgers import claim, ledger
from tests.test_report import SESSION, Page

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python -m experiments.report"
ZHANG = "Zhang et al. 2017"
DRAWN = {"finished": "2026-01-02T04:00:00+00:00", "seconds": 130.0, "processor": "Some one", "git": None}
NAMES = ("headline", "digits", "half", "missing", "speed")


def experiment(name):
    return Experiment(name, f"What of {name} & all?", "about 3 minutes")


def claims_of(name):
    """Return a claim for each verdict, on a sentence of a source that all experiments share and on one of their own."""
    texts = {
        "statement": "Networks <fit> labels.",
        "sentence": "fits",
        "quantity": "accuracy | all",
        "accept": (0.5, 1),
    }
    for width, estimate in (
        ("16", Estimate(0.2, 0.1, 0.3, 5)),
        ("64", Estimate(0.9, 0.8, 1.0, 5)),
        ("256", Estimate(0.5, 0.4, 0.6, 5)),
    ):
        yield claim(f"fits-{width}", condition=f"width {width}", figure="curves", **texts), estimate, "", ZHANG
    own = {"statement": f"{name} is slow.", "sentence": "slow", "quantity": "ratio"}
    yield claim("slow", (4, np.inf), (1, np.inf), figure="strip", **own), Estimate(3, 2.5, np.inf, 5), "", "this suite"
    yield claim("none", (4, 5), **own), None, "no network is there", "this suite"


def draw(folder):
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "figures" / "curves.svg").write_text(
        '<svg width="720pt" height="300pt" xmlns="http://www.w3.org/2000/svg"><path d="M 0 0 L 720 300"/></svg>'
    )
    (folder / "figures" / "strip.png").write_bytes(b"\x89PNG")


def make(folder, name, inputs=(), session=SESSION, scale="standard"):
    """Write the results of an experiment as `memo.commands.experiment` does."""
    draw(folder)
    made = Report(
        title=f"Title of {name}",
        in_short={"fits": f"Networks of {name} fit."},
        scale=scale,
        question="?",
        findings=[f"<b>Finding.</b> Of {name}.", "Another."],
        ledger=ledger(claims_of(name)),
        figures=[
            Figure("figures/strip.png", "Strip", "A strip, <b>seen</b>.", f'The "strip" of {name}.'),
            Figure("figures/curves.svg", "Curves", "They rise.", f"Curves of {name}."),
        ],
        methods=["Said by all.", f"Only by {name}."],
        not_shown=[f"What {name} left out."],
        summary=Figure("figures/curves.svg", "In short", "All of it.", "The finding."),
    )
    report.write(made, folder, [session], f"python -m experiments.{name}", DRAWN, inputs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of every state."""
    folder = tmp_path_factory.mktemp("results")
    for name in ("headline", "digits"):
        make(folder / name, name)
    draw(folder / "speed")
    figures = [Figure("figures/curves.svg", "Throughput", "The caption.", "Examples a second")]
    speed = Report("Speed", "?", ["Fast <b>enough</b>."], claims.empty(), figures, [], [])
    report.write(speed, folder / "speed", [], "python -m experiments.speed")
    (folder / "half" / "runs" / "one").mkdir(parents=True)
    (folder / "half" / "runs" / "one" / "done.json").write_text("{}")
    (folder / "missing").mkdir()
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return {name: results.read(experiment(name), folder / name) for name in NAMES}


@pytest.fixture(scope="module")
def written(folder, found):
    suite_report.write(list(found.values()), folder, COMMAND)
    return folder


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "report.html").read_text())


def rows_of(html):
    return re.findall(r'<tr class="claim"[^>]*>', html)


def test_states(found):
    states = {name: result.state for name, result in found.items()}
    assert states == {
        "headline": COMPLETE,
        "digits": COMPLETE,
        "half": HALF,
        "missing": MISSING,
        "speed": COMPLETE,
    }
    assert all(bool(result.problems) == (result.state != COMPLETE) for result in found.values())


def test_run_folders_that_changed_since_are_said(tmp_path):
    marks = [tmp_path / "runs" / run / "done.json" for run in ("one", "two", "away")]
    for mark in marks:
        mark.parent.mkdir(parents=True)
        mark.write_text("{}")
    make(tmp_path, "headline", marks)
    marks[2].unlink()  # run folders are not committed
    assert results.read(experiment("headline"), tmp_path).state == COMPLETE
    marks[1].write_text('{"trials": 7}')
    found = results.read(experiment("headline"), tmp_path)
    assert found.state == HALF
    assert list(found.problems) == ["runs/two changed since the report was drawn; the same command draws it again."]


def test_a_result_is_what_was_written(found):
    result = found["headline"]
    pd.testing.assert_frame_equal(result.ledger, ledger(claims_of("headline")))
    assert (result.title, result.page) == ("Title of headline", "report.html")
    assert [figure.title for figure in result.figures] == ["Strip", "Curves"]
    assert result.summary.alt == "The finding."
    assert [session["networks"] for session in result.sessions] == [4]
    assert result.drawn == DRAWN


def test_an_experiment_without_claims_has_findings_and_figures(found):
    result = found["speed"]
    assert result.ledger.empty
    assert (result.title, result.page, result.findings) == ("Speed", "report.html", ["Fast <b>enough</b>."])
    assert [figure.caption for figure in result.figures] == ["The caption."]


def keep_lines(path, count):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: (folder / "claims.csv").write_text("claim\n"), "lacks columns"),
        (lambda folder: (folder / "claims.csv").write_bytes(b""), "cannot be read"),
        (lambda folder: (folder / "report.json").write_text("{"), "report.json cannot be read"),
        (lambda folder: (folder / "figures" / "strip.png").unlink(), "figures/strip.png is missing"),
        (lambda folder: (folder / "figures" / "curves.svg").unlink(), "figures/curves.svg is missing"),
        (
            lambda folder: claims.write(ledger(list(claims_of("x"))[1:]), folder / "claims.csv"),
            "not the one its report was written with",
        ),
        (lambda folder: keep_lines(folder / "claims.csv", 1), "not the one its report was written with"),
        (lambda folder: keep_lines(folder / "claims.csv", 2), "not the one its report was written with"),
    ],
)
def test_what_is_spoiled_is_named(folder, tmp_path, spoil, problem):
    shutil.copytree(folder / "headline", tmp_path / "headline")
    spoil(tmp_path / "headline")
    result = results.read(experiment("headline"), tmp_path / "headline")
    assert result.state == HALF
    assert problem in " ".join(result.problems)
    assert str(tmp_path) not in " ".join(result.problems)
    suite_report.write([result], tmp_path, COMMAND)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "Not complete" in text
        assert "python -m experiments.headline" in text


def test_every_claim_has_one_row(written, page):
    html = (written / "report.html").read_text()
    due = [(name, claim) for name in ("headline", "digits") for claim in _claims_in(written / name)]
    assert len(due) == 10
    assert len(rows_of(html)) == len(due)
    for name, one in due:
        assert page.ids.count(f"claim-{name}-{one}") == 1
    assert len(page.ids) == len(set(page.ids))


def _claims_in(folder):
    return pd.read_csv(folder / "claims.csv")["claim"].tolist()


def test_rows_say_what_claims_csv_says(written):
    html = (written / "report.html").read_text()
    for row in pd.read_csv(written / "digits" / "claims.csv", keep_default_na=False).itertuples():
        own = html.split(f'id="claim-digits-{row.claim}"')[1].split("</tr>")[0]
        assert f'data-verdict="{row.verdict}"' in own
        assert f">{row.verdict}</span>" in own
        assert ("n&nbsp;=&nbsp;5" in own) == (row.n == "5")
        assert (f'href="digits/report.html#{row.figure}"' in own) == bool(row.figure)
    assert "2.50 to ∞" in html
    assert '<a href="digits/report.html#curves">digits, curves</a>' in html


def test_claims_of_a_source_stand_together_across_experiments(written):
    html = (written / "report.html").read_text()
    assert html.count("<h3>Zhang et al. 2017</h3>") == 1
    one = html.split('<section class="of-source" id="source-zhang-et-al-2017">')[1].split("</section>")[0]
    assert len(rows_of(one)) == 6


def test_sentences_of_sources_are_counted_and_our_own_apart(page):
    # Each of two experiments: one of a source, of which one claim of three is reproduced; one of its own.
    assert "2 sentences of 1 source: 2 holds in part" in page.text
    assert "2 questions of our own: 2 holds in part" in page.text
    assert "Zhang et al. 2017 2 2" in page.text


def test_key_sentences_open_the_page_with_their_verdicts(written, page):
    opening = page.text.split("In short")[1].split("2 sentences of")[0]
    judged = "→ Zhang et al. 2017: Networks <fit> labels. holds in part"
    assert opening.split() == f"Networks of headline fit. {judged} Networks of digits fit. {judged}".split()
    markdown = (written / "report.md").read_text()
    judged = "→ [Zhang et al. 2017](#headline), *Networks &lt;fit&gt; labels*: **holds in part**."
    assert f"1. Networks of headline fit. {judged}" in markdown


def test_a_sentence_is_said_by_its_source_and_cut_to_a_line():
    own, long = {"statement": "Slow.", "sentence": "slow"}, {"statement": "Word " * 40, "sentence": "long"}
    rows = [(claim("a", **own), ledgers.HALF, "", "this suite"), (claim("b", **long), ledgers.HALF, "", ZHANG)]
    found = {each.id: each for each in view.of_ledger(ledger(rows))}
    assert (found["slow"].said_by, found["slow"].brief) == ("own question", "Slow")
    assert (found["long"].said_by, found["long"].brief) == (ZHANG, "Word " * 15 + "…")


def test_the_opening_takes_ten_sentences_the_first_of_each_experiment_before_its_second():
    every = [
        results.Result(experiment(name), in_short={str(place): f"{name}{place}" for place in range(4)})
        for name in "abcd"
    ]
    of = {
        result.name: view.of_ledger(
            ledger([(claim(str(place), statement=str(place)), ledgers.HALF) for place in range(4)]), result.name
        )
        for result in every
    }
    texts = [line["text"] for line in suite_report._opening(every, of)]
    assert texts == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "d0", "d1"]


def test_references_are_those_that_are_cited(written, page):
    assert "ref-zhang2017" in page.ids
    bibtex = (written / "references.bib").read_text()
    assert bibtex.count("@") == 1 and "zhang2017" in bibtex


def test_a_source_that_a_text_names_is_among_the_references():
    texts = ["Weight matching (Ainsworth\n et al.&nbsp;2023).", "Questions of this suite.", "Someone 2017"]
    assert view.cited([], texts) == ["ainsworth2023"]
    sentences = view.of_ledger(ledger([(claim("a", statement="a"), ledgers.HALF, "", ZHANG)]))
    assert view.cited(sentences, [*texts, ZHANG]) == ["zhang2017", "ainsworth2023"]


def test_what_is_not_complete_is_named_with_its_command(written, page):
    text = page.text.split("Experiments experiment question")[0]
    markdown = (written / "report.md").read_text().split("## Experiments")[0]
    for name, state in (("half", HALF), ("missing", MISSING)):
        assert f"{name} is {state}." in text
        assert f"**{name}** is {state}." in markdown
        for own in (text, markdown):
            assert f"python -m experiments.{name}" in own
    assert "1 run folder is finished" in text
    assert "headline is" not in text
    for name in NAMES:
        assert name in page.ids


def test_nothing_comes_from_outside(written, page):
    html = (written / "report.html").read_text()
    assert "<script src" not in html
    assert "@import" not in html
    assert "link" not in page.tags
    # Only links that a reader may follow, to the sources and to the experiments' own pages, lead elsewhere.
    below = [link for link in page.links if not link.startswith(("data:", "#", "https://"))]
    assert below and all((written / link.partition("#")[0]).is_file() for link in below)
    assert all(
        f'id="{place}"' in (written / own).read_text()
        for own, _, place in (link.partition("#") for link in below)
        if place
    )
    assert all(image["src"].startswith("data:") for image in page.images)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_every_picture_has_a_description(page):
    alts = [image["alt"] for image in page.images]
    assert all(alts)
    # The finding's, and the first of each experiment.
    assert alts == ["The finding.", 'The "strip" of headline.', 'The "strip" of digits.', "Examples a second"]
    wide = [image for image in page.images if image.get("width")]
    assert {(image["width"], image["height"]) for image in wide} == {("960", "400")}


def test_filters_are_hidden_until_a_script_shows_them(written):
    html = (written / "report.html").read_text()
    form = html.split('<form class="filters"')[1].split("</form>")[0]
    assert form.startswith(' id="filters" hidden>')
    assert re.findall(r'<select name="(\w+)">', form) == ["source", "experiment", "verdict"]
    options = re.findall(r"<option>([^<]+)</option>", form)
    assert options == [
        *("Zhang et al. 2017", "this suite"),
        *("headline", "digits"),
        *claims.VERDICTS,
    ]
    # Complete without scripts: no row waits for one.
    assert not any("hidden" in row for row in rows_of(html))


def test_texts(page):
    for text in (
        "Finding. Of headline.",
        "What of digits & all?",
        "A strip, seen .",
        "What digits left out.",
        "Only by headline.",
        "Times are those of the stored training sessions, by the code of that day",
        "4 networks trained in sessions of 1.2 s in all on 2 × cpu (Some <fast> one), analysed and drawn in 2.2 minutes.",
        "c98b32551b, changed",
        "headline, digits: python 3.11.7, jax 0.10.2; 2 × cpu (Some <fast> one).",
        "train-images-idx3-ubyte",
        "This page is redrawn by python -m experiments.report",
    ):
        assert text in page.text, text
    assert page.text.count("Said by all.") == 1
    assert not re.search(r"\bnan\b|\bNone\b|<NA>|Undefined", page.text)


def test_markdown_is_short_and_what_it_links_to_exists(written):
    text = (written / "report.md").read_text()
    for sentence in (
        "Networks &lt;fit&gt; labels. (Zhang et al. 2017): *holds in part*",
        "digits is slow. (ours",
    ):
        assert sentence in text
    for _, target in re.findall(r"\[([^]]+)\]\(([^)#]+)\)", text.replace("\\", "")):
        assert (written / target).exists(), target
    assert not re.search(r"\bnan\b|\bNone\b|<NA>|Undefined", text)


def test_without_any_result(tmp_path):
    absent = [results.read(experiment(name), tmp_path / name) for name in NAMES]
    suite_report.write(absent, tmp_path, COMMAND)
    page = Page((tmp_path / "report.html").read_text())
    assert "No experiment has findings yet." in page.text
    assert all(f"{name} is missing." in page.text for name in NAMES)


def test_every_experiment_is_discovered_and_describes_itself():
    found = results.experiments()
    assert {one.name for one in found} == {path.stem for path in ROOT.glob("conf/experiment/*.yaml")}
    assert found[0].name == "headline"
    for one in found:
        assert one.question.rstrip(".)0123456789 ").endswith("?") or "?" in one.question, one
        assert re.search(r"\d+ minutes", one.takes), one


def test_a_new_experiment_appears_by_itself(tmp_path):
    (tmp_path / "experiment" / "scale").mkdir(parents=True)
    (tmp_path / "experiment" / "scale" / "other_quick.yaml").touch()
    text = "experiment: {name: other, question: 'What else?', takes: a day}"
    (tmp_path / "experiment" / "other.yaml").write_text(text)
    assert results.experiments(tmp_path) == [Experiment("other", "What else?", "a day")]


@pytest.fixture
def run(monkeypatch):
    """Return `run(*words)`, the command with these words."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["report", *map(str, words)])
        main()

    return command


def test_command(written, tmp_path, run, capsys):
    folder = tmp_path / "results"
    shutil.copytree(written, folder)
    run(folder)
    # Those of conf/experiment/, of which only two are here; the same page when drawn again.
    said = capsys.readouterr().out
    assert "report.html: 10 claims" in said
    assert "benchmark is missing." in said
    first = (folder / "report.html").read_bytes()
    run(folder)
    assert (folder / "report.html").read_bytes() == first


def test_command_refuses_a_folder_that_is_not_there(tmp_path, run):
    with pytest.raises(SystemExit, match=r"Refused: .*nowhere is not a folder\."):
        run(tmp_path / "nowhere")


def test_the_committed_report_has_every_committed_claim():
    # Fails after new results: python -m experiments.report writes the page anew.
    html = (ROOT / "results" / "report.html").read_text()
    folder = ROOT / "results"
    due = [
        f'id="claim-{each.name}-{claim}" '
        for each in results.experiments()
        for claim in pd.read_csv(folder / results.best(each, folder).folder / "claims.csv")["claim"]
    ]
    assert due
    assert [one for one in due if html.count(one) != 1] == []
    assert len(rows_of(html)) == len(due)
    assert len(html.encode()) < 20e6
    markdown = (ROOT / "results" / "report.md").read_text()
    assert len(markdown.encode()) <= 60_000
    assert [t for _, t in re.findall(r"\[([^]]+)\]\(([^)#]+)\)", markdown) if not (ROOT / "results" / t).exists()] == []


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ABSENT = "no chromium is installed (Debian: apt-get install chromium)"
REQUIRED = os.environ.get("MEMO_BROWSER") == "required"  # then these tests fail without one
browser = pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason=ABSENT)


def browse(page, *options):
    """Return what chromium prints of a page and what its console says."""
    assert CHROMIUM, ABSENT
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--v=0"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [CHROMIUM, *words, profile, *options, page.as_uri()], capture_output=True, text=True, timeout=120
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def with_script(written, tmp_path, script):
    """Return a copy of the page that runs a script after its own, which its policy would not let it."""
    path = tmp_path / "page.html"
    html = re.sub(r"<meta http-equiv[^>]*>", "", (written / "report.html").read_text())
    path.write_text(html.replace("</body>", f"<script>{script}</script></body>"))
    return path


@pytest.mark.slow
@browser
def test_in_a_browser_every_row_is_there_and_the_console_is_silent(written, tmp_path):
    shown, console = browse(written / "report.html", "--dump-dom")
    assert console == []
    assert len(rows_of(shown)) == 10
    assert '<form class="filters" id="filters">' in shown
    assert "10 of 10 claims</output>" in shown


@pytest.mark.slow
@browser
def test_a_failing_script_would_be_seen(written, tmp_path):
    _, console = browse(with_script(written, tmp_path, "nobody.knows()"), "--dump-dom")
    assert len(console) == 1


@pytest.mark.slow
@browser
def test_in_a_browser_filters_leave_what_is_asked_for(written, tmp_path):
    choose = (
        "const form = document.getElementById('filters');"
        "form.verdict.value = 'not reproduced'; form.experiment.value = 'digits';"
        "form.dispatchEvent(new Event('change', {bubbles: true}));"
    )
    shown, console = browse(with_script(written, tmp_path, choose), "--dump-dom")
    assert console == []
    left = [row for row in rows_of(shown) if "hidden" not in row]
    assert len(left) == 1
    assert 'id="claim-digits-fits-16"' in left[0]
    assert "1 of 10 claims</output>" in shown
    # Sources of which nothing is left are hidden with their headings.
    assert len(re.findall(r'<section class="of-source"[^>]*hidden', shown)) == 1


@pytest.mark.slow
@browser
def test_in_a_browser_a_link_finds_what_was_filtered_away(written, tmp_path):
    follow = (
        "const form = document.getElementById('filters'); form.experiment.value = 'digits';"
        "form.dispatchEvent(new Event('change', {bubbles: true}));"
        "document.querySelector('#headline a[href=\"#claim-headline-fits-16\"]').click();"
    )
    shown, _ = browse(with_script(written, tmp_path, follow), "--dump-dom")
    assert "10 of 10 claims</output>" in shown


@pytest.mark.slow
@browser
@pytest.mark.parametrize(("width", "height"), [(390, 1200), (1280, 1200)])
def test_in_a_browser_the_page_has_the_width_of_the_window(written, tmp_path, width, height):
    from matplotlib.image import imread

    page = with_script(written, tmp_path, "parent.postMessage(document.documentElement.scrollWidth, '*')")
    # In a frame, for a window of chromium is never narrower than 500 pixels.
    around = tmp_path / "around.html"
    around.write_text(
        "<body><script>addEventListener('message', (event) => document.body.dataset.width = event.data)</script>"
        f'<iframe src="page.html" width="{width}" height="{height}" style="border: 0"></iframe></body>'
    )
    shown, _ = browse(around, "--virtual-time-budget=5000", "--dump-dom")
    assert f'data-width="{width}"' in shown
    picture = tmp_path / "page.png"
    browse(page, f"--window-size={width},{height}", f"--screenshot={picture}")
    pixels = imread(picture)
    assert pixels.shape[:2] == (height, width)
    assert 0.02 < (pixels[..., :3].mean(axis=2) < 0.9).mean() < 0.9


def test_another_size_than_the_standard_one_is_named(folder, tmp_path):
    shutil.copytree(folder / "headline", tmp_path / "headline")
    stored = json.loads((tmp_path / "headline" / "report.json").read_text())
    quick = "python -m experiments.headline scale=quick"
    (tmp_path / "headline" / "report.json").write_text(json.dumps(stored | {"command": quick}))
    suite_report.write([results.read(experiment("headline"), tmp_path / "headline")], tmp_path, COMMAND)
    assert f"here: {quick}" in Page((tmp_path / "report.html").read_text()).text
    assert f"here: `{quick}`" in (tmp_path / "report.md").read_text()


def test_a_report_without_what_the_templates_need_fails_loudly(folder, tmp_path):
    shutil.copytree(folder / "headline", tmp_path / "headline")
    stored = json.loads((tmp_path / "headline" / "report.json").read_text())
    del stored["sessions"][0]["device"]
    (tmp_path / "headline" / "report.json").write_text(json.dumps(stored))
    result = results.read(experiment("headline"), tmp_path / "headline")
    with pytest.raises(KeyError, match="device"):
        suite_report.write([result], tmp_path, COMMAND)


def with_reference(folder):
    """Results of headline at `standard` and `reference`, where the sentence on slowness holds no longer."""
    make(folder / "headline", "headline")
    make(folder / "reference" / "headline", "headline")
    judge_one_otherwise(folder / "reference" / "headline", 60_000)


def judge_one_otherwise(place, images=1000):
    """Change the verdict of one sentence of stored results, and the number of their images."""
    larger = claims.read(place / "claims.csv").assign(images=images)
    slow = larger["claim"] == "slow"
    larger.loc[slow, ["measured", "low", "high"]] = [0.5, 0.4, 0.6]
    larger.loc[slow, ["verdict", "judged"]] = "not reproduced"
    claims.write(larger, place / "claims.csv")
    written = json.loads((place / "report.json").read_text())
    written["claims"] = report.digest(place / "claims.csv")
    (place / "report.json").write_text(json.dumps(written))


def test_verdicts_are_those_of_all_images_where_there_are(tmp_path):
    with_reference(tmp_path)
    found = results.best(experiment("headline"), tmp_path)
    assert (found.folder, found.images, found.state) == ("reference/headline", 60_000, COMPLETE)
    table = documents.experiments(tmp_path)
    assert "(results/reference/headline/report.html)" in table and "; counted at `scale=reference` |" in table
    (tmp_path / "reference" / "headline" / "report.json").unlink()
    half = results.best(experiment("headline"), tmp_path)
    assert (half.folder, half.images, half.state) == ("headline", 1000, COMPLETE)
    assert "scale=reference" not in documents.experiments(tmp_path)


def test_a_sentence_that_is_not_tested_in_one_setting_has_not_changed():
    def judged(*verdicts):
        return pd.DataFrame({"sentence": ["a", "b", "c"], "statement": ["A.", "B.", "C."], "verdict": verdicts})

    found = suite_report._differences(
        "x", {"few": judged("holds", "not tested", "holds"), "all": judged("undecided", "holds", "holds")}
    )
    assert found["rows"] == [{"statement": "A.", "verdicts": ["holds", "undecided"]}] and found["same"] == 1


def test_the_page_says_which_verdicts_change_with_the_data(tmp_path):
    make(tmp_path / "headline", "headline")
    place = tmp_path / "other_data" / "fashion_mnist" / "headline"
    make(place, "headline", session=SESSION | {"data": {"fashion_mnist": {}}})
    judge_one_otherwise(place)
    suite_report.write([results.best(experiment("headline"), tmp_path)], tmp_path, COMMAND)
    markdown = (tmp_path / "report.md").read_text()
    assert "| headline | mnist | fashion\\_mnist |" in markdown and "What changes with the number" not in markdown
    (row,) = [line for line in markdown.splitlines() if line.startswith("| headline is slow.")]
    assert row == "| headline is slow. | holds in part | does not hold |"
    assert "(other_data/fashion_mnist/headline/report.html)" in markdown
    assert 'id="data"' in (tmp_path / "report.html").read_text()
    assert [each.folder for each in results.every(experiment("headline"), tmp_path)] == [
        "headline",
        "other_data/fashion_mnist/headline",
    ]
    # Verdicts of all images, here the same as on the other data, are not compared with those of fewer.
    make(tmp_path / "reference" / "headline", "headline", scale="reference")
    judge_one_otherwise(tmp_path / "reference" / "headline", 60_000)
    suite_report.write([results.best(experiment("headline"), tmp_path)], tmp_path, COMMAND)
    markdown = (tmp_path / "report.md").read_text()
    assert "| headline | 1,000 images | 60,000 images |" in markdown
    assert row in markdown.split("## What changes with the data")[1].split("##")[0]
    # Other data at `reference` stand beside these, those at `standard` beside those.
    other = tmp_path / "other_data" / "cifar10" / "headline"
    make(other, "headline", scale="reference", session=SESSION | {"data": {"cifar10": {}}})
    suite_report.write([results.best(experiment("headline"), tmp_path)], tmp_path, COMMAND)
    changes = (tmp_path / "report.md").read_text().split("## What changes with the data")[1].split("##")[0]
    first, second = changes.split("| headline | mnist | fashion\\_mnist |")[1].split("| headline | mnist | cifar10 |")
    assert row in first and "| headline is slow. | does not hold | holds in part |" in second
    shutil.rmtree(other)
    (place / "report.json").unlink()
    suite_report.write([results.best(experiment("headline"), tmp_path)], tmp_path, COMMAND)
    assert "What changes with the data" not in (tmp_path / "report.md").read_text()


def test_the_page_says_which_verdicts_change_with_the_number_of_images(tmp_path):
    with_reference(tmp_path)
    suite_report.write([results.best(experiment("headline"), tmp_path)], tmp_path, COMMAND)
    markdown = (tmp_path / "report.md").read_text()
    assert "| headline | 1,000 images | 60,000 images |" in markdown
    (row,) = [line for line in markdown.splitlines() if line.startswith("| headline is slow.")]
    assert row == "| headline is slow. | holds in part | does not hold |"
    assert "1 sentences have the same verdict" not in markdown and "1 sentence has the same verdict" in markdown
    assert "(reference/headline/figures/curves.svg)" in markdown
    page = (tmp_path / "report.html").read_text()
    assert page.count('id="scale"') == 1 and "60,000 images" in page
    # With as many images as at `standard`, what `reference` changes stands beside it, too.
    claims.write(
        claims.read(tmp_path / "reference/headline/claims.csv").assign(images=1000),
        tmp_path / "reference/headline/claims.csv",
    )
    suite_report.write([results.best(experiment("headline"), tmp_path)], tmp_path, COMMAND)
    markdown = (tmp_path / "report.md").read_text()
    assert "| headline | 1,000 images | 1,000 images, reference |" in markdown
    assert row in markdown.splitlines()
    make(tmp_path / "alone" / "headline", "headline")
    suite_report.write([results.best(experiment("headline"), tmp_path / "alone")], tmp_path / "alone", COMMAND)
    assert "What changes with the number of images" not in (tmp_path / "alone" / "report.md").read_text()
