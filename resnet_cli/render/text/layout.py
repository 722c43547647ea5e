"""A document as lines of text of a given width; each piece has a style, which the medium may show as colour."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from resnet_cli.formatting import width
from resnet_cli.render.document import LOOKS, Cell, Column, Document, Fields, Paragraph, Row, Table
from resnet_cli.render.text.column_widths import BAR, Need, Place, fit
from resnet_cli.render.text.encoding import Charset, pad, wrap
from resnet_cli.render.text.overflow import own_part, run_on, wrapped

TextLine = list[tuple[str, str]]  # pieces of text, each with its style

_PROSE = 110  # sentences are no wider, whatever the medium's width
_NUMBER = re.compile(r"([-+–<±]*[0-9.,]*) (\S+)")


def lines(document: Document, room: int | None, charset: Charset) -> Iterator[TextLine]:
    """The whole document; no line ends with spaces.

    Args:
        document: what to draw.
        room: columns of the medium; None where lines may be as long as they are.
        charset: the characters of the medium.
    """
    yield from map(_trimmed, _lines(document, room, charset))


def _lines(document: Document, room: int | None, charset: Charset) -> Iterator[TextLine]:
    prose = _PROSE if room is None else min(room, _PROSE)
    drawn_legends: set[str] = set()  # a legend is drawn once
    for line in wrap(charset.text(document.title), prose):
        yield [(line, "title")]
    if document.subtitle:
        between = charset.text(" · ")
        for line in wrap(charset.text(document.subtitle), prose if room is None else room, between):
            yield [(line, "dim")]
    for kind, parts in groupby(document.elements, type):
        yield []
        if kind is Fields:
            yield from _bands([part for part in parts if isinstance(part, Fields)], room or _PROSE, charset)
        for index, part in enumerate(parts):
            if isinstance(part, Table):
                yield from ([[]] if index else [])
                yield from _table(part, room, prose, charset, drawn_legends)
            elif isinstance(part, Paragraph):
                yield from ([[]] if index and part.apart else [])
                yield from _paragraph(part, prose, charset)


def _paragraph(paragraph: Paragraph, room: int, charset: Charset) -> Iterator[TextLine]:
    mark = "" if paragraph.level in LOOKS else f"{paragraph.level}: "
    style = "" if mark else paragraph.level
    first, *others = wrap(charset.text(paragraph.text), max(room - len(mark), 8))
    yield [(mark, paragraph.level), (first, style)]
    for line in others:
        yield [(" " * len(mark), ""), (line, style)]


# Fields: lists side by side


def _bands(lists: list[Fields], room: int, charset: Charset) -> Iterator[TextLine]:
    """Lists beside each other, as many as there is room for."""
    gap = 4
    band: list[list[TextLine]] = []
    taken = 0
    for fields in lists:
        drawn = _fields(fields, room, charset)
        wide = _length(drawn[0])
        if band and taken + gap + wide > room:
            yield from _beside(band, gap)
            yield []
            band, taken = [], 0
        band.append(drawn)
        taken += (gap if taken else 0) + wide
    yield from _beside(band, gap)


def _beside(band: list[list[TextLine]], gap: int) -> Iterator[TextLine]:
    for index in range(max(map(len, band), default=0)):
        whole: TextLine = []
        for column, drawn in enumerate(band):
            whole += drawn[index] if index < len(drawn) else [(" " * _length(drawn[0]), "")]
            whole += [(" " * gap, "")] if column < len(band) - 1 else []
        yield whole


def _fields(fields: Fields, room: int, charset: Charset) -> list[TextLine]:
    """A list as lines of one length; where room is short, labels and names are cut and numbers are not."""
    labels = [charset.text(label) for label, _ in fields.items]
    texts = _aligned([charset.text(cell.text) for _, cell in fields.items])
    widest = max(
        (width(text) for text, (_, cell) in zip(texts, fields.items, strict=True) if _is_numeric(cell)), default=0
    )
    label_room = max(min(max(map(width, labels)), room - widest - 2), 1)
    value_room = min(max(map(width, texts)), max(room - label_room - 2, widest), max(widest, room // 3))
    title = charset.cut(charset.text(fields.title), room)
    value_room = max(value_room, width(title) - label_room - 2)
    drawn: list[TextLine] = [[(pad(title, label_room + 2 + value_room), "heading")]]
    for label, text, (_, cell) in zip(labels, texts, fields.items, strict=True):
        shown = text if width(text) <= value_room else charset.cut(text, value_room)
        drawn.append(
            [
                (pad(charset.cut(label, label_room), label_room) + "  ", "dim"),
                (pad(shown, value_room, right=True), cell.style),
            ]
        )
    return drawn


def _is_numeric(cell: Cell) -> bool:
    return isinstance(cell.value, (int, float))


def _length(line: TextLine) -> int:
    return sum(width(text) for text, _ in line)


# Tables


def _table(table: Table, room: int | None, prose: int, charset: Charset, drawn_legends: set[str]) -> Iterator[TextLine]:
    texts = {column.key: _texts(table, column, charset) for column in table.columns}
    depths = [row.depth for row in table.rows]
    own = own_part(table, texts)
    needs = [_need(column, own[column.key], [] if i else depths) for i, column in enumerate(table.columns)]
    gap = 2 if room is None or room >= 60 else 1
    places = fit(needs, room, gap) if room is not None else _with_whole_names(needs, gap)
    columns = [table.columns[place.index] for place in places]
    rule = charset.text("─") * (sum(place.width + place.bar for place in places) + gap * (len(places) - 1))
    if table.title:
        yield [(charset.cut(charset.text(table.title), max(len(rule), prose) if room is None else room), "heading")]
    yield _header(columns, places, gap, charset)
    yield [(rule, "rule")]
    guides = _guides(table, texts[table.columns[0].key], places[0].width)
    for index, row in enumerate(table.rows):
        if row.style == "total" and (not index or table.rows[index - 1].style != "total"):
            yield [(rule, "rule")]
        guide = charset.text(guides[index])
        for drawn in wrapped([texts[column.key][index] for column in columns], columns, places):
            yield _row(row, guide, drawn, columns, places, gap, charset)
            row, guide = replace(row, cells={k: replace(c, fraction=None) for k, c in row.cells.items()}), ""  # noqa: PLW2901
    hidden = [c for i, c in enumerate(table.columns) if i not in {place.index for place in places}]
    with_legend = [column for column in columns if column.legend and column.title + column.legend not in drawn_legends]
    drawn_legends |= {column.title + column.legend for column in with_legend}
    yield from _below(with_legend, hidden, table.reveal, prose, charset)


def _with_whole_names(needs: Sequence[Need], gap: int) -> list[Place]:
    """The places where lines may be as long as they are: only sentences are made narrower, since they wrap."""
    if not any(need.column.wrap for need in needs):
        return fit(needs, None, gap)
    whole = [need if need.column.wrap else replace(need, least=need.natural, comfort=need.natural) for need in needs]
    least = sum(need.comfort + need.bar for need in whole) + gap * (len(needs) - 1)
    return fit(whole, max(_PROSE, least), gap)


def _texts(table: Table, column: Column, charset: Charset) -> list[str]:
    texts = [charset.text(row.cells[column.key].text) if column.key in row.cells else "" for row in table.rows]
    return _aligned(texts) if column.numeric else texts


def _aligned(texts: Sequence[str]) -> list[str]:
    """Numbers with their units below each other: "11.69 M" and "512" become "11.69 M" and "512  "."""
    parts = [match.groups() if (match := _NUMBER.fullmatch(text)) else (text, "") for text in texts]
    unit = max((width(name) for _, name in parts), default=0)
    if not unit:
        return list(texts)
    return [
        f"{number} {pad(name, unit)}" if name else number + " " * (unit + 1) if _is_number(number) else number
        for number, name in parts
    ]


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+–<]?[0-9.,]*", text)) and text != ""


def _need(column: Column, texts: list[str], depths: list[int]) -> Need:
    """The natural width of a column, and how narrow it may get; names in a tree have branches before them."""
    indents = [3 * depth for depth in depths] or [0] * len(texts)
    natural = max([width(text) + indent for text, indent in zip(texts, indents, strict=True)] + [width(column.title)])
    if not column.minimum:
        bar = BAR + 1 if column.bar else 0
        return Need(column, natural, natural, natural + (BAR // 2 + 1 if bar else 0), bar)
    least = min(natural, max(column.minimum, max(depths, default=0) + 5))
    return Need(column, natural, least, min(natural, max(column.comfort or natural, least)))


def _header(columns: list[Column], places: list[Place], gap: int, charset: Charset) -> TextLine:
    drawn: TextLine = []
    for column, place in zip(columns, places, strict=True):
        title = charset.cut(charset.text(column.title), place.width)
        drawn.append((pad(title, place.width, column.numeric) + " " * (place.bar + gap), "head"))
    return drawn


def _row(
    row: Row, guide: str, texts: list[str], columns: list[Column], places: list[Place], gap: int, charset: Charset
) -> TextLine:
    drawn: TextLine = [(guide, "rule")]
    if row.spill:
        texts, columns, places = run_on(texts, columns, places, gap)
    for index, (column, place, text) in enumerate(zip(columns, places, texts, strict=True)):
        cell = row.cells.get(column.key, Cell(""))
        room = max(place.width - (width(guide) if index == 0 else 0), 0)
        shown = charset.cut(text, room) if column.minimum else text
        style = cell.style if row.style != "total" or cell.style not in ("", "dim") else "strong"
        drawn.append((pad(shown, room, column.numeric), style))
        if place.bar and row.style != "total":
            bar = "" if cell.fraction is None else charset.bar(cell.fraction, place.bar - 1)
            drawn.append((" " + pad(bar, place.bar - 1), "bar"))
        drawn.append((" " * (gap + (place.bar if row.style == "total" else 0)), ""))
    return drawn


def _trimmed(line: TextLine) -> TextLine:
    """The line without the spaces at its end."""
    while line and not line[-1][0].rstrip():
        line.pop()
    return [*line[:-1], (line[-1][0].rstrip(), line[-1][1])] if line else line


def _guides(table: Table, names: list[str], room: int) -> list[str]:
    """The branches before the names of a tree, narrower where there is little room."""
    depths = [row.depth for row in table.rows]
    deepest = max(depths, default=0)
    whole = max((width(name) + 3 * depth for name, depth in zip(names, depths, strict=True)), default=0) <= room
    wide = 3 if whole else next((unit for unit in (3, 2) if room - unit * deepest >= 12), 1)
    follows: set[int] = set()  # depths at which a sibling comes later
    drawn = []
    for depth in reversed(depths):
        follows = {each for each in follows if each <= depth}
        bends = "├─ " if depth in follows else "└─ "
        before = "".join(("│" if each in follows else " ").ljust(wide) for each in range(1, depth))
        drawn.append(before + {3: bends, 2: bends[0] + " ", 1: bends[0]}[wide] if depth else "")
        follows.add(depth)
    return drawn[::-1]


def _below(
    with_legend: list[Column], hidden: list[Column], reveal: str, room: int, charset: Charset
) -> Iterator[TextLine]:
    """The lines under a table: hidden columns, then legends."""
    if hidden:
        names = ", ".join(column.key for column in hidden)
        for line in wrap(f"hidden at this width: {names} ({reveal} shows them)", room):
            yield [(line, "hidden")]
    titles = max((width(charset.text(column.title)) for column in with_legend), default=0)
    for column in with_legend:
        first, *others = wrap(charset.text(column.legend), max(room - titles - 2, 8))
        yield [(pad(charset.text(column.title), titles) + "  ", "dim"), (first, "dim")]
        for line in others:
            yield [(" " * (titles + 2), ""), (line, "dim")]
