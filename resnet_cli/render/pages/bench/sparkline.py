"""How samples are spread, and how they follow each other, in one row of blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median, quantiles

LEVELS = "▁▂▃▄▅▆▇█"
_FEWEST = 6  # samples of which one may be called an outlier


def within_fences(samples: Sequence[float]) -> tuple[float, float]:
    """The smallest and the largest sample that is no outlier, so that one slow call does not squash all others.

    The fences are Tukey's outer ones, 3 interquartile ranges from the quartiles. Where the quartiles are one, there is
    no measure of what is far, and all samples are within.

    Args:
        samples: seconds.

    Raises:
        ValueError: there are none.
    """
    if not samples:
        raise ValueError("no samples have no range")
    if len(samples) < _FEWEST:
        return min(samples), max(samples)
    first, _, third = quantiles(samples, n=4, method="inclusive")
    reach = 3 * (third - first) if third > first else math.inf
    kept = [one for one in samples if first - reach <= one <= third + reach]
    return min(kept), max(kept)


def histogram(samples: Sequence[float], bins: int) -> tuple[int, ...]:
    """How many samples lie in each of so many equal parts of the range that holds no outlier.

    Args:
        samples: seconds.
        bins: of equal width; of samples that are all one, the first has all.

    Raises:
        ValueError: there are no samples, or no bins.
    """
    low, high = within_fences(samples)
    counts = [0] * bins
    for one in samples:
        if low <= one <= high:
            place = int((one - low) / (high - low) * bins) if high > low else 0
            counts[min(place, bins - 1)] += 1
    return tuple(counts)


def blocks(counts: Sequence[int]) -> str:
    """Counts as blocks: the lowest is none at all, so that a single sample shows; the highest is the most.

    Raises:
        ValueError: there are no counts.
    """
    most = max(counts)
    steps = len(LEVELS) - 1
    return "".join(LEVELS[math.ceil(count / most * steps) if count else 0] for count in counts)


def course(samples: Sequence[float], groups: int) -> str:
    """The samples in the order of measuring: a block for the median of each of so many groups in a row.

    The lowest block is the fastest group, the highest the slowest; of groups that are all one, each has the lowest.

    Args:
        samples: seconds; with fewer than groups, each is one of its own.
        groups: of equal size, as far as that is possible.

    Raises:
        ValueError: there are no samples, or no groups.
    """
    if not samples or groups < 1:
        raise ValueError("a course has samples and groups")
    count = min(groups, len(samples))
    ends = [round(index * len(samples) / count) for index in range(count + 1)]
    middles = [median(samples[start:end]) for start, end in pairwise(ends)]
    low, reach = min(middles), max(middles) - min(middles)
    steps = len(LEVELS) - 1
    return "".join(LEVELS[round((middle - low) / reach * steps) if reach else 0] for middle in middles)
