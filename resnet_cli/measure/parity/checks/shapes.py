"""Outputs in eval mode for images of other sizes, and for a single image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_cli.errors import attempt
from resnet_cli.measure.models import random_init
from resnet_cli.measure.parity.checks import CheckOutcome
from resnet_cli.measure.parity.checks.forward import NOISE, size_text
from resnet_cli.measure.parity.checks.static import not_comparable_in_eval
from resnet_cli.measure.parity.placement import placed
from resnet_cli.measure.parity.setup import ParityRun
from resnet_cli.measure.parity.tensor_error import error_verdict, relative_error
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.results.common import Note, Shape
from resnet_cli.results.compare import BITWISE, DIFFERENT, NOT_COMPARABLE, ROUNDING, SKIPPED, Difference


def other_shapes(run: ParityRun) -> CheckOutcome:
    """Outputs in eval mode for images of other sizes, and for a single image."""
    device = run.config.device
    with placed(run.model, device), placed(run.reference, device):
        return _other_shapes(run)


def _other_shapes(run: ParityRun) -> CheckOutcome:
    """With both networks on the device."""
    config, forward = run.config, run.forward
    errors: dict[Shape, float] = {}
    skipped: list[str] = []
    failures: list[str] = []
    for asked in config.other_shapes:
        shape, size = asked, _size_name(asked)
        expected, output = _outputs(run, shape)
        if isinstance(output, str) and _takes_square_images(run, shape):
            skipped.append(f"{size}: the model takes square images only")
            shape = (*shape[:3], shape[2])
            expected, output = _outputs(run, shape)
        if isinstance(expected, str):
            skipped.append(f"{size}: {run.config.reference} itself fails")
        elif isinstance(output, str):
            failures.append(f"{size}: the model fails ({output})")
        elif output.shape != expected.shape:
            shapes = size_text(tuple(output.shape)) or "()", size_text(tuple(expected.shape))
            failures.append(f"{size}: the output has shape {shapes[0]}, {run.config.reference}'s {shapes[1]}")
        else:
            errors[shape] = relative_error(output, expected)
    if not errors and not failures:
        return CheckOutcome(SKIPPED, "; ".join(skipped))
    worst = max(errors.values(), default=0.0)
    limit = None
    if worst or failures:
        floor = forward.floor if forward is not None and forward.floor is not None else 1e-6
        limit = NOISE * floor if config.rtol is None else config.rtol
    verdict = DIFFERENT if failures else error_verdict(worst, limit or 0.0)
    if verdict == ROUNDING and forward is not None and forward.verdict == DIFFERENT:
        verdict = DIFFERENT  # small, but float64 has shown that it is not rounding
    if verdict == DIFFERENT and (reason := not_comparable_in_eval(run)) is not None:
        return CheckOutcome(NOT_COMPARABLE, reason, worst if errors else None, limit)
    words = {BITWISE: "are bitwise equal", ROUNDING: "differ by rounding", DIFFERENT: "differ"}
    differing = [shape for shape, error in errors.items() if error_verdict(error, limit or 0.0) == DIFFERENT]
    *others, last = map(_size_name, (verdict == DIFFERENT and differing) or errors or [config.shape])
    sizes = f"{', '.join(others)} and {last}" if others else last
    text = "; ".join(skipped + failures) or f"outputs at {sizes} {words[verdict]}"
    if verdict == DIFFERENT and not run.findings:
        sentence = text if forward is None else f"the outputs differ only for other inputs: {text}"
        run.findings.append(Difference("shapes", "shape", "output", None, None, None, None, sentence))
    return CheckOutcome(verdict, text, worst if errors else None, limit)


def _takes_square_images(run: ParityRun, shape: Shape) -> bool:
    """Whether the model takes the square image of a height, where the comparison is one of square images."""
    if len(set(run.config.shape[2:])) > 1 or shape[2] == shape[3]:
        return False
    if isinstance(_outputs(run, (*shape[:3], shape[2]))[1], str):
        return False
    text = f"{run.model_name} takes square images only: with {_size_name(shape)} pixels its forward fails"
    run.notes.append(Note("warning", text, "square-images-only"))
    return True


def _size_name(shape: Shape) -> str:
    return "batch size 1" if shape[0] == 1 else f"{shape[2]} × {shape[3]}"


def _outputs(run: ParityRun, shape: Shape) -> tuple[Tensor | str, Tensor | str]:
    """What reference and model return for an image of a shape, or why they fail."""
    image = random_init.image(shape, run.config.seed + 1).to(run.config.device)
    return _output(run.reference, image), _output(run.model, image)


def _output(model: nn.Module, image: Tensor) -> Tensor | str:
    with attempt("a forward at another size") as forward, torch.no_grad():
        return tensors_in(model(image))[0]
    return " ".join(str(forward.error).split())[:120]
