"""One figure for how far tensors are apart."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.measure.deviation import finite, relative_error, verdict
from resnet_cli.verdicts import BITWISE, DIFFERENT, ROUNDING

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


def test_verdicts() -> None:
    assert [verdict(error, 1e-6) for error in (0.0, 1e-7, 1e-6, 2e-6, math.inf)] == [
        BITWISE,
        ROUNDING,
        ROUNDING,
        DIFFERENT,
        DIFFERENT,
    ]
