"""The calls of the dispatcher in one forward, with the identity of every tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, UntypedStorage, nn

from resnet_cli.measure.ops.settings import arguments, describe
from resnet_cli.measure.tracing.storages import storages_of
from resnet_cli.measure.tracing.tensors import map_leaves, tensors_in
from resnet_cli.measure.tracing.trace import Call, Dispatch, ModuleCall, TensorRef


class DispatchRecord:
    """Numbers the tensors of a forward and keeps its dispatches.

    Tensors are identified by `id` and storages by address, so each one that has a number is kept alive: otherwise an
    activation could get the id of a buffer that the forward has replaced, or the storage of one whose `data` it has.

    Args:
        model: runs once while the record lasts.
        inputs: of its forward.
        line_of: gives the line of the user's files that is running.
    """

    def __init__(self, model: nn.Module, inputs: Sequence[Any], line_of: Callable[[], Any] = lambda: None) -> None:
        self._line_of = line_of
        self.dispatches: list[Dispatch] = []
        self.left: list[ModuleCall] = []
        self._numbers: dict[int, int] = {}
        self._held: list[Tensor] = []
        self._storages: dict[int, UntypedStorage] = {}
        self.parameters: dict[int, str] = {}
        self.constants: dict[int, Tensor] = {}
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self.parameters.setdefault(self._number(tensor), name)
        self.inputs = [self.ref(tensor) for tensor in tensors_in(inputs)]

    def _number(self, tensor: Tensor) -> int:
        number = self._numbers.get(id(tensor))
        if number is None:
            number = self._numbers[id(tensor)] = len(self._held)
            self._held.append(tensor)
        return number

    def ref(self, tensor: Tensor) -> TensorRef:
        """The identity of a tensor."""
        storages = storages_of(tensor)
        self._storages.update((storage._cdata, storage) for storage in storages)
        address = storages[-1]._cdata if storages else 0
        return TensorRef(self._number(tensor), address, tuple(tensor.shape))

    def entered(self, call: ModuleCall) -> None:
        """A module call begins."""
        call.first = len(self.dispatches)

    def leaving(self, call: ModuleCall, output: Any) -> None:
        """A module call ends."""
        call.last = len(self.dispatches)
        call.output = self.ref(output) if isinstance(output, Tensor) else None
        self.left.append(call)

    def add(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any, module: ModuleCall) -> None:
        """An operator has run."""
        for tensor in tensors_in((args, kwargs)):
            if id(tensor) not in self._numbers:  # neither an input nor made by the forward
                self.constants[self._number(tensor)] = tensor.detach().clone()
        by_name = arguments(func, args, kwargs)
        kind, settings = describe(func, by_name)
        self.dispatches.append(
            Dispatch(
                kind=kind,
                settings=settings,
                is_mutable=func._schema.is_mutable,
                module=module,
                arguments={name: self._refs(value) for name, value in by_name.items()},
                positional=tuple(self.ref(tensor) for tensor in tensors_in(args)),
                call=Call(
                    func,
                    map_leaves(args, self._as_ref),
                    map_leaves(dict(kwargs), self._as_ref),
                    tuple(self.ref(tensor) for tensor in tensors_in(out)),
                ),
                line=self._line_of(),
            )
        )

    def _as_ref(self, value: Any) -> Any:
        return self.ref(value) if isinstance(value, Tensor) else value

    def _refs(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.ref(value)
        return tuple(map(self._refs, value)) if isinstance(value, (list, tuple)) else None
