"""Text at every width: no figure is cut, nothing sticks out, nothing from outside is obeyed."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.formatting import scaled, width
from resnet_cli.render.document import Cell, Column, Document, Row, Table, ViewOptions
from resnet_cli.render.formats.terminal import to_terminal, to_text
from resnet_cli.render.pages import PAGES, page
from resnet_cli.render.text.encoding import Charset, wrap
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult

WIDTHS = range(20, 251)


@pytest.mark.parametrize("room", [80, 120])
def test_golden_summary(summary: SummaryResult, room: int, golden: Callable[[str, str], None]) -> None:
    golden(f"summary-{room}.txt", to_text(page(summary, ViewOptions()), room))


@pytest.mark.parametrize("room", [80, 120])
def test_golden_flops(flops: FlopsResult, room: int, golden: Callable[[str, str], None]) -> None:
    golden(f"flops-{room}.txt", to_text(page(flops, ViewOptions()), room))


def test_golden_ascii(summary: SummaryResult, golden: Callable[[str, str], None]) -> None:
    text = to_text(page(summary, ViewOptions()), 80, "ascii")
    assert text.isascii()
    golden("summary-80-ascii.txt", text)


def tables(result: SummaryResult | FlopsResult, view: ViewOptions) -> list[Table]:
    return [part for part in page(result, view).elements if isinstance(part, Table)]


def assert_figures_are_whole(table: Table, room: int) -> None:
    """Every figure of every column that is drawn stands in its line with a space, or nothing, on either side."""
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


@pytest.mark.parametrize(
    "columns", [None, PAGES["summary"].column_names(), ("macs",), ("share", "macs", "kind", "output", "peak")]
)
def test_no_figure_is_cut_at_any_width(summary: SummaryResult, columns: tuple[str, ...] | None) -> None:
    (table, *_) = tables(summary, ViewOptions(columns=columns))
    for room in WIDTHS:
        assert_figures_are_whole(table, room)


def test_no_figure_of_flops_is_cut_at_any_width(flops: FlopsResult) -> None:
    for table in tables(flops, ViewOptions(levels=3)):
        for room in WIDTHS:
            assert_figures_are_whole(table, room)


FIGURES = st.integers(0, 10**15) | st.sampled_from([0, 1, 999, 999_950])


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=40), st.integers(0, 3), FIGURES, FIGURES), min_size=1, max_size=6),
    st.integers(20, 250),
    st.lists(st.integers(0, 3), min_size=2, max_size=2),
)
def test_no_figure_of_any_table_is_cut(rows: list[tuple[str, int, int, int]], room: int, priorities: list[int]) -> None:
    columns = (
        Column("name", "name", numeric=False, minimum=8, comfort=20),
        Column("a", "a", priority=priorities[0]),
        Column("b", "b", priority=priorities[1]),
    )
    drawn = tuple(
        Row({"name": Cell(name), "a": Cell(scaled(a, "B"), a), "b": Cell(f"{b:,}", b)}, depth)
        for name, depth, a, b in rows
    )
    assert_figures_are_whole(Table("t", "", columns, drawn, tree=True), room)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp437"])
def test_no_line_is_wider_than_the_terminal(summary: SummaryResult, flops: FlopsResult, encoding: str) -> None:
    for result in (summary, flops):
        drawn = page(result, ViewOptions())
        for room in (*range(20, 130, 7), 250):
            text = to_text(drawn, room, encoding)
            assert max(map(width, text.splitlines())) <= room
            text.encode(encoding)


def test_columns_that_find_no_room_are_named(summary: SummaryResult) -> None:
    text = " ".join(to_text(page(summary, ViewOptions()), 60).split())
    assert "hidden at this width: kind, output, receptive_field, share" in text
    assert "(a wider terminal, --columns or --format json shows them)" in text


def test_of_named_columns_the_last_are_left_out(summary: SummaryResult) -> None:
    columns = ("macs", "flops", "operations", "kind", "saved", "peak")
    for room in range(20, 100):
        text = to_text(page(summary, ViewOptions(columns=columns)), room)
        found = re.search(r"hidden at this width: (.*?)[(]", " ".join(text.split()))
        if found:
            hidden = tuple(found[1].strip().split(", "))
            assert columns[-len(hidden) :] == hidden


def test_figures_of_names_stay_when_names_are_cut() -> None:
    glyphs = Charset()
    assert glyphs.cut("BottleneckIdentity0…4 ×12", 16) == "Bottle…ty0…4 ×12"
    assert glyphs.cut("Conv2d 7×7 /2", 11) == "Co…d 7×7 /2"
    assert glyphs.cut("Conv2d 7×7 /2", 6) == "Conv2…"
    assert glyphs.cut("a sentence that is long", 12) == "a sentence…"
    assert glyphs.cut("anything", 0) == ""


@given(st.text(), st.integers(0, 60), st.sampled_from(["utf-8", "ascii"]))
def test_a_cut_text_fits(text: str, room: int, encoding: str) -> None:
    glyphs = Charset(encoding)
    assert width(glyphs.cut(glyphs.text(text), room)) <= room


@given(st.text(), st.integers(2, 60))
def test_wrapped_lines_fit_and_lose_nothing(text: str, room: int) -> None:
    shown = Charset().text(text)
    lines = list(wrap(shown, room))
    assert all(width(line) <= room for line in lines)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252", None, "no such thing"])
def test_a_bar_of_any_fraction_fits(encoding: str | None) -> None:
    glyphs = Charset(encoding)
    for fraction in (0.0, 1e-9, 0.3, 0.999, 1.0):
        bar = glyphs.bar(fraction, 8)
        assert len(bar) <= 8
        assert bool(bar) == (fraction > 0)


def test_nothing_from_outside_reaches_the_terminal_raw(summary: SummaryResult) -> None:
    text = to_text(page(summary, ViewOptions(columns=PAGES["summary"].column_names())))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "evil\\x1b[2J|<b>[/x]:x:\\u202e" in text
    assert "résnet[red]tiny" in text


def test_off_a_terminal_there_is_no_colour_and_no_width(
    summary: SummaryResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    stream = io.StringIO()
    to_terminal(page(summary, ViewOptions()), stream)
    assert stream.getvalue() == to_text(page(summary, ViewOptions()))
    assert "\x1b" not in stream.getvalue()


def test_legends_are_told_once(flops: FlopsResult) -> None:
    text = to_text(page(flops, ViewOptions()))
    assert text.count("1 MAC = 2 FLOPs") == 1


# On a real terminal


def on_a_terminal(draw: Callable[[io.TextIOWrapper], None], encoding: str = "utf-8") -> str:
    """What reaches the other end of a pseudo-terminal."""
    main, other = pty.openpty()
    received: list[bytes] = []

    def receive() -> None:
        while True:
            try:
                received.append(os.read(main, 65536))
            except OSError:
                return
            if not received[-1]:
                return

    reader = threading.Thread(target=receive)
    reader.start()
    with io.TextIOWrapper(os.fdopen(other, "wb", buffering=0), encoding=encoding, write_through=True) as stream:
        draw(stream)
    reader.join(10)
    os.close(main)
    return b"".join(received).decode(encoding).replace("\r\n", "\n")


@pytest.mark.parametrize("room", [20, 40, 60, 80, 120, 200])
def test_a_terminal_has_colour_and_the_same_text(
    summary: SummaryResult, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(room))
    drawn = page(summary, ViewOptions())
    shown = on_a_terminal(lambda stream: to_terminal(drawn, stream))
    assert "\x1b[" in shown
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == to_text(drawn, room)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colour_gets_none(
    summary: SummaryResult, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("FORCE_COLOR", "1")
    drawn = page(summary, ViewOptions())
    assert on_a_terminal(lambda stream: to_terminal(drawn, stream)) == to_text(drawn, 80)


def test_an_ascii_terminal_gets_ascii(summary: SummaryResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    drawn = page(summary, ViewOptions())
    assert on_a_terminal(lambda stream: to_terminal(drawn, stream), "ascii") == to_text(drawn, 80, "ascii")


@pytest.mark.parametrize("columns", ["", "0", "x", "9" * 30])
def test_odd_columns_are_passed_over(summary: SummaryResult, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = on_a_terminal(lambda stream: to_terminal(page(summary, ViewOptions()), stream))
    assert shown == to_text(page(summary, ViewOptions()), 80)  # a pseudo-terminal of no size


def test_drawing_needs_no_torch_and_text_no_rich() -> None:
    code = (
        "import sys, resnet_cli.render.output, resnet_cli.render.formats.terminal, resnet_cli.results.serialization\n"
        "sys.exit(sorted({'torch', 'rich', 'typer', 'csv'} & set(sys.modules)) != [])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
