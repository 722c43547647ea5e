"""One figure for how far tensors are apart."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.measure.parity.tensor_error import error_verdict, finite, relative_error
from resnet_cli.results.compare import BITWISE, DIFFERENT, ROUNDING

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8)


@given(values=NUMBERS)
def test_equal_tensors_are_not_apart(values: list[float]) -> None:
    tensor = torch.tensor(values)
    assert relative_error(tensor, tensor.clone()) == 0.0
    assert relative_error(tensor.reshape(-1, 1), tensor) == 0.0


@given(values=NUMBERS, scale=st.floats(1e-3, 1e3))
def test_the_scale_does_not_matter(values: list[float], scale: float) -> None:
    a = torch.tensor(values, dtype=torch.float64)
    b = a + 1.0
    if float(b.abs().max()) > 1e-3:
        assert relative_error(a * scale, b * scale) == pytest.approx(relative_error(a, b), rel=1e-6)


def test_by_hand() -> None:
    assert relative_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])) == 0.5
    assert relative_error(torch.tensor([1e-30]), torch.tensor([0.0])) == math.inf
    assert relative_error(torch.tensor([1e-30]), torch.tensor([0.0]), scale=1.0) == pytest.approx(1e-30, rel=1e-3)
    assert relative_error(torch.ones(2), torch.ones(3)) == math.inf
    assert relative_error(torch.tensor([3]), torch.tensor([4])) == 0.25


def test_nan_on_one_side_is_infinitely_far_and_on_both_is_nothing() -> None:
    nan = torch.tensor([math.nan, 1.0])
    assert relative_error(nan, torch.ones(2)) == relative_error(torch.ones(2), nan) == math.inf
    assert relative_error(nan, nan.clone()) == 0.0
    assert relative_error(torch.tensor([math.inf]), torch.ones(1)) == math.inf
    assert finite(math.inf) is None
    assert finite(0.5) == 0.5


def test_nan_in_both_is_ignored() -> None:
    ours, theirs = torch.tensor([math.nan, 1.0, 2.0]), torch.tensor([math.nan, 1.0, 4.0])
    assert relative_error(ours, theirs) == 0.5
    assert relative_error(ours[:1], theirs[:1]) == 0.0  # nothing is left
    assert relative_error(torch.tensor([math.nan, 0.0]), torch.tensor([math.nan, 0.0])) == 0.0
    assert relative_error(ours, torch.tensor([math.nan, math.nan, 4.0])) == math.inf


def test_whole_numbers_do_not_wrap_around() -> None:
    ours, theirs = torch.tensor([3], dtype=torch.uint8), torch.tensor([250], dtype=torch.uint8)
    assert relative_error(ours, theirs) == 247 / 250
    assert relative_error(torch.tensor([True]), torch.tensor([False])) == math.inf
    assert relative_error(torch.tensor([False]), torch.tensor([True])) == 1.0


def test_dtypes_are_compared_in_the_wider_one() -> None:
    single, double = torch.tensor([0.1]), torch.tensor([0.1], dtype=torch.float64)
    rounding = pytest.approx(abs(float(single) - 0.1) / 0.1)  # 1.5e-8, which float32 cannot tell from nothing
    assert relative_error(single, double) == rounding
    assert relative_error(double, single) == rounding
    # 0.1 is 1638 / 2**14 in the one, and 205 / 2**11 in the other: 1640 / 2**14.
    assert relative_error(single.half(), single.bfloat16()) == 2 / 1640
    assert relative_error(torch.ones(2), torch.ones(2, dtype=torch.float64)) == 0.0
    assert relative_error(torch.ones(0), torch.ones(0, dtype=torch.float64)) == 0.0
    assert relative_error(torch.tensor([3]), torch.tensor([3.0])) == 0.0
    assert relative_error(torch.zeros(2), torch.zeros(2, dtype=torch.float64)) == 0.0


def test_verdicts() -> None:
    assert [error_verdict(error, 1e-6) for error in (0.0, 1e-7, 1e-6, 2e-6, math.inf)] == [
        BITWISE,
        ROUNDING,
        ROUNDING,
        DIFFERENT,
        DIFFERENT,
    ]
