"""Marks and what becomes of them in SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.render.charts.drawing import theme
from resnet_cli.render.charts.drawing.primitives import (
    Box,
    Curve,
    Dot,
    Drawing,
    Group,
    Label,
    LineMark,
    Mark,
    fitted,
    text_width,
)
from resnet_cli.render.charts.drawing.svg_writer import inline, standalone

HOSTILE = "<script>alert(1)</script>\"' onload=x \x1b[2J\u202e]]>&amp;"
ALL: tuple[Mark, ...] = (
    Box(1, 2, 30, 4, "conv node", 2, HOSTILE, data=7),
    Dot(5, 6, 2.25, "equal", HOSTILE),
    LineMark(0, 0, 10, 10, "grid"),
    Curve((("M", (0.0, 0.0)), ("C", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)), ("L", (50.0, 6.0))), "identity", arrow=True),
    Label(3, 9, HOSTILE, "small faint", "middle"),
    Group((Label(0, 0, "in a group"),), "block", "block-0-1", HOSTILE, (5.0, 7.0)),
)
DRAWING = Drawing(100, 40, ALL, HOSTILE)
SVG = "{http://www.w3.org/2000/svg}"


def test_a_file_is_xml_that_fetches_nothing_and_runs_nothing() -> None:
    text = standalone(DRAWING)
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "style", "rect", "g", "circle", "line", "path", "text", "title"}
    for element in root.iter():
        assert not {name for name in element.attrib if name.startswith("on") or "href" in name}
    assert "url(" not in text
    assert "@import" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_text_is_what_it_was_but_for_what_a_terminal_could_obey() -> None:
    root = ElementTree.fromstring(standalone(DRAWING))
    escaped = "<script>alert(1)</script>\"' onload=x \\x1b[2J\\u202e]]>&amp;"
    assert [text.text for text in root.iter(f"{SVG}text")] == [escaped, "in a group"]
    assert [title.text for title in root.iter(f"{SVG}title")] == [escaped] * 3
    assert root.get("aria-label") == escaped


def test_a_page_links_its_blocks_and_a_file_does_not() -> None:
    assert '<a href="#block-0-1" class="block">' in inline(DRAWING)
    assert "<a " not in standalone(DRAWING)


@pytest.mark.parametrize("colours", ["light", "dark", "both"])
def test_every_role_has_a_colour(colours: str) -> None:
    text = standalone(DRAWING, colours)
    assert "{" not in re.sub(r"@media[^{]*\{|[^{}]+\{[^{}]*\}", "", text.partition("</style>")[0]), "a name was left"
    assert ("prefers-color-scheme" in text) == (colours == "both")


def luminance(colour: str) -> float:
    """Of WCAG 2: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_on_what_they_stand_on(dark: bool) -> None:
    colours = theme.palette(dark)
    for text in ("ink", "faint", "accent", "good", "bad", "warning", "identity"):
        for ground in ("paper", "panel"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for ground in theme.LAYERS:
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground


@given(st.text(max_size=80), st.floats(0, 400))
def test_a_fitted_text_fits(text: str, room: float) -> None:
    cut = fitted(text, room, "small")
    assert cut == text or text_width(cut, "small") <= room
    assert cut in ("", text) or (cut.endswith("…") and text.startswith(cut[:-1]))
