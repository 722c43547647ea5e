"""Budgets that a user sets on figures of a result, such as `macs<=4.2G`."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import parse, printable
from resnet_cli.results.common import Assertion
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult

Comparison = Callable[[float, float], bool]
Result = TypeVar("Result", SummaryResult, FlopsResult)

_COMPARISONS: Mapping[str, Comparison] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

_SUMMARY: Mapping[str, Callable[[SummaryResult], float | None]] = {
    "parameters": lambda result: result.parameters,
    "trainable": lambda result: result.trainable_parameters,
    "buffers": lambda result: result.buffers,
    "macs": lambda result: result.macs,
    "flops": lambda result: result.flops,
    "operations": lambda result: result.ops,
    "weight-memory": lambda result: result.memory.parameter_bytes + result.memory.buffer_bytes,
    "inference-memory": lambda result: result.memory.inference_peak_bytes,
    "saved-memory": lambda result: result.memory.saved_for_backward_bytes,
    "training-memory": lambda result: result.memory.training_peak_bytes,
}
_FLOPS: Mapping[str, Callable[[FlopsResult], float | None]] = {
    "macs": lambda result: result.macs,
    "flops": lambda result: result.flops,
    "operations": lambda result: result.ops,
    "backward-macs": lambda result: result.backward_macs,
    "backward-flops": lambda result: result.backward_flops,
}


@dataclass(frozen=True, slots=True)
class ParsedAssertion:
    """A budget as it was written: quantity, comparison, limit."""

    quantity: str
    operator: str
    limit: float


def quantities(command: str) -> tuple[str, ...]:
    """What can be budgeted in a command ("summary" or "flops")."""
    return tuple(_SUMMARY if command == "summary" else _FLOPS)


def parse_assertions(texts: Sequence[str], command: str) -> tuple[ParsedAssertion, ...]:
    """Budgets from the command line.

    Raises:
        ResnetCliError: one that is none, or of an unknown quantity.
    """
    return tuple(_parse(text, quantities(command)) for text in texts)


def _parse(text: str, known: tuple[str, ...]) -> ParsedAssertion:
    match = re.fullmatch(r"\s*([A-Za-z][A-Za-z_-]*)\s*(<=|>=|==|<|>)\s*(\S.*?)\s*", text)
    if match is None:
        raise ResnetCliError(
            f"--assert {printable(text)!r} is no budget",
            "write a quantity, <=, <, >=, > or ==, and a number: macs<=4.2G",
        )
    quantity = match[1].lower().replace("_", "-")
    if quantity not in known:
        near = difflib.get_close_matches(quantity, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ResnetCliError(f"--assert knows no quantity {match[1]!r}", f"{hint}use one of {', '.join(known)}")
    try:
        limit = parse(match[3])
    except ValueError as error:
        raise ResnetCliError(
            f"--assert {printable(text)!r}: {error}", "write it as 4200000000, 4.2e9 or 4.2G"
        ) from error
    return ParsedAssertion(quantity, match[2], limit)


def evaluate(result: Result, budgets: Sequence[ParsedAssertion]) -> Result:
    """The result with every budget's verdict.

    Raises:
        ResnetCliError: a budget is on a figure that this result does not have.
    """
    found = []
    for budget in budgets:
        if isinstance(result, SummaryResult):
            value = _SUMMARY[budget.quantity](result)
        else:
            value = _FLOPS[budget.quantity](result)
        if value is None:
            raise ResnetCliError(f"--assert {budget.quantity}: this result has no such figure", _reason(result, budget))
        holds = _COMPARISONS[budget.operator](value, budget.limit)
        found.append(Assertion(budget.quantity, budget.operator, budget.limit, value, holds))
    return replace(result, assertions=tuple(found))


def _reason(result: SummaryResult | FlopsResult, budget: ParsedAssertion) -> str | None:
    if budget.quantity.startswith("backward"):
        return "add --backward"
    return next((note.text for note in result.notes), None)
