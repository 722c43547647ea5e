"""The operator graph of a forward: which operators ran, which parameters they read, and which of them feed which.

It is made from a trace, so that neither names nor the order of registration nor the way in which a forward is written
(modules, functions, methods, in place or not) makes a difference.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.graph import composite_ops
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node, ParameterRef
from resnet_cli.measure.graph.source_lines import called, running_line
from resnet_cli.measure.ops.settings import CUMULATIVE_AVERAGE, FACTORY_OPS, IDENTITY_OPS, TRANSPOSE_OPS, Settings
from resnet_cli.measure.tracing import tracer
from resnet_cli.measure.tracing.module_stack import CallSite
from resnet_cli.measure.tracing.rows import row_site
from resnet_cli.measure.tracing.tensors import why_no_gradient
from resnet_cli.measure.tracing.trace import Dispatch, ModuleCall, TensorRef, Trace

_LINEAR_ROLES = {"mat2": "weight", "self": "bias"}  # of addmm(bias, x, weight) and mm(x, weight)


def record(model: nn.Module, inputs: Sequence[Any], *, training: bool) -> Graph:
    """One forward without autograd, as a graph.

    Args:
        model: its training flags and, in train mode, its buffers change.
        inputs: on the model's device; on `meta` nothing is computed.
        training: train mode or eval mode.

    Raises:
        Exception: whatever the forward raises.
    """
    try:
        trace = called(lambda: tracer.run_dispatches(model, inputs, training=training, line_of=running_line))
    except tracer.ForwardFailedError as failure:
        raise failure.cause from None
    if not trace.outputs:
        raise ResnetCliError(f"{type(model).__name__} cannot be compared: {why_no_gradient(trace.output)}")
    return graph_of_trace(trace)


def graph_of_trace(trace: Trace) -> Graph:
    """The operators that the outputs depend on.

    Args:
        trace: with dispatches (`tracer.run_dispatches`).
    """
    builder = _Builder(trace)
    ended = iter(trace.left)
    call = next(ended, None)
    for number, dispatch in enumerate(trace.dispatches):
        while call is not None and call.last <= number:
            builder.end_module(call)
            call = next(ended, None)
        builder.add(number, dispatch)
    while call is not None:
        builder.end_module(call)
        call = next(ended, None)
    return builder.graph()


class _Builder:
    """Replays the dispatches of a trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._nodes: dict[int, Node] = {}
        self._parameters: dict[int, ParameterRef] = {}  # by number of the tensor
        self._producers: dict[int, int] = {}  # number of a tensor -> number of the node that wrote it last
        self._sharing: dict[int, list[int]] = {}  # storage -> numbers of the tensors in it
        for ref in trace.inputs:
            self._produce(ref, IMAGE)

    def _produce(self, ref: TensorRef, node: int) -> None:
        self._producers[ref.number] = node
        self._sharing.setdefault(ref.storage, []).append(ref.number)

    def _parameter(self, ref: TensorRef) -> ParameterRef | None:
        name = self._trace.parameters.get(ref.number)
        if name is not None and ref.number not in self._parameters:
            self._parameters[ref.number] = ParameterRef(name, ref.shape)
        return self._parameters.get(ref.number)

    def add(self, number: int, dispatch: Dispatch) -> None:
        """A call of the dispatcher: a node, unless it only hands on values or computes from parameters alone."""
        read = list(_refs(tuple(dispatch.arguments.values())))
        sources = [ref for ref in read if ref.number in self._producers]
        leaves = self._leaves(dispatch)
        kind, results = dispatch.kind, dispatch.results
        if kind in IDENTITY_OPS or kind in FACTORY_OPS or (kind in TRANSPOSE_OPS and not sources):
            self._pass_on(read, results, transposes=kind in TRANSPOSE_OPS)
            return
        if not sources:
            if leaves and not dispatch.is_mutable:  # a weight that is computed; in place it is bookkeeping
                first = next(iter(leaves.values()))
                computed = (*first.computed, kind)
                names = tuple(dict.fromkeys(name for leaf in leaves.values() for name in leaf.sources or (leaf.name,)))
                for ref in results:
                    self._parameters[ref.number] = replace(first, shape=ref.shape, computed=computed, sources=names)
            return
        self._nodes[number] = Node(
            number=number,
            operator=kind,
            settings=_settings(dispatch),
            inputs=tuple(self._producers[ref.number] for ref in sources),
            leaves=leaves,
            path=dispatch.module.path,
            shape=results[0].shape if results else (),
            slots=tuple(i for i, ref in enumerate(dispatch.positional) if ref.number in self._producers),
            site=None if dispatch.operator is None else row_site(dispatch.operator),
            line=dispatch.line,
        )
        changed = dispatch.is_mutable and results and results[0].number in self._producers
        for ref in results:
            if self._parameter(ref) is None:
                self._produce(ref, number)
        if changed:  # and with it every view of the same storage
            for sharing in self._sharing[results[0].storage]:
                self._producers[sharing] = number

    def _leaves(self, dispatch: Dispatch) -> dict[str, ParameterRef]:
        """Parameters that an operator reads, by role."""
        leaves = {}
        roles = _LINEAR_ROLES if "mat2" in dispatch.arguments else {}
        for role, value in dispatch.arguments.items():
            if isinstance(value, TensorRef) and (parameter := self._parameter(value)) is not None:
                leaves[roles.get(role, role)] = parameter
            elif isinstance(value, tuple):  # what is put together with an activation, such as a class token
                for place, item in enumerate(value):
                    if isinstance(item, TensorRef) and (parameter := self._parameter(item)) is not None:
                        leaves[f"{role}{place}"] = parameter
        return leaves

    def _pass_on(self, read: Sequence[TensorRef], results: Sequence[TensorRef], *, transposes: bool) -> None:
        """The results have the values of the first argument, in another shape or place."""
        if not read:
            return
        source = read[0]
        for ref in results:
            if ref.number == source.number:
                continue
            if (parameter := self._parameter(source)) is not None:
                self._parameters[ref.number] = replace(parameter, transposed=parameter.transposed ^ transposes)
            elif source.number in self._producers:
                self._produce(ref, self._producers[source.number])

    def end_module(self, call: ModuleCall) -> None:
        """Take the operators of a module together where they are one composite operator."""
        if call.output is None or call.input_shape is None or not composite_ops.could_be_composite(call.module):
            return
        inside = [node for number, node in self._nodes.items() if call.first <= number < call.last]
        last = self._producers.get(call.output.number, IMAGE)
        if not inside or last < call.first:
            return
        composite = composite_ops.recognize_composites(call.module, inside, call.input_shape, call.output.shape)
        if composite is None:
            return
        numbers = {node.number for node in inside}
        outer = tuple(dict.fromkeys(i for node in inside for i in node.inputs if i not in numbers))
        path = call.path
        leaves = {
            role: ParameterRef(f"{path}.{name}" if path else name, tuple(tensor.shape))
            for role, (name, tensor) in composite.leaves.items()
        }
        for number in numbers:
            del self._nodes[number]
        self._nodes[last] = Node(
            last,
            composite.operator,
            composite.settings,
            outer,
            leaves,
            path,
            call.output.shape,
            composite=path,
            site=CallSite(path, call.call),
            line=inside[-1].line,
        )

    def graph(self) -> Graph:
        """The nodes that the outputs depend on."""
        outputs = self._trace.outputs
        ends = [self._producers[ref.number] for ref in outputs if self._producers.get(ref.number, IMAGE) != IMAGE]
        order = _in_order(composite_ops.composite_functions(self._nodes), ends)
        leaves = [leaf for node in order for leaf in node.leaves.values()]
        used = frozenset(name for leaf in leaves for name in (leaf.name, *leaf.sources))
        shapes = tuple(ref.shape for ref in outputs)
        calls = tuple(dispatch.kind for dispatch in self._trace.dispatches)
        return Graph(
            tuple(order), shapes, tuple(ends), calls, used, {node.number: node for node in order}, self._trace.tape
        )


def _settings(dispatch: Dispatch) -> Settings:
    """The settings of an operator; a module that has no momentum gives torch another one at each call."""
    is_cumulative = dispatch.kind == "batch_norm" and getattr(dispatch.module.module, "momentum", 0.1) is None
    return dispatch.settings | {"momentum": CUMULATIVE_AVERAGE} if is_cumulative else dispatch.settings


def _refs(value: Any) -> Iterator[TensorRef]:
    if isinstance(value, TensorRef):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs(item)


def _in_order(nodes: dict[int, Node], ends: Sequence[int]) -> list[Node]:
    """Depth first from the outputs, at each operator the deepest input first.

    So neither the order of execution nor that of registration matters. Inputs of equal depth are distinguished by
    what is above them.
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
