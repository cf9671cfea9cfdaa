import base64
import re
import struct
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest

from memo.reporting import figures, inline_images

SVG = """<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"
  "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="72pt" height="36.5pt" viewBox="0 0 72 36.5" xmlns="http://www.w3.org/2000/svg" version="1.1">
 <metadata><made>by nobody</made></metadata>
 <defs>
  <path id="DejaVuSans-31" d="M 794 531 L 1825.123456 531 z" transform="scale(0.015625)"/>
  <clipPath id="p9b68"><rect x="1.234567" y="2" width="3.456789" height="4"/></clipPath>
 </defs>
 <g id="figure_1"><!-- 100 % -->
  <path d="M 1.250001 -0.0001
L 213.443283 155.70
" clip-path="url(#p9b68)" style="fill: none; stroke: #999999"/>
  <g transform="translate(9.43909 74.067315) scale(0.1012 -0.1012)">
   <use xlink:href="#DejaVuSans-31" transform="translate(61.53125 0)"/>
  </g>
 </g>
</svg>
"""


@pytest.fixture
def short(tmp_path):
    (tmp_path / "a.svg").write_text(SVG)
    kind, text = inline_images.data_uri(tmp_path / "a.svg").split(",", 1)
    assert kind == "data:image/svg+xml"
    return text


def test_an_svg_is_text_that_may_stand_in_an_attribute(short):
    assert not set(short) & set('"<>#\n')
    assert not re.search("https?://", short)


def test_an_svg_keeps_its_drawing(short):
    names = {"s": "http://www.w3.org/2000/svg"}
    root = ET.fromstring(unquote(short))
    assert root.get("viewBox") == "0 0 72 36.5"
    letter, line = root.findall(".//s:path", names)
    # Fractions of a scale are not those of a coordinate.
    assert (letter.get("d"), letter.get("transform")) == ("M 794 531 L 1825.12 531 z", "scale(0.015625)")
    assert line.get("d") == "M 1.25 -0 L 213.44 155.70"
    assert line.get("style") == "fill:none;stroke:#999999"
    (clip,) = root.findall(".//s:clipPath", names)
    assert line.get("clip-path") == f"url(#{clip.get('id')})"
    (use,) = root.findall(".//s:use", names)
    assert use.attrib == {"href": f"#{letter.get('id')}", "x": "61.53"}
    assert len({letter.get("id"), clip.get("id")}) == 2


def test_an_svg_loses_what_nobody_sees(short):
    text = unquote(short)
    assert not re.search("metadata|nobody|DOCTYPE|<!--|figure_1|xml version", text)


def test_an_svg_of_ours_takes_half_the_room(tmp_path):
    figure, [[axes]] = figures.grid(1, 1)
    axes.plot(range(50), [x**0.5 for x in range(50)])
    path = tmp_path / figures.save(figure, tmp_path, "line")
    with figures.look():
        figure.savefig(tmp_path / "whole.svg", metadata={"Date": None})
    whole, text, uri = (tmp_path / "whole.svg").read_text(), path.read_text(), inline_images.data_uri(path)
    assert text == inline_images.shortened(whole) == inline_images.shortened(text)
    assert len(uri) < 0.6 * len(base64.b64encode(whole.encode())) and uri == inline_images.data_uri(
        tmp_path / "whole.svg"
    )
    ET.fromstring(unquote(uri.split(",", 1)[1]))
    width, height = inline_images.size(path)
    assert (width, height) == (round(2.6 * 96), round(2.3 * 96))


def test_a_png_stays_as_it_is(tmp_path):
    figure, _ = figures.grid(1, 1)
    path = tmp_path / figures.save(figure, tmp_path, "dense", dense=True)
    kind, text = inline_images.data_uri(path).split(",", 1)
    assert (kind, base64.b64decode(text)) == ("data:image/png;base64", path.read_bytes())
    assert inline_images.size(path) == (round(2.6 * 96), round(2.3 * 96))


def test_size(tmp_path):
    (tmp_path / "a.svg").write_text(SVG)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 320, 160))
    (tmp_path / "c.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    assert [inline_images.size(tmp_path / name) for name in ("a.svg", "b.png", "c.svg")] == [(96, 49), (192, 96), None]
