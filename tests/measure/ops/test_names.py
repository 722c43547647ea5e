"""Names of operators: the namespace belongs to them, the mark of the in-place form does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.graph.operator_graph import record
from resnet_cli.measure.ops.names import kind, qualified, short
from tests.helpers.models import flops_of, on_meta

aten = torch.ops.aten


@pytest.mark.parametrize(
    ("func", "key", "table_name"),
    [
        (aten.relu.default, "aten::relu", "relu"),
        (aten.relu_.default, "aten::relu", "relu"),
        (aten.__and__.Tensor, "aten::__and__", "__and__"),
        (aten.mm.default, "aten::mm", "mm"),
    ],
)
def test_in_place_and_overloads_share_a_name(func: Any, key: str, table_name: str) -> None:
    assert (qualified(func), short(key)) == (key, table_name)


def test_operators_that_compute_the_same_are_of_one_kind() -> None:
    norms = ("native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit_no_training")
    assert {kind(f"aten::{name}") for name in norms} == {"batch_norm"}
    assert kind("aten::cumsum") == "cumsum"
    assert kind("mylib::native_batch_norm") == "mylib::native_batch_norm"


@torch.library.custom_op("resnet_cli_tests::mm", mutates_args=())
def custom_mm(a: Tensor, b: Tensor) -> Tensor:
    return a + b


@custom_mm.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return torch.empty_like(a)


class CustomOp(nn.Module):
    """Calls an operator that has the name of a matrix product and is none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 4, requires_grad=True))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = custom_mm(x, self.weight)
        return out


def test_a_custom_operator_is_not_the_one_of_aten_with_the_same_name() -> None:
    flops = flops_of(CustomOp(), (2, 4))
    assert flops.macs == 0
    assert flops.uncounted == ("resnet_cli_tests::mm",)
    (node,) = record(CustomOp().to("meta"), [on_meta(2, 4)], training=False).nodes
    assert node.operator == "resnet_cli_tests::mm"
