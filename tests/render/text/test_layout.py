"""Text at every width: numbers are whole, names give way, nothing sticks out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.formatting import scaled, width
from resnet_cli.render.document import Cell, Column, Document, Fields, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.pages import page
from resnet_cli.render.text.encoding import Charset, wrap
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult
from tests.helpers import results_bench, results_compare
from tests.helpers.results_doctor import broken_result

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

EVERY: dict[str, Result] = {
    "doctor": broken_result(),
    "bench": results_bench.everything(),
    "bench-cuda": results_bench.on_cuda(),
    "bench-replicas": results_bench.replicated(),
    **{name: make() for name, make in results_compare.EVERY.items()},
}
MEDIA = [*((room, "utf-8") for room in (20, 33, 59, 60, 80, 120)), (20, "ascii"), (40, "cp437"), (80, "cp1252")]


@pytest.mark.parametrize("name", [*EVERY, "summary", "flops"])
def test_no_line_is_wider_than_the_terminal(name: str, summary: SummaryResult, flops: FlopsResult) -> None:
    document = page({**EVERY, "summary": summary, "flops": flops}[name], ViewOptions())
    for room, encoding in MEDIA:
        text = to_text(document, room, encoding)
        text.encode(encoding)
        assert max(map(width, text.splitlines())) <= room
        assert text.replace("\n", "").isprintable()


def assert_numbers_are_whole(table: Table, room: int) -> None:
    """Every number of every column that is drawn stands in its line, with a space or nothing on either side."""
    lines = to_text(Document("", (replace(table, title=""),)), room).splitlines()[2:]
    assert all(width(line) <= room for line in lines)
    header, _, *body = lines
    titles = header.split()
    rows = [line for line in body if not re.fullmatch("─+", line)][: len(table.rows)]
    for row, line in zip(table.rows, rows, strict=True):
        for column in table.columns[1:]:
            text = row.cells[column.key].text if column.key in row.cells else ""
            if column.numeric and text and column.title in titles:
                spaced = re.escape(text).replace(r"\ ", " +")
                assert re.search(rf"(?<!\S){spaced}(?!\S)", line), (column.key, text, line)


NUMBERS = st.integers(0, 10**15) | st.sampled_from([0, 1, 999, 999_950])


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=40), st.integers(0, 3), NUMBERS, NUMBERS), min_size=1, max_size=6),
    st.integers(20, 250),
    st.lists(st.integers(0, 3), min_size=2, max_size=2),
)
def test_no_number_of_any_table_is_cut(
    rows: Sequence[tuple[str, int, int, int]], room: int, priorities: list[int]
) -> None:
    columns = (
        Column("name", "name", numeric=False, minimum=8, comfort=20),
        Column("a", "a", priority=priorities[0]),
        Column("b", "b", priority=priorities[1]),
    )
    drawn = tuple(
        Row({"name": Cell(name), "a": Cell(scaled(a, "B"), a), "b": Cell(f"{b:,}", b)}, depth)
        for name, depth, a, b in rows
    )
    assert_numbers_are_whole(Table("t", "", columns, drawn, tree=True), room)


def test_columns_that_find_no_room_are_named(summary: SummaryResult) -> None:
    text = " ".join(to_text(page(summary, ViewOptions()), 60).split())
    assert re.search(r"hidden at this width: layer_type, output_shape,.* macs_share \(", text)


def test_of_named_columns_the_last_are_hidden(summary: SummaryResult) -> None:
    columns = ("macs", "flops", "ops", "layer_type", "saved_for_backward_bytes", "peak_bytes")
    for room in range(20, 100, 7):
        text = to_text(page(summary, ViewOptions(columns=columns)), room)
        match = re.search(r"hidden at this width: (.*?)[(]", " ".join(text.split()))
        if match:
            hidden = tuple(match[1].replace(" ", "").split(","))
            assert columns[-len(hidden) :] == hidden


# Cutting and wrapping


def test_numbers_in_names_stay_when_names_are_cut() -> None:
    charset = Charset()
    assert charset.cut("BottleneckIdentity0…4 ×12", 16) == "Bottle…ty0…4 ×12"
    assert charset.cut("Conv2d 7×7 /2", 11) == "Co…d 7×7 /2"
    assert charset.cut("Conv2d 7×7 /2", 6) == "Conv2…"
    assert charset.cut("a sentence that is long", 12) == "a sentence…"
    assert charset.cut("anything", 0) == ""


@given(st.text(), st.integers(0, 60), st.sampled_from(["utf-8", "ascii"]))
def test_a_cut_text_fits(text: str, room: int, encoding: str) -> None:
    charset = Charset(encoding)
    assert width(charset.cut(charset.text(text), room)) <= room


@given(st.text(), st.integers(2, 60))
def test_wrapped_lines_fit_and_lose_nothing(text: str, room: int) -> None:
    shown = Charset().text(text)
    lines = list(wrap(shown, room))
    assert all(width(line) <= room for line in lines)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")


def test_a_number_and_its_unit_stay_on_one_line() -> None:
    assert list(wrap("take 14.72 ms of 2 miles", 10)) == ["take", "14.72 ms", "of 2 miles"]
    assert list(wrap("take 2 miles", 7)) == ["take 2", "miles"]


@given(st.lists(st.text("ab 名", max_size=60), min_size=1, max_size=4), st.integers(20, 60))
def test_a_sentence_goes_on_in_the_next_line(sentences: list[str], room: int) -> None:
    columns = (Column("a", "a", numeric=False), Column("b", "b", numeric=False, minimum=6, wrap=True))
    table = Table("t", "", columns, tuple(Row({"a": Cell("x"), "b": Cell(text)}) for text in sentences))
    lines = to_text(Document("", (table,)), room).splitlines()[4:]  # title, space, head, rule
    assert all(width(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == "".join("x" + "".join(text.split()) for text in sentences)


def test_a_sentence_wraps_where_lines_may_be_of_any_length_and_nothing_else_is_cut() -> None:
    columns = (
        Column("name", "name", numeric=False, minimum=4, comfort=8),
        Column("text", "text", numeric=False, minimum=6, comfort=20, wrap=True),
        Column("number", "number", priority=1),
        Column("other", "other", numeric=False, minimum=4, comfort=8),
    )
    row = Row({"name": Cell("n" * 60), "text": Cell("word " * 80), "number": Cell("1,234"), "other": Cell("o" * 60)})
    first, *others = to_text(Document("", (Table("t", "", columns, (row,)),))).splitlines()[4:]
    assert [len(part) for part in first.split() if part != "word"] == [60, 5, 60]
    assert len(others) > 10
    assert {width(line) for line in others} <= {60 + 2 + 19}
    short = Row({"name": Cell("n"), "text": Cell("word " * 80), "number": Cell("1"), "other": Cell("o")})
    lines = to_text(Document("", (Table("t", "", columns, (short,)),))).splitlines()[2:]
    assert 100 < max(map(width, lines)) <= 110


def test_a_head_runs_on_into_the_empty_cell_beside_it() -> None:
    columns = tuple(Column(key, key, numeric=False, minimum=4) for key in "abc")
    head = Row({"a": Cell("a-long-head"), "c": Cell("c-head")}, spill=True)
    table = Table("t", "", columns, (head, Row({"a": Cell("a"), "b": Cell("b" * 20), "c": Cell("c")})))
    assert "a-long-head" in to_text(Document("", (table,)), 24)
    cut = replace(table, rows=(replace(head, spill=False), table.rows[1]))
    assert "a-long-head" not in to_text(Document("", (cut,)), 24)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252", None, "no such thing"])
def test_a_bar_of_any_fraction_fits(encoding: str | None) -> None:
    charset = Charset(encoding)
    for fraction in (0.0, 1e-9, 0.3, 0.999, 1.0):
        bar = charset.bar(fraction, 8)
        assert len(bar) <= 8
        assert bool(bar) == (fraction > 0)


# Fields and paragraphs


def test_units_stand_below_each_other() -> None:
    items = (("a", Cell("±0.4 kB", 0.004)), ("b", Cell("14.72 ms", 0.01472)), ("c", Cell("512", 512)))
    for encoding in ("utf-8", "ascii"):
        lines = to_text(Document("", (Fields("t", items),)), 40, encoding).splitlines()[-3:]
        assert lines[0].index("kB") == lines[1].index("ms") == lines[2].index("2") + 2


def test_a_paragraph_may_stand_apart() -> None:
    document = Document("t", (Paragraph("plain", "a"), Paragraph("plain", "b", apart=True), Paragraph("plain", "c")))
    assert to_text(document) == "t\n\na\n\nb\nc\n"
    assert to_text(Document("t", (Paragraph("plain", "a", apart=True),))) == "t\n\na\n"
