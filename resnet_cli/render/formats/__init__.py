"""Registry of output formats: options, help, completion and the choice by a file's extension are made from it.

A format is added with one module and one row. The module is imported when it writes: `--help` reads the rows only.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Format:
    """A format. Its functions are named as "module:function" within `resnet_cli.render` and return str or bytes.

    Args:
        key: its name on the command line.
        suffixes: extensions of files that are written in it.
        document: function of a `Document`, what a page has to show.
        result: function of a result and a `ViewOptions`, for a format that is made from the data.
        report: function of several results, notes about them, and whether there would have been more.
        chart: function of the `Drawing` of one chart.
        shows_notes: whether the notes of a result are in it; otherwise they are written to standard error.
        one_section: whether it holds only the first of the sections that a reader asks for.
    """

    key: str
    suffixes: tuple[str, ...] = ()
    document: str = ""
    result: str = ""
    report: str = ""
    chart: str = ""
    shows_notes: bool = True
    one_section: bool = False


_ROWS = (
    Format("terminal", document="formats.terminal:to_text"),
    Format("json", (".json",), result="formats.json:to_json", report="formats.json:report_to_json", shows_notes=False),
    Format("csv", (".csv",), result="formats.csv:to_csv", shows_notes=False, one_section=True),
    Format("markdown", (".md", ".markdown"), document="formats.markdown:to_markdown"),
    Format("svg", (".svg",), document="formats.svg:to_svg", chart="charts.drawing.svg_writer:standalone"),
    Format("html", (".html", ".htm"), result="report.html:result_to_html", report="report.html:report_to_html"),
    Format("png", (".png",), chart="formats.png:to_png"),
)
FORMATS = {row.key: row for row in _ROWS}
TERMINAL = FORMATS["terminal"]
RESULT_FORMATS = tuple(row.key for row in _ROWS if row.document or row.result)
CHART_FORMATS = tuple(row.key for row in _ROWS if row.chart)
REPORT_FORMATS = tuple(row.key for row in _ROWS if row.report or row.chart)


def format_of_file(path: str) -> Format | None:
    """The format that the extension of a file names."""
    suffix = Path(path).suffix.lower()
    return next((row for row in _ROWS if suffix in row.suffixes), None)


def call(function: str, *arguments: Any) -> str | bytes:
    """Call a function of a row."""
    module, _, name = function.partition(":")
    written: str | bytes = getattr(import_module(f"resnet_cli.render.{module}"), name)(*arguments)
    return written


def encoded(written: str | bytes) -> bytes:
    """What a format gives, as bytes; a lone surrogate of a file's name is spelled out."""
    return written if isinstance(written, bytes) else written.encode("utf-8", "backslashreplace")
