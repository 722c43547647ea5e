"""Ways in which people write residual networks otherwise or wrongly: one true sentence each, which explains it all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.parity.diagnosis import diagnose
from tests.helpers.models import structure_of
from tests.measure.parity.test_diagnosis import IDENTITY, Block, basic, changed, conv, every, named, network


class Joins(nn.Module):
    """A block that joins its branches in its own way."""

    def __init__(self, block: Block, join: Callable[[Block, Tensor, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.block, self.join = block, join
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.block, self.block.body(x), self.block.skip(x))


def all_blocks(join: Callable[[Block, Tensor, Tensor], Tensor]) -> nn.Sequential:
    return changed(one=Joins(basic(4, 8, 2), join), two=Joins(basic(8, 8), join))


def norm_behind(block: Block) -> nn.Module:
    """The last norm of the residual branch behind the addition."""
    *body, norm = block.body.children()

    def join(block: Block, learned: Tensor, x: Tensor) -> Tensor:
        normed: Tensor = block.last(norm(learned + x))
        return normed

    block.body = nn.Sequential(*body)
    return Joins(block, join, norm=norm)


def dropping(block: Block) -> Block:
    block.body = nn.Sequential(*list(block.body.children())[:3], nn.Dropout(0.3), *list(block.body.children())[3:])
    return block


def dilated() -> nn.Sequential:
    model = changed(one__body__0=conv(4, 8), one__skip__0=conv(4, 8, 1))
    for path, channels in (("one.body.3", 8), ("two.body.0", 8), ("two.body.3", 8)):
        model.set_submodule(path, nn.Conv2d(channels, 8, 3, 1, 2, dilation=2, bias=False))
    return model


def unnormed() -> nn.Sequential:
    model = every(nn.BatchNorm2d, lambda norm: nn.Identity())
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    return model


def wide_kernels() -> nn.Sequential:
    return changed(
        one__body__0=conv(4, 8, 5, 2),
        one__body__3=conv(8, 8, 5),
        two__body__0=conv(8, 8, 5),
        two__body__3=conv(8, 8, 5),
    )


class Flipped(nn.Module):
    """Channels from the last to the first."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


class Attention(nn.Module):
    """Every place reads every other one."""

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2)
        weights = (places.transpose(1, 2) @ places).softmax(-1)
        return (places @ weights).view_as(x)


HABITS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "extra-activation": (
        lambda: all_blocks(lambda block, learned, x: block.last(learned.relu() + x)),
        "a ReLU more before the addition in all 2 blocks",
    ),
    "extra-activation ": (
        lambda: changed(one__skip=nn.Sequential(conv(4, 8, 1, 2), nn.BatchNorm2d(8), nn.ReLU())),
        "a ReLU more in the shortcut in one;",
    ),
    "extra-activation  ": (
        lambda: changed(flat=nn.Sequential(nn.Flatten(), nn.Tanh())), "a tanh more at flat.1;",
    ),
    "joined-otherwise": (
        lambda: all_blocks(lambda block, learned, x: block.last(learned * x)),
        "both branches are multiplied in all 2 blocks; torchvision adds them",
    ),
    "scaled-identity": (
        lambda: all_blocks(lambda block, learned, x: block.last(learned * 0.5 + x * 0.5)),
        "a summand is scaled by 0.5 in all 2 blocks",
    ),
    "bn-after-add": (
        lambda: changed(one=norm_behind(basic(4, 8, 2)), two=norm_behind(basic(8, 8))),
        "the batch norm is behind the addition in all 2 blocks",
    ),
    "dropout": (
        lambda: changed(one=dropping(basic(4, 8, 2)), two=dropping(basic(8, 8))),
        "dropout of 0.3 in all 2 blocks",
    ),
    "dilated-blocks": (dilated, "convolutions are dilated by up to 2 in all 2 blocks, in place of a stride"),
    "strides-less": (
        lambda: changed(one__body__0=conv(4, 8), one__skip__0=conv(4, 8, 1)), "layers stride less than torchvision's in one",
    ),
    "joined-otherwise ": (
        lambda: all_blocks(lambda block, learned, x: block.last(learned - x)),
        "one branch is subtracted from the other in all 2 blocks; torchvision adds them",
    ),
    "reordered-input": (
        lambda: changed(conv=nn.Sequential(Flipped(), conv(3, 4))), "the network reorders its input (flip)",
    ),
    "final-activation": (
        lambda: changed(fc=nn.Sequential(nn.Linear(8, 5), nn.ReLU())), "the network ends in ReLU; torchvision returns",
    ),
    "no-norms": (unnormed, "there are no norms; torchvision has 6 batch norms, and no biases before them"),
    "norm-affine-off": (
        lambda: every(nn.BatchNorm2d, lambda norm: nn.BatchNorm2d(norm.num_features, affine=False)),  # type: ignore[arg-type]
        "6 batch norms have no weight and bias",
    ),
    "other-max-pool": (
        lambda: changed(pool=nn.MaxPool2d(2)), "the max pool is 2×2 stride 2, torchvision's 3×3 stride 2 padding 1",
    ),
    "head-of-one-size": (
        lambda: changed(average=nn.AdaptiveAvgPool2d(2), fc=nn.Linear(32, 5)), "the classifier reads each of 2×2 places",
    ),
    "attention": (
        lambda: changed(two__body__0=nn.Sequential(conv(8, 8), Attention())), "self-attention in two; torchvision has none",
    ),
    "deep-stem": (
        lambda: changed(conv=nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 4), conv(4, 4))),
        "the stem has 3 convolutions (ResNet-C), torchvision's has one",
    ),
    "deep-head": (
        lambda: changed(fc=nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))),
        "the classifier has 2 linear layers; torchvision's has one",
    ),
    "other-widths": (wide_kernels, "the same layers with other kernels in 4 convolutions (one.body.0: kernel 5×5"),
}  # fmt: skip


@pytest.mark.parametrize("key", HABITS)
def test_a_habit_is_one_true_sentence(key: str) -> None:
    make, start = HABITS[key]
    structure = structure_of(make(), network())
    (diagnosis,) = diagnose(structure, [row.finding for row in structure.differences])
    assert (diagnosis.key, len(diagnosis.differences)) == (key.strip(), len(structure.differences))
    assert diagnosis.text.startswith(start)


def test_a_pool_before_the_first_norm_is_no_pre_activation() -> None:
    pooled = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(4))
    assert "pre-activation" not in named(changed(norm=pooled, pool=IDENTITY))


class Twice(nn.Module):
    """One matrix that is used for two products."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1) @ self.matrix
        return (x.relu() @ self.matrix).movedim(-1, 1)


def test_what_stands_in_place_of_other_layers_is_no_shared_module() -> None:
    model = changed(two__body=nn.Sequential(Twice(), nn.BatchNorm2d(8)))
    assert "shared-module" not in named(model)
