"""A result as JSON: the data, whole and exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.pages import validate_view
from resnet_cli.results import serialization
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.common import Note
from resnet_cli.results.compare import CompareResult
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.registry import kind_of
from resnet_cli.results.report import ReportResult
from resnet_cli.results.summary import SummaryResult

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


def to_json(result: Result, view: ViewOptions) -> str:
    """All of a result, whatever the view selects.

    Raises:
        ResnetCliError: the view asks for a column or a section that does not exist.
    """
    validate_view(kind_of(result), view)
    return serialization.to_json(result)


def report_to_json(results: Sequence[Result], notes: Sequence[Note], interrupted: bool) -> str:
    """Several results in one file.

    Raises:
        ResnetCliError: one is of a kind that a report does not hold.
    """
    held = [
        result for result in results if isinstance(result, (SummaryResult, FlopsResult, CompareResult, BenchResult))
    ]
    if len(held) < len(results):
        other = next(result for result in results if result not in held)
        raise ResnetCliError(
            f"a JSON report cannot hold a result of {kind_of(other)}", "it is a file of its own already"
        )
    return serialization.to_json(
        ReportResult(
            summaries=tuple(result for result in held if isinstance(result, SummaryResult)),
            flops=tuple(result for result in held if isinstance(result, FlopsResult)),
            comparisons=tuple(result for result in held if isinstance(result, CompareResult)),
            benchmarks=tuple(result for result in held if isinstance(result, BenchResult)),
            interrupted=interrupted,
            environment=held[0].environment,
            notes=tuple(notes),
        )
    )
