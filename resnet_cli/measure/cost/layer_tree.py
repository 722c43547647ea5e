"""The layer tree: parameters, arithmetic, memory and receptive field of each call of a forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.jit import ScriptModule

from resnet_cli.measure.ops.names import title
from resnet_cli.measure.tracing.dataflow import DataFlow
from resnet_cli.measure.tracing.module_stack import CallSite, operator_path
from resnet_cli.measure.tracing.rows import operator_sites
from resnet_cli.measure.tracing.storages import elements_of, storages_of
from resnet_cli.measure.tracing.trace import ModuleCall, OperatorCall, Trace
from resnet_cli.results.summary import Layer


@dataclass(frozen=True, slots=True)
class _Sums:
    """The fields of a layer that add up."""

    trainable_parameters: int = 0
    frozen_parameters: int = 0
    buffers: int = 0
    parameter_bytes: int = 0
    buffer_bytes: int = 0
    macs: int = 0
    flops: int = 0
    ops: int = 0
    backward_macs: int = 0
    activation_bytes: int = 0
    saved_for_backward_bytes: int = 0
    bytes_moved: int = 0

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


_SUMMED = tuple(_Sums.__slots__)


def layer_tree(inference: Trace, training: Trace | None, name: str) -> Layer:
    """The tree of a network from a pass in eval mode and, where one was possible, a pass in train mode."""
    return _Tree(inference, training).layer(inference.root, name)


class _Tree:
    def __init__(self, inference: Trace, training: Trace | None) -> None:
        self.flow = DataFlow(inference)
        self.trained = None
        if training is not None:
            self.trained = {(call.path, call.call): call for call in training.root.modules()}
        self.evaluated = {(call.path, call.call) for call in inference.root.modules()}
        called = {id(call.module) for call in (*inference.root.modules(), *(self.trained or {}).values())}
        self.counted: set[int] = set()  # parameters, buffers and storages that have a row, by identity
        self.called = called
        self.idle = {path: module for path, module in inference.root.module.named_modules() if id(module) not in called}

    def layer(self, call: ModuleCall, name: str) -> Layer:
        inner = [child for child in call.children if isinstance(child, ModuleCall)]
        children: list[Layer] = []
        has_rows = bool(not call.path or inner or self._only_trained(call))
        own = _held(call.module, self.counted, recurse=not has_rows and call.call == 1)
        kept, back = self._training_share(call)
        figures = own + _Sums(saved_for_backward_bytes=kept, backward_macs=back)
        if has_rows:
            children = self._children(call, figures)
            figures = _total(children)
        else:
            figures = figures + _total_of_operators([op for op in call.children if isinstance(op, OperatorCall)])
        last = next(_operators_backwards(call), None)
        kernel, stride, padding, dilation, groups = _settings(call.module)
        return self._row(
            figures,
            path=call.path,
            name=name,
            layer_type=type(call.module).__name__,
            is_operator=False,
            call=call.call,
            kernel_size=kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            input_shape=call.input_shape,
            output_shape=call.output_shape,
            peak_bytes=call.peak,
            receptive_field=last.receptive.size if last and last.receptive else None,
            total_stride=last.receptive.stride if last and last.receptive else None,
            children=tuple(children),
        )

    def _children(self, call: ModuleCall, own: _Sums) -> list[Layer]:
        """Rows of a container's modules, of its own operators, and of its own parameters and buffers."""
        rows: list[Layer] = []
        sites = operator_sites(call)
        indices: dict[int, int] = {}
        for child in call.children:
            if isinstance(child, ModuleCall):
                row = self.layer(child, _below(call.path, child.path))
            elif child in sites:
                row = self._operator(child, sites[child])
            else:
                continue
            sources = self.flow.sources(child, lambda step: indices.get(id(step)))
            indices[id(child)] = len(rows)
            rows.append(replace(row, sources=sources))
        rows += [self._trained_layer(twin, call.path) for twin in self._only_trained(call)]
        if call.call == 1:
            rows += self._idle_below(call)
        if own != _Sums():
            first = next((index for index, row in enumerate(rows) if row.is_operator), None)
            if first is not None and not (own.trainable_parameters or own.frozen_parameters or own.buffers):
                rows[first] = _with_more(rows[first], own, self.trained is not None)
            else:
                rows.append(self._held_by(call, own))
        return rows

    def _training_share(self, call: ModuleCall) -> tuple[int, int]:
        """Bytes that autograd saves for this call's own operators, and their backward MACs."""
        twin = self.trained.get((call.path, call.call)) if self.trained else None
        if twin is None:
            return 0, 0
        inner = sum(child.saved for child in twin.children if isinstance(child, ModuleCall))
        return twin.saved - inner, twin.backward_macs

    def _only_trained(self, call: ModuleCall) -> list[ModuleCall]:
        """Calls inside this one that happen in train mode only, such as an auxiliary head."""
        twin = self.trained.get((call.path, call.call)) if self.trained else None
        inner = [child for child in twin.children if isinstance(child, ModuleCall)] if twin else []
        return [child for child in inner if (child.path, child.call) not in self.evaluated]

    def _trained_layer(self, call: ModuleCall, parent: str) -> Layer:
        """The row of a call in train mode only: without cost at inference."""
        inner = [child for child in call.children if isinstance(child, ModuleCall)]
        kept = call.saved - sum(child.saved for child in inner)
        own = _held(call.module, self.counted, recurse=False)
        own = own + _Sums(saved_for_backward_bytes=kept, backward_macs=call.backward_macs)
        children = [self._trained_layer(child, call.path) for child in inner]
        if children and own != _Sums():
            children.append(self._held_by(call, own))
        return self._row(
            _total(children) if children else own,
            path=call.path,
            name=_below(parent, call.path),
            layer_type=f"{type(call.module).__name__} (train mode only)",
            is_operator=False,
            call=0,
            input_shape=call.input_shape,
            output_shape=call.output_shape,
            peak_bytes=0,
            children=tuple(children),
        )

    def _operator(self, op: OperatorCall, site: CallSite) -> Layer:
        name = title(op.op)
        return self._row(
            _total_of_operators([op]),
            path=site.path,
            name=name,
            layer_type=name,
            is_operator=True,
            call=site.call,
            input_shape=op.input_shapes[0] if op.input_shapes else None,
            output_shape=op.output_shape,
            peak_bytes=op.peak,
            receptive_field=op.receptive.size if op.receptive else None,
            total_stride=op.receptive.stride if op.receptive else None,
        )

    def _held_by(self, call: ModuleCall, own: _Sums) -> Layer:
        return self._row(
            own,
            path=operator_path(call.path, "own"),
            name="own",
            layer_type="parameters of its own",
            is_operator=True,
            call=call.call,
            peak_bytes=0,
        )

    def _idle_below(self, call: ModuleCall) -> Iterator[Layer]:
        """Rows of modules with parameters that were not called: their parameters are used directly, or not at all."""
        prefix = f"{call.path}." if call.path else ""
        for path, module in self.idle.items():
            if not path.startswith(prefix):
                continue
            # Modules that have a row elsewhere are counted there.
            uncalled = [inner for inner in module.modules() if id(inner) not in self.called]
            held = sum((_held(inner, self.counted, recurse=False) for inner in uncalled), _Sums())
            if held == _Sums():
                continue  # also a ModuleList whose modules are called one by one
            yield self._row(
                held,
                path=path,
                name=_below(call.path, path),
                layer_type=_uncalled_type(module),
                is_operator=False,
                call=0,
                peak_bytes=0,
            )

    def _row(self, figures: _Sums, **facts: object) -> Layer:
        values: dict[str, object] = {name: getattr(figures, name) for name in _SUMMED}
        if self.trained is None:
            values["saved_for_backward_bytes"] = values["backward_macs"] = None
        blank: dict[str, object] = dict.fromkeys(
            ("kernel_size", "stride", "padding", "dilation", "groups", "input_shape", "output_shape")
        )
        blank |= {"receptive_field": None, "total_stride": None, "call": 1, "children": ()}
        return Layer(**(blank | values | facts))  # type: ignore[arg-type]


