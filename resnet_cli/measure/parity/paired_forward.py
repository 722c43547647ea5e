"""Two networks run side by side, operator by operator: each output is compared as it is made and then let go.

The reference runs in a thread of its own and stands still while ours computes, so that at most the outputs that
the two make in a different order are kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.ops.settings import arguments, describe
from resnet_cli.measure.parity.tensor_error import relative_error
from resnet_cli.measure.tracing.tensors import tensors_in

UNMATCHED = -2  # no number of an operator
_CONVERSION = "_to_copy"


class GraphMismatchError(Exception):
    """The forward did not run the operators that the graph says: it depends on more than the input's shape."""


@dataclass(slots=True)
class Step:
    """What one operator of ours gave, against its counterpart."""

    cumulative: float | None = None
    isolated: float | None = None


@dataclass(slots=True)
class Run:
    """One run of both."""

    steps: dict[int, Step]  # by the number of our operator
    output: float  # relative error of the outputs
    our_output: Tensor
    their_output: Tensor


@dataclass(slots=True)
class _Made:
    """An output of the reference, with what it was made from."""

    inputs: list[Tensor]
    output: Tensor


class _Follower(TorchDispatchMode):
    """Counts the calls of the dispatcher as the graph's recorder did, and stops at those that matter."""

    def __init__(self, graph: Graph, stops: Callable[[int], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = graph
        self.stops = stops
        self.place = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operator, checked against the graph."""
        kwargs = kwargs or {}
        operator, _ = describe(func, arguments(func, args, kwargs))
        # A conversion is no call where the dtype is right already: there are others in double precision.
        if operator == _CONVERSION and not self._is_next(_CONVERSION):
            return func(*args, **kwargs)
        while operator != _CONVERSION and self._is_next(_CONVERSION):
            self.place += 1
        place, self.place = self.place, self.place + 1
        if place >= len(self.graph.calls) or self.graph.calls[place] != operator:
            raise GraphMismatchError(operator)
        if not self.stops(place):
            return func(*args, **kwargs)
        node = self.graph.by_number[place]
        changes = func._schema.is_mutable
        given = list(tensors_in(args))
        inputs = [given[slot] for slot in node.slots if slot < len(given)]
        before = [tensor.clone() for tensor in inputs] if changes else inputs
        out = func(*args, **kwargs)
        result = next(tensors_in(out))
        with torch.utils._python_dispatch._disable_current_modes():
            self.arrived(node, func, args, kwargs, before, result)
        return out

    def _is_next(self, operator: str) -> bool:
        return self.graph.calls[self.place : self.place + 1] == (operator,)

    def arrived(self, node: Node, func: Any, args: Any, kwargs: Any, inputs: list[Tensor], output: Tensor) -> None:
        """An operator that matters has run."""
        raise NotImplementedError


class _Reference(_Follower):  # type: ignore[no-untyped-call]
    """The thread's side: hands over what it made, and waits to be asked for more."""

    def __init__(self, graph: Graph, wanted: Collection[int], exchange: _Exchange) -> None:
        super().__init__(graph, lambda place: place in wanted)
        self.exchange = exchange

    def arrived(self, node: Node, func: Any, args: Any, kwargs: Any, inputs: list[Tensor], output: Tensor) -> None:
        """Hand it over."""
        self.exchange.offer(node.number, inputs, output)


@dataclass(slots=True)
class _Exchange:
    """Where the reference leaves what it made. One of the two threads runs at a time."""

    ask: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    answer: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    asked: int | None = None
    kept: dict[int, _Made] = field(default_factory=dict)
    done: bool = False
    error: BaseException | None = None
    output: Tensor | None = None

    def offer(self, number: int, inputs: list[Tensor], output: Tensor) -> None:
        """Called by the reference: keep it, and stand still if it is what was asked for."""
        if number == self.asked:
            self.kept[number] = _Made(inputs, output)
            self.answer.release()
            self.ask.acquire()
            if self.done:
                raise _StoppedError
        else:  # for later: nothing may change it until then
            self.kept[number] = _Made([tensor.clone() for tensor in inputs], output.clone())

    def take(self, number: int) -> _Made:
        """Called by ours: what the reference made, which runs until it has made it."""
        if number not in self.kept:
            self.asked = number
            self.ask.release()
            self.answer.acquire()
            if self.error is not None:
                raise self.error
            if number not in self.kept:
                raise GraphMismatchError(str(number))
        return self.kept.pop(number)


class _StoppedError(BaseException):
    """The other side gave up."""


class _Ours(_Follower):  # type: ignore[no-untyped-call]
    """Our side: takes the counterpart of each output and compares."""

    def __init__(self, model: nn.Module, graph: Graph, partner: Mapping[int, int], theirs: Graph, exchange: _Exchange):
        super().__init__(graph, lambda place: place in partner)
        self.modules = dict(model.named_modules())
        self.partner = partner
        self.theirs = theirs
        self.exchange = exchange
        self.steps: dict[int, Step] = {}

    def arrived(self, node: Node, func: Any, args: Any, kwargs: Any, inputs: list[Tensor], output: Tensor) -> None:
        """Compare it, and what the operator makes of the reference's own inputs."""
        number = self.partner[node.number]
        made = self.exchange.take(number)
        step = self.steps[node.number] = Step()
        if output.numel() != made.output.numel():
            return
        step.cumulative = relative_error(output, made.output)
        if node.operator != self.theirs.by_number[number].operator:
            return
        if node.composite is not None:
            module = self.modules[node.composite]
            if made.inputs:
                step.isolated = relative_error(module.forward(made.inputs[0].clone()), made.output)
            return
        order = self._order(node, self.theirs.by_number[number], len(made.inputs))
        if order is None or len(inputs) != len(order):
            return
        given = [made.inputs[i] for i in order]
        if any(a.numel() != b.numel() for a, b in zip(inputs, given, strict=True)):
            return
        if all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(inputs, given, strict=True)):
            step.isolated = step.cumulative
            return
        changes = func._schema.is_mutable
        shaped = iter(
            [_cast_like(b, a).clone() if changes else _cast_like(b, a) for a, b in zip(inputs, given, strict=True)]
        )
        result = next(tensors_in(func(*_substitute(args, node.slots, shaped), **kwargs)))
        step.isolated = relative_error(result, made.output)

    def _order(self, mine: Node, other: Node, count: int) -> list[int] | None:
        """Which of the reference's inputs stands for which of ours."""
        if len(mine.inputs) != count or len(other.inputs) != count:
            return None
        if count == 1:
            return [0]
        wanted = [number if number < 0 else self.partner.get(number, UNMATCHED) for number in mine.inputs]
        if sorted(wanted) == sorted(other.inputs):
            return [other.inputs.index(number) for number in wanted]
        return list(range(count))


def _cast_like(tensor: Tensor, model: Tensor) -> Tensor:
    """In the shape and dtype of another one."""
    return tensor.reshape(model.shape).to(model.dtype)


def _substitute(args: Any, slots: tuple[int, ...], replacements: Iterator[Tensor]) -> Any:
    """The same arguments with other activations."""
    wanted = set(slots)
    place = -1

    def walk(value: Any) -> Any:
        nonlocal place
        if isinstance(value, Tensor):
            place += 1
            return next(replacements) if place in wanted else value
        if isinstance(value, (list, tuple)):
            return type(value)(walk(item) for item in value)
        return value

    return tuple(walk(item) for item in args)


def run(
    ours: nn.Module,
    theirs: nn.Module,
    graphs: tuple[Graph, Graph],
    partner: Mapping[int, int],
    inputs: tuple[Tensor, Tensor],
) -> Run:
    """Both networks on their inputs, in eval mode.

    Args:
        ours: our network, in eval mode.
        theirs: the reference, in eval mode.
        graphs: of each, recorded in eval mode with inputs of these shapes.
        partner: number of an operator of ours → of the reference's.
        inputs: for each.

    Raises:
        OtherPathError: a forward ran other operators than its graph has.
    """
    exchange = _Exchange()
    follower = _Reference(graphs[1], set(partner.values()), exchange)
    threads = torch.get_num_threads()

    def follow() -> None:
        exchange.ask.acquire()
        try:
            if not exchange.done:
                torch.set_num_threads(threads)  # a new thread starts with the default
                with torch.no_grad(), follower:
                    exchange.output = next(tensors_in(theirs(inputs[1])))
        except _StoppedError:
            pass
        except BaseException as error:
            exchange.error = error
        exchange.answer.release()

    thread = threading.Thread(target=follow, name="reference", daemon=True)
    thread.start()
    leader = _Ours(ours, graphs[0], partner, graphs[1], exchange)
    try:
        with torch.no_grad(), leader:
            output = next(tensors_in(ours(inputs[0])))
        exchange.asked = None
        exchange.ask.release()
        thread.join()
    finally:
        exchange.done = True
        exchange.ask.release()
        thread.join()
    if exchange.error is not None:
        raise exchange.error
    assert exchange.output is not None
    same = output.numel() == exchange.output.numel() and output.shape == exchange.output.shape
    error = relative_error(output, exchange.output) if same else float("inf")
    return Run(leader.steps, error, output, exchange.output)
