"""Ratios of times with their confidence intervals, and the verdict on them. Pure functions over floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from resnet_cli.measure.bench.stats.estimators import MIN_SAMPLES, median_interval, quantile
from resnet_cli.results.bench import Distribution, Timing

FASTER, SLOWER, SAME, UNCLEAR = "FASTER", "SLOWER", "SAME", "UNCLEAR"


def paired_ratio(model: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """The ratio model / reference of two interleaved series, and its 95% interval.

    Disturbances that slow both calls of a round cancel in the ratio of the round. The order within a round alternates,
    since being called first may be an advantage; the geometric mean of two successive ratios cancels that. The result
    is the median of these means.

    Args:
        model: seconds, in the order of measurement.
        reference: seconds, of the same rounds.

    Raises:
        ValueError: the series differ in length, are empty, or hold a time that is not positive.
    """
    if min(model, default=1.0) <= 0 or min(reference, default=1.0) <= 0:
        raise ValueError("a ratio needs times above 0")
    ratios = [model_s / reference_s for model_s, reference_s in zip(model, reference, strict=True)]
    if len(ratios) >= 2 * MIN_SAMPLES:
        ratios = [math.sqrt(even * odd) for even, odd in zip(ratios[::2], ratios[1::2], strict=False)]
    ordered = sorted(ratios)
    low, high = median_interval(ratios, ordered)
    return quantile(ordered, 0.5), low, high


def independent_ratio(model: Distribution, reference: Distribution) -> tuple[float, float, float]:
    """The ratio of two medians that were measured in separate runs, and its interval.

    The interval is combined from those of the medians (MOVER: Donner and Zou 2012, "Closed-form confidence intervals
    for functions of the normal mean and standard deviation", Statistical Methods in Medical Research 21), on
    logarithms.

    Raises:
        ValueError: an interval reaches down to a time that is not positive.
    """
    if min(model.ci_low_s, reference.ci_low_s) <= 0:
        raise ValueError("a ratio needs times above 0")
    ratio = model.median_s / reference.median_s
    down = math.hypot(math.log(model.median_s / model.ci_low_s), math.log(reference.ci_high_s / reference.median_s))
    up = math.hypot(math.log(model.ci_high_s / model.median_s), math.log(reference.median_s / reference.ci_low_s))
    return ratio, ratio * math.exp(-down), ratio * math.exp(up)


def verdict(low: float, high: float, band: float) -> str:
    """FASTER or SLOWER: the interval of a ratio is outside of 1 ± band; SAME: inside; UNCLEAR: neither.

    The probability of FASTER or SLOWER for two equal networks is below 5%, since a 95% interval must miss 1 and the
    band.
    """
    if high < 1 - band:
        return FASTER
    if low > 1 + band:
        return SLOWER
    return SAME if low >= 1 - band and high <= 1 + band else UNCLEAR


def with_knee(rows: Sequence[Timing]) -> tuple[Timing, ...]:
    """With a mark on the smallest batch that is nearly as good as the best."""
    best = knee([(row.batch_size, row.images_per_s) for row in rows if row.images_per_s is not None])
    return tuple(replace(row, knee=row.batch_size == best) for row in rows)


def knee(rates: Sequence[tuple[int, float]], share: float = 0.9) -> int | None:
    """The smallest batch size that reaches a share of the highest rate; None for fewer than two batch sizes."""
    if len(rates) < 2:
        return None
    best = max(rate for _, rate in rates)
    return min(batch for batch, rate in rates if rate >= share * best)