def _with_more(row: Layer, own: _Sums, trained: bool) -> Layer:
    """An operator's row plus the saved bytes and backward MACs of its container's forward."""
    values = {name: getattr(row, name) for name in row.__slots__}
    if trained:
        values["saved_for_backward_bytes"] += own.saved_for_backward_bytes
        values["backward_macs"] += own.backward_macs
    return Layer(**values)


def _uncalled_type(module: nn.Module) -> str:
    """What the row of a module without a call says; TorchScript calls the modules inside of its own by itself."""
    if isinstance(module, ScriptModule):
        return f"{module.original_name} (in TorchScript)"
    return f"{type(module).__name__} (not called)"


def _below(parent: str, path: str) -> str:
    return path[len(parent) + 1 :] if parent and path.startswith(f"{parent}.") else path


def _held(module: nn.Module, counted: set[int], *, recurse: bool) -> _Sums:
    """Parameters and buffers of a module that no row has counted yet: bytes are those of their storages."""
    trainable = frozen = buffers = parameter_bytes = buffer_bytes = 0
    for parameter in module.parameters(recurse):
        if id(parameter) not in counted:
            trainable += elements_of(parameter) if parameter.requires_grad else 0
            frozen += 0 if parameter.requires_grad else elements_of(parameter)
            parameter_bytes += _new_bytes(parameter, counted)
    for buffer in module.buffers(recurse):
        if id(buffer) not in counted:
            buffers += elements_of(buffer)
            buffer_bytes += _new_bytes(buffer, counted)
    return _Sums(trainable, frozen, buffers, parameter_bytes, buffer_bytes)


