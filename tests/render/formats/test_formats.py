"""Markdown and SVG, and goldens of the text formats."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.render.document import Cell, Column, Document, Fields, Paragraph, Row, Table
from resnet_cli.render.formats.markdown import to_markdown
from resnet_cli.render.formats.svg import to_svg
from resnet_cli.render.output import render
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult


@pytest.mark.parametrize(
    ("medium", "suffix"), [("csv", "csv"), ("markdown", "md"), ("svg", "svg"), ("terminal", "txt")]
)
def test_golden(
    summary: SummaryResult, flops: FlopsResult, golden: Callable[[str, str], None], medium: str, suffix: str
) -> None:
    golden(f"summary.{suffix}", render(summary, medium))
    golden(f"flops.{suffix}", render(flops, medium))


# Markdown


def table_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_markdown_tables_have_as_many_cells_in_every_row(summary: SummaryResult, flops: FlopsResult) -> None:
    for result in (summary, flops):
        for block in render(result, "markdown").split("\n\n"):
            lines = table_rows(block)
            assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) <= 1


@given(st.text(st.characters(codec=None)))
def test_markdown_escapes_what_comes_from_outside(text: str) -> None:
    column = Column("name", "n", numeric=False)
    page = Document(
        text,
        (
            Table("t", text, (column,), (Row({"name": Cell(text)}),)),
            Fields(text, ((text, Cell(text)),)),
            Paragraph("note", text),
        ),
    )
    drawn = to_markdown(page)
    own = drawn.replace("&nbsp;", "").replace("<span></span>", "")
    assert re.sub(r"> \[!NOTE\]\n> ", "", own).count("<") == 0
    for line in table_rows(drawn):
        assert len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) in (3, 4)


def test_markdown_has_notes_and_warnings(summary: SummaryResult) -> None:
    text = render(summary, "markdown")
    assert "> [!NOTE]\n> a sentence \\[/x\\] \\| of \\*some\\* length" in text
    assert "> [!WARNING]\n> beware of" in text


# SVG


def test_svg_is_whole_and_fetches_nothing(summary: SummaryResult, flops: FlopsResult) -> None:
    for result in (summary, flops):
        text = render(result, "svg")
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        without_namespace = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"http|url\(|@import|@font-face|<script|href|<image", without_namespace)
        assert text == render(result, "svg")


def test_svg_shows_what_the_page_says(summary: SummaryResult) -> None:
    root = ET.fromstring(render(summary, "svg"))
    shown = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
    for text in ("résnet[red]tiny", "29.36 M", "178,219", "✓ agrees", "<this>"):
        assert text in shown
    wide = float(root.attrib["width"])
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        assert float(element.attrib["x"]) + float(element.attrib["textLength"]) <= wide


@given(st.text(st.characters(codec=None)))
def test_svg_of_any_text_is_xml(text: str) -> None:
    table = Table("t", text, (Column("a", text, numeric=False, minimum=4),), (Row({"a": Cell(text, style="bad")}),))
    ET.fromstring(to_svg(Document(text, (table, Paragraph("warning", text)), subtitle=text)))


def test_a_bar_is_a_rectangle() -> None:
    columns = (Column("a", "a", numeric=False), Column("s", "s", bar=True))
    rows = tuple(Row({"a": Cell("x"), "s": Cell("1%", fraction=f)}) for f in (0.0, 0.5, 1.0))
    text = to_svg(Document("", (Table("t", "", columns, rows),)))
    assert [float(x) for x in re.findall(r'class="accent"[^>]* width="([0-9.]+)"', text)] == [33.6, 67.2]
