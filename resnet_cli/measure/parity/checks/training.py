"""One training step of both networks, as four checks: output, running statistics, gradients, parameters after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.measure.parity import train_step
from resnet_cli.measure.parity.checks import CheckOutcome
from resnet_cli.measure.parity.checks.static import not_comparable
from resnet_cli.measure.parity.graphs import graph_of
from resnet_cli.measure.parity.placement import device_for
from resnet_cli.measure.parity.setup import ParityRun
from resnet_cli.measure.parity.tensor_error import error_verdict, relative_error
from resnet_cli.measure.parity.train_step import (
    FLOAT32_TOLERANCE,
    FLOAT64_TOLERANCE,
    NO_GRADIENT,
    TensorError,
    Trained,
)
from resnet_cli.results.common import Shape
from resnet_cli.results.compare import BITWISE, DIFFERENT, NOT_COMPARABLE, ROUNDING, SKIPPED, Difference


@dataclass(slots=True)
class TrainingStep:
    """The training step that the four checks share."""

    limit: float  # relative errors up to here are rounding
    shape: Shape | None = None  # of the images; None where the step could not be made, and nothing below is known
    failure: str = ""  # why not
    is_difference: bool = False  # the reason is one network's alone
    incomparable: str | None = None  # why differences say nothing about the model
    output_error: float = math.inf
    has_casts: bool = False  # casts to float32 in the model were made casts to float64
    statistics: Sequence[TensorError] = ()
    gradients: Sequence[TensorError] = ()
    parameters: Sequence[TensorError] = ()  # after the step
    biased_variances: frozenset[str] = frozenset()

    @property
    def accuses(self) -> bool:
        """Whether a tensor that differs is a difference of its own, not a consequence of different outputs."""
        return self.output_error <= self.limit and self.incomparable is None


def train_mode(run: ParityRun) -> CheckOutcome:
    """Outputs in train mode."""
    step = _shared_step(run)
    if step.shape is None:
        if step.is_difference:
            _add_difference(run, "random path" if run.random_paths else "step", step.failure)
        return CheckOutcome(DIFFERENT if step.is_difference else SKIPPED, step.failure)
    verdict = error_verdict(step.output_error, step.limit)
    if verdict == DIFFERENT and step.incomparable is None and not run.findings:
        _add_difference(run, "output", "the forward differs in train mode only")
    words = {BITWISE: "is bitwise equal", ROUNDING: "differs by rounding", DIFFERENT: "differs"}
    text = f"float64 output {words[verdict]}"
    text += " (the model's casts to float32 made casts to float64)" if step.has_casts else ""
    return _outcome(step, verdict, step.output_error, text)


def _add_difference(run: ParityRun, subject: str, text: str) -> None:
    run.findings.append(Difference("train", "train", subject, None, None, None, None, text))


def statistics(run: ParityRun) -> CheckOutcome:
    """Running statistics and batch counters after the forward in train mode."""
    step = _shared_step(run)
    if step.shape is not None and not step.statistics and next(run.reference.buffers(), None) is not None:
        return CheckOutcome(SKIPPED, "no buffer of the model has a counterpart")
    outcome = _tensors(run, step, "statistics", step.statistics, "buffers after the step")
    run.biased_variances = step.biased_variances
    return outcome


def gradients(run: ParityRun) -> CheckOutcome:
    """Gradients of every parameter and of the image."""
    step = _shared_step(run)
    return _tensors(run, step, "gradients", step.gradients, "float64 gradients")


def step(run: ParityRun) -> CheckOutcome:
    """Parameters after a step of SGD with momentum and weight decay."""
    shared = _shared_step(run)
    return _tensors(run, shared, "step", shared.parameters, "parameters after the step")


def _tensors(run: ParityRun, step: TrainingStep, key: str, errors: Sequence[TensorError], noun: str) -> CheckOutcome:
    if step.shape is None:
        return CheckOutcome(SKIPPED, step.failure)
    if not errors and step.incomparable is not None:
        return CheckOutcome(NOT_COMPARABLE, step.incomparable)
    worst = max((tensor.error for tensor in errors), default=0.0)
    equal = sum(tensor.error == 0 for tensor in errors)
    different = [tensor for tensor in errors if tensor.error > step.limit]
    if equal == len(errors):
        text = f"all {len(errors)} {noun} are bitwise equal"
    elif not different:
        text = f"{len(errors)} {noun}: {equal} bitwise equal, the others differ by rounding"
    else:
        text = f"{len(different)} of {len(errors)} {noun} differ"
    if step.accuses:
        _add_differences(run, key, different)
    return _outcome(step, error_verdict(worst, step.limit), worst, text)


def _outcome(step: TrainingStep, verdict: str, error: float, text: str) -> CheckOutcome:
    if verdict == DIFFERENT and step.incomparable is not None:
        return CheckOutcome(NOT_COMPARABLE, step.incomparable, error, step.limit)
    return CheckOutcome(verdict, text, error, step.limit if error else None)


def _add_differences(run: ParityRun, key: str, errors: Sequence[TensorError]) -> None:
    """A difference for each tensor that no other difference explains."""
    explained = {difference.model_path for difference in run.findings if difference.category in ("frozen", "value")}
    owners = {
        difference.model_path
        for difference in run.findings
        if difference.category == "setting"
        and difference.subject in ("batch_norm.momentum", "batch_norm.track_running_stats")
    }
    if key == "step":
        explained |= {difference.model_path for difference in run.findings if difference.category == "gradients"}
    verbs = {
        "statistics": "its running statistics differ",
        "gradients": "its gradient differs",
        "step": "its value after the step differs",
    }
    for tensor in errors:
        owner, _, subject = tensor.model.rpartition(".")
        if tensor.model in explained or owner in owners:
            continue
        values = tensor.values
        size = f"relative error {tensor.error:.1e}" if math.isfinite(tensor.error) else "in one network only"
        text = f"{tensor.model}: {verbs[key]} although the outputs agree ({size})"
        if NO_GRADIENT in values:
            text = f"{tensor.model} gets {values[0]}, in {run.config.reference} {values[1]}"
        run.findings.append(Difference(key, key, subject, tensor.model, tensor.reference, *values, text))


def _shared_step(run: ParityRun) -> TrainingStep:
    if run.training_step is None:
        run.training_step = _train(run)
    return run.training_step


def _train(run: ParityRun) -> TrainingStep:
    """The training step with images of the first size that both networks take."""
    limit = FLOAT64_TOLERANCE if run.config.rtol is None else run.config.rtol
    step = TrainingStep(limit)
    if run.random_paths:
        step.failure = f"{' and '.join(run.random_paths)} draws its path at random in train mode"
        step.is_difference = len(run.random_paths) == 1
        return step
    for shape in dict.fromkeys(run.config.training_shapes):
        try:
            return _compared(run, random_init.image(shape, run.config.seed + 2))
        except _ReferenceFailedError as error:
            step.failure = step.failure or f"{run.config.reference}'s network cannot be trained on such images: {error}"
        except ResnetCliError as error:
            step.failure, step.is_difference = error.message, True
    return step


class _ReferenceFailedError(Exception):
    """The reference cannot be trained on such images; the text says why."""


def _compared(run: ParityRun, images: Tensor) -> TrainingStep:
    """The training step with some images, (N, C, H, W).

    Raises:
        ResnetCliError: the model cannot be trained on them.
        _ReferenceFailedError: the reference cannot.
    """
    limit = FLOAT64_TOLERANCE if run.config.rtol is None else run.config.rtol
    model, reference, gradients = _train_both(run, images)
    output_error = _output_error(model, reference)
    is_small = limit < output_error <= FLOAT32_TOLERANCE and not model.has_casts
    if is_small and train_step.computes_in_float32(run.model, images, _device(run)):
        model, reference, gradients = _train_both(run, images, keep_float64=True)
        output_error = _output_error(model, reference)
    statistics = train_step.buffer_errors(model, reference, run.pairs)
    suspects = [tensor for tensor in statistics if tensor.error > limit] if output_error <= limit else []
    shape = tuple(images.shape)
    return TrainingStep(
        limit,
        shape,
        incomparable=not_comparable(run),
        output_error=output_error,
        has_casts=model.has_casts,
        statistics=statistics,
        gradients=gradients.gradients,
        parameters=gradients.parameters,
        biased_variances=_biased_variances(run, model, reference, suspects, shape) if suspects else frozenset(),
    )


def _train_both(
    run: ParityRun, images: Tensor, *, keep_float64: bool = False
) -> tuple[Trained, Trained, train_step.Gradients]:
    """The reference's step, then the model's, whose gradients are compared as they come."""
    seed, device = run.config.seed, _device(run)
    train_step.trim_malloc(run.reference)
    try:
        reference = train_step.run(run.reference, images, seed, device=device)
    except Exception as error:
        raise _ReferenceFailedError(" ".join(str(error).split())) from error
    train_step.trim_malloc(run.reference)
    gradients = train_step.Gradients(reference, run.reference, run.pairs, run.layouts)
    try:
        model = train_step.run(run.model, images, seed, gradients.arrived, keep_float64=keep_float64, device=device)
    except Exception as error:
        raise user_error(error, f"a training step with images of {dimensions(tuple(images.shape))}") from error
    gradients.finish(model, run.model)
    return model, reference, gradients


def _device(run: ParityRun) -> torch.device:
    return device_for(run.config.device, torch.float64)


def _output_error(model: Trained, reference: Trained) -> float:
    if len(model.outputs) != len(reference.outputs):
        return math.inf
    pairs = zip(model.outputs, reference.outputs, strict=True)
    return max((relative_error(a, b) if a.shape == b.shape else math.inf for a, b in pairs), default=0.0)


def _biased_variances(
    run: ParityRun, model: Trained, reference: Trained, suspects: Sequence[TensorError], shape: Shape
) -> frozenset[str]:
    """Names of running variances of the model that took the biased variance of the batch."""
    graph = graph_of(run.model, shape, training=True, name=run.model_name)
    values_per_channel = {
        leaf.name: math.prod(node.shape) // node.shape[1]
        for node in graph.nodes
        if node.operator == "batch_norm" and len(node.shape) > 1
        for role, leaf in node.leaves.items()
        if role == "running_var"
    }
    return frozenset(
        tensor.model
        for tensor in suspects
        if tensor.model in values_per_channel
        and train_step.is_biased_variance(
            model, reference, tensor.model, tensor.reference, values_per_channel[tensor.model]
        )
    )
