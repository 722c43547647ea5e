"""A part of a recorded forward run again, on other inputs and other parameters, in float64."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resnet_cli.measure.graph.nodes import IMAGE, Graph
from resnet_cli.measure.models.random_init import seeded
from resnet_cli.measure.tracing.tensors import map_leaves, tensors_in
from resnet_cli.measure.tracing.trace import Call, TensorRef


class ReplayError(Exception):
    """The part cannot be run by itself, since it reads what neither it nor its inputs give."""


@dataclass(frozen=True, slots=True)
class Part:
    """The calls that compute some operators' outputs from those of others.

    Args:
        graph: recorded with real tensors.
        calls: numbers of the calls, in order.
        inputs: numbers of the operators whose outputs are given, `IMAGE` for the network's input.
        outputs: numbers of the operators whose outputs are wanted; those among the inputs are handed through.
        parameters: names of the parameters and buffers that the calls read, in the order of their first use.
        written: names of those that an operator with an in-place schema gets.
    """

    graph: Graph
    calls: tuple[int, ...]
    inputs: frozenset[int]
    outputs: tuple[int, ...]
    parameters: tuple[str, ...]
    written: frozenset[str]

    @classmethod
    def between(cls, graph: Graph, inputs: Collection[int], outputs: Sequence[int]) -> Part:
        """The calls between some operators, found from the last one backwards.

        Raises:
            ReplayError: the outputs depend on more than the inputs.
        """
        tape = graph.tape
        named = dict(tape.parameters.items())
        known = set(named) | set(tape.constants)
        wanted: set[int] = set()  # numbers of tensors
        storages: set[int] = set()  # of these tensors, for those who write into them by another view
        calls: list[int] = []
        ends = [number for number in outputs if number not in inputs]
        for number in range(max(ends, default=-1), -1, -1):
            call = tape.calls[number]
            made = {ref.number for ref in call.results}
            if number in inputs:
                wanted -= made
                continue
            writes = call.func._schema.is_mutable and any(ref.storage in storages for ref in call.results)
            if number not in ends and not made & wanted and not writes:
                continue
            calls.append(number)
            wanted -= made
            for ref in _refs(call):
                if ref.number not in known:
                    wanted.add(ref.number)
                    storages.add(ref.storage)
        if IMAGE in inputs:
            wanted -= {ref.number for ref in tape.inputs}
        if wanted:
            raise ReplayError(f"{len(wanted)} tensors come from elsewhere")
        calls.reverse()
        used = [
            (named[ref.number], number) for number in calls for ref in _refs(tape.calls[number]) if ref.number in named
        ]
        written = frozenset(name for name, number in used if tape.calls[number].func._schema.is_mutable)
        names = tuple(dict.fromkeys(name for name, _ in used))
        return cls(graph, tuple(calls), frozenset(inputs), tuple(outputs), names, written)

    def shape(self, number: int) -> tuple[int, ...]:
        """Shape of the output of an operator, or of the network's input."""
        tape = self.graph.tape
        ref = tape.inputs[0] if number == IMAGE else tape.calls[number].results[0]
        return ref.shape

    def run(self, values: Mapping[int, Tensor], parameters: Mapping[str, Tensor]) -> list[Tensor]:
        """The outputs, in float64. What is drawn at random is the same each time.

        Args:
            values: outputs of `inputs`, in float64.
            parameters: by name, in float64; those that the part changes in place are changed.

        Raises:
            ReplayError: an operator refuses what it gets.
        """
        tape = self.graph.tape
        tensors = {number: _as_float64(tensor) for number, tensor in tape.constants.items()}
        tensors |= {number: parameters[name] for number, name in tape.parameters.items() if name in self.parameters}
        if IMAGE in self.inputs:
            tensors[tape.inputs[0].number] = values[IMAGE]
        given = {number: tape.calls[number].results[0].number for number in self.inputs if number != IMAGE}
        outputs = {number: values[number] for number in self.outputs if number in self.inputs}
        try:
            with seeded(0), _float64_by_default():
                for number in sorted({*self.calls, *given}):
                    if number in given:
                        tensors[given[number]] = values[number]
                        continue
                    results = _call(tape.calls[number], tensors)
                    if number in self.outputs:
                        outputs[number] = results[0].clone()  # it may be changed in place later on
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, KeyError) as error:
            raise ReplayError(str(error)) from error
        return [outputs[number] for number in self.outputs]


def _refs(call: Call) -> list[TensorRef]:
    leaves: list[Any] = []
    map_leaves((call.args, call.kwargs), leaves.append, TensorRef)
    return [leaf for leaf in leaves if isinstance(leaf, TensorRef)]


def _call(call: Call, tensors: dict[int, Tensor]) -> list[Tensor]:
    """Run one call, and keep what it returns."""

    def tensor_of(leaf: Any) -> Any:
        return tensors[leaf.number] if isinstance(leaf, TensorRef) else leaf

    args, kwargs = map_leaves((call.args, call.kwargs), tensor_of, TensorRef)
    if kwargs.get("dtype") == torch.float32:
        kwargs["dtype"] = torch.float64
    results = tensors_in(call.func(*args, **kwargs))
    for ref, tensor in zip(call.results, results, strict=True):
        tensors[ref.number] = tensor
    return results


def _as_float64(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.dtype == torch.float32 else tensor.clone()


@contextlib.contextmanager
def _float64_by_default() -> Iterator[Any]:
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(kept)
