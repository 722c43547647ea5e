"""Assertions about the values of a result, such as `macs<=4.2G`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import parse
from resnet_cli.results.common import Assertion
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

# By the key of the value in JSON, without its unit; memory is all of it (weights, input, activations, …).
_SUMMARY: Mapping[str, Callable[[SummaryResult], float | None]] = {
    "parameters": lambda result: result.parameters,
    "trainable-parameters": lambda result: result.trainable_parameters,
    "buffers": lambda result: result.buffers,
    "macs": lambda result: result.macs,
    "flops": lambda result: result.flops,
    "ops": lambda result: result.ops,
    "weight-memory": lambda result: result.memory.parameter_bytes + result.memory.buffer_bytes,
    "inference-memory": lambda result: result.memory.inference_bytes,
    "inference-peak": lambda result: result.memory.inference_peak_bytes,
    "training-memory": lambda result: result.memory.training_bytes,
    "training-peak": lambda result: result.memory.training_peak_bytes,
    "saved-for-backward": lambda result: result.memory.saved_for_backward_bytes,
}
_FLOPS: Mapping[str, Callable[[FlopsResult], float | None]] = {
    "macs": lambda result: result.macs,
    "flops": lambda result: result.flops,
    "ops": lambda result: result.ops,
    "backward-macs": lambda result: result.backward_macs,
    "backward-flops": lambda result: result.backward_flops,
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

    A lower bound decides an assertion that it breaks, or that asks for no more than it.
    """
    return replace(result, assertions=tuple(_evaluate(result, each) for each in assertions))


def _evaluate(result: SummaryResult | FlopsResult, each: ParsedAssertion) -> Assertion:
    value = _SUMMARY[each.quantity](result) if isinstance(result, SummaryResult) else _FLOPS[each.quantity](result)
    holds = value is not None and _COMPARISONS[each.operator](value, each.limit)
    reason = None
    missing = _missing(result, each.quantity)
    if value is None:
        reason = _reason(result, each.quantity)
    elif missing and not (holds if each.operator in (">", ">=") else value > each.limit):
        holds = False
        reason = f"{each.quantity} is at least {value:,.0f}: {', '.join(missing)} is not counted"
    return Assertion(each.quantity, each.operator, each.limit, value, holds, reason)


def _missing(result: SummaryResult | FlopsResult, quantity: str) -> tuple[str, ...]:
    """Operators that a quantity should count, and that no rule counts."""
    if quantity.startswith("backward") and isinstance(result, FlopsResult):
        return result.backward_uncounted_macs
    return {"macs": result.uncounted_macs, "flops": result.uncounted_macs, "ops": result.uncounted}.get(quantity, ())


def _reason(result: SummaryResult | FlopsResult, quantity: str) -> str:
    """Why a value is not known."""
    if isinstance(result, FlopsResult):
        return f"{quantity} was not measured; set `backward`"
    return next((note.text for note in result.notes if "training" in (note.key or note.text)), "it was not measured")
