"""What changed from one network to another, in the few lines that a reviewer reads first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields

from resnet_cli.results.compare import AlignedOp, Change, CompareResult, ComparisonResult
from resnet_cli.results.summary import SummaryResult

_MOST = 3  # kinds of differences that are listed
_SAME = "nothing"


def with_changes(result: CompareResult, reference: SummaryResult, model: SummaryResult) -> ComparisonResult:
    """A comparison with its changes.

    Args:
        result: the comparison.
        reference: the summary of its reference.
        model: the summary of the network under test, with inputs of the same shapes.
    """
    values = {field.name: getattr(result, field.name) for field in fields(CompareResult)}
    return ComparisonResult(**values, changes=changes(result, reference, model))


def changes(result: CompareResult, reference: SummaryResult, model: SummaryResult) -> tuple[Change, ...]:
    """The structure, the costs, and how far both networks compute the same."""
    costs = (
        ("parameters", "parameters", "parameters", reference.parameters, model.parameters),
        ("macs", "MACs", "MACs", reference.macs, model.macs),
        (
            "inference_peak",
            "activations",
            "bytes",
            reference.memory.inference_peak_bytes,
            model.memory.inference_peak_bytes,
        ),
        (
            "training_peak",
            "training step",
            "bytes",
            reference.memory.training_peak_bytes,
            model.memory.training_peak_bytes,
        ),
    )
    return (
        Change("structure", "structure", "", None, None, _structure(result)),
        *(Change(key, title, unit, before, after, "") for key, title, unit, before, after in costs),
        Change("numbers", "numbers", "", None, None, _numbers(result.aligned_ops)),
    )


def _structure(result: CompareResult) -> str:
    """The causes that have a name, else the most frequent kinds of differences."""
    if result.diagnoses:
        texts = [diagnosis.text for diagnosis in result.diagnoses]
    else:
        kinds = Counter(
            f"{difference.subject} {difference.category}"
            for difference in result.differences
            if difference.check == "settings"
        )
        texts = [f"{count} × {kind}" for kind, count in kinds.most_common()]
    more = f"; {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return ("; ".join(texts[:_MOST]) or _SAME) + more


def _numbers(operators: Sequence[AlignedOp]) -> str:
    """How many operators from the first on give the same bits in both networks."""
    equal = 0
    for row in operators:
        if row.status != "equal" or row.cumulative is None or row.cumulative > 0:
            break
        equal += 1
    if not operators or operators[0].cumulative is None:
        return "not compared"
    if equal == len(operators):
        return f"all {equal} operators are bitwise the same"
    place = operators[equal].model_path or operators[equal].reference_path or "the network itself"
    return f"the {equal} operators before {place} are bitwise the same" if equal else f"not the same from {place} on"
