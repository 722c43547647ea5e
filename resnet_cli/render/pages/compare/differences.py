"""The differences between two networks: those that say the same of several places are one row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import counted, text_cell, yes_no
from resnet_cli.results.compare import Difference

_DRAWN_GROUPS = 20


def groups_of(all_differences: Iterable[Difference]) -> list[list[Difference]]:
    """Differences that say the same of several places, in the order of the first."""
    groups: dict[object, list[Difference]] = {}
    for each in all_differences:
        missing_sides = each.model_path is None, each.reference_path is None
        values = () if _is_measured(each) else (each.model_value, each.reference_value)
        key = (each.check, each.category, each.subject, each.expected, missing_sides, values)
        groups.setdefault(key, []).append(each)
    return list(groups.values())


def _is_measured(difference: Difference) -> bool:
    """Whether its values are measurements, which vary from place to place."""
    return difference.category == "value" or difference.check not in ("parameters", "settings")


def differences(all_differences: Sequence[Difference], *, collapse: bool) -> list[Element]:
    """A row for each group, the expected ones last; or a row for each difference."""
    if not all_differences:
        return []
    groups = groups_of(all_differences) if collapse else [[each] for each in all_differences]
    groups.sort(key=lambda group: group[0].expected)
    drawn = groups[:_DRAWN_GROUPS] if collapse else groups
    columns = (
        Column("expected", "", numeric=False),
        *([Column("places", "")] if any(len(group) > 1 for group in drawn) else []),
        Column("text", "difference", numeric=False, minimum=16, comfort=40, wrap=True),
    )
    elements: list[Element] = [Table("differences", "differences", columns, tuple(map(_row, drawn)))]
    hidden = sum(map(len, groups[len(drawn) :]))
    if hidden:
        elements.append(Paragraph("note", f"{counted(hidden, 'more difference')}: --no-collapse shows them all"))
    return elements


def _lines(difference: Difference) -> str:
    """The lines of a difference in brackets: of both networks where they are not the same."""
    line, reference_line = difference.model_line, difference.reference_line
    lines = [line] if line else []
    lines += [f"reference {reference_line}"] if reference_line not in (None, line) else []
    return f" ({', '.join(lines)})" if lines else ""


def _row(group: Sequence[Difference]) -> Row:
    first, last = group[0], group[-1]
    text = f"expected: {first.text}" if first.expected else first.text
    text += _lines(first)
    if len(group) > 1:
        place = last.model_path if last.model_path is not None else last.reference_path
        text += f"; {'also different' if _is_measured(first) else 'the same'} in {len(group) - 1} more"
        text += f", the last is {place}" if place else ""
    return Row(
        {
            "expected": yes_no(first.expected, "", ""),
            "places": Cell(f"×{len(group)}" if len(group) > 1 else "", len(group), "strong"),
            "text": text_cell(text),
        }
    )
