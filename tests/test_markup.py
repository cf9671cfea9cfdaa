"""Texts of results on a page: known markup stays, nothing else becomes any."""

import base64
import hashlib
import json
import re

import pytest

from memo.reporting import results, suite_report
from memo.reporting.markup import inline, script
from tests.test_suite_report import COMMAND, experiment, make


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<b>Finding.</b> R<sup>2</sup> of <code>a_b</code>", "<b>Finding.</b> R<sup>2</sup> of <code>a_b</code>"),
        ("1 < 2 & 3 &lt; 4 &nbsp;x &#8722;1", "1 &lt; 2 &amp; 3 &lt; 4 &nbsp;x &#8722;1"),
        ('<a href="#ref-x">x</a>', '<a href="#ref-x">x</a>'),
        ('<a href="https://a.b/c?d&e">x</a>', '<a href="https://a.b/c?d&amp;e">x</a>'),
        ('<a href="javascript:x()">x</a>', '&lt;a href="javascript:x()"&gt;x&lt;/a&gt;'),
        ('<b onclick="x()">y</b>', "<b>y</b>"),
        ("<script>x()</script>", "&lt;script&gt;x()&lt;/script&gt;"),
        ('<img src="x" onerror="y()">', '&lt;img src="x" onerror="y()"&gt;'),
        ("<!-- x --><b>open", "&lt;!-- x --&gt;<b>open</b>"),
        ("</div></ul>x", "&lt;/div&gt;&lt;/ul&gt;x"),
    ],
)
def test_what_stays_markup(text, shown):
    assert inline(text) == shown


def test_a_page_of_somebody_elses_results_holds_no_markup_of_theirs(tmp_path):
    make(tmp_path / "headline", "headline")
    evil = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    file = tmp_path / "headline" / "report.json"
    written = json.loads(file.read_text())
    for key in ("findings", "methods", "not_shown"):
        written[key] = [evil]
    written["title"] = written["summary"]["caption"] = written["summary"]["alt"] = evil
    written["in_short"] = dict.fromkeys(written["in_short"], evil)
    for section in written["sections"]:
        section["findings"] = [evil]
        for figure in section["figures"]:
            figure["caption"] = figure["title"] = evil
    file.write_text(json.dumps(written))
    suite_report.write([results.best(experiment("headline"), tmp_path)], tmp_path, COMMAND)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<script") == 1 and "<img src=x" not in page
    (code,) = re.findall(r"<script>(.*)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    assert script("a", "b").text == "a\nb"


def test_a_picture_outside_of_the_folder_is_not_read(tmp_path):
    make(tmp_path / "headline", "headline")
    (tmp_path / "secret.svg").write_text("<svg/>")
    (tmp_path / "headline" / "figures" / "linked.svg").symlink_to(tmp_path / "secret.svg")
    file = tmp_path / "headline" / "report.json"
    written = json.loads(file.read_text())
    written["summary"]["file"] = str(tmp_path / "secret.svg")
    linked = written["sections"][0]["figures"][0] | {"file": "figures/linked.svg"}
    written["sections"][0]["figures"][0]["file"] = "../secret.svg"
    written["sections"][0]["figures"].append(linked)
    file.write_text(json.dumps(written))
    found = results.read(experiment("headline"), tmp_path / "headline")
    assert found.state == results.HALF and found.summary is None
    assert len([problem for problem in found.problems if "lies outside of the folder" in problem]) == 3
    assert not {"../secret.svg", "figures/linked.svg"} & {figure.file for figure in found.figures}
