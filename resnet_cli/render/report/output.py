"""Output of a report: its page, one of its charts, or the results themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, is_stdout, write_file, write_stdout
from resnet_cli.render.formats import CHART_FORMATS, FORMATS, REPORT_FORMATS, Format, call, encoded, format_of_file
from resnet_cli.results.common import Note
from resnet_cli.results.report import ReportResult

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


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
        row = FORMATS[requested]
    elif output is None or is_stdout(output):
        row = FORMATS["html" if chart is None else "svg"]
    else:
        named = format_of_file(output)
        if named is None or named.key not in REPORT_FORMATS:
            suffixes = ", ".join(FORMATS[key].suffixes[0] for key in REPORT_FORMATS)
            raise ResnetCliError(f"`output={output}`: unsupported extension", f"use one of {suffixes}, or set `format`")
        row = named
    if chart is not None and row.key not in CHART_FORMATS:
        raise ResnetCliError(
            f"`chart` cannot be combined with the format {row.key}",
            f"use {' or '.join(FORMATS[key].suffixes[0] for key in CHART_FORMATS)}",
        )
    if to_stdout and sys.stdout is not None and sys.stdout.isatty() and row.key != "json":
        raise ResnetCliError(f"refusing to print {row.key} to a terminal", "use -o report.html")
    if output is not None and not to_stdout:
        check_file(output)
    return row


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
        write_stdout(content)
    else:
        write_file(output, content)


def _content(
    results: Sequence[Result], row: Format, chart: str | None, notes: tuple[Note, ...], interrupted: bool
) -> bytes:
    if row.report:
        return encoded(call(row.report, results, notes, interrupted))
    from resnet_cli.render.charts import draw_chart  # noqa: PLC0415  # a chart is imported when it is drawn
    from resnet_cli.render.charts.grouping import group_by_network  # noqa: PLC0415

    return encoded(call(row.chart, draw_chart(chart, group_by_network(results)[0])))


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
