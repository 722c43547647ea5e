"""Quantiles of Student's t: published values and closed forms."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.measure.bench.stats.student_t import student_t


# From the table of percentage points in Fisher and Yates, "Statistical Tables", as in most textbooks.
@pytest.mark.parametrize(
    ("share", "freedom", "published"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.995, 2, 9.925),
        (0.9995, 2, 31.599),
        (0.995, 3, 5.841),
        (0.975, 4, 2.776),
        (0.95, 5, 2.015),
        (0.95, 6, 1.943),
        (0.975, 9, 2.262),
        (0.975, 19, 2.093),
        (0.995, 19, 2.861),
        (0.995, 30, 2.750),
        (0.975, 120, 1.980),
    ],
)
def test_student_t_as_published(share: float, freedom: int, published: float) -> None:
    assert student_t(share, freedom) == pytest.approx(published, abs=0.0006)
    assert student_t(1 - share, freedom) == pytest.approx(-published, abs=0.0006)


@given(share=st.floats(0.001, 0.999))
def test_student_t_where_it_has_a_closed_form(share: float) -> None:
    assert student_t(share, 1) == pytest.approx(math.tan(math.pi * (share - 0.5)), abs=1e-9)
    middle = 2 * share - 1
    assert student_t(share, 2) == pytest.approx(middle * math.sqrt(2 / (1 - middle**2)), abs=1e-9)


def test_student_t_goes_over_into_the_normal() -> None:
    assert student_t(0.975, 10_000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-3)
    assert student_t(0.5, 7) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("share", "freedom"), [(0.0, 3), (1.0, 3), (0.9, 0)])
def test_no_student_t(share: float, freedom: int) -> None:
    with pytest.raises(ValueError, match="Student"):
        student_t(share, freedom)
