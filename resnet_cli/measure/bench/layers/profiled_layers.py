"""Time of each module from a profile of torch.profiler: its kernels on a GPU, or its operators on the processor.

On a GPU the host's clock, and events around a module, tell when kernels are launched or waited for. What a module costs
there is the time of its kernels. The profiler links each kernel to the operator that has launched it, and operators
stand within the ranges that hooks open around each call of a module. Operators of a backward pass stand in no range:
they have the number of the operator of the forward whose gradient they compute.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from resnet_cli.measure.tracing.module_stack import CallSite, ModuleStack, operator_path

_PREFIX = "resnet_cli.module "
_BACKWARD = "autograd::engine::evaluate_function"  # beginning of the name of what computes a gradient
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
    self_cpu_time_total: float  # microseconds
    thread: int
    sequence_nr: int  # of the gradient's node that it makes; in a backward pass of the node that it evaluates; or -1
    fwd_thread: int  # in a backward pass, the thread of the forward


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


def operator_seconds(event: Event) -> float:
    """Time of an operator on the processor, without those that it calls; the ranges themselves are none."""
    return 0.0 if event.name.startswith(_PREFIX) else event.self_cpu_time_total / 1e6


class Spent(NamedTuple):
    """Seconds by call site of one forward, or of a forward and its backward pass; of a module with all that is in it.

    Args:
        whole: forward and backward.
        backward: the part of the backward pass.
    """

    whole: dict[CallSite, float]
    backward: dict[CallSite, float]


def seconds_by_site(
    events: Sequence[Event], labels: Sequence[Label], forwards: int, seconds: Callable[[Any], float] = kernel_seconds
) -> list[Spent]:
    """Seconds of each forward.

    Args:
        events: of a profile, in the order of their beginning.
        labels: by the number in the name of a range.
        forwards: number of them.
        seconds: of an event alone, without those in it.
    """
    spent = [Spent(defaultdict(float), defaultdict(float)) for _ in range(forwards)]
    for label in labels:
        spent[label.forward].whole[label.site] = 0.0  # one without kernels has its row too
    # Several operators have the number of a node, where the later ones make it.
    forward = (event for event in events if event.sequence_nr >= 0 and _gradient(event) is None)
    makers = {(event.thread, event.sequence_nr): event for event in forward}
    for event in events:
        own = seconds(event)
        if not own:
            continue
        node = _gradient(event)
        maker = event if node is None else makers.get((node.fwd_thread, node.sequence_nr))
        for place, label in enumerate(_labels(maker, labels)):
            times = spent[label.forward]
            sites = [label.site, own_ops(label.site)] if label.has_rows and not place else [label.site]
            for site in sites:
                times.whole[site] += own
                times.backward[site] += own if node is not None else 0.0
    return spent


def _gradient(event: Event) -> Event | None:
    """The computation of a gradient within which an operator ran."""
    within: Event | None = event
    while within is not None and not within.name.startswith(_BACKWARD):
        within = within.cpu_parent
    return within


def _labels(event: Event | None, labels: Sequence[Label]) -> Iterator[Label]:
    """Of the ranges within which an operator ran, from the innermost on."""
    while event is not None:
        if event.name.startswith(_PREFIX):
            yield labels[int(event.name.removeprefix(_PREFIX))]
        event = event.cpu_parent


def profile_forwards(
    model: nn.Module,
    call: Callable[[], object],
    forwards: int,
    activity: ProfilerActivity,
    seconds: Callable[[Any], float] = kernel_seconds,
) -> list[Spent]:
    """Seconds by call site of some forwards, or of training steps.

    Args:
        model: the network; it is left without hooks.
        call: a forward of it, or a training step; warmed up.
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
