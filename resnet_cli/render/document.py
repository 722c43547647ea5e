"""A document, independent of the medium: fields, tables and paragraphs. A page builder makes it from a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Value = int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A number or word: its text, and its value."""

    text: str
    value: Value = None  # in full precision
    style: str = ""  # "", "good", "bad", "dim", "strong", "warning", "histogram": a medium with colour may show it
    fraction: float | None = None  # 0..1, drawn as a bar where the medium can


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    key: str  # the key of the value in JSON
    title: str
    numeric: bool = True  # aligned right
    minimum: int = 0  # a text may be cut to this width where room is short; 0: never cut, as all numbers
    comfort: int = 0  # a text is rather cut to this width than a column left out
    wrap: bool = False  # a sentence: it goes on in the next line instead of being cut
    priority: int = 0  # on a narrow medium the highest number is left out first; 0 stays as long as it can
    bar: bool = False  # cells carry a fraction
    legend: str = ""  # what it counts, in a few words


@dataclass(frozen=True, slots=True)
class Row:
    """A row; `depth` is its place in a tree (0 for a flat table and for the top of a tree)."""

    cells: Mapping[str, Cell]
    depth: int = 0
    style: str = ""  # "total" for a closing row, "" otherwise
    spill: bool = False  # its texts run on into empty cells to their right


@dataclass(frozen=True, slots=True)
class Table:
    """Rows and columns. The first column is the name: it gives way where room is short.

    In a tree each row follows its parent, one deeper; the closing total stands outside of the tree.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    tree: bool = False
    reveal: str = "a wider terminal or --format json"  # what shows the columns that a narrow medium leaves out


@dataclass(frozen=True, slots=True)
class Fields:
    """A short list of label and value."""

    title: str
    items: tuple[tuple[str, Cell], ...]


LOOKS = ("dim", "plain", "strong", "good", "bad")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence beside the tables."""

    level: str  # "note" or "warning", which it begins with, or one of LOOKS, which it does not
    text: str
    apart: bool = False  # with an empty line before it


Element = Fields | Table | Paragraph


@dataclass(frozen=True, slots=True)
class Document:
    """What is shown of a result."""

    title: str
    elements: tuple[Element, ...]
    subtitle: str = ""


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What is selected of a result."""

    levels: int | None = None  # how deep a tree is drawn; None: the table's own choice
    columns: tuple[str, ...] | None = None  # None: the medium's own choice
    collapse: bool = True  # identical neighbours become one row
    sections: tuple[str, ...] | None = None  # keys of the tables to show; None: all
