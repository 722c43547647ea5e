"""Device time of each module: the kernels that torch.profiler has seen, by the module that launched them.

On a GPU the host's clock, and events around a module, tell when kernels are launched or waited for. What a module costs
there is the time of its kernels. The profiler links each kernel to the operator that has launched it, and operators
stand within the ranges that hooks open around each call of a module.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from resnet_cli.measure.tracing.module_stack import CallSite, ModuleStack, operator_path

_PREFIX = "resnet_cli.module "
_LOG_LEVEL = "KINETO_LOG_LEVEL"  # of the library below torch.profiler, which writes to standard error


def own_ops(site: CallSite) -> CallSite:
    """The call site of all operators that a module's forward runs itself, beside the modules that it calls."""
    return CallSite(operator_path(site.path, "own"), site.call)


def has_rows(site: CallSite, module: nn.Module) -> bool:
    """Whether a module's own operators have a row: the network itself, and a module with children."""
    return not site.path or next(module.children(), None) is not None


class Event(Protocol):
    """As much of `torch.autograd.profiler_util.FunctionEvent` as is read."""

    name: str
    cpu_parent: Any  # the event within which it ran, or None
    kernels: Sequence[Any]  # with a name, and a duration in microseconds


@dataclass(frozen=True, slots=True)
class Label:
    """What a range stands for: a call of a module in one of several forwards."""

    forward: int
    site: CallSite
    has_rows: bool


def kernel_seconds(event: Event) -> float:
    """Time of the kernels that an operator has launched.

    The profiler also lists a range among its own "kernels", from the first one in it to the last.
    """
    return float(sum(kernel.duration for kernel in event.kernels if kernel.name != event.name)) / 1e6


def seconds_by_site(
    events: Iterable[Event], labels: Sequence[Label], forwards: int, seconds: Callable[[Any], float] = kernel_seconds
) -> list[dict[CallSite, float]]:
    """Seconds by call site of each forward, those of a module with all that is in it.

    Args:
        events: of a profile.
        labels: by the number in the name of a range.
        forwards: number of them.
        seconds: of an event alone, without those in it.
    """
    spent: list[dict[CallSite, float]] = [defaultdict(float) for _ in range(forwards)]
    for label in labels:
        spent[label.forward][label.site] = 0.0  # one without kernels has its row too
    for event in events:
        own = seconds(event)
        within: Event | None = event if own else None
        is_innermost = True
        while within is not None:
            if within.name.startswith(_PREFIX):
                label = labels[int(within.name.removeprefix(_PREFIX))]
                spent[label.forward][label.site] += own
                if is_innermost and label.has_rows:
                    spent[label.forward][own_ops(label.site)] += own
                is_innermost = False
            within = within.cpu_parent
    return spent


def profile_forwards(
    model: nn.Module,
    call: Callable[[], object],
    forwards: int,
    activity: ProfilerActivity,
    seconds: Callable[[Any], float] = kernel_seconds,
) -> list[dict[CallSite, float]]:
    """Seconds by call site of some forwards.

    Args:
        model: the network; it is left without hooks.
        call: a forward of it, warmed up.
        forwards: number of them.
        activity: what the profiler records beside the operators.
        seconds: of an event alone.
    """
    labels: list[Label] = []
    number = 0

    def enter(site: CallSite, module: nn.Module, inputs: object) -> record_function:
        labels.append(Label(number, site, has_rows(site, module)))
        entered = record_function(f"{_PREFIX}{len(labels) - 1}")
        entered.__enter__()  # type: ignore[no-untyped-call]
        return entered

    def leave(entered: record_function, output: object) -> None:
        entered.__exit__(None, None, None)

    # A set: on the processor the two are one.
    with _quiet(), profile(activities={ProfilerActivity.CPU, activity}) as profiled:
        for number in range(forwards):  # noqa: B007 (`enter` reads it)
            with ModuleStack(model, enter, leave):
                call()
    return seconds_by_site(profiled.events() or (), labels, forwards, seconds)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = os.environ.get(_LOG_LEVEL)
    os.environ.setdefault(_LOG_LEVEL, "99")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_LOG_LEVEL, None)
