"""Times of several processes: the spread between processes, the error within each, and intervals with both.

Each process has its own luck: where its memory lies, which cores it gets, what else the machine does meanwhile. An
interval from the samples of a single process leaves that out. Here the median of a process is one observation, on a
logarithmic scale, and the degrees of freedom are those of the processes (Kalibera and Jones 2013, "Rigorous
benchmarking in reasonable time", ISMM). The variance between processes is what the spread of the medians exceeds the
mean squared error within a process by (Hedges and Olkin 1985, "Statistical Methods for Meta-Analysis", chapter 9).

Pure functions over floats; errors and variances are those of logarithms, so they are relative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

from resnet_cli.measure.bench.stats.estimators import BATCHES, describe, median_interval, quantile
from resnet_cli.measure.bench.stats.student_t import student_t
from resnet_cli.results.bench import Distribution


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What one process measured: a median, or a ratio of two.

    Args:
        log: its logarithm.
        error: standard error of that within the process.
    """

    log: float
    error: float


@dataclass(frozen=True, slots=True)
class Components:
    """A mean over processes, and the two components of its variance.

    Args:
        log: mean of the logarithms.
        runs: number of processes.
        between: variance between processes, beyond what the errors within them explain.
        within: mean squared error within a process.
    """

    log: float
    runs: int
    between: float
    within: float

    @property
    def squared_error(self) -> float:
        """Of the mean."""
        return (self.between + self.within) / self.runs


def run_estimate(middle: float, low: float, high: float) -> RunEstimate:
    """The estimate of a process from a median or ratio and its 95% interval.

    Raises:
        ValueError: one of them is not positive.
    """
    if min(middle, low, high) <= 0:
        raise ValueError("a run needs times above 0")
    return RunEstimate(math.log(middle), math.log(high / low) / (2 * student_t(BATCHES - 1)))


def components(runs: Sequence[RunEstimate]) -> Components:
    """Both components of the variance.

    Raises:
        ValueError: fewer than two runs.
    """
    if len(runs) < 2:
        raise ValueError("the variance between processes needs two of them")
    within = fmean(run.error**2 for run in runs)
    spread = variance([run.log for run in runs])
    return Components(fmean(run.log for run in runs), len(runs), max(0.0, spread - within), within)


def interval(runs: Sequence[RunEstimate]) -> tuple[float, float, float]:
    """Geometric mean of the runs and its 95% interval.

    Raises:
        ValueError: fewer than two runs.
    """
    mean = components(runs)
    return _interval(mean.log, mean.squared_error, mean.runs - 1)


def describe_runs(series: Sequence[Sequence[float]]) -> Distribution:
    """All statistics of the samples of several processes; the interval is that over processes.

    Args:
        series: seconds, those of each process in the order of measurement; for a single one as `describe`.

    Raises:
        ValueError: there are no samples.
    """
    described = describe([sample for samples in series for sample in samples])
    if len(series) == 1:
        return described
    middle, low, high = interval(estimates(series))
    return replace(described, median_s=middle, ci_low_s=low, ci_high_s=high)


def estimates(series: Sequence[Sequence[float]]) -> list[RunEstimate]:
    """The median of each process.

    Raises:
        ValueError: a process has no samples, or a time that is not positive.
    """
    runs = []
    for samples in series:
        ordered = sorted(samples)
        runs.append(run_estimate(quantile(ordered, 0.5), *median_interval(samples, ordered)))
    return runs


def ratio_of_runs(model: Sequence[RunEstimate], reference: Sequence[RunEstimate]) -> tuple[float, float, float]:
    """The ratio model / reference of two independent sets of runs, and its 95% interval (Welch 1947).

    Where one side is a single run, the variance between its processes is taken to be that of the other side.

    Raises:
        ValueError: a side is empty, or both have a single run.
    """
    if len(model) > 1 and len(reference) > 1:
        one, other = components(model), components(reference)
        errors = one.squared_error, other.squared_error
        total = sum(errors)
        weights = sum(error**2 / (side.runs - 1) for error, side in zip(errors, (one, other), strict=True))
        freedom = total**2 / weights if weights else one.runs + other.runs - 2
        return _interval(one.log - other.log, total, freedom)
    several, single = (model, reference) if len(model) > 1 else (reference, model)
    if not single:
        raise ValueError("a ratio needs a run on either side")
    alone, spread = single[0], components(several)
    error = spread.squared_error + spread.between + alone.error**2
    log = spread.log - alone.log if several is model else alone.log - spread.log
    return _interval(log, error, spread.runs - 1)


def half_width(between: float, within: float, runs: int, *, paired: bool) -> float:
    """Half width of the interval that so many runs are expected to give, as a fraction of the ratio.

    Args:
        between: variance between processes of a logarithm.
        within: its squared error within a process.
        runs: of each side, 2 or more.
        paired: each run measures the ratio itself; else the ratio is that of two independent sets of runs.
    """
    sides = 1 if paired else 2
    freedom = sides * (runs - 1)
    return math.expm1(student_t(freedom) * math.sqrt(sides * (between + within) / runs))


def _interval(log: float, squared_error: float, freedom: float) -> tuple[float, float, float]:
    reach = student_t(freedom) * math.sqrt(squared_error)
    return math.exp(log), math.exp(log - reach), math.exp(log + reach)
