"""Statistics of a series of times, with their confidence intervals. Pure functions over floats.

Times of successive calls depend on each other (caches, clocks, neighbours on the machine), so an interval that takes
them for independent is far too narrow. Here a series is cut into batches in the order of measuring, and the spread of
the batches says how sure the whole is (batch means for a quantile: Heidelberger and Lewis 1984, "Quantile estimation
in dependent sequences", Operations Research 32). The number of batches is fixed, so that dependence over a twentieth
of the run, drift included, is in the interval whatever its cause.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from statistics import NormalDist, fmean, stdev

from resnet_cli.results.bench import Distribution

CONFIDENCE = 0.95
BATCHES = 20
MAX_BATCH_AUTOCORRELATION = 0.8  # correlation of batches that is still reckoned with; more cannot be told from drift
MIN_SAMPLES = 6  # the least number of samples whose extremes hold the median in 95 of 100 cases

FASTER, SLOWER, SAME, UNCLEAR = "FASTER", "SLOWER", "SAME", "UNCLEAR"


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of a sorted series lies, interpolated.

    Raises:
        ValueError: the series is empty, or the share is not within 0 and 1.
    """
    if not ordered or not 0 <= share <= 1:
        raise ValueError("a quantile needs values and a share from 0 to 1")
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@cache
def student_t(share: float, freedom: int) -> float:
    """Quantile of Student's t, exact: its distribution over the angle atan(t / √freedom) is a finite sum.

    The sum is Abramowitz and Stegun 26.7.3 and 26.7.4; it is inverted by bisection.

    Args:
        share: 0.975 for an interval of 95 %.
        freedom: degrees of freedom, a whole number.

    Raises:
        ValueError: the share is not between 0 and 1, or there is no freedom.
    """
    if not 0 < share < 1 or freedom < 1:
        raise ValueError("a quantile of Student's t needs a share between 0 and 1, and a degree of freedom")
    if share < 0.5:
        return -student_t(1 - share, freedom)
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _t_cdf(middle, freedom) < 2 * share - 1:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _t_cdf(angle: float, freedom: int) -> float:
    """Probability that |t| stays below √freedom · tan(angle)."""
    cosine = math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0 if freedom == 1 else term
    for step in range(2 + odd, freedom - 1, 2):
        term *= cosine**2 * (step - 1) / step
        total += term
    total *= math.sin(angle)
    return (angle + total) * 2 / math.pi if odd else total


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """A confidence interval of the median of a series whose samples may depend on each other.

    Args:
        samples: in the order of measuring.
        confidence: 0.95 holds the true median in 95 of 100 runs.

    Raises:
        ValueError: there are no samples.
    """
    ordered = sorted(samples)
    reach = _half_width(samples, quantile(ordered, 0.5), confidence)
    return quantile(ordered, max(0.0, 0.5 - reach)), quantile(ordered, min(1.0, 0.5 + reach))


def effective_samples(samples: Sequence[float]) -> float:
    """How many independent samples would tell the median as surely as these."""
    n = len(samples)
    if n < MIN_SAMPLES:
        return float(n)
    error = _rank_error(samples, quantile(sorted(samples), 0.5))
    return float(n) if error == 0 else min(float(n), 0.25 / error**2)


def _half_width(samples: Sequence[float], median: float, confidence: float) -> float:
    """How far from the middle, as a share of the ranks, the interval goes."""
    n = len(samples)
    if n < MIN_SAMPLES:
        return 0.5
    share = (1 + confidence) / 2
    independent = NormalDist().inv_cdf(share) * 0.5 / math.sqrt(n)
    # + 1/n: the ranks are steps, and a median of few samples lies between two of them.
    reach = max(independent, student_t(share, _batches(n) - 1) * _rank_error(samples, median)) + 1 / n
    # A run that wandered so far that any sample could be the median still says where 95 % of them were; its outliers
    # are not where the median is.
    return min(reach, confidence / 2) if n >= 2 * BATCHES else reach


