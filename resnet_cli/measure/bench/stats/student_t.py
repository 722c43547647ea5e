"""Quantiles of Student's t distribution, without scipy."""

from __future__ import annotations

import math
from functools import cache


@cache
def student_t(share: float, freedom: int) -> float:
    """Quantile of Student's t distribution: the exact CDF (Abramowitz and Stegun 26.7.3, 26.7.4), by bisection.

    Args:
        share: probability, 0.975 for a two-sided interval of 95%.
        freedom: degrees of freedom.

    Raises:
        ValueError: the share is not between 0 and 1, or there are fewer than 1 degrees of freedom.
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
