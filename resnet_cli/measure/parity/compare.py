"""`compare-torchvision`: whether two networks are the same, check by check, and every place where they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from resnet_cli import signals
from resnet_cli.measure.models import torchvision_models
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity.checks import forward as forward_checks
from resnet_cli.measure.parity.checks import static, training
from resnet_cli.measure.parity.config import ParityConfig, ParityRun, prepare
from resnet_cli.measure.parity.diagnosis import diagnose
from resnet_cli.measure.system.environment import environment
from resnet_cli.measure.system.precision import full_precision
from resnet_cli.measure.system.silence import silenced
from resnet_cli.results.common import Note
from resnet_cli.results.compare import (
    BITWISE,
    CHECKS,
    DIFFERENT,
    NOT_COMPARABLE,
    ROUNDING,
    SKIPPED,
    ArchitectureResult,
    Check,
    CompareInputs,
    CompareResult,
    Difference,
    Mapping,
    Prediction,
)

_TITLES = {
    "parameters": "parameters and buffers",
    "settings": "settings and structure",
    "eval": "forward, eval mode",
    "shapes": "other sizes",
    **training.TITLES,
}


def compare(
    ours: ModelUnderTest,
    theirs: ModelUnderTest,
    question: ParityConfig = ParityConfig(),  # noqa: B008  # frozen
    *,
    expected: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> CompareResult:
    """Hold a network against a reference.

    Args:
        ours: left as it is; its tensors are real.
        theirs: the reference; its weights are drawn anew unless the question says that both sides have loaded them.
        question: what is asked.
        expected: keys of the findings that are intended (`finding_key`).
        progress: told what is going on.

    Raises:
        ResnetCliError: a forward fails, or no parameter of the one has a counterpart in the other.
        KeyboardInterrupt: before a check was made; later it ends the comparison with what there is.
    """
    with (
        silenced(),
        torch.random.fork_rng(devices=[]),
        full_precision(question.device),
    ):
        spread = static.spreads(ours.model) if question.weights is None else {}
        comparison = prepare(ours.model, theirs.model, question, names=(ours.name, theirs.name), progress=progress)
        static.initialisation(spread, comparison)
        forward, interrupted = _checked(comparison, progress)
    return _result(ours, theirs, comparison, forward, expected, interrupted=interrupted)


def _checked(comparison: ParityRun, progress: Callable[[str], None]) -> tuple[forward_checks.Forward | None, bool]:
    """Make the checks, one after the other; Ctrl-C ends it with those that are made, and True."""
    asked = comparison.question.checks
    forward = None
    try:
        if "parameters" in asked:
            static.parameters(comparison)
        if "settings" in asked:
            static.settings(comparison)
        if "eval" in asked:
            forward = forward_checks.evaluate(comparison, progress)
        training.train(comparison, progress)
        if "shapes" in asked:
            forward_checks.shapes(comparison, forward, progress)
    except KeyboardInterrupt:
        if not comparison.checks:
            raise
        signals.acknowledge()
        return forward, True
    return forward, False


def finding_key(finding: Difference) -> str:
    """What a finding is called on a list of intended changes: the same for the same change, another for any other."""
    place = finding.model_path if finding.model_path is not None else f"({finding.reference_path})"
    value = "" if finding.model_value is None else f" = {finding.model_value}"
    return f"{finding.category} {finding.subject} {place}{value}"


def _result(
    ours: ModelUnderTest,
    theirs: ModelUnderTest,
    comparison: ParityRun,
    forward: forward_checks.Forward | None,
    expected: Sequence[str] | None,
    *,
    interrupted: bool,
) -> CompareResult:
    question = comparison.question
    comparison.diagnoses += static.name_values(comparison)
    comparison.diagnoses[:0] = diagnose(comparison.structure, comparison.findings)
    made = {check.key: check for check in comparison.checks}
    why = {key: "interrupted before" if key in question.checks else "not asked for" for key in CHECKS}
    checks = tuple(made.get(key, Check(key, _TITLES[key], SKIPPED, None, None, why[key])) for key in CHECKS)
    wanted = set(expected or ())
    findings = tuple(replace(one, expected=finding_key(one) in wanted) for one in comparison.findings)
    worst = _worst(checks)
    intended = bool(findings) and all(one.expected for one in findings)
    notes = list(comparison.notes)
    if expected is not None:
        gone = sorted(wanted - {finding_key(one) for one in findings})
        notes += [Note("warning", f"expected, and not found: {key}") for key in gone]
    lost = comparison.unmapped
    return CompareResult(
        network=ours.description,
        reference=theirs.name,
        reference_version=torchvision_models.version(),
        verdict=worst,
        same=(worst in (BITWISE, ROUNDING) or intended) and not interrupted,
        checks=checks,
        diagnoses=tuple(comparison.diagnoses),
        differences=findings,
        aligned_ops=tuple(forward_checks.side_by_side(comparison, forward)),
        mapping=Mapping(
            source=question.map_source,
            pairs=tuple(comparison.pairs.items()),
            mapped_tensors=sum(name in comparison.pairs for name in comparison.used[0]),
            model_tensors=len(comparison.used[0]),
            reference_tensors=len(comparison.used[1]),
            unmatched_model=lost[0],
            unmatched_reference=lost[1],
            unused_model=comparison.unused,
        ),
        test_inputs=CompareInputs(
            seed=question.seed,
            weights="randomised" if question.weights is None else question.weights,
            shape=question.shape,
            training_shape=question.training_shape,
            other_shapes=question.other_shapes,
            noise_floor=None if forward is None else forward.floor,
        ),
        image=None,
        predictions=(),
        environment=environment(question.device),
        notes=tuple(notes),
        interrupted=interrupted,
    )


def _worst(checks: Sequence[Check]) -> str:
    found = {check.verdict for check in checks}
    for verdict in (DIFFERENT, NOT_COMPARABLE, ROUNDING, BITWISE):
        if verdict in found:
            return verdict
    return NOT_COMPARABLE


def predict(ours: nn.Module, theirs: nn.Module, path: str, name: str) -> tuple[Prediction, ...]:
    """The five most likely classes of a photograph by either network, with torchvision's own preprocessing.

    Raises:
        ResnetCliError: the image cannot be read.
    """
    image, labels = torchvision_models.prepared_image(path, name)
    with torch.no_grad():
        rows = [torch.softmax(model.eval()(image)[0].double(), 0).topk(5) for model in (ours, theirs)]

    def label(index: int) -> str:
        return labels[index] if index < len(labels) else str(index)

    (our_values, our_indices), (their_values, their_indices) = rows
    return tuple(
        Prediction(
            rank + 1,
            label(int(our_indices[rank])),
            float(our_values[rank]),
            label(int(their_indices[rank])),
            float(their_values[rank]),
        )
        for rank in range(len(our_values))
    )


def member(result: CompareResult, name: str, parameters: int) -> ArchitectureResult:
    """A comparison as one row of the family's."""
    first = result.diagnoses[0].text if result.diagnoses else result.differences[0].text if result.differences else None
    return ArchitectureResult(
        name=name,
        verdict=result.verdict,
        same=result.same,
        parameters=parameters,
        mapped=result.mapping.mapped_tensors,
        tensors=result.mapping.model_tensors,
        checks=result.checks,
        differences=len(result.differences),
        first_difference=first,
    )
