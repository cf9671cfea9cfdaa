"""Sources: what sources.yaml may hold, and its references and BibTeX."""

import re

import pytest

from memo.errors import Refusal
from memo.reporting import sources

ONE = """
doe2020:
  cite: Doe 2020
  authors: [Jane Doe, Max <Muster>]
  title: On {labels}
  year: 2020
  venue: A Conference
  url: https://example.org/a
  kind: paper
  verified: false
"""


def read(tmp_path, text):
    (tmp_path / "sources.yaml").write_text(text)
    return sources.read(tmp_path / "sources.yaml")


def test_reference_and_bibtex(tmp_path):
    entries = read(tmp_path, ONE)
    assert entries["doe2020"].reference == (
        'Jane Doe, Max &lt;Muster&gt; (2020). <a href="https://example.org/a">On {labels}</a>. A Conference. '
        "(reference not verified)"
    )
    bibtex = sources.to_bibtex(entries)
    assert bibtex.startswith("@inproceedings{doe2020,\n")
    assert "author = {Jane Doe and Max <Muster>}" in bibtex and "booktitle = {A Conference}" in bibtex
    assert bibtex.count("{") == bibtex.count("}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("kind: paper", "kind: rumour", "rumour"), ("  year: 2020\n", "", "year"), ("title:", "titel:", "titel")],
)
def test_entries_that_are_not_whole_are_refused(tmp_path, old, new, message):
    with pytest.raises(Refusal, match=message):
        read(tmp_path, ONE.replace(old, new))


def test_short_texts_tell_sources_apart_and_addresses_are_addresses():
    known = sources.load()
    assert len({source.cite for source in known.values()}) == len(known)
    for key, source in known.items():
        assert source.url == "" or re.match(r"https?://", source.url), key
        assert source.url or not source.verified or source.kind == "own", key
