"""Quantiles of Student's t: closed forms, and the area below the density by numbers."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from resnet_cli.measure.bench.stats.student_t import CONFIDENCE, NORMAL, student_t


def area(limit: float, freedom: int, steps: int = 2000) -> float:
    """Probability of values from -limit to limit: Simpson's rule over the density, in the angle whose tangent grows."""
    factor = math.gamma((freedom + 1) / 2) / (math.sqrt(math.pi) * math.gamma(freedom / 2))
    end = math.atan(limit / math.sqrt(freedom))
    values = [factor * math.cos(end * step / steps) ** (freedom - 1) for step in range(steps + 1)]
    weighted = values[0] + values[-1] + 4 * sum(values[1:-1:2]) + 2 * sum(values[2:-1:2])
    return 2 * weighted * end / steps / 3


@pytest.mark.parametrize("freedom", range(1, 31))
def test_the_quantile_leaves_five_percent_outside(freedom: int) -> None:
    assert area(student_t(freedom), freedom) == pytest.approx(CONFIDENCE, abs=1e-4)


def test_closed_forms() -> None:
    assert student_t(1) == pytest.approx(math.tan(math.pi * 0.475), abs=5e-4)
    assert student_t(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), abs=5e-4)
    assert pytest.approx(NormalDist().inv_cdf(0.975), abs=5e-5) == NORMAL


def test_between_two_rows_the_wider_one_counts() -> None:
    assert student_t(4.9) == student_t(4) > student_t(5)
    assert student_t(1000) == student_t(30) > NORMAL


@pytest.mark.parametrize("freedom", [0, 0.5, -3])
def test_no_degree_of_freedom(freedom: float) -> None:
    with pytest.raises(ValueError, match="degree of freedom"):
        student_t(freedom)
