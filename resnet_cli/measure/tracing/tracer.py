"""Records one pass through a network: modules entered, operators run, storages allocated and freed."""

from __future__ import annotations

import functools
import sys
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.ops import receptive_field
from resnet_cli.measure.ops.cost import in_place, op_cost
from resnet_cli.measure.ops.device_kernels import KernelUse, as_on_devices
from resnet_cli.measure.ops.fast_meta import FastMetaKernels
from resnet_cli.measure.ops.higher_order import AsOperator, as_operator, without_compilation
from resnet_cli.measure.ops.mixed_dtypes import check_dtypes
from resnet_cli.measure.ops.names import qualified
from resnet_cli.measure.ops.receptive_field import Field
from resnet_cli.measure.tracing import autograd_graph
from resnet_cli.measure.tracing.autograd_graph import SavedTensors
from resnet_cli.measure.tracing.dispatch_record import DispatchRecord
from resnet_cli.measure.tracing.live_storages import LiveStorages
from resnet_cli.measure.tracing.module_stack import CallSite, ModuleStack
from resnet_cli.measure.tracing.storages import addresses_of, bytes_of
from resnet_cli.measure.tracing.tensors import shape_of, tensors_in, why_no_gradient
from resnet_cli.measure.tracing.trace import ModuleCall, OperatorCall, Trace

# (operator, its arguments, its keyword arguments, what it returned) -> FLOPs
FlopFormula = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], int]

_REFUSED_HOOKS = "support saved tensor hooks"  # by torch.func.grad and its like in a forward


class ForwardFailedError(Exception):
    """A forward or backward pass failed.

    Attributes:
        reached: the calls from the root down to the module that failed.
        cause: what was raised, by torch or by the network itself.
    """

    def __init__(self, reached: Sequence[ModuleCall], root: ModuleCall, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.reached = tuple(reached)
        self.root = root
        self.cause = cause


def run(
    model: nn.Module,
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any] = {},
    *,
    training: bool = False,
    backward: bool = False,
    tally: FlopFormula | None = None,
    device_type: str = "cpu",
    memory_only: bool = False,
) -> Trace:
    """Send inputs through a network, both on `meta`, or both on the CPU where a forward needs values.

    Args:
        model: on the inputs' device; its training flags, gradients and buffers change (see `models.substitutes`).
        inputs: positional arguments of its forward.
        kwargs: its keyword arguments.
        training: train mode with autograd on, else eval mode under `no_grad`.
        backward: a backward pass from every floating-point output after the forward (needs `training`).
        tally: FLOPs of an operator by the formulas of another counter; see `other_counters.count_with_torch`.
        device_type: whose operators run on `meta`, as far as they are known; see `ops.device_kernels`.
        memory_only: record the bytes alive after each allocation and nothing else, in less than half of the time.

    Raises:
        ForwardFailedError: an operator or the network raised.
    """
    if memory_only:
        return _run(model, inputs, kwargs, training, backward, None, device_type, hooks=False, memory_only=True)
    try:
        return _run(model, inputs, kwargs, training, backward, tally, device_type, hooks=training)
    except ForwardFailedError as failure:
        if _REFUSED_HOOKS not in str(failure.cause):
            raise
    return _run(model, inputs, kwargs, training, backward, tally, device_type, hooks=False)


