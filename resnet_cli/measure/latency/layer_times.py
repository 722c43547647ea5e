"""Where the time goes: a clock at each layer, inside of whole forwards.

A layer that is timed alone finds its input in the cache and its neighbours gone; here it runs where it stands. Clocks
cost time too, so forwards with and without them take turns and both are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from resnet_cli.bench_results import Ceiling, LayerTime, LayerTimes
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.latency.clocks import Clock
from resnet_cli.measure.latency.instruments import Instruments, Place, own_work
from resnet_cli.measure.latency.sampling import INTERRUPTED, Limits, Progress, sample, warm_up
from resnet_cli.measure.latency.statistics import FEWEST, median_interval, quantile
from resnet_cli.measure.latency.workload import INFERENCE, Workload
from resnet_cli.results import Layer

_ROOT: Place = ("", 1)


def layer_times(
    workload: Workload,
    batch_size: int,
    root: Layer,
    *,
    clock: Clock,
    limits: Limits,
    ceiling: Ceiling | None = None,
    progress: Progress,
) -> LayerTimes:
    """Where the time of a forward goes. Ctrl-C ends it and keeps the whole forwards.

    On a GPU the times are those between marks in its queue: where the host enqueues more slowly than the GPU works,
    they hold the wait for the host too, as the forward does.

    Args:
        workload: the network, for inference; it is left without hooks.
        batch_size: images.
        root: the layer tree of the same network at the same shape.
        clock: of the device.
        limits: when to stop; the forward with clocks over the one without is what has to be sharp.
        ceiling: by which a layer is memory-bound or compute-bound; None: that is not said.
        progress: is told between two forwards.

    Raises:
        ResnetCliError: the workload is a training step.
        KeyboardInterrupt: before a few forwards were measured.
    """
    if workload.mode != INFERENCE:
        raise ResnetCliError(
            "the time by layer is that of an inference", "leave out --layers, or take --mode inference"
        )
    with workload.running():
        call = workload.call(batch_size)
        forwards = _Forwards(Instruments(workload.model, clock), call)
        warm_up(clock, call, limits, progress, "layers: ")
        forwards()  # the first one with hooks is slower
        clock.wait()
        forwards.forget()
        sampled = sample(clock, [call, forwards], limits, progress, "layers: ")
    rounds = len(sampled.series[0])
    if sampled.stopped == INTERRUPTED and rounds < FEWEST:
        raise KeyboardInterrupt
    spent = forwards.spent(rounds)
    plain = [one.wall_s if one.device_s is None else one.device_s for one in sampled.series[0]]
    instrumented = _median([one.get(_ROOT, 0.0) for one in spent])
    rows = tuple(_rows(root, spent, instrumented, ceiling, max(root.macs, 1), limits.confidence, 0))
    leaves = sum(row.time_s for row in rows if row.is_leaf)
    return LayerTimes(
        batch_size=batch_size,
        forward_s=_median(plain),
        instrumented_s=instrumented,
        outside_s=max(0.0, instrumented - leaves),
        forwards=rounds,
        layers=rows,
        stopped=sampled.stopped,
    )


def _median(values: Sequence[float]) -> float:
    return quantile(sorted(values), 0.5)


class _Forwards:
    """Calls with clocks; their figures are read when the device is done, at the next call at the latest."""

    def __init__(self, instruments: Instruments, call: Callable[[], object]) -> None:
        self._instruments, self._call = instruments, call
        self._spent: list[Mapping[Place, float]] = []
        self._unread = False

    def __call__(self) -> object:
        self._read()
        with self._instruments:
            output = self._call()
        self._unread = True
        return output

    def _read(self) -> None:
        if self._unread:
            self._spent.append(self._instruments.spent())
        self._unread = False

    def forget(self) -> None:
        """The calls so far do not count."""
        self._spent, self._unread = [], False

    def spent(self, count: int) -> list[Mapping[Place, float]]:
        """Of the first calls; one that was broken off is none of them."""
        if len(self._spent) < count:
            self._read()
        return self._spent[:count]


def _rows(
    layer: Layer,
    spent: Sequence[Mapping[Place, float]],
    instrumented: float,
    ceiling: Ceiling | None,
    macs: int,
    confidence: float,
    depth: int,
) -> Iterator[LayerTime]:
    """The rows of a layer and all below it; what no forward ran has none."""

    def row(one: Layer, place: Place, name: str, kind: str, parts: Sequence[Layer], is_leaf: bool) -> LayerTime:
        times = [forward.get(place, 0.0) for forward in spent]
        middle = quantile(sorted(times), 0.5)
        low, high = median_interval(times, confidence)
        work, moved = sum(part.macs for part in parts), sum(part.bytes_moved for part in parts)
        operations = sum(part.operations for part in parts)
        intensity = operations / moved if moved else None
        bound = None
        if ceiling is not None and intensity is not None:
            bound = "memory" if intensity < ceiling.flops_per_s / ceiling.bytes_per_s else "compute"
        return LayerTime(
            path=place[0],
            name=name,
            kind=kind,
            depth=depth if one is layer and place[0] == layer.path else depth + 1,
            call=place[1],
            is_leaf=is_leaf,
            time_s=middle,
            low_s=low,
            high_s=high,
            share=middle / instrumented if instrumented else 0.0,
            macs=work,
            macs_share=work / macs,
            flops_per_s=2 * work / middle if middle and work else None,
            bytes_moved=moved,
            bytes_per_s=moved / middle if middle else None,
            intensity=intensity,
            bound=bound,
        )

    place = (layer.path, layer.call)
    if layer.is_operator or not any(place in forward for forward in spent):
        return
    modules = [child for child in layer.children if not child.is_operator]
    own = [child for child in layer.children if child.is_operator]
    yield row(layer, place, layer.name, layer.kind, [layer], not layer.children)
    for child in modules:
        yield from _rows(child, spent, instrumented, ceiling, macs, confidence, depth + 1)
    if own:
        names = ", ".join(dict.fromkeys(child.name for child in own))
        yield row(layer, (own_work(layer.path), layer.call), names, names, own, True)
