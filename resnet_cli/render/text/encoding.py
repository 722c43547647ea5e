"""The characters that a stream can show, and texts cut and wrapped to a width."""

from __future__ import annotations

import re
from collections.abc import Iterator

from resnet_cli.formatting import printable, width

_ASCII = {
    "×": "x", "…": "..", "–": "-", "→": "->", "·": "|", "✓": "+", "✗": "!",
    "├": "|", "└": "`", "│": "|", "─": "-", "█": "#", "≈": "~", "◀": "<", "±": "+-",
    "µ": "u", "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "*",
}  # fmt: skip
_EIGHTHS = "▏▎▍▌▋▊▉█"
_BREAK = re.compile(r"(?<![0-9]) | (?!(?:%|[mµun]?s|[kMGTPE]?(?:B|Hz|MAC|FLOP))(?![A-Za-z]))")
_ALL = "".join(_ASCII) + _EIGHTHS


class Charset:
    """The characters that an encoding can show."""

    def __init__(self, encoding: str | None = "utf-8") -> None:
        self.encoding = encoding or "utf-8"
        try:
            self.unicode = _ALL.encode(self.encoding).decode(self.encoding) == _ALL
        except (UnicodeError, LookupError):
            self.unicode = False
        try:
            "".encode(self.encoding)
        except LookupError:
            self.encoding = "ascii"
        self._table = str.maketrans({} if self.unicode else _ASCII)

    def text(self, text: str) -> str:
        """A text without control characters and without characters that the encoding lacks."""
        shown = printable(text).translate(self._table)
        return shown.encode(self.encoding, "replace").decode(self.encoding)

    def bar(self, fraction: float, room: int) -> str:
        """A bar of at most `room` columns; what is not zero shows."""
        if not self.unicode:
            return "#" * (max(round(fraction * room), 1) if fraction > 0 else 0)
        full, eighth = divmod(max(round(fraction * room * 8), 1) if fraction > 0 else 0, 8)
        return "█" * full + (_EIGHTHS[eighth - 1] if eighth else "")

    def cut(self, text: str, room: int) -> str:
        """A text that takes at most `room` columns: of a name the middle goes, its numbers (×5, 3×3 /2) stay."""
        if width(text) <= room:
            return text
        mark = "…".translate(self._table)
        if room <= width(mark) + 1:
            return _start(text, max(room, 0))
        name, _, rest = text.partition(" ")
        if not rest:
            return self._middle(text, room, mark)
        only_numbers = all(any(character.isdigit() for character in part) for part in rest.split())
        left = room - width(rest) - 1
        if only_numbers and left >= min(width(name), 4):
            return f"{self._middle(name, left, mark)} {rest}"
        return _start(name if only_numbers else text, room - width(mark)).rstrip() + mark

    def _middle(self, text: str, room: int, mark: str) -> str:
        if width(text) <= room:
            return text
        if room <= width(mark) + 1:
            return _start(text, room)
        tail = (room - width(mark)) // 2
        end = _start(text[::-1], tail)[::-1]
        return _start(text, room - width(mark) - tail) + mark + end


def _start(text: str, room: int) -> str:
    """The longest start of a text that takes at most `room` columns."""
    taken = ""
    for character in text:
        if width(taken + character) > room:
            break
        taken += character
    return taken


def wrap(text: str, room: int, between: str = " ") -> Iterator[str]:
    """Lines of at most `room` columns, broken only where `between` stands, unless a piece alone is wider.

    A number and its unit stay together.
    """
    line = ""
    for piece in _BREAK.split(text) if between == " " else text.split(between):
        longer = f"{line}{between}{piece}" if line else piece
        if width(longer) <= room:
            line = longer
            continue
        if line:
            yield line
        line = piece
        if width(piece) > room and between != " ":
            *lines, line = wrap(piece, room)
            yield from lines
        while width(line) > room:
            start = _start(line, room) or line[0]
            yield start
            line = line[len(start) :]
    yield line


def pad(text: str, room: int, right: bool = False) -> str:
    """A text filled up with spaces to a width."""
    space = " " * max(room - width(text), 0)
    return space + text if right else text + space
