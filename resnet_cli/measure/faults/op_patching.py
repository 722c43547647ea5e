"""Replaces operators of a network without changing the user's source.

A patched network keeps its modules and names; only its class changes, to one whose forward runs under a function
mode. The mode counts the operators that `op_capture` knows, and calls a patch in place of the chosen ones. It is above
autograd, so gradients are those of the faulty network. The value of a patch replaces the output, also that of an
operator that works in place: `x += y` rebinds x, and so does every ReLU whose result is used.
"""

# Operators come with the arguments that torch gives them:
# mypy: no-warn-return-any

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from resnet_cli.measure.faults.op_capture import FunctionCall, bound, kind_of
from resnet_cli.measure.faults.residual_structure import Block

# (the network, the operator, its arguments, its keyword arguments) → the value in place of its output.
# Patches are functions of this module or partials of them over plain data: deep copies of a network carry them along.
OpPatch = Callable[[nn.Module, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
OpPatches = dict[tuple[str, int], OpPatch]


class PatchedModel(nn.Module):
    """Base class of a patched network, before the user's own."""

    patches: OpPatches

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The user's forward, with some operators replaced."""
        with _ReplaceOps(self):
            return super().forward(*args, **kwargs)


class _ReplaceOps(TorchFunctionMode):
    def __init__(self, network: PatchedModel) -> None:
        super().__init__()
        self.network = network
        self.counts: dict[str, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = kind_of(func, args)
        if kind is None:
            return func(*args, **kwargs)
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        patch = self.network.patches.get((kind, number))
        return func(*args, **kwargs) if patch is None else patch(self.network, func, args, kwargs)


def rewire(network: nn.Module, patches: OpPatches) -> nn.Module:
    """The same network, now of a class that replaces some operators as it runs."""
    if not isinstance(network, PatchedModel):
        own = type(network)
        # The name and the module stay: reports show them.
        parts = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
        network.__class__ = type(own.__name__, (PatchedModel, own), parts)
    patched = cast(PatchedModel, network)
    patched.patches = {**getattr(patched, "patches", {}), **patches}
    return patched


def set_options(network: nn.Module, op: FunctionCall, **options: Any) -> None:
    """Give an operator other options: on its module where it has one, else as it runs."""
    owner = network.get_submodule(op.owner)
    if isinstance(owner, (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)):
        for name, value in options.items():
            setattr(owner, name, value)
    else:
        rewire(network, {op.key: partial(_with_options, op.kind, options)})


def _with_options(kind: str, options: dict[str, Any], _: nn.Module, func: Any, args: Any, kwargs: Any) -> Any:
    return func(**{**bound(kind, func, args, kwargs), **options})


def drop(_: nn.Module, __: Any, args: Any, kwargs: Any) -> Any:
    """Patch: the operator returns its input."""
    return args[0] if args else kwargs["input"]


def _fed(change: Callable[[nn.Module, Tensor], Tensor], network: nn.Module, func: Any, args: Any, kwargs: Any) -> Any:
    if args:
        return func(change(network, args[0]), *args[1:], **kwargs)
    return func(**{**kwargs, "input": change(network, kwargs["input"])})


def replace_input(change: Callable[[nn.Module, Tensor], Tensor]) -> OpPatch:
    """Patch: the operator gets a changed input."""
    return partial(_fed, change)


def _joined(
    learned: int,
    join: Callable[[nn.Module, Tensor, Tensor], Tensor],
    network: nn.Module,
    _: Any,
    args: Any,
    __: Any,
) -> Any:
    return join(network, args[learned], args[1 - learned])


def replace_add(block: Block, join: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> tuple[tuple[str, int], OpPatch]:
    """Patch of a block's addition: a function of the output of its body and its shortcut."""
    return block.add.key, partial(_joined, block.body_argument, join)
