"""A page as lines of text of a given width, each piece with its role; colour is the medium's own."""

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

TextLine = list[tuple[str, str]]  # text and role

_PROSE = 110  # sentences are no wider, whatever the medium's width
_FIGURE = re.compile(r"([-+–<±]*[0-9.,]*) (\S+)")


def lines(page: Document, room: int | None, glyphs: Charset) -> Iterator[TextLine]:
    """The whole page, no line with spaces at its end.

    Args:
        page: what to draw.
        room: columns of the medium; None where lines may be as long as they are.
        glyphs: the characters of the medium.
    """
    yield from map(_trimmed, _lines(page, room, glyphs))


def _lines(page: Document, room: int | None, glyphs: Charset) -> Iterator[TextLine]:
    prose = _PROSE if room is None else min(room, _PROSE)
    told: set[str] = set()  # legends that stand on the page already
    for line in wrap(glyphs.text(page.title), prose):
        yield [(line, "title")]
    if page.subtitle:
        between = glyphs.text(" · ")
        for line in wrap(glyphs.text(page.subtitle), prose if room is None else room, between):
            yield [(line, "dim")]
    for kind, parts in groupby(page.elements, type):
        yield []
        if kind is Fields:
            yield from _bands([part for part in parts if isinstance(part, Fields)], room or _PROSE, glyphs)
        for index, part in enumerate(parts):
            if isinstance(part, Table):
                yield from ([[]] if index else [])
                yield from _table(part, room, prose, glyphs, told)
            elif isinstance(part, Paragraph):
                yield from ([[]] if index and part.apart else [])
                yield from _remark(part, prose, glyphs)


def _remark(remark: Paragraph, room: int, glyphs: Charset) -> Iterator[TextLine]:
    mark = "" if remark.level in LOOKS else f"{remark.level}: "
    role = "" if mark else remark.level
    found = list(wrap(glyphs.text(remark.text), max(room - len(mark), 8)))
    yield [(mark, remark.level), (found[0], role)]
    for line in found[1:]:
        yield [(" " * len(mark), ""), (line, role)]


# Facts: lists side by side


def _bands(them: list[Fields], room: int, glyphs: Charset) -> Iterator[TextLine]:
    """Lists of facts beside each other, as many as there is room for."""
    gap = 4
    band: list[list[TextLine]] = []
    taken = 0
    for each in them:
        drawn = _facts(each, room, glyphs)
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


