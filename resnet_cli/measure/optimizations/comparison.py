"""Every optimization against plain eager, call by call in turn: speed-up, set-up time, difference of the logits.

Plain eager is torch as it comes: on a GPU its convolutions run in TF32, which its title says. The logits of all
variants, eager's own too, are compared with those of full float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resnet_cli import errors
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.sampling import Call, Limits, Progress, Sampled, sample, warm_up
from resnet_cli.measure.bench.stats.estimators import describe
from resnet_cli.measure.bench.stats.ratios import paired_ratio
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.measure.models.copies import independent_copy
from resnet_cli.measure.models.inputs.model_inputs import Arguments, ModelInputs
from resnet_cli.measure.models.inputs.specs import TensorSpec
from resnet_cli.measure.optimizations.recommendation import best_optimization, recommendation
from resnet_cli.measure.optimizations.registry import EAGER, OPTIMIZATIONS, Optimization
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant, build_variant, in_one_line
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.precision import in_precision
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.results.bench import Distribution, OptimizationResult, OptimizationsResult

MEASURED, UNAVAILABLE, FAILED = "measured", "unavailable", "failed"

_MIN_IMAGES = 8  # that the logits are compared on
# How far the logits of a variant that keeps the precision may be from those of full float32, relative to the largest
# logit: this, or where plain eager itself is further away a multiple of its own distance. TF32, in which GPUs convolve,
# moves an untrained ResNet-50's by 2.4%, ResNet-152's by 15.7%: deep untrained networks amplify rounding.
_MAX_LOGIT_DIFFERENCE = 0.02
_OF_EAGERS_OWN = 3


def _silent(text: str) -> None: ...


def compare_optimizations(
    model: nn.Module,
    *,
    inputs: ModelInputs,
    batch_size: int,
    backend: DeviceBackend,
    seed: int,
    limits: Limits,
    chosen: Sequence[str] = tuple(OPTIMIZATIONS),
    progress: Progress = _silent,
    fresh: bool = True,
    duplicate: Callable[[nn.Module], nn.Module] = independent_copy,
) -> OptimizationsResult:
    """Build a variant of the network for each optimization, and time all of them interleaved.

    One that is unavailable or fails is a row with the reason. The best one is the fastest that keeps the precision of
    plain eager; a faster one in fewer bits is named in the recommendation, since the user has to judge its logits.
    Ctrl-C while samples are taken keeps them.

    Args:
        model: with weights, in float32; it is moved to the device.
        inputs: of a forward, at any batch size.
        batch_size: of a call; without a batch axis it says nothing.
        backend: of the device.
        seed: of the images.
        limits: when sampling ends; the time is that of all variants together, without their set-up.
        chosen: keys of `OPTIMIZATIONS`.
        progress: called with a line of text, never while a sample is taken.
        fresh: the model is untrained, so that its norms need statistics first.
        duplicate: makes the copy of it that an optimization changes.

    Raises:
        ResnetCliError: plain eager itself does not run.
        KeyboardInterrupt: before anything was measured.
    """
    work = Workload(model, inputs=inputs, device=backend.device, dtype=torch.float32, seed=seed, fresh=fresh)
    attempts = [
        _Attempt(row, backend, duplicate)
        for row in (EAGER, *(OPTIMIZATIONS[key] for key in OPTIMIZATIONS if key in chosen))
    ]
    with work.running():
        batches = _batches(work.inputs, batch_size, seed, backend.device)
        expected = _float32_logits(work.model, batches, batch_size, backend)
        # A warm-up takes a quarter of its time limit, so all of them together take a quarter of the whole.
        share = replace(limits, max_time_s=limits.max_time_s / len(attempts))
        limit = math.inf  # plain eager is what the others are judged by
        for attempt in attempts:
            progress(f"optimizations: building {attempt.optimization.title}")
            attempt.build(work, batch_size, batches, expected, limit)
            if attempt.variant is not None:
                attempt.warm_up(share, progress)
            if attempt.optimization is EAGER and attempt.reason is not None:
                raise ResnetCliError(f"plain eager does not run: {attempt.reason}", "try a smaller batch size")
            if attempt.optimization is EAGER:
                limit = max(_MAX_LOGIT_DIFFERENCE, _OF_EAGERS_OWN * (attempt.logit_difference or 0.0))
        sampled = _sample(attempts, backend, limits, progress)
    results = _rows(attempts, sampled, backend.precision(torch.float32))
    if work.inputs.kwargs or len(work.inputs.args) != 1:
        results = tuple(replace(row, code=()) for row in results)  # the lines are for a model of one image
    keeping = {attempt.optimization.key for attempt in attempts if attempt.optimization.keeps_precision}
    best = best_optimization(results, keeping, limits.ci_width)
    return OptimizationsResult(
        batch_size=batch_size,
        rows=results,
        best=None if best is None else best.key,
        recommendation=recommendation(results, best, keeping, 0 if fresh else len(expected.values), limits.ci_width),
        stopped=sampled.stopped,
    )


@dataclass(slots=True)
class _Attempt:
    """An optimization and its state so far."""

    optimization: Optimization
    backend: DeviceBackend
    duplicate: Callable[[nn.Module], nn.Module]
    status: str = MEASURED
    reason: str | None = None
    variant: Variant | None = None  # None: unavailable or failed
    setup_s: float | None = None
    logit_difference: float | None = None
    top1_agreement: float | None = None

    def build(
        self, work: Workload, batch_size: int, batches: Sequence[Arguments], expected: _Logits, limit: float
    ) -> None:
        """Build the variant, and compare its logits; it fails where it keeps the precision and exceeds the limit."""
        with errors.attempt(f"optimization {self.optimization.key}") as building:
            inputs = work.input(batch_size)
            built = build_variant(self.optimization, work.model, inputs, self.backend, self.duplicate)
            logits = _logits(built.variant, batches, batch_size)
            self.variant, self.setup_s, self.reason = built.variant, built.setup_s, built.variant.remark
            self._compare(logits, expected, limit)
        if building.error is not None:
            self.fail(building.error)

    def _compare(self, logits: _Logits, expected: _Logits, limit: float) -> None:
        values, right = logits.values, expected.values
        if values.shape != right.shape or not bool(values.isfinite().all()):
            problem = "logits of another shape" if values.shape != right.shape else "NaN or infinity in the logits"
            self.status, self.reason, self.variant = FAILED, problem, None
            return
        scale = float(right.abs().max())
        difference = float((values - right).abs().max())
        self.logit_difference = difference / scale if scale else difference
        if expected.of_classes:
            self.top1_agreement = float((values.argmax(1) == right.argmax(1)).double().mean())
        if self.optimization.keeps_precision and self.logit_difference > limit:
            self.status, self.variant = FAILED, None
            self.reason = f"changes the logits by {100 * self.logit_difference:.2g}%, more than rounding does"

    def warm_up(self, limits: Limits, progress: Progress) -> None:
        """Call it until its times have settled."""
        assert self.variant is not None
        with errors.attempt(f"optimization {self.optimization.key}") as warming, self.variant.context():
            name = f"optimizations: {self.optimization.title}: "
            warm_up(self.backend, self.variant.call, limits, progress, name)
        if warming.error is not None:
            self.fail(warming.error)

    def fail(self, error: Exception) -> None:
        """It does not run; its memory is released."""
        self.status = UNAVAILABLE if isinstance(error, UnavailableError) else FAILED
        self.reason, self.variant = in_one_line(error), None
        self.backend.empty_cache()


def _batches(inputs: ModelInputs, batch_size: int, seed: int, device: torch.device) -> list[Arguments]:
    """Inputs to compare the logits on, in batches of the only size that compiled and captured variants take."""
    # Not the timed ones: a CUDA graph that did not read its input would give the right logits for those. Of values
    # that the user gave there are no others.
    is_drawn = any(isinstance(leaf, TensorSpec) for leaf in inputs.tensors.values())
    count = math.ceil(_MIN_IMAGES / batch_size) if is_drawn else 1
    sized = inputs.at_batch(batch_size)
    return [sized.random(seed + 2 + number, torch.float32, device) for number in range(count)]


class _Logits(NamedTuple):
    """Outputs on the CPU in float32: a row for each image, or for each batch where there is no batch axis.

    Args:
        values: (rows, values); several outputs are concatenated.
        of_classes: there is one output, a value for each class.
    """

    values: Tensor
    of_classes: bool


def _float32_logits(model: nn.Module, batches: Sequence[Arguments], batch_size: int, backend: DeviceBackend) -> _Logits:
    """Of plain eager with all 24 bits of float32."""
    try:
        with in_precision(backend.fp32_settings()):
            return _logits(Variant(model, batches[0]), batches, batch_size)
    except Exception as error:
        raise ResnetCliError(f"plain eager does not run: {in_one_line(error)}", "try a smaller batch size") from error


def _logits(variant: Variant, batches: Sequence[Arguments], batch_size: int) -> _Logits:
    """Of all images."""
    rows, of_classes = [], True
    for batch in batches:
        with variant.context():
            outputs = tensors_in(_as_made_for(variant, batch).call(variant.run))
        if not outputs:
            raise ResnetCliError("the network returns no tensor")
        has_batch_axis = all(tensor.dim() and len(tensor) == batch_size for tensor in outputs)
        count = batch_size if has_batch_axis else 1
        rows.append(torch.cat([_values(tensor).reshape(count, -1) for tensor in outputs], dim=1))
        of_classes &= has_batch_axis and len(outputs) == 1 and outputs[0].shape[1:2] == rows[-1].shape[1:] > (1,)
    return _Logits(torch.cat(rows), of_classes)


def _as_made_for(variant: Variant, inputs: Arguments) -> Arguments:
    """The same inputs in the dtypes and strides that a variant was made for."""
    values = iter(tensors_in(inputs))
    return variant.inputs.mapped(lambda tensor: torch.empty_like(tensor).copy_(next(values)))


def _values(tensor: Tensor) -> Tensor:
    """A copy on the CPU in float32, complex numbers as pairs."""
    real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return real.to("cpu", torch.float32, copy=True)


class _BrokenError(Exception):
    """A variant that was warm does not run any more."""

    def __init__(self, attempt: _Attempt) -> None:
        super().__init__(attempt.optimization.key)
        self.attempt = attempt


def _sample(attempts: Sequence[_Attempt], backend: DeviceBackend, limits: Limits, progress: Progress) -> Sampled:
    """Samples of all variants that run; where one breaks, of the others anew.

    Raises:
        ResnetCliError: plain eager broke.
    """
    while True:
        running = [attempt for attempt in attempts if attempt.variant is not None]
        settle = any(attempt.optimization.has_own_threads for attempt in running)
        contexts = [attempt.variant.context for attempt in running if attempt.variant is not None]
        calls = list(map(_guarded, running))
        try:
            return sample(backend, calls, limits, progress, "optimizations: ", settle=settle, contexts=contexts)
        except _BrokenError as broken:
            cause = broken.__cause__
            assert isinstance(cause, Exception)
            broken.attempt.fail(cause)
            if broken.attempt.optimization is EAGER:
                raise ResnetCliError(f"plain eager does not run any more: {broken.attempt.reason}") from cause


def _guarded(attempt: _Attempt) -> Call:
    """Its call; an error names the attempt."""
    variant = attempt.variant
    assert variant is not None
    run, (args, kwargs) = variant.run, variant.inputs

    def call() -> object:
        try:
            return run(*args, **kwargs)
        except Exception as error:
            raise _BrokenError(attempt) from error

    return call


def _rows(attempts: Sequence[_Attempt], sampled: Sampled, precision: str) -> tuple[OptimizationResult, ...]:
    """The rows; `sampled` has a series for each attempt with a variant, plain eager's first."""
    series = iter(sampled.walls)
    eager = sampled.walls[0]
    eager_time = describe(eager)
    rows = []
    for attempt in attempts:
        samples = next(series) if attempt.variant is not None else None
        row = _row(attempt, samples, eager, eager_time)
        if attempt.optimization is EAGER and precision != "float32":
            row = replace(row, title=f"{row.title} ({precision})")
        rows.append(row)
    return tuple(rows)


def _row(
    attempt: _Attempt,
    samples: Sequence[float] | None,
    eager: Sequence[float],
    eager_time: Distribution,
) -> OptimizationResult:
    time = speedup = low = high = setup_s = break_even_calls = None
    if samples is not None and attempt.optimization is EAGER:
        time, speedup, low, high = eager_time, 1.0, 1.0, 1.0
    elif samples is not None:
        time = describe(samples)
        ratio, ratio_low, ratio_high = paired_ratio(samples, eager)
        speedup, low, high = 1 / ratio, 1 / ratio_high, 1 / ratio_low
        setup_s = attempt.setup_s
        if setup_s is not None and low > 1:
            break_even_calls = math.ceil(setup_s / (eager_time.median_s * (1 - ratio)))
    return OptimizationResult(
        key=attempt.optimization.key,
        title=attempt.optimization.title,
        status=attempt.status,
        reason=attempt.reason,
        dtype=attempt.optimization.dtype,
        time=time,
        speedup=speedup,
        ci_low=low,
        ci_high=high,
        setup_s=setup_s,
        break_even_calls=break_even_calls,
        logit_difference=attempt.logit_difference,
        top1_agreement=attempt.top1_agreement,
        code=attempt.optimization.code,
    )
