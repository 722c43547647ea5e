"""A document on a terminal: in colour where there is any, numbers whole at every width, plain text everywhere else."""

from __future__ import annotations

import io
import os
from typing import TextIO

from resnet_cli.render.document import Document
from resnet_cli.render.text.encoding import Charset
from resnet_cli.render.text.layout import lines

_STYLES = {
    "title": "bold",
    "heading": "bold",
    "head": "bold",
    "strong": "bold",
    "dim": "dim",
    "rule": "dim",
    "hidden": "dim italic",
    "bar": "cyan",
    "histogram": "cyan",
    "good": "green",
    "bad": "bold red",
    "warning": "yellow",
    "note": "cyan",
}


def to_text(page: Document, room: int | None = None, encoding: str | None = "utf-8") -> str:
    """The page without colour, as wide as it is by nature unless a width is given."""
    drawn = ("".join(text for text, _ in line) for line in lines(page, room, Charset(encoding)))
    return "".join(f"{line}\n" for line in drawn)


def to_terminal(page: Document, stream: TextIO) -> None:
    """Write the page to a stream, in the manner that suits what the stream is."""
    if not stream.isatty():
        stream.write(to_text(page, None, stream.encoding))
        return
    room = _columns(stream)
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") == "dumb"
    stream.write(to_text(page, room, stream.encoding) if plain else _coloured(page, room, stream.encoding))


def _coloured(page: Document, room: int, encoding: str) -> str:
    """The page with the escape sequences of this terminal; Rich knows which it has."""
    from rich.console import Console, detect_legacy_windows  # noqa: PLC0415  # 50 ms that only a terminal needs
    from rich.text import Text  # noqa: PLC0415

    if detect_legacy_windows():
        return to_text(page, room, encoding)
    out = io.StringIO()
    # Names from outside must not be taken for markup or emoji codes.
    console = Console(file=out, width=room, force_terminal=True, markup=False, emoji=False, highlight=False)
    for line in lines(page, room, Charset(encoding)):
        text = Text.assemble(*((piece, _STYLES.get(role, "")) for piece, role in line))
        console.print(text, no_wrap=True, overflow="ignore", crop=False)
    return out.getvalue()


def _columns(stream: TextIO) -> int:
    """Columns of a terminal; the variable COLUMNS goes before the terminal's own answer."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and 0 < int(columns) < 10**6:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