def _facts(facts: Fields, room: int, glyphs: Charset) -> list[TextLine]:
    """A list of facts as lines of one length; where room is short, labels and names are cut and figures are not."""
    labels = [glyphs.text(label) for label, _ in facts.items]
    texts = _aligned([glyphs.text(cell.text) for _, cell in facts.items])
    widest = max((width(t) for t, (_, cell) in zip(texts, facts.items, strict=True) if _is_known(cell)), default=0)
    label_room = max(min(max(map(width, labels)), room - widest - 2), 1)
    value_room = min(max(map(width, texts)), max(room - label_room - 2, widest), max(widest, room // 3))
    title = glyphs.cut(glyphs.text(facts.title), room)
    value_room = max(value_room, width(title) - label_room - 2)
    drawn: list[TextLine] = [[(pad(title, label_room + 2 + value_room), "heading")]]
    for label, text, (_, cell) in zip(labels, texts, facts.items, strict=True):
        shown = text if width(text) <= value_room else glyphs.cut(text, value_room)
        drawn.append(
            [
                (pad(glyphs.cut(label, label_room), label_room) + "  ", "dim"),
                (pad(shown, value_room, right=True), cell.style),
            ]
        )
    return drawn


def _is_known(cell: Cell) -> bool:
    return isinstance(cell.value, (int, float))


def _length(line: TextLine) -> int:
    return sum(width(text) for text, _ in line)


# Tables


def _table(table: Table, room: int | None, prose: int, glyphs: Charset, told: set[str]) -> Iterator[TextLine]:
    texts = {column.key: _texts(table, column, glyphs) for column in table.columns}
    depths = [row.depth for row in table.rows]
    own = own_part(table, texts)
    needs = [_need(column, own[column.key], [] if i else depths) for i, column in enumerate(table.columns)]
    gap = 2 if room is None or room >= 60 else 1
    places = fit(needs, room, gap)
    columns = [table.columns[place.index] for place in places]
    rule = glyphs.text("─") * (sum(place.width + place.bar for place in places) + gap * (len(places) - 1))
    if table.title:
        yield [(glyphs.cut(glyphs.text(table.title), max(len(rule), prose) if room is None else room), "heading")]
    yield _header(columns, places, gap, glyphs)
    yield [(rule, "rule")]
    guides = _guides(table, texts[table.columns[0].key], places[0].width)
    for index, row in enumerate(table.rows):
        if row.style == "total" and (not index or table.rows[index - 1].style != "total"):
            yield [(rule, "rule")]
        guide = glyphs.text(guides[index])
        for drawn in wrapped([texts[column.key][index] for column in columns], columns, places):
            yield _row(row, guide, drawn, columns, places, gap, glyphs)
            row, guide = replace(row, cells={k: replace(c, fraction=None) for k, c in row.cells.items()}), ""  # noqa: PLW2901
    hidden = [c for i, c in enumerate(table.columns) if i not in {place.index for place in places}]
    said = [column for column in columns if column.legend and column.title + column.legend not in told]
    told |= {column.title + column.legend for column in said}
    yield from _below(said, hidden, table.reveal, prose, glyphs)


def _texts(table: Table, column: Column, glyphs: Charset) -> list[str]:
    found = [glyphs.text(row.cells[column.key].text) if column.key in row.cells else "" for row in table.rows]
    return _aligned(found) if column.numeric else found


def _aligned(texts: Sequence[str]) -> list[str]:
    """Figures with their units below each other: "11.69 M" and "512" become "11.69 M" and "512  "."""
    parts = [match.groups() if (match := _FIGURE.fullmatch(text)) else (text, "") for text in texts]
    unit = max((width(one[1]) for one in parts), default=0)
    if not unit:
        return list(texts)
    return [
        f"{number} {pad(name, unit)}" if name else number + " " * (unit + 1) if _is_figure(number) else number
        for number, name in parts
    ]


def _is_figure(text: str) -> bool:
    return bool(re.fullmatch(r"[-+–<]?[0-9.,]*", text)) and text != ""


def _need(column: Column, texts: list[str], depths: list[int]) -> Need:
    """How wide a column is by nature, and how narrow it may get; names of a tree have branches before them."""
    indents = [3 * depth for depth in depths] or [0] * len(texts)
    natural = max([width(text) + indent for text, indent in zip(texts, indents, strict=True)] + [width(column.title)])
    if not column.minimum:
        bar = BAR + 1 if column.bar else 0
        return Need(column, natural, natural, natural + (BAR // 2 + 1 if bar else 0), bar)
    least = min(natural, max(column.minimum, max(depths, default=0) + 5))
    return Need(column, natural, least, min(natural, max(column.comfort or natural, least)))


def _header(columns: list[Column], places: list[Place], gap: int, glyphs: Charset) -> TextLine:
    drawn: TextLine = []
    for column, place in zip(columns, places, strict=True):
        title = glyphs.cut(glyphs.text(column.title), place.width)
        drawn.append((pad(title, place.width, column.numeric) + " " * (place.bar + gap), "head"))
    return drawn


def _row(
    row: Row, guide: str, texts: list[str], columns: list[Column], places: list[Place], gap: int, glyphs: Charset
) -> TextLine:
    drawn: TextLine = [(guide, "rule")]
    if row.spill:
        texts, columns, places = run_on(texts, columns, places, gap)
    for index, (column, place, text) in enumerate(zip(columns, places, texts, strict=True)):
        cell = row.cells.get(column.key, Cell(""))
        room = max(place.width - (width(guide) if index == 0 else 0), 0)
        shown = glyphs.cut(text, room) if column.minimum else text
        role = cell.style if row.style != "total" or cell.style not in ("", "dim") else "strong"
        drawn.append((pad(shown, room, column.numeric), role))
        if place.bar and row.style != "total":
            bar = "" if cell.fraction is None else glyphs.bar(cell.fraction, place.bar - 1)
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


def _below(said: list[Column], hidden: list[Column], reveal: str, room: int, glyphs: Charset) -> Iterator[TextLine]:
    """What stands under a table: the columns that found no room, and what the others count, unless told before."""
    if hidden:
        names = ", ".join(column.key for column in hidden)
        for line in wrap(f"hidden at this width: {names} ({reveal} shows them)", room):
            yield [(line, "hidden")]
    titles = max((width(glyphs.text(column.title)) for column in said), default=0)
    for column in said:
        found = list(wrap(glyphs.text(column.legend), max(room - titles - 2, 8)))
        yield [(pad(glyphs.text(column.title), titles) + "  ", "dim"), (found[0], "dim")]
        for line in found[1:]:
            yield [(" " * (titles + 2), ""), (line, "dim")]