def _batches(n: int) -> int:
    return min(BATCHES, max(3, n // 2))


def _rank_error(samples: Sequence[float], median: float) -> float:
    """Standard error of the share of samples below the median, from its spread over the batches.

    Where neighbouring batches still depend on each other, their spread understates it; it is then widened as for a
    first-order autoregressive series of batches, by √((1 + r) / (1 - r)).
    """
    n = len(samples)
    count = _batches(n)
    edges = [index * n // count for index in range(count + 1)]
    below = [0.0 if value > median else 0.5 if value == median else 1.0 for value in samples]
    shares = [fmean(below[start:end]) for start, end in pairwise(edges)]
    error = stdev(shares) / math.sqrt(count)
    if not error:
        return 0.0
    middle = fmean(shares)
    spread = sum((share - middle) ** 2 for share in shares)
    lag = sum((one - middle) * (other - middle) for one, other in pairwise(shares)) / spread
    # Independent batches have -1/count on average, because their own mean was taken off.
    lag = min(max(lag + 1 / count, 0.0), MAX_BATCH_AUTOCORRELATION)
    return error * math.sqrt((1 + lag) / (1 - lag))


def autocorrelation(samples: Sequence[float]) -> float | None:
    """Of successive samples (lag 1), of their ranks, so that an outlier does not hide it; None for too few."""
    n = len(samples)
    if n < 3 or min(samples) == max(samples):
        return None
    ranks = _ranks(samples)
    middle = (n - 1) / 2
    spread = sum((rank - middle) ** 2 for rank in ranks)
    return sum((a - middle) * (b - middle) for a, b in pairwise(ranks)) / spread


def _ranks(samples: Sequence[float]) -> list[float]:
    order = sorted(range(len(samples)), key=samples.__getitem__)
    ranks = [0.0] * len(samples)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and samples[order[end]] == samples[order[start]]:
            end += 1
        for place in order[start:end]:
            ranks[place] = (start + end - 1) / 2
        start = end
    return ranks


def min_samples_for_percentile(share: float) -> int:
    """Samples that a percentile needs: so many that two of them lie beyond it in 99 of 100 runs.

    64 for the 90th, 130 for the 95th, 662 for the 99th, as MLPerf's load generator asks
    (github.com/mlcommons/inference, loadgen/early_stopping.cc).

    Raises:
        ValueError: the share is not below 1.
    """
    if not 0 <= share < 1:
        raise ValueError("a percentile that samples can support lies between 0 and 1")
    beyond = 1 - share
    n = 2
    while (1 - beyond) ** n + n * beyond * (1 - beyond) ** (n - 1) > 0.01:
        n += 1
    return n


_NEEDED = {share: min_samples_for_percentile(share) for share in (0.9, 0.95, 0.99)}


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """A high percentile of a sorted series, or None where too few samples support it."""
    needed = _NEEDED.get(share) or min_samples_for_percentile(share)
    return quantile(ordered, share) if len(ordered) >= needed else None


def outliers(samples: Sequence[float]) -> tuple[int, ...]:
    """Indices of the samples beyond the outer fences (Tukey 1977): 3 interquartile ranges from the quartiles."""
    if len(samples) < MIN_SAMPLES:
        return ()
    ordered = sorted(samples)
    first, third = quantile(ordered, 0.25), quantile(ordered, 0.75)
    reach = 3 * (third - first)
    return tuple(i for i, value in enumerate(samples) if not first - reach <= value <= third + reach)


def drift(samples: Sequence[float], confidence: float = CONFIDENCE) -> float | None:
    """How much the median changed from the first third to the last, relative to the first; None if by chance."""
    third = len(samples) // 3
    if third < MIN_SAMPLES:
        return None
    first, last = samples[:third], samples[-third:]
    low, high = median_interval(first, confidence)
    low_now, high_now = median_interval(last, confidence)
    if low <= high_now and low_now <= high:
        return None
    before = quantile(sorted(first), 0.5)
    return quantile(sorted(last), 0.5) / before - 1 if before else None


def is_steady(samples: Sequence[float], window: int = 10) -> bool:
    """Whether the last two windows of a series look alike: then it is warm.

    As pyperf does it (github.com/psf/pyperf, pyperf/_worker.py) the quartiles of two windows are held against each
    other, and 5 % is no change. Beyond that a change may be half the newer window's interquartile range, which noise
    of any size reaches; a series that still falls evenly moves by twice that range from window to window.

    Args:
        samples: seconds, in the order of measuring.
        window: samples in each of the two.

    Raises:
        ValueError: a window of fewer than 2.
    """
    if window < 2:
        raise ValueError("a window needs 2 samples")
    if len(samples) < 2 * window:
        return False
    older, newer = sorted(samples[-2 * window : -window]), sorted(samples[-window:])
    noise = (quantile(newer, 0.75) - quantile(newer, 0.25)) / 2
    return all(
        abs(quantile(newer, share) - quantile(older, share)) <= max(0.05 * quantile(older, share), noise)
        for share in (0.25, 0.5, 0.75)
    )


def describe(samples: Sequence[float], confidence: float = CONFIDENCE) -> Distribution:
    """Everything that a series of times says.

    Args:
        samples: seconds, in the order of measuring.
        confidence: of the median's interval.

    Raises:
        ValueError: there are no samples.
    """
    ordered = sorted(samples)
    low, high = median_interval(samples, confidence)
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
        effective_samples=effective_samples(samples),
        outliers=len(outliers(samples)),
        drift=drift(samples, confidence),
    )


def paired_ratio(
    ours: Sequence[float], theirs: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """The ratio ours / theirs of series that were measured in turn, and its interval.

    What slows both down, slows both of a round down. The order alternates from round to round, and what is called
    first may be faster or slower for it; so two successive rounds make one figure, the geometric mean of their
    ratios, in which that cancels. The median of these figures is the ratio.

    Args:
        ours: seconds, in the order of measuring.
        theirs: of the same rounds.
        confidence: of the interval.

    Raises:
        ValueError: the series differ in length, are empty, or hold a time that is not positive.
    """
    if min(ours, default=1.0) <= 0 or min(theirs, default=1.0) <= 0:
        raise ValueError("a ratio needs times above 0")
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    if len(ratios) >= 2 * MIN_SAMPLES:
        ratios = [math.sqrt(one * other) for one, other in zip(ratios[::2], ratios[1::2], strict=False)]
    low, high = median_interval(ratios, confidence)
    return quantile(sorted(ratios), 0.5), low, high


def independent_ratio(ours: Distribution, theirs: Distribution) -> tuple[float, float, float]:
    """The ratio of two medians that were measured apart, and its interval.

    By recovery of the variances from both intervals (MOVER: Donner and Zou 2012, "Closed-form confidence intervals
    for functions of the normal mean and standard deviation", Statistical Methods in Medical Research 21), on
    logarithms.

    Raises:
        ValueError: an interval reaches down to a time that is not positive.
    """
    if min(ours.ci_low_s, theirs.ci_low_s) <= 0:
        raise ValueError("a ratio needs times above 0")
    ratio = ours.median_s / theirs.median_s
    down = math.hypot(math.log(ours.median_s / ours.ci_low_s), math.log(theirs.ci_high_s / theirs.median_s))
    up = math.hypot(math.log(ours.ci_high_s / ours.median_s), math.log(theirs.median_s / theirs.ci_low_s))
    return ratio, ratio * math.exp(-down), ratio * math.exp(up)


def verdict(low: float, high: float, band: float) -> str:
    """What the interval of a ratio says: beyond the band, within it, or neither.

    Two equal networks are called FASTER or SLOWER in fewer than 5 of 100 runs: the interval would have to miss 1 and
    the band.
    """
    if high < 1 - band:
        return FASTER
    if low > 1 + band:
        return SLOWER
    return SAME if low >= 1 - band and high <= 1 + band else UNCLEAR


def knee(rates: Sequence[tuple[int, float]], share: float = 0.9) -> int | None:
    """The smallest batch that reaches a share of the best rate; None for fewer than two."""
    if len(rates) < 2:
        return None
    best = max(rate for _, rate in rates)
    return min(batch for batch, rate in rates if rate >= share * best)
