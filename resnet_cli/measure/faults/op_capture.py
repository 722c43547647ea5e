"""The operators of one small forward as Python calls them, and which outputs each one reads.

A function mode sees `nn.ReLU`, `F.relu` and `Tensor.relu_` alike, and it sees the arguments by which people choose a
stride or an eps; a dispatch mode sees more, but cannot replace an operator.
"""

# Operators come with the arguments that torch gives them:
# mypy: no-warn-return-any

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from resnet_cli.errors import attempt
from resnet_cli.measure.tracing.module_stack import ModuleStack

IMAGE_SIZE = 64  # small and even at every stage but the last, so that paddings and strides still show


class NotApplicableError(Exception):
    """This network has no place for the fault; str() says why."""


_KINDS = {
    **dict.fromkeys(("relu", "relu_"), "relu"),
    **dict.fromkeys(("add", "add_", "__add__", "__radd__", "__iadd__"), "add"),
    "batch_norm": "norm",
    "conv2d": "conv",
    "linear": "linear",
    "max_pool2d": "pool",
}

_ARGUMENTS = {
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
    "pool": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "conv": {"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    "pool": {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
}
# torch.batch_norm takes the same in another order than torch.nn.functional.batch_norm.
_BUILTIN_NORM = (
    "input",
    "weight",
    "bias",
    "running_mean",
    "running_var",
    "training",
    "momentum",
    "eps",
    "cudnn_enabled",
)


def kind_of(func: Callable[..., Any], args: Sequence[Any]) -> str | None:
    """Kind of a call in a residual network: "conv", "norm", "relu", "add", "pool" or "linear"; None for any other."""
    kind = _KINDS.get(getattr(func, "__name__", ""))
    return None if kind == "add" and not _joins(args) else kind


def _joins(args: Sequence[Any]) -> bool:
    # Batch norms by hand and counters of batches add too; branches are feature maps of one shape.
    if len(args) < 2 or not all(isinstance(arg, Tensor) and arg.dim() == 4 for arg in args[:2]):
        return False
    return args[0].shape == args[1].shape and not any(isinstance(arg, nn.Parameter) for arg in args[:2])


def bound(kind: str, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an operator by name; those at their defaults may be missing."""
    builtin_norm = kind == "norm" and isinstance(func, type(torch.batch_norm))
    names = _BUILTIN_NORM if builtin_norm else _ARGUMENTS.get(kind, ())
    return {**dict(zip(names, args, strict=False)), **kwargs}


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One operator of the forward."""

    index: int
    kind: str
    number: int  # among those of its kind, in order of execution
    inputs: tuple[int, ...]  # the operators whose outputs it reads
    owner: str  # the module that was running
    weight: str | None  # the parameter that it multiplies by
    shape: tuple[int, ...]  # of its output
    weight_shape: tuple[int, ...]
    options: dict[str, Any]

    @property
    def key(self) -> tuple[str, int]:
        """What names it while the network runs."""
        return self.kind, self.number

    @property
    def kernel(self) -> int:
        """The side of a convolution's kernel."""
        return self.weight_shape[-1]

    def pair(self, option: str) -> tuple[int, int]:
        """A stride, padding or dilation of a convolution, which may be a single number."""
        value = self.options[option]
        if isinstance(value, str):
            raise NotApplicableError(f"the {option} of the convolution is {value!r}, not a number")
        return (value, value) if isinstance(value, int) else (value[0], value[-1])


@dataclass(slots=True)
class _Seen:
    ops: list[FunctionCall] = field(default_factory=list)
    producers: dict[int, int] = field(default_factory=dict)  # id of a tensor → the operator that wrote it last
    kept: list[Tensor] = field(default_factory=list)  # so that no id is used twice
    counts: dict[str, int] = field(default_factory=dict)
    stack: ModuleStack[str] | None = None

    @property
    def owner(self) -> str:
        """Path of the module that is running."""
        return self.stack.running[-1] if self.stack and self.stack.running else ""


class _OpCapture(TorchFunctionMode):
    def __init__(self, seen: _Seen, names: dict[int, str]) -> None:
        super().__init__()
        self.seen, self.names = seen, names

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = kind_of(func, args)
        arguments = bound(kind, func, args, kwargs) if kind else {}
        tensors = [tensor for tensor in _tensors((*args, *kwargs.values())) if id(tensor) in self.seen.producers]
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor) or (kind is None and not tensors):
            return result
        weight = arguments.get("weight", args[1] if kind == "linear" and len(args) > 1 else None)
        seen = self.seen
        op = FunctionCall(
            len(seen.ops),
            kind or "other",
            seen.counts.get(kind or "other", 0),
            tuple(dict.fromkeys(seen.producers[id(tensor)] for tensor in tensors)),
            seen.owner,
            self.names.get(id(weight)),
            tuple(result.shape),
            tuple(weight.shape) if isinstance(weight, Tensor) else (),
            {**_DEFAULTS.get(op_kind, {}), **_plain(arguments)} if (op_kind := kind) else {},
        )
        seen.counts[op.kind] = op.number + 1
        seen.ops.append(op)
        seen.producers[id(result)] = op.index
        seen.kept.append(result)
        return result


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if not isinstance(value, Tensor)}


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def check_it_runs(network: nn.Module) -> None:
    """Run a small image through a network in eval mode, and leave its modes as they were.

    Raises:
        NotApplicableError: it does not run; the text is the reason of torch.
    """
    parameters = list(network.parameters())
    example = parameters[0] if parameters else torch.empty(0)
    channels = dict.fromkeys((3, 1, *(p.shape[1] for p in parameters if p.dim() == 4)))
    modes = [(module, module.training) for module in network.modules()]
    failure: Exception | None = None
    try:
        network.eval()
        for count in channels:
            image = torch.rand(1, count, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
            with attempt("a forward") as forward, torch.no_grad():
                network(image.to(example.device, example.dtype))
                return
            failure = failure or forward.error
    finally:
        for module, mode in modes:
            module.training = mode
    raise NotApplicableError(
        f"the network does not run on {IMAGE_SIZE} pixels: {str(failure).strip().split(chr(10))[0]}"
    )


def capture_ops(network: nn.Module) -> list[FunctionCall]:
    """The operators of one forward in eval mode, in order of execution; the network is left as it was.

    Raises:
        NotApplicableError: it does not run on a small image.
    """
    seen = _Seen()
    names = {id(parameter): name for name, parameter in network.named_parameters()}

    def begin(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        # A second try with other channels begins anew.
        fresh = _Seen()
        seen.ops, seen.producers, seen.kept, seen.counts = fresh.ops, fresh.producers, fresh.kept, fresh.counts
        for tensor in _tensors(arguments):
            seen.producers[id(tensor)] = 0
            seen.kept.append(tensor)
            seen.ops.append(FunctionCall(0, "input", 0, (), "", None, tuple(tensor.shape), (), {}))
            break

    with ModuleStack(network, lambda site, *_: site.path) as stack:
        seen.stack = stack
        handle = network.register_forward_pre_hook(begin)
        try:
            with _OpCapture(seen, names):
                check_it_runs(network)
        finally:
            handle.remove()
    return seen.ops