def _new_bytes(tensor: Tensor, counted: set[int]) -> int:
    """Bytes of the storages of a tensor that are not counted yet; then the tensor and they are."""
    storages = {storage._cdata: storage.nbytes() for storage in storages_of(tensor)}
    size = sum(size for address, size in storages.items() if address not in counted)
    counted.update(storages, [id(tensor)])
    return size


def _total_of_operators(operators: Sequence[OperatorCall]) -> _Sums:
    macs = sum(op.counted.macs for op in operators)
    return _Sums(
        macs=macs,
        flops=2 * macs,
        ops=sum(op.counted.operations for op in operators),
        activation_bytes=sum(op.allocated for op in operators),
        bytes_moved=sum(op.moved for op in operators),
    )


def _total(rows: Sequence[Layer]) -> _Sums:
    return _Sums(*(sum(getattr(row, name) or 0 for row in rows) for name in _SUMMED))


def _operators_backwards(call: ModuleCall) -> Iterator[OperatorCall]:
    for child in reversed(call.children):
        if isinstance(child, ModuleCall):
            yield from _operators_backwards(child)
        else:
            yield child


Sizes = tuple[int, ...] | None


def _settings(module: nn.Module) -> tuple[Sizes, Sizes, Sizes, Sizes, int | None]:
    """Kernel, stride, padding, dilation and groups, where a module has them."""

    def pair(name: str) -> Sizes:
        value = getattr(module, name, None)
        if isinstance(value, int) and not isinstance(value, bool):
            return (value, value)
        if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
            return value
        return None

    if pair("kernel_size") is None:
        return None, None, None, None, None
    groups = getattr(module, "groups", None)
    return (
        pair("kernel_size"),
        pair("stride"),
        pair("padding"),
        pair("dilation"),
        groups if isinstance(groups, int) else None,
    )
