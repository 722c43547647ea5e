"""Time of each layer, measured inside whole forwards.

A layer that is timed alone finds its input in the cache and the caches free of its neighbours' data; here it runs in
place. On the processor hooks take the time. They cost time too, so forwards with and without them take turns, and both
times are in the result. On a GPU the time of a layer is that of its kernels, as torch.profiler sees them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from torch import nn

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.device_sampling import device_samples
from resnet_cli.measure.bench.device_timer import between_events, timed
from resnet_cli.measure.bench.layers.module_timers import ModuleTimers, Span, seconds_by_site
from resnet_cli.measure.bench.layers.profiled_layers import own_ops, profile_forwards
from resnet_cli.measure.bench.sampling import CONVERGED, INTERRUPTED, TIME, Call, Limits, Progress, sample, warm_up
from resnet_cli.measure.bench.stats.estimators import MIN_SAMPLES, median_interval, quantile
from resnet_cli.measure.bench.workload import INFERENCE, Workload
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.tracing.module_stack import CallSite
from resnet_cli.results.bench import Ceiling, LayerTime, LayerTimes
from resnet_cli.results.summary import Layer

HOOKS, KERNELS = "hooks", "kernels"
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
    """Time of each layer of a forward. Ctrl-C ends the sampling and keeps the whole forwards.

    Args:
        workload: the network, for inference; it is left without hooks.
        batch_size: images.
        root: the layer tree of the same network at the same shape.
        backend: of the device.
        limits: when to stop; the interval is that of the ratio of the forward with timers to the one without, and on
            a GPU that of the time of all kernels.
        ceiling: by which a layer is memory-bound or compute-bound; None: `bound` is None.
        progress: called with a line of text between two forwards.

    Raises:
        ResnetCliError: the workload is a training step.
        KeyboardInterrupt: before a few forwards were measured.
    """
    if workload.mode != INFERENCE:
        raise ResnetCliError("times of layers are measured in inference only", "use `mode=inference`")
    with workload.running():
        call = workload.call(batch_size)
        warm_up(backend, call, limits, progress, "layers: ")
        measured = (_profiled if backend.is_accelerator else _timed)(workload.model, call, backend, limits, progress)
    if measured.stopped == INTERRUPTED and len(measured.spent) < MIN_SAMPLES:
        raise KeyboardInterrupt
    rows = _Rows(measured.spent, ceiling, max(root.macs, 1)).of(root, 0)
    if not rows:
        raise ResnetCliError("this network runs none of its layers as modules, so they cannot be timed")
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
    """Seconds by call site of each forward, and the forward as it is without a look at its layers."""

    spent: Sequence[Mapping[CallSite, float]]
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
    forward_s = _median([sample.wall_s for sample in sampled.series[0]])
    return _Measured([seconds_by_site(spans) for spans in whole], forward_s, sampled.stopped, HOOKS)


def _profiled(model: nn.Module, call: Call, backend: DeviceBackend, limits: Limits, progress: Progress) -> _Measured:
    """By the kernels that the profiler sees, on a GPU.

    Raises:
        ResnetCliError: it sees none of them there.
    """
    activity = backend.profiler_activity()
    if activity is None:
        raise ResnetCliError(f"torch.profiler sees no kernels of {backend.device.type} here, so layers cannot be timed")
    samples_s = device_samples(backend, call, timed(backend, call).enqueue_s) or [between_events(backend, call) or 0.0]
    begin, spent, stopped = backend.now(), list[Mapping[CallSite, float]](), TIME
    try:
        profile_forwards(model, call, 1, activity)  # the first profile of a process loads its library
        while backend.now() - begin < limits.max_time_s or not spent:
            progress(f"layers: {len(spent)} forwards profiled")
            spent += profile_forwards(model, call, _FORWARDS_AT_ONCE, activity)
            wholes = [times.get(CallSite("", 1), 0.0) for times in spent]
            low, high = median_interval(wholes)
            if len(spent) > _FORWARDS_AT_ONCE and high - low <= limits.ci_width * _median(wholes):
                stopped = CONVERGED
                break
    except KeyboardInterrupt:
        if not spent:
            raise
        signals.acknowledge()
        stopped = INTERRUPTED
    if not any(any(times.values()) for times in spent):
        raise ResnetCliError(
            "torch.profiler saw no kernels, so layers cannot be timed; CUPTI may not be permitted here"
        )
    return _Measured(spent, _median(samples_s), stopped, KERNELS)


def _median(values: Sequence[float]) -> float:
    return quantile(sorted(values), 0.5)


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


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a layer tree.

    A disturbance rarely falls on a given layer but often on the whole forward, so medians do not add up. The time of
    a module with children is therefore the sum of the medians of its children and of the time between them.

    Args:
        spent: seconds by call site, of each forward.
        ceiling: of the device.
        macs: of the whole forward.
    """

    spent: Sequence[Mapping[CallSite, float]]
    ceiling: Ceiling | None
    macs: int

    def of(self, layer: Layer, depth: int) -> list[LayerTime]:
        """Rows of a layer and of its descendants, without shares; a layer that no forward ran has none.

        Several operators that a forward runs itself share one row, with the path `…:own`, since one function may run
        several operators.
        """
        site = CallSite(layer.path, layer.call)
        if layer.is_operator or not self._ran(site):
            return []
        below = [rows for child in layer.children if (rows := self.of(child, depth + 1))]
        parts = [CallSite(rows[0].path, rows[0].call) for rows in below]
        # A row without an output holds the parameters of the module itself.
        operators = [child for child in layer.children if child.is_operator and child.output_shape is not None]
        if operators and self._ran(own := own_ops(site)):
            names = ", ".join(dict.fromkeys(child.name for child in operators))
            row = self._row(own, names, names, operators, depth + 1)
            # A single operator has the path that it has in every other layer tree.
            below.append([replace(row, path=operators[0].path) if len(operators) == 1 else row])
            parts.append(own)
        row = self._row(site, layer.name, layer.layer_type, [layer], depth)
        if not below:
            return [row]
        between = _median(
            [max(0.0, times.get(site, 0.0) - sum(times.get(part, 0.0) for part in parts)) for times in self.spent]
        )
        time_s = between + sum(rows[0].time_s for rows in below)
        return [self._timed(replace(row, is_leaf=False), time_s), *chain.from_iterable(below)]

    def _ran(self, site: CallSite) -> bool:
        return any(site in times for times in self.spent)

    def _row(self, site: CallSite, name: str, layer_type: str, parts: Sequence[Layer], depth: int) -> LayerTime:
        """The row of a leaf, from its timer."""
        times = [seconds.get(site, 0.0) for seconds in self.spent]
        low, high = median_interval(times)
        moved, operations = sum(part.bytes_moved for part in parts), sum(part.ops for part in parts)
        macs = sum(part.macs for part in parts)
        intensity = operations / moved if moved else None
        row = LayerTime(
            path=site.path,
            name=name,
            layer_type=layer_type,
            depth=depth,
            call=site.call,
            is_leaf=True,
            time_s=0.0,
            ci_low_s=low,
            ci_high_s=high,
            share=0.0,
            macs=macs,
            macs_share=macs / self.macs,
            flops_per_s=None,
            bytes_moved=moved,
            bytes_per_s=None,
            arithmetic_intensity=intensity,
            bound=self._bound(intensity),
        )
        return self._timed(row, _median(times))

    def _bound(self, intensity: float | None) -> str | None:
        """The ceiling that limits the rate at this arithmetic intensity (operations per byte)."""
        if self.ceiling is None or intensity is None:
            return None
        return "memory" if intensity < self.ceiling.flops_per_s / self.ceiling.bytes_per_s else "compute"

    @staticmethod
    def _timed(row: LayerTime, time_s: float) -> LayerTime:
        """The row with its time and the rates that follow from it."""
        return replace(
            row,
            time_s=time_s,
            ci_low_s=min(row.ci_low_s, time_s),
            ci_high_s=max(row.ci_high_s, time_s),
            flops_per_s=2 * row.macs / time_s if time_s and row.macs else None,
            bytes_per_s=row.bytes_moved / time_s if time_s else None,
        )
