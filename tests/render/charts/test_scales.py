"""Scales: order is kept, ticks are round and lie within."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.render.charts.drawing.scales import linear, logarithmic

figures = st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=20)
positive = st.lists(st.floats(1e-12, 1e15), min_size=1, max_size=20)


@given(figures)
def test_every_value_lies_on_a_linear_scale(values: list[float]) -> None:
    scale = linear(values, 10, 110)
    assert all(10 <= scale(value) <= 110 for value in values)
    assert [scale(value) for value in sorted(values)] == sorted(scale(value) for value in values)


@given(figures)
def test_ticks_are_round_and_within(values: list[float]) -> None:
    scale = linear(values, 0, 100)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 8
    for tick in ticks:
        assert scale.low - 1e-6 * abs(scale.low) <= tick <= scale.high + 1e-6 * abs(scale.high)
    for step in {round((b - a) / 10 ** math.floor(math.log10(b - a)), 6) for a, b in pairwise(ticks)}:
        assert any(step == pytest.approx(one, rel=1e-3) for one in (1, 2, 5, 10))


@given(positive)
def test_every_value_lies_on_a_logarithmic_scale(values: list[float]) -> None:
    scale = logarithmic(values, 0, 100)
    assert all(0 <= scale(value) <= 100 for value in values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8
    assert list(ticks) == sorted(set(ticks))
    assert all(scale.low * (1 - 1e-9) <= tick <= scale.high * (1 + 1e-9) for tick in ticks)


def test_equal_ratios_are_equal_lengths() -> None:
    scale = logarithmic([1, 100], 0, 100, margin=1)
    assert scale(10) == pytest.approx(50)
    assert scale.ticks() == (1, 10, 100)


def test_what_lies_outside_is_held_at_the_edge() -> None:
    scale = linear([0, 1], 0, 100, margin=0)
    assert (scale(-5), scale(7)) == (0, 100)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_value_without_a_logarithm_lies_at_the_lower_edge(value: float) -> None:
    scale = logarithmic([1.0, value], 0, 100)
    assert scale(value) == 0
    assert scale(1.0) == pytest.approx(50)


def test_one_value_stands_in_the_middle() -> None:
    assert linear([5.0], 0, 100)(5.0) == pytest.approx(50)
    assert linear([0.0], 0, 100)(0.0) == pytest.approx(50)
