"""The overview of all networks at the top of a report, and the environments at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from resnet_cli import formatting
from resnet_cli.render.charts.grouping import NetworkResults, environment_of
from resnet_cli.render.document import Cell, Column, Row, Table
from resnet_cli.render.pages.elements import qualified
from resnet_cli.results.bench import Timing, common_unit
from resnet_cli.results.compare import BITWISE

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

CellOf = Callable[[NetworkResults], Cell | None]


def overview(networks: Sequence[NetworkResults]) -> Table | None:
    """A row for each value and a column for each network; None without any value."""
    names = [Column(f"network-{index}", network.label) for index, network in enumerate(networks)]
    rows = []
    for title, cell_of in _values(networks):
        cells = {column.key: cell_of(network) for column, network in zip(names, networks, strict=True)}
        known = {key: cell for key, cell in cells.items() if cell is not None}
        if known:
            rows.append(Row({"value": Cell(title), **known}))
    return Table("overview", "", (Column("value", "", numeric=False), *names), tuple(rows)) if rows else None


def _values(networks: Sequence[NetworkResults]) -> list[tuple[str, CellOf]]:
    """Title and cell of every value that may be known of a network."""
    timings = [timing for network in networks if network.bench for timing in network.bench.timings]
    unit = common_unit(network.bench for network in networks if network.bench)
    batches = sorted({timing.batch_size for timing in timings if timing.wall})
    return [
        ("input", _input),
        ("parameters", _parameters),
        ("MACs", _macs),
        ("peak activation memory, inference", lambda network: _memory(network, "inference_peak_bytes")),
        ("memory, inference", lambda network: _memory(network, "inference_bytes")),
        ("memory, training with SGD", lambda network: _memory(network, "training_bytes")),
        *((f"latency at batch {batch:,} (median, CI)", _latency(batch)) for batch in batches),
        *((f"{unit}/s at batch {batch:,}", _throughput(batch)) for batch in batches),
        ("equal to the reference", _equality),
    ]


def _input(network: NetworkResults) -> Cell | None:
    for result in (network.summary, network.flops, network.bench):
        if result is not None:
            return Cell(f"{formatting.dimensions(result.input.shape)} {result.input.dtype}")
    return None


def _parameters(network: NetworkResults) -> Cell | None:
    summary = network.summary
    if summary is None:
        return None
    text = formatting.exact(summary.parameters)
    return Cell(qualified(text, summary.notes, "parameters"), summary.parameters)


def _macs(network: NetworkResults) -> Cell | None:
    result = network.summary or network.flops
    if result is None:
        return None
    return Cell(qualified(formatting.exact(result.macs), result.notes, "macs"), result.macs)


def _memory(network: NetworkResults, field: str) -> Cell | None:
    summary = network.summary
    value = None if summary is None else getattr(summary.memory, field)
    if summary is None or value is None:
        return None
    return Cell(qualified(formatting.scaled(value, "B"), summary.notes, field), value)


def _timing(network: NetworkResults, batch: int) -> Timing | None:
    timings = () if network.bench is None else network.bench.timings
    return next((timing for timing in timings if timing.batch_size == batch), None)


def _latency(batch: int) -> CellOf:
    def cell_of(network: NetworkResults) -> Cell | None:
        timing = _timing(network, batch)
        if timing is None:
            return None
        if timing.wall is None:
            return Cell(timing.status, None, "warning")
        wall = timing.wall
        low, median, high = map(formatting.seconds, (wall.ci_low_s, wall.median_s, wall.ci_high_s))
        return Cell(f"{median} ({low} to {high})", wall.median_s)

    return cell_of


def _throughput(batch: int) -> CellOf:
    def cell_of(network: NetworkResults) -> Cell | None:
        timing = _timing(network, batch)
        if timing is None or timing.images_per_s is None:
            return None
        return Cell(formatting.scaled(timing.images_per_s), timing.images_per_s)

    return cell_of


def _equality(network: NetworkResults) -> Cell | None:
    compare = network.compare
    if compare is None:
        return None
    if compare.same:
        return Cell("bitwise" if compare.verdict == BITWISE else "yes", None, "good")
    return Cell(f"no: {compare.verdict}", None, "bad")


def environment_lines(results: Sequence[Result]) -> tuple[str, ...]:
    """Software and hardware that the results were measured with, each combination once."""
    lines = []
    for environment in dict.fromkeys(map(environment_of, results)):
        if environment is None:
            continue
        memory = (
            "" if environment.device_memory_bytes is None else formatting.scaled(environment.device_memory_bytes, "B")
        )
        parts = (
            f"resnet-cli {environment.resnet_cli}",
            f"torch {environment.torch}",
            f"Python {environment.python}",
            environment.platform,
            environment.device
            if environment.device_name in ("", environment.device)
            else f"{environment.device} ({environment.device_name})",
            memory,
            f"{environment.threads:,} threads",
        )
        lines.append(" · ".join(part for part in parts if part))
    return tuple(lines)
