"""What holds for every result in every format: what a view selects is there, whole, valid and safe."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import itertools
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import width
from resnet_cli.render.document import Table, ViewOptions
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.output import render
from resnet_cli.render.pages import PAGES, page
from tests.helpers.results import SAMPLES

HOSTILE = "x\x1b[2J\u202e\x07\r\n<script>|`*_[red]&\x9b"
TEXTS = tuple(key for key in RESULT_FORMATS if key not in ("json", "csv"))  # made from the document


def hostile(value: Any) -> Any:
    """The same result with every text that comes from outside spoilt."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        outside = {"path", "name", "model", "reference", "text", "reason", "device_name", "image", "prefix", "title"}
        changed = {}
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            changed[field.name] = (
                inner + HOSTILE if field.name in outside and isinstance(inner, str) else hostile(inner)
            )
        return dataclasses.replace(value, **changed)
    return tuple(map(hostile, value)) if isinstance(value, tuple) else value


def views(kind: str) -> Iterator[ViewOptions]:
    spec = PAGES[kind]
    yield ViewOptions()
    for section in spec.sections:
        yield ViewOptions(sections=(section,))
    if spec.columns:
        yield ViewOptions(columns=("saved_for_backward_bytes", "macs"))
    if spec.levels:
        yield ViewOptions(levels=1)
    if spec.collapse:
        yield ViewOptions(collapse=False)


@functools.cache
def drawn(kind: str, view: ViewOptions, medium: str) -> str:
    return render(SAMPLES[kind](), medium, view)


CASES = [pytest.param(kind, view, id=f"{kind}-{index}") for kind in SAMPLES for index, view in enumerate(views(kind))]


class Headers(HTMLParser):
    """The titles of columns in a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.text = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "th" and ("scope", "col") in attrs:
            self.titles.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "th"

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"
        if self._inside:
            self.titles[-1] += data.strip()


@pytest.mark.parametrize("medium", RESULT_FORMATS)
@pytest.mark.parametrize(("kind", "view"), CASES)
def test_every_format_is_valid_and_safe(kind: str, view: ViewOptions, medium: str) -> None:
    try:
        text = render(hostile(SAMPLES[kind]()), medium, view)
    except ResnetCliError as error:
        assert (medium, "has no" in error.message) == ("csv", True)  # noqa: PT017  # a section without rows
        return
    assert all(character.isprintable() or character == "\n" for character in text)
    if medium == "json":
        json.loads(text)
    elif medium == "csv":
        assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1
    elif medium == "svg":
        ET.fromstring(text)
    elif medium == "html":
        assert "<script>|" not in text


@pytest.mark.parametrize(("kind", "view"), CASES)
def test_a_terminal_cuts_no_number_and_no_line(kind: str, view: ViewOptions) -> None:
    document = page(SAMPLES[kind](), view)
    media = list(itertools.product((40, 80, 120), ("utf-8", "ascii", "latin-1")))
    for room, encoding in media if view == ViewOptions() else media[::4]:
        text = to_text(document, room, encoding)
        text.encode(encoding)
        assert max(map(width, text.splitlines())) <= room
        known = set(re.findall(r"[0-9][0-9,.]*", to_text(document, None, encoding).replace("\n", " ")))
        for number in re.findall(r"(?<=  )[0-9][0-9,.]*(?= |$)", text, re.MULTILINE):
            assert number in known


def titles(kind: str, view: ViewOptions) -> list[list[str]]:
    return [
        [column.title for column in element.columns if column.title]
        for element in page(SAMPLES[kind](), view).elements
        if isinstance(element, Table)
    ]


@pytest.mark.parametrize(("kind", "view"), CASES)
def test_a_view_shows_the_same_tables_in_every_format(kind: str, view: ViewOptions) -> None:
    """`-o x.html` once ignored what a view selects."""
    expected = titles(kind, view)
    shown = [title for title in Headers(drawn(kind, view, "html")).titles if title]
    wanted = [title for table in expected for title in table]
    overview = shown[: len(shown) - len(wanted)]  # has a column for each network
    assert shown == overview + wanted
    assert len(overview) <= 1
    for medium in ("markdown", "terminal"):
        for table in expected:
            lines = drawn(kind, view, medium).splitlines()
            assert any(all(title.split()[0] in line for title in table) for line in lines), table
    assert len(re.findall(r"^\| :?--", drawn(kind, view, "markdown"), re.MULTILINE)) == len(expected)


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if PAGES[kind].columns])
def test_columns_are_those_that_are_asked_for(kind: str) -> None:
    spec, chosen = PAGES[kind], ("saved_for_backward_bytes", "macs", "layer_type")
    view = ViewOptions(columns=chosen)
    tables = [each for each in page(SAMPLES[kind](), view).elements if isinstance(each, Table)]
    assert chosen in [tuple(column.key for column in table.columns[1:]) for table in tables]
    header = next(csv.reader(io.StringIO(render(SAMPLES[kind](), "csv", view))))
    assert header == ["path", "depth", *chosen]
    every = next(csv.reader(io.StringIO(render(SAMPLES[kind](), "csv", ViewOptions(columns=spec.column_names())))))
    assert every == ["path", "depth", *spec.column_names()]


@pytest.mark.parametrize(("kind", "view"), CASES)
def test_numbers_have_one_spelling(kind: str, view: ViewOptions) -> None:
    for medium in TEXTS:
        text = drawn(kind, view, medium)
        if medium == "html":
            text = Headers(text).text
        assert not re.search(r"[0-9] %", text)
        assert not re.search(r"[0-9] ?[kMGTP] (?:MAC|FLOP|B\b)", text)
        assert not re.search(r"[0-9](?:MAC|FLOP)", text)
