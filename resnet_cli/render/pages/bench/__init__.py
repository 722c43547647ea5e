"""The page of a benchmark: how fast, how sure, and what the figures rest on."""

from __future__ import annotations

from collections.abc import Callable

from resnet_cli import formatting
from resnet_cli.render.document import Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.bench.layers import layer_times
from resnet_cli.render.pages.bench.optimizations import ladder
from resnet_cli.render.pages.bench.replicas import replicas
from resnet_cli.render.pages.bench.timings import timings
from resnet_cli.render.pages.bench.versus import comparisons
from resnet_cli.render.pages.cells import closing, interrupted, scaled, share, text_cell
from resnet_cli.render.pages.sections import BENCH as SECTIONS
from resnet_cli.results.bench import BenchResult, Ceiling, Conditions


def bench_page(result: BenchResult, view: ViewOptions) -> Document:
    """The sections that were asked for in the order of `SECTIONS`, then under which conditions they were measured."""
    asked = SECTIONS if view.sections is None else view.sections
    draw: dict[str, Callable[[], list[Element]]] = {
        "timings": lambda: timings(result, view),
        "comparison": lambda: comparisons(result, view),
        "ladder": lambda: ladder(result.optimizations, result.confidence, view),
        "layers": lambda: layer_times(result.layers, view),
        "replicas": lambda: replicas(result.replicas, view),
        "ceiling": lambda: _ceiling(result.ceiling, whole=view.sections is not None or not view.collapse),
    }
    return Document(
        title=f"bench: {text_cell(result.network.name).text}",
        subtitle=_subtitle(result),
        elements=(
            *interrupted(result.interrupted),
            *(part for section in asked for part in draw[section]()),
            *(Paragraph(note.level, note.text, apart=not index) for index, note in enumerate(result.notes)),
            Paragraph("dim", _conditions(result.conditions, result.seed), apart=True),
            *closing((), result.environment),
        ),
    )


def _subtitle(result: BenchResult) -> str:
    conditions = result.conditions
    parts = [
        text_cell(conditions.mode).text,
        text_cell(conditions.precision).text,
        f"image {formatting.dimensions(result.image)}",
        text_cell(result.environment.device).text,
        _threads(conditions.threads),
    ]
    return " · ".join(parts)


def _threads(number: int) -> str:
    return f"{number:,} thread{'' if number == 1 else 's'}"


def _conditions(conditions: Conditions, seed: int) -> str:
    """What the figures depend on, in one line; what is not known is not said."""
    parts: list[str | None] = [
        f"{_threads(conditions.threads)} in an operator and {conditions.interop_threads:,} between them",
        conditions.instructions,
        *conditions.libraries,
        None if conditions.clock_hz is None else f"clock {formatting.scaled(conditions.clock_hz, 'Hz')}",
        None
        if conditions.background_cpu_load is None
        else f"other load {conditions.background_cpu_load:.1f} processors",
        None if conditions.steal_time_share is None else f"stolen {formatting.percent(conditions.steal_time_share)}",
        f"throttled: {', '.join(conditions.throttled)}" if conditions.throttled else None,
        f"seed {seed}",
        f"measured in {formatting.seconds(conditions.duration_s)}",
    ]
    return f"conditions: {' · '.join(text_cell(part).text for part in parts if part)}"


def _ceiling(ceiling: Ceiling | None, *, whole: bool) -> list[Element]:
    """The best of each kind of kernel, which is the ceiling; the whole is every one that was tried."""
    if ceiling is None:
        return []
    if not whole:
        return [Paragraph("dim", f"ceiling, as measured: {_best(ceiling)}", apart=True)]
    columns = (
        Column("kernel", "kernel", numeric=False, minimum=12, comfort=44),
        Column("flops_per_s", "FLOP/s"),
        Column("bytes_per_s", "B/s", legend="read and written together"),
        Column("share", "of best", bar=True, priority=1),
    )
    rows = []
    for key, kernels in (("flops_per_s", ceiling.compute), ("bytes_per_s", ceiling.bandwidth)):
        best = max((kernel.rate for kernel in kernels), default=0.0)
        for kernel in kernels:
            role = "strong" if kernel.rate == best else ""
            rows.append(
                Row(
                    {
                        "kernel": text_cell(kernel.name, role),
                        key: scaled(kernel.rate, "", role),
                        "share": share(kernel.rate / best if best else None),
                    }
                )
            )
    return [Table("ceiling", "ceiling: the best that this device reached, as measured", columns, tuple(rows))]


def _best(ceiling: Ceiling) -> str:
    found = []
    for rate, unit, kernels in (
        (ceiling.flops_per_s, "FLOP/s", ceiling.compute),
        (ceiling.bytes_per_s, "B/s", ceiling.bandwidth),
    ):
        by = max(kernels, key=lambda kernel: kernel.rate, default=None)
        found.append(formatting.scaled(rate, unit) + ("" if by is None else f" ({text_cell(by.name).text})"))
    return " · ".join(found)
