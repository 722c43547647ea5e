"""Operators that compute the same as other operators of the reference: the same in several places is one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnet_cli.render.document import Cell, Column, Element, Row, Table
from resnet_cli.render.pages.cells import text_cell
from resnet_cli.results.compare import Rewriting


def rewritings(all_rewritings: Sequence[Rewriting], *, collapse: bool) -> list[Element]:
    """A row for each kind, or for each place."""
    if not all_rewritings:
        return []
    groups = groups_of(all_rewritings) if collapse else [[each] for each in all_rewritings]
    columns = (
        *([Column("places", "")] if any(len(group) > 1 for group in groups) else []),
        Column("text", "same function", numeric=False, minimum=16, comfort=40, wrap=True),
    )
    return [Table("rewritings", "written otherwise", columns, tuple(map(_row, groups)))]


def groups_of(all_rewritings: Iterable[Rewriting]) -> list[list[Rewriting]]:
    """Rewritings of the same operators by the same others, in the order of the first."""
    groups: dict[object, list[Rewriting]] = {}
    for each in all_rewritings:
        groups.setdefault((each.model_ops, each.reference_ops), []).append(each)
    return list(groups.values())


def _row(group: Sequence[Rewriting]) -> Row:
    first, last = group[0], group[-1]
    text = first.text
    if len(group) > 1:
        place = last.model_path if last.model_path is not None else last.reference_path
        text += f"; the same in {len(group) - 1} more" + (f", the last is {place}" if place else "")
    places = Cell(f"×{len(group)}" if len(group) > 1 else "", len(group), "strong")
    return Row({"places": places, "text": text_cell(text)})
