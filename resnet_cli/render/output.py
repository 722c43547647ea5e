"""Writes a result in the format that was asked for, to standard output or to a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import STDOUT, check_file, check_stdout, guarded, is_stdout, write_file, write_stdout
from resnet_cli.formatting import printable
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats import FORMATS, RESULT_FORMATS, TERMINAL, Format, call, encoded, format_of_file
from resnet_cli.render.pages import page

if TYPE_CHECKING:
    from resnet_cli.results.common import Note
    from resnet_cli.results.registry import Result

EVERYTHING = ViewOptions()


def choose_format(key: str | None, output: str | None) -> Format:
    """The format of a result.

    Args:
        key: of the format; None: as the extension of the file says, else the terminal's.
        output: the file; None or "-": standard output.

    Raises:
        ResnetCliError: it is one that holds no result, such as PNG.
    """
    if key is not None:
        row = FORMATS[key]
    else:
        row = TERMINAL if output is None or is_stdout(output) else format_of_file(output) or TERMINAL
    if row.key not in RESULT_FORMATS:
        raise ResnetCliError(
            f"{row.key.upper()} holds a single chart, not a result",
            f"use one of {', '.join(RESULT_FORMATS)}, or `resnet-cli report -o chart.{row.key}`",
        )
    return row


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
    format: str | None,  # noqa: A002  # the option's name
    output: str | None,
    view: ViewOptions = EVERYTHING,
    stdout: TextIO | None = None,
) -> None:
    """Write a result.

    Args:
        result: what was measured.
        format: key of the format; None: as the extension of the file says.
        output: a file, which is replaced whole; None or "-": standard output.
        view: what the reader wants to see of it; JSON always holds all.
        stdout: standard output, sys.stdout unless given.

    Raises:
        ResnetCliError: it cannot be written, or there is no such column or section.
        SystemExit: 0, the reader has closed the pipe.
    """
    row = choose_format(format, output)
    to_file = output is not None and not is_stdout(output)
    if row is TERMINAL and not to_file:
        from resnet_cli.render.formats.terminal import to_terminal  # noqa: PLC0415  # `--help` needs no layout

        document = page(result, view)
        with guarded(sys.stdout if stdout is None else stdout) as stream:
            to_terminal(document, stream)
        return
    content = encoded(_written(result, row, view))
    if to_file:
        write_file(str(output), content)
    else:
        write_stdout(content, stdout)
    if not row.shows_notes:
        notes_to(sys.stderr, result.notes)
    if row.one_section and len(view.sections or ()) > 1:
        from resnet_cli.results.common import Note  # noqa: PLC0415

        text = f"{row.key.upper()} holds one section, here {(view.sections or ('',))[0]}"
        notes_to(sys.stderr, [Note("note", text, "one-section")])


def render(result: Result, format: str = "terminal", view: ViewOptions = EVERYTHING) -> str:  # noqa: A002
    """A result as text; for a terminal without colour and as wide as it is.

    Raises:
        ResnetCliError: there is no such column or section.
    """
    return encoded(_written(result, choose_format(format, None), view)).decode()


def _written(result: Result, row: Format, view: ViewOptions) -> str | bytes:
    return call(row.result, result, view) if row.result else call(row.document, page(result, view))


def notes_to(stream: TextIO | None, notes: Iterable[Note]) -> None:
    """Write notes to standard error, for a format that does not show them; a closed stream is no error."""
    try:
        for note in notes:
            print(f"{printable(note.level)}: {printable(note.text)}", file=stream)
    except (OSError, ValueError):
        return
