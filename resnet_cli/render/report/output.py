"""Output of a report: its page, one of its charts, or the results themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, is_stdout, write_bytes, write_file
from resnet_cli.render.formats import REPORT_FORMATS
from resnet_cli.render.output import Format, choose_format
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

_PICTURES = (Format.SVG, Format.PNG)


def report_format(requested: str | None, output: str | None, chart: str | None) -> Format:
    """The format of a report, checked before anything is measured.

    Args:
        requested: one of `REPORT_FORMATS`; None: by the extension of `output`.
        output: the file; None or "-": standard output.
        chart: the only chart to draw; None: all.

    Raises:
        ResnetCliError: a report cannot be written in that format, or not to a terminal.
    """
    to_stdout = output is None or is_stdout(output)
    if requested is not None:
        chosen = Format(requested)
    elif to_stdout:
        chosen = Format.SVG if chart is not None else Format.HTML
    else:
        chosen = choose_format(None, output)
        if chosen not in REPORT_FORMATS:
            raise ResnetCliError(
                f"`output={output}`: unsupported extension", "use .html, .svg, .png or .json, or set `format`"
            )
    if chart is not None and chosen not in _PICTURES:
        raise ResnetCliError(f"`chart` cannot be combined with the format {chosen}", "use .svg or .png")
    if to_stdout and sys.stdout is not None and sys.stdout.isatty() and chosen is not Format.JSON:
        raise ResnetCliError(f"refusing to print {chosen} to a terminal", "use -o report.html")
    if output is not None and not to_stdout:
        check_file(output)
    return chosen


def write_report(
    results: Sequence[Result],
    *,
    format: Format,  # noqa: A002  # the option's name
    output: str | None,
    chart: str | None = None,
    notes: Sequence[Note] = (),
    interrupted: bool = False,
) -> None:
    """Write the page of all results, one chart of them, or the results themselves.

    Args:
        results: those that were measured and those that were read.
        format: one of `REPORT_FORMATS`.
        output: a file, which is replaced atomically; None or "-": standard output.
        chart: the chart of a picture; None: the first that can be drawn.
        notes: about the report as a whole.
        interrupted: whether there was more to measure.

    Raises:
        ResnetCliError: there are no results, or they cannot be drawn or written.
    """
    if not results:
        raise ResnetCliError("the report contains no results", "choose a network with `depth`, `arch` or `model`")
    content = _content(results, format, chart, tuple(notes), interrupted)
    if output is None or is_stdout(output):
        write_bytes(content)
    else:
        write_file(output, content)


def _content(
    results: Sequence[Result], chosen: Format, chart: str | None, notes: tuple[Note, ...], interrupted: bool
) -> bytes:
    if chosen is Format.JSON:
        from resnet_cli.results.serialization import to_json

        return to_json(_bundle(results, notes, interrupted)).encode()
    if chosen is Format.HTML:
        from resnet_cli.render.pages.cells import INTERRUPTED
        from resnet_cli.render.report.html import to_html

        return to_html(results, (*([INTERRUPTED] if interrupted else []), *notes)).encode("utf-8", "backslashreplace")
    from resnet_cli.render.charts import draw_chart
    from resnet_cli.render.charts.grouping import group_by_network

    drawing = draw_chart(chart, group_by_network(results)[0])
    if chosen is Format.PNG:
        from resnet_cli.render.formats.png import to_png

        return to_png(drawing)
    from resnet_cli.render.charts.drawing.svg_writer import standalone

    return standalone(drawing).encode("utf-8", "backslashreplace")


def _bundle(results: Sequence[Result], notes: tuple[Note, ...], interrupted: bool) -> ReportResult:
    """All results as one.

    Raises:
        ResnetCliError: a `ReportResult` has no field for one of them.
    """
    held: list[SummaryResult | FlopsResult | CompareResult | BenchResult] = []
    for result in results:
        if not isinstance(result, (SummaryResult, FlopsResult, CompareResult, BenchResult)):
            raise ResnetCliError(
                f"a report in JSON cannot contain a result of {kind_of(result)}", "keep it in its own file"
            )
        held.append(result)
    return ReportResult(
        summaries=tuple(result for result in held if isinstance(result, SummaryResult)),
        flops=tuple(result for result in held if isinstance(result, FlopsResult)),
        comparisons=tuple(result for result in held if isinstance(result, CompareResult)),
        benchmarks=tuple(result for result in held if isinstance(result, BenchResult)),
        interrupted=interrupted,
        environment=held[0].environment,
        notes=notes,
    )


def flattened(results: Iterable[Result]) -> tuple[tuple[Result, ...], tuple[Note, ...]]:
    """Results in which each report is replaced by the results that it contains, and the notes of the reports."""
    flat: list[Result] = []
    notes: list[Note] = []
    for result in results:
        if isinstance(result, ReportResult):
            flat += result.results
            notes += result.notes
        else:
            flat.append(result)
    return tuple(flat), tuple(notes)
