"""CSV, Markdown and SVG."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import Cell, Column, Document, Fields, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.formats.csv import to_csv
from resnet_cli.render.formats.markdown import to_markdown
from resnet_cli.render.formats.svg import to_svg
from resnet_cli.render.output import Format, render
from resnet_cli.render.pages import PAGES
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult


@pytest.mark.parametrize(
    ("medium", "suffix"), [(Format.CSV, "csv"), (Format.MARKDOWN, "md"), (Format.SVG, "svg"), (Format.TERMINAL, "txt")]
)
def test_golden(
    summary: SummaryResult, flops: FlopsResult, golden: Callable[[str, str], None], medium: Format, suffix: str
) -> None:
    golden(f"summary.{suffix}", render(summary, medium))
    golden(f"flops.{suffix}", render(flops, medium))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# CSV


def test_csv_has_every_column_and_every_layer(summary: SummaryResult) -> None:
    found = rows(render(summary, Format.CSV))
    assert tuple(found[0]) == ("layer", *PAGES["summary"].column_names())
    assert [row["layer"] for row in found[:5]] == [
        "head",
        "l0",
        "l0.block",
        "l0.block.ResIdentity0",
        "l0.block.ResIdentity0.conv1",
    ]


def test_csv_leaves_add_up_exactly(summary: SummaryResult) -> None:
    *layers, total = rows(render(summary, Format.CSV))
    parents = {row["layer"].rpartition(sign)[0] for row in layers for sign in ".:"}
    leaves = [row for row in layers if row["layer"] not in parents]
    for column in ("parameters", "trainable", "macs", "flops", "operations", "activation", "saved", "buffers", "moved"):
        assert sum(int(row[column]) for row in leaves) == int(total[column]), column
    assert total["macs"] == str(summary.macs)


def test_csv_holds_what_the_view_asks_for(summary: SummaryResult, flops: FlopsResult) -> None:
    view = ViewOptions(columns=("macs", "kind"), levels=1)
    assert render(summary, Format.CSV, view).splitlines()[:2] == [
        "layer,macs,kind",
        "head,884736,Conv2d 3×5 /2×1 d2 g4",
    ]
    assert render(flops, Format.CSV).startswith("operator,phase,")
    for section in PAGES["flops"].sections:
        assert rows(render(flops, Format.CSV, ViewOptions(sections=(section, "parts") if section != "parts" else None)))


def test_csv_of_figures_is_raw(flops: FlopsResult) -> None:
    first = rows(render(flops, Format.CSV, ViewOptions(sections=("conventions",))))[1]
    assert (first["predicted"], first["measured"], first["verdict"]) == ("3400750", "3400001", "differs")
    assert rows(render(flops, Format.CSV, ViewOptions(sections=("conventions",))))[3]["measured"] == ""


@given(st.text(st.characters(codec=None)))
def test_csv_runs_nothing_and_reads_back(text: str) -> None:
    page = Document("", (Table("t", "", (Column("name", "n"),), (Row({"name": Cell(text, text)}),)),))
    [[header], *body] = csv.reader(io.StringIO(to_csv(page)))
    assert header == "name"
    [read] = body or [[""]]
    cell = read[0] if read else ""
    assert cell.isprintable()
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_csv_keeps_negative_figures(flops: FlopsResult) -> None:
    found = rows(render(flops, Format.CSV, ViewOptions(sections=("walks",))))
    assert found[1]["difference"] == "-1200000"


def test_csv_of_walks_holds_all_of_them(flops: FlopsResult) -> None:
    twice = replace(flops, reconciliations=flops.reconciliations * 2)
    once, both = (rows(render(result, Format.CSV, ViewOptions(sections=("walks",)))) for result in (flops, twice))
    assert both == once * 2
    assert once[1]["coefficient"] == "2 → 1"


def test_csv_of_a_table_that_there_is_none_of(flops: FlopsResult) -> None:
    with pytest.raises(ResnetCliError, match="no table to write as CSV"):
        render(replace(flops, reconciliations=()), Format.CSV, ViewOptions(sections=("walks",)))


# Markdown


def table_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_markdown_tables_have_as_many_cells_in_every_row(summary: SummaryResult, flops: FlopsResult) -> None:
    for result in (summary, flops):
        for block in render(result, Format.MARKDOWN).split("\n\n"):
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
    text = render(summary, Format.MARKDOWN)
    assert "> [!NOTE]\n> a sentence \\[/x\\] \\| of \\*some\\* length" in text
    assert "> [!WARNING]\n> beware of" in text


# SVG


def test_svg_is_whole_and_fetches_nothing(summary: SummaryResult, flops: FlopsResult) -> None:
    for result in (summary, flops):
        text = render(result, Format.SVG)
        root = ET.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        without_namespace = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"http|url\(|@import|@font-face|<script|href|<image", without_namespace)
        assert text == render(result, Format.SVG)


def test_svg_shows_what_the_page_says(summary: SummaryResult) -> None:
    root = ET.fromstring(render(summary, Format.SVG))
    said = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
    for text in ("résnet[red]tiny", "29.36 M", "178,219", "✓ agrees", "<this>"):
        assert text in said
    wide = float(root.attrib["width"])
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        assert float(element.attrib["x"]) + float(element.attrib["textLength"]) <= wide


@given(st.text(st.characters(codec=None)))
def test_svg_of_any_text_is_xml(text: str) -> None:
    table = Table("t", text, (Column("a", text, numeric=False, minimum=4),), (Row({"a": Cell(text, style="bad")}),))
    ET.fromstring(to_svg(Document(text, (table, Paragraph("warning", text)), subtitle=text)))


def test_a_bar_is_a_rectangle() -> None:
    columns = (Column("a", "a", numeric=False), Column("s", "s", bar=True))
    rows = tuple(Row({"a": Cell("x"), "s": Cell("1 %", fraction=f)}) for f in (0.0, 0.5, 1.0))
    text = to_svg(Document("", (Table("t", "", columns, rows),)))
    assert [float(x) for x in re.findall(r'class="bar"[^>]* width="([0-9.]+)"', text)] == [33.6, 67.2]


def test_a_name_of_a_formula_is_escaped(summary: SummaryResult) -> None:
    root = replace(summary.root, children=(replace(summary.root.children[0], path="=1+1", name="=1+1"),))
    assert rows(render(replace(summary, root=root), Format.CSV))[0]["layer"] == "'=1+1"


def test_a_column_of_a_damaged_file_reaches_csv_spelled_out() -> None:
    """A saved comparison names its own checks, and each of them is a column."""
    columns = (Column("check_\x1b[2J", "check", numeric=False),)
    text = to_csv(Document("", (Table("members", "", columns, (Row({"check_\x1b[2J": Cell("x", "x")}),)),)))
    assert text == "check_\\x1b[2J\nx\n"
