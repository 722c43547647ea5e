"""Every kind of result: its name in the schema of a JSON file, and the class that holds it.

The classes are imported when they are asked for: the command line needs the names alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_cli.results.bench import BenchResult
    from resnet_cli.results.checkpoint import CheckpointResult
    from resnet_cli.results.compare import CompareAllResult, CompareResult, SelfTestResult
    from resnet_cli.results.convert import ConvertResult
    from resnet_cli.results.doctor import DoctorResult
    from resnet_cli.results.flops import FlopsResult
    from resnet_cli.results.report import ReportResult
    from resnet_cli.results.summary import SummaryResult

    Result = (
        SummaryResult
        | FlopsResult
        | CompareResult
        | CompareAllResult
        | SelfTestResult
        | BenchResult
        | ConvertResult
        | CheckpointResult
        | ReportResult
        | DoctorResult
    )

# Schema name: module of `resnet_cli.results` and class.
KINDS = {
    "summary": ("summary", "SummaryResult"),
    "flops": ("flops", "FlopsResult"),
    "compare": ("compare", "ComparisonResult"),
    "compare-torchvision": ("compare", "CompareResult"),
    "compare-torchvision-all": ("compare", "CompareAllResult"),
    "self-test": ("compare", "SelfTestResult"),
    "bench": ("bench", "BenchResult"),
    "convert": ("convert", "ConvertResult"),
    "checkpoint": ("checkpoint", "CheckpointResult"),
    "report": ("report", "ReportResult"),
    "doctor": ("doctor", "DoctorResult"),
}
_NAMES = {class_name: kind for kind, (_, class_name) in KINDS.items()}


def kind_of(result: Result) -> str:
    """The name of a result's kind."""
    return _NAMES[type(result).__name__]


def result_type(kind: str) -> type[Any]:
    """The class of a kind of result.

    Raises:
        KeyError: there is no such kind.
    """
    module, class_name = KINDS[kind]
    found: type[Any] = getattr(import_module(f"resnet_cli.results.{module}"), class_name)
    return found
