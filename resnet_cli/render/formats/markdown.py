"""A page as GitHub's Markdown, to paste into an issue or a README."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from resnet_cli.formatting import printable
from resnet_cli.render.document import Cell, Document, Fields, Paragraph, Row, Table

_INDENT = "&nbsp;" * 4  # GitHub keeps no other space at the start of a cell
_LINK = re.compile(r"([a-z]:)(//)|(@)(\w)", re.IGNORECASE)
_LIST = re.compile(r"^([-+>]|[0-9]+[.)])(?=\s)")


def to_markdown(page: Document) -> str:
    """Headings, tables and quotes."""
    blocks = [f"# {_safe(page.title)}", *([_safe(page.subtitle)] if page.subtitle else [])]
    for part in page.elements:
        blocks += (
            _facts(part) if isinstance(part, Fields) else _table(part) if isinstance(part, Table) else _remark(part)
        )
    return "\n\n".join(blocks) + "\n"


def _safe(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    escaped = re.sub(r"([\\`*_\[\]~|#])", r"\\\1", html.escape(printable(text), quote=False))
    return _LINK.sub(r"\1<span></span>\2", _LIST.sub(r"\\\1", escaped))


def _facts(facts: Fields) -> Iterator[str]:
    yield f"## {_safe(facts.title)}"
    yield "\n".join(["| | |", "|:--|--:|", *(f"| {_safe(label)} | {_cell(cell)} |" for label, cell in facts.items)])


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield f"## {_safe(table.title)}"
    lines = [
        _line([_safe(column.title) for column in table.columns]),
        _line(["--:" if column.numeric else ":--" for column in table.columns]),
        *(_line(_row(table, row)) for row in table.rows),
    ]
    yield "\n".join(lines)
    said = [f"- {_safe(column.title)}: {_safe(column.legend)}" for column in table.columns if column.legend]
    if said:
        yield "\n".join(said)


def _row(table: Table, row: Row) -> Iterator[str]:
    for index, column in enumerate(table.columns):
        text = _cell(row.cells.get(column.key, Cell("")))
        if index == 0:
            text = _INDENT * row.depth + text
        yield f"**{text}**" if text and row.style == "total" else text


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return _safe(cell.text)


def _remark(remark: Paragraph) -> Iterator[str]:
    text = _safe(remark.text)
    yield {
        "warning": f"> [!WARNING]\n> {text}",
        "dim": f"<sub>{text}</sub>",
        "plain": text,
        **dict.fromkeys(("strong", "good", "bad"), f"**{text}**"),
    }.get(remark.level, f"> [!NOTE]\n> {text}")
