import json
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from memo.errors import Refusal
from memo.reporting import claims, report, results, view
from memo.reporting.report import Figure, Report, Section, number, with_interval
from memo.statistics.intervals import Estimate
from tests.ledgers import claim, ledger

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
NAN, INF = float("nan"), float("inf")
SESSION = {
    "finished": "2026-01-02T03:04:05+00:00",
    "networks": 4,
    **{f"{part}_seconds": 1.25 for part in ("prepare", "compile", "train", "probe", "program")},
    "versions": {"python": "3.11.7", "jax": "0.10.2"},
    "device": {"kind": "cpu", "count": 2, "processor": "Some <fast> one"},
    "git": {"commit": "c98b32551b0ec88f451f638955284f99e34362a1", "changed": True},
    "data": {"mnist": {"train-images-idx3-ubyte": "ba89" * 16}},
    "protocol": 1,
    "earlier": [],
}


class Page(HTMLParser):
    """What a test asks of a page; raises where a tag is not closed by its own kind."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.images, self.links, self.texts, self.tags = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], "tags are left open"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "img":
            self.images.append(attributes)
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes another tag, at {self.getpos()}"

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


FIT, SURE = "Networks <fit> labels.", "It is sure."


def rows():
    first = {"statement": FIT, "sentence": "fit", "quantity": "accuracy", "figure": "curves", "basis": "ours & small"}
    for width, estimate in (("16", Estimate(0.2, 0.1, 0.3, 5)), ("64", Estimate(1.0, 1.0, 1.0, 5))):
        yield claim(f"fits-{width}", (0.99, 1), condition=f"width {width}", **first), estimate
    slow = first | {"quantity": "slowdown", "figure": ""}
    yield claim("slow-64", (2, INF), (1, INF), condition="width 64", **slow), Estimate(3.0, 2.5, INF, 5)
    other = {"statement": SURE, "sentence": "sure", "quantity": "confidence", "accept": (0.5, 1)}
    own = "this suite"
    yield claim("sure-1", condition="width 16", **other), None, "no network is there", own
    yield claim("sure-2", condition="width 64", **other), Estimate(0.7, NAN, NAN, 1), "one seed & no interval", own


def made_ledger():
    return ledger(rows(), source="Zhang et al. 2017")


COMMAND = "python -m experiments.headline"


def make(folder, **others):
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "figures" / "curves.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (folder / "figures" / "strip.png").write_bytes(b"\x89PNG")
    texts = {
        "title": "Learning & memorising",
        "question": "What differs?",
        "findings": ["<b>Speed.</b> Slow.", "Sure."],
        "ledger": made_ledger(),
        "figures": [
            Figure("figures/curves.svg", "Curves", "They rise.", 'Lines, "true" and shuffled.'),
            Figure("figures/strip.png", "Strip", "Noise.", "A strip."),
        ],
        "methods": ["<b>Full</b> passes."],
        "not_shown": ["All else."],
        "tables": {"summary": pd.DataFrame({"mean": [0.5, NAN], "n": [5, 0]})},
    }
    return Report(**texts | others)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    again = SESSION | {"earlier": [SESSION]}
    report.write(make(folder), folder, [SESSION, again, SESSION | {"train_seconds": 9.0, "git": None}], COMMAND)
    return folder


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "report.html").read_text())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (0.12345, "0.123"),
        (1.5, "1.500"),
        (-0.5, "−0.500"),
        (2, "2.00"),
        (12.345, "12.3"),
        (-12.345, "−12.3"),
        (123.4, "123"),
        (60_000, "60000"),
        (np.float32(0.25), "0.250"),
        (NAN, "n/a"),
        (INF, "∞"),
        (-INF, "−∞"),
    ],
)
def test_number(value, text):
    assert number(value) == text


def test_number_with_other_digits():
    assert [number(value, 1) for value in (0.26, 3.4, 34)] == ["0.3", "3", "34"]


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (None, "n/a"),
        (Estimate(0.5, 0.25, 0.75, 5), "0.500 [0.250, 0.750] (n = 5)"),
        (Estimate(-1, -2.5, 0.5, 3), "−1.000 [−2.50, 0.500] (n = 3)"),
        (Estimate(4, 3, INF, 5), "at least 3.00 (n = 5)"),
        (Estimate(0.5, NAN, NAN, 1), "0.500 (n = 1, no interval)"),
    ],
)
def test_with_interval(estimate, text):
    assert with_interval(estimate) == text
    assert with_interval(estimate, count=False) == re.sub(r" \(n = \d\)", "", text)


def test_files(written):
    assert {str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()} == {
        "claims.csv",
        "sentences.csv",
        "findings.md",
        "report.html",
        "report.json",
        "tables/summary.csv",
        "figures/curves.svg",
        "figures/strip.png",
    }
    assert (written / "findings.md").read_text() == "- <b>Speed.</b> Slow.\n- Sure.\n"
    assert (written / "tables" / "summary.csv").read_text() == "mean,n\n0.5,5\n,0\n"
    table = pd.read_csv(written / "claims.csv")
    assert table["claim"].tolist() == [row[0].id for row in rows()]


def test_page_is_self_contained(written, page):
    text = (written / "report.html").read_text()
    assert "<script src" not in text
    assert not re.search(r"""(src|href)=["']https?://(?!doi\.org|arxiv\.org)""", text.split('id="references"')[0])
    assert "@import" not in text
    assert "url(" not in text
    assert "link" not in page.tags
    assert all(link.startswith(("data:", "#", "https://")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_what_the_report_of_the_suite_reads(written):
    stored = json.loads((written / "report.json").read_text())
    assert stored["title"] == "Learning & memorising"
    assert stored["findings"] == ["<b>Speed.</b> Slow.", "Sure."]
    (section,) = stored["sections"]
    assert section["sentences"] == ["fit", "sure"]
    assert [figure["alt"] for figure in section["figures"]] == ['Lines, "true" and shuffled.', "A strip."]
    assert (stored["command"], stored["drawn"], stored["summary"]) == (COMMAND, None, None)
    # A session once, and earlier ones as sessions of their own.
    assert [session["train_seconds"] for session in stored["sessions"]] == [1.25, 9.0]
    assert not any("earlier" in session for session in stored["sessions"])
    assert stored["claims"] == report.digest(written / "claims.csv")


def test_a_digest_is_that_of_the_text_whatever_its_ends_of_lines(tmp_path):
    for name, text in (("unix", b"a,b\n1,2\n"), ("windows", b"a,b\r\n1,2\r\n"), ("other", b"a,b\n1,3\n")):
        (tmp_path / name).write_bytes(text)
    unix, windows, other = (report.digest(tmp_path / name) for name in ("unix", "windows", "other"))
    assert unix == windows != other


def test_every_claim_has_its_place(page):
    assert len(page.ids) == len(set(page.ids))
    for each, *_ in rows():
        assert page.ids.count(f"claim-{each.id}") == 1


def test_images(page):
    assert [image["alt"] for image in page.images] == ['Lines, "true" and shuffled.', "A strip."]
    kinds = [image["src"].split(",")[0] for image in page.images]
    assert kinds == ["data:image/svg+xml", "data:image/png;base64"]
    assert {"curves", "strip"} <= set(page.ids)


def test_texts(page):
    for text in ("Learning & memorising", "What differs?", FIT, "Zhang et al. 2017", "All else.", "ours & small"):
        assert text in page.text
    assert "3.00" in page.text
    assert "∞" in page.text
    assert "≥ 2 (direction: > 1)" in page.text
    assert "width 16: no network is there." in page.text
    assert "width 64: one seed & no interval." in page.text
    assert not re.search(r"\bnan\b|\bNone\b|<NA>", page.text)


def test_sentences_are_counted_those_of_sources_apart(page):
    # fits-16 not reproduced, fits-64 and slow-64 reproduced; sure-1 without estimate, sure-2 without interval.
    assert "1 sentence of sources: 1 holds in part" in page.text
    assert "1 question of our own: 1 undecided" in page.text
    assert "holds in part 2 reproduced 1 not reproduced 3 claims" in page.text


def test_sentences_have_their_rows_by_condition():
    fit, sure = view.of_ledger(made_ledger())
    assert (fit.source, fit.key, fit.statement, fit.verdict) == ("Zhang et al. 2017", "zhang2017", FIT, "holds in part")
    assert fit.conditions == ["width 16", "width 64"]
    fits, slow = fit.quantities
    assert [fits["quantity"], slow["quantity"]] == ["accuracy", "slowdown"]
    assert {condition: cell["claim"] for condition, cell in fits["cells"].items()} == {
        "width 16": "fits-16",
        "width 64": "fits-64",
    }
    assert (fits["expected"], fits["figure"]) == ("0.99 to 1", "curves")
    assert slow["cells"]["width 64"]["verdict"] == "reproduced"
    assert fit.notes == {}
    assert sure.notes == {"no network is there": "width 16", "one seed & no interval": "width 64"}
    assert sure.kind == "own"


@pytest.mark.parametrize(
    ("widths", "named"),
    [((16, 64), "width 16, width 64"), ((16, 64, 256), ""), ((), "")],
)
def test_a_note_names_what_it_is_about_unless_that_is_everything(widths, named):
    lines = [
        (claim(f"c{width}", condition=f"width {width}"), None, "none" if width in widths else "other")
        for width in (16, 64, 256)
    ]
    (sentence,) = view.of_ledger(ledger(lines))
    assert sentence.notes.get("none", "") == named


def test_a_note_without_a_condition_names_the_quantity():
    lines = [(claim(f"c{name}", quantity=name), None, note) for name, note in (("a", "none"), ("b", "other"))]
    (sentence,) = view.of_ledger(ledger(lines))
    assert sentence.notes == {"none": "a", "other": "b"}


def test_a_report_in_sections_shows_each_sentence_in_its_own_and_the_rest_last(tmp_path):
    figure = Figure("figures/curves.svg", "Curves", "They rise.", "Lines.")
    section = Section("Fitting", ["It fits."], [figure], sentences=["fit"])
    made = make(tmp_path, sections=[section], in_short={"fit": "They do fit."}, scale="quick", figures=[figure])
    assert [each.title for each in made.chapters] == ["Fitting", "Not yet measured"]
    assert made.chapters[1].sentences == ["sure"]
    report.write(made, tmp_path, [SESSION], COMMAND)
    page = Page((tmp_path / "report.html").read_text())
    judged = re.search(r"They do fit\. → Zhang et al\. 2017: [^→]+? holds in part", page.text)
    assert judged.start() < page.text.index("It fits.") < page.text.index("They rise.")
    assert {"sentence-fit", "sentence-sure", "chapter-fitting"} <= set(page.ids)
    assert "up to 1,000 training images" in page.text


def test_changes_and_references_stand_in_the_page(tmp_path):
    changes = [{"claim": "fits-{width}", "was": ">= 0.5", "now": ">= 0.99", "reason": "it could not fail"}]
    report.write(make(tmp_path, changes=changes), tmp_path, [SESSION], COMMAND)
    page = Page((tmp_path / "report.html").read_text())
    assert "it could not fail" in page.text
    assert "ref-zhang2017" in page.ids


def test_tables_are_read_back_as_they_are_committed(tmp_path):
    frame = pd.DataFrame({"kind": ["true", "shuffled"], "x": [1 / 3, NAN], "which": [True, False], "n": [1, 2]})
    report.write_table(frame, tmp_path / "t.csv")
    again = report.read_table((tmp_path / "t.csv").read_text())
    pd.testing.assert_frame_equal(again, report.as_committed({"t": frame})["t"])
    assert again["x"].tolist()[0] == 0.33333333 and np.isnan(again["x"][1])
    assert again["which"].dtype == bool and again["kind"].tolist() == ["true", "shuffled"]


def test_provenance_counts_a_session_once(page):
    # Two of the three entries are one session, that of two run folders.
    assert "4 1.2 1.2 1.2 1.2 1.2 2 × cpu (Some <fast> one) c98b325" in page.text
    assert "no git" in page.text
    assert "all 8 2.5 2.5 10.2 2.5 2.5" in page.text
    assert "python 3.11.7, jax 0.10.2" in page.text
    assert "train-images-idx3-ubyte ba89ba89ba89ba89…" in page.text


def test_a_page_without_claims_or_figures(tmp_path):
    report.write(make(tmp_path, ledger=claims.empty(), figures=[], findings=[]), tmp_path, [SESSION], COMMAND)
    assert Page((tmp_path / "report.html").read_text()).images == []
    assert pd.read_csv(tmp_path / "claims.csv").empty


def test_a_missing_figure_fails_loudly_and_keeps_the_old_page(tmp_path):
    whole = make(tmp_path)
    report.write(whole, tmp_path, [SESSION], COMMAND)
    before = (tmp_path / "report.html").read_bytes()
    (tmp_path / "figures" / "strip.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"strip\.png"):
        report.write(whole, tmp_path, [SESSION], COMMAND)
    assert (tmp_path / "report.html").read_bytes() == before


HEADLINE = results.Experiment("headline", "", "")
DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "altered": lambda content: content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
    "gone": None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_a_report_is_named(written, tmp_path, damage):
    for place, file in enumerate(path for path in sorted(written.rglob("*")) if path.is_file()):
        folder = shutil.copytree(written, tmp_path / str(place))
        name, copy = str(file.relative_to(written)), folder / file.relative_to(written)
        assert results.read(HEADLINE, folder).problems == []
        if DAMAGES[damage] is None:
            copy.unlink()
        else:
            copy.write_bytes(DAMAGES[damage](copy.read_bytes()))
        found = results.read(HEADLINE, folder)
        assert found.state == results.HALF
        if name != "claims.csv":  # a ledger that cannot be read is described in more than its name
            assert name in " ".join(found.problems)
        if name.startswith(("claims", "tables")):
            with pytest.raises(Refusal, match=file.name):
                results.load(folder)
        else:
            assert set(results.load(folder)) == {"claims", "summary"}


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"claims": 1, "files": 2}', "1"])
def test_a_damaged_record_of_a_report_is_named(written, tmp_path, content):
    folder = shutil.copytree(written, tmp_path / "copy")
    (folder / "report.json").write_text(content)
    assert results.read(HEADLINE, folder).problems == ["Its report.json cannot be read."]
    assert set(results.load(folder)) == {"claims", "summary"}


@pytest.mark.parametrize("replaced", range(6))
def test_a_redraw_that_is_killed_is_noticed_and_mended_by_the_next(tmp_path, monkeypatch, replaced):
    report.write(make(tmp_path), tmp_path, [SESSION], COMMAND)
    more = make(tmp_path, tables={"summary": pd.DataFrame({"mean": [0.25]})}, findings=["Other."])
    (tmp_path / "figures" / "curves.svg").write_text(
        "<svg/>"
    )  # of more seeds: figures are drawn before anything is written
    replace, left = os.replace, iter(range(replaced))

    def dying(source, target):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", dying)
        report.write(more, tmp_path, [SESSION], COMMAND)
    found = results.read(HEADLINE, tmp_path)
    assert found.state == results.HALF
    assert any("figures/curves.svg is not the one" in problem for problem in found.problems)
    for stray in (".report.html.0123456789ab", "tables/.summary.csv.0123456789ab", "figures/.curves.svg.0123456789ab"):
        (tmp_path / stray).touch()  # where nothing could be tidied up
    with report.redrawing(tmp_path):
        report.write(more, tmp_path, [SESSION], COMMAND)
    assert results.read(HEADLINE, tmp_path).problems == []
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []


def test_verdicts_in_the_page_are_those_of_the_ledger(written, page):
    table = pd.read_csv(written / "claims.csv")
    html = (written / "report.html").read_text()
    for row in table.itertuples():
        cell = html.split(f'id="claim-{row.claim}"')[1].split("</td>")[0]
        assert f">{row.verdict}</span>" in cell
