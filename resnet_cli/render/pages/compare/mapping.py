"""Which parameter of the model is which of the reference."""

from __future__ import annotations

from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import exact, listed, text_cell
from resnet_cli.results.compare import Mapping

_LISTED_NAMES = 4


def mapping(result: Mapping, *, with_pairs: bool) -> list[Element]:
    """How many tensors have a counterpart, and which have none; or every pair."""
    if with_pairs:
        return [_pairs(result)]
    text = f"{result.mapped_tensors:,} of {result.model_tensors:,} tensors mapped (by {result.source})"
    if result.reference_tensors != result.model_tensors:
        text += f"; the reference has {result.reference_tensors:,}"
    is_complete = result.mapped_tensors == result.model_tensors == result.reference_tensors
    return [*_unmatched(result), Paragraph("plain" if is_complete else "strong", text)]


def _unmatched(result: Mapping) -> list[Element]:
    lists = (
        ("only in model", result.unmatched_model),
        ("only in reference", result.unmatched_reference),
        ("unused in model", result.unused_model),
    )
    rows = tuple(
        Row(
            {"side": Cell(side), "count": exact(len(names), "strong"), "names": text_cell(listed(names, _LISTED_NAMES))}
        )
        for side, names in lists
        if names
    )
    columns = (
        Column("side", "no counterpart", numeric=False),
        Column("count", "tensors"),
        Column("names", "names", numeric=False, minimum=16, comfort=30, wrap=True),
    )
    return [Table("mapping", "mapping", columns, rows)] if rows else []


def _pairs(result: Mapping) -> Table:
    """Every tensor of both networks; the side without a counterpart is empty."""
    pairs: list[tuple[str | None, str | None]] = [
        *result.pairs,
        *((name, None) for name in result.unmatched_model),
        *((None, name) for name in result.unmatched_reference),
    ]
    sides = ("model", "reference")
    columns = tuple(Column(side, side, numeric=False, minimum=10, comfort=24) for side in sides)
    rows = tuple(Row(dict(zip(sides, map(text_cell, pair), strict=True))) for pair in pairs)
    return Table("mapping", "mapping", columns, rows)
