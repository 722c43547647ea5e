"""Timers within a network: around each module call, and around the operators that other than leaf modules run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from resnet_cli.measure.bench.layers.profiled_layers import has_rows, own_ops
from resnet_cli.measure.bench.timing.device_timer import Clock
from resnet_cli.measure.tracing.module_stack import CallSite, ModuleStack


@dataclass(slots=True)
class Span:
    """A timed interval."""

    site: CallSite
    has_rows: bool  # its own operators are timed apart
    begin: float = 0.0
    end: float = 0.0


def seconds_by_site(spans: Sequence[Span]) -> dict[CallSite, float]:
    """Seconds of a forward by call site."""
    seconds: dict[CallSite, float] = {}
    for span in spans:
        seconds[span.site] = seconds.get(span.site, 0.0) + span.end - span.begin
    return seconds


class ModuleTimers:
    """A context manager for one forward at a time, around which the network has hooks.

    Args:
        model: the network.
        clock: of the processor, which has finished an operator when it returns.

    Attributes:
        spans: those of the last forward that have ended.
    """

    def __init__(self, model: nn.Module, clock: Clock) -> None:
        self._model, self._clock = model, clock
        self.spans: list[Span] = []
        self._modules = ModuleStack(model, self._enter, self._leave)
        self._stack = ExitStack()

    def __enter__(self) -> None:
        """Attach the timers."""
        self.spans = []
        self._modules = ModuleStack(self._model, self._enter, self._leave)
        with ExitStack() as stack:
            stack.enter_context(self._modules)
            stack.enter_context(_Operators(self))
            self._stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        """Remove the timers."""
        self._stack.close()

    def _enter(self, site: CallSite, module: nn.Module, inputs: tuple[Any, Any]) -> Span:
        span = Span(site, has_rows(site, module))
        span.begin = self._clock.now()  # directly before the forward, and read directly after it
        return span

    def _leave(self, span: Span, output: Any) -> None:
        span.end = self._clock.now()
        self.spans.append(span)

    def operator(self, call: Callable[[], Any]) -> Any:
        """Run an operator; it is timed where the forward of the network itself or of a module with children runs it."""
        running = self._modules.running
        if not running or not running[-1].has_rows:
            return call()
        span = Span(own_ops(running[-1].site), False)
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
