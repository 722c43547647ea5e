"""FLOPs of users' own operators: by a formula registered with torch, or by one on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.ops.user_formulas import parse_formula, register_formulas
from tests.helpers.models import flops_of, summary_of


@torch.library.custom_op("resnet_cli_tests::fused", mutates_args=())
def fused(x: Tensor, weight: Tensor) -> Tensor:
    return torch.relu(x @ weight)


@fused.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[1])


class Fused(nn.Module):
    """A linear layer, and a product in an operator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(12, 4, bias=False)
        self.weight = nn.Parameter(torch.ones(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = fused(self.lin(x.flatten(1)), self.weight)
        return out


SHAPE = (3, 3, 2, 2)
LINEAR, PRODUCT = 3 * 12 * 4, 3 * 4 * 5
PACKET: Any = torch.ops.resnet_cli_tests.fused


@pytest.fixture(autouse=True)
def _no_formula_is_left() -> Iterator[None]:
    yield
    flop_registry.pop(PACKET, None)


def test_an_operator_without_a_formula_makes_totals_lower_bounds() -> None:
    flops = flops_of(Fused(), SHAPE)
    assert (flops.macs, flops.uncounted_macs) == (LINEAR, ("resnet_cli_tests::fused",))


def test_a_formula_that_is_registered_with_torch_counts() -> None:
    @register_flop_formula(PACKET)  # type: ignore[untyped-decorator, no-untyped-call, unused-ignore]
    def formula(x: tuple[int, ...], weight: tuple[int, ...], **_: Any) -> int:
        return 2 * x[0] * weight[0] * weight[1]

    flops = flops_of(Fused(), SHAPE)
    assert (flops.macs, flops.uncounted) == (LINEAR + PRODUCT, ())
    assert {row.key: row.verdict for row in flops.conventions}["torch"] == "exact"
    assert summary_of(Fused(), SHAPE).macs == LINEAR + PRODUCT


def test_a_formula_of_the_command_line_counts() -> None:
    register_formulas(["resnet_cli_tests::fused(m k, k n) = 2*m*n*k"])
    flops = flops_of(Fused(), SHAPE)
    assert (flops.macs, flops.uncounted) == (LINEAR + PRODUCT, ())
    assert {row.key: row.verdict for row in flops.conventions}["torch"] == "exact"


def test_a_formula_that_does_not_fit_the_call_is_refused_with_both() -> None:
    register_formulas(["resnet_cli_tests::fused(m k, n) = 2*m*n*k"])
    with pytest.raises(ResnetCliError, match=r"called with 3×4, 4×5, which \(m k, n\) does not fit"):
        flops_of(Fused(), SHAPE)


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("a::f(m k, k n)=2*m*n*k", 2 * 3 * 5 * 4),
        ("a::f( m k , _ n ) = (m + n - 1) * k / 2", 14),
        ("a::f(m _)=m", 3),
        ("a::f(m k)=100", 100),
    ],
)
def test_what_a_formula_gives(text: str, flops: int) -> None:
    assert parse_formula(text)(torch.ones(3, 4), torch.ones(4, 5), 7, out_val=None) == flops


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fused=2*m",
        "a::f=2",
        "a::f(m)=",
        "a::f(m)=k",
        "a::f(m)=m.real",
        "a::f(m)=__import__('os')",
        "a::f(m)=m**m",
        "a::f(m)='m'",
        "a::f(m)=m if m else 1",
        "a::f(m)=" + "(" * 500 + "m" + ")" * 500,
    ],
)
def test_what_is_not_a_formula_is_refused(text: str) -> None:
    with pytest.raises(ResnetCliError, match="is not a valid formula"):
        parse_formula(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("nowhere::f(m)=m", "there is no operator nowhere::f"), ("aten::mm(m k, k n)=m", "aten::mm is counted already")],
)
def test_an_operator_that_cannot_have_a_formula_is_named(text: str, problem: str) -> None:
    with pytest.raises(ResnetCliError, match=problem):
        register_formulas([text])
