"""The page of `bench`: how fast the network is, and what that was measured with."""

from __future__ import annotations

from collections.abc import Callable

from resnet_cli import formatting
from resnet_cli.render.document import Document, Element, Paragraph, ViewOptions
from resnet_cli.render.pages import PAGES
from resnet_cli.render.pages.bench.ceiling import ceiling
from resnet_cli.render.pages.bench.layers import layer_times
from resnet_cli.render.pages.bench.optimizations import optimizations
from resnet_cli.render.pages.bench.replicas import replicas
from resnet_cli.render.pages.bench.runs import gate_plan, runs
from resnet_cli.render.pages.bench.timings import timings
from resnet_cli.render.pages.bench.training import batch_limit, phases
from resnet_cli.render.pages.bench.versus import versus
from resnet_cli.render.pages.cells import counted
from resnet_cli.render.pages.elements import closing, input_text, interrupted, notes
from resnet_cli.results.bench import BenchResult, Conditions


def bench_page(result: BenchResult, view: ViewOptions) -> Document:
    """The sections that were asked for, then the conditions of the measurement."""
    draw: dict[str, Callable[[], list[Element]]] = {
        "plan": lambda: gate_plan(result),
        "timings": lambda: timings(result),
        "phases": lambda: phases(result),
        "batch-limit": lambda: batch_limit(result.batch_limit),
        "runs": lambda: runs(result),
        "versus": lambda: versus(result),
        "optimizations": lambda: optimizations(result.optimizations, result.confidence),
        "layers": lambda: layer_times(result.layers, view),
        "replicas": lambda: replicas(result.replicas, result.unit),
        "ceiling": lambda: ceiling(result.ceiling, with_kernels=view.sections is not None),
    }
    return Document(
        title=f"bench: {result.network.name}",
        subtitle=_subtitle(result),
        elements=(
            *interrupted(result.interrupted),
            *(element for section in view.sections or PAGES["bench"].sections for element in draw[section]()),
            *notes(result.notes),
            Paragraph("dim", _conditions(result.conditions, result.seed), apart=True),
            *closing((), result.environment),
        ),
    )


def _subtitle(result: BenchResult) -> str:
    conditions = result.conditions
    parts = (
        conditions.mode if conditions.optimizer is None else f"{conditions.mode} with {conditions.optimizer}",
        conditions.precision,
        f"input {input_text(result.input)}" if result.image is None else f"image {formatting.dimensions(result.image)}",
        result.environment.device,
        counted(conditions.threads, "thread"),
    )
    return " · ".join(parts)


def _conditions(conditions: Conditions, seed: int) -> str:
    """What the times depend on beside the network, in one line, where it is known."""
    threads, interop = conditions.threads, conditions.interop_threads
    load, steal = conditions.background_cpu_load, conditions.steal_time_share
    parts = [
        f"{threads:,} intra-op and {interop:,} inter-op thread{'' if interop == 1 else 's'}",
        conditions.instructions,
        *conditions.libraries,
        None if conditions.clock_hz is None else f"GPU clock {formatting.scaled(conditions.clock_hz, 'Hz')}",
        None if load is None else f"background load {load:.1f} cores",
        None if steal is None else f"steal time {formatting.percent(steal)}",
        f"throttled: {', '.join(conditions.throttled)}" if conditions.throttled else None,
        f"seed {seed}",
        f"measured in {formatting.seconds(conditions.duration_s)}",
    ]
    return f"conditions: {' · '.join(part for part in parts if part)}"
