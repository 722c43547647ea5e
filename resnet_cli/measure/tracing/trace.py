"""A trace: the modules that one pass through a network entered, and the operators that ran in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from resnet_cli.measure.ops.device_kernels import KernelUse
from resnet_cli.measure.ops.names import short
from resnet_cli.measure.ops.op_cost import OpCost
from resnet_cli.measure.ops.receptive_field import Field
from resnet_cli.measure.ops.settings import Settings


@dataclass(slots=True, eq=False)
class OperatorCall:
    """One operator that ran."""

    op: str  # qualified, "aten::convolution"
    in_place: bool
    is_view: bool
    backward: bool
    module: ModuleCall
    counted: OpCost
    input_shapes: tuple[tuple[int, ...], ...]  # activations first to last, parameters left out
    output_shape: tuple[int, ...] | None
    output_elements: int
    allocated: int  # bytes
    moved: int  # bytes
    receptive: Field | None
    peak: int  # bytes of live activations, including this operator's outputs
    tallied: int | None  # FLOPs by another counter's formula, where one was given
    reads: tuple[OperatorCall | None, ...] = ()  # operators that wrote its inputs; None is the input of the network

    @property
    def name(self) -> str:
        """Its name in tables: "convolution", or "mylib::mm" for an operator that is not one of ATen."""
        return short(self.op)


@dataclass(slots=True, eq=False)
class ModuleCall:
    """One call of a module, with the calls inside it in order."""

    path: str
    module: nn.Module
    call: int
    parent: ModuleCall | None
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    children: list[ModuleCall | OperatorCall] = field(default_factory=list)
    peak: int = 0
    saved: int = 0
    backward_macs: int = 0
    # Where `Trace.dispatches` are recorded: those of this call are dispatches[first:last], and what it returned.
    first: int = 0
    last: int = 0
    output: TensorRef | None = None

    def modules(self) -> Iterator[ModuleCall]:
        """This call and all calls inside it, in the order in which they began."""
        yield self
        for child in self.children:
            if isinstance(child, ModuleCall):
                yield from child.modules()


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor of a forward."""

    number: int  # of the tensor object; no two tensors of a trace share one
    storage: int  # equal for a tensor and its views
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the dispatcher as it can be made again."""

    func: Any  # the overload
    args: Any  # a TensorRef for each tensor
    kwargs: Any
    results: tuple[TensorRef, ...]


@dataclass(frozen=True, slots=True)
class Tape:
    """All calls of a forward, without the modules that made them."""

    calls: tuple[Call, ...]
    parameters: dict[int, str]  # name of each parameter and buffer, by TensorRef.number
    constants: dict[int, Tensor]  # copies of other tensors that it read, by number
    inputs: tuple[TensorRef, ...]


@dataclass(slots=True)
class Dispatch:
    """One call of the dispatcher, bookkeeping included, with the tensors that it read and returned."""

    kind: str  # as `ops.settings.describe` gives it
    settings: Settings
    is_mutable: bool  # whether it writes into an argument
    module: ModuleCall
    arguments: dict[str, Any]  # by the schema's names: a TensorRef, or a tuple with None for other values
    positional: tuple[TensorRef, ...]  # the tensors among its positional arguments
    call: Call
    line: Any = None  # of the user's file that ran it, as `line_of` of `tracer.run_dispatches` gives it
    operator: OperatorCall | None = None  # None for bookkeeping, such as a transposed weight

    @property
    def results(self) -> tuple[TensorRef, ...]:
        """The tensors that it returned."""
        return self.call.results


@dataclass(slots=True)
class Trace:
    """One pass through a network: what ran in which module, and what it allocated.

    The last six fields are empty unless the dispatches were recorded (`tracer.run_dispatches`).
    """

    root: ModuleCall
    operators: list[OperatorCall]
    output: Any
    peak: int  # bytes of activations (and gradients) alive at once, parameters, buffers and input not counted
    peak_at: str
    saved: int
    alive: list[int]  # bytes alive after each allocation, in order
    use: KernelUse
    dispatches: list[Dispatch] = field(default_factory=list)
    left: list[ModuleCall] = field(default_factory=list)  # module calls in the order in which they ended
    parameters: dict[int, str] = field(default_factory=dict)  # name of each parameter and buffer, by TensorRef.number
    constants: dict[int, Tensor] = field(default_factory=dict)  # copies of other tensors that it read, by number
    inputs: list[TensorRef] = field(default_factory=list)
    outputs: list[TensorRef] = field(default_factory=list)

    @property
    def tape(self) -> Tape:
        """What it takes to run a part of the forward again."""
        calls = tuple(dispatch.call for dispatch in self.dispatches)
        return Tape(calls, self.parameters, self.constants, tuple(self.inputs))
