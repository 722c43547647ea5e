"""A network as the operators that its forward runs, which tensors they read, and which of them feed which.

Recorded from one forward under a dispatch mode, so that neither names nor the order of registration nor the way
in which a forward is written (modules, functions, methods, in place or not) makes a difference.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_cli.measure.graph import composite_ops
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node, ParameterRef
from resnet_cli.measure.ops.fast_meta import FastMetaKernels
from resnet_cli.measure.ops.settings import IDENTITY_OPS, arguments, describe
from resnet_cli.measure.tracing.tracer import tensors_in

_ROLES = {"mat2": "weight", "self": "bias"}  # of addmm(bias, x, weight) and mm(x, weight)
TRANSPOSE_OPS = frozenset({"t", "transpose", "permute", "numpy_T"})
FACTORY_OPS = frozenset("new_empty new_zeros new_ones new_full rand_like randn_like".split())


def record(model: nn.Module, inputs: Sequence[Any], *, training: bool) -> Graph:
    """One forward without autograd, as a graph.

    Args:
        model: a copy that may be run: its training flags and, in train mode, its buffers change.
        inputs: on the model's device; on `meta` nothing is computed.
    """
    model.train(training)
    recorder = Recorder(model, inputs)
    try:
        with torch.no_grad(), FastMetaKernels(), recorder:
            output = model(*inputs)
    finally:
        recorder.close()
    return recorder.graph(list(tensors_in(output)))


class Recorder(TorchDispatchMode):
    """Writes down every operator with its settings, and who made what it reads."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in QuickShapes

    def __init__(self, model: nn.Module, inputs: Sequence[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[str] = []
        self.nodes: dict[int, Node] = {}
        self._stack: list[tuple[str, nn.Module, int]] = []
        self._leaves: dict[int, ParameterRef] = {}
        self._makers: dict[int, int] = {}  # id of a tensor -> number of the node
        self._sharing: dict[int, list[int]] = {}  # storage -> ids of the tensors in it
        self._alive: list[Tensor] = []  # an id means something only as long as its tensor lives
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            self._leaves.setdefault(id(tensor), ParameterRef(name, tuple(tensor.shape)))
        for tensor in tensors_in(inputs):
            self._make(tensor, IMAGE)
        self._handles: list[Any] = []
        for path, module in model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._entering(path)))
            self._handles.append(module.register_forward_hook(self._left, always_call=True))

    def close(self) -> None:
        """Take the hooks off the model."""
        for handle in self._handles:
            handle.remove()

    def _entering(self, path: str) -> Any:
        def enter(module: nn.Module, args: Any) -> None:
            self._stack.append((path, module, len(self.calls)))

        return enter

    def _left(self, module: nn.Module, args: Any, output: Any) -> None:
        path, _, start = self._stack.pop()
        inside = (
            [node for number, node in self.nodes.items() if number >= start]
            if composite_ops.could_be_composite(module)
            else []
        )
        if not inside or not isinstance(output, Tensor):
            return
        given = next(tensors_in(args), None)
        last = self._makers.get(id(output), IMAGE)
        if given is None or last < start:
            return
        found = composite_ops.recognize_composites(
            module, [node.operator for node in inside], tuple(given.shape), tuple(output.shape)
        )
        if found is None:
            return
        numbers = {node.number for node in inside}
        outer = tuple(dict.fromkeys(i for node in inside for i in node.inputs if i not in numbers))
        leaves = {
            role: ParameterRef(f"{path}.{name}" if path else name, tuple(tensor.shape))
            for role, (name, tensor) in found.leaves.items()
        }
        for number in numbers:
            del self.nodes[number]
        self.nodes[last] = Node(
            last, found.operator, found.settings, outer, leaves, path, tuple(output.shape), composite=path
        )

    def _make(self, tensor: Tensor, number: int) -> None:
        self._makers[id(tensor)] = number
        self._sharing.setdefault(tensor.untyped_storage()._cdata, []).append(id(tensor))
        self._alive.append(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operator: run it, and write down what it reads."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        number = len(self.calls)
        given = arguments(func, args, kwargs)
        operator, settings = describe(func, given)
        self.calls.append(operator)
        results = list(tensors_in(out))
        sources = [tensor for tensor in tensors_in(list(given.values())) if id(tensor) in self._makers]
        leaves = self._leaves_among(given)
        if operator in IDENTITY_OPS or operator in FACTORY_OPS or (operator in TRANSPOSE_OPS and not sources):
            self._pass_on(given, results)
            return out
        if not sources:
            # Arithmetic on parameters alone: bookkeeping in place, or a weight that is computed.
            if leaves and not func._schema.is_mutable:
                first = next(iter(leaves.values()))
                for tensor in results:
                    self._leaves[id(tensor)] = replace(
                        first, shape=tuple(tensor.shape), computed=(*first.computed, operator)
                    )
                    self._alive.append(tensor)
            return out
        node = Node(
            number=number,
            operator=operator,
            settings=settings,
            inputs=tuple(self._makers[id(tensor)] for tensor in sources),
            leaves=leaves,
            path=self._stack[-1][0] if self._stack else "",
            shape=tuple(results[0].shape) if results else (),
            slots=tuple(i for i, tensor in enumerate(tensors_in(args)) if id(tensor) in self._makers),
        )
        self.nodes[number] = node
        changed = func._schema.is_mutable and results and id(results[0]) in self._makers
        for tensor in results:
            if id(tensor) not in self._leaves:
                self._make(tensor, number)
        if changed:  # every view of what was changed has changed too
            for other in self._sharing[results[0].untyped_storage()._cdata]:
                self._makers[other] = number
        return out

    def _leaves_among(self, given: dict[str, Any]) -> dict[str, ParameterRef]:
        found = {}
        for role, value in given.items():
            linear = "mat2" in given
            if isinstance(value, Tensor) and id(value) in self._leaves:
                found[_ROLES.get(role, role) if linear else role] = self._leaves[id(value)]
            elif isinstance(value, (list, tuple)):  # what is put together with an activation, such as a class token
                for place, item in enumerate(value):
                    if isinstance(item, Tensor) and id(item) in self._leaves:
                        found[f"{role}{place}"] = self._leaves[id(item)]
        return found

    def _pass_on(self, given: dict[str, Any], results: list[Tensor]) -> None:
        """The result is what was given, in another shape or place."""
        source = next(tensors_in(list(given.values())), None)
        for tensor in results:
            if source is None or id(tensor) == id(source):
                continue
            if id(source) in self._leaves:
                self._leaves[id(tensor)] = self._leaves[id(source)]
                self._alive.append(tensor)
            elif id(source) in self._makers:
                self._make(tensor, self._makers[id(source)])

    def graph(self, outputs: Iterable[Tensor]) -> Graph:
        """What the outputs depend on."""
        outputs = list(outputs)
        ends = [self._makers[id(tensor)] for tensor in outputs if self._makers.get(id(tensor), IMAGE) != IMAGE]
        nodes = composite_ops.composite_functions(self.nodes)
        order = _in_order(nodes, ends)
        used = frozenset(leaf.name for node in order for leaf in node.leaves.values())
        shapes = tuple(tuple(tensor.shape) for tensor in outputs)
        return Graph(tuple(order), shapes, tuple(self.calls), used, {node.number: node for node in order})


def _in_order(nodes: dict[int, Node], ends: Sequence[int]) -> list[Node]:
    """Depth first from the outputs, at each operator the deepest input first.

    So neither the order of execution nor that of registration is seen. Inputs of equal depth are told apart by
    what stands above them.
    """
    depth: dict[int, int] = {IMAGE: 0}
    above: dict[int, int] = {IMAGE: 0}
    for number in sorted(nodes):  # an operator runs after what it reads
        node = nodes[number]
        depth[number] = 1 + max((depth.get(i, 0) for i in node.inputs), default=0)
        text = f"{node.operator}{node.shape}{sorted(above.get(i, 0) for i in node.inputs)}"
        above[number] = zlib.crc32(text.encode())
    order: list[Node] = []
    seen = {IMAGE}
    waiting = [(number, False) for number in reversed(ends)]
    while waiting:
        number, ready = waiting.pop()
        if ready:
            order.append(nodes[number])
            continue
        if number in seen or number not in nodes:
            continue
        seen.add(number)
        waiting.append((number, True))
        # The last one pushed is the first one visited.
        waiting.extend(
            (i, False) for i in sorted(set(nodes[number].inputs), key=lambda i: (depth.get(i, 0), above.get(i, 0)))
        )
    return order
