"""Every optimization against plain eager, call by call in turn: speed-up, set-up time, difference of the logits.

Plain eager is torch as it comes: on a GPU its convolutions run in TF32, which its title says. The logits of all
variants, eager's own too, are compared with those of full float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from resnet_cli import errors
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.sampling import Limits, Progress
from resnet_cli.measure.bench.workloads.workload import INFERENCE, Workload
from resnet_cli.measure.models.copies import independent_copy
from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.attempt import FAILED, Attempt, result_rows, sample_attempts
from resnet_cli.measure.optimizations.logits import Logits, batches_to_compare, float32_logits, logits_of
from resnet_cli.measure.optimizations.recommendation import best_optimization, recommendation
from resnet_cli.measure.optimizations.registry import EAGER, OPTIMIZATIONS
from resnet_cli.measure.optimizations.variant import build_variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.results.bench import OptimizationsResult

# How far the logits of a variant that keeps the precision may be from those of full float32, relative to the largest
# logit: this, or where plain eager itself is further away a multiple of its own distance. TF32, in which GPUs convolve,
# moves an untrained ResNet-50's by 2.4%, ResNet-152's by 15.7%: deep untrained networks amplify rounding.
_MAX_LOGIT_DIFFERENCE = 0.02
_OF_EAGERS_OWN = 3


def _silent(text: str) -> None: ...


def compare_optimizations(
    work: Workload,
    batch_size: int,
    *,
    backend: DeviceBackend,
    limits: Limits,
    chosen: Sequence[str] = tuple(OPTIMIZATIONS),
    progress: Progress = _silent,
    duplicate: Callable[[nn.Module], nn.Module] = independent_copy,
) -> OptimizationsResult:
    """Build a variant of the network for each optimization, and time all of them interleaved.

    One that is unavailable or fails is a row with the reason. The best one is the fastest that keeps the precision of
    plain eager; a faster one in fewer bits is named in the recommendation, since the user has to judge its logits.
    Ctrl-C while samples are taken keeps them.

    Args:
        work: the network, for inference in float32; copies of it are changed.
        batch_size: of a call; without a batch axis it says nothing.
        backend: of the device.
        limits: when sampling ends; the time is that of all variants together, without their set-up.
        chosen: keys of `OPTIMIZATIONS`.
        progress: called with a line of text, never while a sample is taken.
        duplicate: makes the copy of it that an optimization changes.

    Raises:
        ResnetCliError: plain eager itself does not run.
        KeyboardInterrupt: before anything was measured.
    """
    attempts = [
        Attempt(row, backend)
        for row in (
            EAGER,
            *(row for key, row in OPTIMIZATIONS.items() if key in chosen and INFERENCE in row.modes),
        )
    ]
    with work.running():
        batches = batches_to_compare(work.inputs, batch_size, work.seed, backend.device)
        expected = float32_logits(work.model, batches, batch_size, backend)
        # A warm-up takes a quarter of its time limit, so all of them together take a quarter of the whole.
        share = replace(limits, max_time_s=limits.max_time_s / len(attempts))
        limit = math.inf  # plain eager is what the others are judged by
        for attempt in attempts:
            progress(f"optimizations: building {attempt.optimization.title}")
            _build(attempt, work, batch_size, batches, expected, limit, duplicate)
            if attempt.variant is not None:
                attempt.warm_up(share, progress)
            if attempt.optimization is EAGER and attempt.reason is not None:
                raise ResnetCliError(f"plain eager does not run: {attempt.reason}", "try a smaller batch size")
            if attempt.optimization is EAGER:
                limit = max(_MAX_LOGIT_DIFFERENCE, _OF_EAGERS_OWN * (attempt.logit_difference or 0.0))
        sampled = sample_attempts(attempts, backend, limits, progress)
    results = result_rows(attempts, sampled, backend.precision(torch.float32))
    if work.inputs.kwargs or len(work.inputs.args) != 1:
        results = tuple(replace(row, code=()) for row in results)  # the lines are for a model of one image
    keeping = {attempt.optimization.key for attempt in attempts if attempt.optimization.keeps_precision}
    best = best_optimization(results, keeping, limits.ci_width)
    images = 0 if work.fresh else len(expected.values)
    return OptimizationsResult(
        batch_size=batch_size,
        rows=results,
        best=None if best is None else best.key,
        recommendation=recommendation(results, best, keeping, images, limits.ci_width),
        stopped=sampled.stopped,
    )


def _build(
    attempt: Attempt,
    work: Workload,
    batch_size: int,
    batches: Sequence[Arguments],
    expected: Logits,
    limit: float,
    duplicate: Callable[[nn.Module], nn.Module],
) -> None:
    """Build the variant, and compare its logits; it fails where it keeps the precision and exceeds the limit."""
    with errors.attempt(f"optimization {attempt.optimization.key}") as building:
        inputs = work.input(batch_size)
        built = build_variant(attempt.optimization, work.model, inputs, attempt.backend, duplicate)
        logits = logits_of(built.variant, batches, batch_size)
        attempt.variant, attempt.setup_s, attempt.reason = built.variant, built.setup_s, built.variant.remark
        _compare(attempt, logits, expected, limit)
    if building.error is not None:
        attempt.fail(building.error)


def _compare(attempt: Attempt, logits: Logits, expected: Logits, limit: float) -> None:
    values, right = logits.values, expected.values
    if values.shape != right.shape or not bool(values.isfinite().all()):
        problem = "logits of another shape" if values.shape != right.shape else "NaN or infinity in the logits"
        attempt.status, attempt.reason, attempt.variant = FAILED, problem, None
        return
    scale = float(right.abs().max())
    difference = float((values - right).abs().max())
    attempt.logit_difference = difference / scale if scale else difference
    if expected.of_classes:
        attempt.top1_agreement = float((values.argmax(1) == right.argmax(1)).double().mean())
    if attempt.optimization.keeps_precision and attempt.logit_difference > limit:
        attempt.status, attempt.variant = FAILED, None
        attempt.reason = f"changes the logits by {100 * attempt.logit_difference:.2g}%, more than rounding does"
