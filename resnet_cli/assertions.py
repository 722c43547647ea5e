"""Assertions about the values of a result, such as `macs<=4.2G`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import parse
from resnet_cli.results.common import Assertion, first_about
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult
from resnet_cli.suggest import nearest

Comparison = Callable[[float, float], bool]
Result = TypeVar("Result", SummaryResult, FlopsResult)

_COMPARISONS: Mapping[str, Comparison] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

# The fields of a result, or of its memory, that add up to each quantity; memory is all of it (weights, input,
# activations, …).
_SUMMARY: Mapping[str, tuple[str, ...]] = {
    "parameters": ("parameters",),
    "trainable-parameters": ("trainable_parameters",),
    "buffers": ("buffers",),
    "macs": ("macs",),
    "flops": ("flops",),
    "ops": ("ops",),
    "weight-memory": ("parameter_bytes", "buffer_bytes"),
    "inference-memory": ("inference_bytes",),
    "inference-peak": ("inference_peak_bytes",),
    "training-memory": ("training_bytes",),
    "training-peak": ("training_peak_bytes",),
    "saved-for-backward": ("saved_for_backward_bytes",),
}
_FLOPS: Mapping[str, tuple[str, ...]] = {
    "macs": ("macs",),
    "flops": ("flops",),
    "ops": ("ops",),
    "backward-macs": ("backward_macs",),
    "backward-flops": ("backward_flops",),
}


@dataclass(frozen=True, slots=True)
class ParsedAssertion:
    """An assertion as it was written: quantity, comparison, limit."""

    quantity: str
    operator: str
    limit: float


def quantities(command: str) -> tuple[str, ...]:
    """The quantities that an assertion of a command ("summary" or "flops") can be about."""
    return tuple(_SUMMARY if command == "summary" else _FLOPS)


def parse_assertions(texts: Sequence[str], command: str) -> tuple[ParsedAssertion, ...]:
    """Assertions from their text.

    Raises:
        ResnetCliError: one is not valid, or about an unknown quantity.
    """
    return tuple(_parse(text, quantities(command)) for text in texts)


def _parse(text: str, known: tuple[str, ...]) -> ParsedAssertion:
    match = re.fullmatch(r"\s*([A-Za-z][A-Za-z_-]*)\s*(<=|>=|==|<|>)\s*(\S.*?)\s*", text)
    if match is None:
        raise ResnetCliError(
            f"{text!r} is not a valid assertion", "write a quantity, <=, <, >=, > or ==, and a number: macs<=4.2G"
        )
    quantity = match[1].lower().replace("_", "-")
    if quantity not in known:
        near = nearest(quantity, known)
        hint = f"did you mean {near}? " if near else ""
        raise ResnetCliError(f"assertion: unknown quantity {match[1]!r}", f"{hint}use one of {', '.join(known)}")
    try:
        limit = parse(match[3])
    except ValueError as error:
        raise ResnetCliError(f"assertion {text!r}: {error}", "write it as 4200000000, 4.2e9 or 4.2G") from error
    return ParsedAssertion(quantity, match[2], limit)


def evaluate(result: Result, assertions: Sequence[ParsedAssertion]) -> Result:
    """The result with its assertions; one about a value that is not known does not hold, and has the reason.

    A lower bound decides an assertion that it breaks, or that asks for no more than it. What is not known, and what is
    a lower bound, the notes of the result say.
    """
    return replace(result, assertions=tuple(_evaluate(result, each) for each in assertions))


def _evaluate(result: SummaryResult | FlopsResult, each: ParsedAssertion) -> Assertion:
    figures = (_SUMMARY if isinstance(result, SummaryResult) else _FLOPS)[each.quantity]
    parts = [_field(result, name) for name in figures]
    value = None if None in parts else sum(part for part in parts if part is not None)
    unknown = first_about(result.notes, "unknown", *figures)
    if value is None or unknown is not None:
        reason = unknown.text if unknown is not None else f"{each.quantity} was not measured; set `backward`"
        return Assertion(each.quantity, each.operator, each.limit, None, holds=False, reason=reason)
    holds = _COMPARISONS[each.operator](value, each.limit)
    bound = first_about(result.notes, "lower_bounds", *figures)
    if bound is None or (holds if each.operator in (">", ">=") else value > each.limit):
        return Assertion(each.quantity, each.operator, each.limit, value, holds)
    reason = f"{each.quantity} is at least {value:,.0f} ({bound.text})"
    return Assertion(each.quantity, each.operator, each.limit, value, holds=False, reason=reason)


def _field(result: SummaryResult | FlopsResult, name: str) -> float | None:
    """A field of a result or of its memory."""
    holder = result.memory if isinstance(result, SummaryResult) and not hasattr(result, name) else result
    value: float | None = getattr(holder, name)
    return value
