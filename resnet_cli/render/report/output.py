"""The way out of a report: its page, one of its figures, or the results themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, is_stdout, write_bytes, write_file
from resnet_cli.formatting import printable
from resnet_cli.render.output import Format, choose_format
from resnet_cli.render.pages.sections import REPORT_FORMATS
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.common import Note
from resnet_cli.results.compare import CompareResult
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.registry import kind_of
from resnet_cli.results.report import ReportResult
from resnet_cli.results.summary import SummaryResult

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

# A renderer is imported when it is needed.
# ruff: noqa: PLC0415

_FIGURES = (Format.SVG, Format.PNG)


def report_format(asked: str | None, output: str | None, figure: str | None) -> Format:
    """The format of a report, checked before anything is measured.

    Args:
        asked: by --format, one of `sections.REPORT_FORMATS`.
        output: the file; None or "-": standard output.
        figure: that is drawn alone, if one is.

    Raises:
        ResnetCliError: there is no such report, or it would end on a terminal.
    """
    to_stdout = output is None or is_stdout(output)
    if asked is not None:
        chosen = Format(asked)
    elif to_stdout:
        chosen = Format.SVG if figure is not None else Format.HTML
    else:
        chosen = choose_format(None, output)
        if chosen not in REPORT_FORMATS:
            raise ResnetCliError(
                f"--output {printable(output or '')}: its name does not say what to write",
                "end it on .html, .svg, .png or .json, or give --format",
            )
    if figure is not None and chosen not in _FIGURES:
        raise ResnetCliError(f"--figure is a picture, and {chosen} is none", "write an .svg or a .png")
    if to_stdout and sys.stdout is not None and sys.stdout.isatty() and chosen is not Format.JSON:
        raise ResnetCliError(f"{chosen} is nothing for a terminal", "name a file: -o report.html")
    if output is not None and not to_stdout:
        check_file(output)
    return chosen


def write_report(
    results: Sequence[Result],
    *,
    format: Format,  # noqa: A002  # the option's name
    output: str | None,
    figure: str | None = None,
    notes: Sequence[Note] = (),
    interrupted: bool = False,
) -> None:
    """Write the page of all results, one figure of them, or the results themselves.

    Args:
        results: to draw, those that were measured among them.
        format: one of `sections.REPORT_FORMATS`.
        output: a file, which is replaced whole; None or "-": standard output.
        figure: which one a picture is of; None: the first that can be made.
        notes: about the report as a whole.
        interrupted: there would have been more to measure.

    Raises:
        ResnetCliError: there is nothing to draw, or it cannot be drawn or written.
    """
    if not results:
        raise ResnetCliError("there is nothing to draw: the report is empty", "name a network, such as --depth 18")
    content = _content(results, format, figure, tuple(notes), interrupted)
    if output is None or is_stdout(output):
        write_bytes(content)
    else:
        write_file(output, content)


def _content(
    results: Sequence[Result], chosen: Format, figure: str | None, notes: tuple[Note, ...], interrupted: bool
) -> bytes:
    if chosen is Format.JSON:
        from resnet_cli.results.serialization import to_json

        return to_json(_bundle(results, notes, interrupted)).encode()
    if chosen is Format.HTML:
        from resnet_cli.render.pages.cells import INTERRUPTED
        from resnet_cli.render.report.html import to_html

        return to_html(results, (*([INTERRUPTED] if interrupted else []), *notes)).encode("utf-8", "backslashreplace")
    from resnet_cli.render.charts import choose_figure
    from resnet_cli.render.charts.grouping import entries

    drawing = choose_figure(figure, entries(results)[0])
    if chosen is Format.PNG:
        from resnet_cli.render.formats.png import to_png

        return to_png(drawing)
    from resnet_cli.render.charts.drawing.svg_writer import standalone

    return standalone(drawing).encode("utf-8", "backslashreplace")


def _bundle(results: Sequence[Result], notes: tuple[Note, ...], interrupted: bool) -> ReportResult:
    """All results in one, so that one file goes from machine to machine.

    Raises:
        ResnetCliError: one is of a kind that a report has no chapter for.
    """
    held: list[SummaryResult | FlopsResult | CompareResult | BenchResult] = []
    for result in results:
        if not isinstance(result, (SummaryResult, FlopsResult, CompareResult, BenchResult)):
            raise ResnetCliError(
                f"a report in JSON holds no result of {kind_of(result)}", "it is a file of its own already"
            )
        held.append(result)
    return ReportResult(
        summaries=tuple(one for one in held if isinstance(one, SummaryResult)),
        flops=tuple(one for one in held if isinstance(one, FlopsResult)),
        comparisons=tuple(one for one in held if isinstance(one, CompareResult)),
        benchmarks=tuple(one for one in held if isinstance(one, BenchResult)),
        interrupted=interrupted,
        environment=held[0].environment,
        notes=notes,
    )


def expanded(results: Iterable[Result]) -> tuple[tuple[Result, ...], tuple[Note, ...]]:
    """Results as they are drawn: a report is the results that it holds; and what those reports noted."""
    found: list[Result] = []
    notes: list[Note] = []
    for result in results:
        if isinstance(result, ReportResult):
            found += result.results
            notes += result.notes
        else:
            found.append(result)
    return tuple(found), tuple(notes)
