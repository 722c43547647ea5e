"""`bench`: everything that was asked for, in one result."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench import baseline as saved_runs
from resnet_cli.measure.bench import batch_timing, conditions
from resnet_cli.measure.bench import workload_cost as demands
from resnet_cli.measure.bench.config import BenchmarkConfig, OtherModel
from resnet_cli.measure.bench.device_timer import Clock
from resnet_cli.measure.bench.estimators import knee
from resnet_cli.measure.bench.layers.layer_times import layer_times
from resnet_cli.measure.bench.paired import interleaved
from resnet_cli.measure.bench.run_context import RunContext, torch_settings
from resnet_cli.measure.bench.sampling import INTERRUPTED, Progress
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.measure.bench.workload_cost import WorkloadCost, workload_cost
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.optimizations.comparison import compare_optimizations
from resnet_cli.measure.roofline.ceiling import measure_ceiling
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.results.bench import BenchResult, Ceiling, LayerTimes, OptimizationsResult, Timing, Versus

_MEMORY_SHARE = 0.95  # of what is free; the rest is for workspaces and everybody else


@dataclass(slots=True)
class _Found:
    """What has been measured so far; Ctrl-C keeps it."""

    timings: list[Timing]
    comparisons: list[Versus]
    ceiling: Ceiling | None = None
    ladder: OptimizationsResult | None = None
    layers: LayerTimes | None = None
    interrupted: bool = False

    @property
    def has_figures(self) -> bool:
        return any(row.wall is not None for row in self.timings)  # without which there are neither layers nor a ladder


def bench(
    subject: ModelUnderTest,
    question: BenchmarkConfig,
    *,
    opponent: OtherModel | None = None,
    baseline: BenchResult | None = None,
    fail_above: float | None = None,
    progress: Progress,
) -> BenchResult:
    """Time a network.

    Args:
        subject: the network, with weights, on the CPU; it is moved to the device, and in train mode trained.
        question: what to measure.
        opponent: another network, measured in turn with this one.
        baseline: a saved run of the same network.
        fail_above: the slowdown against it that is a failure.
        progress: is told what goes on, between samples.

    Raises:
        ResnetCliError: nothing could be measured.
        KeyboardInterrupt: before anything was measured.
    """
    with torch_settings(question.threads):
        frame = RunContext(subject, question)
        found = _measure(subject, question, opponent, device_backend(question.device), frame.watch, progress)
        result = replace(
            frame.close(),
            timings=_with_knee(found.timings),
            ceiling=found.ceiling,
            versus=tuple(found.comparisons),
            optimizations=found.ladder,
            layers=found.layers,
            fail_above=fail_above,
            interrupted=found.interrupted,
        )
    return result if baseline is None else _held_against(result, baseline, fail_above)


def _held_against(result: BenchResult, baseline: BenchResult, fail_above: float | None) -> BenchResult:
    compared = saved_runs.against_baseline(result, baseline, fail_above)
    return replace(
        result,
        versus=(*result.versus, *compared),
        failed=saved_runs.fails(compared, fail_above),
        notes=(*result.notes, *saved_runs.differences(result, baseline)),
    )


def _measure(
    subject: ModelUnderTest,
    question: BenchmarkConfig,
    opponent: OtherModel | None,
    ticking: Clock,
    watch: conditions.ConditionMonitor,
    progress: Progress,
) -> _Found:
    """Row after row; Ctrl-C ends it with what there is."""
    found = _Found([], [])

    def looked(text: str) -> None:
        watch.sample()
        progress(text)

    try:
        progress("counting")
        asked = workload_cost(subject, question.image, question.dtype, question.mode)
        plain = copy.deepcopy(subject.model) if question.levers is not None else None
        if question.ceiling:
            progress("measuring what this machine can do")
            found.ceiling = measure_ceiling(question.device, question.dtype, ticking, progress=looked)
        available = device_backend(question.device).free_memory()
        available = None if available is None else int(_MEMORY_SHARE * available)
        ours = _workload(subject.model, question)
        theirs = None if opponent is None else _workload(opponent.model, question)
        for batch_size in question.batch_sizes:
            row, compared = _row(
                subject, ours, theirs, opponent, batch_size, question, ticking, asked, found.ceiling, available, looked
            )
            found.timings.append(row)
            if compared is not None:
                found.comparisons.append(compared)
            if row.stopped == INTERRUPTED:
                found.interrupted = True
                return found
        _require_one(found.timings)
        _more(subject, question, ours, plain, found, ticking, looked)
    except KeyboardInterrupt:
        if not found.has_figures:
            raise
        signals.acknowledge()
        found.interrupted = True
    return found


def _workload(model: nn.Module, question: BenchmarkConfig) -> Workload:
    return Workload(
        model,
        image=question.image,
        device=question.device,
        dtype=question.dtype,
        mode=question.mode,
        seed=question.seed,
        fresh=question.fresh,
    )


def _row(
    subject: ModelUnderTest,
    ours: Workload,
    theirs: Workload | None,
    opponent: OtherModel | None,
    batch_size: int,
    question: BenchmarkConfig,
    ticking: Clock,
    asked: WorkloadCost,
    ceiling: Ceiling | None,
    available: int | None,
    progress: Progress,
) -> tuple[Timing, Versus | None]:
    if theirs is None or opponent is None:
        row = batch_timing.time_batch(
            ours,
            batch_size,
            ticking,
            question.limits,
            demand=asked,
            ceiling=ceiling,
            available=available,
            progress=progress,
        )
        return row, None
    return interleaved(
        ours,
        theirs,
        (subject.name, opponent.name),
        batch_size,
        ticking,
        question.limits,
        demand=asked,
        ceiling=ceiling,
        available=available,
        progress=progress,
    )


def _more(
    subject: ModelUnderTest,
    question: BenchmarkConfig,
    ours: Workload,
    plain: nn.Module | None,
    found: _Found,
    ticking: Clock,
    progress: Progress,
) -> None:
    """The ladder and the layers, at the first batch size that ran."""
    batch_size = next(row.batch_size for row in found.timings if row.wall is not None)
    if question.layers:
        root = demands.layers(subject, (batch_size, *question.image), question.dtype)
        found.layers = layer_times(
            ours,
            batch_size,
            root,
            clock=ticking,
            limits=question.limits,
            ceiling=found.ceiling,
            progress=progress,
        )
        if found.layers.stopped == INTERRUPTED:
            found.interrupted = True
            return
    if question.levers is not None and plain is not None:
        found.ladder = compare_optimizations(
            plain,
            image=question.image,
            batch_size=batch_size,
            backend=device_backend(question.device),
            seed=question.seed,
            limits=question.limits,
            chosen=question.levers,
            progress=progress,
            fresh=question.fresh,
        )
        found.interrupted = found.ladder.stopped == INTERRUPTED


def _require_one(rows: Sequence[Timing]) -> None:
    """Raises: ResnetCliError: no batch size could be measured."""
    if any(row.wall is not None for row in rows):
        return
    row = rows[0]
    hint = (
        "use a smaller --batch-size or --image-size"
        if row.status == batch_timing.OUT_OF_MEMORY
        else "try another --batch-size, --dtype or --device"
    )
    raise ResnetCliError(f"--batch-size {row.batch_size}: {row.status}: {row.reason}", hint)


def _with_knee(rows: Sequence[Timing]) -> tuple[Timing, ...]:
    """The smallest batch that is nearly as good as the best is marked."""
    best = knee([(row.batch_size, row.images_per_s) for row in rows if row.images_per_s is not None])
    return tuple(replace(row, knee=row.batch_size == best) for row in rows)
