"""Two networks run on the same input, and the outputs of their aligned operators compared.

The reference runs first and its outputs are kept; then the model runs, and each output is compared with its
counterpart and let go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.ops.settings import arguments, describe
from resnet_cli.measure.parity.tensor_error import relative_error
from resnet_cli.measure.tracing.tensors import tensors_in

UNMATCHED = -2  # no number of an operator
# Calls that depend on more than the forward: on the dtype, or on the modes that are active.
_OPTIONAL = ("_to_copy", "detach")


class GraphMismatchError(Exception):
    """The forward did not run the operators of its graph: it depends on more than the shape of the input."""


@dataclass(slots=True)
class Step:
    """Relative errors of one operator of the model against its counterpart.

    Args:
        cumulative: of the outputs of both, each network on its own activations.
        isolated: of the model's operator on the inputs of the reference's operator.
        dtypes: of the outputs of model and reference, where they are not the same.
    """

    cumulative: float | None = None
    isolated: float | None = None
    dtypes: tuple[torch.dtype, torch.dtype] | None = None


@dataclass(slots=True)
class Run:
    """One run of both networks."""

    steps: dict[int, Step]  # by the number of the model's operator
    output: float  # relative error of the outputs
    model_output: Tensor
    reference_output: Tensor


@dataclass(slots=True)
class _Call:
    """A call of an operator that has a counterpart in the other network."""

    node: Node
    func: Any
    args: Any
    kwargs: Any
    inputs: list[Tensor]  # activations, as they were before the call
    output: Tensor


class _GraphFollower(TorchDispatchMode):
    """Numbers the calls of a forward as its graph does, and hands over those of some operators.

    Args:
        graph: recorded in eval mode with an input of the same shape.
        numbers: of the operators that are handed over.
    """

    def __init__(self, graph: Graph, numbers: Collection[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = graph
        self.numbers = numbers
        self.position = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator, checked against the graph."""
        kwargs = kwargs or {}
        number = self._number(describe(func, arguments(func, args, kwargs))[0])
        tensors = tensors_in((args, kwargs))
        if func._schema.is_mutable:
            self.before_mutation(tensors)
        if number not in self.numbers:
            return func(*args, **kwargs)
        node = self.graph.by_number[number]
        positional = tensors_in(args)
        inputs = [positional[slot] for slot in node.slots if slot < len(positional)]
        if func._schema.is_mutable:
            inputs = [tensor.clone() for tensor in inputs]
        result = func(*args, **kwargs)
        with _disable_current_modes():
            self.handle(_Call(node, func, args, kwargs, inputs, tensors_in(result)[0]))
        return result

    def _number(self, operator: str) -> int:
        """The number of a call in the graph, `UNMATCHED` for a conversion or alias that the graph does not have.

        A conversion is no call where the dtype is right already, so float64 makes others than float32.
        """
        if operator in _OPTIONAL and not self._is_next(operator):
            return UNMATCHED
        while operator not in _OPTIONAL and any(map(self._is_next, _OPTIONAL)):
            self.position += 1
        if not self._is_next(operator):
            raise GraphMismatchError(operator)
        self.position += 1
        return self.position - 1

    def _is_next(self, operator: str) -> bool:
        return self.graph.calls[self.position : self.position + 1] == (operator,)

    def before_mutation(self, tensors: list[Tensor]) -> None:
        """Called before an operator that changes one of these tensors in place."""

    def handle(self, call: _Call) -> None:
        """Called after each operator that is handed over."""
        raise NotImplementedError


class _OutputRecorder(_GraphFollower):  # type: ignore[no-untyped-call]
    """Keeps inputs and outputs of operators of the reference; copies them only where they are changed in place."""

    def __init__(self, graph: Graph, numbers: Collection[int]) -> None:
        super().__init__(graph, numbers)
        self.kept: dict[int, list[Tensor]] = {}  # number of the operator: its inputs and its output
        self._places: dict[int, list[tuple[int, int]]] = defaultdict(list)  # storage: where its tensors are kept

    def before_mutation(self, tensors: list[Tensor]) -> None:
        """Copy what is kept of these tensors."""
        for tensor in tensors:
            copies: dict[int, Tensor] = {}  # by id: a tensor that is kept twice is copied once
            for number, index in self._places.pop(tensor.untyped_storage()._cdata, ()):
                kept = self.kept[number][index]
                if id(kept) not in copies:
                    copies[id(kept)] = kept.clone()
                self.kept[number][index] = copies[id(kept)]

    def handle(self, call: _Call) -> None:
        """Keep inputs and output."""
        self.kept[call.node.number] = [*call.inputs, call.output]
        for index, tensor in enumerate(self.kept[call.node.number]):
            self._places[tensor.untyped_storage()._cdata].append((call.node.number, index))


