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
    bounds,
    fitted,
    text_width,
)
from resnet_cli.render.charts.drawing.svg_writer import inline, standalone
from resnet_cli.render.charts.panel import Panel, stacked

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
    said = "<script>alert(1)</script>\"' onload=x \\x1b[2J\\u202e]]>&amp;"
    assert [text.text for text in root.iter(f"{SVG}text")] == [said, "in a group"]
    assert [title.text for title in root.iter(f"{SVG}title")] == [said] * 3
    assert root.get("aria-label") == said


def test_a_page_links_its_blocks_and_a_file_does_not() -> None:
    assert '<a href="#block-0-1" class="block">' in inline(DRAWING)
    assert "<a " not in standalone(DRAWING)


def test_coordinates_have_one_decimal_at_most() -> None:
    drawn = inline(Drawing(1, 1, (Dot(1 / 3, 2.0, 1e-9),), ""))
    assert '<circle cx="0.3" cy="2" r="0"/>' in drawn
    assert inline(Drawing(1, 1, (LineMark(-0.01, -0.04, -7.06, 0),), "")).count('"0"') == 3


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


def test_contrast_of_black_and_white_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_on_what_they_stand_on(dark: bool) -> None:
    colours = theme.palette(dark)
    for text in ("ink", "faint", "accent", "good", "bad", "warning", "identity"):
        for ground in ("paper", "panel"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for ground in theme.LAYERS:
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground


def test_bounds_hold_all_marks() -> None:
    assert bounds((Box(1, 2, 3, 4), Dot(10, 1, 2), LineMark(0, 9, 1, 1))) == (12, 9)
    assert bounds((Group((Box(0, 0, 5, 5),), shift=(7, 8)),)) == (12, 13)
    assert bounds(()) == (0, 0)
    assert bounds((Label(100, 10, "end", anchor="end"),))[0] == 100


@given(st.text(max_size=80), st.floats(0, 400))
def test_a_fitted_text_fits(text: str, room: float) -> None:
    cut = fitted(text, room, "small")
    assert cut == text or text_width(cut, "small") <= room
    assert cut in ("", text) or (cut.endswith("…") and text.startswith(cut[:-1]))


def test_panels_below_each_other() -> None:
    first = Panel(Drawing(50, 20, (Box(0, 0, 50, 20),), "one"), "a")
    assert stacked([first]) is first.drawing
    both = stacked([first, Panel(Drawing(80, 30, (), "two"), "b")])
    assert (both.width, both.height, both.label) == (80, 140, "one; two")
    assert [mark.text for mark in both.marks if isinstance(mark, Label)] == ["a", "b"]
