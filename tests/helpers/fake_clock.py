"""A device in virtual time: nothing here sleeps, and every duration is known to the test."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from resnet_cli.measure.bench.timing import sampling
from resnet_cli.measure.system.devices.backend import DeviceBackend, GraphCapture
from resnet_cli.measure.system.precision import Precision


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the queue of a simulated device."""

    clock: SimulatedClock
    reached_s: float

    def record(self, stream: object, /) -> None:
        """It stands in the queue already."""

    def query(self) -> bool:
        return self.reached_s <= self.clock.host_s

    def elapsed_time(self, end_event: Mark, /) -> float:
        """Milliseconds; as on a GPU, asking before the device was there is an error."""
        if max(self.reached_s, end_event.reached_s) > self.clock.host_s:
            raise RuntimeError("device not ready")
        return (end_event.reached_s - self.reached_s) * 1000


@dataclass
class SimulatedClock:
    """A host and its device. The host enqueues, the device works off its queue in order, whoever waits is late.

    Args:
        queued: False for a processor: it works while the host waits, and has no marks.
        memory: what `peak` says; None: it cannot tell.
        held: bytes that are allocated all the time.
        read_s: what a look at the clock takes.
        latency_s: from the launch of a kernel until an idle device begins it.
        depth: kernels that the queue holds; a launch waits for a place in it.
        waits: what it says of calls, whether they wait for it.
    """

    queued: bool = True
    memory: tuple[int, str] | None = None
    read_s: float = 0.0
    held: int | None = None
    latency_s: float = 0.0
    depth: int = 1024
    waits: bool | None = None
    host_s: float = 0.0  # virtual time on the host
    done_s: float = 0.0  # when the device will have done all that it was given
    read_while_busy: int = 0  # looks at the clock while the device worked
    freed: int = 0
    forgotten: int = 0
    _most: int = 0  # allocated at once since the last reset, beside what is held
    _ends: deque[float] = field(default_factory=deque)  # of the kernels in the queue
    log: list[str] = field(default_factory=list)  # "now", "synchronize", "record_event" and what the test adds

    def now(self) -> float:
        self.log.append("now")
        self.read_while_busy += self.busy
        self.host_s += self.read_s
        return self.host_s

    def synchronize(self) -> None:
        self.log.append("synchronize")
        self.host_s = max(self.host_s, self.done_s)

    def record_event(self) -> Mark | None:
        self.log.append("record_event")
        return Mark(self, max(self.host_s, self.done_s)) if self.queued else None

    def hold_queue(self, seconds: float) -> bool:
        self.log.append("hold_queue")
        if self.queued:
            self.run(seconds)
        return self.queued

    def waits_within(self, call: Callable[[], object]) -> bool | None:
        call()
        return self.waits

    def reset_peak_memory(self) -> None:
        self.forgotten += 1
        self._most = 0

    def allocate(self, size: int) -> None:
        """Bytes that a call takes and gives back."""
        self._most = max(self._most, size)

    def peak_memory(self) -> tuple[int, str] | None:
        return self.memory if self.held is None else (self.held + self._most, "allocated")

    def empty_cache(self) -> None:
        self.freed += 1

    @property
    def busy(self) -> bool:
        """Whether the device still works."""
        return self.done_s > self.host_s

    def run(self, device_s: float, enqueue_s: float = 0.0) -> None:
        """One kernel: the host takes its time to enqueue it, then the device takes its own."""
        self.host_s += enqueue_s
        while self._ends and (self._ends[0] <= self.host_s or len(self._ends) >= self.depth):
            self.host_s = max(self.host_s, self._ends.popleft())
        self.done_s = max(self.host_s + self.latency_s, self.done_s) + device_s
        self._ends.append(self.done_s)
        if not self.queued:
            self.synchronize()


@dataclass
class SimulatedCall:
    """A function that takes known times on a simulated device.

    Args:
        clock: of the device.
        durations: device time of each call in seconds, until they end.
        enqueue_s: host time to enqueue a call.
        kernels: that a call consists of; its times are shared out equally.
        raises: what is raised in place of work, by the number of the call; the first one is 1.
        name: what is written to the clock's log at each call, if anything.
        output: what it gives.
    """

    clock: SimulatedClock
    durations: Iterator[float]
    enqueue_s: float = 0.0
    kernels: int = 1
    raises: Mapping[int, BaseException] = field(default_factory=dict)
    name: str | None = None
    output: object = None
    calls: int = 0

    def __call__(self) -> object:
        self.calls += 1
        if self.name is not None:
            self.clock.log.append(self.name)
        if self.calls in self.raises:
            raise self.raises[self.calls]
        device_s = next(self.durations)
        for _ in range(self.kernels):
            self.clock.run(device_s / self.kernels, self.enqueue_s / self.kernels)
        return self.output


def steps(clock: SimulatedClock, seconds: float, **options: object) -> SimulatedCall:
    """A call that always takes the same time."""
    return SimulatedCall(clock, repeat(seconds), **options)  # type: ignore[arg-type]