def _run(
    model: nn.Module,
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    training: bool,
    backward: bool,
    tally: FlopFormula | None,
    device_type: str,
    *,
    hooks: bool,
    memory_only: bool = False,
) -> Trace:
    """As `run`. Without hooks, what autograd saves is read from the graph, which sees no activation checkpointing."""
    nn.Module.zero_grad(
        model
    )  # not the network's own method of this name; a second pass allocates its gradients as the first one did
    recorder = _Recorder(model, (*inputs, kwargs), tally, memory_only=memory_only)
    grad: AbstractContextManager[Any] = torch.enable_grad() if training else torch.no_grad()
    saving: AbstractContextManager[Any] = (
        torch.autograd.graph.saved_tensors_hooks(recorder.save, lambda kept: kept) if hooks else nullcontext()
    )

    def both_passes() -> Any:
        output = model(*inputs, **kwargs)
        if training and not hooks and not memory_only:
            recorder.saved.note_graph(tensors_in(output), recorder.root)
        recorder.end_forward()
        if backward:
            # A scalar, because a gradient handed to autograd makes it import sympy (0.3 s).
            ends = [_real(tensor).sum() for tensor in tensors_in(output) if tensor.requires_grad]
            if not ends:
                raise RuntimeError(why_no_gradient(output))
            functools.reduce(torch.add, ends).backward()  # type: ignore[no-untyped-call]
        return output

    model.train(training)
    with warnings.catch_warnings():
        # Activation checkpointing complains of a forward without gradients, which is what was asked for.
        warnings.filterwarnings("ignore", message="None of the inputs have requires_grad")
        on_devices = as_on_devices(recorder.use, device_type, recorder.made)
        return _traced(recorder, both_passes, FastMetaKernels(device_type), grad, saving, on_devices)


def run_dispatches(
    model: nn.Module,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] = {},
    *,
    training: bool,
    line_of: Callable[[], Any] = lambda: None,
) -> Trace:
    """A forward without autograd, with every call of the dispatcher.

    The operators are those that torch itself chooses on the inputs' device. All tensors of the forward stay alive
    until it ends, so the trace has no meaningful memory figures.

    Args:
        model: its training flags and, in train mode, its buffers change.
        inputs: positional arguments, on the model's device.
        kwargs: keyword arguments.
        training: train mode or eval mode.
        line_of: gives the line of the user's files that is running; called for each operator.

    Raises:
        ForwardFailedError: an operator or the network raised.
    """
    model.train(training)
    record = DispatchRecord(model, (*inputs, kwargs), line_of)
    recorder = _Recorder(model, (*inputs, kwargs), None, record)
    trace = _traced(recorder, lambda: model(*inputs, **kwargs), FastMetaKernels(), torch.no_grad())
    trace.outputs = [record.ref(tensor) for tensor in tensors_in(trace.output)]
    trace.dispatches, trace.left, trace.inputs = record.dispatches, record.left, record.inputs
    trace.parameters, trace.constants = record.parameters, record.constants
    return trace


def _traced(
    recorder: _Recorder, call: Callable[[], Any], kernels: FastMetaKernels, *contexts: AbstractContextManager[Any]
) -> Trace:
    try:
        as_written = without_compilation(recorder.use)
        with as_written, recorder.modules, kernels, recorder, ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            output = call()
    except (ResnetCliError, KeyboardInterrupt):
        raise  # it is no fault of the network
    except BaseException as error:  # a network of the user's may call sys.exit(), or raise what is no Exception
        if "NestedTensorImpl" in str(error):
            raise ResnetCliError(
                "nested tensors of the strided layout have no shape, so that nothing can be counted",
                "make them with layout=torch.jagged; attention on a CPU turns those into strided ones",
            ) from error
        reached = recorder.reached if recorder.raised is error else recorder.stack
        raise ForwardFailedError(reached, recorder.root, error) from error
    return Trace(
        recorder.root,
        recorder.operators,
        output,
        recorder.peak,
        recorder.peak_at,
        recorder.saved_total,
        recorder.alive,
        recorder.use,
    )


def _real(tensor: Tensor) -> Tensor:
    """The tensor, or its absolute values where it is complex: autograd starts from real numbers."""
    return tensor.abs() if tensor.is_complex() else tensor


_MADE_OF_OTHERS = torch._C.DispatchKey.CompositeImplicitAutograd


