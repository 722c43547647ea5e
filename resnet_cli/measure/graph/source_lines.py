"""Lines of the user's own files: of calls that construct modules, and of statements that run operators.

Constructors are watched only inside of `with_constructors`, and operators only where a graph is recorded.
"""

from __future__ import annotations

import ast
import copy
import functools
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from torch import nn

from resnet_cli.measure.models.naming.revisions import origin_of
from resnet_cli.measure.models.user_errors import is_users, shown_path

T = TypeVar("T")

_is_users = functools.cache(is_users)


class Line(NamedTuple):
    """A line of a file."""

    file: str
    number: int

    def __str__(self) -> str:
        """Such as "net.py:41", or "net.py:41@HEAD~1" in a revision; relative to the current folder if inside."""
        origin = origin_of(Path(self.file))
        if origin is None:
            return f"{shown_path(self.file)}:{self.number}"
        return f"{shown_path(str(origin.file))}:{self.number}@{origin.revision}"


# By id, since a class of the user's need not be hashable; a module that ends takes its row with it.
_constructors: dict[int, tuple[weakref.ref[nn.Module], tuple[Line, ...]]] = {}


def called(function: Callable[[], T]) -> T:
    """What a function returns; no line of what calls this is the line of anything inside."""
    return function()


def running_line() -> Line | None:
    """The innermost line of the user's files that is running."""
    return next(_lines_from(sys._getframe(1)), None)


def _lines_from(frame: FrameType | None) -> Iterator[Line]:
    """Lines of the user's files that run, the innermost first."""
    while frame is not None and frame.f_code is not called.__code__:
        if _is_users(frame.f_code.co_filename):
            yield Line(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back


def with_constructors(build: Callable[[], T]) -> T:
    """What a function builds; `constructor_lines` knows its modules."""
    initialize: Any = nn.Module.__init__
    set_state: Any = nn.Module.__setstate__

    @functools.wraps(initialize)
    def initialized(module: nn.Module, *args: Any, **kwargs: Any) -> None:
        _keep(module, tuple(_lines_from(_caller(module, sys._getframe(1)))))
        initialize(module, *args, **kwargs)

    @functools.wraps(set_state)
    def copied(module: nn.Module, state: Any) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and _first_argument(frame) is module:
            frame = frame.f_back
        # `copy.deepcopy` and `copy.copy` call no constructor; the argument is what is copied.
        original = None if frame is None or frame.f_code.co_filename != copy.__file__ else _first_argument(frame)
        _keep(module, constructor_lines(original) if isinstance(original, nn.Module) else ())
        set_state(module, state)

    _set_methods(initialized, copied)
    try:
        return called(build)
    finally:
        _set_methods(initialize, set_state)


def _set_methods(initialize: Any, set_state: Any) -> None:
    for name, method in (("__init__", initialize), ("__setstate__", set_state)):
        setattr(nn.Module, name, method)


def _keep(module: nn.Module, lines: tuple[Line, ...]) -> None:
    if lines:
        key = id(module)
        _constructors[key] = weakref.ref(module, lambda _: _constructors.pop(key, None)), lines


def constructor_lines(module: nn.Module) -> tuple[Line, ...]:
    """Where the class of a module was called, then the calls around it, such as that of the block that it is in.

    Of the user's subclass of a class such as `nn.Conv2d` it is the line that calls the constructor of that one, with
    the settings.
    """
    reference, lines = _constructors.get(id(module), (None, ()))
    return lines if reference is not None and reference() is module else ()


def statement_at(line: Line) -> str:
    """The simple statement in a line of a file, without comments and line breaks; "" where there is none."""
    try:
        statements = _statements(Path(line.file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):  # the file has changed since it was run
        return ""
    return next((text for first, last, text in statements if first <= line.number <= last), "")


@functools.cache
def _statements(source: bytes) -> list[tuple[int, int, str]]:
    """First line, last line and text of each statement of a file that has no others inside."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt) and not hasattr(node, "body")]
    return [(node.lineno, node.end_lineno or node.lineno, ast.unparse(node)) for node in nodes]


def _caller(module: nn.Module, frame: FrameType | None) -> FrameType | None:
    """The first frame that is not a method of the user's class, which calls `super().__init__()`."""
    while frame is not None and _is_users(frame.f_code.co_filename) and _first_argument(frame) is module:
        frame = frame.f_back
    return frame


def _first_argument(frame: FrameType) -> Any:
    code = frame.f_code
    return frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
