"""What one operator call costs, and the terms in which the conventions of all tools are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

TERMS: Mapping[str, str] = {
    "C": "multiply-accumulates of convolutions",
    "L": "multiply-accumulates of linear layers and matrix products",
    "b": "bias additions of linear layers",
    "k": "bias additions of convolutions",
    "B": "elements through batch norm",
    "P": "weights and biases of norms, once per image",
    "R": "elements through ReLU",
    "A": "elements of residual additions",
    "M": "elements into max-pooling",
    "m": "elements out of max-pooling",
    "G": "elements into adaptive average pooling of images",
    "g": "elements out of adaptive average pooling of images",
    "V": "elements into other average pooling",
    "v": "elements out of other average pooling",
    "N": "elements through layer and group norms",
    "U": "elements out of bilinear interpolation",
    "u": "elements out of nearest-neighbor upsampling of images",
    "E": "other operations: elementwise, sums, softmax",
}


@dataclass(frozen=True, slots=True)
class OpCost:
    """Cost of one operator call.

    Attributes:
        macs: multiply-accumulates of convolutions and matrix products.
        operations: all arithmetic operations.
        term: symbol of its main term, None where no term fits.
        terms: the amount of each term, by symbol.
        counted: False for an operator without a rule.
        macs_counted: False for an operator without a rule that may multiply matrices.
    """

    macs: int = 0
    operations: int = 0
    term: str | None = None
    terms: Mapping[str, int] = field(default_factory=dict)
    counted: bool = True
    macs_counted: bool = True


# (arguments of an operator, what it returns) -> its cost
Rule = Callable[[Sequence[Any], Any], OpCost]

FREE = OpCost()
WITHOUT_RULE = OpCost(counted=False)
MAY_MULTIPLY = OpCost(counted=False, macs_counted=False)


def product(macs: int, additions: int = 0) -> OpCost:
    """Cost of a matrix product, and of the additions of its bias."""
    return OpCost(macs, 2 * macs + additions, "L", {"L": macs, "b": additions} if additions else {"L": macs})


def other(operations: int) -> OpCost:
    """Cost of arithmetic that is no product."""
    return OpCost(0, operations, "E", {"E": operations})


def first_tensor(out: Any) -> Tensor:
    """The main result of an operator."""
    result: Tensor = out[0] if isinstance(out, (tuple, list)) else out
    return result


def rule_of(names: str, rule: Rule, namespace: str = "aten") -> dict[str, Rule]:
    """One rule for several operators, by qualified name; `names` are separated by blanks."""
    return dict.fromkeys((f"{namespace}::{name}" for name in names.split()), rule)
