"""FLOP formulas that users write for operators without a rule: `mylib::fused(m k, k n) = 2*m*n*k`.

They are put where `torch.utils.flop_counter.register_flop_formula` puts those of Python code, so that torch's counter
knows them too.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.ops.cost import has_rule

_EXAMPLE = "write NAMESPACE::NAME(SIZES OF EACH TENSOR) = FLOPS, such as 'mylib::fused(m k, k n) = 2*m*n*k'"
_FORMULA = re.compile(r"\s*(\w+)::(\w+)\s*\(([^()]*)\)\s*=\s*(.+)", re.DOTALL)
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right if right else 0,
}


@dataclass(frozen=True, slots=True)
class UserFormula:
    """A formula as it was written.

    Attributes:
        namespace: of the operator.
        name: of the operator.
        sizes: names of the sizes of each tensor among the arguments, in order; "_" for one that does not matter.
        flops: an expression of these names.
    """

    namespace: str
    name: str
    sizes: tuple[tuple[str, ...], ...]
    flops: ast.expr

    def __call__(self, *args: Any, out_val: Any = None, **kwargs: Any) -> int:
        """FLOPs of one call of the operator, in the form that torch's counter asks for.

        Raises:
            ResnetCliError: the tensors have other numbers of axes, or one name has two sizes.
        """
        shapes = [tuple(each.shape) for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
        values: dict[str, int] = {}
        fits = len(shapes) >= len(self.sizes)
        for names, shape in zip(self.sizes, shapes, strict=False):
            fits = fits and len(names) == len(shape)
            for name, size in zip(names, shape, strict=False):
                fits = fits and (name == "_" or values.setdefault(name, size) == size)
        if not fits:
            written = ", ".join(" ".join(names) for names in self.sizes)
            raise ResnetCliError(
                f"`op_flops`: {self.namespace}::{self.name} is called with {', '.join(map(dimensions, shapes))}, "
                f"which ({written}) does not fit",
                "name each size of each tensor, and _ for those that do not matter",
            )
        return int(_value(self.flops, values))


def parse_formula(text: str) -> UserFormula:
    """A formula from its text.

    Raises:
        ResnetCliError: it is not valid.
    """
    match = _FORMULA.fullmatch(text)
    if match is None:
        raise ResnetCliError(f"`op_flops`: {text!r} is not a valid formula", _EXAMPLE)
    sizes = tuple(tuple(names.split()) for names in match[3].split(","))
    try:
        flops = ast.parse(match[4].strip(), mode="eval").body
        _value(flops, {name: 1 for names in sizes for name in names if name != "_"})
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ResnetCliError(f"`op_flops`: {text!r} is not a valid formula: {error}", _EXAMPLE) from error
    return UserFormula(match[1], match[2], sizes, flops)


def _value(node: ast.expr, sizes: Mapping[str, int]) -> float:
    """Value of an expression of sizes and numbers.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value  # type: ignore[return-value]
    if isinstance(node, ast.Name) and node.id in sizes:
        return sizes[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        result: float = _BINARY[type(node.op)](_value(node.left, sizes), _value(node.right, sizes))
        return result
    raise ValueError(f"{ast.unparse(node)} is neither a size, a number, nor +, -, * or / of them")


def register_formulas(texts: Sequence[str]) -> None:
    """Make formulas known to every count from here on.

    Raises:
        ResnetCliError: one is not valid, or its operator does not exist or has a rule already.
    """
    for formula in map(parse_formula, texts):
        name = f"{formula.namespace}::{formula.name}"
        packet = getattr(getattr(torch.ops, formula.namespace), formula.name, None)
        if packet is None:
            raise ResnetCliError(
                f"`op_flops`: there is no operator {name}",
                "the file of the network must register it when it is imported",
            )
        if has_rule(name):
            raise ResnetCliError(f"`op_flops`: {name} is counted already", "give formulas for other operators only")
        from torch.utils.flop_counter import flop_registry  # noqa: PLC0415  # it takes most of a second

        flop_registry[packet] = formula
