"""Texts that are wider than their cell and must not be cut: into the next line, or into the empty cell beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from resnet_cli.formatting import width
from resnet_cli.render.document import Column, Table
from resnet_cli.render.text.column_widths import Place
from resnet_cli.render.text.encoding import wrap


def wrapped(texts: Sequence[str], columns: Sequence[Column], places: Sequence[Place]) -> Iterator[list[str]]:
    """A row as the lines that it takes: one, unless it holds a sentence that is wider than its column."""
    parts = [
        list(wrap(text, place.width)) if column.wrap and 0 < place.width < width(text) else [text]
        for text, column, place in zip(texts, columns, places, strict=True)
    ]
    for index in range(max(map(len, parts))):
        yield [part[index] if index < len(part) else "" for part in parts]


def own_part(table: Table, texts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Texts as wide as what each needs of its own column: less, where it runs on into the empty cell beside it."""
    needed = {key: list(column) for key, column in texts.items()}
    for column, beside in pairwise(table.columns):
        room = max(map(width, texts[beside.key]), default=0)
        for index, row in enumerate(table.rows):
            if row.spill and not texts[beside.key][index]:
                needed[column.key][index] = "x" * (width(texts[column.key][index]) - room)
    return needed


def run_on(
    texts: Sequence[str], columns: Sequence[Column], places: Sequence[Place], gap: int
) -> tuple[list[str], list[Column], list[Place]]:
    """A row whose wide texts have taken the empty cells to their right."""
    kept: list[tuple[str, Column, Place]] = []
    for text, column, place in zip(texts, columns, places, strict=True):
        if kept and not text and width(kept[-1][0]) > kept[-1][2].width:
            before, owner, room = kept[-1]
            kept[-1] = before, owner, replace(room, width=room.width + gap + place.width + place.bar)
        else:
            kept.append((text, column, place))
    return [text for text, _, _ in kept], [column for _, column, _ in kept], [place for _, _, place in kept]
