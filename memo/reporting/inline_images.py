"""Pictures inside a page: as data URIs that need no other file, and as small as their form allows."""

import base64
import itertools
import mimetypes
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

# Parts of matplotlib's files that are never displayed.
_NOT_DISPLAYED = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>", re.DOTALL)
_COORDINATES = re.compile(r'(?<=\s)(d|x|y|x1|y1|x2|y2|points)="([^"]*)"')
_LONG = re.compile(r"-?\d+\.\d{3,}")
# A letter of a text: matplotlib moves each to its place by a transform of its own.
_LETTER = re.compile(r'(<use [^>]*?)transform="translate\((-?[\d.]+) 0\)"')
_STYLE = re.compile(r'(?<=\sstyle=")[^"]*')
_NAME, _REFERENCE = re.compile(r'\sid="([^"]+)"'), re.compile(r'(?<=href="#)[^"]+|(?<=url\(#)[^)]+')
_PNG, _DOTS = b"\x89PNG\r\n\x1a\n", 160  # dots per inch, as memo.reporting.figures saves
# What stands for itself in a URI and in an attribute within double quotes; a slash could be taken for an address.
_SAFE = " !$()*+,:;=?@[]^`{|}~'"


def data_uri(path: Path) -> str:
    """Return a picture as a data URI; an SVG as text without what is never displayed, its coordinates to 0.01 points."""
    kind, _ = mimetypes.guess_type(path.name)
    if kind == "image/svg+xml":
        svg = shortened(path.read_text(encoding="utf-8"))
        text = svg if "'" in svg else svg.replace('"', "'")  # a double quote takes three characters in a URI
        return f"data:{kind},{quote(text, safe=_SAFE)}"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def size(path: Path) -> tuple[int, int] | None:
    """Return width and height of an SVG or PNG that memo.reporting.figures saved, in CSS pixels; None where it states none."""
    start = path.read_bytes()[:4096]
    if start.startswith(_PNG) and len(start) >= 24:
        width, height = struct.unpack(">II", start[16:24])
        return round(width * 96 / _DOTS), round(height * 96 / _DOTS)
    found = re.search(rb'<svg[^>]*?\bwidth="([\d.]+)pt"[^>]*?\bheight="([\d.]+)pt"', start)
    return (round(float(found[1]) * 96 / 72), round(float(found[2]) * 96 / 72)) if found else None


def shortened(svg: str) -> str:
    """Return the text of an SVG that looks the same and takes about half the room; of one that is short already, itself."""
    svg = _NOT_DISPLAYED.sub("", svg).replace("xlink:href=", "href=")
    svg = _COORDINATES.sub(lambda found: f'{found[1]}="{" ".join(_LONG.sub(_rounded, found[2]).split())}"', svg)
    svg = _LETTER.sub(lambda found: f'{found[1]}x="{_LONG.sub(_rounded, found[2])}"', svg)
    svg = _STYLE.sub(lambda found: re.sub(r"\s*([:;])\s*", r"\1", found[0]), svg)
    short = dict(zip(dict.fromkeys(_REFERENCE.findall(svg)), _names()))
    svg = _NAME.sub(lambda found: f' id="{short[found[1]]}"' if found[1] in short else "", svg)
    return re.sub(r">\s+<", "><", _REFERENCE.sub(lambda found: short[found[0]], svg)).strip()


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _names() -> Iterator[str]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ("".join(name) for length in itertools.count(1) for name in itertools.product(letters, repeat=length))
