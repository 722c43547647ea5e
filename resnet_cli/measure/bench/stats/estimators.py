"""Statistics of a series of times, with their confidence intervals. Pure functions over floats.

Times of successive calls depend on each other (caches, clock rate, other processes), so an interval that assumes
independence is far too narrow. Here a series is cut into batches in the order of measurement, and the standard error
is estimated from the spread of the batches (batch means for a quantile: Heidelberger and Lewis 1984, "Quantile
estimation in dependent sequences", Operations Research 32). The number of batches is fixed, so the interval accounts
for dependence over up to a twentieth of the run, drift included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev

from resnet_cli.measure.bench.stats.student_t import CONFIDENCE, NORMAL, student_t
from resnet_cli.results.bench import Distribution

BATCHES = 20
MAX_BATCH_AUTOCORRELATION = 0.8  # cap on the lag-1 autocorrelation of the batches; the correction is then a factor 3
MIN_SAMPLES = 6  # the smallest number of independent samples whose extremes contain the median with 95% probability


def quantile(ordered: Sequence[float], share: float) -> float:
    """Quantile of a sorted series, linearly interpolated (numpy's default method).

    Raises:
        ValueError: the series is empty, or the share is not between 0 and 1.
    """
    if not ordered or not 0 <= share <= 1:
        raise ValueError("a quantile needs values and a share from 0 to 1")
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def median_interval(samples: Sequence[float], ordered: Sequence[float] | None = None) -> tuple[float, float]:
    """95% confidence interval of the median of a series whose samples may depend on each other.

    Args:
        samples: in the order of measurement.
        ordered: the same, sorted; None: not known yet.

    Raises:
        ValueError: there are no samples.
    """
    ordered = sorted(samples) if ordered is None else ordered
    half_width = _half_width(samples, quantile(ordered, 0.5))
    return quantile(ordered, max(0.0, 0.5 - half_width)), quantile(ordered, min(1.0, 0.5 + half_width))


def effective_samples(samples: Sequence[float], ordered: Sequence[float] | None = None) -> float:
    """Effective sample size: the number of independent samples with the same standard error of the median.

    Args:
        samples: in the order of measurement.
        ordered: the same, sorted; None: not known yet.
    """
    n = len(samples)
    if n < MIN_SAMPLES:
        return float(n)
    error = _rank_error(samples, quantile(sorted(samples) if ordered is None else ordered, 0.5))
    return float(n) if error == 0 else min(float(n), 0.25 / error**2)


def _half_width(samples: Sequence[float], median: float) -> float:
    """Half width of the interval of the median, in ranks, as a fraction of all of them."""
    n = len(samples)
    if n < MIN_SAMPLES:
        return 0.5
    independent = NORMAL * 0.5 / math.sqrt(n)
    # + 1/n: ranks are discrete, and the median of few samples lies between two of them.
    half_width = max(independent, student_t(_batches(n) - 1) * _rank_error(samples, median)) + 1 / n
    # With drift as large as the spread any sample could be the median, except for outliers: the interval is then that
    # of 95% of the samples.
    return min(half_width, CONFIDENCE / 2) if n >= 2 * BATCHES else half_width


def _batches(n: int) -> int:
    return min(BATCHES, max(3, n // 2))


def _rank_error(samples: Sequence[float], median: float) -> float:
    """Standard error of the fraction of samples below the median, from its spread over the batches.

    Correlation between neighbouring batches is corrected for as in a first-order autoregressive series with lag-1
    autocorrelation r: the error is multiplied by √((1 + r) / (1 - r)).
    """
    n = len(samples)
    count = _batches(n)
    edges = [index * n // count for index in range(count + 1)]
    below = [0.0 if value > median else 0.5 if value == median else 1.0 for value in samples]
    shares = [fmean(below[start:end]) for start, end in pairwise(edges)]
    error = stdev(shares) / math.sqrt(count)
    if not error:
        return 0.0
    mean = fmean(shares)
    variation = sum((share - mean) ** 2 for share in shares)
    lag = sum((share - mean) * (following - mean) for share, following in pairwise(shares)) / variation
    # Its expected value for independent batches is -1/count, because their own mean was subtracted.
    lag = min(max(lag + 1 / count, 0.0), MAX_BATCH_AUTOCORRELATION)
    return error * math.sqrt((1 + lag) / (1 - lag))


def autocorrelation(samples: Sequence[float]) -> float | None:
    """Lag-1 autocorrelation of the ranks, which outliers do not hide; None for too few or equal samples."""
    n = len(samples)
    if n < 3 or min(samples) == max(samples):
        return None
    ranks = _ranks(samples)
    mean = (n - 1) / 2
    variation = sum((rank - mean) ** 2 for rank in ranks)
    return sum((a - mean) * (b - mean) for a, b in pairwise(ranks)) / variation


def _ranks(samples: Sequence[float]) -> list[float]:
    """Rank of each sample, from 0; equal samples share their mean rank."""
    order = sorted(range(len(samples)), key=samples.__getitem__)
    ranks = [0.0] * len(samples)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and samples[order[end]] == samples[order[start]]:
            end += 1
        for index in order[start:end]:
            ranks[index] = (start + end - 1) / 2
        start = end
    return ranks


def min_samples_for_percentile(share: float) -> int:
    """The smallest number of samples of which at least two lie beyond a percentile with 99% probability.

    64 for the 90th, 130 for the 95th, 662 for the 99th, as MLPerf's load generator requires
    (github.com/mlcommons/inference, loadgen/early_stopping.cc).

    Raises:
        ValueError: the share is negative, or not below 1.
    """
    if not 0 <= share < 1:
        raise ValueError("a percentile needs a share from 0 to below 1")
    beyond = 1 - share
    n = 2
    while (1 - beyond) ** n + n * beyond * (1 - beyond) ** (n - 1) > 0.01:
        n += 1
    return n


_MIN_SAMPLES_FOR = {share: min_samples_for_percentile(share) for share in (0.9, 0.95, 0.99)}


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """A high percentile of a sorted series; None for too few samples (see `min_samples_for_percentile`)."""
    required = _MIN_SAMPLES_FOR.get(share) or min_samples_for_percentile(share)
    return quantile(ordered, share) if len(ordered) >= required else None


def outliers(samples: Sequence[float], ordered: Sequence[float] | None = None) -> tuple[int, ...]:
    """Indices of the samples beyond the outer fences (Tukey 1977): 3 interquartile ranges from the quartiles.

    Args:
        samples: in the order of measurement.
        ordered: the same, sorted; None: not known yet.
    """
    if len(samples) < MIN_SAMPLES:
        return ()
    ordered = sorted(samples) if ordered is None else ordered
    first, third = quantile(ordered, 0.25), quantile(ordered, 0.75)
    distance = 3 * (third - first)
    return tuple(i for i, value in enumerate(samples) if not first - distance <= value <= third + distance)


def drift(samples: Sequence[float]) -> float | None:
    """Relative change of the median from the first third to the last; None where their intervals overlap."""
    third = len(samples) // 3
    if third < MIN_SAMPLES:
        return None
    first, last = samples[:third], samples[-third:]
    first_ordered, last_ordered = sorted(first), sorted(last)
    first_low, first_high = median_interval(first, first_ordered)
    last_low, last_high = median_interval(last, last_ordered)
    if first_low <= last_high and last_low <= first_high:
        return None
    first_median = quantile(first_ordered, 0.5)
    return quantile(last_ordered, 0.5) / first_median - 1 if first_median else None


def is_steady(samples: Sequence[float], window: int = 10) -> bool:
    """Whether the last two windows of a series agree, which ends the warm-up.

    As in pyperf (github.com/psf/pyperf, pyperf/_worker.py) the quartiles of the two windows are compared. They may
    differ by 5%, or by half the interquartile range of the newer window, so that noise of any size is accepted; a
    series that falls linearly differs by twice that range.

    Args:
        samples: seconds, in the order of measurement.
        window: samples in each of the two.

    Raises:
        ValueError: the window is below 2.
    """
    if window < 2:
        raise ValueError("a window needs at least 2 samples")
    if len(samples) < 2 * window:
        return False
    older, newer = sorted(samples[-2 * window : -window]), sorted(samples[-window:])
    noise = (quantile(newer, 0.75) - quantile(newer, 0.25)) / 2
    return all(
        abs(quantile(newer, share) - quantile(older, share)) <= max(0.05 * quantile(older, share), noise)
        for share in (0.25, 0.5, 0.75)
    )


def describe(samples: Sequence[float]) -> Distribution:
    """All statistics of a series of times, whose median has an interval of 95%.

    Args:
        samples: seconds, in the order of measurement.

    Raises:
        ValueError: there are no samples.
    """
    ordered = sorted(samples)
    low, high = median_interval(samples, ordered)
    return Distribution(
        samples_s=tuple(samples),
        median_s=quantile(ordered, 0.5),
        ci_low_s=low,
        ci_high_s=high,
        min_s=ordered[0],
        max_s=ordered[-1],
        mean_s=fmean(samples),
        std_s=stdev(samples) if len(samples) > 1 else None,
        p90_s=percentile(ordered, 0.9),
        p95_s=percentile(ordered, 0.95),
        p99_s=percentile(ordered, 0.99),
        autocorrelation=autocorrelation(samples),
        effective_samples=effective_samples(samples, ordered),
        outliers=len(outliers(samples, ordered)),
        drift=drift(samples),
    )