def out_of_memory() -> torch.OutOfMemoryError:
    """What torch raises where an allocation fails."""
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def autoregressive(dice: random.Random, rho: float) -> Iterator[float]:
    """Standard normal values of which neighbours have the correlation rho: a stationary AR(1) series."""
    value = dice.gauss(0, 1)
    fresh = math.sqrt(1 - rho**2)
    while True:
        yield value
        value = rho * value + fresh * dice.gauss(0, 1)


def series(dice: random.Random, rho: float, n: int) -> list[float]:
    """The first n values of an AR(1) series; its median is 0."""
    values = autoregressive(dice, rho)
    return [next(values) for _ in range(n)]


def without_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampling collects garbage first; that of all that torch has loaded takes longer than time that is virtual."""
    monkeypatch.setattr(sampling, "gc", SimpleNamespace(isenabled=bool, collect=int, disable=int, enable=int))


@dataclass
class Machine:
    """What a real machine does to all that runs on it: noise that lasts, spikes, a slow drift.

    Args:
        clock: of the device; the drift goes by its time.
        dice: of this run.
        noise: relative standard deviation of a call's time.
        rho: correlation of the noise of successive calls, whoever makes them.
        spikes: share of the calls that take half as long again.
        drift: relative change over 10 seconds; it goes up and down.
    """

    clock: SimulatedClock
    dice: random.Random
    noise: float = 0.01
    rho: float = 0.5
    spikes: float = 0.02
    drift: float = 0.05

    def __post_init__(self) -> None:
        self._noise = autoregressive(self.dice, self.rho)
        self._phase = self.dice.uniform(0, 2 * math.pi)

    def durations(self, seconds: float) -> Iterator[float]:
        """Of calls that would take so many seconds on a quiet machine."""
        while True:
            wave = self.drift * math.sin(self._phase + self.clock.host_s * math.pi / 10)
            spike = 1.5 if self.dice.random() < self.spikes else 1.0
            yield seconds * math.exp(self.noise * next(self._noise) + wave) * spike

    def call(self, seconds: float, name: str | None = None) -> Callable[[], object]:
        """A call of so many seconds on this machine."""
        return SimulatedCall(self.clock, self.durations(seconds), name=name)


class SimulatedBackend(DeviceBackend):
    """A device in virtual time whose tensors are on the CPU; what it can do is up to the test."""

    title = "simulated device"

    def __init__(
        self,
        clock: SimulatedClock | None = None,
        *,
        queued: bool = True,
        kind: str | None = None,
        free: int | None = None,
        capability: tuple[int, int] | None = None,
        emulates_bfloat16: bool = False,
        fp32_settings: tuple[Precision, ...] = (),
        graph_capture: GraphCapture | None = None,
    ) -> None:
        super().__init__(torch.device("cpu"))
        self.clock = SimulatedClock(queued) if clock is None else clock
        self.is_accelerator = queued  # type: ignore[misc]
        self.collectives = "gloo"  # type: ignore[misc]
        self._free, self._capability, self._emulates = free, capability, emulates_bfloat16
        self._settings, self._capture = fp32_settings, graph_capture
        if kind is not None:
            self.device = SimpleNamespace(type=kind)  # type: ignore[assignment]

    @classmethod
    def is_available(cls) -> bool:
        return True

    @classmethod
    def find(cls, index: int) -> torch.device:
        return torch.device("cpu")

    def name(self) -> str:
        return "simulated"

    def total_memory(self) -> int | None:
        return self._free

    def free_memory(self) -> int | None:
        return self._free

    def now(self) -> float:
        return self.clock.now()

    def synchronize(self) -> None:
        self.clock.synchronize()

    def record_event(self) -> Mark | None:
        return self.clock.record_event()

    def hold_queue(self, seconds: float) -> bool:
        return self.clock.hold_queue(seconds)

    def waits_within(self, call: Callable[[], object]) -> bool | None:
        return self.clock.waits_within(call)

    def reset_peak_memory(self) -> None:
        self.clock.reset_peak_memory()

    def peak_memory(self) -> tuple[int, str] | None:
        return self.clock.peak_memory()

    def empty_cache(self) -> None:
        self.clock.empty_cache()

    def capability(self) -> tuple[int, int] | None:
        return self._capability

    def emulates_bfloat16(self) -> bool:
        return self._emulates

    def fp32_settings(self) -> tuple[Precision, ...]:
        return self._settings

    def graph_capture(self) -> GraphCapture | None:
        return self._capture


def fake_optimization(key: str, build: Callable[..., object], *, keeps_precision: bool = True) -> Any:
    """A row of the registry whose variants the test builds."""
    return SimpleNamespace(
        key=key,
        title=key,
        keeps_precision=keeps_precision,
        dtype="float32",
        needs=None,
        has_own_threads=False,
        code=(),
        modes=("inference",),
        load=lambda: build,
    )
