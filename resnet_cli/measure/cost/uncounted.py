"""Operators without a rule, which make a total a lower bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from resnet_cli.measure.tracing.trace import OperatorCall
from resnet_cli.results.common import Note


def uncounted_ops(operators: Iterable[OperatorCall]) -> tuple[str, ...]:
    """Operators whose arithmetic is not counted, each once and in order: with any, `ops` is a lower bound."""
    return tuple(sorted({op.name for op in operators if not op.counted.counted}))


def uncounted_macs(operators: Iterable[OperatorCall]) -> tuple[str, ...]:
    """Those of them that may multiply matrices: with any, `macs` and `flops` are lower bounds."""
    return tuple(sorted({op.name for op in operators if not op.counted.macs_counted}))


def uncounted_notes(ops: Sequence[str], macs: Sequence[str], backward: Sequence[str] = ()) -> Iterator[Note]:
    """A warning for the totals that are lower bounds.

    Args:
        ops: operators whose arithmetic is not counted.
        macs: those of them that may multiply matrices.
        backward: the same of the backward pass.
    """
    if macs:
        text = f"MACs and FLOPs are lower bounds: no rule counts {', '.join(macs)}"
        yield Note("warning", text, "uncounted-macs", lower_bounds=("macs", "flops", "ops"))
    if backward:
        text = f"backward: MACs and FLOPs are lower bounds: no rule counts {', '.join(backward)}"
        figures = ("backward_macs", "backward_flops")
        yield Note("warning", text, "uncounted-backward-macs", lower_bounds=figures)
    others = [name for name in ops if name not in macs]
    if others:
        text = f"the count of all operations is a lower bound: the arithmetic of {', '.join(others)} is not counted"
        yield Note("warning", text, "uncounted-operators", lower_bounds=("ops",))