class _OutputComparison(_GraphFollower):  # type: ignore[no-untyped-call]
    """Compares each output of the model with what was kept of the reference."""

    def __init__(self, model: nn.Module, graph: Graph, partner: Mapping[int, int], reference: _OutputRecorder) -> None:
        super().__init__(graph, partner)
        self.modules = dict(model.named_modules())
        self.partner = partner
        self.reference = reference
        self.steps: dict[int, Step] = {}

    def handle(self, call: _Call) -> None:
        """Compare one operator."""
        number = self.partner[call.node.number]
        if number not in self.reference.kept:
            raise GraphMismatchError(str(number))
        *inputs, output = self.reference.kept.pop(number)
        step = self.steps[call.node.number] = Step()
        if call.output.dtype != output.dtype:
            step.dtypes = call.output.dtype, output.dtype
        if call.output.numel() != output.numel():
            return
        step.cumulative = relative_error(call.output, output)
        reference_node = self.reference.graph.by_number[number]
        if call.node.operator == reference_node.operator:
            step.isolated = self._isolated(call, reference_node, inputs, output, step.cumulative)

    def _isolated(
        self, call: _Call, reference_node: Node, inputs: list[Tensor], output: Tensor, cumulative: float
    ) -> float | None:
        """Error of the model's operator on the reference's inputs; None where those do not fit it."""
        if call.node.composite is not None:
            module = self.modules[call.node.composite]
            return relative_error(module.forward(inputs[0].clone()), output) if inputs else None
        order = self._input_order(call.node, reference_node, len(inputs))
        if order is None or len(call.inputs) != len(order):
            return None
        pairs = [(inputs[index], own) for index, own in zip(order, call.inputs, strict=True)]
        if any(tensor.numel() != own.numel() for tensor, own in pairs):
            return None
        if all(tensor.dtype == own.dtype and torch.equal(tensor, own) for tensor, own in pairs):
            return cumulative
        shaped = [tensor.reshape(own.shape).to(own.dtype) for tensor, own in pairs]
        if call.func._schema.is_mutable:
            shaped = [tensor.clone() for tensor in shaped]
        args = _with_activations(call.args, call.node.slots, iter(shaped))
        return relative_error(tensors_in(call.func(*args, **call.kwargs))[0], output)

    def _input_order(self, node: Node, reference_node: Node, count: int) -> list[int] | None:
        """For each input of the model's operator, the index of its counterpart among the reference's inputs."""
        if len(node.inputs) != count or len(reference_node.inputs) != count:
            return None
        wanted = [number if number < 0 else self.partner.get(number, UNMATCHED) for number in node.inputs]
        if count > 1 and sorted(wanted) == sorted(reference_node.inputs):
            return [reference_node.inputs.index(number) for number in wanted]
        return list(range(count))


def _with_activations(args: Any, slots: tuple[int, ...], activations: Iterator[Tensor]) -> Any:
    """The same arguments with other activations in the slots, which number the tensors among the arguments."""
    position = -1

    def replaced(value: Any) -> Any:
        nonlocal position
        if isinstance(value, Tensor):
            position += 1
            return next(activations) if position in slots else value
        if isinstance(value, (list, tuple)):
            return type(value)(replaced(item) for item in value)
        return value

    return tuple(replaced(item) for item in args)


def run(
    model: nn.Module,
    reference: nn.Module,
    graphs: tuple[Graph, Graph],
    partner: Mapping[int, int],
    inputs: tuple[Tensor, Tensor],
) -> Run:
    """Run both networks and compare them operator by operator.

    Args:
        model: in eval mode.
        reference: in eval mode.
        graphs: of model and reference, recorded in eval mode with inputs of these shapes.
        partner: number of an operator of the model → number of its counterpart in the reference.
        inputs: of model and reference, shape (N, C, H, W).

    Raises:
        GraphMismatchError: a forward ran other operators than its graph has.
    """
    recorder = _OutputRecorder(graphs[1], set(partner.values()))
    with torch.no_grad(), recorder:
        reference_output = tensors_in(reference(inputs[1]))[0]
    comparison = _OutputComparison(model, graphs[0], partner, recorder)
    with torch.no_grad(), comparison:
        output = tensors_in(model(inputs[0]))[0]
    error = relative_error(output, reference_output) if output.shape == reference_output.shape else float("inf")
    return Run(comparison.steps, error, output, reference_output)
