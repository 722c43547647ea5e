"""Operators that take functions: a branch is recorded by what is in it, attention by itself, others by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention

from tests.helpers.models import flops_of, summary_of


class Branches(nn.Module):
    """A convolution of 1x1 or of 3x3, by the sign of the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.cond(x.sum() > 1e9, lambda y: self.three(y), lambda y: self.one(y), (x,))
        return out


class Flex(nn.Module):
    """Self-attention of the pixels by a function of the scores."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)[:, None]
        out: Tensor = flex_attention(tokens, tokens, tokens)
        return out


class Looping(nn.Module):
    """A product, and a loop of torch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        loop: Any = torch.while_loop
        (out,) = loop(lambda y: y.sum() < 0, lambda y: (y + 1,), (self.lin(x).square(),))
        return out  # type: ignore[no-any-return]


def test_the_branch_that_is_taken_is_recorded() -> None:
    result = summary_of(Branches(), (2, 3, 4, 4))
    assert (result.macs, result.uncounted) == (2 * 16 * 4 * 3, ())
    assert result.root.backward_macs == 2 * 16 * 4 * 3
    assert [layer.path for layer in result.root.children if layer.macs] == ["one"]


def test_attention_by_a_function_costs_what_attention_costs() -> None:
    flops = flops_of(Flex(), (2, 8, 4, 4))
    assert (flops.macs, flops.uncounted_macs) == (2 * 2 * 8 * 8 * 16, ())
    assert {row.key: row.verdict for row in flops.conventions}["torch"] == "exact"
    assert summary_of(Flex(), (2, 8, 4, 4)).macs == flops.macs


def test_an_operator_that_takes_functions_and_has_no_rule_is_named() -> None:
    flops = flops_of(Looping(), (2, 3, 4, 4))
    assert flops.macs == 2 * 3 * 4 * 16
    assert flops.uncounted_macs == ("higher_order::while_loop",)
