"""The parts of a residual network by what they do: those of He et al. 2015, in our networks and in torchvision's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from resnet_cli.measure.faults.op_capture import NotApplicableError
from resnet_cli.measure.faults.residual_structure import (
    ResidualStructure,
    conv_of,
    norms_of_blocks,
)
from resnet_cli.network.architectures import ARCHITECTURES
from tests.helpers.models import subject, torchvision_network


@cache
def structure_of(name: str, ours: bool) -> ResidualStructure:
    return ResidualStructure(subject(ARCHITECTURES[name]).model if ours else torchvision_network(name))


@pytest.mark.parametrize("ours", [True, False])
def test_the_parts_of_resnet18(ours: bool) -> None:
    """Two blocks of two 3x3 convolutions in each of four stages; the first of each later stage projects and strides."""
    structure = structure_of("resnet18", ours)
    blocks = structure.blocks
    assert len(blocks) == 8
    assert [[op.kernel for op in block.convs()] for block in blocks] == [[3, 3]] * 8
    assert [(len(block.norms()), len(block.relus())) for block in blocks] == [(2, 1)] * 8
    later = [index in (2, 4, 6) for index in range(8)]
    assert [block.projects() for block in blocks] == [block.strided() for block in blocks] == later
    assert structure.identity_blocks() == tuple(
        block for block, is_later in zip(blocks, later, strict=True) if not is_later
    )
    assert [block.add.shape[1:] for block in blocks[::2]] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    assert all(block.relu is not None and block.relu.inputs == (block.add.index,) for block in blocks)
    assert [op.kind for op in blocks[0].body] == ["conv", "norm", "relu", "conv", "norm"]
    assert [op.kind for op in blocks[2].shortcut] == ["conv", "norm"]


@pytest.mark.parametrize("ours", [True, False])
def test_the_stem_and_the_head_of_resnet18(ours: bool) -> None:
    structure = structure_of("resnet18", ours)
    assert (structure.stem.kernel, structure.stem.weight_shape[:2], structure.stem.pair("stride")) == (
        7,
        (64, 3),
        (2, 2),
    )
    assert structure.head.weight_shape == (1000, 512)
    assert [len(structure.before_blocks(kind)) for kind in ("conv", "norm", "relu", "pool", "add")] == [1, 1, 1, 1, 0]
    assert structure.blocks[0].entry == structure.of("pool")[0]
    assert len(structure.of("conv")) == 20
    assert conv_of(structure.network, structure.stem).kernel_size == (7, 7)


@pytest.mark.parametrize("ours", [True, False])
def test_the_blocks_of_resnet50(ours: bool) -> None:
    blocks = structure_of("resnet50", ours).blocks
    assert [[op.kernel for op in block.convs()] for block in blocks] == [[1, 3, 1]] * 16
    assert [index for index, block in enumerate(blocks) if block.projects()] == [0, 3, 7, 13]
    assert [index for index, block in enumerate(blocks) if block.strided()] == [3, 7, 13]


class Blocky(nn.Module):
    """A stem, whatever is called a block, and a head."""

    def __init__(self, block: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.block = block
        self.stem, self.a, self.b = (nn.Conv2d(size, 4, 3, padding=1) for size in (3, 4, 4))
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.block(self, self.stem(x).relu()).mean((2, 3)))
        return out


SINGLE: dict[str, tuple[Callable[[Any, Tensor], Tensor], tuple[list[str], list[str], int, bool]]] = {
    # What the block learns, its shortcut, which argument of the addition is the former, and whether a ReLU follows.
    "to the right": (lambda net, x: x + net.a(x), (["conv"], [], 1, False)),
    "to the left": (lambda net, x: (net.a(x).relu() + x).relu(), (["conv", "relu"], [], 0, True)),
    "both convolve": (lambda net, x: net.a(x) + net.b(net.a(x).relu()), (["conv", "relu", "conv"], ["conv"], 1, False)),
    "a scaled shortcut": (lambda net, x: x * 2 + net.a(x), (["conv"], ["other"], 1, False)),
    "something else behind": (lambda net, x: net.norm(net.a(x) + x).relu(), (["conv"], [], 0, False)),
}


@pytest.mark.parametrize("case", SINGLE)
def test_a_block_is_an_addition_of_branches_of_which_one_convolves_more(case: str) -> None:
    call, expected = SINGLE[case]
    (block,) = ResidualStructure(Blocky(call)).blocks
    kinds = [op.kind for op in block.body], [op.kind for op in block.shortcut]
    assert (*kinds, block.body_argument, block.relu is not None) == expected
    assert block.entry.kind == "relu"
    assert block.strided() is False


OTHERS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "nothing is added": lambda net, x: net.a(x),
    "what comes out of nowhere": lambda net, x: net.a(torch.ones(1, 4, 64, 64)) + x,
    "both convolve alike": lambda net, x: net.a(x) + net.b(x),
    "none convolves": lambda net, x: x.relu() + x.sigmoid(),
    "twice the same": lambda net, x: (lambda y: y + y)(net.a(x)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_additions_are_no_blocks(case: str) -> None:
    with pytest.raises(NotApplicableError, match="no addition of a convolved branch"):
        _ = ResidualStructure(Blocky(OTHERS[case])).blocks


def test_a_norm_by_function_has_no_module() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        return x + F.batch_norm(net.a(x), net.norm.running_mean, net.norm.running_var)

    net = Blocky(call)
    assert len(ResidualStructure(net).blocks[0].norms()) == 1
    with pytest.raises(NotApplicableError, match="no block holds"):
        norms_of_blocks(net)


def test_a_stride_along_one_side_is_a_stride() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        x = x + net.a(x)
        return x[..., ::2] + F.conv2d(x, net.b.weight, None, (1, 2), 1)

    structure = ResidualStructure(Blocky(call))
    assert [block.strided() for block in structure.blocks] == [False, True]
    assert [op.pair("stride") for op in structure.middle_convs()] == [(1, 1), (1, 2)]