@functools.cache
def _is_composite(func: Any) -> bool:
    """Whether an operator is made of others, which are those to record.

    Autograd takes such an operator apart before a dispatch mode sees it. Under `torch.inference_mode()` there is no
    autograd, and a whole `conv2d` or `linear` arrives.
    """
    # Not func.decompose(), whose answer depends on what has been imported: torch._decomp takes batch norms apart too.
    if isinstance(func, AsOperator) or func is torch.ops.prim.device.default:
        return False
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    # Some have a kernel of their own too, such as the backward pass of SiLU.
    return has_kernel(func.name(), _MADE_OF_OTHERS) and not has_kernel(func.name(), torch._C.DispatchKey.CPU)


@functools.cache
def _consists_of_others(kind: type[Any]) -> bool:
    """Whether tensors of a class are wrappers around others, such as nested ones, or quantized weights."""
    return hasattr(kind, "__tensor_flatten__")


class _Recorder(TorchDispatchMode):
    """Records every operator below autograd; its module stack is to be entered with it."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in FastMetaKernels

    def __init__(
        self,
        model: nn.Module,
        inputs: Sequence[Any],
        tally: FlopFormula | None,
        dispatches: DispatchRecord | None = None,
        *,
        memory_only: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._memory_only = memory_only
        self._dispatches = dispatches
        self._tally = tally
        self.root = ModuleCall("", model, 1, None, input_shape=shape_of(inputs))
        self.modules = ModuleStack(model if not memory_only else nn.Module(), self._entering, self._leaving)
        self.stack = self.modules.running
        self.raised: BaseException | None = None
        self.reached: list[ModuleCall] = []
        self.operators: list[OperatorCall] = []
        self.peak = self.saved_total = 0
        self.peak_at = ""
        self.alive: list[int] = []
        self.use = KernelUse()
        self._backward_in: ModuleCall | None = None  # whose backward runs
        self._repeated: list[ModuleCall] = []
        # The operator that last wrote each storage; a view shares the storage of its base.
        self._writers: dict[int, OperatorCall | None] = {}
        self._memory = LiveStorages(model, inputs, lambda address: self._writers.pop(address, None))
        self._writers.update(dict.fromkeys(self._memory.inputs))
        self.saved = SavedTensors(self._memory.aside)
        for tensor in tensors_in(inputs):
            if tensor.dim() == 4:
                receptive_field.mark(tensor, Field((1, 1), (1, 1)))

    def _entering(self, site: CallSite, module: nn.Module, inputs: tuple[Any, Any]) -> ModuleCall:
        if site == ("", 1):
            call = self.root
        elif self._backward_in is not None:
            return self._recomputed(site.path)
        else:
            parent = self.stack[-1] if self.stack else self.root
            for tensor in tensors_in(inputs):  # the nodes that made the inputs belong to the caller
                self._claim(tensor.grad_fn, parent)
            call = ModuleCall(site.path, module, site.call, parent, shape_of(inputs))
            parent.children.append(call)
        call.peak = self._memory.live
        if self._dispatches is not None:
            self._dispatches.entered(call)
        return call

    def _leaving(self, call: ModuleCall, output: Any) -> None:
        if self._backward_in is None:  # recomputation ends by an exception, which would keep its tensors alive
            raised = sys.exc_info()[1]
            if raised is not None and raised is not self.raised:
                self.raised, self.reached = raised, list(self.stack)  # the hook of the innermost module runs first
            call.output_shape = shape_of(output)
        if self._dispatches is not None:
            self._dispatches.leaving(call, output)
        for tensor in tensors_in(output):
            self._claim(tensor.grad_fn, call)

    def _recomputed(self, path: str) -> ModuleCall:
        """The call that activation checkpointing repeats within the backward pass, where a module is entered again.

        Of several calls of a module the last one is repeated first.
        """
        calls = [call for call in self.root.modules() if call.path == path]
        left = [call for call in calls if call not in self._repeated] or calls or [self.root]
        self._repeated.append(left[-1])
        return left[-1]

    def _claim(self, node: Any, call: ModuleCall) -> None:
        """Assign the autograd nodes behind `node` to this call, except those that belong to an inner module.

        The operators of its backward are attributed to that call. The marks are on the nodes themselves: a reference
        to a node would keep alive what it saves.
        """

        def arrived(grads: Any) -> None:
            if self._backward_in is not None:  # else a forward that takes gradients itself
                self._backward_in = call

        autograd_graph.claim(node, self.root, call, arrived)

    def end_forward(self) -> None:
        """The forward has ended: what autograd holds now is what it saves. What follows is the backward pass."""
        self.saved_total = self.saved.settle()
        self._backward_in = self.root

    def save(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd saves in the forward, unless it is a parameter, a buffer or an input."""
        # Saving an output as it is would create the cycle output → grad_fn → saved tensor → output, which only the
        # garbage collector frees.
        alias = tensor.detach()
        if self._backward_in is None:
            self.saved.note(tensor, weakref.ref(alias), self.stack)
        return alias

    def made(self, tensor: Tensor) -> None:
        """A tensor has been made without an operator."""
        if self._memory.add([tensor], set()):
            self._rose()

    def _written_by(self, tensors: Sequence[Tensor]) -> tuple[OperatorCall | None, ...]:
        """The operators that wrote these last, each once; constants have none."""
        addresses = [address for tensor in tensors for address in addresses_of(tensor)]
        return tuple(dict.fromkeys(self._writers[address] for address in addresses if address in self._writers))

    def _rose(self) -> None:
        live = self._memory.live
        self.alive.append(live)
        for call in self.stack if self._backward_in is None else ():
            call.peak = max(call.peak, live)
        if live > self.peak:
            self.peak = live
            inner = self.stack[-1] if self.stack else self._backward_in
            self.peak_at = inner.path if inner else ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator, and record it with its cost."""
        if types and any(map(_consists_of_others, types)):
            return NotImplemented  # the tensor's class runs other operators on its parts, which come here too
        func = as_operator(func)
        if _is_composite(func):
            with self:
                return func._op_dk(_MADE_OF_OTHERS, *args, **(kwargs or {}))
        op, read = qualified(func), tensors_in(args)
        check_dtypes(op, read)
        out = func(*args, **(kwargs or {}))
        if self._dispatches is not None:
            self._dispatches.add(func, args, kwargs or {}, out, self.stack[-1] if self.stack else self.root)
        results = tensors_in(out)
        given = [addresses_of(tensor) for tensor in read]
        constants = self._memory.constants
        activations = [tensor for tensor, held in zip(read, given, strict=True) if not constants.issuperset(held)]
        if read and not activations and (func.is_view or in_place(func)):
            return out  # bookkeeping on parameters and buffers: a transposed weight, num_batches_tracked
        # A view, and what is written in place, has the storage of an argument.
        allocated = self._memory.add(results, set().union(*given))
        if allocated:
            self._rose()
        if self._memory_only or op == "aten::detach":
            return out
        backward = self._backward_in is not None
        module = self.stack[-1] if self.stack else self._backward_in or self.root
        counted = op_cost(func, args, out, kwargs)
        receptive = None
        if not backward and results:
            receptive = receptive_field.after(func, op, args, activations)
            receptive_field.mark(results[0], receptive)
        call = OperatorCall(
            op=op,
            in_place=in_place(func),
            is_view=bool(func.is_view),
            backward=backward,
            module=module,
            counted=counted,
            input_shapes=tuple(tuple(tensor.shape) for tensor in activations),
            output_shape=tuple(results[0].shape) if results else None,
            output_elements=results[0].numel() if results else 0,
            allocated=allocated,
            moved=0 if func.is_view else sum(map(bytes_of, (*read, *results))),
            receptive=receptive,
            peak=self._memory.live,
            tallied=self._tally(func, args, kwargs or {}, out) if self._tally else None,
            reads=self._written_by(activations),
        )
        if not func.is_view:
            self._writers.update((address, call) for tensor in results for address in addresses_of(tensor))
        self.operators.append(call)
        if self._dispatches is not None:
            self._dispatches.dispatches[-1].operator = call
        if backward:
            module.backward_macs += counted.macs
        else:
            module.children.append(call)
        return out
