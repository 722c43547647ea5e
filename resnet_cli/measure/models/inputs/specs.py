"""Tensors of an input, described in text such as `mask=bool[1,196]`. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.results.common import Shape
from resnet_cli.suggest import nearest

# Integers and the largest value that each holds.
_INTEGERS = {"uint8": 2**8 - 1, "int8": 2**7 - 1, "int16": 2**15 - 1, "int32": 2**31 - 1, "int64": 2**63 - 1}
_OWN = "float"  # floating point of the network's own dtype
DTYPES = (_OWN, "float32", "bfloat16", "float16", "float64", "bool", *_INTEGERS, "complex64", "complex128")
MAX_VALUES = 2**48  # in a tensor; beyond it sizes in bytes no longer fit torch's 64 bits

_FORM = re.compile(
    r"(?:(?P<name>[^=\[\]<]*)=)?\s*(?P<dtype>[^=\[\]<\s]+)\s*\[(?P<sizes>[^\[\]]*)\]\s*(?:<\s*(?P<below>\S+))?\s*"
)
_EXAMPLES = "write 'NAME=DTYPE[SIZES]', such as 'x=float32[1,3,224,224]', 'mask=bool[1,196]' or 'int64[1,16]<1000'"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of an input without its values.

    Args:
        shape: its sizes.
        dtype: by torch's name; None: floating point of the network's own dtype.
        below: integers are drawn from 0 … below - 1; None: from the indices that every embedding of the network has.
    """

    shape: Shape
    dtype: str | None = None
    below: int | None = None

    @property
    def is_integer(self) -> bool:
        """Whether it holds integers."""
        return self.dtype in _INTEGERS


def parse_tensor(text: str) -> tuple[str, TensorSpec]:
    """The name ("" without one) and the tensor of a description such as `tokens=int64[1,16]<1000`.

    Raises:
        ResnetCliError: it is not a description of a tensor.
    """
    wrong = f"`inputs={text}`"
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ResnetCliError(f"{wrong} is not a valid description of a tensor", _EXAMPLES)
    name, dtype = (match["name"] or "").strip(), match["dtype"].lower()
    if match["name"] is not None and not all(part.isidentifier() or part.isdecimal() for part in name.split(".")):
        raise ResnetCliError(f"{wrong}: {name!r} is not the name of an argument", _EXAMPLES)
    if dtype not in DTYPES:
        close = nearest(dtype, DTYPES)
        meant = f"did you mean {close}? " if close else ""
        raise ResnetCliError(f"{wrong}: unknown dtype {match['dtype']}", f"{meant}use one of {', '.join(DTYPES)}")
    sizes = [size.strip() for size in match["sizes"].split(",")] if match["sizes"].strip() else []
    for size in sizes:
        if re.fullmatch(r"0*[1-9]\d{0,14}", size, re.ASCII) is None:
            raise ResnetCliError(
                f"{wrong}: {size!r} is not a valid size", "use whole numbers from 1, such as [1,3,224,224]"
            )
    shape = tuple(map(int, sizes))
    if prod(shape) > MAX_VALUES:
        raise ResnetCliError(f"{wrong} has over 2**48 values", "make one of its sizes smaller")
    return name, TensorSpec(shape, None if dtype == _OWN else dtype, _below(wrong, dtype, match["below"]))


def _below(wrong: str, dtype: str, text: str | None) -> int | None:
    if text is None:
        return None
    if dtype not in _INTEGERS:
        raise ResnetCliError(f"{wrong}: only integers have an upper limit", "leave the < out")
    if re.fullmatch(r"0*[1-9]\d{0,18}", text, re.ASCII) is None or int(text) > _INTEGERS[dtype] + 1:
        raise ResnetCliError(
            f"{wrong}: {text!r} is not a valid limit",
            f"use a whole number from 1 to {_INTEGERS[dtype] + 1}: values are 0 … limit - 1",
        )
    return int(text)


def parse_arguments(texts: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a forward, from a description of each of their tensors.

    A name with dots describes a part: `batch.image=…` and `batch.mask=…` are the items of a dictionary `batch`, and
    `images.0=…`, `images.1=…` those of a list `images`.

    Raises:
        ResnetCliError: one is not valid, or two have the same name.
    """
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for text in texts:
        name, tensor = parse_tensor(text)
        if not name:
            positional.append(tensor)
        elif not _inserted(named, name.split("."), tensor):
            raise ResnetCliError(f"`inputs={text}`: {name} is described twice", "describe each tensor once")
    if any(name.isdecimal() for name in named):
        number = next(name for name in named if name.isdecimal())
        raise ResnetCliError(f"{number!r} is not the name of an argument", "leave the name out: order decides")
    return tuple(positional), {name: _with_lists(value) for name, value in named.items()}


def _inserted(tree: dict[str, Any], path: Sequence[str], tensor: TensorSpec) -> bool:
    inside: Any = tree
    for part in path[:-1]:
        inside = inside.setdefault(part, {}) if isinstance(inside, dict) else None
    if not isinstance(inside, dict) or path[-1] in inside:
        return False
    inside[path[-1]] = tensor
    return True


def _with_lists(value: Any) -> Any:
    """The same with a list for each dictionary whose keys are 0, 1, 2 …"""
    if not isinstance(value, dict):
        return value
    items = {key: _with_lists(item) for key, item in value.items()}
    numbers = [str(index) for index in range(len(items))]
    return [items[number] for number in numbers] if items.keys() == set(numbers) else items
