"""The measured peak of the device: the best kernel of each kind, or every kernel that was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resnet_cli import formatting
from resnet_cli.render.document import Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import scaled, share, text_cell
from resnet_cli.results.bench import Ceiling, Kernel


def ceiling(result: Ceiling | None, *, with_kernels: bool) -> list[Element]:
    """A line with both peaks, or a table with every kernel."""
    if result is None:
        return []
    if not with_kernels:
        compute = _peak(result.flops_per_s, "FLOP/s", result.compute)
        bandwidth = _peak(result.bytes_per_s, "B/s", result.bandwidth)
        return [Paragraph("dim", f"measured peak: {compute} · {bandwidth}", apart=True)]
    columns = (
        Column("kernel", "kernel", numeric=False, minimum=12, comfort=44),
        Column("flops_per_s", "FLOP/s"),
        Column("bytes_per_s", "B/s", legend="read + written"),
        Column("share", "of best", bar=True, priority=1),
    )
    rows = (*_kernels("flops_per_s", result.compute), *_kernels("bytes_per_s", result.bandwidth))
    return [Table("ceiling", "measured peak of this device", columns, rows)]


def _kernels(key: str, kernels: Sequence[Kernel]) -> Iterator[Row]:
    best = max((kernel.rate for kernel in kernels), default=0.0)
    for kernel in kernels:
        style = "strong" if kernel.rate == best else ""
        yield Row(
            {
                "kernel": text_cell(kernel.name, style),
                key: scaled(kernel.rate, "", style),
                "share": share(kernel.rate / best if best else None),
            }
        )


def _peak(rate: float, unit: str, kernels: Sequence[Kernel]) -> str:
    best = max(kernels, key=lambda kernel: kernel.rate, default=None)
    return formatting.scaled(rate, unit) + ("" if best is None else f" ({best.name})")
