"""The way out: a result in the format that was asked for, on standard output or in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import STDOUT, check_file, check_stdout, guarded, is_stdout, write_file, write_stdout
from resnet_cli.formatting import printable
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.pages import page, validate_view
from resnet_cli.results.registry import kind_of

if TYPE_CHECKING:
    from resnet_cli.results.common import Note
    from resnet_cli.results.registry import Result

# A renderer is imported when it is needed: `--help` needs none of them.
# ruff: noqa: PLC0415


class Format(StrEnum):
    """What a result can be written as."""

    TERMINAL = "terminal"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"
    SVG = "svg"
    HTML = "html"
    PNG = "png"  # of a figure of a report


_BY_SUFFIX = {
    ".json": Format.JSON,
    ".csv": Format.CSV,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".svg": Format.SVG,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".png": Format.PNG,
}
_WITHOUT_NOTES = (Format.JSON, Format.CSV)  # JSON has them as data; either is read by programs


def choose_format(format: Format | None, output: str | None) -> Format:  # noqa: A002  # the option's name
    """The format that was asked for, or the one that the name of the file suggests; else text."""
    if format is not None:
        return Format(format)
    if output is None or is_stdout(output):
        return Format.TERMINAL
    return _BY_SUFFIX.get(Path(output).suffix.lower(), Format.TERMINAL)


def check_output(output: str | None) -> None:
    """Fail before measuring where the result could not be written after it.

    Raises:
        ResnetCliError: the file cannot be written.
    """
    if output is not None and not is_stdout(output):
        check_file(output)
    elif output in (None, STDOUT):
        check_stdout()


def write(
    result: Result,
    *,
    format: Format | None,  # noqa: A002
    output: str | None,
    view: ViewOptions = ViewOptions(),  # noqa: B008  # it is frozen
    stdout: TextIO | None = None,
) -> None:
    """Write a result.

    Args:
        result: what was found.
        format: how to write it; None: as the name of the file suggests.
        output: a file, which is replaced whole; None or "-": standard output.
        view: what the reader wants to see of it; JSON always holds all.
        stdout: standard output, sys.stdout unless given.

    Raises:
        ResnetCliError: it cannot be written, or there is no such column or section.
        SystemExit: 0, the reader has closed the pipe.
    """
    chosen = choose_format(format, output)
    to_file = output is not None and not is_stdout(output)
    if chosen is Format.TERMINAL and not to_file:
        from resnet_cli.render.formats.terminal import to_terminal

        drawn = page(result, view)
        with guarded(sys.stdout if stdout is None else stdout) as stream:
            to_terminal(drawn, stream)
        return
    text = render(result, chosen, view)
    if to_file:
        write_file(str(output), text.encode("utf-8", "backslashreplace"))
    else:
        write_stdout(text, stdout, encoding="utf-8")
    if chosen in _WITHOUT_NOTES:
        notes_to(sys.stderr, result.notes)
    if chosen is Format.CSV and len(view.sections or ()) > 1:
        from resnet_cli.results.common import Note

        notes_to(sys.stderr, [Note("note", f"CSV holds one table, here {(view.sections or ('',))[0]}")])


def render(result: Result, format: Format, view: ViewOptions = ViewOptions()) -> str:  # noqa: A002, B008
    """A result as text; for a terminal as it reads off one, without colour and as wide as it is."""
    if format is Format.JSON:
        from resnet_cli.results.serialization import to_json

        validate_view(kind_of(result), view)
        return to_json(result)
    if format is Format.CSV:
        from resnet_cli.render.formats.csv import every_figure, to_csv

        return to_csv(page(result, every_figure(result, view)))
    drawn = page(result, view)
    if format is Format.HTML:
        from resnet_cli.render.report.html import to_html

        return to_html([result], view=view)
    if format is Format.PNG:
        raise ResnetCliError("a PNG is of a figure", "write .svg, or a figure: resnet-cli report -o figure.png")
    if format is Format.MARKDOWN:
        from resnet_cli.render.formats.markdown import to_markdown

        return to_markdown(drawn)
    if format is Format.SVG:
        from resnet_cli.render.formats.svg import to_svg

        return to_svg(drawn)
    from resnet_cli.render.formats.terminal import to_text

    return to_text(drawn)


def notes_to(stream: TextIO | None, notes: Iterable[Note]) -> None:
    """Tell a reader on standard error what a format for programs does not say; a closed stream is no error."""
    try:
        for note in notes:
            print(f"{printable(note.level)}: {printable(note.text)}", file=stream)
    except (OSError, ValueError):
        return
