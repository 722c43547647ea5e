"""An optimization that is attempted: built, warmed up, timed in turn with the others, and its row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from resnet_cli import errors
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.stats.estimators import describe
from resnet_cli.measure.bench.stats.ratios import paired_ratio
from resnet_cli.measure.bench.timing.sampling import Call, Limits, Progress, Sampled, sample, warm_up
from resnet_cli.measure.optimizations.registry import EAGER, Optimization
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant, in_one_line
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.results.bench import Distribution, OptimizationResult

MEASURED, UNAVAILABLE, FAILED = "measured", "unavailable", "failed"


@dataclass(slots=True)
class Attempt:
    """An optimization and its state so far."""

    optimization: Optimization
    backend: DeviceBackend
    status: str = MEASURED
    reason: str | None = None
    variant: Variant | None = None  # None: unavailable or failed
    setup_s: float | None = None
    logit_difference: float | None = None
    top1_agreement: float | None = None
    peak_memory_bytes: int | None = None

    @property
    def is_eager(self) -> bool:
        """Whether it is what the others are compared with."""
        return self.optimization.key == EAGER.key

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


class _BrokenError(Exception):
    """A variant that was warm does not run any more."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt.optimization.key)
        self.attempt = attempt


def sample_attempts(attempts: Sequence[Attempt], backend: DeviceBackend, limits: Limits, progress: Progress) -> Sampled:
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
            if broken.attempt.is_eager:
                raise ResnetCliError(f"plain eager does not run any more: {broken.attempt.reason}") from cause


def _guarded(attempt: Attempt) -> Call:
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


def result_rows(attempts: Sequence[Attempt], sampled: Sampled, precision: str) -> tuple[OptimizationResult, ...]:
    """The rows; `sampled` has a series for each attempt with a variant, plain eager's first."""
    series = iter(sampled.walls)
    eager = sampled.walls[0]
    eager_time = describe(eager)
    rows = []
    for attempt in attempts:
        samples = next(series) if attempt.variant is not None else None
        row = _row(attempt, samples, eager, eager_time)
        if attempt.is_eager and precision != "float32":
            row = replace(row, title=f"{row.title} ({precision})")
        rows.append(row)
    return tuple(rows)


def _row(
    attempt: Attempt,
    samples: Sequence[float] | None,
    eager: Sequence[float],
    eager_time: Distribution,
) -> OptimizationResult:
    time = speedup = low = high = setup_s = break_even_calls = None
    if samples is not None and attempt.is_eager:
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
        peak_memory_bytes=attempt.peak_memory_bytes,
    )
