"""What a network holds: every container, object and variable that its modules, hooks and functions lead to."""

from __future__ import annotations

import functools
import itertools
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from torch import Tensor, nn
from torch.jit import ScriptModule

from resnet_cli.measure.models.references import ClassAttributes, Variables, is_users_class, references

# Of attributes of these classes' instances, none is the network's.
_FOREIGN = frozenset(sys.stdlib_module_names) | {"torch"}

Replace = Callable[[Any], Any]


class Holder(Protocol):
    """Something that holds values, and whose contents can be replaced and put back."""

    def values(self) -> Iterable[Any]:
        """What it holds."""

    def replace(self, replacement: Replace) -> None:
        """Put `replacement(value)` in place of every value for which that is another object."""

    def restore(self) -> None:
        """Put back what it held when this object was made."""


def holders_of(network: nn.Module) -> Iterator[Holder]:
    """Everything that a network holds, each once, starting from the network.

    That is the attributes of modules and of objects of the user's classes, containers, what functions enclose, such as
    a `forward` that was replaced by a function, and of the user's code also attributes of classes and the variables of
    Python modules that functions refer to. Left out is what belongs to Python, torch and other libraries.
    """
    seen: dict[int, Any] = {}  # keeps what was seen alive, as an id means nothing without its object
    waiting: list[Any] = [network]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, tuple | frozenset):
            waiting.extend(value)
            continue
        for holder in _holders(value):
            yield holder
            waiting.extend(holder.values())


def contents_of(network: nn.Module) -> list[Any]:
    """Everything that a network holds, in order, to see whether a call leaves something behind."""
    return [value for holder in holders_of(network) for value in holder.values()]


def _holders(value: Any) -> Iterator[Holder]:
    if isinstance(value, dict):
        yield _Dict(value)
    elif isinstance(value, list | deque):
        yield _List(value)
    elif isinstance(value, set):
        yield _Set(value)
    elif isinstance(value, nn.Module):
        yield _Attributes(value)
        yield _Constant(type(value).__mro__)
        if isinstance(value, ScriptModule):
            yield _Script(value)
    elif isinstance(value, types.FunctionType):
        yield from (_Cell(cell) for cell in value.__closure__ or ())
        yield from (Variables(namespace, names) for namespace, names in references(value))
        yield _Constant((value.__defaults__, value.__kwdefaults__, value.__dict__))
    elif isinstance(value, types.MethodType):
        yield _Constant((value.__self__, value.__func__))
    elif isinstance(value, functools.partial):
        yield _Constant((value.func, value.args, value.keywords))
    elif isinstance(value, type):
        if is_users_class(value):
            yield ClassAttributes(value)
    elif not isinstance(value, Tensor | types.ModuleType) and _has_users_attributes(value):
        yield _Attributes(value)
        yield _Constant(type(value).__mro__)


def _has_users_attributes(value: Any) -> bool:
    home = str(type(value).__module__).partition(".")[0]
    return home not in _FOREIGN and isinstance(getattr(value, "__dict__", None), dict)


def is_same(contents: Iterable[Any], before: Iterable[Any]) -> bool:
    """Whether both are the same objects in the same order."""
    end = object()
    return all(a is b for a, b in itertools.zip_longest(contents, before, fillvalue=end))


class _Constant:
    """What leads to other values, and is itself not changed."""

    def __init__(self, contents: tuple[Any, ...]) -> None:
        self._contents = contents

    def values(self) -> Iterable[Any]:
        return self._contents

    def replace(self, replacement: Replace) -> None: ...

    def restore(self) -> None: ...


class _Dict:
    def __init__(self, contents: dict[Any, Any]) -> None:
        # A subclass may have methods of its own that do more.
        self._kind: type[dict[Any, Any]] = OrderedDict if isinstance(contents, OrderedDict) else dict
        self._contents, self._before = contents, self._items(contents)

    def _items(self, contents: dict[Any, Any]) -> list[tuple[Any, Any]]:
        return list(self._kind.items(contents))

    def values(self) -> Iterable[Any]:
        return [value for _, value in self._before]

    def replace(self, replacement: Replace) -> None:
        for key, value in self._before:
            other = replacement(value)
            if other is not value:
                self._kind.__setitem__(self._contents, key, other)

    def restore(self) -> None:
        if not is_same(itertools.chain(*self._items(self._contents)), itertools.chain(*self._before)):
            self._kind.clear(self._contents)
            for key, value in self._before:
                self._kind.__setitem__(self._contents, key, value)


class _Attributes(_Dict):
    """The attributes of an object, and its class: a lazy module changes it in its first forward."""

    def __init__(self, owner: Any) -> None:
        super().__init__(owner.__dict__)
        self._owner, self._class = owner, type(owner)

    def restore(self) -> None:
        super().restore()
        if type(self._owner) is not self._class:
            object.__setattr__(self._owner, "__class__", self._class)


class _List:
    def __init__(self, contents: list[Any] | deque[Any]) -> None:
        self._contents, self._before = contents, list(contents)

    def values(self) -> Iterable[Any]:
        return self._before

    def replace(self, replacement: Replace) -> None:
        for index, value in enumerate(self._before):
            other = replacement(value)
            if other is not value:
                self._contents[index] = other

    def restore(self) -> None:
        if not is_same(self._contents, self._before):
            self._contents.clear()
            self._contents.extend(self._before)


class _Set:
    def __init__(self, contents: set[Any]) -> None:
        self._contents, self._before = contents, set(contents)

    def values(self) -> Iterable[Any]:
        return self._before

    def replace(self, replacement: Replace) -> None:
        for value in self._before:
            other = replacement(value)
            if other is not value:
                self._contents.remove(value)
                self._contents.add(other)

    def restore(self) -> None:
        self._contents.clear()
        self._contents.update(self._before)


class _Cell:
    """A variable that a function encloses."""

    def __init__(self, cell: types.CellType) -> None:
        self._cell = cell
        try:
            self._before: tuple[Any, ...] = (cell.cell_contents,)
        except ValueError:  # not assigned yet
            self._before = ()

    def values(self) -> Iterable[Any]:
        return self._before

    def replace(self, replacement: Replace) -> None:
        for value in self._before:
            other = replacement(value)
            if other is not value:
                self._cell.cell_contents = other

    def restore(self) -> None:
        for value in self._before:
            self._cell.cell_contents = value


class _Script:
    """Parameters and buffers of a TorchScript module, which its compiled part holds; and the modules inside."""

    def __init__(self, module: ScriptModule) -> None:
        self._module = module
        tensors = [*module._parameters.items(), *module._buffers.items()]
        self._before = [(name, tensor) for name, tensor in tensors if tensor is not None]

    def values(self) -> Iterable[Any]:
        return list(self._module.children())

    def replace(self, replacement: Replace) -> None:
        for name, tensor in self._before:
            self._set(name, replacement(tensor))

    def restore(self) -> None:
        for name, tensor in self._before:
            self._set(name, tensor)

    def _set(self, name: str, tensor: Tensor) -> None:
        compiled: Any = self._module._c
        compiled.setattr(name, tensor)
