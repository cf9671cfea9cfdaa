"""Texts of results as HTML: what they mark up in a known way stays, everything else is text.

A results folder may come from somebody else: whatever its texts hold, a page that is made of them runs no script of
theirs and loads nothing.
"""

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from typing import NamedTuple

from markupsafe import Markup

# Tags of findings, captions and methods; of these, only links have an attribute, and lead nowhere but to pages.
TAGS = ("a", "b", "br", "code", "em", "i", "li", "sub", "sup", "ul")
_LINK = re.compile(r"(#|https?://|[\w.-]+(/[\w.-]+)*(#|$))")


def inline(text: object) -> Markup:
    """Return a text with its tags of TAGS, closed where it leaves them open, and all other markup as text."""
    parser = _Inline()
    parser.feed(str(text))
    parser.close()
    return Markup("".join(parser.parts + [f"</{tag}>" for tag in reversed(parser.open)]))


class Script(NamedTuple):
    """A page's own script, and its digest as a Content-Security-Policy names it: a browser runs no other."""

    text: Markup
    digest: str


def script(*parts: str) -> Script:
    """Return the script that consists of these texts."""
    text = "\n".join(parts)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"sha256-{digest}")


class _Inline(HTMLParser):
    """Collects the parts of a text, and the tags that are open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href")
        if tag not in TAGS or (tag == "a" and not _LINK.match(target or "")):
            self._as_text(self.get_starttag_text() or "")
            return
        self.parts.append(f'<a href="{html.escape(target or "")}">' if tag == "a" else f"<{tag}>")
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
            self.parts.append(f"</{tag}>")
        else:
            self._as_text(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._as_text(data)

    def handle_entityref(self, name: str) -> None:
        self.parts.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.parts.append(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self._as_text(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self._as_text(f"<!{decl}>")

    def handle_pi(self, data: str) -> None:
        self._as_text(f"<?{data}>")

    def unknown_decl(self, data: str) -> None:
        self._as_text(f"<![{data}]>")

    def _as_text(self, text: str) -> None:
        self.parts.append(html.escape(text, quote=False))
