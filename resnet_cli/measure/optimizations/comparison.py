"""Every lever against plain eager, call by call in turn: what it gains, what it takes, what it does to the logits.

Plain eager is torch as it comes: on a GPU its convolutions run in TF32 then, which its title says. The logits of all
rungs, its own too, are held against those of true float32.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.device_timer import Clock
from resnet_cli.measure.bench.estimators import describe, paired_ratio
from resnet_cli.measure.bench.sampling import Call, Limits, Progress, Sampled, sample, warm_up
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.measure.models import random_init
from resnet_cli.measure.optimizations.recommendation import best_optimization, recommendation
from resnet_cli.measure.optimizations.registry import (
    BY_KEY,
    EAGER_OPTIMIZATION,
    Machine,
    Optimization,
    build_variant,
    machine,
)
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant, in_one_line
from resnet_cli.measure.system.precision import in_precision
from resnet_cli.measure.tracing.tracer import tensors_in
from resnet_cli.results.bench import OPTIMIZATIONS, Distribution, OptimizationResult, OptimizationsResult
from resnet_cli.results.common import Shape

MEASURED, UNAVAILABLE, FAILED = "measured", "unavailable", "failed"

_MIN_IMAGES = 8  # that the logits are compared on
_MAX_LOGIT_DIFFERENCE = (
    0.02  # difference of a rung that keeps the precision: rounding, TF32's too, moves logits by less
)


def _silent(text: str) -> None: ...


def compare_optimizations(
    model: nn.Module,
    *,
    image: Shape,
    batch_size: int,
    device: torch.device,
    seed: int,
    limits: Limits,
    clock: Clock,
    chosen: Sequence[str] = OPTIMIZATIONS,
    progress: Progress = _silent,
    on: Machine | None = None,
    fresh: bool = True,
) -> OptimizationsResult:
    """Make the network with each lever, and time all of them in one run.

    A lever that cannot be had here, or fails, is a row that says why. The best one is the fastest that keeps the
    precision of plain eager; a faster one in fewer bits is named in the advice, since what its logits are worth is for
    the user to say. Ctrl-C while samples are taken keeps them.

    Args:
        model: with weights, in float32; it is moved to the device.
        image: (C, H, W).
        batch_size: images of a call.
        device: where.
        seed: of the images.
        limits: when sampling ends; the time is that of all rungs together, without what it takes to make them.
        clock: of the device.
        chosen: keys of `bench_results.LEVERS`.
        progress: is told what goes on, never while a sample is taken.
        on: what the levers may ask of the machine; None: this one.
        fresh: it is untrained, so that its norms have to see a batch first.

    Raises:
        ResnetCliError: plain eager itself does not run.
        KeyboardInterrupt: before anything was measured.
    """
    work = Workload(model, image=image, device=device, seed=seed, fresh=fresh)
    on = machine(device) if on is None else on
    levers = [EAGER_OPTIMIZATION, *(BY_KEY[key] for key in OPTIMIZATIONS if key in chosen)]
    attempts = [_Attempt(lever) for lever in levers]
    with work.running():
        batches = _batches(image, batch_size, seed, device)
        truth = _true_logits(work.model, batches, on)
        # A quarter of what a warm-up is given is its time: so all of them together take a quarter of the whole.
        share = replace(limits, max_time_s=limits.max_time_s / len(levers))
        for attempt in attempts:
            progress(f"ladder: making {attempt.lever.title}")
            attempt.begin(work, batch_size, on, clock, batches, truth)
            if attempt.form is not None:
                attempt.settle(clock, share, progress)
            if attempt.lever is EAGER_OPTIMIZATION and attempt.reason is not None:
                raise ResnetCliError(f"plain eager does not run: {attempt.reason}", "try a smaller --batch-size")
        taken = _sample(attempts, clock, limits, progress)
    rungs = _rows(attempts, taken, limits.confidence, conditions.precision(torch.float32, device))
    keeping = {EAGER_OPTIMIZATION.key, *(lever.key for lever in levers if lever.keeps_precision)}
    best = best_optimization(rungs, keeping, limits.ci_width)
    return OptimizationsResult(
        batch_size=batch_size,
        rows=rungs,
        best=None if best is None else best.key,
        recommendation=recommendation(rungs, best, keeping, len(truth), limits.ci_width),
        stopped=taken.stopped,
    )


@dataclass(slots=True)
class _Attempt:
    """A lever, and what has become of it so far."""

    lever: Optimization
    status: str = MEASURED
    reason: str | None = None
    form: Variant | None = None  # None: it is not to be had
    setup_s: float | None = None
    difference: float | None = None
    same_top1: float | None = None

    def begin(
        self, work: Workload, batch_size: int, on: Machine, clock: Clock, batches: Sequence[Tensor], truth: Tensor
    ) -> None:
        """Make the form, and compare its logits."""
        try:
            made = build_variant(self.lever, work.model, work.input(batch_size), on, clock)
            logits = _logits(made.form, batches)
        except UnavailableError as error:
            self.status, self.reason = UNAVAILABLE, str(error)
            return
        except Exception as error:
            self.fail(error, clock)
            return
        self.form, self.setup_s, self.reason = made.form, made.setup_s, made.form.remark
        self._compare(logits, truth)

    def _compare(self, logits: Tensor, truth: Tensor) -> None:
        if logits.shape != truth.shape or not bool(logits.isfinite().all()):
            what = "another shape than" if logits.shape != truth.shape else "NaN or infinity among"
            self.status, self.reason, self.form = FAILED, f"gives {what} the logits", None
            return
        scale = float(truth.abs().max())
        difference = float((logits - truth).abs().max())
        self.difference = difference / scale if scale else difference
        self.same_top1 = float((logits.argmax(1) == truth.argmax(1)).double().mean())
        if self.lever.keeps_precision and self.difference > _MAX_LOGIT_DIFFERENCE:
            self.status, self.form = FAILED, None
            self.reason = f"moves the logits by {100 * self.difference:.2g} %, which no rounding does"

    def settle(self, clock: Clock, limits: Limits, progress: Progress) -> None:
        """Call it until its times stand still."""
        assert self.form is not None
        try:
            warm_up(clock, self.form.call, limits, progress, f"ladder: {self.lever.title}: ")
        except Exception as error:
            self.fail(error, clock)

    def fail(self, error: Exception, clock: Clock) -> None:
        """It did not run; what memory it took is given back."""
        self.status, self.reason, self.form = FAILED, in_one_line(error), None
        clock.empty_cache()


def _batches(image: Shape, batch_size: int, seed: int, device: torch.device) -> list[Tensor]:
    """Images to compare the logits on, in batches of the only size that some forms take."""
    count = math.ceil(_MIN_IMAGES / batch_size)
    # Others than the timed ones: a CUDA graph that did not read its input would give the right logits for those.
    images = random_init.image((count * batch_size, *image), seed + 2).to(device)
    return [images[start : start + batch_size] for start in range(0, len(images), batch_size)]


def _true_logits(model: nn.Module, batches: Sequence[Tensor], on: Machine) -> Tensor:
    """Of plain eager with all 24 bits of float32."""
    exact = in_precision(on.precisions) if on.capability is not None else contextlib.nullcontext()
    try:
        with exact:
            return _logits(Variant(model, batches[0]), batches)
    except Exception as error:
        raise ResnetCliError(f"plain eager does not run: {in_one_line(error)}", "try a smaller --batch-size") from error


def _logits(form: Variant, batches: Sequence[Tensor]) -> Tensor:
    """Of all images, on the CPU in float32; more than one output is laid side by side."""
    found = []
    for batch in batches:
        # preserve_format: the strides are those of the input that the form was made for
        outputs = tensors_in(form.run(torch.empty_like(form.image).copy_(batch)))
        found.append(torch.cat([tensor.to("cpu", torch.float32, copy=True).flatten(1) for tensor in outputs], dim=1))
    return torch.cat(found)


class _BrokenError(Exception):
    """A rung that was warm does not run any more."""

    def __init__(self, attempt: _Attempt) -> None:
        super().__init__(attempt.lever.key)
        self.attempt = attempt


def _sample(attempts: Sequence[_Attempt], clock: Clock, limits: Limits, progress: Progress) -> Sampled:
    """Samples of all rungs that run; where one breaks, of the others anew.

    Raises:
        ResnetCliError: plain eager broke.
    """
    while True:
        running = [attempt for attempt in attempts if attempt.form is not None]
        try:
            return sample(clock, [_guarded(attempt) for attempt in running], limits, progress, "ladder: ")
        except _BrokenError as broken:
            cause = broken.__cause__
            assert isinstance(cause, Exception)
            broken.attempt.fail(cause, clock)
            if broken.attempt.lever is EAGER_OPTIMIZATION:
                raise ResnetCliError(f"plain eager does not run any more: {broken.attempt.reason}") from cause


def _guarded(attempt: _Attempt) -> Call:
    """Its call, with its name on what it raises."""
    form = attempt.form
    assert form is not None
    run: Callable[[Tensor], object] = form.run
    image = form.image

    def call() -> object:
        try:
            return run(image)
        except Exception as error:
            raise _BrokenError(attempt) from error

    return call


def _rows(
    attempts: Sequence[_Attempt], taken: Sampled, confidence: float, precision: str
) -> tuple[OptimizationResult, ...]:
    """The rows; `taken` has a series for each attempt with a form, plain eager's first."""
    series = iter(taken.walls)
    eager = taken.walls[0]
    eager_time = describe(eager, confidence)
    rungs = []
    for attempt in attempts:
        samples = next(series) if attempt.form is not None else None
        rung = _row(attempt, samples, eager, eager_time, confidence)
        if attempt.lever is EAGER_OPTIMIZATION and precision != "float32":
            rung = replace(rung, title=f"{rung.title} ({precision})")
        rungs.append(rung)
    return tuple(rungs)


def _row(
    attempt: _Attempt,
    samples: Sequence[float] | None,
    eager: Sequence[float],
    eager_time: Distribution,
    confidence: float,
) -> OptimizationResult:
    time = gain = low = high = setup_s = pays_after = None
    if samples is not None and attempt.lever is EAGER_OPTIMIZATION:
        time, gain, low, high = eager_time, 1.0, 1.0, 1.0
    elif samples is not None:
        time = describe(samples, confidence)
        ratio, ratio_low, ratio_high = paired_ratio(samples, eager, confidence)
        gain, low, high = 1 / ratio, 1 / ratio_high, 1 / ratio_low
        setup_s = attempt.setup_s
        if setup_s is not None and low > 1:
            pays_after = math.ceil(setup_s / (eager_time.median_s * (1 - ratio)))
    return OptimizationResult(
        key=attempt.lever.key,
        title=attempt.lever.title,
        status=attempt.status,
        reason=attempt.reason,
        dtype=attempt.lever.dtype,
        time=time,
        speedup=gain,
        ci_low=low,
        ci_high=high,
        setup_s=setup_s,
        break_even_calls=pays_after,
        logit_difference=attempt.difference,
        top1_agreement=attempt.same_top1,
    )
