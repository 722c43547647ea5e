"""Several results in one file, for a report that is drawn elsewhere or later."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli.results.bench import BenchResult
from resnet_cli.results.common import Environment, Note
from resnet_cli.results.compare import CompareResult
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The results of `report`, of one network or of several."""

    summaries: tuple[SummaryResult, ...]
    flops: tuple[FlopsResult, ...]
    comparisons: tuple[CompareResult, ...]
    benchmarks: tuple[BenchResult, ...]
    interrupted: bool  # Ctrl-C ended the measuring early
    environment: Environment
    notes: tuple[Note, ...]  # why a result is missing

    @property
    def results(self) -> tuple[SummaryResult | FlopsResult | CompareResult | BenchResult, ...]:
        """All of them, each kind in the order of the networks."""
        return (*self.summaries, *self.flops, *self.comparisons, *self.benchmarks)
