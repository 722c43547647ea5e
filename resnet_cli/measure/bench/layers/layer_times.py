"""Time of each layer, measured inside whole forwards.

A layer that is timed alone finds its input in the cache and the caches free of its neighbours' data; here it runs in
place. On the processor hooks take the time. They cost time too, so forwards with and without them take turns, and both
times are in the result. On a GPU the time of a layer is that of its kernels, as torch.profiler sees them; in training
steps, whose backward pass has no hooks of use, on the processor that of its operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from torch import nn
from torch.profiler import ProfilerActivity

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.layers.layer_rows import LayerRows
from resnet_cli.measure.bench.layers.module_timers import ModuleTimers, Span, seconds_by_site
from resnet_cli.measure.bench.layers.profiled_layers import Spent, kernel_seconds, operator_seconds, profile_forwards
from resnet_cli.measure.bench.stats.estimators import MIN_SAMPLES, median_interval
from resnet_cli.measure.bench.timing.device_sampling import device_samples
from resnet_cli.measure.bench.timing.device_timer import between_events, timed
from resnet_cli.measure.bench.timing.sampling import (
    CONVERGED,
    INTERRUPTED,
    TIME,
    Call,
    Limits,
    Progress,
    sample,
    warm_up,
)
from resnet_cli.measure.bench.workloads.mixed_precision import TRAIN
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.tracing.module_stack import CallSite
from resnet_cli.results.bench import Ceiling, LayerTime, LayerTimes
from resnet_cli.results.summary import Layer

HOOKS, KERNELS, OPERATORS = "hooks", "kernels", "operators"
_FORWARDS_AT_ONCE = 10  # in one profile


def layer_times(
    workload: Workload,
    batch_size: int,
    root: Layer,
    *,
    backend: DeviceBackend,
    limits: Limits,
    ceiling: Ceiling | None = None,
    progress: Progress,
) -> LayerTimes:
    """Time of each layer of a forward, or of a training step. Ctrl-C ends the sampling and keeps the whole forwards.

    Args:
        workload: the network; it is left without hooks.
        batch_size: images.
        root: the layer tree of the same network at the same shape.
        backend: of the device.
        limits: when to stop; the interval is that of the ratio of the forward with timers to the one without, and on
            a GPU that of the time of all kernels.
        ceiling: by which a layer is memory-bound or compute-bound; None: `bound` is None.
        progress: called with a line of text between two forwards.

    Raises:
        ResnetCliError: layers cannot be timed here.
        KeyboardInterrupt: before a few forwards were measured.
    """
    trains = workload.mode == TRAIN
    with workload.running():
        call = workload.call(batch_size)
        warm_up(backend, call, limits, progress, "layers: ")
        measure = _profiled if backend.is_accelerator or trains else _timed
        measured = measure(workload.model, call, backend, limits, progress)
    if measured.stopped == INTERRUPTED and len(measured.spent) < MIN_SAMPLES:
        raise KeyboardInterrupt
    rows = LayerRows([spent.whole for spent in measured.spent], ceiling, max(root.macs, 1)).of(root, 0)
    if not rows:
        raise ResnetCliError("this network runs none of its layers as modules, so they cannot be timed")
    if trains:
        rows = _with_backward(rows, LayerRows([spent.backward for spent in measured.spent], None, 1).of(root, 0))
    whole = rows[0].time_s
    return LayerTimes(
        batch_size=batch_size,
        forward_s=measured.forward_s,
        instrumented_s=whole,
        other_s=max(0.0, whole - sum(row.time_s for row in rows if row.is_leaf)),
        forwards=len(measured.spent),
        layers=tuple(replace(row, share=row.time_s / whole if whole else 0.0) for row in rows),
        stopped=measured.stopped,
        method=measured.method,
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    """Times of each forward, and the call as it is without a look at its layers."""

    spent: Sequence[Spent]
    forward_s: float
    stopped: str
    method: str


def _timed(model: nn.Module, call: Call, backend: DeviceBackend, limits: Limits, progress: Progress) -> _Measured:
    """By hooks, on the processor."""
    forwards = _Forwards(ModuleTimers(model, backend), call)
    forwards()  # the first one with hooks is slower
    forwards.taken.clear()
    sampled = sample(backend, [call, forwards], limits, progress, "layers: ")
    whole = forwards.taken[: len(sampled.series[0])]  # without an interrupted round
    forward_s = median([sample.wall_s for sample in sampled.series[0]])
    return _Measured([Spent(seconds_by_site(spans), {}) for spans in whole], forward_s, sampled.stopped, HOOKS)


def _profiled(model: nn.Module, call: Call, backend: DeviceBackend, limits: Limits, progress: Progress) -> _Measured:
    """By what the profiler sees: kernels on a GPU, operators on the processor.

    Raises:
        ResnetCliError: it sees none of them there.
    """
    activity = backend.profiler_activity() if backend.is_accelerator else ProfilerActivity.CPU
    if activity is None:
        raise ResnetCliError(f"torch.profiler sees no kernels of {backend.device.type} here, so layers cannot be timed")
    seconds = kernel_seconds if backend.is_accelerator else operator_seconds
    call_s = _call_seconds(call, backend)
    begin, spent, stopped = backend.now(), list[Spent](), TIME
    try:
        profile_forwards(model, call, 1, activity, seconds)  # the first profile of a process loads its library
        while backend.now() - begin < limits.max_time_s or not spent:
            progress(f"layers: {len(spent)} profiled")
            spent += profile_forwards(model, call, _FORWARDS_AT_ONCE, activity, seconds)
            wholes = [times.whole.get(CallSite("", 1), 0.0) for times in spent]
            low, high = median_interval(wholes)
            if len(spent) > _FORWARDS_AT_ONCE and high - low <= limits.ci_width * median(wholes):
                stopped = CONVERGED
                break
    except KeyboardInterrupt:
        if not spent:
            raise
        signals.acknowledge()
        stopped = INTERRUPTED
    if not any(any(times.whole.values()) for times in spent):
        raise ResnetCliError(
            "torch.profiler saw no kernels, so layers cannot be timed; CUPTI may not be permitted here"
        )
    return _Measured(spent, call_s, stopped, KERNELS if backend.is_accelerator else OPERATORS)


def _call_seconds(call: Call, backend: DeviceBackend) -> float:
    """The device's own time for a call, or the wall time on a processor."""
    samples = [timed(backend, call) for _ in range(MIN_SAMPLES)]
    wall_s = median(each.wall_s for each in samples)
    enqueue_s = median(each.enqueue_s for each in samples)
    if not backend.is_accelerator:
        return wall_s
    samples_s = device_samples(backend, call, enqueue_s)
    if samples_s is not None and samples_s.seconds:
        return median(samples_s.seconds)
    return between_events(backend, call) or wall_s


def _with_backward(rows: Sequence[LayerTime], backward: Sequence[LayerTime]) -> list[LayerTime]:
    """Rows of a training step with the part of its backward pass, and without rates, whose work is not known by layer.

    A backward pass has a row for each layer that has a gradient.
    """
    times = {(row.path, row.call): row.time_s for row in backward}
    return [
        replace(
            row,
            backward_s=min(row.time_s, times.get((row.path, row.call), 0.0)),
            flops_per_s=None,
            bytes_per_s=None,
            arithmetic_intensity=None,
            bound=None,
        )
        for row in rows
    ]


class _Forwards:
    """Calls with timers, which are read when all is over."""

    def __init__(self, timers: ModuleTimers, call: Call) -> None:
        self._timers, self._call = timers, call
        self.taken: list[Sequence[Span]] = []

    def __call__(self) -> object:
        with self._timers:
            output = self._call()
        self.taken.append(self._timers.spans)
        return output
