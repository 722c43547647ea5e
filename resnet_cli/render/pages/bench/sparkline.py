"""A histogram and a timeline of samples as one row of block characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median, quantiles

LEVELS = "▁▂▃▄▅▆▇█"
_MIN_SAMPLES = 6  # from which on a sample may be an outlier


def within_fences(samples: Sequence[float]) -> tuple[float, float]:
    """The smallest and the largest sample that is not an outlier.

    The fences are Tukey's outer ones, 3 interquartile ranges from the quartiles. Where both quartiles are equal, no
    sample is an outlier.

    Args:
        samples: seconds.

    Raises:
        ValueError: there are none.
    """
    if not samples:
        raise ValueError("there are no samples")
    if len(samples) < _MIN_SAMPLES:
        return min(samples), max(samples)
    first, _, third = quantiles(samples, n=4, method="inclusive")
    reach = 3 * (third - first) if third > first else math.inf
    kept = [sample for sample in samples if first - reach <= sample <= third + reach]
    return min(kept), max(kept)


def histogram(samples: Sequence[float], bins: int) -> tuple[int, ...]:
    """The number of samples in each of some bins of equal width, outliers left out.

    Args:
        samples: seconds; where all are equal, the first bin has them all.
        bins: their number.

    Raises:
        ValueError: there are no samples, or no bins.
    """
    low, high = within_fences(samples)
    counts = [0] * bins
    for sample in samples:
        if low <= sample <= high:
            index = int((sample - low) / (high - low) * bins) if high > low else 0
            counts[min(index, bins - 1)] += 1
    return tuple(counts)


def blocks(counts: Sequence[int]) -> str:
    """Counts as blocks. The lowest block is 0, so that a single sample shows; the highest is the largest count.

    Raises:
        ValueError: there are no counts.
    """
    largest = max(counts)
    steps = len(LEVELS) - 1
    return "".join(LEVELS[math.ceil(count / largest * steps) if count else 0] for count in counts)


def timeline(samples: Sequence[float], groups: int) -> str:
    """The medians of groups of successive samples, in the order of measuring, as blocks.

    The lowest block is the fastest group, the highest the slowest.

    Args:
        samples: seconds; where there are fewer than groups, each is a group of its own.
        groups: of equal size, as far as that is possible.

    Raises:
        ValueError: there are no samples, or no groups.
    """
    if not samples or groups < 1:
        raise ValueError("a timeline needs samples and groups")
    count = min(groups, len(samples))
    ends = [round(index * len(samples) / count) for index in range(count + 1)]
    medians = [median(samples[start:end]) for start, end in pairwise(ends)]
    low, span = min(medians), max(medians) - min(medians)
    steps = len(LEVELS) - 1
    return "".join(LEVELS[round((each - low) / span * steps) if span else 0] for each in medians)
