"""The first table of a page as CSV: the figures themselves, every one, for programs and spreadsheets."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.render.document import Cell, Document, Table, Value, ViewOptions
from resnet_cli.render.pages import PAGES
from resnet_cli.results.checkpoint import CheckpointResult
from resnet_cli.results.compare import CompareResult
from resnet_cli.results.convert import ConvertResult
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

_BESIDE = ("witnesses", "assertions", "diagnoses", "variables")  # tables that stand beside what was asked for
_FORMULA = ("=", "+", "-", "@")  # a spreadsheet would run a text that starts with one


def every_figure(result: Result, view: ViewOptions) -> ViewOptions:
    """The view that CSV has unless the reader asked for another: all columns, all levels; never a folded row."""
    view = replace(view, collapse=False)
    if isinstance(result, SummaryResult):
        return replace(view, columns=PAGES["summary"].column_names() if view.columns is None else view.columns)
    if isinstance(result, FlopsResult):
        levels = 10**6 if view.levels is None else view.levels
        return replace(view, sections=view.sections or ("operators",), levels=levels)
    if isinstance(result, CompareResult):
        return replace(view, sections=view.sections or ("tree",))
    if isinstance(result, CheckpointResult):
        return replace(view, sections=view.sections or ("weights",))
    if isinstance(result, ConvertResult):
        return replace(view, sections=view.sections or ("tensors",))
    return view


def to_csv(page: Document) -> str:
    """A header of column keys, then a line for each row; what is not known is empty.

    Tables of one key, such as walks, are one table here.

    Raises:
        ResnetCliError: the page has no table of its own.
    """
    tables = [part for part in page.elements if isinstance(part, Table) and part.key not in _BESIDE]
    if not tables:
        raise ResnetCliError("there is no table to write as CSV", "ask for another table, or use --format json")
    columns = tables[0].columns
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([printable(column.key) for column in columns])
    for row in (row for table in tables if table.key == tables[0].key for row in table.rows):
        writer.writerow([_plain(row.cells.get(column.key, Cell(""))) for column in columns])
    return out.getvalue()


def _plain(cell: Cell) -> Value:
    if isinstance(cell.value, bool):
        return str(cell.value).lower()
    if not isinstance(cell.value, str):
        return cell.value
    text = printable(cell.value)
    return f"'{text}" if text.startswith(_FORMULA) else text
