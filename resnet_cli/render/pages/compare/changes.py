"""What changed from the reference to the model."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.formatting import scaled
from resnet_cli.render.document import Cell, Column, Element, Row, Table
from resnet_cli.render.pages.cells import text_cell
from resnet_cli.results.compare import Change

_UNITS = {"bytes": "B"}  # written behind a value; those of others are the row's title


def changes(rows: Sequence[Change]) -> list[Element]:
    """A row for each quantity."""
    columns = (
        Column("key", "what changed", numeric=False),
        Column("text", "", numeric=False, minimum=24, comfort=60, wrap=True),
        Column("change", ""),
    )
    return [Table("changes", "changes", columns, tuple(map(_row, rows)))] if rows else []


def _row(change: Change) -> Row:
    before, after = change.reference_value, change.model_value
    text, ratio = change.text, Cell("", None)
    if change.unit:
        unit = _UNITS.get(change.unit, "")
        text = f"{_value(before, unit)} → {_value(after, unit)}"
        if before and after is not None:
            percent = 100 * (after / before - 1)
            ratio = Cell("same" if before == after else f"{percent:+.1f}%", after / before)
    return Row({"key": text_cell(change.title), "text": text_cell(text), "change": ratio})


def _value(value: int | None, unit: str) -> str:
    return "not known" if value is None else scaled(value, unit)
