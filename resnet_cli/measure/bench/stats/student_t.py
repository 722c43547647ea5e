"""Two-sided 95% quantiles of Student's t distribution, as tabulated in Fisher and Yates, "Statistical Tables"."""

from __future__ import annotations

CONFIDENCE = 0.95  # of every interval
NORMAL = 1.960  # the limit for many degrees of freedom

_BY_FREEDOM = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),  # 1 to 10 degrees of freedom
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),  # to 30
)


def student_t(freedom: float) -> float:
    """How many standard errors a 95% interval reaches to each side.

    Args:
        freedom: degrees of freedom; rounded down, and as 30 above that, which makes an interval wider by up to 4%.

    Raises:
        ValueError: fewer than 1.
    """
    if freedom < 1:
        raise ValueError("a quantile of Student's t needs a degree of freedom")
    return _BY_FREEDOM[min(int(freedom), len(_BY_FREEDOM)) - 1]
