"""Clocks within a network: at each module, and at each operator that a forward runs outside of a leaf module."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from resnet_cli.measure.bench.device_timer import Clock
from resnet_cli.measure.system.devices.backend import Event

CallSite = tuple[str, int]  # path of a module and the number of its call


def own_ops(path: str) -> str:
    """The path of what a module's forward does itself, beside the modules that it calls."""
    return f"{path}:own"


@dataclass(slots=True)
class _Span:
    """From one moment to another, on the host and, where it keeps marks, on the device."""

    place: CallSite
    begin_mark: Event | None
    begin: float = 0.0
    end: float = 0.0
    end_mark: Event | None = None

    @property
    def seconds(self) -> float:
        if self.begin_mark is not None and self.end_mark is not None:
            return self.begin_mark.elapsed_time(self.end_mark) / 1000
        return self.end - self.begin


@dataclass(slots=True)
class _Recording:
    """One forward."""

    spans: list[_Span] = field(default_factory=list)  # that have ended
    running: list[tuple[_Span, bool]] = field(default_factory=list)  # and whether the module has modules below
    calls: dict[str, int] = field(default_factory=dict)


class ModuleTimers:
    """A context manager that gives a network clocks, and takes them away again whatever happens.

    Args:
        model: has hooks while the context lasts.
        clock: of its device.
    """

    def __init__(self, model: nn.Module, clock: Clock) -> None:
        self._model, self._clock = model, clock
        self._recording = _Recording()
        self._stack = ExitStack()

    def __enter__(self) -> None:
        """Attach the clocks."""
        self._recording = _Recording()
        try:
            for path, module in self._model.named_modules():
                has_more = next(module.children(), None) is not None
                enter = module.register_forward_pre_hook(self._entering(path, has_more))
                self._stack.callback(enter.remove)
                leave = module.register_forward_hook(self._leaving, always_call=True)
                self._stack.callback(leave.remove)
            self._stack.enter_context(_Operators(self))
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Take them away."""
        self._stack.close()

    def spent(self) -> dict[CallSite, float]:
        """Seconds by place of the last forward; the device has to be done."""
        found: dict[CallSite, float] = {}
        for span in self._recording.spans:
            found[span.place] = found.get(span.place, 0.0) + span.seconds
        return found

    def _entering(self, path: str, has_more: bool) -> Callable[..., None]:
        recording, clock = self._recording, self._clock

        def enter(_: nn.Module, __: Any) -> None:
            number = recording.calls[path] = recording.calls.get(path, 0) + 1
            span = _Span((path, number), clock.record_event())
            recording.running.append((span, has_more))
            span.begin = clock.now()  # the last thing before the module, as the other one is the first after it

        return enter

    def _leaving(self, _: nn.Module, __: Any, ___: Any) -> None:
        now = self._clock.now()
        if self._recording.running:
            span, _has_more = self._recording.running.pop()
            span.end, span.end_mark = now, self._clock.record_event()
            self._recording.spans.append(span)

    def operator(self, call: Callable[[], Any]) -> Any:
        """Run an operator; it is timed where the forward of a module with modules below calls it."""
        running = self._recording.running
        if not running or not running[-1][1]:
            return call()
        path, number = running[-1][0].place
        span = _Span((own_ops(path), number), self._clock.record_event())
        span.begin = self._clock.now()
        try:
            return call()
        finally:
            span.end, span.end_mark = self._clock.now(), self._clock.record_event()
            self._recording.spans.append(span)


class _Operators(TorchFunctionMode):
    """Sees the functions of torch that a forward calls, not those that they call themselves."""

    def __init__(self, instruments: ModuleTimers) -> None:
        super().__init__()
        self._instruments = instruments

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._instruments.operator(lambda: func(*args, **(kwargs or {})))
