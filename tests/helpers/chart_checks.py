"""What holds for every drawing: marks lie inside the frame, texts do not lie on each other, SVG is well formed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from resnet_cli.render.charts.drawing.axes import extent
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Drawing, Group, Label, LineMark, Mark
from resnet_cli.render.charts.drawing.svg_writer import inline

_SLACK = 0.6


def leaves(marks: tuple[Mark, ...]) -> Iterator[Mark]:
    for mark in marks:
        if isinstance(mark, Group):
            yield from leaves(mark.marks)
        else:
            yield mark


def labels(drawing: Drawing) -> list[Label]:
    return [mark for mark in leaves(drawing.marks) if isinstance(mark, Label)]


def words(drawing: Drawing) -> str:
    return "\n".join(label.text for label in labels(drawing))


def having(drawing: Drawing, role: str) -> list[Mark]:
    """All marks that have a role among theirs."""
    return [mark for mark in leaves(drawing.marks) if role in mark.role.split()]


def outside(drawing: Drawing) -> list[Mark]:
    """Marks that reach beyond the frame."""
    marks = []
    for mark in leaves(drawing.marks):
        left, top, right, down = _extent(mark)
        # NaN compares false with all, so it counts as outside.
        inside = (
            -_SLACK <= left <= right <= drawing.width + _SLACK and -_SLACK <= top <= down <= drawing.height + _SLACK
        )
        if not inside:
            marks.append(mark)
    return marks


def overlapping(drawing: Drawing) -> list[tuple[str, str]]:
    """Pairs of texts that lie on each other."""
    there = [(label.text, extent(label)) for label in labels(drawing) if label.text]
    return [
        (one, other)
        for index, (one, a) in enumerate(there)
        for other, b in there[:index]
        if a[0] < b[2] - 1 and b[0] < a[2] - 1 and a[1] < b[3] - 1 and b[1] < a[3] - 1
    ]


def size(drawing: Drawing) -> int:
    """Bytes in a page; fails where the SVG is not well formed."""
    text = inline(drawing)
    ET.fromstring(text)
    assert not re.search(r'\b(?:[xy][12]?|c[xy]|r|width|height|d)="[^"]*(?:nan|inf)', text)
    return len(text.encode())


def sound(drawing: Drawing | None) -> Drawing:
    """The drawing, of which everything holds that holds for every one."""
    assert drawing is not None
    assert outside(drawing) == []
    assert overlapping(drawing) == []
    size(drawing)
    return drawing


def _extent(mark: Mark) -> tuple[float, float, float, float]:
    match mark:
        case Box():
            assert mark.width >= 0
            assert mark.height >= 0
            return mark.x, mark.y, mark.x + mark.width, mark.y + mark.height
        case Dot():
            return mark.x - mark.radius, mark.y - mark.radius, mark.x + mark.radius, mark.y + mark.radius
        case LineMark():
            xs, ys = (mark.x1, mark.x2), (mark.y1, mark.y2)
            return min(xs), min(ys), max(xs), max(ys)
        case Curve():
            numbers = [number for letter, them in mark.segments if letter.isupper() for number in them]
            return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])
        case Label():
            return extent(mark)
        case Group():
            raise AssertionError("a group is no leaf")
