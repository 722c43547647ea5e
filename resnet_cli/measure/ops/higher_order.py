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


@contextlib.contextmanager
def without_compilation() -> Iterator[None]:
    """Let compiled functions run as they were written.

    `torch.cond` and its like compile themselves, which fails under a dispatch mode, or hides their operators from it.
    """
    compile_function = torch.compile
    is_imported = "torch._dynamo" in sys.modules  # else nothing is compiled yet; the import takes most of a second
    eager: Any = torch.compiler.set_stance("force_eager") if is_imported else contextlib.nullcontext()
    torch.compile = _as_written
    try:
        with eager, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
            yield
    finally:
        torch.compile = compile_function


def _as_written(model: Any = None, **_: Any) -> Any:
    """In place of `torch.compile`, as a function or a decorator with arguments."""
    if model is None:
        return lambda function: function
    # What `torch.cond` compiles: the operator takes gradients of its operands alone, not of the branches' parameters.
    return _take_branch if getattr(model, "__name__", "") == "_cond_op_wrapper" else model


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
