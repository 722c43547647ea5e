"""What a page of HTML is made of beside its drawings: an overview of all networks, and where the figures come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from resnet_cli import formatting
from resnet_cli.formatting import printable
from resnet_cli.render.document import Cell, Column, Fields, Paragraph, Row, Table
from resnet_cli.render.charts.grouping import NetworkResults, environment_of
from resnet_cli.results.bench import Timing
from resnet_cli.results.compare import BITWISE

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


def part_kind(part: object, kind: str) -> bool:
    """Whether a part of a page is of a kind: "facts", "table" or "remark"."""
    return isinstance(part, {"facts": Fields, "table": Table, "remark": Paragraph}[kind])


def overview(found: Sequence[NetworkResults]) -> Table | None:
    """A row for each figure and a column for each network; None where there is none."""
    columns = [Column("figure", "", numeric=False), *(Column(f"e{i}", entry.label) for i, entry in enumerate(found))]
    rows = []
    for title, draw in _figures(found):
        cells = {f"e{index}": cell for index, entry in enumerate(found) if (cell := draw(entry)) is not None}
        if cells:
            rows.append(Row({"figure": Cell(title), **cells}))
    return Table("overview", "", tuple(columns), tuple(rows)) if rows else None


Draw = Callable[[NetworkResults], Cell | None]


def _figures(found: Sequence[NetworkResults]) -> list[tuple[str, Draw]]:
    """Every figure that may be known of an entry."""
    batches = sorted({row.batch_size for entry in found if entry.bench for row in entry.bench.timings if row.wall})
    return [
        ("input", _input),
        ("parameters", lambda entry: _cell(_parameters(entry), formatting.exact)),
        ("MACs", lambda entry: _cell(_macs(entry), formatting.exact)),
        ("activations at their peak, inference", lambda entry: _memory(entry, "inference_peak_bytes")),
        ("memory, inference", lambda entry: _memory(entry, "inference_bytes")),
        ("memory, training with SGD", lambda entry: _memory(entry, "training_bytes")),
        *((f"latency at batch {batch:,}, median", _latency(batch)) for batch in batches),
        *((f"images/s at batch {batch:,}", _throughput(batch)) for batch in batches),
        ("against torchvision", _parity),
    ]


def _cell(value: float | None, show: Callable[[float | None], str]) -> Cell | None:
    return None if value is None else Cell(show(value), value)


def _input(entry: NetworkResults) -> Cell | None:
    for result in (entry.summary, entry.flops, entry.bench):
        if result is not None:
            return Cell(f"{formatting.dimensions(result.input.shape)} {printable(result.input.dtype)}")
    return None


def _parameters(entry: NetworkResults) -> int | None:
    return None if entry.summary is None else entry.summary.parameters


def _macs(entry: NetworkResults) -> int | None:
    source = entry.summary or entry.flops
    return None if source is None else source.macs


def _memory(entry: NetworkResults, name: str) -> Cell | None:
    value = None if entry.summary is None else getattr(entry.summary.memory, name)
    return _cell(value, lambda number: formatting.scaled(number, "B"))


def _timing(entry: NetworkResults, batch: int) -> Timing | None:
    rows = () if entry.bench is None else entry.bench.timings
    return next((row for row in rows if row.batch_size == batch), None)


def _latency(batch: int) -> Draw:
    def draw(entry: NetworkResults) -> Cell | None:
        row = _timing(entry, batch)
        if row is None:
            return None
        if row.wall is None:
            return Cell(printable(row.status), None, "warning")
        low, middle, high = (
            formatting.seconds(one) for one in (row.wall.ci_low_s, row.wall.median_s, row.wall.ci_high_s)
        )
        return Cell(f"{middle} ({low} to {high})", row.wall.median_s)

    return draw


def _throughput(batch: int) -> Draw:
    def draw(entry: NetworkResults) -> Cell | None:
        row = _timing(entry, batch)
        return None if row is None else _cell(row.images_per_s, lambda number: f"{number or 0.0:,.1f}")

    return draw


def _parity(entry: NetworkResults) -> Cell | None:
    parity = entry.parity
    if parity is None:
        return None
    if parity.same:
        return Cell("bit for bit" if parity.verdict == BITWISE else "the same", None, "good")
    return Cell(printable(parity.verdict), None, "bad")


def environment_lines(results: Sequence[Result]) -> tuple[str, ...]:
    """Where the figures come from, each place once."""
    lines = []
    for place in dict.fromkeys(map(environment_of, results)):
        if place is None:
            continue
        memory = "" if place.device_memory_bytes is None else formatting.scaled(place.device_memory_bytes, "B")
        parts = (
            f"resnet-cli {place.resnet_cli}",
            f"torch {place.torch}",
            f"Python {place.python}",
            place.platform,
            place.device if place.device_name in ("", place.device) else f"{place.device} ({place.device_name})",
            memory,
            f"{place.threads:,} threads",
        )
        lines.append(" · ".join(printable(part) for part in parts if part))
    return tuple(lines)
