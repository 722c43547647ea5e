"""Operators that take functions: `torch.cond`, `flex_attention`, loops."""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch._ops import HigherOrderOperator

from resnet_cli.measure.ops.device_kernels import KernelUse


@contextlib.contextmanager
def without_compilation(use: KernelUse) -> Iterator[None]:
    """Let compiled functions run as they were written.

    `torch.cond` and its like compile themselves, which fails under a dispatch mode, or hides their operators from it.

    Args:
        use: receives whether something that the network has under `torch.compile` runs.
    """
    compile_function = torch.compile

    def as_written(model: Any = None, **_: Any) -> Any:
        """In place of `torch.compile`, as a function or a decorator with arguments."""
        if model is None:
            return as_written
        # What `torch.cond` compiles: the operator takes gradients of its operands, not of the branches' parameters.
        name, module = (getattr(model, attribute, None) or "" for attribute in ("__name__", "__module__"))
        if name == "_cond_op_wrapper":
            return _take_branch
        if not (name.startswith("_") and module.startswith("torch.")):  # what torch compiles by itself
            use.compiled = True
        return model

    torch.compile = as_written
    try:
        # If not imported, nothing is compiled yet; the import takes most of a second.
        dynamo: Any = sys.modules.get("torch._dynamo.eval_frame")
        eager = contextlib.nullcontext() if dynamo is None else _eager(dynamo, use)
        with eager, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
            yield
    finally:
        torch.compile = compile_function


@contextlib.contextmanager
def _eager(dynamo: Any, use: KernelUse) -> Iterator[None]:
    """Compiled functions run as they were written, and tell so; every one asks for its callback when it is called."""
    callback_of = dynamo._callback_from_stance

    def noted(callback: Any) -> Any:
        if callback not in (None, False):  # they stand for code that is never compiled
            use.compiled = True
        return callback_of(callback)

    dynamo._callback_from_stance = noted
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        dynamo._callback_from_stance = callback_of


def _take_branch(
    condition: Any, if_true: Callable[..., Any], if_false: Callable[..., Any], operands: Sequence[Any]
) -> Any:
    return (if_true if condition else if_false)(*operands)


class AsOperator:
    """A higher-order operator with the attributes of an ordinary one.

    It has no schema, so that its arguments have no names.
    """

    is_view = False
    tags: Sequence[Any] = ()

    def __init__(self, operator: HigherOrderOperator) -> None:
        self.overloadpacket = operator
        self._schema = SimpleNamespace(name=f"higher_order::{operator}", arguments=(), is_mutable=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        return self.overloadpacket(*args, **kwargs)


@functools.cache
def as_operator(func: Any) -> Any:
    """An operator as others are, whatever its kind."""
    return AsOperator(func) if isinstance(func, HigherOrderOperator) else func
