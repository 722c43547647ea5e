"""Timers within a network: around each module call, and around the operators that other than leaf modules run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from resnet_cli.measure.bench.device_timer import Clock
from resnet_cli.measure.system.devices.backend import Event
from resnet_cli.measure.tracing.module_stack import CallSite, ModuleStack, operator_path


def own_ops(site: CallSite) -> CallSite:
    """The call site of all operators that a module's forward runs itself, beside the modules that it calls."""
    return CallSite(operator_path(site.path, "own"), site.call)


@dataclass(slots=True)
class _Span:
    """A timed interval, by the host's clock or, where it has events, by the device's."""

    site: CallSite
    has_rows: bool  # the network itself, or a module with children: its own operators are timed apart
    begin_event: Event | None
    begin: float = 0.0
    end: float = 0.0
    end_event: Event | None = None

    @property
    def seconds(self) -> float:
        if self.begin_event is not None and self.end_event is not None:
            return self.begin_event.elapsed_time(self.end_event) / 1000
        return self.end - self.begin


class ModuleTimers:
    """A context manager for one forward at a time, around which the network has hooks.

    Args:
        model: the network.
        clock: of its device.
    """

    def __init__(self, model: nn.Module, clock: Clock) -> None:
        self._model, self._clock = model, clock
        self._spans: list[_Span] = []  # that have ended
        self._modules = ModuleStack(model, self._enter, self._leave)
        self._stack = ExitStack()

    def __enter__(self) -> None:
        """Attach the timers."""
        self._spans = []
        self._modules = ModuleStack(self._model, self._enter, self._leave)
        with ExitStack() as stack:
            stack.enter_context(self._modules)
            stack.enter_context(_Operators(self))
            self._stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        """Remove the timers."""
        self._stack.close()

    def spent(self) -> dict[CallSite, float]:
        """Seconds of the last forward by call site; the device has to be synchronized."""
        seconds: dict[CallSite, float] = {}
        for span in self._spans:
            seconds[span.site] = seconds.get(span.site, 0.0) + span.seconds
        return seconds

    def _enter(self, site: CallSite, module: nn.Module, inputs: tuple[Any, Any]) -> _Span:
        has_rows = not site.path or next(module.children(), None) is not None
        span = _Span(site, has_rows, self._clock.record_event())
        span.begin = self._clock.now()  # directly before the forward, and read directly after it
        return span

    def _leave(self, span: _Span, output: Any) -> None:
        span.end, span.end_event = self._clock.now(), self._clock.record_event()
        self._spans.append(span)

    def operator(self, call: Callable[[], Any]) -> Any:
        """Run an operator; it is timed where the forward of the network itself or of a module with children runs it."""
        running = self._modules.running
        if not running or not running[-1].has_rows:
            return call()
        span = _Span(own_ops(running[-1].site), False, self._clock.record_event())
        span.begin = self._clock.now()
        try:
            return call()
        finally:
            self._leave(span, None)


class _Operators(TorchFunctionMode):
    """Intercepts the functions of torch that a forward calls, not those that they call themselves."""

    def __init__(self, timers: ModuleTimers) -> None:
        super().__init__()
        self._timers = timers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._timers.operator(lambda: func(*args, **(kwargs or {})))
