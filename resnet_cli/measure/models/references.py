"""What code refers to by name, so that no object holds it: variables of Python modules, and attributes of classes."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from resnet_cli.measure.models.user_errors import is_users

Namespace = dict[str, Any]


def references(function: types.FunctionType) -> Iterator[tuple[Namespace, tuple[str, ...]]]:
    """Namespaces of the user's Python modules, and the names in each that a function may read or write.

    These are the function's own module, and modules that it refers to. Nothing for functions of libraries.
    """
    if not _is_users_file(function.__code__.co_filename):
        return
    names = tuple(dict.fromkeys(_names(function.__code__)))
    yield function.__globals__, names
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, types.ModuleType) and _is_users_module(value):
            yield vars(value), names


def is_users_class(kind: type) -> bool:
    """Whether a class is the user's own code, neither Python's nor a library's."""
    module = sys.modules.get(kind.__module__)
    return module is not None and _is_users_module(module)


class Variables:
    """Variables of a Python module that a function refers to."""

    def __init__(self, namespace: dict[str, Any], names: Iterable[str]) -> None:
        self._namespace, self._names = namespace, names
        self._before = {name: namespace[name] for name in names if name in namespace}

    def values(self) -> Iterable[Any]:
        """What it holds."""
        return self._before.values()

    def replace(self, replacement: Callable[[Any], Any]) -> None:
        """Put `replacement(value)` in place of every value for which that is another object."""
        for name, value in self._before.items():
            other = replacement(value)
            if other is not value:
                self._namespace[name] = other

    def restore(self) -> None:
        """Put back what it held when this object was made."""
        for name in self._names:
            if name in self._before:
                self._namespace[name] = self._before[name]
            else:
                self._namespace.pop(name, None)


class ClassAttributes:
    """The attributes of a class."""

    def __init__(self, kind: type) -> None:
        self._kind, self._before = kind, dict(vars(kind))

    def values(self) -> Iterable[Any]:
        """What it holds."""
        return [_function_in(value) for value in self._before.values()]

    def replace(self, replacement: Callable[[Any], Any]) -> None:
        """Put `replacement(value)` in place of every value for which that is another object."""
        for name, value in self._before.items():
            other = replacement(value)
            if other is not value:
                setattr(self._kind, name, other)

    def restore(self) -> None:
        """Put back what it held when this object was made."""
        for name, value in list(vars(self._kind).items()):
            if name not in self._before:
                delattr(self._kind, name)
            elif self._before[name] is not value:
                setattr(self._kind, name, self._before[name])


def _function_in(attribute: Any) -> Any:
    """The function inside an attribute of a class, such as a property; anything else is itself."""
    if isinstance(attribute, staticmethod | classmethod):
        return attribute.__func__
    if isinstance(attribute, property):
        return (attribute.fget, attribute.fset)
    return attribute.func if isinstance(attribute, functools.cached_property) else attribute


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):  # of a function or comprehension inside
            yield from _names(constant)


def _is_users_module(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and _is_users_file(file)


@functools.cache
def _is_users_file(name: str) -> bool:
    return is_users(name)
